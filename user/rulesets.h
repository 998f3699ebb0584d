/* SPDX-License-Identifier: GPL-2.0-only */

/* The rule image in the kernel: make one, switch to it, read it back. */
#pragma once

#include "rules/rules.h"
#include "user/datapath.h"

/**
 * @brief Size of a map for an image of so many bytes, with room to grow.
 *
 * @return a power of two, from FW_IMAGE_MIN to FW_IMAGE_MAX
 */
uint32_t fw_rulesets_size(size_t bytes);

/**
 * @brief Make a map for an image; clearing it takes some milliseconds.
 *
 * @param size  what the programs work with, of fw_datapath_size()
 * @return 0 or a negative errno
 */
int fw_rulesets_new(uint32_t size, int *ret_fd);

/**
 * @brief Have a map that holds `image`; nothing looks at it yet.
 *
 * @param size    as of fw_rulesets_new()
 * @param ret_fd  -1, or an empty map of that size; to be closed, also on failure
 * @return 0, -E2BIG if the image is larger than that, or another negative errno
 */
int fw_rulesets_make(const struct fw_image *image, uint32_t size, int *ret_fd);

/**
 * @brief The memory of a map that nothing looks at, to make an image in it.
 *
 * @param size  as of fw_rulesets_new()
 * @return to be given to fw_rulesets_return(); NULL: there is none
 */
unsigned char *fw_rulesets_borrow(int image_fd, uint32_t size);

/** @brief Give it back; NULL is fine. */
void fw_rulesets_return(unsigned char *room, uint32_t size);

/**
 * @brief Keep the running image for packets that are at work when another one
 *        takes its place, until fw_rulesets_forget().
 *
 * Takes some milliseconds; needless if other programs run on it.
 *
 * @param image_fd  its map
 */
int fw_rulesets_keep(const struct fw_datapath *dp, int image_fd);

/**
 * @brief Let all packets from now on be judged by the image in a map.
 *
 * When this returns no packet is at work that began with another image.
 */
int fw_rulesets_switch(const struct fw_datapath *dp, int image_fd);

/** @brief The same for a map of rule sets that is no datapath's yet. */
int fw_rulesets_put(int rulesets_fd, int image_fd);

/**
 * @brief Let go of the image before the running one, which was kept.
 *
 * To be called when no packet can be at work with it any more, some
 * milliseconds after the switch.
 */
void fw_rulesets_forget(const struct fw_datapath *dp);

/** @brief Take the image away; the programs then drop what they are asked. */
int fw_rulesets_clear(const struct fw_datapath *dp);

/** @brief Open the map of the running image; -ENOENT if there is none. */
int fw_rulesets_open(const struct fw_datapath *dp, int *ret_fd);

/** @brief Read an image back; -EBADMSG if the map cannot be one of ours. */
int fw_rulesets_read(int image_fd, struct fw_image *ret);

/**
 * @brief What fw_hosttab_know() is to be told while an image runs.
 *
 * @return its generation, or 0; also if it cannot be read, which only costs time
 */
uint32_t fw_rulesets_known_gen(int image_fd);

/** @brief Nobody need look any more where earlier rules had their marks. */
int fw_rulesets_end_carrying(int image_fd);

/* SPDX-License-Identifier: GPL-2.0-only */

/* ctnetlink: read the kernel's connection table and change single entries. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/abi.h"
#include "user/ctmsg.h"

struct fw_ctnl;

/* What a message says about an entry. */
enum fw_ct_msg {
	FW_CT_DUMPED,
	FW_CT_NEW,
	FW_CT_UPDATED,
	FW_CT_DESTROYED,
};

#define FW_CTNL_BATCH 32u

/**
 * @brief Called for entries in their order, up to FW_CTNL_BATCH at once; it may queue
 *        writes, flush and delete.
 *
 * @param msgs  of each what its message says
 */
typedef void (*fw_ctnl_fn)(void *data, const enum fw_ct_msg *msgs,
			   const struct fw_ct *cts, size_t n);

/**
 * @brief Open the sockets and subscribe to events.
 *
 * @return 0, -EPERM without CAP_NET_ADMIN, or another negative errno
 */
int fw_ctnl_new(struct fw_ctnl **ret, char **reterr);
void fw_ctnl_free(struct fw_ctnl *ctnl);

/**
 * @brief Say where our bits of a mark are; FW_MARK_SHIFT unless said.
 *
 * All marks that are told and taken are turned so that ours are on top
 * (user/ctmark.h).
 */
void fw_ctnl_set_shift(struct fw_ctnl *ctnl, uint8_t shift);
uint8_t fw_ctnl_shift(const struct fw_ctnl *ctnl);

/** @brief Descriptors to wait on. */
int fw_ctnl_event_fd(const struct fw_ctnl *ctnl);
int fw_ctnl_dump_fd(const struct fw_ctnl *ctnl);

/**
 * @brief Read at most `budget` waiting datagrams of events.
 *
 * @return number read, 0 if none waits; -ENOBUFS if events were lost, or
 *         another negative errno: the picture is stale in either case, and
 *         reading may go on
 */
int fw_ctnl_read_events(struct fw_ctnl *ctnl, unsigned int budget,
			fw_ctnl_fn fn, void *data);

/** @brief Ask for all entries of both families; one dump at a time. */
int fw_ctnl_dump_start(struct fw_ctnl *ctnl);

/**
 * @brief Read at most `budget` pieces of the running dump.
 *
 * @return 0 if more is to come, 1 when complete; -EINTR when it has ended but
 *         may have missed entries; -EAGAIN if nothing waits just now; another
 *         negative errno if it broke, then fw_ctnl_dump_abort() is due
 */
int fw_ctnl_dump_read(struct fw_ctnl *ctnl, unsigned int budget, fw_ctnl_fn fn,
		      void *data);

/** @brief Give up a running dump. */
int fw_ctnl_dump_abort(struct fw_ctnl *ctnl);

/**
 * @brief Queue the TCP state of an entry for writing.
 *
 * Only the state changes, and window checks are made liberal, because the
 * kernel has not followed the sequence numbers so far. A full queue is written
 * at once; what fails then is told by the next fw_ctnl_flush().
 *
 * @param state  TCP_CONNTRACK_*
 */
int fw_ctnl_queue_tcp_state(struct fw_ctnl *ctnl, const struct fw_tuple *orig,
			    uint8_t state);

/** @brief Queue how many seconds an entry has left to live, likewise. */
int fw_ctnl_queue_timeout(struct fw_ctnl *ctnl, const struct fw_tuple *orig,
			  uint32_t seconds);

/**
 * @brief Write what is queued, changes and deletions.
 *
 * Entries that are gone meanwhile are no error.
 *
 * @param ret_done  increased by the number of entries changed since the last
 *                  flush; may be NULL
 * @return 0, or the first error since the last flush
 */
int fw_ctnl_flush(struct fw_ctnl *ctnl, uint64_t *ret_done);

/**
 * @brief Delete one entry, also one that BPF inserted.
 *
 * @param orig  its original tuple
 * @param id    its id, so that a successor with the same tuple survives;
 *              0: whichever is there
 * @return 0, -ENOENT if there is none, or another negative errno
 */
int fw_ctnl_delete(struct fw_ctnl *ctnl, const struct fw_tuple *orig,
		   uint32_t id);

/**
 * @brief Queue the deletion of an entry, as fw_ctnl_delete() does one.
 *
 * Written and counted by fw_ctnl_flush().
 */
int fw_ctnl_queue_delete(struct fw_ctnl *ctnl, const struct fw_tuple *orig,
			 uint16_t zone, uint32_t id);

/**
 * @brief Change bits of the mark of each entry whose mark has `value` there.
 *
 * Other bits survive, also changes of them at the same time.
 *
 * @param other     what they shall be
 * @param ret_done  increased by the number of entries changed; may be NULL
 */
int fw_ctnl_set_mark(struct fw_ctnl *ctnl, uint32_t value, uint32_t mask,
		     uint32_t other, uint64_t *ret_done);

/** @brief Clear bits of the mark of each entry that has one of them. */
int fw_ctnl_clear_marks(struct fw_ctnl *ctnl, uint32_t mask,
			uint64_t *ret_done);

/** @brief Clear the bits of each mark that will be ours, the others' so far. */
int fw_ctnl_claim_marks(struct fw_ctnl *ctnl, uint8_t shift,
			uint64_t *ret_done);

/**
 * @brief Move our bits of each mark, and clear them where they were.
 *
 * What the programs have moved before is only cleared. A flow that moves on between
 * being read and being written may get its earlier progress back, as if two CPUs had
 * met (ct_move() in kern/conntrack.h).
 */
int fw_ctnl_carry_marks(struct fw_ctnl *ctnl, uint8_t from, uint8_t to,
			uint64_t *ret_done);

/** @brief Delete each entry whose mark has `value` in these bits. */
int fw_ctnl_delete_mark(struct fw_ctnl *ctnl, uint32_t value, uint32_t mask,
			uint64_t *ret_done);

/**
 * @brief Walk the whole table so that the kernel frees expired entries now.
 *
 * Expired entries that nobody walks over count against nf_conntrack_max.
 */
int fw_ctnl_reap(struct fw_ctnl *ctnl);

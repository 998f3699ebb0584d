/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The interfaces that a rule file declares, as they are in the kernel: which
 * exist, in which zones they are, which counters they have, what is attached.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/host_abi.h"
#include "user/apply.h"
#include "user/datapath.h"
#include "user/iface.h"

struct fw_cover;
struct fw_hosttab;
struct fw_offload;

/* The interfaces of one rule set. */
struct fw_cover_set {
	struct fw_apply_iface *ifaces; /* names are borrowed, errors are not */
	size_t n;
	struct fw_iface_entry *entries; /* of its table, sorted by key */
	size_t n_entries;
	uint32_t gen;  /* 0: none */
	bool is_known; /* to the programs */
};

/** @param tables, offload  borrowed, as the datapath is */
int fw_cover_new(struct fw_datapath *dp, struct fw_hosttab *tables,
		 const struct fw_offload *offload, struct fw_cover **ret);
void fw_cover_free(struct fw_cover *cover);

/**
 * @brief Take over the entries that the programs know for a generation.
 *
 * Interfaces get their counters back.
 *
 * @param ret  only its entries and its generation are set
 */
int fw_cover_adopt(struct fw_cover *cover, uint32_t gen,
		   struct fw_cover_set *ret);

/**
 * @brief Work out the interfaces of a program, without changing anything that a
 *        packet could notice.
 *
 * @param program  borrowed for as long as the set lives
 * @param reterr   NULL: the program runs, so what does not fit is left out
 * @return 0, -E2BIG if there are more than fit into a table, or another
 *         negative errno
 */
int fw_cover_plan(struct fw_cover *cover, const struct fw_ifaces *links,
		  const struct fw_program *program, uint32_t gen,
		  struct fw_cover_set *ret, char **reterr);

/**
 * @brief Make the entries of a set known to the programs.
 *
 * Those of another generation stay, those of the same one go, all at once.
 *
 * @param have  what runs now
 * @param want  of that generation or of the next one
 */
int fw_cover_add(const struct fw_cover *cover, const struct fw_cover_set *have,
		 struct fw_cover_set *want);

/**
 * @brief Attach to all interfaces of a set that exist.
 *
 * @param ret_at  the place of the interface that failed; with `reterr`
 * @param reterr  not NULL: the first failure ends it; NULL: failures are kept
 *                as the errors of the interfaces
 */
int fw_cover_attach(const struct fw_cover *cover, struct fw_cover_set *set,
		    struct fw_span *ret_at, char **reterr);

/** @brief Detach from all other interfaces and free their counters. */
void fw_cover_trim(struct fw_cover *cover, const struct fw_cover_set *set);

/** @brief An interface is gone: clean up, its number may be used again. */
void fw_cover_gone(struct fw_cover *cover, uint32_t ifindex);

void fw_cover_set_done(struct fw_cover_set *set);

/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The programs, maps and links in the kernel: load, pin, adopt, attach, detach.
 *
 * Everything lives below one pin directory (0700) and outlives the daemon. A
 * daemon that finds a complete set there adopts it and loads nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rules/rules.h"

struct fw_counters;
struct fw_datapath;

enum fw_map {
	FW_MAP_RULESETS,
	FW_MAP_HOST,
	FW_MAP_STATS,
	FW_MAP_RULE_STATS,
	FW_MAP_XFLOWS,
	FW_MAP_XFLOWS_ANSWERED,
	FW_MAP_FRAGS,
	FW_MAP_FLOW_INFO,
	FW_MAP_EVENTS,
	FW_MAP_PRESSURE,
	FW_MAP_EXPECTED,
	FW_MAP_EXPECTS,
	FW_MAP_LOG_BUDGETS,
	FW_MAP_CAPTURES,
	FW_MAP_CAPTURE_BUDGET,
	FW_MAP_OFFLOAD_OUT,
	FW_MAP_OFFLOAD_DEVS,
	FW_MAP_SAS,
	FW_MAP_ESP_MARKS,
	FW_MAP_ESP_COUNTS,
	FW_MAP_ESP_STEER,
	FW_MAP_ESP_CPUS,
	FW_MAP_ESP_STEERED,
	FW_MAP_MAX,
};

/* How large the rules can be that the programs work with. */
struct fw_datapath_size {
	uint32_t image; /* bytes of an image: a power of two, kern/image.h */
	uint32_t slots; /* rule counters: a power of two, user/slots.h */
	uint32_t
		flows; /* that XDP remembers of each CPU: a power of two, or 0 */
};

/* The least of each. */
extern const struct fw_datapath_size fw_datapath_smallest;

/* Where our programs are on one interface. */
struct fw_attachment {
	uint32_t ifindex;
	enum fw_iface_mode wanted;
	enum fw_iface_mode mode; /* what runs: XDP, XDP_GENERIC or TC */
	bool tcx;		 /* TCX link; false: clsact filter */
};

/* What the kernel says of one interface at this moment. */
struct fw_hooks_found {
	bool has_tc;		/* ingress and egress */
	enum fw_iface_mode xdp; /* XDP, XDP_GENERIC, or TC: there is none */
};

/**
 * @brief Adopt what is pinned below `pin_dir`, or load and pin it afresh.
 *
 * A set that is incomplete (a crash half-way) is removed first. Mounts a bpf
 * file system on /sys/fs/bpf if nobody has (see bpffs.h), and may change the
 * current directory on the way. The pin directory is locked until
 * fw_datapath_free() or fw_datapath_remove().
 *
 * @param size    of programs that are loaded afresh; those that are pinned
 *                have theirs
 * @param reterr  on failure one line for the user, malloc()ed
 * @return 0, -EPERM, -EBUSY if another process has it open, -EBADMSG if the
 *         pins are not what we make, or another negative errno
 */
int fw_datapath_open(const char *pin_dir, const struct fw_datapath_size *size,
		     struct fw_datapath **ret, char **reterr);

/** @brief True if `pin_dir` holds a complete set of this ABI version. */
bool fw_datapath_exists(const char *pin_dir);

/** @brief Close our descriptors; what is pinned stays and goes on filtering. */
void fw_datapath_free(struct fw_datapath *dp);

/** @brief True if fw_datapath_open() found pins; false: loaded afresh. */
bool fw_datapath_adopted(const struct fw_datapath *dp);

/** @brief What the programs work with, those that wait to take over if any. */
struct fw_datapath_size fw_datapath_size(const struct fw_datapath *dp);

/**
 * @brief Begin to load programs for rules that may turn out to be so large.
 *
 * A thread does it. Nobody sees them but fw_datapath_grow(), which waits for them
 * and takes them if they suffice. If they cannot be loaded, it tries once more,
 * and says why.
 *
 * @param least  nothing happens if the running programs have room for it
 * @param size   what they are to have room for
 */
void fw_datapath_expect(struct fw_datapath *dp,
			const struct fw_datapath_size *least,
			const struct fw_datapath_size *size);

/** @brief Whatever was expected has come, or does not. */
void fw_datapath_expect_nothing(struct fw_datapath *dp);

/**
 * @brief Load programs for larger rules beside the running ones.
 *
 * They share all maps but the one for rules and, if `size` has more slots, the
 * one for rule counters. fw_datapath_map() of FW_MAP_RULESETS is theirs from
 * now on, and nobody looks at it, until either fw_datapath_grown() or
 * fw_datapath_shrink() is called.
 *
 * @param least  those that were expected are taken if they have room for it
 * @param size   what others are to have room for: at least fw_datapath_size() in
 *               both
 */
int fw_datapath_grow(struct fw_datapath *dp,
		     const struct fw_datapath_size *least,
		     const struct fw_datapath_size *size, char **reterr);

/** @brief Are there programs that wait to take over? */
bool fw_datapath_is_growing(const struct fw_datapath *dp);

/**
 * @brief Have the map for an image of programs that wait to take over.
 *
 * It is empty, and in its place: what is written into it needs no switch.
 *
 * @return its descriptor; -1: there is none
 */
int fw_datapath_take_image(struct fw_datapath *dp);

/**
 * @brief Have the map that the running programs have just been verified with.
 *
 * It is empty, of the size that they work with, and nothing looks at it.
 *
 * @return its descriptor; -1: there is none
 */
int fw_datapath_take_spare_image(struct fw_datapath *dp);

/**
 * @brief The map for an image of the programs that are expected.
 *
 * @param ret_size  what it has room for
 * @return borrowed until they are there or given up; -1: there is none
 */
int fw_datapath_expected_image(const struct fw_datapath *dp,
			       uint32_t *ret_size);

/** @brief Are there programs that fw_datapath_expect() loads, or has loaded? */
bool fw_datapath_is_expecting(const struct fw_datapath *dp);

/**
 * @brief Let them take over, on one hook after the other without a gap.
 *
 * A crash in between is made good by the next fw_datapath_open(). Without a
 * fw_datapath_grow() before, it does nothing.
 */
int fw_datapath_grown(struct fw_datapath *dp, char **reterr);

/** @brief Forget about them; nothing happens if there are none. */
void fw_datapath_shrink(struct fw_datapath *dp);

/** @brief Descriptor of a map, borrowed. */
int fw_datapath_map(const struct fw_datapath *dp, enum fw_map map);

/** @brief The counters of interfaces, FW_STATS_INDEX(), borrowed. */
const struct fw_counters *fw_datapath_stats(const struct fw_datapath *dp);

/** @brief The counters of rules, by slot, borrowed until the next growth. */
const struct fw_counters *fw_datapath_rule_stats(const struct fw_datapath *dp);

/**
 * @brief The rule counters of the programs before these, the same; empty if
 *        there are none.
 *
 * No program writes them any more. What a rule has counted is what is there and
 * in fw_datapath_rule_stats(), together.
 */
const struct fw_counters *
fw_datapath_stats_before(const struct fw_datapath *dp);

/**
 * @brief Say which interface counters are in use: bit per row of `stats`.
 *
 * Only those are read; slot 0 always is.
 */
void fw_datapath_use_slots(struct fw_datapath *dp, uint64_t slots);
uint64_t fw_datapath_slots(const struct fw_datapath *dp);

/**
 * @brief Attach to an interface, or change how we are attached.
 *
 * TC comes first, then XDP; a change of mode keeps one of them in place at any
 * moment. AUTO is native XDP + TC on physical interfaces and TC alone on
 * virtual ones. A mode that cannot be had is an error, never a silent fallback.
 *
 * @return 0, -EOPNOTSUPP if the driver lacks the mode, -EBUSY if somebody
 *         else's XDP program sits there, or another negative errno
 */
int fw_datapath_attach(struct fw_datapath *dp, uint32_t ifindex,
		       enum fw_iface_mode mode, struct fw_attachment *ret,
		       char **reterr);

/** @brief Remove our programs and pins from an interface; gone ones are fine. */
int fw_datapath_detach(struct fw_datapath *dp, uint32_t ifindex);

/** @brief What is attached now; the array is borrowed until the next change. */
const struct fw_attachment *
fw_datapath_attachments(const struct fw_datapath *dp, size_t *ret_n);

/**
 * @brief Ask the kernel where our programs are on an interface.
 *
 * fw_datapath_attachments() says where we have put them: somebody may have taken
 * them away since. Costs some system calls.
 */
void fw_datapath_look(const struct fw_datapath *dp, uint32_t ifindex,
		      struct fw_hooks_found *ret);

/* Who judges what IPsec in transport mode carries (kern/transport.h). */
enum fw_transport {
	FW_TRANSPORT_NOBODY, /* this kernel has no programs for it */
	FW_TRANSPORT_OFF,    /* no program is attached */
	FW_TRANSPORT_ON,
};

/** @brief What is attached. Costs some system calls. */
enum fw_transport fw_datapath_transport(const struct fw_datapath *dp);

/**
 * @brief Load the programs for it, if they are not; no packet meets them yet.
 *
 * @param reterr  on failure perhaps one line for the user, malloc()ed
 * @return 0, -EOPNOTSUPP if this kernel has none, or another negative errno
 */
int fw_datapath_ready_transport(struct fw_datapath *dp, char **reterr);

/** @brief The same, and attach them where they are not. */
int fw_datapath_attach_transport(struct fw_datapath *dp, char **reterr);

/** @brief Detach and unload them if they are there; 0, or a negative errno. */
int fw_datapath_detach_transport(struct fw_datapath *dp);

/* What the kernel has counted of a program while kernel.bpf_stats_enabled was 1. */
struct fw_prog_stats {
	uint64_t runs;
	uint64_t run_ns;
};

/** @brief Ask for that; 0 or a negative errno. */
int fw_datapath_prog_stats(const struct fw_datapath *dp, enum fw_hook hook,
			   struct fw_prog_stats *ret);

/**
 * @brief Detach everywhere and remove every pin and the pin directory.
 *
 * Afterwards only fw_datapath_free() may be called.
 */
int fw_datapath_remove(struct fw_datapath *dp);

/**
 * @brief The same for pins that fw_datapath_open() refuses: detach and remove
 *        everything below `pin_dir`, whatever it is.
 *
 * @return 0, also if nothing is there, -EBUSY if another process has it open,
 *         or another negative errno
 */
int fw_datapath_purge(const char *pin_dir, char **reterr);

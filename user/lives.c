/* SPDX-License-Identifier: GPL-2.0-only */

/* How long flows of BPF live while the table fills up: shortened, and given back. */
#include "user/lives.h"

#include <netinet/in.h>

#include "user/ctnl.h"
#include "user/flowtab.h"

static void write_life(struct fw_lives *lives, const struct fw_entry *entry,
		       uint32_t seconds)
{
	/* What fails is found again by the next dump, or renewed by a packet. */
	(void)fw_ctnl_queue_timeout(lives->ctnl, &entry->orig, seconds);
}

/*
 * Flows that nobody has answered, made when there was room, live too long now. One
 * whose progress is newer than the dump is none of them any more.
 */
void fw_lives_shorten(struct fw_lives *lives, const struct fw_ct *ct,
		      struct fw_entry *entry)
{
	uint32_t seconds = lives->half_open_s;

	if (!seconds || !(ct->has & FW_CT_HAS_TIMEOUT) || ct->zone ||
	    ct->timeout_s <= seconds || !fw_entry_is_half_open(entry) ||
	    entry->flags & FW_ENTRY_MOVED)
		return;
	write_life(lives, entry, seconds);
	entry->flags |= FW_ENTRY_SHORT;
	entry->flags &= (uint8_t)~FW_ENTRY_LIVES;
	lives->shortened++;
}

/* The life that its state has in the rules; 0: not known, or nobody judged it. */
static uint32_t life_of(const struct fw_lives *lives,
			const struct fw_entry *entry)
{
	uint32_t state = entry->mark >> FW_MARK_TCP_SHIFT & (FW_TCP_STATES - 1);

	if (!(entry->mark & FW_MARK_GEN_MASK))
		return 0;
	if (entry->orig.proto != IPPROTO_TCP)
		state = FW_LIFE_UDP_STREAM; /* it has been answered */
	return lives->timeouts.seconds[state];
}

/* Where a RST leads to, which never makes a life longer: kern/tcp.h. */
static bool is_reset(const struct fw_entry *entry)
{
	uint32_t state = entry->mark >> FW_MARK_TCP_SHIFT & (FW_TCP_STATES - 1);

	return state == FW_TCP_CLOSE || state == FW_TCP_CLOSE_ORIG ||
	       state == FW_TCP_CLOSE_REPLY || state == FW_TCP_REFUSED ||
	       state == FW_TCP_REOPEN;
}

static void give_life(struct fw_lives *lives, struct fw_entry *entry,
		      uint32_t seconds)
{
	if (!seconds)
		return;
	write_life(lives, entry, seconds);
	if (is_reset(entry))
		entry->flags &= (uint8_t)~FW_ENTRY_LIVES;
	else
		entry->flags |= FW_ENTRY_LIVES;
}

/*
 * It moved on, maybe while its life was being shortened, or while that of the state
 * before was being given back: what we wrote came last, so the right one is written
 * after it. After a RST only if it would be too long.
 */
void fw_lives_restore(struct fw_lives *lives, struct fw_entry *entry)
{
	if (!(entry->flags & FW_ENTRY_SHORT) || fw_entry_is_half_open(entry))
		return;
	if (is_reset(entry) && !(entry->flags & FW_ENTRY_LIVES))
		return;
	give_life(lives, entry, life_of(lives, entry));
}

/*
 * The same if the record was lost, or our write crossed another one. What a dump shows
 * to be as it should needs no more care.
 */
void fw_lives_check(struct fw_lives *lives, const struct fw_ct *ct,
		    struct fw_entry *entry)
{
	uint32_t seconds = life_of(lives, entry);
	bool is_short;

	if (!(entry->flags & FW_ENTRY_SHORT) || fw_entry_is_half_open(entry) ||
	    !(ct->has & FW_CT_HAS_TIMEOUT) || entry->flags & FW_ENTRY_MOVED)
		return;
	is_short = ct->timeout_s <= lives->short_s && ct->timeout_s < seconds &&
		   !is_reset(entry);
	if (is_short || (seconds && ct->timeout_s > seconds))
		give_life(lives, entry, seconds);
	else
		entry->flags &= (uint8_t)~(FW_ENTRY_SHORT | FW_ENTRY_LIVES);
}

void fw_lives_limit(struct fw_lives *lives, uint32_t half_open_s)
{
	lives->half_open_s = half_open_s;
	if (lives->short_s < half_open_s)
		lives->short_s = half_open_s;
}

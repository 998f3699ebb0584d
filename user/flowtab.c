/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The flow table: which flows there are, and the rules of merging. Where an entry is
 * found is the affair of user/flowchains.c.
 */
#include "user/flowtab.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>

#include "user/flowchains.h"
#include "user/pool.h"
#include "user/util.h"

#define NS_PER_S	 1000000000ull
#define OFFLOADED_LIFE_S 86400u	 /* the kernel shows none; it renews a day */
#define CROWD_SLACK	 262144u /* flows that may be more than are expected */
#define SAME_OPENING_NS	 (NS_PER_S / 100) /* `flow_info` and its record */

_Static_assert(sizeof(struct fw_entry) <= 112, "flows take more memory");

struct fw_flowtab {
	struct fw_pool entries;
	struct fw_pool replies;
	struct fw_chains chains;
	uint64_t swept; /* the first hash that the sweep has not come to */
	size_t n;	/* alive */
	size_t n_dead;
	size_t n_ct;	    /* alive, and nf_conntrack has them */
	size_t corrections; /* see fw_flowtab_corrections() */
	size_t expected; /* alive after the last sweep, or as somebody knows */
	uint64_t begin_ns;	 /* of the open generation */
	uint64_t first_ns;	 /* see fw_flowtab_first_expiry() */
	uint64_t swept_ns;	 /* begin of the last one that was swept */
	struct fw_census census; /* of those that are alive */
	uint32_t gen;
	uint8_t sweeps;		     /* FW_SOURCE_* that the sweep is about */
	bool is_open;		     /* between begin and sweep */
	bool is_sweeping;	     /* see fw_flowtab_sweep_some() */
	bool has_new;		     /* see fw_flowtab_has_new() */
	bool has_changed;	     /* see fw_flowtab_has_changed() */
	struct fw_entry_look before; /* of what was merged last */
	void (*gone)(void *data, const struct fw_entry *entry); /* or NULL */
	void *gone_data;
};

/* How an entry is counted. */
struct place {
	unsigned int cell; /* of the census */
	bool is_ct;
};

static struct place place_of(const struct fw_entry *entry)
{
	return (struct place){
		.cell = fw_entry_cell(entry),
		.is_ct = entry && !(entry->flags & FW_ENTRY_DEAD) &&
			 entry->sources & FW_SOURCE_CT,
	};
}

static void move(struct fw_flowtab *tab, struct place before,
		 struct place after)
{
	fw_census_move(&tab->census, before.cell, after.cell);
	tab->n_ct -= before.is_ct;
	tab->n_ct += after.is_ct;
}

/* An entry that was in place `before` may have changed, ended or begun to live. */
static void recount(struct fw_flowtab *tab, struct place before,
		    const struct fw_entry *entry)
{
	move(tab, before, place_of(entry));
}

static void begin_merge(struct fw_flowtab *tab, const struct fw_entry *entry)
{
	tab->has_new = false;
	tab->has_changed = false;
	tab->before = fw_entry_look(entry);
}

static void end_merge(struct fw_flowtab *tab, const struct fw_entry *entry)
{
	struct fw_entry_look now = fw_entry_look(entry);

	tab->has_changed =
		!tab->has_new && (now.tcp != tab->before.tcp ||
				  now.kernel_tcp != tab->before.kernel_tcp ||
				  now.status != tab->before.status);
}

/* ---- the table -------------------------------------------------------------- */

struct fw_flowtab *fw_flowtab_new(void)
{
	struct fw_flowtab *tab;

	tab = calloc(1, sizeof(*tab));
	if (!tab)
		return NULL;
	fw_pool_init(&tab->entries, sizeof(struct fw_entry));
	fw_pool_init(&tab->replies, sizeof(struct fw_tuple));
	if (fw_chains_init(&tab->chains) < 0) {
		free(tab);
		return NULL;
	}
	tab->gen = 1;
	tab->first_ns = UINT64_MAX;
	return tab;
}

static void forget_counts(struct fw_entry *entry)
{
	free(entry->counts);
	entry->counts = NULL;
}

static void free_entry(struct fw_flowtab *tab, struct fw_entry *entry)
{
	forget_counts(entry);
	fw_pool_put(&tab->replies, entry->reply);
	fw_pool_put(&tab->entries, entry);
}

static void free_entries(struct fw_flowtab *tab)
{
	struct fw_entry *next, **head;
	uint64_t at = 0;

	do {
		head = fw_chains_at(&tab->chains, at);
		for (struct fw_entry *e = *head; e; e = next) {
			next = e->next;
			free_entry(tab, e);
		}
		at = fw_chains_behind(&tab->chains, at);
	} while (at);
}

void fw_flowtab_free(struct fw_flowtab *tab)
{
	if (!tab)
		return;
	free_entries(tab);
	fw_chains_done(&tab->chains);
	fw_pool_done(&tab->entries);
	fw_pool_done(&tab->replies);
	free(tab);
}

void fw_flowtab_set_gone(struct fw_flowtab *tab,
			 void (*fn)(void *data, const struct fw_entry *entry),
			 void *data)
{
	tab->gone = fn;
	tab->gone_data = data;
}

/* It ends, unless that has been said already. */
static void say_gone(const struct fw_flowtab *tab, const struct fw_entry *entry)
{
	if (tab->gone && !(entry->flags & FW_ENTRY_DEAD))
		tab->gone(tab->gone_data, entry);
}

bool fw_flowtab_has_new(const struct fw_flowtab *tab)
{
	return tab->has_new;
}

bool fw_flowtab_has_changed(const struct fw_flowtab *tab)
{
	return tab->has_changed;
}

void fw_flowtab_before(const struct fw_flowtab *tab, struct fw_flow *flow)
{
	flow->tcp_state = tab->before.tcp;
	flow->kernel_tcp = tab->before.kernel_tcp;
	flow->replied = tab->before.status & IPS_SEEN_REPLY;
	flow->assured = tab->before.status & IPS_ASSURED;
}

size_t fw_flowtab_count(const struct fw_flowtab *tab)
{
	return tab->n;
}

size_t fw_flowtab_count_ct(const struct fw_flowtab *tab)
{
	return tab->n_ct;
}

size_t fw_flowtab_corrections(const struct fw_flowtab *tab)
{
	return tab->corrections;
}

uint64_t fw_flowtab_first_expiry(const struct fw_flowtab *tab)
{
	return tab->first_ns;
}

const struct fw_census *fw_flowtab_census(const struct fw_flowtab *tab)
{
	return &tab->census;
}

void fw_flowtab_prefetch(const struct fw_flowtab *tab, const struct fw_ct *cts,
			 size_t n)
{
	fw_chains_prefetch(&tab->chains, cts, n);
}

static uint64_t hash_of(const struct fw_flowtab *tab,
			const struct fw_entry *entry)
{
	return fw_chains_hash(&tab->chains, &entry->orig, entry->zone);
}

struct fw_entry *fw_flowtab_find(const struct fw_flowtab *tab,
				 const struct fw_tuple *orig, uint16_t zone)
{
	return *fw_chains_link(&tab->chains, orig, zone);
}

/* ---- flows come and go ------------------------------------------------------------ */

static struct fw_entry *add(struct fw_flowtab *tab, const struct fw_tuple *orig,
			    uint16_t zone)
{
	struct fw_entry **head;
	struct fw_entry *entry;

	entry = fw_pool_take(&tab->entries);
	if (!entry)
		return NULL;
	fw_chains_make_room(&tab->chains, tab->n + tab->n_dead);
	entry->orig = *orig;
	entry->zone = zone;
	entry->gen = tab->gen - 1; /* not seen yet */
	head = fw_chains_at(&tab->chains,
			    fw_chains_hash(&tab->chains, orig, zone));
	entry->next = *head;
	*head = entry;
	tab->n++;
	tab->has_new = true;
	return entry;
}

static void unlink_entry(struct fw_flowtab *tab, struct fw_entry **link)
{
	struct fw_entry *entry = *link;

	move(tab, place_of(entry), place_of(NULL));
	if (entry->flags & FW_ENTRY_DEAD)
		tab->n_dead--;
	else
		tab->n--;
	*link = entry->next;
	free_entry(tab, entry);
}

static void revive(struct fw_flowtab *tab, struct fw_entry *entry)
{
	if (!(entry->flags & FW_ENTRY_DEAD))
		return;
	entry->flags &= (uint8_t)~FW_ENTRY_DEAD;
	tab->n_dead--;
	tab->n++;
}

/* ---- walks ---------------------------------------------------------------------- */

int fw_flowtab_walk(const struct fw_flowtab *tab, uint64_t *at, size_t n,
		    int (*fn)(void *data, const struct fw_entry *entry),
		    void *data)
{
	bool is_enough = false;
	int r;

	do {
		const struct fw_entry *entry = *fw_chains_at(&tab->chains, *at);
		bool is_whole = fw_chains_is_start(&tab->chains, *at);

		fw_chains_prefetch_ahead(&tab->chains, *at);
		for (; entry; entry = entry->next) {
			n -= n > 0;
			if (!is_whole && hash_of(tab, entry) < *at)
				continue;
			r = fn(data, entry);
			if (r < 0)
				return r;
			is_enough |= r > 0;
		}
		*at = fw_chains_behind(&tab->chains, *at);
		n -= n > 0;
	} while (*at && n && !is_enough);
	return *at != 0;
}

int fw_flowtab_foreach(const struct fw_flowtab *tab,
		       int (*fn)(void *data, const struct fw_entry *entry),
		       void *data)
{
	const struct fw_entry *entry;
	uint64_t at = 0;
	int r;

	do {
		fw_chains_prefetch_ahead(&tab->chains, at);
		for (entry = *fw_chains_at(&tab->chains, at); entry;
		     entry = entry->next) {
			r = fn(data, entry);
			if (r)
				return r;
		}
		at = fw_chains_behind(&tab->chains, at);
	} while (at);
	return 0;
}

/* ---- generations ------------------------------------------------------------- */

void fw_flowtab_begin(struct fw_flowtab *tab, uint64_t now_ns)
{
	tab->gen++;
	tab->begin_ns = now_ns;
	tab->corrections = 0;
	tab->first_ns = UINT64_MAX;
	tab->is_open = true;
	tab->is_sweeping = false;
}

static void note_expiry(struct fw_flowtab *tab, const struct fw_entry *entry)
{
	if (entry->expires_ns < tab->first_ns)
		tab->first_ns = entry->expires_ns;
}

/* Marks a source of an entry as seen in the current generation. */
static void see(const struct fw_flowtab *tab, struct fw_entry *entry,
		uint8_t source)
{
	if (entry->gen != tab->gen) {
		entry->gen = tab->gen;
		entry->seen = 0;
		entry->flags &= (uint8_t)~(FW_ENTRY_EVENT | FW_ENTRY_MOVED);
	}
	entry->seen |= source;
}

/* Forgets what only nf_conntrack told. */
static void forget_ct(struct fw_entry *entry)
{
	entry->sources &= (uint8_t)~FW_SOURCE_CT;
	entry->flags &= FW_ENTRY_DEAD;
	entry->ct_id = 0;
	entry->status = 0;
	entry->kernel_tcp = 0;
	entry->mark &= FW_MARK_GEN_MASK;
	forget_counts(entry);
}

/* True if the entry is to be removed. Once more does no harm. */
static bool sweep_entry(struct fw_flowtab *tab, struct fw_entry *entry)
{
	uint8_t seen = entry->gen == tab->gen ? entry->seen : 0;
	uint8_t gone = entry->sources & tab->sweeps & (uint8_t)~seen;
	struct place before;

	if (entry->flags & FW_ENTRY_DEAD)
		return true;
	if (gone && entry->expires_ns > tab->begin_ns)
		tab->corrections++;
	if (gone == entry->sources)
		return true;
	if (gone & FW_SOURCE_CT) {
		before = place_of(entry);
		forget_ct(entry);
		recount(tab, before, entry);
	}
	entry->sources &= (uint8_t)~gone;
	return false;
}

/* The whole chain, though flows in it may come later, or have been before. */
static size_t sweep_chain(struct fw_flowtab *tab)
{
	struct fw_entry **link = fw_chains_at(&tab->chains, tab->swept);
	size_t n = 1;

	fw_chains_prefetch_ahead(&tab->chains, tab->swept);
	for (; *link; n++) {
		if (sweep_entry(tab, *link)) {
			say_gone(tab, *link);
			unlink_entry(tab, link);
		} else {
			link = &(*link)->next;
		}
	}
	tab->swept = fw_chains_behind(&tab->chains, tab->swept);
	return n;
}

/*
 * What a flow is that there is news of while the sweep goes on: swept, as if that had
 * been done at once. NULL: it is gone.
 */
static struct fw_entry **settled(struct fw_flowtab *tab,
				 const struct fw_tuple *tuple, uint16_t zone)
{
	struct fw_entry **link = fw_chains_link(&tab->chains, tuple, zone);

	if (!tab->is_sweeping || !*link || hash_of(tab, *link) < tab->swept ||
	    !sweep_entry(tab, *link))
		return link;
	say_gone(tab, *link);
	unlink_entry(tab, link);
	return fw_chains_link(&tab->chains, tuple, zone);
}

static void begin_sweep(struct fw_flowtab *tab, uint8_t sources)
{
	tab->is_open = false;
	tab->is_sweeping = true;
	tab->sweeps = sources;
	tab->swept = 0;
}

void fw_flowtab_sweep_begin(struct fw_flowtab *tab, uint8_t sources)
{
	begin_sweep(tab, sources);
	if (sources & FW_SOURCE_CT)
		tab->swept_ns = tab->begin_ns;
}

void fw_flowtab_abort_begin(struct fw_flowtab *tab)
{
	begin_sweep(tab, 0);
}

static void end_sweep(struct fw_flowtab *tab)
{
	tab->is_sweeping = false;
	if (tab->sweeps) {
		tab->expected = tab->n;
		fw_chains_give_room_back(&tab->chains, tab->n);
	}
}

bool fw_flowtab_sweep_some(struct fw_flowtab *tab, size_t n)
{
	size_t done = 0;

	while (tab->is_sweeping && done < n) {
		done += sweep_chain(tab);
		if (!tab->swept)
			end_sweep(tab);
	}
	return tab->is_sweeping ||
	       fw_chains_move(&tab->chains, n - (done < n ? done : n));
}

void fw_flowtab_sweep(struct fw_flowtab *tab, uint8_t sources)
{
	fw_flowtab_sweep_begin(tab, sources);
	while (fw_flowtab_sweep_some(tab, SIZE_MAX))
		;
}

void fw_flowtab_abort(struct fw_flowtab *tab)
{
	fw_flowtab_abort_begin(tab);
	while (fw_flowtab_sweep_some(tab, SIZE_MAX))
		;
}

/* ---- what ctnetlink says ------------------------------------------------------ */

static bool is_same_id(const struct fw_entry *entry, const struct fw_ct *ct)
{
	return !entry->ct_id || !ct->id || entry->ct_id == ct->id;
}

/* Ends an entry: at once, or at the sweep while a dump may still show it. */
static void end_ct(struct fw_flowtab *tab, struct fw_entry **link)
{
	struct fw_entry *entry = *link;
	struct place before = place_of(entry);

	if (entry->sources & FW_SOURCE_XFLOW) {
		forget_ct(entry);
		recount(tab, before, entry);
	} else if (!tab->is_open) {
		say_gone(tab, entry);
		unlink_entry(tab, link);
	} else if (!(entry->flags & FW_ENTRY_DEAD)) {
		say_gone(tab, entry);
		see(tab, entry, 0);
		entry->flags |= FW_ENTRY_DEAD;
		recount(tab, before, entry);
		tab->n--;
		tab->n_dead++;
	}
}

static void destroy(struct fw_flowtab *tab, struct fw_entry **link,
		    const struct fw_ct *ct)
{
	/* Either would be about a predecessor with the same tuple. */
	if (!*link || (*link)->flags & FW_ENTRY_BPF || !is_same_id(*link, ct))
		return;
	end_ct(tab, link);
}

/*
 * A piece of a dump may be older than an event that was read before it. If the
 * entry is a newer one instead, its own event is still to come.
 */
static bool is_outdated(const struct fw_flowtab *tab,
			const struct fw_entry *entry, const struct fw_ct *ct)
{
	bool has_spoken = entry->flags & FW_ENTRY_EVENT;

	if (entry->gen != tab->gen)
		return false;
	if (entry->flags & FW_ENTRY_DEAD)
		return has_spoken || is_same_id(entry, ct);
	return has_spoken && !is_same_id(entry, ct);
}

/* The tuple is used again: nothing of the flow before is true any more. */
static void renew(struct fw_flowtab *tab, struct fw_entry *entry)
{
	say_gone(tab, entry);
	tab->has_new = true;
	entry->opened_ns = 0;
	entry->mark = 0;
	entry->status = 0;
	entry->ifindex = 0;
	entry->slot = 0;
	entry->ct_id = 0;
	entry->kernel_tcp = 0;
	entry->dir = 0;
	entry->asked = 0;
	entry->flags &= FW_ENTRY_DEAD | FW_ENTRY_EVENT;
	forget_counts(entry);
}

/* Most entries have none: without memory this one has none either. */
static void set_counts(struct fw_entry *entry, const struct fw_ct *ct)
{
	if (!entry->counts)
		entry->counts = malloc(sizeof(*entry->counts));
	if (entry->counts)
		*entry->counts = ct->counts;
}

static void set_mark(struct fw_entry *entry, uint32_t mark)
{
	/* Judged again, perhaps by another rule: ask who that was. */
	if ((entry->mark ^ mark) & FW_MARK_GEN_MASK)
		entry->asked = 0;
	entry->mark = mark;
}

/*
 * The kernel opens a flow, then our program judges it; but its record is read before the
 * event.
 */
static uint32_t mark_of(const struct fw_entry *entry, enum fw_ct_msg msg,
			const struct fw_ct *ct)
{
	bool is_told = msg == FW_CT_NEW && !entry->ct_id &&
		       !(entry->flags & FW_ENTRY_BPF);

	if (!is_told || ct->mark & FW_MARK_GEN_MASK)
		return ct->mark;
	return ct->mark | (entry->mark & FW_MARK_GEN_MASK);
}

static void merge_tcp(struct fw_entry *entry, const struct fw_ct *ct)
{
	const uint8_t *flags = ct->tcp_flags;

	entry->kernel_tcp = ct->tcp_state;
	entry->flags &= (uint8_t)~(FW_ENTRY_OURS | FW_ENTRY_FIN_REPLY);
	/*
	 * What fw_ctnl_queue_tcp_state() leaves behind. The kernel adds to the
	 * flags with the first packet that it tracks itself.
	 */
	if (flags[0] == IP_CT_TCP_FLAG_BE_LIBERAL &&
	    flags[1] == IP_CT_TCP_FLAG_BE_LIBERAL)
		entry->flags |= FW_ENTRY_OURS;
	if (flags[1] & IP_CT_TCP_FLAG_CLOSE_INIT)
		entry->flags |= FW_ENTRY_FIN_REPLY;
}

/* Nobody has translated it, as far as is known. */
static void forget_reply(struct fw_flowtab *tab, struct fw_entry *entry)
{
	fw_pool_put(&tab->replies, entry->reply);
	entry->reply = NULL;
}

/* -ENOMEM: it is shown as if no address were translated. */
static int set_reply(struct fw_flowtab *tab, struct fw_entry *entry,
		     const struct fw_tuple *reply)
{
	struct fw_tuple inverse;

	fw_tuple_invert(&entry->orig, &inverse);
	if (memcmp(&inverse, reply, sizeof(inverse)) == 0) {
		forget_reply(tab, entry);
		return 0;
	}
	if (!entry->reply)
		entry->reply = fw_pool_take(&tab->replies);
	if (!entry->reply)
		return -ENOMEM;
	*entry->reply = *reply;
	return 0;
}

static int merge_ct(struct fw_flowtab *tab, struct fw_entry *entry,
		    enum fw_ct_msg msg, const struct fw_ct *ct, uint64_t now_ns)
{
	/* Dumps show all there is; events show only what is not zero. */
	const bool is_whole = msg == FW_CT_DUMPED || msg == FW_CT_NEW;
	uint64_t left_s = OFFLOADED_LIFE_S;

	if (is_whole || ct->has & FW_CT_HAS_MARK)
		set_mark(entry, mark_of(entry, msg, ct));
	if (ct->id)
		entry->ct_id = ct->id;
	if (is_whole || ct->has & FW_CT_HAS_STATUS)
		entry->status = ct->status;
	if (ct->has & FW_CT_HAS_TCP)
		merge_tcp(entry, ct);
	if (ct->has & FW_CT_HAS_COUNTS)
		set_counts(entry, ct);
	/* Whole seconds, rounded down: it lives until the next one is full. */
	if (ct->has & FW_CT_HAS_TIMEOUT)
		left_s = (uint64_t)ct->timeout_s + 1;
	if (is_whole || ct->has & FW_CT_HAS_TIMEOUT)
		entry->expires_ns = now_ns + left_s * NS_PER_S - 1;
	if (msg == FW_CT_NEW) {
		entry->flags &= (uint8_t)~FW_ENTRY_BPF;
		if (!entry->opened_ns)
			entry->opened_ns = now_ns;
	}
	entry->sources |= FW_SOURCE_CT;
	return set_reply(tab, entry, &ct->reply);
}

int fw_flowtab_ct(struct fw_flowtab *tab, enum fw_ct_msg msg,
		  const struct fw_ct *ct, uint64_t now_ns,
		  struct fw_entry **ret)
{
	struct fw_entry **link = settled(tab, &ct->orig, ct->zone);
	struct fw_entry *entry = *link;
	struct place before = place_of(entry);
	bool was_expired;
	int r;

	*ret = NULL;
	begin_merge(tab, entry);
	if (msg == FW_CT_DESTROYED) {
		destroy(tab, link, ct);
		return 0;
	}
	if (entry && msg == FW_CT_DUMPED && is_outdated(tab, entry, ct))
		return 0;
	was_expired = entry && entry->expires_ns <= now_ns;
	if (!entry)
		entry = add(tab, &ct->orig, ct->zone);
	else if (entry->flags & FW_ENTRY_DEAD || !is_same_id(entry, ct))
		renew(tab, entry);
	if (!entry)
		return -ENOMEM;
	revive(tab, entry);
	r = merge_ct(tab, entry, msg, ct, now_ns);
	recount(tab, before, entry);
	end_merge(tab, entry);
	note_expiry(tab, entry);
	see(tab, entry, FW_SOURCE_CT);
	if (msg != FW_CT_DUMPED)
		entry->flags |= FW_ENTRY_EVENT;
	else if (tab->has_new || tab->has_changed || was_expired)
		tab->corrections++;
	*ret = entry;
	return r;
}

/* ---- what our programs say ----------------------------------------------------- */

/* UDP flows use SYN_SENT and ESTABLISHED: unanswered and answered. */
static void merge_progress(struct fw_entry *entry, uint8_t tcp_state)
{
	if (tcp_state >= FW_TCP_STATE_MAX)
		return;
	entry->mark &= ~FW_MARK_TCP_MASK;
	entry->mark |= (uint32_t)tcp_state << FW_MARK_TCP_SHIFT;
	if (tcp_state == FW_TCP_SYN_RECV || tcp_state == FW_TCP_ESTABLISHED ||
	    tcp_state == FW_TCP_ADOPTED_REPLY)
		entry->status |= IPS_SEEN_REPLY;
	if (tcp_state == FW_TCP_ESTABLISHED && entry->orig.proto == IPPROTO_TCP)
		entry->status |= IPS_ASSURED;
}

static void merge_judge(struct fw_entry *entry, const struct fw_event *event)
{
	entry->slot = event->slot;
	entry->ifindex = event->ifindex;
	entry->dir = event->dir;
	entry->mark &= ~FW_MARK_GEN_MASK;
	entry->mark |= event->gen << FW_MARK_GEN_SHIFT;
}

static void merge_new(struct fw_flowtab *tab, struct fw_entry *entry,
		      const struct fw_event *event)
{
	entry->opened_ns = event->time_ns;
	entry->status = IPS_CONFIRMED;
	entry->kernel_tcp = TCP_CONNTRACK_NONE;
	entry->mark = 0;
	entry->flags &= (uint8_t)~(FW_ENTRY_OURS | FW_ENTRY_FIN_REPLY |
				   FW_ENTRY_SHORT | FW_ENTRY_LIVES);
	entry->flags |= FW_ENTRY_BPF;
	forget_reply(tab, entry);
	entry->expires_ns = event->time_ns + FW_RECORD_LIFE_NS;
	merge_judge(entry, event);
	merge_progress(entry, event->tcp_state);
	entry->asked = FW_ASKED_ENOUGH;
}

static void merge_record(struct fw_flowtab *tab, struct fw_entry *entry,
			 const struct fw_event *event, bool is_fresh)
{
	const uint64_t expires_ns = event->time_ns + FW_RECORD_LIFE_NS;

	if (event->type == FW_EVENT_FLOW_NEW) {
		merge_new(tab, entry, event);
		return;
	}
	if (is_fresh) {
		forget_reply(tab, entry);
		entry->status = IPS_CONFIRMED;
		entry->mark = event->gen << FW_MARK_GEN_SHIFT;
		entry->expires_ns = expires_ns;
	}
	if (event->type == FW_EVENT_ADOPT) {
		merge_judge(entry, event);
		if (is_fresh) { /* as `flow_info` says, no need to ask */
			entry->opened_ns = event->time_ns;
			entry->asked = FW_ASKED_ENOUGH;
		}
		return;
	}
	merge_progress(entry, event->tcp_state);
	/* Its life depends on its state: what a dump said is out of date. */
	if (entry->expires_ns < expires_ns)
		entry->expires_ns = expires_ns;
}

/*
 * Entries of BPF end in silence: the next flow of the tuple is what tells. Not if a
 * dump was first to show that one.
 */
static bool is_successor(const struct fw_entry *entry,
			 const struct fw_event *event)
{
	return event->type == FW_EVENT_FLOW_NEW && entry->opened_ns &&
	       event->time_ns > entry->opened_ns + SAME_OPENING_NS;
}

/* Cut by BPF in whatever table it is. */
static void end_flow(struct fw_flowtab *tab, struct fw_entry **link)
{
	if (!*link)
		return;
	(*link)->sources &= (uint8_t)~FW_SOURCE_XFLOW;
	end_ct(tab, link);
}

void fw_flowtab_end(struct fw_flowtab *tab, const struct fw_tuple *orig,
		    uint16_t zone)
{
	end_flow(tab, settled(tab, orig, zone));
}

static uint8_t source_of(const struct fw_tuple *tuple)
{
	return tuple->proto == IPPROTO_TCP || tuple->proto == IPPROTO_UDP
		       ? FW_SOURCE_CT
		       : FW_SOURCE_XFLOW;
}

/* Whether it has far more flows than are expected, or `times` as many as that. */
static bool exceeds(const struct fw_flowtab *tab, size_t times)
{
	return tab->n + tab->n_dead > times * (2 * tab->expected + CROWD_SLACK);
}

bool fw_flowtab_is_crowded(const struct fw_flowtab *tab)
{
	return exceeds(tab, 1);
}

void fw_flowtab_expect(struct fw_flowtab *tab, size_t n)
{
	if (tab->expected < n)
		tab->expected = n;
}

int fw_flowtab_record(struct fw_flowtab *tab, const struct fw_event *event,
		      struct fw_entry **ret)
{
	struct fw_entry **link = settled(tab, &event->tuple, 0);
	struct fw_entry *entry = *link;
	bool is_fresh = !entry || entry->flags & FW_ENTRY_DEAD;
	struct place before = place_of(entry);
	uint8_t source = source_of(&event->tuple);

	*ret = NULL;
	begin_merge(tab, entry);
	if (event->type == FW_EVENT_FLOW_END) {
		end_flow(tab, link);
		return 0;
	}
	/* Had it still been there, the sweep would have left it. */
	if (is_fresh && event->time_ns < tab->swept_ns)
		return 0;
	if (!entry && exceeds(tab, 2))
		return -ENOSPC;
	if (!entry)
		entry = add(tab, &event->tuple, 0);
	else if (is_fresh)
		renew(tab, entry);
	if (!entry)
		return -ENOMEM;
	if (!is_fresh && is_successor(entry, event)) {
		say_gone(tab, entry);
		tab->has_new = true;
	}
	revive(tab, entry);
	merge_record(tab, entry, event, is_fresh);
	entry->sources |= source;
	recount(tab, before, entry);
	end_merge(tab, entry);
	note_expiry(tab, entry);
	/* Older ones lie within the dump: if it does not show them, they died. */
	if (!tab->is_open || event->time_ns >= tab->begin_ns) {
		see(tab, entry, source);
		if (event->type == FW_EVENT_FLOW_STATE)
			entry->flags |= FW_ENTRY_MOVED;
	}
	*ret = entry;
	return 0;
}

int fw_flowtab_xflow(struct fw_flowtab *tab, const struct fw_tuple *tuple,
		     const struct fw_xflow *xflow)
{
	struct fw_entry *entry = *settled(tab, tuple, 0);
	struct place before = place_of(entry);

	begin_merge(tab, entry);
	if (!entry)
		entry = add(tab, tuple, 0);
	if (!entry)
		return -ENOMEM;
	if (entry->flags & FW_ENTRY_DEAD)
		renew(tab, entry);
	revive(tab, entry);
	if (!(entry->sources & FW_SOURCE_CT)) {
		forget_reply(tab, entry);
		entry->status = xflow->replied ? IPS_SEEN_REPLY : 0;
		entry->mark = xflow->gen << FW_MARK_GEN_SHIFT |
			      (uint32_t)xflow->tcp_state << FW_MARK_TCP_SHIFT;
		entry->expires_ns = xflow->expires_ns;
	}
	/* The kernel may track an echo as well: it lives as long as either. */
	if (entry->expires_ns < xflow->expires_ns)
		entry->expires_ns = xflow->expires_ns;
	entry->opened_ns = xflow->opened_ns;
	entry->slot = xflow->slot;
	entry->ifindex = xflow->ifindex;
	entry->dir = xflow->dir;
	entry->sources |= FW_SOURCE_XFLOW;
	recount(tab, before, entry);
	end_merge(tab, entry);
	note_expiry(tab, entry);
	see(tab, entry, FW_SOURCE_XFLOW);
	return 0;
}

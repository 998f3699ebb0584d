/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * XDP: has the kernel a security association for ESP and AH that is sent to this host?
 *
 * A state that is found says that somebody has negotiated the SPI, not that the packet is
 * genuine: that the stack finds out, to whom it goes on. Where there is none nobody could
 * decrypt it. Without the kfuncs (before Linux 6.8) nothing of all this is done, and
 * rules that want it are refused (user/feature.c).
 *
 * IKE sends with new keys as soon as the other side may have them, and with the old ones
 * a little longer. So a larval state lets packets in for a time, and one that is gone as
 * well: both are remembered in `sas`.
 *
 * A packet that the stack would refuse for its sequence number is not worth the way there,
 * but nothing is dropped that it would take: see esp_is_replay().
 */
#pragma once

#include "kern/replay.h"
#include "kern/steer.h"

/* 36 bytes since Linux 6.8 (BPF_XFRM_STATE_OPTS_SZ). */
struct bpf_xfrm_state_opts___local {
	__s32 error;
	__s32 netns_id;
	__u32 mark;
	__be32 daddr[4];
	__be32 spi;
	__u8 proto;
	__u16 family;
};

_Static_assert(sizeof(struct bpf_xfrm_state_opts___local) == 36, "36 bytes");

struct xfrm_state *bpf_xdp_get_xfrm_state(struct xdp_md *,
					  struct bpf_xfrm_state_opts___local *,
					  __u32)
__ksym __weak;
void bpf_xdp_xfrm_state_release(struct xfrm_state *) __ksym __weak;
void *bpf_rdonly_cast(const void *, __u32)
__ksym __weak;

#define ESP_UDP_PORT 4500	  /* RFC 3948 */
#define ESP_NOTE_NS  100000000ull /* how exactly is known when one was valid */

#define ESP_ENOENT 2
#define ESP_EINVAL 22
#define ESP_ENONET 64

/* What the kernel has for an SPI: the better the greater. */
enum esp_state {
	ESP_NONE = 0,
	ESP_DEAD = 1, /* expired, or about to go */
	ESP_LARVAL = 2,
	ESP_REPLAY = 3, /* valid, and the packet has been there */
	ESP_VALID = 4,
};

/* One packet, and what was found. */
struct esp_look {
	struct fw_sa_key key;
	struct bpf_xfrm_state_opts___local opts;
	struct { /* as on the wire */
		__be32 spi, seq;
	} head;
	__u32 state;	/* enum esp_state */
	__u32 pcpu;	/* 1 + the CPU that it was made for; 0: any */
	bool is_unsure; /* there may be a better one */
};

static __always_inline void esp_count(enum fw_esp_count what)
{
	struct fw_esp_counts *c;

	if (is_dry)
		return;
	c = bpf_map_lookup_elem(&esp_counts, &first);
	if (c && (__u32)what < FW_ESP_MAX)
		c->n[what]++;
}

/*
 * Where the SPI is, the sequence number behind it; 0: it is no ESP. In UDP the kernel
 * takes what is longer than the header of ESP and does not begin with IKE's four zero
 * bytes (RFC 3948 section 2.2); a keepalive is shorter.
 */
static __always_inline __u32 esp_at(const struct pkt *p, struct xdp_md *ctx)
{
	struct {
		struct udphdr udp;
		__be32 spi;
	} room;
	const typeof(room) *at;

	if (p->key.proto == IPPROTO_ESP)
		return p->l4_off;
	if (p->key.proto == IPPROTO_AH)
		return p->l4_off + 4;
	at = ctx_at(ctx, FW_HOOK_XDP, p->l4_off, &room, sizeof(room));
	if (!at || bpf_ntohs(at->udp.len) <= 16 ||
	    p->l4_off + bpf_ntohs(at->udp.len) > p->l3_end || !at->spi)
		return 0;
	return p->l4_off + sizeof(at->udp);
}

static __always_inline void esp_key(struct esp_look *l, const struct pkt *p)
{
	bool v4 = p->key.family == FW_AF_IPV4;

	l->key.daddr = p->key.daddr;
	l->key.spi = l->head.spi;
	l->key.proto = p->key.proto == IPPROTO_AH ? IPPROTO_AH : IPPROTO_ESP;
	l->key.family = p->key.family;
	l->opts.netns_id = -1; /* of the device */
	if (v4)
		l->opts.daddr[0] = p->key.daddr.w[3];
	else
		__builtin_memcpy(l->opts.daddr, &p->key.daddr,
				 sizeof(l->opts.daddr));
	l->opts.spi = l->head.spi;
	l->opts.proto = l->key.proto;
	l->opts.family = v4 ? 2 : 10; /* AF_INET, AF_INET6 */
}

/* Nothing was found; only one of the errors means that there is nothing. */
static __always_inline void esp_failed(struct esp_look *l)
{
	switch (-l->opts.error) {
	case ESP_ENOENT:
		esp_count(FW_ESP_NOENT);
		return;
	case ESP_ENONET:
		esp_count(FW_ESP_NONET);
		break;
	case ESP_EINVAL:
		esp_count(FW_ESP_INVAL);
		break;
	default:
		esp_count(FW_ESP_OTHER);
		break;
	}
	l->is_unsure = true;
}

static __always_inline void esp_barrier(void)
{
	asm volatile("" ::: "memory");
}

/*
 * Window and bits are written by other processors, under x->lock, which is not ours to
 * take: in the same section in which they count a packet. What was read between two
 * looks at the counter and the top, both the same, was not written meanwhile, or the lock
 * was held when it had been read. That is so where loads and stores keep their order, and
 * where the lock is a word.
 */
static __always_inline bool esp_bit_is_set(const struct xfrm_state *x,
					   const struct replay *r,
					   __u64 packets, __u32 bit)
{
	const struct xfrm_replay_state_esn *esn = x->replay_esn;
	__u32 word = 0, top;

	if (!fw_is_ordered ||
	    !bpf_core_field_exists(x->lock.rlock.raw_lock.val.counter))
		return false;
	if (r->mode == REPLAY_LEGACY) {
		word = x->replay.bitmap;
	} else if (bit / 32 >= esn->bmp_len ||
		   bpf_probe_read_kernel(
			   &word, sizeof(word),
			   (const char *)esn +
				   bpf_core_field_offset(
					   struct xfrm_replay_state_esn, bmp) +
				   bit / 32 * sizeof(word))) {
		return false;
	}
	esp_barrier();
	if (x->lock.rlock.raw_lock.val.counter)
		return false;
	esp_barrier();
	top = r->mode == REPLAY_LEGACY ? x->replay.seq : esn->seq;
	return top == r->top && x->curlft.packets == packets &&
	       word >> bit % 32 & 1;
}

/*
 * Would the stack refuse the number for certain? What is behind the window stays behind
 * it, whoever moves that meanwhile.
 */
static __always_inline bool esp_is_replay(const struct xfrm_state *x,
					  __be32 seq)
{
	struct replay r = { .seq = bpf_ntohl(seq) };
	__u64 packets = x->curlft.packets;
	__s64 bit;

	esp_barrier();
	if (x->replay_esn) {
		r.mode = x->props.flags & XFRM_STATE_ESN ? REPLAY_ESN
							 : REPLAY_BMP;
		r.window = x->replay_esn->replay_window;
		r.top = x->replay_esn->seq;
	} else {
		r.mode = REPLAY_LEGACY;
		r.window = x->props.replay_window;
		r.top = x->replay.seq;
	}
	esp_barrier();
	bit = replay_bit(&r);
	if (bit < 0)
		return bit == REPLAY_OLD;
	return esp_bit_is_set(x, &r, packets, (__u32)bit);
}

/*
 * The same state, for reading only. Each pointer that is followed from the one that was
 * acquired has the verifier search all names of the kernel's types (6.8 to 6.18), on each
 * path: together as long as it takes for the rest of the program.
 */
static __always_inline const struct xfrm_state *
esp_reading(const struct xfrm_state *x)
{
	return bpf_rdonly_cast(
		x, (__u32)bpf_core_type_id_kernel(struct xfrm_state));
}

/* Look for a state with this mark. A call: it is walked once for all marks. */
static __noinline int esp_ask(struct xdp_md *ctx, struct esp_look *l,
			      __u32 mark)
{
	struct xfrm_state *x;
	__u32 state = ESP_DEAD, pcpu = 0;

	if (!bpf_xdp_get_xfrm_state || !bpf_xdp_xfrm_state_release ||
	    !bpf_rdonly_cast)
		return 0;
	l->opts.mark = mark;
	l->opts.error = 0;
	x = bpf_xdp_get_xfrm_state(ctx, &l->opts, sizeof(l->opts));
	if (!x) {
		esp_failed(l);
		return 0;
	}
	if (x->km.state == XFRM_STATE_VALID)
		state = esp_is_replay(esp_reading(x), l->head.seq) ? ESP_REPLAY
								   : ESP_VALID;
	else if (x->km.state == XFRM_STATE_ACQ)
		state = ESP_LARVAL;
	if (bpf_core_field_exists(x->pcpu_num))
		pcpu = x->pcpu_num + 1;
	bpf_xdp_xfrm_state_release(x);
	if (state > l->state) {
		l->state = state;
		l->pcpu = pcpu;
	}
	return 0;
}

/* Which mark the packet will have nobody knows here: any will do. */
static __always_inline void esp_ask_all(struct xdp_md *ctx, struct esp_look *l)
{
	const struct fw_esp_marks *marks;
	__u32 i;

	(void)esp_ask(ctx, l, 0);
	marks = bpf_map_lookup_elem(&esp_marks, &first);
	if (!marks)
		return;
	for (i = 0; i < FW_MAX_ESP_MARKS; i++) {
		if (l->state == ESP_VALID || i >= marks->n)
			break;
		if (marks->mark[i])
			(void)esp_ask(ctx, l, marks->mark[i]);
	}
	if (marks->unknown)
		l->is_unsure = true;
}

/* The first packet that finds a state makes the entry. */
static __always_inline void esp_note_first(const struct esp_look *l, __u64 now,
					   __u32 len)
{
	struct fw_sa sa = { .packets = 1, .bytes = len };

	if (is_dry)
		return;
	sa.replayed = l->state == ESP_REPLAY;
	if (l->state >= ESP_REPLAY)
		sa.valid_ns = now;
	else
		sa.larval_ns = now;
	(void)bpf_map_update_elem(&sas, &l->key, &sa, BPF_NOEXIST);
}

/* Another processor may have a clock that is a tick ahead, and written that. */
static __always_inline bool esp_is_within(__u64 since, __u64 span, __u64 now)
{
	return since + span >= now;
}

/* There is a state; when it was so is written now and then, for all CPUs. */
static __always_inline void esp_note(struct fw_sa *sa, const struct esp_look *l,
				     __u64 now, __u32 len)
{
	if (is_dry)
		return;
	if (l->state == ESP_REPLAY)
		__sync_fetch_and_add(&sa->replayed, 1);
	if (l->state >= ESP_REPLAY) {
		if (!esp_is_within(sa->valid_ns, ESP_NOTE_NS, now))
			sa->valid_ns = now;
		if (sa->larval_ns)
			sa->larval_ns = 0;
	} else if (!sa->larval_ns) {
		sa->larval_ns = now;
	}
	__sync_fetch_and_add(&sa->packets, 1);
	__sync_fetch_and_add(&sa->bytes, len);
}

/* May the packet go on, with what was found and what is remembered? */
static __always_inline bool
esp_is_good(const struct pkt *p, const struct run *r, const struct esp_look *l)
{
	__u64 grace = r->head->esp_grace * 1000000000ull;
	__u64 now = bpf_ktime_get_coarse_ns(), larval_ns = now;
	struct fw_sa *sa = bpf_map_lookup_elem(&sas, &l->key);
	__u32 len = p->l3_end - p->l3_off;

	if (l->state >= ESP_LARVAL) {
		if (sa && sa->larval_ns)
			larval_ns = sa->larval_ns;
		if (sa)
			esp_note(sa, l, now, len);
		else
			esp_note_first(l, now, len);
	}
	if (l->state >= ESP_REPLAY) {
		esp_count(l->state == ESP_REPLAY ? FW_ESP_REPLAY
						 : FW_ESP_VALID);
		return true;
	}
	if (l->state == ESP_LARVAL && grace &&
	    esp_is_within(larval_ns, grace, now)) {
		esp_count(FW_ESP_LARVAL);
		return true;
	}
	if (sa && sa->valid_ns && esp_is_within(sa->valid_ns, grace, now)) {
		esp_count(FW_ESP_GRACE);
		return true;
	}
	/* who gets the SPI next begins anew */
	if (!is_dry && sa && l->state == ESP_NONE && !l->is_unsure)
		(void)bpf_map_delete_elem(&sas, &l->key);
	return false;
}

/* Tell of an SPI that nobody has; a budget of its own. */
static __noinline int esp_tell(struct pkt *p, __be32 spi, __u32 gen, bool drop)
{
	const __u32 index = FW_LOG_BUDGET_ESP;
	__u64 now = bpf_ktime_get_ns();
	struct fw_log_budget *b;
	struct fw_event *e;

	p->told = true;
	if (is_dry)
		return 0;
	b = bpf_map_lookup_elem(&log_budgets, &index);
	if (!b)
		return -1;
	e = budget_take(&b->tat_ns, now, FW_LOG_INTERVAL_NS, FW_LOG_BURST_NS)
		    ? bpf_ringbuf_reserve(&events, sizeof(*e), 0)
		    : NULL;
	if (!e) {
		b->suppressed++;
		return -1;
	}
	event_fill(e, p, now, FW_EVENT_ESP, FW_HOOK_XDP,
		   FW_REASON_DROP_ESP_UNKNOWN_SPI, gen);
	e->slot = 0;
	e->spi = spi;
	e->verdict = drop ? FW_DROP : FW_ACCEPT;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

static __noinline enum fw_reason esp_judge(struct pkt *p, const struct run *r,
					   struct xdp_md *ctx)
{
	bool drop = r->head->options & FW_OPT_ESP_DROP;
	struct esp_look l = {};
	__u32 at = esp_at(p, ctx);

	if (!at)
		return FW_REASON_NONE;
	/* the stack would do the same */
	if (at + sizeof(l.head) > p->l3_end ||
	    ctx_load(ctx, FW_HOOK_XDP, at, &l.head, sizeof(l.head)))
		return drop ? FW_REASON_DROP_TRUNCATED : FW_REASON_NONE;
	esp_key(&l, p);
	esp_ask_all(ctx, &l);
	if (l.is_unsure && l.state == ESP_REPLAY)
		l.state = ESP_VALID; /* that of another mark may take it */
	if (esp_is_good(p, r, &l)) {
		if (drop && l.state == ESP_REPLAY)
			return FW_REASON_DROP_ESP_REPLAY;
		if (r->head->options & FW_OPT_ESP_STEER &&
		    l.state >= ESP_LARVAL)
			(void)steer(ctx, p, r, &l.key, l.pcpu);
		return FW_REASON_NONE;
	}
	if (l.is_unsure) {
		esp_count(FW_ESP_UNSURE);
		return FW_REASON_NONE;
	}
	esp_count(FW_ESP_UNKNOWN);
	if (r->head->options & (FW_OPT_ESP_LOG | FW_OPT_ESP_DROP))
		(void)esp_tell(p, l.head.spi, r->gen, drop);
	return drop ? FW_REASON_DROP_ESP_UNKNOWN_SPI : FW_REASON_NONE;
}

/* ESP and AH to this host, whole; anything else is none of this. */
static __always_inline enum fw_reason
esp_filter(struct pkt *p, const struct run *r, struct xdp_md *ctx)
{
	__u8 proto = p->key.proto;

	if (!bpf_xdp_get_xfrm_state)
		return FW_REASON_NONE;
	if (p->frag != PKT_WHOLE || p->daddr_self != FW_SELF_ADDRESS)
		return FW_REASON_NONE;
	if (likely(proto != IPPROTO_ESP && proto != IPPROTO_AH &&
		   (proto != IPPROTO_UDP || p->key.dport != ESP_UDP_PORT)))
		return FW_REASON_NONE;
	return (enum fw_reason)forget(esp_judge(p, r, ctx));
}

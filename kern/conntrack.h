/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The kernel's connection table: look up, advance, judge again, insert.
 *
 * A reference is acquired and released within one function; what a caller
 * needs of an entry is copied out.
 */
#pragma once

/* In struct flow, `offload`: it was answered, or (UDP) not yet. */
#define FLOW_OFFLOAD_ANSWERED 1
#define FLOW_OFFLOAD_FIRST    2

/* 12 bytes, what every kernel accepts; 6.18's own has grown to 16. */
struct bpf_ct_opts___local {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
	__u8 reserved[2];
};

struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *, struct bpf_sock_tuple *,
				  __u32, struct bpf_ct_opts___local *, __u32)
__ksym __weak;
struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *, struct bpf_sock_tuple *,
				  __u32, struct bpf_ct_opts___local *, __u32)
__ksym __weak;
struct nf_conn___init *bpf_skb_ct_alloc(struct __sk_buff *,
					struct bpf_sock_tuple *, __u32,
					struct bpf_ct_opts___local *, __u32)
__ksym __weak;
struct nf_conn *bpf_ct_insert_entry(struct nf_conn___init *) __ksym __weak;
void bpf_ct_release(struct nf_conn *) __ksym __weak;
void bpf_ct_set_timeout(struct nf_conn___init *, __u32) __ksym __weak;
int bpf_ct_change_timeout(struct nf_conn *, __u32)
__ksym __weak;
int bpf_ct_set_status(const struct nf_conn___init *, __u32)
__ksym __weak;
int bpf_ct_change_status(struct nf_conn *, __u32)
__ksym __weak;

/* Looking for conntrack's hook among those of a family. */
struct hook_search {
	struct nf_hook_ops **ops;
	bool found;
};

/*
 * Conntrack's hook is known by what it asked for, not by its address, which
 * kernel.kptr_restrict may hide: nothing else of the kernel has its priority
 * there, and chains of nftables and BPF programs, which may have any, are of a
 * type of their own.
 */
static long hook_step(__u32 i, struct hook_search *s)
{
	struct nf_hook_ops *op;

	if (bpf_probe_read_kernel(&op, sizeof(op), s->ops + i))
		return 1;
	s->found = BPF_CORE_READ(op, priority) == NF_CONNTRACK_PRIORITY &&
		   BPF_CORE_READ_BITFIELD_PROBED(op, hook_ops_type) ==
			   NF_HOOK_OP_UNDEFINED;
	return s->found;
}

/*
 * True if the namespace's conntrack hooks run for this family, because of
 * somebody's NAT or `ct` rule. Then the kernel makes and tracks the entries:
 * one of ours would be confirmed already and could never be translated.
 *
 * The hooks of a namespace are followed by as many pointers to what registered
 * them (nf_hook_entries_get_hook_ops() in linux/netfilter.h).
 *
 * The verifier walks it once: it is given an address, which is a number.
 */
__noinline int find_hook(__u64 address, __u32 family)
{
	struct net *net = (void *)address;
	struct nf_hook_entries *hooks;
	struct hook_search s = {};
	__u16 n;

	if (family == FW_AF_IPV4)
		hooks = BPF_CORE_READ(net, nf.hooks_ipv4[NF_INET_PRE_ROUTING]);
	else
		hooks = BPF_CORE_READ(net, nf.hooks_ipv6[NF_INET_PRE_ROUTING]);
	if (!hooks)
		return false;
	n = BPF_CORE_READ(hooks, num_hook_entries);
	s.ops = (void *)hooks +
		bpf_core_field_offset(struct nf_hook_entries, hooks) +
		(__u64)n * bpf_core_type_size(struct nf_hook_entry);
	bpf_loop(n, hook_step, &s, 0);
	return s.found;
}

static __always_inline bool hooks_active(struct net *net, __u8 family)
{
	return find_hook((__u64)net, family);
}

/* Our bits of a mark, shifted down: progress in the lower four, then the generation. */
#define HALF_STATE_MASK (FW_TCP_STATES - 1u)
#define HALF_GEN_SHIFT	(FW_MARK_GEN_SHIFT - FW_MARK_SHIFT)
#define HALF_GEN_MASK	(FW_MARK_HALF & ~HALF_STATE_MASK)

static __always_inline __u32 mark_gen(const struct fw_image_head *head,
				      __u32 mark)
{
	return mark >> head->mark_shift >> HALF_GEN_SHIFT & FW_MARK_GEN_MAX;
}

static __always_inline __u32 mark_half(const struct fw_image_head *head,
				       __u32 mark)
{
	return mark >> head->mark_shift & FW_MARK_HALF;
}

static __always_inline __u8 mark_state(const struct fw_image_head *head,
				       __u32 mark)
{
	return mark >> head->mark_shift & HALF_STATE_MASK;
}

/* The mark with other bits of ours in it. */
static __always_inline __u32 mark_set(const struct fw_image_head *head,
				      __u32 mark, __u32 mask, __u32 half)
{
	return (mark & ~(mask << head->mark_shift)) | half << head->mark_shift;
}

static __always_inline __u32 mark_set_gen(const struct fw_image_head *head,
					  __u32 mark, __u32 gen)
{
	return mark_set(head, mark, HALF_GEN_MASK, gen << HALF_GEN_SHIFT);
}

/*
 * A mark whose bits of ours are still where earlier rules had them, as it would be
 * now. User space has cleared the bits where they belong before these rules ran: what
 * is there has been written since.
 */
static __noinline __u32 mark_carried(__u32 mark, __u32 shift, __u32 before)
{
	__u32 half = mark >> before & FW_MARK_HALF;

	if (!half || mark >> shift & FW_MARK_HALF)
		return mark;
	return (mark & ~(FW_MARK_HALF << before)) | half << shift;
}

static __always_inline __u32 mark_now(const struct fw_image_head *head,
				      __u32 mark)
{
	if (likely(!head->mark_before))
		return mark;
	return mark_carried(mark, head->mark_shift, head->mark_before - 1);
}

/*
 * The generation whose flow it is now: ours also if that keeps what earlier rules
 * accepted. Not what later ones have: nobody goes back.
 */
static __always_inline __u32 gen_now(const struct fw_image_head *head,
				     __u32 gen)
{
	if (likely(gen == head->gen) || !(head->options & FW_OPT_RELOAD_KEEP))
		return gen;
	if (!gen || fw_gen_has_ended(gen, head->ended_before, head->gen) ||
	    is_running(gen))
		return gen;
	return head->gen;
}

/* Entry of the packet; at egress, after NAT, of the packet turned around. */
static __always_inline struct nf_conn *ct_lookup(void *ctx,
						 const enum fw_hook hook,
						 const struct fw_tuple *t,
						 bool *ret_reply)
{
	struct bpf_ct_opts___local opts = { .netns_id = -1,
					    .l4proto = t->proto };
	sock_tuple sock = {};
	struct fw_tuple turned;
	struct nf_conn *ct;
	__u32 size;

	if (hook == FW_HOOK_EGRESS) {
		tuple_reverse(&turned, t);
		size = tuple_to_sock(&sock, &turned);
	} else {
		size = tuple_to_sock(&sock, t);
	}
	if (hook == FW_HOOK_XDP)
		ct = bpf_xdp_ct_lookup(ctx, &sock, size, &opts, sizeof(opts));
	else
		ct = bpf_skb_ct_lookup(ctx, &sock, size, &opts, sizeof(opts));
	if (ct)
		*ret_reply = (hook == FW_HOOK_EGRESS) ? !opts.dir : opts.dir;
	return ct;
}

static __always_inline void ct_add_status(struct nf_conn *ct, __u32 bits)
{
	__u32 status = (__u32)ct->status;

	if (is_dry)
		return;
	/* fails only if the entry is dying; then nobody will miss the bits */
	if ((status & bits) != bits)
		(void)bpf_ct_change_status(ct, status | bits);
}

static __always_inline void ct_set_mark(struct nf_conn *ct, __u32 mark)
{
	if (!is_dry)
		ct->mark = mark;
}

/* Jiffies that an entry has left. */
static __always_inline __s32 ct_left(struct nf_conn *ct)
{
	return (__s32)(ct->timeout - (__u32)bpf_jiffies64());
}

/*
 * Refresh when an eighth of the time is gone: a write per packet is wasted. Or when
 * there is more left than new rules give.
 */
static __always_inline void ct_refresh(struct nf_conn *ct, __u32 seconds,
				       bool half_open)
{
	__u32 full = seconds * fw_hz;

	if (is_dry || (__u32)ct_left(ct) - (full - full / 8) <= full / 8)
		return;
	if (half_open)
		seconds = pressure_life(seconds);
	(void)bpf_ct_change_timeout(ct, seconds * 1000);
}

/* The life of an entry that has changed its state; a RST never lengthens it. */
static __always_inline void ct_set_life(struct nf_conn *ct, __u32 seconds,
					bool shorten)
{
	if (is_dry)
		return;
	if (!shorten || ct_left(ct) > (__s32)(seconds * fw_hz))
		(void)bpf_ct_change_timeout(ct, seconds * 1000);
}

/*
 * See tcp_next(). Who says that a connection is there after a RST is believed if
 * there has been one. A UDP flow has two states only.
 */
static __always_inline __u8 ct_next(struct pkt *p, void *ctx,
				    const enum fw_hook hook,
				    const struct nf_conn *ct, __u8 state,
				    bool reply)
{
	__u8 next;

	if (p->key.proto != IPPROTO_TCP)
		return (reply ? FW_TCP_ESTABLISHED : state) | TCP_LIVES;
	next = tcp_next(state, reply, p->tcp_flags);
	if (likely(next == (FW_TCP_ESTABLISHED | TCP_LIVES)))
		return next;
	if (state == FW_TCP_REOPEN && next == FW_TCP_ESTABLISHED &&
	    !(ct->status & IPS_ASSURED))
		return FW_TCP_SYN_RECV;
	return check_handshake(p, ctx, hook, state, next);
}

/*
 * Move a flow of ours by this packet, whose ct_next() is `next`. Returns its new
 * state if that changed.
 *
 * Two CPUs may do this for the two directions of a flow at once. The mark is
 * written as a whole, so one of two concurrent transitions can get lost; the
 * worst outcome is that the flow stays in the earlier state until its next
 * packet, with the earlier state's timeout.
 */
static __always_inline __u8 ct_move(const struct pkt *p, struct nf_conn *ct,
				    bool reply, __u8 next,
				    const struct fw_image_head *head)
{
	bool tcp = p->key.proto == IPPROTO_TCP, lives = next & TCP_LIVES;
	const struct fw_timeouts *t = &head->timeouts;
	__u32 mark = ct->mark, life, bits = 0;
	__u8 state = mark_state(head, mark);

	next &= FW_TCP_STATES - 1;
	life = next;
	if (!tcp)
		life = next == FW_TCP_ESTABLISHED ? FW_LIFE_UDP_STREAM
						  : FW_LIFE_UDP;
	/* never by the first packet of a flow, nor by the answer to it */
	if (next == FW_TCP_ESTABLISHED && (tcp || !reply))
		bits |= IPS_ASSURED;
	if (reply)
		bits |= IPS_SEEN_REPLY;
	if (bits)
		ct_add_status(ct, bits);
	if (next != state) {
		ct_set_mark(ct, mark_set(head, mark, HALF_STATE_MASK, next));
		life = tcp_is_half_open(next) ? pressure_life(t->seconds[life])
					      : t->seconds[life];
		ct_set_life(ct, life, tcp && p->tcp_flags & TCP_RST);
		return next;
	}
	/* a handshake or a farewell does not live longer by being repeated */
	if (lives)
		ct_refresh(ct, t->seconds[life], tcp_is_half_open(next));
	return 0;
}

/*
 * The state of ours for a flow that the kernel has made, and tracks no longer, for its
 * hooks are gone: nobody else would refresh it, or see its end. NONE: it is the
 * kernel's, or dies soon. Looked at where it makes a difference.
 */
static __always_inline __u8 ct_orphan_state(const struct pkt *p, void *ctx,
					    const enum fw_hook hook,
					    struct nf_conn *ct,
					    const struct fw_timeouts *t)
{
	bool tcp = p->key.proto == IPPROTO_TCP;
	bool answered = ct->status & IPS_SEEN_REPLY;
	__u32 full = t->seconds[tcp	   ? FW_TCP_ESTABLISHED
				: answered ? FW_LIFE_UDP_STREAM
					   : FW_LIFE_UDP] *
		     fw_hz;

	if (!(tcp && p->tcp_flags & (TCP_FIN | TCP_RST)) &&
	    ct_left(ct) > (__s32)(full - full / 8))
		return FW_TCP_NONE;
	if (hooks_active(ctx_net(ctx, hook), p->key.family))
		return FW_TCP_NONE;
	if (tcp)
		return ct->proto.tcp.state == TCP_CONNTRACK_ESTABLISHED
			       ? FW_TCP_ESTABLISHED
			       : FW_TCP_NONE;
	return answered ? FW_TCP_ESTABLISHED : FW_TCP_SYN_SENT;
}

/*
 * The flow of an skb that the kernel tracks itself, as the kernel knows it: its
 * tuple before NAT, and also when the packet has just ended the entry (a RST
 * that answers a SYN kills it before we see the packet). TC egress only.
 */
static __always_inline bool
nfct_flow(void *ctx, const struct fw_image_head *head, struct flow *f)
{
	unsigned long nfct = skb_nfct(ctx);
	const struct nf_conn *ct = (void *)(nfct & ~7ul);
	__u32 info = nfct & 7; /* enum ip_conntrack_info */

	if (!ct || info > IP_CT_RELATED_REPLY) /* beyond: not tracked */
		return false;
	tuple_from_ct(&f->orig, ct);
	f->gen = mark_gen(head, mark_now(head, BPF_CORE_READ(ct, mark)));
	f->reply = info >= IP_CT_IS_REPLY;
	return f->orig.family != 0;
}

/*
 * The first packet of a flow that the kernel's helpers expected: it bears the mark of
 * the flow that has announced it, and nobody has judged it.
 */
static __always_inline bool ct_is_announced(struct nf_conn *ct, __u8 state)
{
	return state == FW_TCP_NONE &&
	       (ct->status & (IPS_EXPECTED | IPS_SEEN_REPLY)) == IPS_EXPECTED;
}

/*
 * Packets that the kernel does not see, it does not count either; it counts those of
 * flows that it has made, with net.netfilter.nf_conntrack_acct.
 */
static __always_inline bool ct_is_counted(struct nf_conn *ct)
{
	const struct nf_ct_ext *ext = ct->ext;
	__u8 offset = 0;

	if (!ext)
		return false;
	if (!bpf_core_enum_value_exists(enum nf_ct_ext_id, NF_CT_EXT_ACCT) ||
	    bpf_probe_read_kernel(
		    &offset, sizeof(offset),
		    (const void *)ext +
			    bpf_core_field_offset(struct nf_ct_ext, offset) +
			    bpf_core_enum_value(enum nf_ct_ext_id,
						NF_CT_EXT_ACCT)))
		return true;
	return offset != 0;
}

/*
 * The same of a flow that the kernel tracks. It has to bear that it misses packets, and
 * who else should keep the entry alive?
 */
static __always_inline bool ct_offload_kernel(const struct pkt *p,
					      struct nf_conn *ct)
{
	const __u32 need = IPS_ASSURED | IPS_SEEN_REPLY;
	const struct nf_ip_net *proto = &ct->ct_net.net->ct.nf_ct_proto;
	__u32 full;

	if ((ct->status & need) != need || ct_is_counted(ct))
		return false;
	if (p->key.proto == IPPROTO_TCP) {
		if (ct->proto.tcp.state != TCP_CONNTRACK_ESTABLISHED ||
		    !proto->tcp.tcp_be_liberal)
			return false;
		full = proto->tcp.timeouts[TCP_CONNTRACK_ESTABLISHED];
	} else {
		full = proto->udp.timeouts[1];
	}
	if (!is_dry && ct_left(ct) < (__s32)(full - full / 8))
		(void)bpf_ct_change_timeout(
			ct, (__u32)((__u64)full * 1000 / fw_hz));
	return true;
}

/*
 * FLOW_OFFLOAD_*: might XDP forward the packet, as far as its flow is concerned, which
 * it has just moved to the state `next` (NONE: the kernel tracks it)? Not if it is
 * translated or looked into on its way.
 */
static __noinline __u8 ct_offload(const struct pkt *p, struct nf_conn *ct,
				  __u8 next)
{
	const __u32 special = IPS_NAT_MASK | IPS_SEQ_ADJUST | IPS_DYING |
			      IPS_OFFLOAD | IPS_HW_OFFLOAD;
	__u32 status = (__u32)ct->status;

	next &= FW_TCP_STATES - 1;
	if (p->daddr_self || p->frag || status & special)
		return 0;
	if (ct->ext && ct->ext->offset[0])
		return 0;
	if (next == FW_TCP_NONE)
		return ct_offload_kernel(p, ct) ? FLOW_OFFLOAD_ANSWERED : 0;
	if (status & IPS_SEEN_REPLY)
		return next == FW_TCP_ESTABLISHED ? FLOW_OFFLOAD_ANSWERED : 0;
	return p->key.proto == IPPROTO_UDP ? FLOW_OFFLOAD_FIRST : 0;
}

/*
 * The flow has just been left in the state `next` (NONE: the kernel tracks it), and one
 * packet a second like this one keeps it there.
 */
static __always_inline bool ct_is_steady(const struct pkt *p,
					 const struct nf_conn *ct, __u8 next)
{
	if (next == FW_TCP_NONE)
		return ct->status & IPS_SEEN_REPLY;
	return p->key.proto == IPPROTO_UDP ||
	       next == (FW_TCP_ESTABLISHED | TCP_LIVES);
}

/*
 * Find the flow of a TCP or UDP packet; one that the running rules have accepted, or
 * keep, moves on. A function of its own: what it has on the stack is much, and
 * needed nowhere else.
 */
static __noinline void ct_find(struct pkt *p, void *ctx,
			       const enum fw_hook hook,
			       const struct fw_image_head *head)
{
	const struct fw_tuple *t = pkt_tuple(p);
	struct flow *f = &p->flow;
	bool reply = false;
	struct nf_conn *ct = ct_lookup(ctx, hook, t, &reply);
	__u8 state, next = FW_TCP_NONE;
	__u32 gen = head->gen, mark;
	bool barred;

	f->reply = reply;
	if (!ct) {
		if (dry_find(f, t))
			return;
		f->found = hook == FW_HOOK_EGRESS && nfct_flow(ctx, head, f) &&
			   f->orig.proto == t->proto;
		f->gen = gen_now(head, f->gen);
		return;
	}
	barred = f->bars >> reply & 1;
	mark = ct->mark;
	if (unlikely(mark_gen(head, mark) != gen))
		mark = mark_now(head, mark);
	state = mark_state(head, mark);
	if (unlikely(state == FW_TCP_NONE) && mark_gen(head, mark) == gen) {
		/* what it can be, the compiler knows, but not the verifier */
		state = forget(ct_orphan_state(p, ctx, hook, ct,
					       &head->timeouts)) &
			(FW_TCP_STATES - 1);
		mark = mark_set(head, mark, HALF_STATE_MASK, state);
		if (state != FW_TCP_NONE)
			ct_set_mark(ct, mark);
	}
	if (likely(state != FW_TCP_NONE)) { /* else it is the kernel's */
		next = unlikely(barred)
			       ? state
			       : ct_next(p, ctx, hook, ct, state, reply);
		if (unlikely(next == FW_TCP_NONE)) {
			f->reply = false;
			bpf_ct_release(ct);
			return;
		}
	}
	f->found = true;
	if (hook == FW_HOOK_EGRESS && ct_is_announced(ct, state))
		mark = 0;
	if (unlikely(p->frag))
		f->answered = reply || ct->status & IPS_SEEN_REPLY;
	f->gen = gen_now(head, mark_gen(head, mark));
	if (f->gen == gen) {
		if (unlikely(mark_gen(head, mark) != gen)) /* kept */
			ct_set_mark(ct, mark_set_gen(head, mark, gen));
		if (next != FW_TCP_NONE && likely(!barred))
			f->changed = ct_move(p, ct, reply, next, head);
	}
	if (f->gen != gen || f->changed ||
	    unlikely(head->options &
		     (FW_OPT_FLOW_ACCT | FW_OPT_OFFLOAD | FW_OPT_IPSEC))) {
		tuple_from_ct(&f->orig, ct);
		if (hook == FW_HOOK_XDP && f->gen == gen &&
		    head->options & FW_OPT_OFFLOAD)
			f->offload = ct_offload(p, ct, next);
		if (accounts(head) && f->gen == gen && next != FW_TCP_NONE)
			f->counts = FLOW_COUNTS;
	}
	/* what may be forwarded some time is asked about that */
	if (hook != FW_HOOK_EGRESS && head->remembers &&
	    (likely(!(head->options & FW_OPT_OFFLOAD)) || p->daddr_self) &&
	    f->gen == gen && ct_is_steady(p, ct, next)) {
		f->steady = true;
		f->half = gen << HALF_GEN_SHIFT | (next & (FW_TCP_STATES - 1));
		f->ct = (__u64)ct;
	}
	if (hook == FW_HOOK_EGRESS && state == FW_TCP_NONE)
		f->announces = expect_first(ct);
	bpf_ct_release(ct);
}

/* The rules accept the flow: say so in its mark. */
static __always_inline void ct_stamp(struct pkt *p, void *ctx,
				     const enum fw_hook hook,
				     const struct fw_tuple *t,
				     const struct fw_image_head *head)
{
	bool reply = false;
	struct nf_conn *ct;
	__u8 state, next;

	if (is_dry)
		return;
	ct = ct_lookup(ctx, hook, t, &reply);
	if (!ct)
		return; /* it has died meanwhile; the next packet opens anew */
	ct_set_mark(ct,
		    mark_set_gen(head, mark_now(head, ct->mark), head->gen));
	state = mark_state(head, ct->mark);
	next = state == FW_TCP_NONE ? FW_TCP_NONE
				    : ct_next(p, ctx, hook, ct, state, reply);
	if (next != FW_TCP_NONE) {
		(void)ct_move(p, ct, reply, next, head);
		account_for(p, head, &p->flow.orig);
	}
	bpf_ct_release(ct);
}

/* The rules deny a running flow: its entry ends at once. */
static __always_inline void ct_cut(void *ctx, const enum fw_hook hook,
				   const struct fw_tuple *t)
{
	bool reply = false;
	struct nf_conn *ct;

	if (is_dry)
		return;
	ct = ct_lookup(ctx, hook, t, &reply);
	if (!ct)
		return;
	/* -EPERM: IPS_FIXED_TIMEOUT; denied all the same, packet by packet */
	(void)bpf_ct_change_timeout(ct, 0);
	bpf_ct_release(ct);
}

/* A flow the other way round that has ended: a SYN of `t` opens one in its place. */
static __always_inline bool ct_is_over(struct nf_conn *ct,
				       const struct fw_image_head *head,
				       const struct fw_tuple *t, bool reply)
{
	__u8 state = mark_state(head, mark_now(head, ct->mark));

	return t->proto == IPPROTO_TCP && state != FW_TCP_NONE &&
	       tcp_next(state, reply, TCP_SYN) == FW_TCP_NONE;
}

static __always_inline bool ct_has(void *ctx, const struct fw_tuple *t)
{
	struct bpf_ct_opts___local opts = { .netns_id = -1,
					    .l4proto = t->proto };
	sock_tuple sock = {};
	struct nf_conn *ct;

	ct = bpf_skb_ct_lookup(ctx, &sock, tuple_to_sock(&sock, t), &opts,
			       sizeof(opts));
	if (!ct)
		return false;
	bpf_ct_release(ct);
	return true;
}

/*
 * What ct_insert() would say, as far as it can be seen: if by somebody's NAT the
 * answers' tuple is that of another entry, the hash does not take ours.
 */
static __noinline enum fw_reason ct_insert_dry(void *ctx,
					       const struct fw_tuple *t)
{
	struct fw_tuple turned;

	if (!t)
		return FW_REASON_DROP_INTERNAL;
	tuple_reverse(&turned, t);
	return !ct_has(ctx, t) && ct_has(ctx, &turned)
		       ? FW_REASON_DROP_TABLE_INSERT
		       : FW_REASON_NONE;
}

/*
 * Insert an entry for a flow that the rules accept, in its opener's direction.
 * Returns NONE, or why there is none.
 *
 * bpf_skb_ct_alloc() says NULL if the table is full or memory gone (-ENOMEM is all
 * it tells). bpf_ct_insert_entry() says NULL if the other CPU was faster, if an
 * entry with the tuple was still there, expired or of a flow that is over, or if
 * the chain of its bucket is too long. Looking again tells the first from the
 * others, and reaps the second.
 */
static __noinline enum fw_reason ct_insert(void *ctx, const struct fw_tuple *t,
					   const struct fw_image_head *head,
					   __u8 state, __u32 seconds)
{
	struct bpf_ct_opts___local opts = { .netns_id = -1,
					    .l4proto = t->proto };
	sock_tuple sock = {};
	struct nf_conn___init *init;
	struct nf_conn *ct;
	__u32 size = tuple_to_sock(&sock, t);
	bool replied =
		state == FW_TCP_ADOPTED_REPLY || state == FW_TCP_ESTABLISHED;
	bool is_over;

	if (is_dry)
		return ct_insert_dry(ctx, t);
	for (int try = 0; try < 3; try++) {
		init = bpf_skb_ct_alloc(ctx, &sock, size, &opts, sizeof(opts));
		if (!init)
			return FW_REASON_DROP_TABLE_FULL;
		bpf_ct_set_timeout(init, seconds * 1000);
		bpf_ct_set_status(init, replied ? IPS_SEEN_REPLY : 0);
		init->ct.mark = mark_set_gen(
			head, (__u32)state << head->mark_shift, head->gen);
		ct = bpf_ct_insert_entry(init);
		is_over = false;
		if (!ct) {
			ct = bpf_skb_ct_lookup(ctx, &sock, size, &opts,
					       sizeof(opts));
			is_over = ct && ct_is_over(ct, head, t, opts.dir);
		}
		if (is_over)
			(void)bpf_ct_change_timeout(ct, 0);
		if (ct)
			bpf_ct_release(ct);
		if (ct && !is_over)
			return FW_REASON_NONE;
	}
	return FW_REASON_DROP_TABLE_INSERT;
}

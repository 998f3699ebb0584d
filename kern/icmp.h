/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * ICMP errors: related only if the packet they quote belongs to a flow.
 *
 * The quoted packet went the other way: what arrives here quotes what left
 * here. Its source must be the error's destination (CVE-2019-5598), it must
 * not be a later fragment, and it must not be an ICMP error itself. Checksums in
 * the quote are not looked at: those who send errors, or translate them on the
 * way, often leave them wrong. That of the error itself covers all of it.
 */
#pragma once

/* Load of the quote; what follows the packet in its frame is none of it. */
static __always_inline bool quoted(const struct pkt *p, void *ctx,
				   const enum fw_hook hook, __u32 off, void *to,
				   const __u32 len)
{
	return off + len <= p->l3_end && !ctx_load(ctx, hook, off, to, len);
}

/* The first eight bytes are there in any case (RFC 792). */
static __always_inline bool quoted_l4(const struct pkt *p, void *ctx,
				      const enum fw_hook hook, __u32 off,
				      struct fw_tuple *t)
{
	struct {
		__be16 a, b, c, d;
	} l4;

	if (!quoted(p, ctx, hook, off, &l4, sizeof(l4)))
		return false;
	switch (t->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		t->sport = l4.a;
		t->dport = l4.b;
		return true;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		/* requests and replies only; `c` is the identifier */
		t->sport = l4.c;
		t->icmp_type = (__u8)(bpf_ntohs(l4.a) >> 8);
		if (t->family == FW_AF_IPV4 ? t->proto == IPPROTO_ICMPV6
					    : t->proto == IPPROTO_ICMP)
			return false;
		if (t->family == FW_AF_IPV4)
			return t->icmp_type == 8 || t->icmp_type == 0 ||
			       t->icmp_type == 13 || t->icmp_type == 14;
		return t->icmp_type == 128 || t->icmp_type == 129;
	default:
		return true;
	}
}

static __always_inline bool quoted_ipv4(const struct pkt *p, void *ctx,
					const enum fw_hook hook, __u32 off,
					struct fw_tuple *t)
{
	struct iphdr ip;

	if (!quoted(p, ctx, hook, off, &ip, sizeof(ip)))
		return false;
	if (ip.version != 4 || ip.ihl < 5 || (bpf_ntohs(ip.frag_off) & 0x1fff))
		return false;
	addr_from_v4(&t->saddr, ip.saddr);
	addr_from_v4(&t->daddr, ip.daddr);
	t->family = FW_AF_IPV4;
	t->proto = ip.protocol;
	return quoted_l4(p, ctx, hook, off + ip.ihl * 4u, t);
}

static __always_inline bool quoted_ipv6(const struct pkt *p, void *ctx,
					const enum fw_hook hook, __u32 off,
					struct fw_tuple *t)
{
	struct ipv6hdr ip;
	struct {
		__u8 next, len;
		__be16 frag_off;
	} eh;

	if (!quoted(p, ctx, hook, off, &ip, sizeof(ip)) || ip.version != 6)
		return false;
	__builtin_memcpy(&t->saddr, &ip.saddr, sizeof(t->saddr));
	__builtin_memcpy(&t->daddr, &ip.daddr, sizeof(t->daddr));
	t->family = FW_AF_IPV6;
	t->proto = ip.nexthdr;
	off += sizeof(ip);
	for (int i = 0; i < FW_MAX_EXT_HEADERS && is_ext6(t->proto); i++) {
		if (!quoted(p, ctx, hook, off, &eh, sizeof(eh)))
			return false;
		if (t->proto == IPPROTO_FRAGMENT) {
			if (bpf_ntohs(eh.frag_off) & 0xfff8)
				return false;
			off += 8;
		} else {
			off += (eh.len + 1u) * 8;
		}
		off = forget(off);
		t->proto = eh.next;
	}
	return quoted_l4(p, ctx, hook, off, t);
}

/*
 * The error is about the flow of `orig`, and goes its way, or (reply) back. Where a packet
 * of that may not be in clear, it may not either.
 */
static __always_inline void icmp_concerns(struct pkt *p,
					  const struct fw_image_head *head,
					  const struct fw_tuple *orig,
					  bool reply)
{
	if (likely(!(head->options & FW_OPT_IPSEC)))
		return;
	p->flow.orig = *orig;
	p->flow.reply = reply;
}

static __always_inline bool xflow_lives(const struct fw_tuple *t,
					const struct fw_image_head *head,
					__u64 now)
{
	const struct fw_xflow *x = xflow_get(t, now);

	return x && !fw_gen_has_ended(x->gen, head->ended_before, head->gen);
}

/* An echo reply is quoted by the flow of its request. */
static __always_inline bool icmp_xflow(struct pkt *p, struct fw_tuple *t,
				       const struct fw_image_head *head,
				       __u64 now)
{
	bool answer =
		t->icmp_type == 0 || t->icmp_type == 14 || t->icmp_type == 129;
	bool echo = t->proto == IPPROTO_ICMP || t->proto == IPPROTO_ICMPV6;

	if (echo && answer)
		t->icmp_type = t->icmp_type == 0    ? 8
			       : t->icmp_type == 14 ? 13
						    : 128;
	icmp_concerns(p, head, t, true);
	if ((!echo || !answer) && xflow_lives(t, head, now))
		return true;
	if (echo && !answer)
		return false;
	tuple_turn(t);
	icmp_concerns(p, head, t, false);
	return xflow_lives(t, head, now);
}

/* True if the error in `p` is about a flow that we or the kernel know and no load has ended. */
static __noinline bool icmp_has_flow(struct pkt *p, void *ctx,
				     const enum fw_hook hook,
				     const struct fw_image_head *head)
{
	struct fw_tuple about = {};
	bool reply = false, v4 = p->key.family == FW_AF_IPV4;
	__u32 off = p->l4_off + 8;
	struct nf_conn *ct;
	__u32 gen;

	if (p->frag == PKT_FRAG_LATER)
		return false;
	if (v4 ? !quoted_ipv4(p, ctx, hook, off, &about)
	       : !quoted_ipv6(p, ctx, hook, off, &about))
		return false;
	if (!addr_equal(&about.saddr, &p->key.daddr))
		return false;
	if (about.proto != IPPROTO_TCP && about.proto != IPPROTO_UDP)
		return icmp_xflow(p, &about, head, bpf_ktime_get_coarse_ns());
	/* ct_lookup() turns at egress; the quoted packet went the other way */
	tuple_turn(&about);
	ct = ct_lookup(ctx, hook, &about, &reply);
	if (!ct)
		return false;
	gen = mark_gen(head, mark_now(head, ct->mark));
	if (unlikely(head->options & FW_OPT_IPSEC)) {
		tuple_from_ct(&p->flow.orig, ct);
		p->flow.reply = reply;
	}
	bpf_ct_release(ct);
	return !fw_gen_has_ended(gen, head->ended_before, head->gen);
}

/* RELATED, or why the error in `p` is not let in as such. */
static __always_inline enum fw_reason
icmp_is_related(struct pkt *p, void *ctx, const enum fw_hook hook,
		const struct fw_image_head *head)
{
	enum fw_reason reason;

	if (!icmp_has_flow(p, ctx, hook, head))
		return FW_REASON_DROP_ICMP_UNRELATED;
	if (unlikely(head->options & FW_OPT_IPSEC)) {
		reason = check_ipsec_error(p, hook);
		if (reason != FW_REASON_NONE)
			return reason;
	}
	if (hook != FW_HOOK_EGRESS && !(head->options & FW_OFF_BAD_CHECKSUM) &&
	    !icmp_sum_is_right(p, ctx, hook))
		return FW_REASON_DROP_BAD_CHECKSUM;
	return FW_REASON_RELATED;
}

/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The checksum of an ICMP error. It is looked at once the error is known to be about a
 * flow: what is about none costs no walk through its bytes.
 */
#pragma once

#define SUM_STEP 64 /* bytes of one call */

struct icmp_sum {
	void *ctx;
	__u64 sum;
	__u32 off, end; /* of what is left */
};

static __always_inline long sum_step(struct icmp_sum *s,
				     const enum fw_hook hook)
{
	__u8 buf[SUM_STEP] __attribute__((aligned(8))) = {};
	__u32 len = s->end - s->off;

	if (len > SUM_STEP)
		len = SUM_STEP;
	len = ((forget(len) - 1) & (SUM_STEP - 1)) + 1; /* no change: a bound */
	if (hook == FW_HOOK_XDP ? bpf_xdp_load_bytes(s->ctx, s->off, buf, len)
				: bpf_skb_load_bytes(s->ctx, s->off, buf, len))
		return 1; /* the sum will not be right */
	s->sum += sum_words(buf, SUM_STEP / 4);
	s->off += len;
	return 0;
}

static long sum_step_xdp(__u32 i, struct icmp_sum *s)
{
	(void)i;
	return sum_step(s, FW_HOOK_XDP);
}

static long sum_step_tc(__u32 i, struct icmp_sum *s)
{
	(void)i;
	return sum_step(s, FW_HOOK_INGRESS);
}

/*
 * True as well of what cannot be told: a first fragment has only a part of what was
 * added up, and a routing header may have another last address (RFC 8200 section 8.1).
 */
static __noinline bool icmp_sum_is_right(const struct pkt *p, void *ctx,
					 const enum fw_hook hook)
{
	struct icmp_sum s = { .ctx = ctx, .off = p->l4_off, .end = p->l3_end };
	const bool v6 = p->key.family == FW_AF_IPV6;
	__u32 len = p->l3_end - p->l4_off;

	if (p->frag != PKT_WHOLE || (v6 && p->l4_off != p->l3_off + 40))
		return true;
	if (v6)
		s.sum = sum_words(&p->key.saddr, 4) +
			sum_words(&p->key.daddr, 4) + bpf_htonl(len) +
			bpf_htonl(IPPROTO_ICMPV6);
	bpf_loop((len + SUM_STEP - 1) / SUM_STEP,
		 hook == FW_HOOK_XDP ? sum_step_xdp : sum_step_tc, &s, 0);
	return s.off == s.end && sum_is_right(s.sum);
}

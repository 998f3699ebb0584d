/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Makes each packet of a run a different one and hands it to the program that
 * is measured, or to one that drops at once: what they have in common cancels.
 */
#include "kern/uapi.h"

#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "selftests/bench/path.h"

#define TC_SHOT 2 /* TC_ACT_SHOT */

struct nf_conn {
	unsigned long status;
} __attribute__((preserve_access_index));

struct bpf_ct_opts___path {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
	__u8 reserved[2];
};

struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *, struct bpf_sock_tuple *,
				  __u32, struct bpf_ct_opts___path *,
				  __u32) __ksym;
void bpf_ct_release(struct nf_conn *) __ksym;

struct path_vary vary;
__u32 at;    /* number of the packet */
__u32 found; /* flows, by what does nothing but look them up */

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 4);
} xdp_target SEC(".maps"), tc_target SEC(".maps");

/* Scattered over 0 .. n - 1, a power of two; n in a row are all of them. */
static __always_inline __u32 scatter(__u32 i, __u32 n)
{
	return i * 0x9e3779b1u & (n - 1);
}

static __always_inline void write_checksum(void *data, void *end, __u32 addr)
{
	__be16 *check = data + (vary.check_at & PATH_MAX_OFF);
	__u32 sum = vary.sum + (addr >> 16) + (addr & 0xffff);

	if (!vary.check_at || (void *)(check + 1) > end)
		return;
	sum = (sum >> 16) + (sum & 0xffff);
	sum += sum >> 16;
	*check = bpf_htons((__u16)~sum);
}

/* What forwarding has changed in the same buffer. */
static __always_inline void write_origin(void *data, void *end)
{
	__u8 *ttl = data + (vary.ttl_at & PATH_MAX_OFF);

	if (!vary.ttl_at || (void *)(ttl + 1) > end ||
	    data + sizeof(vary.macs) > end)
		return;
	__builtin_memcpy(data, vary.macs, sizeof(vary.macs));
	*ttl = 64;
}

static __always_inline void write_packet(void *data, void *end)
{
	__be32 *addr = data + (vary.addr_at & PATH_MAX_OFF);
	__be16 *port = data + (vary.port_at & PATH_MAX_OFF);

	if ((void *)(addr + 1) > end || (void *)(port + 1) > end)
		return;
	*addr = bpf_htonl(vary.addr + scatter(at, vary.n_addrs) * vary.step);
	write_origin(data, end);
	write_checksum(data, end, bpf_ntohl(*addr));
	*port = bpf_htons((__u16)(vary.port + scatter(at, vary.n_ports)));
	at++;
}

SEC("xdp.frags")
int drive_xdp(struct xdp_md *ctx)
{
	long used;

	/* What the last run has left in front of the packet goes. */
	used = (long)ctx->data - (long)ctx->data_meta;
	if (used && bpf_xdp_adjust_meta(ctx, (int)used))
		return XDP_ABORTED;
	write_packet((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	bpf_tail_call_static(ctx, &xdp_target, 0);
	return XDP_ABORTED;
}

SEC("tc")
int drive_tc(struct __sk_buff *skb)
{
	write_packet((void *)(long)skb->data, (void *)(long)skb->data_end);
	bpf_tail_call_static(skb, &tc_target, 0);
	return -1;
}

SEC("xdp.frags")
int drop_xdp(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_DROP;
}

SEC("tc")
int drop_tc(struct __sk_buff *skb)
{
	(void)skb;
	return TC_SHOT;
}

/* TCP without options behind Ethernet and IPv4 or IPv6, as it lies there. */
static __always_inline __u32 read_tuple(const void *data, const void *end,
					struct bpf_sock_tuple *t)
{
	const struct {
		struct ethhdr eth;
		struct iphdr ip;
		struct tcphdr tcp;
	} __attribute__((packed)) *v4 = data;
	const struct {
		struct ethhdr eth;
		struct ipv6hdr ip;
		struct tcphdr tcp;
	} __attribute__((packed)) *v6 = data;

	if ((const void *)(v4 + 1) > end)
		return 0;
	if (v4->eth.h_proto == bpf_htons(ETH_P_IP)) {
		t->ipv4.saddr = v4->ip.saddr;
		t->ipv4.daddr = v4->ip.daddr;
		t->ipv4.sport = v4->tcp.source;
		t->ipv4.dport = v4->tcp.dest;
		return sizeof(t->ipv4);
	}
	if ((const void *)(v6 + 1) > end)
		return 0;
	__builtin_memcpy(t->ipv6.saddr, &v6->ip.saddr, sizeof(t->ipv6.saddr));
	__builtin_memcpy(t->ipv6.daddr, &v6->ip.daddr, sizeof(t->ipv6.daddr));
	t->ipv6.sport = v6->tcp.source;
	t->ipv6.dport = v6->tcp.dest;
	return sizeof(t->ipv6);
}

/* What a verdict from conntrack cannot do without. */
SEC("xdp.frags")
int lookup_xdp(struct xdp_md *ctx)
{
	struct bpf_ct_opts___path opts = { .netns_id = -1,
					   .l4proto = IPPROTO_TCP };
	struct bpf_sock_tuple tuple = { 0 };
	struct nf_conn *ct;
	__u32 size = read_tuple((void *)(long)ctx->data,
				(void *)(long)ctx->data_end, &tuple);

	if (size != sizeof(tuple.ipv4) && size != sizeof(tuple.ipv6))
		return XDP_ABORTED;
	ct = bpf_xdp_ct_lookup(ctx, &tuple, size, &opts, sizeof(opts));
	if (!ct)
		return XDP_DROP;
	bpf_ct_release(ct);
	found++;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";

/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Makes each packet of a run a different one and hands it to the program that
 * is measured, or to one that drops at once: what they have in common cancels.
 */
#include "kern/uapi.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "selftests/bench/path.h"

#define TC_SHOT 2 /* TC_ACT_SHOT */

struct path_vary vary;
__u32 at; /* number of the packet */

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

char LICENSE[] SEC("license") = "GPL";

/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * A generator of live frames: each run writes the next packet of a list and sends
 * it. Every header is written each time, since the pages come back with whatever
 * the receiver has made of them. What follows the headers is as it was.
 */
#include "kern/uapi.h"

#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "selftests/bench/traffic.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TRAFFIC_KEYS);
	__type(key, __u32);
	__type(value, struct traffic_key4);
} keys4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TRAFFIC_KEYS);
	__type(key, __u32);
	__type(value, struct traffic_key6);
} keys6 SEC(".maps");

/* Set before loading. */
const volatile __u8 macs[2 * ETH_ALEN]; /* destination, source */

/* Set before a run. */
__u32 n_keys;
__u32 port_step; /* added to source ports with each round */
__u64 batch_ns;	 /* from the begin of a batch to that of the next; 0: no rest */
__u32 device;	 /* out of which the frames go */
__u32 at;	 /* the next key */
__u32 port_add;
__u32 sent; /* frames */

/* When the first and the last batch began: all before the last are done by then. */
__u64 first_ns, last_ns;

union l4 {
	struct tcphdr tcp;
	struct udphdr udp;
};

static long is_due(__u32 i, void *due_ns)
{
	(void)i;
	return bpf_ktime_get_ns() >= *(__u64 *)due_ns;
}

static __always_inline void begin_batch(void)
{
	__u64 due_ns = first_ns + sent / TRAFFIC_BATCH * batch_ns;

	if (first_ns && batch_ns)
		bpf_loop(1 << 23, is_due, &due_ns, 0);
	last_ns = bpf_ktime_get_ns();
	if (!first_ns)
		first_ns = last_ns;
}

static __always_inline __u32 next(void)
{
	__u32 i = at;

	if (sent % TRAFFIC_BATCH == 0)
		begin_batch();
	sent++;
	at = i + 1;
	if (at >= n_keys) {
		at = 0;
		port_add += port_step;
	}
	return i;
}

static __always_inline __be16 source_port(__be16 port)
{
	return bpf_htons((__u16)(bpf_ntohs(port) + port_add));
}

static __always_inline void write_eth(struct ethhdr *eth, __u16 proto)
{
	int i;

	for (i = 0; i < ETH_ALEN; i++) {
		eth->h_dest[i] = macs[i];
		eth->h_source[i] = macs[ETH_ALEN + i];
	}
	eth->h_proto = bpf_htons(proto);
}

/* A SYN, or a datagram without checksum; `len` of header and payload. */
static __always_inline void write_l4(union l4 *l4, __u8 proto, __be16 sport,
				     __be16 dport, __u16 len)
{
	l4->udp.source = sport;
	l4->udp.dest = dport;
	if (proto == IPPROTO_UDP) {
		l4->udp.len = bpf_htons(len);
		l4->udp.check = 0;
		return;
	}
	l4->tcp.seq = 0;
	l4->tcp.ack_seq = 0;
	*(__be16 *)((char *)l4 + 12) = bpf_htons(0x5002);
	l4->tcp.window = bpf_htons(1024);
	l4->tcp.check = 0;
	l4->tcp.urg_ptr = 0;
}

static __always_inline __u16 checksum(const struct iphdr *ip)
{
	const __u16 *w = (const __u16 *)ip;
	__u32 sum = 0;
	int i;

	for (i = 0; i < 10; i++)
		sum += w[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

SEC("xdp")
int send4(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct iphdr *ip = (void *)(eth + 1);
	__u16 len = (__u16)(ctx->data_end - ctx->data - sizeof(*eth));
	__u32 i = next();
	const struct traffic_key4 *key = bpf_map_lookup_elem(&keys4, &i);

	if ((void *)eth + TRAFFIC_SIZE_4 > (void *)(long)ctx->data_end || !key)
		return XDP_ABORTED;
	write_eth(eth, ETH_P_IP);
	*(__be32 *)ip = bpf_htonl(0x45000000 | len);
	*(__be32 *)&ip->id = 0;
	ip->ttl = 64;
	ip->protocol = key->proto;
	ip->check = 0;
	ip->saddr = key->saddr;
	ip->daddr = key->daddr;
	ip->check = checksum(ip);
	write_l4((void *)(ip + 1), key->proto, source_port(key->sport),
		 key->dport, len - sizeof(*ip));
	return (int)bpf_redirect(device, 0);
}

SEC("xdp")
int send6(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct ipv6hdr *ip = (void *)(eth + 1);
	__u16 len =
		(__u16)(ctx->data_end - ctx->data - sizeof(*eth) - sizeof(*ip));
	__u32 i = next();
	const struct traffic_key6 *key = bpf_map_lookup_elem(&keys6, &i);

	if ((void *)eth + TRAFFIC_SIZE_6 > (void *)(long)ctx->data_end || !key)
		return XDP_ABORTED;
	write_eth(eth, ETH_P_IPV6);
	*(__be32 *)ip = bpf_htonl(0x60000000);
	ip->payload_len = bpf_htons(len);
	ip->nexthdr = key->proto;
	ip->hop_limit = 64;
	__builtin_memcpy(&ip->saddr, key->saddr, 16);
	__builtin_memcpy(&ip->daddr, key->daddr, 16);
	write_l4((void *)(ip + 1), key->proto, source_port(key->sport),
		 key->dport, len);
	return (int)bpf_redirect(device, 0);
}

char LICENSE[] SEC("license") = "GPL";

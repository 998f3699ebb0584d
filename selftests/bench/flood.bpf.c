/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * A flood in proportion to a tunnel's own packets: at the egress of the device that
 * carries its ESP, each one is followed by so many short ones with random SPIs.
 */
#include "kern/uapi.h"

#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "selftests/bench/flood.h"

#define SPI_LEAST 0x10000 /* the tunnel's own are less */

/* Marks of packets that come to the program a second time. */
#define MARK_SEED  0xf100d001
#define MARK_FLOOD 0xf100d002

/* Set before loading. */
const volatile __u32 copies;

__u32 device; /* out of which the flood goes, 0: there is none */

/* Packets so far. */
__u64 of_tunnel, of_flood;

/* Where the SPI is, 0 unless the packet is ESP. */
static __always_inline __u32 spi_at(struct __sk_buff *skb)
{
	const __u32 at4 = ETH_HLEN + sizeof(struct iphdr);
	const __u32 at6 = ETH_HLEN + sizeof(struct ipv6hdr);
	__u8 proto = 0;

	if (skb->protocol == bpf_htons(ETH_P_IP) &&
	    !bpf_skb_load_bytes(skb,
				ETH_HLEN + offsetof(struct iphdr, protocol),
				&proto, 1))
		return proto == IPPROTO_ESP ? at4 : 0;
	if (skb->protocol == bpf_htons(ETH_P_IPV6) &&
	    !bpf_skb_load_bytes(skb,
				ETH_HLEN + offsetof(struct ipv6hdr, nexthdr),
				&proto, 1))
		return proto == IPPROTO_ESP ? at6 : 0;
	return 0;
}

/* Make a long frame short, its header included. */
static __always_inline bool cut(struct __sk_buff *skb)
{
	const __u32 len4 = ETH_HLEN + offsetof(struct iphdr, tot_len);
	const __u32 len6 = ETH_HLEN + offsetof(struct ipv6hdr, payload_len);
	__be16 len = bpf_htons(FLOOD_SIZE - ETH_HLEN), old;

	if (skb->len <= FLOOD_SIZE)
		return true;
	if (bpf_skb_change_tail(skb, FLOOD_SIZE, 0))
		return false;
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		len = bpf_htons(FLOOD_SIZE - ETH_HLEN - sizeof(struct ipv6hdr));
		return !bpf_skb_store_bytes(skb, len6, &len, sizeof(len), 0);
	}
	return !bpf_skb_load_bytes(skb, len4, &old, sizeof(old)) &&
	       !bpf_skb_store_bytes(skb, len4, &len, sizeof(len), 0) &&
	       !bpf_l3_csum_replace(skb,
				    ETH_HLEN + offsetof(struct iphdr, check),
				    old, len, sizeof(len));
}

static __always_inline void send(struct __sk_buff *skb, __u32 at)
{
	__u32 i, spi;

	if (!cut(skb))
		return;
	skb->mark = MARK_FLOOD;
	for (i = 0; i < copies && i < FLOOD_MAX; i++) {
		spi = bpf_get_prandom_u32() | SPI_LEAST;
		if (!bpf_skb_store_bytes(skb, at, &spi, sizeof(spi), 0) &&
		    !bpf_clone_redirect(skb, device, 0))
			__sync_fetch_and_add(&of_flood, 1);
	}
}

SEC("tc")
int flood(struct __sk_buff *skb)
{
	__u32 at;

	if (skb->mark == MARK_FLOOD)
		return TC_ACT_OK;
	at = spi_at(skb);
	if (!at)
		return TC_ACT_OK;
	if (skb->mark == MARK_SEED) {
		send(skb, at);
		return TC_ACT_SHOT;
	}
	/* The packet itself stays whole: a copy becomes the flood. */
	__sync_fetch_and_add(&of_tunnel, 1);
	if (device) {
		skb->mark = MARK_SEED;
		bpf_clone_redirect(skb, skb->ifindex, 0);
		skb->mark = 0;
	}
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";

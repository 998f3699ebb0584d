/* SPDX-License-Identifier: GPL-2.0-only */

/* Random packets that can open a flow, and the key that they must parse to. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "checksum.h"
#include "random_case.h"

static uint8_t *put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

static void random_addr(struct rng *rng, uint8_t family, struct fw_addr *ret)
{
	uint32_t host = rng_below(rng, 20);

	if (family == FW_AF_IPV4) {
		*ret = (struct fw_addr){ .w = { 0, 0, htonl(0xffff),
						htonl(0xc6336400u + host) } };
		return;
	}
	*ret = (struct fw_addr){ .w = { htonl(0x20010db8), 0, 0,
					htonl(host) } };
}

static uint8_t *put_l2(struct rng *rng, uint8_t *p, uint8_t family)
{
	uint32_t tags = rng_below(rng, 4) ? 0 : 1 + rng_below(rng, 2);

	memcpy(p, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02", 12);
	p += 12;
	for (uint32_t i = 0; i < tags; i++) {
		p = put16(p, i + 1 < tags ? 0x88a8 : 0x8100);
		p = put16(p, 100 + i);
	}
	return put16(p, family == FW_AF_IPV4 ? 0x0800 : 0x86dd);
}

static bool one_in(struct rng *rng, uint32_t n)
{
	return rng_below(rng, n) == 0;
}

/* An address of which nobody knows anything good; of both families. */
static void odd_addr(struct rng *rng, uint8_t family, struct fw_addr *ret)
{
	static const uint32_t v4[] = { 0,	   1,	       0x7f000001,
				       0x7fffffff, 0xe0000005, 0xf0000001,
				       0xffffffff };
	static const struct fw_addr v6[] = {
		{ .w = { 0 } },
		{ .w = { 0, 0, 0, 0x01000000 } },
		{ .w = { 0, 0, 0, 0x02000000 } },
		{ .w = { 0, 0, 0xffff0000, 0x01020304 } },
		{ .w = { 0x000000ff, 0, 0, 0x01000000 } },
	};

	if (family == FW_AF_IPV6)
		*ret = v6[rng_below(rng, 5)];
	else
		ret->w[3] = htonl(v4[rng_below(rng, 7)]);
}

/* A destination that is a group is for this host, another test's affair. */
static bool is_group(const struct fw_key *k)
{
	return k->family == FW_AF_IPV6 ? (k->daddr.w[0] & 0xff) == 0xff
				       : (k->daddr.w[3] & 0xe0) == 0xe0;
}

static void random_addrs(struct rng *rng, struct fw_key *k)
{
	do {
		random_addr(rng, k->family, &k->saddr);
		random_addr(rng, k->family, &k->daddr);
	} while (!memcmp(&k->saddr, &k->daddr, sizeof(k->saddr)));
	if (one_in(rng, 25))
		odd_addr(rng, k->family, &k->saddr);
	if (one_in(rng, 40)) {
		do {
			odd_addr(rng, k->family, &k->daddr);
		} while (is_group(k));
	}
	if (one_in(rng, 40))
		k->saddr = k->daddr;
}

/* Options of an IPv4 header; returns their length, whole words. */
static uint32_t put_options(struct rng *rng, uint8_t *p)
{
	static const char *const options[] = {
		"\1\1\1",		  /* no operation */
		"\x94\4\0",		  /* router alert */
		"\x07\7\4\0\0\0",	  /* record route */
		"\x83\7\4\x0a\0\0\1",	  /* loose source route */
		"\1\1\x89\7\4\x0a\0\0\1", /* strict, behind others */
		"\0\x83\7\4",		  /* behind the end */
	};
	static const uint8_t lens[] = { 3, 4, 7, 7, 9, 4 };
	uint32_t i = rng_below(rng, 6);

	memset(p, 0, 12);
	memcpy(p, options[i], lens[i]);
	return (lens[i] + 3u) & ~3u;
}

static uint8_t *put_ipv4(struct rng *rng, uint8_t *p, const struct fw_key *k,
			 uint32_t l4_len)
{
	uint32_t len = 20;

	memset(p, 0, 20);
	if (one_in(rng, 12))
		len += put_options(rng, p + 20);
	p[0] = (uint8_t)(0x40 | len / 4);
	(void)put16(p + 2, len + l4_len);
	(void)put16(p + 4, rng_below(rng, 65536));
	p[8] = one_in(rng, 25) ? 0 : (uint8_t)(1 + rng_below(rng, 255));
	p[9] = k->proto;
	memcpy(p + 12, &k->saddr.w[3], 4);
	memcpy(p + 16, &k->daddr.w[3], 4);
	put_ip_checksum(p);
	if (one_in(rng, 25))
		p[10 + rng_below(rng, 2)] ^= (uint8_t)(1 << rng_below(rng, 8));
	return p + len;
}

static uint8_t *put_ipv6(struct rng *rng, uint8_t *p, const struct fw_key *k,
			 uint32_t l4_len)
{
	uint32_t ext = one_in(rng, 4) ? 8 : 0;
	bool is_routing = ext && one_in(rng, 6);

	memset(p, 0, 48);
	p[0] = 0x60;
	(void)put16(p + 4, ext + l4_len);
	p[6] = k->proto;
	p[7] = one_in(rng, 25) ? 0 : (uint8_t)(1 + rng_below(rng, 255));
	memcpy(p + 8, &k->saddr, 16);
	memcpy(p + 24, &k->daddr, 16);
	if (ext) {
		p[6] = is_routing ? IPPROTO_ROUTING : IPPROTO_DSTOPTS;
		p[40] = k->proto;
		p[42] = is_routing ? 0 : 1; /* type 0, or PadN */
		p[43] = is_routing ? 0 : 4;
	}
	return p + 40 + ext;
}

static uint32_t put_tcp(struct rng *rng, struct random_packet *packet,
			uint8_t *l4)
{
	uint8_t flags = 0x02; /* SYN */

	if (one_in(rng, 8))
		flags = (uint8_t)rng_below(rng, 256);
	packet->key.proto = IPPROTO_TCP;
	packet->opens = (flags & 0x17) == 0x02;
	l4[12] = one_in(rng, 25) ? (uint8_t)(rng_below(rng, 5) << 4) : 0x50;
	l4[13] = flags;
	return 20;
}

static uint32_t put_udp(struct rng *rng, struct fw_key *k, uint8_t *l4)
{
	static const uint16_t lens[] = { 0, 7, 8, 15, 17, 65535 };

	k->proto = IPPROTO_UDP;
	(void)put16(l4 + 4, one_in(rng, 12) ? lens[rng_below(rng, 6)] : 16);
	return 16;
}

/* An echo request; with the number of the other family nobody reads its type. */
static uint32_t put_icmp(struct rng *rng, struct fw_key *k, uint8_t *l4)
{
	bool is_v4 = k->family == FW_AF_IPV4, is_right = !one_in(rng, 12);

	k->proto = is_v4 == is_right ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	if (is_right) {
		k->icmp = (uint16_t)((is_v4 ? 8u : 128u) << 8);
		k->flags |= FW_KEY_ICMP;
	}
	k->sport = k->dport = 0;
	(void)put16(l4, (is_v4 ? 8u : 128u) << 8);
	(void)put16(l4 + 4, rng_below(rng, 65536));
	return 16;
}

static uint32_t random_l4(struct rng *rng, struct random_packet *packet,
			  uint8_t *l4)
{
	static const uint8_t others[] = { IPPROTO_GRE, IPPROTO_ESP,
					  IPPROTO_SCTP, 253 };
	static const uint16_t edges[] = { 0, 1, 65534, 65535 };
	struct fw_key *k = &packet->key;
	uint32_t kind = rng_below(rng, 8);

	memset(l4, 0, 32);
	packet->opens = true;
	k->sport = (uint16_t)(rng_below(rng, 8) ? 18 + rng_below(rng, 20)
						: edges[rng_below(rng, 4)]);
	k->dport = (uint16_t)(rng_below(rng, 8) ? 18 + rng_below(rng, 20)
						: edges[rng_below(rng, 4)]);
	if (kind == 6)
		return put_icmp(rng, k, l4);
	if (kind == 7) {
		k->proto = others[rng_below(rng, sizeof(others))];
		k->sport = k->dport = 0;
		(void)put16(l4, 22);
		(void)put16(l4 + 2, 22);
		return 16;
	}
	k->flags |= FW_KEY_PORTS;
	(void)put16(l4, k->sport);
	(void)put16(l4 + 2, k->dport);
	return kind < 3 ? put_tcp(rng, packet, l4) : put_udp(rng, k, l4);
}

void random_packet(struct rng *rng, struct random_packet *ret)
{
	uint8_t l4[32], *p = ret->frame;
	struct fw_key *k = &ret->key;
	uint32_t l4_len;

	memset(ret, 0, sizeof(*ret));
	k->family = rng_below(rng, 2) ? FW_AF_IPV4 : FW_AF_IPV6;
	random_addrs(rng, k);
	l4_len = random_l4(rng, ret, l4);
	p = put_l2(rng, p, k->family);
	if (k->family == FW_AF_IPV4)
		p = put_ipv4(rng, p, k, l4_len);
	else
		p = put_ipv6(rng, p, k, l4_len);
	memcpy(p, l4, l4_len);
	ret->len = (uint32_t)(p + l4_len - ret->frame);
}

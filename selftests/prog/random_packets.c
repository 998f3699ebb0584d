/* SPDX-License-Identifier: GPL-2.0-only */

/* Random packets that can open a flow, and the key that they must parse to. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

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

static uint8_t *put_l3(struct rng *rng, uint8_t *p, const struct fw_key *k,
		       uint32_t l4_len)
{
	uint32_t ext = k->family == FW_AF_IPV6 && !rng_below(rng, 4) ? 8 : 0;

	if (k->family == FW_AF_IPV4) {
		memset(p, 0, 20);
		p[0] = 0x45;
		(void)put16(p + 2, 20 + l4_len);
		p[8] = 64;
		p[9] = k->proto;
		memcpy(p + 12, &k->saddr.w[3], 4);
		memcpy(p + 16, &k->daddr.w[3], 4);
		return p + 20;
	}
	memset(p, 0, 48);
	p[0] = 0x60;
	(void)put16(p + 4, ext + l4_len);
	p[6] = ext ? IPPROTO_DSTOPTS : k->proto;
	p[7] = 64;
	memcpy(p + 8, &k->saddr, 16);
	memcpy(p + 24, &k->daddr, 16);
	if (ext) {
		p[40] = k->proto;
		p[42] = 1; /* PadN */
		p[43] = 4;
	}
	return p + 40 + ext;
}

static uint32_t random_l4(struct rng *rng, struct fw_key *k, uint8_t *l4)
{
	static const uint8_t others[] = { IPPROTO_GRE, IPPROTO_ESP,
					  IPPROTO_SCTP, 253 };
	static const uint16_t edges[] = { 0, 1, 65534, 65535 };
	uint32_t kind = rng_below(rng, 8);

	memset(l4, 0, 32);
	k->sport = (uint16_t)(rng_below(rng, 8) ? 18 + rng_below(rng, 20)
						: edges[rng_below(rng, 4)]);
	k->dport = (uint16_t)(rng_below(rng, 8) ? 18 + rng_below(rng, 20)
						: edges[rng_below(rng, 4)]);
	if (kind == 6) {
		k->proto =
			k->family == FW_AF_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
		k->icmp = (uint16_t)((k->family == FW_AF_IPV4 ? 8 : 128) << 8);
		k->flags |= FW_KEY_ICMP;
		k->sport = k->dport = 0;
		(void)put16(l4, k->icmp);
		(void)put16(l4 + 4, rng_below(rng, 65536));
		return 16;
	}
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
	if (kind < 3) {
		k->proto = IPPROTO_TCP;
		l4[12] = 0x50;
		l4[13] = 0x02; /* SYN */
		return 20;
	}
	k->proto = IPPROTO_UDP;
	(void)put16(l4 + 4, 16);
	return 16;
}

void random_packet(struct rng *rng, struct random_packet *ret)
{
	uint8_t l4[32], *p = ret->frame;
	struct fw_key *k = &ret->key;
	uint32_t l4_len;

	memset(ret, 0, sizeof(*ret));
	k->family = rng_below(rng, 2) ? FW_AF_IPV4 : FW_AF_IPV6;
	do {
		random_addr(rng, k->family, &k->saddr);
		random_addr(rng, k->family, &k->daddr);
	} while (!memcmp(&k->saddr, &k->daddr, sizeof(k->saddr)));
	l4_len = random_l4(rng, k, l4);
	p = put_l2(rng, p, k->family);
	p = put_l3(rng, p, k, l4_len);
	memcpy(p, l4, l4_len);
	ret->len = (uint32_t)(p + l4_len - ret->frame);
}

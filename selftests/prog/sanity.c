/* SPDX-License-Identifier: GPL-2.0-only */

/* Reads the bytes of a packet, one question after the other; see sanity.h. */
#include "sanity.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

/* The parts of a packet. */
struct view {
	const uint8_t *ip, *l4;
	uint32_t l4_len;
	uint8_t proto;
	bool is_v6;
	bool has_routing_0;
};

static uint32_t get16(const uint8_t *p)
{
	return (uint32_t)(p[0] << 8 | p[1]);
}

static void look(const struct random_packet *packet, struct view *v)
{
	const uint8_t *p = packet->frame + 12;

	while (get16(p) == 0x8100 || get16(p) == 0x88a8)
		p += 4;
	*v = (struct view){ .ip = p + 2, .is_v6 = get16(p) == 0x86dd };
	if (!v->is_v6) {
		v->l4 = v->ip + (v->ip[0] & 15) * 4;
		v->l4_len = (uint32_t)(v->ip + get16(v->ip + 2) - v->l4);
		v->proto = v->ip[9];
		return;
	}
	v->l4 = v->ip + 40;
	v->proto = v->ip[6];
	while (v->proto == IPPROTO_DSTOPTS || v->proto == IPPROTO_ROUTING) {
		v->has_routing_0 |= v->proto == IPPROTO_ROUTING && !v->l4[2];
		v->proto = v->l4[0];
		v->l4 += 8 + v->l4[1] * 8;
	}
	v->l4_len = (uint32_t)(v->ip + 40 + get16(v->ip + 4) - v->l4);
}

/* RFC 1071, as it stands there. */
static bool has_bad_checksum(const struct view *v)
{
	uint32_t sum = 0;

	for (const uint8_t *p = v->ip; p < v->l4; p += 2)
		sum += get16(p);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum != 0xffff;
}

static enum fw_reason of_ipv4_options(const struct view *v, uint32_t options)
{
	const uint8_t *p = v->ip + 20;

	for (; p < v->l4 && *p != 0; p += *p == 1 ? 1 : p[1]) {
		if (*p == 1)
			continue;
		if ((*p == 131 || *p == 137) &&
		    !(options & FW_OFF_SOURCE_ROUTE))
			return FW_REASON_DROP_SOURCE_ROUTE;
		if (options & FW_OPT_IP_OPTS_DROP &&
		    (*p != 148 || v->proto != IPPROTO_IGMP))
			return FW_REASON_DROP_IP_OPTIONS;
	}
	return FW_REASON_NONE;
}

static enum fw_reason of_l3(const struct view *v, bool arrives,
			    uint32_t options)
{
	enum fw_reason reason = FW_REASON_NONE;

	if (arrives && !v->is_v6 && !(options & FW_OFF_BAD_CHECKSUM) &&
	    has_bad_checksum(v))
		return FW_REASON_DROP_BAD_CHECKSUM;
	if (v->has_routing_0 && !(options & FW_OFF_ROUTING_0))
		return FW_REASON_DROP_ROUTING_0;
	if (!v->is_v6)
		reason = of_ipv4_options(v, options);
	if (reason == FW_REASON_NONE && arrives && !v->ip[v->is_v6 ? 7 : 8] &&
	    !(options & FW_OFF_TTL_ZERO))
		return FW_REASON_DROP_TTL_ZERO;
	return reason;
}

/* RFC 9293: what a segment may have of SYN, FIN, RST and ACK. */
static enum fw_reason of_tcp_flags(uint8_t flags)
{
	bool fin = flags & 1, syn = flags & 2, rst = flags & 4, psh = flags & 8;
	bool ack = flags & 16, urg = flags & 32;

	if (!fin && !syn && !rst && !psh && !ack && !urg)
		return FW_REASON_DROP_TCP_NULL;
	if (fin + syn + rst <= 1 && (ack || syn || rst))
		return FW_REASON_NONE;
	return fin && psh && urg ? FW_REASON_DROP_TCP_XMAS
				 : FW_REASON_DROP_TCP_FLAGS;
}

static bool is_off(enum fw_reason reason, uint32_t options)
{
	for (size_t i = 0; i < fw_n_checks; i++) {
		if (fw_checks[i].reason == reason)
			return options & fw_checks[i].off;
	}
	return reason == FW_REASON_NONE;
}

static enum fw_reason of_l4(const struct view *v, uint32_t options)
{
	uint32_t len = get16(v->l4 + 4);
	bool is_tcp = v->proto == IPPROTO_TCP;
	bool is_udp = v->proto == IPPROTO_UDP;

	if (!(options & FW_OFF_BAD_L4) &&
	    (v->proto == (v->is_v6 ? IPPROTO_ICMP : IPPROTO_ICMPV6) ||
	     (is_tcp && v->l4[12] >> 4 < 5) ||
	     (is_udp && (len < 8 || len > v->l4_len))))
		return FW_REASON_DROP_BAD_L4;
	if (!(options & FW_OFF_PORT_ZERO) && (is_tcp || is_udp) &&
	    (!get16(v->l4 + 2) || (is_tcp && !get16(v->l4))))
		return FW_REASON_DROP_PORT_ZERO;
	if (!is_tcp || is_off(of_tcp_flags(v->l4[13]), options))
		return FW_REASON_NONE;
	return of_tcp_flags(v->l4[13]);
}

static bool is_v4_martian(const struct view *v)
{
	static const uint8_t zero[4];
	const uint8_t *src = v->ip + 12, *dst = v->ip + 16;

	return src[0] == 127 || dst[0] == 127 || src[0] >= 224 ||
	       !memcmp(dst, zero, 4) ||
	       (src[0] == 0 &&
		(memcmp(src, zero, 4) || v->proto != IPPROTO_IGMP));
}

static bool is_v6_martian(const struct view *v)
{
	static const uint8_t loopback[16] = { [15] = 1 }, zero[16];
	static const uint8_t mapped[12] = { [10] = 0xff, 0xff };
	const uint8_t *src = v->ip + 8, *dst = v->ip + 24;

	return src[0] == 0xff || !memcmp(src, loopback, 16) ||
	       !memcmp(dst, loopback, 16) || !memcmp(src, mapped, 12) ||
	       !memcmp(dst, mapped, 12) || !memcmp(dst, zero, 16) ||
	       (!memcmp(src, zero, 16) && v->proto != IPPROTO_ICMPV6);
}

static enum fw_reason of_addresses(const struct random_packet *packet,
				   const struct view *v, uint32_t options,
				   bool is_own)
{
	const struct fw_key *k = &packet->key;
	const struct fw_addr none = { .w = { 0, 0, v->is_v6 ? 0 : htonl(0xffff),
					     0 } };

	if (!memcmp(&k->saddr, &k->daddr, sizeof(none)) &&
	    memcmp(&k->saddr, &none, sizeof(none)) && !(options & FW_OFF_LAND))
		return FW_REASON_DROP_LAND;
	if ((v->is_v6 ? is_v6_martian(v) : is_v4_martian(v)) &&
	    !(options & FW_OFF_MARTIAN))
		return FW_REASON_DROP_MARTIAN;
	return is_own && !(options & FW_OFF_SPOOFED_SELF)
		       ? FW_REASON_DROP_SPOOFED_SELF
		       : FW_REASON_NONE;
}

enum fw_reason sanity_of(const struct random_packet *packet, enum fw_hook hook,
			 uint32_t options, bool is_own)
{
	bool arrives = hook != FW_HOOK_EGRESS;
	enum fw_reason reason;
	struct view v;

	look(packet, &v);
	reason = of_l3(&v, arrives, options);
	if (reason == FW_REASON_NONE)
		reason = of_l4(&v, options);
	if (reason == FW_REASON_NONE && arrives)
		reason = of_addresses(packet, &v, options, is_own);
	return reason;
}

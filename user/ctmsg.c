/* SPDX-License-Identifier: GPL-2.0-only */

/* What a ctnetlink message says. */
#include "user/ctmsg.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include <libmnl/libmnl.h>

#include "user/util.h"

void fw_ctmsg_index(const void *payload, size_t len,
		    const struct nlattr **table, size_t n)
{
	const char *end = (const char *)payload + len;
	const struct nlattr *attr = payload;

	memset(table, 0, n * sizeof(*table));
	while (mnl_attr_ok(attr, (int)(end - (const char *)attr))) {
		uint16_t type = mnl_attr_get_type(attr);

		if (type < n)
			table[type] = attr;
		attr = mnl_attr_next(attr);
	}
}

static void index_nested(const struct nlattr *nest, const struct nlattr **table,
			 size_t n)
{
	if (nest)
		fw_ctmsg_index(mnl_attr_get_payload(nest),
			       mnl_attr_get_payload_len(nest), table, n);
	else
		memset(table, 0, n * sizeof(*table));
}

static bool get_bytes(const struct nlattr *attr, void *ret, size_t size)
{
	if (!attr || mnl_attr_get_payload_len(attr) < size)
		return false;
	memcpy(ret, mnl_attr_get_payload(attr), size);
	return true;
}

static bool get_be32(const struct nlattr *attr, uint32_t *ret)
{
	uint32_t value;

	if (!get_bytes(attr, &value, sizeof(value)))
		return false;
	*ret = ntohl(value);
	return true;
}

static void map_ipv4(struct fw_addr *addr, uint32_t ipv4)
{
	addr->w[0] = 0;
	addr->w[1] = 0;
	addr->w[2] = htonl(0xffff);
	addr->w[3] = ipv4;
}

static bool decode_addrs(const struct nlattr *nest, struct fw_tuple *ret)
{
	const struct nlattr *ip[CTA_IP_MAX + 1];
	uint32_t src;
	uint32_t dst;

	index_nested(nest, ip, ARRAY_SIZE(ip));
	if (get_bytes(ip[CTA_IP_V4_SRC], &src, sizeof(src)) &&
	    get_bytes(ip[CTA_IP_V4_DST], &dst, sizeof(dst))) {
		map_ipv4(&ret->saddr, src);
		map_ipv4(&ret->daddr, dst);
		ret->family = FW_AF_IPV4;
		return true;
	}
	ret->family = FW_AF_IPV6;
	return get_bytes(ip[CTA_IP_V6_SRC], &ret->saddr, sizeof(ret->saddr)) &&
	       get_bytes(ip[CTA_IP_V6_DST], &ret->daddr, sizeof(ret->daddr));
}

static bool decode_proto(const struct nlattr *nest, struct fw_tuple *ret)
{
	const struct nlattr *l4[CTA_PROTO_MAX + 1];

	index_nested(nest, l4, ARRAY_SIZE(l4));
	if (!get_bytes(l4[CTA_PROTO_NUM], &ret->proto, sizeof(ret->proto)))
		return false;
	/* Any of these may be missing; zero is right for what has none. */
	(void)get_bytes(l4[CTA_PROTO_SRC_PORT], &ret->sport, 2);
	(void)get_bytes(l4[CTA_PROTO_DST_PORT], &ret->dport, 2);
	if (ret->proto == IPPROTO_ICMP) {
		(void)get_bytes(l4[CTA_PROTO_ICMP_ID], &ret->sport, 2);
		(void)get_bytes(l4[CTA_PROTO_ICMP_TYPE], &ret->icmp_type, 1);
		(void)get_bytes(l4[CTA_PROTO_ICMP_CODE], &ret->pad, 1);
	} else if (ret->proto == IPPROTO_ICMPV6) {
		(void)get_bytes(l4[CTA_PROTO_ICMPV6_ID], &ret->sport, 2);
		(void)get_bytes(l4[CTA_PROTO_ICMPV6_TYPE], &ret->icmp_type, 1);
		(void)get_bytes(l4[CTA_PROTO_ICMPV6_CODE], &ret->pad, 1);
	}
	return true;
}

static bool decode_tuple(const struct nlattr *nest, struct fw_tuple *ret,
			 uint16_t *ret_zone)
{
	const struct nlattr *part[CTA_TUPLE_MAX + 1];
	struct fw_tuple tuple = { 0 };
	uint16_t zone;

	index_nested(nest, part, ARRAY_SIZE(part));
	if (!decode_addrs(part[CTA_TUPLE_IP], &tuple) ||
	    !decode_proto(part[CTA_TUPLE_PROTO], &tuple))
		return false;
	if (ret_zone && get_bytes(part[CTA_TUPLE_ZONE], &zone, sizeof(zone)))
		*ret_zone = ntohs(zone);
	*ret = tuple;
	return true;
}

static void decode_tcp(const struct nlattr *nest, struct fw_ct *ret)
{
	const struct nlattr *info[CTA_PROTOINFO_MAX + 1];
	const struct nlattr *tcp[CTA_PROTOINFO_TCP_MAX + 1];

	index_nested(nest, info, ARRAY_SIZE(info));
	index_nested(info[CTA_PROTOINFO_TCP], tcp, ARRAY_SIZE(tcp));
	if (!get_bytes(tcp[CTA_PROTOINFO_TCP_STATE], &ret->tcp_state, 1))
		return;
	ret->has |= FW_CT_HAS_TCP;
	(void)get_bytes(tcp[CTA_PROTOINFO_TCP_FLAGS_ORIGINAL],
			&ret->tcp_flags[0], 1);
	(void)get_bytes(tcp[CTA_PROTOINFO_TCP_FLAGS_REPLY], &ret->tcp_flags[1],
			1);
}

/* Of one direction; the kernel counts only if nf_conntrack_acct says so. */
static bool decode_counts(const struct nlattr *nest, int direction,
			  struct fw_flow_counts *ret)
{
	const struct nlattr *counters[CTA_COUNTERS_MAX + 1];
	uint64_t packets, bytes;

	index_nested(nest, counters, ARRAY_SIZE(counters));
	if (!get_bytes(counters[CTA_COUNTERS_PACKETS], &packets,
		       sizeof(packets)) ||
	    !get_bytes(counters[CTA_COUNTERS_BYTES], &bytes, sizeof(bytes)))
		return false;
	ret->packets[direction] = be64toh(packets);
	ret->bytes[direction] = be64toh(bytes);
	return true;
}

int fw_ctnl_decode(const struct nlmsghdr *nlh, struct fw_ct *ret)
{
	const struct nlattr *cta[CTA_MAX + 1];
	struct fw_ct ct = { 0 };
	uint16_t zone;

	if (nlh->nlmsg_len < FW_CTMSG_HEAD)
		return -EBADMSG;
	fw_ctmsg_index((const char *)nlh + FW_CTMSG_HEAD,
		       nlh->nlmsg_len - FW_CTMSG_HEAD, cta, ARRAY_SIZE(cta));
	if (!decode_tuple(cta[CTA_TUPLE_ORIG], &ct.orig, &ct.zone))
		return -EBADMSG;
	if (!decode_tuple(cta[CTA_TUPLE_REPLY], &ct.reply, NULL))
		fw_tuple_invert(&ct.orig, &ct.reply);
	if (get_bytes(cta[CTA_ZONE], &zone, sizeof(zone)))
		ct.zone = ntohs(zone);
	(void)get_be32(cta[CTA_ID], &ct.id);
	if (get_be32(cta[CTA_STATUS], &ct.status))
		ct.has |= FW_CT_HAS_STATUS;
	if (get_be32(cta[CTA_MARK], &ct.mark))
		ct.has |= FW_CT_HAS_MARK;
	if (get_be32(cta[CTA_TIMEOUT], &ct.timeout_s))
		ct.has |= FW_CT_HAS_TIMEOUT;
	if (decode_counts(cta[CTA_COUNTERS_ORIG], 0, &ct.counts) &&
	    decode_counts(cta[CTA_COUNTERS_REPLY], 1, &ct.counts))
		ct.has |= FW_CT_HAS_COUNTS;
	if (ct.orig.proto == IPPROTO_TCP)
		decode_tcp(cta[CTA_PROTOINFO], &ct);
	*ret = ct;
	return 0;
}

static uint8_t invert_icmp(uint8_t type)
{
	static const uint8_t pairs[][2] = {
		{ 8, 0 }, { 13, 14 }, { 15, 16 }, { 17, 18 }, { 128, 129 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(pairs); i++) {
		if (type == pairs[i][0])
			return pairs[i][1];
	}
	return type;
}

void fw_tuple_invert(const struct fw_tuple *tuple, struct fw_tuple *ret)
{
	struct fw_tuple inverse = *tuple;

	inverse.saddr = tuple->daddr;
	inverse.daddr = tuple->saddr;
	if (tuple->proto == IPPROTO_ICMP || tuple->proto == IPPROTO_ICMPV6) {
		inverse.icmp_type = invert_icmp(tuple->icmp_type);
	} else {
		inverse.sport = tuple->dport;
		inverse.dport = tuple->sport;
	}
	*ret = inverse;
}

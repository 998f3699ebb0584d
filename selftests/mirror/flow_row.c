/* SPDX-License-Identifier: GPL-2.0-only */

/* A flow of the mirror in the words of conntrack(8). */
#include "flow_row.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "user/util.h"

#include "helpers.h"

static void put(struct row *row, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void put(struct row *row, const char *format, ...)
{
	size_t len = strlen(row->text);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(row->text + len, sizeof(row->text) - len, format, args);
	va_end(args);
}

static void put_tuple(struct row *row, const struct fw_tuple *t)
{
	char src[INET6_ADDRSTRLEN];
	char dst[INET6_ADDRSTRLEN];

	if (t->family == FW_AF_IPV4) {
		(void)inet_ntop(AF_INET, &t->saddr.w[3], src, sizeof(src));
		(void)inet_ntop(AF_INET, &t->daddr.w[3], dst, sizeof(dst));
	} else {
		(void)inet_ntop(AF_INET6, t->saddr.w, src, sizeof(src));
		(void)inet_ntop(AF_INET6, t->daddr.w, dst, sizeof(dst));
	}
	put(row, " src=%s dst=%s", src, dst);
	switch (t->proto) {
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		put(row, " type=%u code=%u id=%u", t->icmp_type, t->pad,
		    ntohs(t->sport));
		break;
	case IPPROTO_GRE:
		put(row, " srckey=0x%x dstkey=0x%x", ntohs(t->sport),
		    ntohs(t->dport));
		break;
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
		put(row, " sport=%u dport=%u", ntohs(t->sport),
		    ntohs(t->dport));
		break;
	default:
		break;
	}
}

/* In the words of conntrack(8). */
static void put_flow(struct row *row, const struct fw_flow *flow)
{
	static const char *const states[] = {
		"NONE",	    "SYN_SENT",	  "SYN_RECV", "ESTABLISHED",
		"FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT",
		"CLOSE",    "SYN_SENT2",
	};
	const bool is_tcp = flow->orig.proto == IPPROTO_TCP;

	put(row, " %s %u", flow->orig.family == FW_AF_IPV4 ? "ipv4" : "ipv6",
	    flow->orig.proto);
	if (is_tcp && flow->kernel_tcp < ARRAY_SIZE(states))
		put(row, " %s", states[flow->kernel_tcp]);
	if (flow->orig.proto == IPPROTO_SCTP)
		put(row, " NONE"); /* nothing of ours: as it was made */
	put_tuple(row, &flow->orig);
	if (!flow->replied)
		put(row, " [UNREPLIED]");
	put_tuple(row, &flow->reply);
	if (flow->assured)
		put(row, " [ASSURED]");
	put(row, " mark=%u id=%u", flow->mark, flow->ct_id);
}

int show(void *data, const struct fw_flow *flow)
{
	struct rows *rows = data;
	struct row *row;

	if (!flow->ct_id)
		return 0;
	row = rows_add(rows);
	put_flow(row, flow);
	row->left_s = (long)((flow->expires_ns - fw_now_ns()) / 1000000000);
	return 0;
}

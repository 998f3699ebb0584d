/* SPDX-License-Identifier: GPL-2.0-only */

/* Addresses, protocols and tuples as text. */
#include "user/print.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#include "user/util.h"

static const struct {
	uint8_t number;
	const char *name;
} protocols[] = {
	{ IPPROTO_ICMP, "icmp" }, { IPPROTO_IGMP, "igmp" },
	{ IPPROTO_TCP, "tcp" },	  { IPPROTO_UDP, "udp" },
	{ IPPROTO_DCCP, "dccp" }, { IPPROTO_IPV6, "ipv6" },
	{ IPPROTO_GRE, "gre" },	  { IPPROTO_ESP, "esp" },
	{ IPPROTO_AH, "ah" },	  { IPPROTO_ICMPV6, "icmpv6" },
	{ IPPROTO_SCTP, "sctp" }, { IPPROTO_UDPLITE, "udplite" },
};

const char *fw_address_print(char buf[FW_ADDR_TEXT], const struct fw_addr *addr,
			     uint8_t family)
{
	const void *bytes = family == FW_AF_IPV4 ? &addr->w[3] : &addr->w[0];

	if (!inet_ntop(family == FW_AF_IPV4 ? AF_INET : AF_INET6, bytes, buf,
		       FW_ADDR_TEXT))
		(void)snprintf(buf, FW_ADDR_TEXT, "?");
	return buf;
}

const char *fw_endpoint_print(char buf[FW_ENDPOINT_TEXT],
			      const struct fw_addr *addr, uint16_t port,
			      uint8_t family)
{
	char text[FW_ADDR_TEXT];

	(void)fw_address_print(text, addr, family);
	if (!port) {
		(void)snprintf(buf, FW_ENDPOINT_TEXT, "%s", text);
	} else if (family == FW_AF_IPV4) {
		(void)snprintf(buf, FW_ENDPOINT_TEXT, "%s:%u", text, port);
	} else {
		(void)snprintf(buf, FW_ENDPOINT_TEXT, "[%s]:%u", text, port);
	}
	return buf;
}

const char *fw_protocol_print(char buf[8], uint8_t protocol)
{
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
		if (protocols[i].number == protocol)
			return protocols[i].name;
	}
	(void)snprintf(buf, 8, "%u", protocol);
	return buf;
}

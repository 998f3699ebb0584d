/* SPDX-License-Identifier: GPL-2.0-only */

/* What the cells of a census are called. */
#include "user/census.h"

#include "user/flowquery.h"
#include "user/mirror.h"

static const struct {
	const char *name;
	uint8_t proto; /* one of those that are counted so */
} protocols[FW_CENSUS_PROTO_MAX] = {
	[FW_CENSUS_TCP] = { "tcp", IPPROTO_TCP },
	[FW_CENSUS_UDP] = { "udp", IPPROTO_UDP },
	[FW_CENSUS_ICMP] = { "icmp", IPPROTO_ICMP },
	[FW_CENSUS_ICMPV6] = { "icmpv6", IPPROTO_ICMPV6 },
	[FW_CENSUS_OTHER] = { "other", IPPROTO_RAW },
};

static enum fw_census_proto proto_of(unsigned int cell)
{
	if (cell < FW_CENSUS_OTHERS)
		return FW_CENSUS_TCP;
	return (enum fw_census_proto)(1u + (cell - FW_CENSUS_OTHERS) / 2u);
}

const char *fw_census_proto_name(unsigned int cell)
{
	return protocols[proto_of(cell)].name;
}

const char *fw_census_state_name(unsigned int cell)
{
	const struct fw_flow flow = {
		.orig.proto = protocols[proto_of(cell)].proto,
		.tcp_state = cell < FW_CENSUS_OTHERS ? (uint8_t)(cell - 1u) : 0,
		.replied = cell >= FW_CENSUS_OTHERS &&
			   (cell - FW_CENSUS_OTHERS) % 2u,
	};

	return fw_flow_state(&flow);
}

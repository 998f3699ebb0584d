/* SPDX-License-Identifier: GPL-2.0-only */

/* What the cells of a census are called. */
#include "user/census.h"

#include <string.h>

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

static bool is_same(unsigned int a, unsigned int b)
{
	return proto_of(a) == proto_of(b) &&
	       strcmp(fw_census_state_name(a), fw_census_state_name(b)) == 0;
}

bool fw_census_sum(const struct fw_census *census, unsigned int cell,
		   uint64_t *ret)
{
	uint64_t sum = 0;

	for (unsigned int i = 1; i < cell; i++) {
		if (is_same(i, cell))
			return false;
	}
	for (unsigned int i = cell; i < FW_CENSUS_CELLS; i++)
		sum += is_same(i, cell) ? census->n[i] : 0;
	*ret = sum;
	return true;
}

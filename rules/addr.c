/* SPDX-License-Identifier: GPL-2.0-only */

/* Addresses as text and as numbers. */
#include "addr.h"

#include <arpa/inet.h>
#include <string.h>

bool fw_addr_parse(const char *s, size_t len, struct fw_address *ret)
{
	unsigned char bytes[16];
	char text[INET6_ADDRSTRLEN];
	struct fw_u128 value = { 0 };
	int i;

	if (len >= sizeof(text))
		return false;
	memcpy(text, s, len);
	text[len] = '\0';
	ret->is_v6 = memchr(s, ':', len) != NULL;
	if (inet_pton(ret->is_v6 ? AF_INET6 : AF_INET, text, bytes) != 1)
		return false;
	if (ret->is_v6) {
		for (i = 0; i < 8; i++)
			value.hi = value.hi << 8 | bytes[i];
		for (; i < 16; i++)
			value.lo = value.lo << 8 | bytes[i];
	} else {
		for (i = 0; i < 4; i++)
			value.lo = value.lo << 8 | bytes[i];
	}
	ret->value = value;
	return true;
}

bool fw_addr_is_mapped(const struct fw_address *address)
{
	return address->is_v6 && address->value.hi == 0 &&
	       address->value.lo >> 32 == 0xffff;
}

/* The bits behind a prefix: ones from bit 128 - `len`, or 32 - `len`, down. */
static struct fw_u128 host_bits(bool is_v6, unsigned int len)
{
	unsigned int n = (is_v6 ? 128 : 32) - len;

	return (struct fw_u128){
		.hi = n > 64 ? UINT64_MAX >> (128 - n) : 0,
		.lo = n >= 64 ? UINT64_MAX : ((uint64_t)1 << n) - 1,
	};
}

struct fw_u128 fw_addr_prefix_last(const struct fw_address *address,
				   unsigned int len)
{
	struct fw_u128 host = host_bits(address->is_v6, len);

	host.hi |= address->value.hi;
	host.lo |= address->value.lo;
	return host;
}

struct fw_u128 fw_addr_prefix_first(const struct fw_address *address,
				    unsigned int len)
{
	struct fw_u128 host = host_bits(address->is_v6, len);

	host.hi = address->value.hi & ~host.hi;
	host.lo = address->value.lo & ~host.lo;
	return host;
}

void fw_addr_print(struct fw_str *str, struct fw_u128 value, bool is_v6)
{
	char text[INET6_ADDRSTRLEN];
	unsigned char bytes[16];
	int i;

	for (i = 0; i < 8; i++) {
		bytes[i] = (unsigned char)(value.hi >> (56 - 8 * i));
		bytes[8 + i] = (unsigned char)(value.lo >> (56 - 8 * i));
	}
	if (inet_ntop(is_v6 ? AF_INET6 : AF_INET, is_v6 ? bytes : bytes + 12,
		      text, sizeof(text)))
		fw_str_puts(str, text);
}

/* Number of host bits if a range is a whole prefix, or -1. */
static int prefix_host_bits(const struct fw_range *r)
{
	uint64_t hi = r->first_hi ^ r->last_hi;
	uint64_t lo = r->first_lo ^ r->last_lo;

	if ((r->first_hi & hi) || (r->first_lo & lo))
		return -1;
	if ((hi & (hi + 1)) || (lo & (lo + 1)) || (hi && lo != UINT64_MAX))
		return -1;
	return __builtin_popcountll(hi) + __builtin_popcountll(lo);
}

void fw_addr_print_range(struct fw_str *str, const struct fw_range *range,
			 bool is_v6)
{
	struct fw_u128 first = { range->first_hi, range->first_lo };
	struct fw_u128 last = { range->last_hi, range->last_lo };
	int host = prefix_host_bits(range);

	fw_addr_print(str, first, is_v6);
	if (host > 0) {
		fw_str_addf(str, "/%d", (is_v6 ? 128 : 32) - host);
	} else if (host < 0) {
		fw_str_puts(str, "-");
		fw_addr_print(str, last, is_v6);
	}
}

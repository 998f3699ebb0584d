/* SPDX-License-Identifier: GPL-2.0-only */

/* Addresses as text and as numbers. */
#include "addr.h"

#include <arpa/inet.h>
#include <string.h>

/* As inet_pton() reads it: four numbers without leading zeros. */
static bool parse_v4(const char *s, size_t len, struct fw_u128 *ret)
{
	const char *end = s + len;
	uint32_t value = 0;
	int i;

	for (i = 0; i < 4; i++) {
		const char *start = s;
		uint32_t octet = 0;

		while (s < end && *s >= '0' && *s <= '9' && octet <= UINT8_MAX)
			octet = octet * 10 + (uint32_t)(*s++ - '0');
		if (s == start || octet > UINT8_MAX ||
		    (*start == '0' && s > start + 1))
			return false;
		value = value << 8 | octet;
		if (i < 3 && (s == end || *s++ != '.'))
			return false;
	}
	*ret = (struct fw_u128){ .lo = value };
	return s == end;
}

static bool parse_v6(const char *s, size_t len, struct fw_u128 *ret)
{
	unsigned char bytes[16];
	char text[INET6_ADDRSTRLEN];
	struct fw_u128 value = { 0 };
	int i;

	if (len >= sizeof(text))
		return false;
	memcpy(text, s, len);
	text[len] = '\0';
	if (inet_pton(AF_INET6, text, bytes) != 1)
		return false;
	for (i = 0; i < 8; i++)
		value.hi = value.hi << 8 | bytes[i];
	for (; i < 16; i++)
		value.lo = value.lo << 8 | bytes[i];
	*ret = value;
	return true;
}

bool fw_addr_parse(const char *s, size_t len, struct fw_address *ret)
{
	ret->is_v6 = len && memchr(s, ':', len) != NULL;
	return ret->is_v6 ? parse_v6(s, len, &ret->value)
			  : parse_v4(s, len, &ret->value);
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

/* Without leading zeros; returns where the text ends. */
static char *put_octet(char *s, unsigned int octet)
{
	if (octet >= 100)
		*s++ = (char)('0' + octet / 100);
	if (octet >= 10)
		*s++ = (char)('0' + octet / 10 % 10);
	*s++ = (char)('0' + octet % 10);
	return s;
}

static void print_v4(struct fw_str *str, uint32_t value)
{
	char text[INET_ADDRSTRLEN];
	char *s = text;
	int shift;

	for (shift = 24; shift >= 0; shift -= 8) {
		s = put_octet(s, value >> shift & 0xff);
		*s++ = '.';
	}
	fw_str_add(str, text, (size_t)(s - 1 - text));
}

/* Four hexadecimal digits without leading zeros; returns where the text ends. */
static char *put_group(char *s, unsigned int group)
{
	int shift = 12;

	while (shift && group >> shift == 0)
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		*s++ = "0123456789abcdef"[group >> shift & 0xf];
	return s;
}

/* The first longest run of zero groups, if there are two at least: "::". */
static int longest_zeros(const unsigned int groups[8], int *ret_len)
{
	int best = -1;
	int i, n = 0;

	*ret_len = 1;
	for (i = 0; i < 8; i++) {
		n = groups[i] ? 0 : n + 1;
		if (n > *ret_len) {
			*ret_len = n;
			best = i + 1 - n;
		}
	}
	return best;
}

static void print_v6(struct fw_str *str, struct fw_u128 value)
{
	char text[INET6_ADDRSTRLEN];
	unsigned int groups[8];
	char *s = text;
	int i, zeros, len;

	for (i = 0; i < 4; i++) {
		groups[i] = value.hi >> (48 - 16 * i) & 0xffff;
		groups[4 + i] = value.lo >> (48 - 16 * i) & 0xffff;
	}
	zeros = longest_zeros(groups, &len);
	for (i = 0; i < 8; i++) {
		if (i == zeros) {
			*s++ = ':';
			*s++ = ':';
			i += len - 1;
			continue;
		}
		if (i && i != zeros + len)
			*s++ = ':';
		s = put_group(s, groups[i]);
	}
	fw_str_add(str, text, (size_t)(s - text));
}

/* ::a.b.c.d and ::ffff:a.b.c.d are as the library prints them. */
static void print_with_v4(struct fw_str *str, struct fw_u128 value)
{
	char text[INET6_ADDRSTRLEN];
	unsigned char bytes[16] = { 0 };
	int i;

	for (i = 0; i < 8; i++)
		bytes[8 + i] = (unsigned char)(value.lo >> (56 - 8 * i));
	if (inet_ntop(AF_INET6, bytes, text, sizeof(text)))
		fw_str_puts(str, text);
}

void fw_addr_print(struct fw_str *str, struct fw_u128 value, bool is_v6)
{
	if (!is_v6) {
		print_v4(str, (uint32_t)value.lo);
	} else if (value.hi == 0 && value.lo >> 48 == 0) {
		print_with_v4(str, value);
	} else {
		print_v6(str, value);
	}
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
		fw_str_add(str, "/", 1);
		fw_str_put_number(str, (uint64_t)((is_v6 ? 128 : 32) - host));
	} else if (host < 0) {
		fw_str_puts(str, "-");
		fw_addr_print(str, last, is_v6);
	}
}

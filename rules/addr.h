/* SPDX-License-Identifier: GPL-2.0-only */

/* Addresses as text and as numbers. */
#pragma once

#include "ranges.h"
#include "str.h"

/* Host byte order; IPv4 in the low 32 bits. */
struct fw_address {
	struct fw_u128 value;
	bool is_v6;
};

/** @brief Read one address; false if the text is none. */
bool fw_addr_parse(const char *s, size_t len, struct fw_address *ret);

/** @brief Is this ::ffff:a.b.c.d? */
bool fw_addr_is_mapped(const struct fw_address *address);

/** @brief The last address of the prefix of `len` bits at an address. */
struct fw_u128 fw_addr_prefix_last(const struct fw_address *address,
				   unsigned int len);

/** @brief The first address of the prefix of `len` bits at an address. */
struct fw_u128 fw_addr_prefix_first(const struct fw_address *address,
				    unsigned int len);

void fw_addr_print(struct fw_str *str, struct fw_u128 value, bool is_v6);

/** @brief Print a range as address, prefix, or first-last. */
void fw_addr_print_range(struct fw_str *str, const struct fw_range *range,
			 bool is_v6);

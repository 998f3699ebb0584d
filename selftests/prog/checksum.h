/* SPDX-License-Identifier: GPL-2.0-only */

/* The checksum of an IPv4 header in frames that tests make. */
#pragma once

#include <stdint.h>

/** @brief Write it (RFC 1071) into a header that is complete otherwise. */
static inline void put_ip_checksum(uint8_t *ip)
{
	uint32_t len = (ip[0] & 15u) * 4, sum = 0;

	ip[10] = ip[11] = 0;
	for (uint32_t i = 0; i < len; i += 2)
		sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
	sum = (sum >> 16) + (sum & 0xffff);
	sum += sum >> 16;
	ip[10] = (uint8_t)(~sum >> 8);
	ip[11] = (uint8_t)~sum;
}

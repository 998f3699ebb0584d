/* SPDX-License-Identifier: GPL-2.0-only */

/* Addresses, protocols and tuples as text. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kern/abi.h"

#define FW_ADDR_TEXT	 48
#define FW_ENDPOINT_TEXT 64

/** @brief "192.0.2.1" or "2001:db8::1"; returns `buf`. */
const char *fw_address_print(char buf[FW_ADDR_TEXT], const struct fw_addr *addr,
			     uint8_t family);

/** @brief "192.0.2.1:80", "[2001:db8::1]:80", or without port if it is 0. */
const char *fw_endpoint_print(char buf[FW_ENDPOINT_TEXT],
			      const struct fw_addr *addr, uint16_t port,
			      uint8_t family);

/** @brief "tcp", "icmpv6", or the number; static or `buf`. */
const char *fw_protocol_print(char buf[8], uint8_t protocol);

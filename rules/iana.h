/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Names for numbers of protocols, services and ICMP types.
 *
 * The numbers are those of IANA: "Assigned Internet Protocol Numbers", "Service
 * Name and Transport Protocol Port Number Registry", "ICMP Parameters" and
 * "ICMPv6 Parameters". Some services of wide use have no assigned name; their
 * rows say so. The tables are compiled in so that the same rules mean the same
 * on every machine, whatever its /etc/services says.
 */
#pragma once

#include <stdint.h>

/* Where a number has several names the first row is the one that is printed. */
struct fw_iana_name {
	const char *name; /* NULL ends a table */
	uint16_t number;
};

/* A type of ICMP and of ICMPv6 that mean the same; -1: there is none. */
struct fw_iana_icmp {
	const char *name; /* NULL ends the table */
	int16_t v4, v6;
};

/* A code below a type of each. */
struct fw_iana_code {
	const char *name; /* NULL ends the table */
	int16_t type4, code4;
	int16_t type6, code6;
};

extern const struct fw_iana_name fw_iana_services[];
extern const struct fw_iana_name fw_iana_protocols[];
extern const struct fw_iana_icmp fw_iana_icmp_types[];
extern const struct fw_iana_code fw_iana_icmp_codes[];

/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What the tests of rule sets share: two sets of rules for the pair dpa, dpb, and
 * what a load of them has made of the interfaces.
 */
#pragma once

#include "selftests/datapath/daemon.h"

/* Between them a mode changes, one label stays, one goes and one comes. */
#define RULES_ONE                                           \
	"interface wan = dpa { mode xdp }\n"                \
	"interface lan = { dpb, dpc }\n"                    \
	"default in drop\n"                                 \
	"accept in proto tcp to self port 22 label first\n" \
	"accept in proto tcp to self port 80 label second\n"

#define RULES_TWO                                            \
	"interface lan = { dpb, dpc }\n"                     \
	"interface wan = dpa { mode tc }\n"                  \
	"default in drop\n"                                  \
	"accept in proto tcp to self port 80 label second\n" \
	"accept in proto tcp to self port 443 label third\n"

/** @brief A test with the devices of its own. */
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_devices, clean_up)

/** @brief A cmocka teardown: no device and no pin is left. */
int clean_up(void **state);

/** @brief What is known of a declared interface; fails the test if it is not. */
const struct fw_apply_iface *iface(const struct daemon *d, const char *name);

/** @brief Entries of the generation in force. */
size_t count_entries(const struct daemon *d);

/** @brief The tables of interfaces and addresses; fw_hosttab_free(). */
struct fw_hosttab *open_tables(const struct daemon *d);

/** @brief The entry of an interface and a tag in force; false: none. */
bool find_entry(const struct daemon *d, const char *name, uint16_t vlan,
		struct fw_iface *ret);

/** @brief For wait_until(): dpc is there, known by its number, without error. */
bool dpc_is_covered(void *data);

/* SPDX-License-Identifier: GPL-2.0-only */

/* The addresses of the host: what "self" means, now. */
#include "selftests/datapath/apply_lab.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "user/hosttab.h"
#include "user/log.h"
#include "user/util.h"

static size_t get_selves(const struct daemon *d, struct fw_self_entry **ret)
{
	struct fw_hosttab *tables = open_tables(d);
	size_t n;

	assert_int_equal(fw_hosttab_get_selves(tables, ret, &n), 0);
	fw_hosttab_free(tables);
	return n;
}

static size_t count_selves(const struct daemon *d)
{
	_cleanup_free_ struct fw_self_entry *entries = NULL;

	return get_selves(d, &entries);
}

static uint32_t self_kind(const struct daemon *d, const char *address)
{
	_cleanup_free_ struct fw_self_entry *entries = NULL;
	struct fw_addr key = { .w[2] = htonl(0xffff) };
	size_t n = get_selves(d, &entries);

	if (inet_pton(AF_INET, address, &key.w[3]) != 1)
		assert_int_equal(inet_pton(AF_INET6, address, &key), 1);
	for (size_t i = 0; i < n; i++) {
		if (memcmp(&entries[i].addr, &key, sizeof(key)) == 0)
			return entries[i].flags;
	}
	return 0;
}

static bool has_192_0_2_9(void *data)
{
	return self_kind(data, "192.0.2.9") == FW_SELF_ADDRESS;
}

static bool lost_192_0_2_9(void *data)
{
	return self_kind(data, "192.0.2.9") == 0;
}

static void own_addresses_are_current(void **state)
{
	struct daemon d;
	size_t n;

	(void)state;
	run("ip addr add 192.0.2.1/24 broadcast + dev dpa");
	run("ip addr add 2001:db8::1/64 dev dpa nodad");
	d = start();
	assert_int_equal(self_kind(&d, "192.0.2.1"), FW_SELF_ADDRESS);
	assert_int_equal(self_kind(&d, "192.0.2.255"), FW_SELF_BROADCAST);
	assert_int_equal(self_kind(&d, "2001:db8::1"), FW_SELF_ADDRESS);
	assert_int_equal(self_kind(&d, "127.0.0.1"), FW_SELF_ADDRESS);
	assert_int_equal(self_kind(&d, "::1"), FW_SELF_ADDRESS);
	n = fw_apply_self_count(d.apply);
	assert_int_equal(count_selves(&d), n + 1);

	/* Two addresses with one broadcast address: it stays with the last. */
	run("ip addr add 192.0.2.9/24 broadcast + dev dpa");
	wait_until(d.loop, has_192_0_2_9, &d);
	run("ip addr del 192.0.2.9/24 dev dpa");
	wait_until(d.loop, lost_192_0_2_9, &d);
	assert_int_equal(self_kind(&d, "192.0.2.255"), FW_SELF_BROADCAST);

	/* With a peer, the own address is the local one. */
	run("ip addr add 192.0.2.9 peer 198.51.100.1/32 dev dpa");
	wait_until(d.loop, has_192_0_2_9, &d);
	assert_int_equal(self_kind(&d, "198.51.100.1"), 0);

	/* The interface goes, and with it what it had. */
	run("ip link del dpa");
	wait_until(d.loop, lost_192_0_2_9, &d);
	assert_int_equal(self_kind(&d, "2001:db8::1"), 0);
	assert_int_equal(self_kind(&d, "192.0.2.255"), 0);
	stop(&d);
}

static void stale_addresses_are_removed_at_start(void **state)
{
	const struct fw_self_entry stale = { { .w[3] = 1234 },
					     FW_SELF_ADDRESS };
	struct daemon d = start();
	struct fw_hosttab *tables = open_tables(&d);
	size_t n;

	(void)state;
	n = count_selves(&d);
	assert_int_equal(fw_hosttab_put_selves(tables, &stale, 1), 0);
	assert_int_equal(count_selves(&d), 1);
	fw_hosttab_free(tables);
	stop(&d);
	d = start();
	assert_int_equal(count_selves(&d), n);
	assert_int_equal(self_kind(&d, "::0.0.4.210"), 0);
	stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(own_addresses_are_current),
		TEST(stale_addresses_are_removed_at_start),
	};

	room_enter();
	fw_log_set_level(FW_LOG_ERROR);
	return cmocka_run_group_tests_name("apply-selves", tests, NULL, NULL);
}

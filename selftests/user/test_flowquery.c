/* SPDX-License-Identifier: GPL-2.0-only */

/* The words that say which flows are meant: what is read, refused and matched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "selftests/user/words.h"
#include "user/flowquery.h"
#include "user/util.h"

static int parse(const char *text, struct fw_flow_query *ret, char **reterr)
{
	const char *words[MAX_WORDS];
	size_t n = split_words(text, words);

	return fw_flow_query_parse(words, n, ret, reterr);
}

static struct fw_addr address(const char *text)
{
	struct fw_addr addr = { 0 };

	if (strchr(text, ':')) {
		assert_int_equal(inet_pton(AF_INET6, text, &addr), 1);
	} else {
		addr.w[2] = htonl(0xffff);
		assert_int_equal(inet_pton(AF_INET, text, &addr.w[3]), 1);
	}
	return addr;
}

static struct fw_flow flow(uint8_t proto, const char *from, uint16_t sport,
			   const char *to, uint16_t dport)
{
	struct fw_flow flow = {
		.orig = { .saddr = address(from),
			  .daddr = address(to),
			  .sport = htons(sport),
			  .dport = htons(dport),
			  .proto = proto,
			  .family =
				  strchr(from, ':') ? FW_AF_IPV6 : FW_AF_IPV4 },
	};

	flow.reply = flow.orig;
	flow.reply.saddr = flow.orig.daddr;
	flow.reply.daddr = flow.orig.saddr;
	flow.reply.sport = flow.orig.dport;
	flow.reply.dport = flow.orig.sport;
	return flow;
}

static bool matches(const char *text, struct fw_flow f)
{
	struct fw_flow_query query;
	char *error = NULL;

	if (parse(text, &query, &error) < 0)
		fail_msg("%s: %s", text, error);
	return fw_flow_query_matches(&query, &f);
}

static void test_refused(void **state)
{
	static const struct {
		const char *words, *error;
	} cases[] = {
		{ "proto", "'proto' needs a value" },
		{ "prot tcp", "expected proto, from, to, port, state" },
		{ "proto tpc", "no protocol is called 'tpc'" },
		{ "proto 256", "a number up to 255" },
		{ "from 1.2.3", "from and to take 192.0.2.1, 192.0.2.0/24" },
		{ "from 1.2.3.4/33", "'1.2.3.4/33' is no address" },
		{ "to 2001:db8::/129", "is no address" },
		{ "to 1.2.3.4/", "is no address" },
		{ "to 1.2.3.4/-1", "is no address" },
		{ "from 192.0.2.7/24", "the network is 192.0.2.0/24, the "
				       "single address is 192.0.2.7" },
		{ "to 192.0.2.7/0", "the network is 0.0.0.0/0" },
		{ "to 2001:db8:1::/47",
		  "'2001:db8:1::/47' has bits set behind its prefix: the "
		  "network is 2001:db8::/47, the single address is "
		  "2001:db8:1::" },
		{ "port 65536", "up to 65535" },
		{ "port 10-9", "a range such as 8000-8100" },
		{ "port shh", "a name such as ssh" },
		{ "state UP", "state takes ESTABLISHED" },
		{ "family ipv5", "family is ipv4 or ipv6, not 'ipv5'" },
		{ "sort size", "sort takes age, timeout, proto" },
		{ "reverse", "'reverse' needs an order: sort age" },
		{ "proto tcp proto udp", "'proto' is given twice" },
		{ "all proto tcp", "'all' does not stand beside other terms" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fw_flow_query query;
		char *error = NULL;

		assert_int_equal(parse(cases[i].words, &query, &error),
				 -EINVAL);
		if (!error || !strstr(error, cases[i].error))
			fail_msg("%s: %s", cases[i].words, error);
		free(error);
	}
}

static void test_addresses(void **state)
{
	struct fw_flow v4 =
		flow(IPPROTO_TCP, "192.0.2.7", 4000, "198.51.100.2", 443);
	struct fw_flow v6 =
		flow(IPPROTO_UDP, "2001:db8:1::7", 4000, "2001:db8:2::2", 53);

	(void)state;
	assert_true(matches("from 192.0.2.7", v4));
	assert_false(matches("from 192.0.2.6", v4));
	assert_true(matches("from 192.0.2.0/29", v4));
	assert_false(matches("from 192.0.2.8/29", v4));
	assert_true(matches("from 192.0.2.0/24 to 198.51.100.2/32", v4));
	assert_false(matches("to 192.0.2.7", v4));
	assert_true(matches("from 0.0.0.0/0", v4));
	assert_false(matches("from ::/0", v4));
	assert_true(matches("from ::/0", v6));
	assert_false(matches("from 0.0.0.0/0", v6));
	assert_true(matches("from 2001:db8::/47", v6));
	assert_false(matches("from 2001:db8:2::/48", v6));
	assert_true(matches("family ipv6", v6));
	assert_false(matches("family ipv6", v4));
	/* either name of what is translated */
	v4.reply.daddr = address("203.0.113.1");
	v4.reply.saddr = address("10.0.0.5");
	assert_true(matches("from 203.0.113.1 to 10.0.0.5", v4));
	assert_true(matches("from 192.0.2.7 to 198.51.100.2", v4));
	assert_false(matches("from 10.0.0.5", v4));
}

static void test_ports_and_protocols(void **state)
{
	struct fw_flow tcp =
		flow(IPPROTO_TCP, "192.0.2.7", 4000, "192.0.2.1", 22);
	struct fw_flow echo =
		flow(IPPROTO_ICMPV6, "2001:db8::1", 22, "2001:db8::2", 0);
	struct fw_flow gre = flow(47, "192.0.2.7", 0, "192.0.2.1", 0);

	(void)state;
	assert_true(matches("port 22", tcp));
	assert_true(matches("port ssh", tcp));
	assert_true(matches("port 4000", tcp));
	assert_true(matches("port 3999-4001", tcp));
	assert_false(matches("port 23-3999", tcp));
	assert_false(matches("port 22", echo)); /* its identifier */
	assert_false(matches("port 0-65535", gre));
	assert_true(matches("proto tcp port ssh from 192.0.2.7", tcp));
	assert_true(matches("proto 6", tcp));
	assert_false(matches("proto udp", tcp));
	assert_true(matches("proto icmp", echo));
	assert_true(matches("proto gre", gre));
	assert_true(matches("proto 47", gre));
	assert_true(matches("all", gre));
	assert_true(matches("", gre));
}

static void test_states(void **state)
{
	struct fw_flow tcp =
		flow(IPPROTO_TCP, "192.0.2.7", 4000, "192.0.2.1", 22);
	struct fw_flow udp =
		flow(IPPROTO_UDP, "192.0.2.7", 4000, "192.0.2.1", 53);

	(void)state;
	assert_true(matches("state none", tcp));
	tcp.kernel_tcp = TCP_CONNTRACK_LAST_ACK;
	assert_true(matches("state LAST_ACK", tcp));
	tcp.tcp_state = FW_TCP_ESTABLISHED;
	assert_true(matches("state established", tcp));
	assert_false(matches("state LAST_ACK", tcp));
	assert_true(matches("state UNREPLIED", udp));
	udp.replied = true;
	assert_true(matches("state replied", udp));
	assert_false(matches("state UNREPLIED", udp));
}

static int compare(enum fw_flow_sort sort, const struct fw_flow *a,
		   const struct fw_flow *b)
{
	char *one = fw_flow_order(sort, a, "x"), *two;
	int order;

	two = fw_flow_order(sort, b, "xy");
	assert_non_null(one);
	assert_non_null(two);
	order = strcmp(one, two);
	free(one);
	free(two);
	return order;
}

static void test_order(void **state)
{
	struct fw_flow a =
		flow(IPPROTO_TCP, "192.0.2.7", 4000, "192.0.2.1", 22);
	struct fw_flow b =
		flow(IPPROTO_UDP, "192.0.2.6", 4000, "192.0.2.2", 21);
	struct fw_flow_query query;

	(void)state;
	a.opened_ns = 5;
	b.opened_ns = 9;
	a.expires_ns = 100;
	b.expires_ns = 50;
	assert_true(compare(FW_FLOW_SORT_AGE, &a, &b) < 0);
	assert_true(compare(FW_FLOW_SORT_TIMEOUT, &a, &b) > 0);
	assert_true(compare(FW_FLOW_SORT_PROTO, &a, &b) < 0);
	assert_true(compare(FW_FLOW_SORT_FROM, &a, &b) > 0);
	assert_true(compare(FW_FLOW_SORT_TO, &a, &b) < 0);
	assert_true(compare(FW_FLOW_SORT_PORT, &a, &b) > 0);
	assert_int_equal(compare(FW_FLOW_SORT_TO, &a, &a), 0);
	/* both directions together, the most first */
	a.counts = (struct fw_flow_counts){ { 5, 5 }, { 100, 1 } };
	b.counts = (struct fw_flow_counts){ { 1, 8 }, { 1, 101 } };
	assert_true(compare(FW_FLOW_SORT_PACKETS, &a, &b) < 0);
	assert_true(compare(FW_FLOW_SORT_BYTES, &a, &b) > 0);
	/* "x" before "xy", whatever the tuples are */
	assert_true(compare(FW_FLOW_SORT_RULE, &a, &b) < 0);
	assert_true(compare(FW_FLOW_SORT_RULE, &b, &a) < 0);
	assert_int_equal(parse("sort age reverse count", &query, NULL), 0);
	assert_int_equal(query.sort, FW_FLOW_SORT_AGE);
	assert_true(query.reverse && query.count && !query.has_terms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_ports_and_protocols),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

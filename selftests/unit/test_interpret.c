/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What rules mean: the oracle against packets whose verdict was worked out by
 * hand.
 */
#include <arpa/inet.h>

#include "rules_helper.h"

static const char zones[] = "interface wan = eth0\n"
			    "interface lan = eth1\n"
			    "interface dmz = eth2\n";
#define WAN 1u
#define LAN 2u
#define DMZ 4u

static struct fw_addr addr(const char *text)
{
	struct fw_addr a = { .w = { 0, 0, htonl(0xffff), 0 } };

	if (strchr(text, ':')) {
		assert_int_equal(inet_pton(AF_INET6, text, a.w), 1);
	} else {
		assert_int_equal(inet_pton(AF_INET, text, &a.w[3]), 1);
	}
	return a;
}

static struct fw_key key(enum fw_dir dir, uint8_t proto, const char *src,
			 const char *dst)
{
	struct fw_key k = {
		.saddr = addr(src),
		.daddr = addr(dst),
		.proto = proto,
		.family = strchr(src, ':') ? FW_AF_IPV6 : FW_AF_IPV4,
		.dir = (uint8_t)dir,
	};

	return k;
}

static struct fw_key tcp(enum fw_dir dir, const char *src, const char *dst,
			 uint16_t dport)
{
	struct fw_key k = key(dir, 6, src, dst);

	k.flags = FW_KEY_PORTS;
	k.sport = 40000;
	k.dport = dport;
	return k;
}

static struct fw_key icmp(const char *src, uint8_t type, uint8_t code)
{
	bool is_v6 = strchr(src, ':') != NULL;
	struct fw_key k = key(FW_DIR_IN, is_v6 ? 58 : 1, src,
			      is_v6 ? "2001:db8::1" : "192.0.2.1");

	k.flags = FW_KEY_ICMP;
	k.icmp = (uint16_t)(type << 8 | code);
	return k;
}

/* The rule that decides, for rules behind the zones above. */
static uint32_t judge(const char *rules, const struct fw_key *k, bool stateless,
		      struct fw_result *ret)
{
	struct fw_program *program;
	char text[2048];

	assert_true(snprintf(text, sizeof(text), "%s%s", zones, rules) <
		    (int)sizeof(text));
	program = compile_good(text, NULL);
	fw_interpret(program, k, stateless, ret);
	fw_program_free(program);
	return ret->rule;
}

static uint32_t rule_of(const char *rules, const struct fw_key *k)
{
	struct fw_result result;

	return judge(rules, k, false, &result);
}

#define NO_IN (FW_RULE_DEFAULT + FW_DIR_IN)

static void test_first_match(void **state)
{
	const char *rules = "drop in from 10.0.0.0/8\n"
			    "accept in proto tcp to port 22 log\n"
			    "reject in proto tcp\n";
	struct fw_key k = tcp(FW_DIR_IN, "10.1.1.1", "192.0.2.1", 22);
	struct fw_result result;

	(void)state;
	assert_int_equal(judge(rules, &k, false, &result), 0);
	assert_int_equal(result.verdict, FW_DROP);
	assert_int_equal(result.flags, 0);
	k.saddr = addr("11.0.0.0");
	assert_int_equal(judge(rules, &k, false, &result), 1);
	assert_int_equal(result.verdict, FW_ACCEPT);
	assert_int_equal(result.flags, FW_RESULT_LOG);
	k.dport = 23;
	assert_int_equal(judge(rules, &k, false, &result), 2);
	assert_int_equal(result.verdict, FW_REJECT);
	k.proto = 17;
	assert_int_equal(judge(rules, &k, false, &result), NO_IN);
	assert_int_equal(result.flags, FW_RESULT_DEFAULT);
	assert_int_equal(result.verdict, FW_DROP);
}

static void test_defaults(void **state)
{
	const char *rules = "default in reject log\n";
	struct fw_key k = tcp(FW_DIR_IN, "10.1.1.1", "192.0.2.1", 22);
	struct fw_result result;

	(void)state;
	assert_int_equal(judge(rules, &k, false, &result), NO_IN);
	assert_int_equal(result.verdict, FW_REJECT);
	assert_int_equal(result.flags, FW_RESULT_DEFAULT | FW_RESULT_LOG);
	k.dir = FW_DIR_OUT;
	assert_int_equal(judge(rules, &k, false, &result),
			 FW_RULE_DEFAULT + FW_DIR_OUT);
	assert_int_equal(result.verdict, FW_ACCEPT);
	k.dir = FW_DIR_FORWARD;
	assert_int_equal(judge(rules, &k, false, &result),
			 FW_RULE_DEFAULT + FW_DIR_FORWARD);
	assert_int_equal(result.verdict, FW_DROP);
}

static void test_stateless(void **state)
{
	const char *rules = "accept in proto tcp\n"
			    "drop stateless in proto tcp to port 23\n"
			    "accept stateless in proto tcp log\n";
	struct fw_key k = tcp(FW_DIR_IN, "10.1.1.1", "192.0.2.1", 23);
	struct fw_result result;

	(void)state;
	assert_int_equal(judge(rules, &k, true, &result), 1);
	assert_int_equal(result.flags, FW_RESULT_STATELESS);
	k.dport = 24;
	assert_int_equal(judge(rules, &k, true, &result), 2);
	assert_int_equal(result.flags, FW_RESULT_STATELESS | FW_RESULT_LOG);
	assert_int_equal(judge(rules, &k, false, &result), 0);
	k.proto = 17;
	assert_int_equal(judge(rules, &k, true, &result), FW_RULE_NONE);
	assert_int_equal(result.verdict, FW_ACCEPT);
	assert_int_equal(result.flags, 0);
}

static void test_zones(void **state)
{
	struct fw_key k = tcp(FW_DIR_IN, "10.1.1.1", "192.0.2.1", 22);

	(void)state;
	k.in_zones = WAN;
	assert_int_equal(rule_of("accept in on wan\n", &k), 0);
	assert_int_equal(rule_of("accept in on !wan\n", &k), NO_IN);
	assert_int_equal(rule_of("accept in on { lan, dmz }\n", &k), NO_IN);
	k.in_zones = DMZ | WAN;
	assert_int_equal(rule_of("accept in on { lan, dmz }\n", &k), 0);
	assert_int_equal(rule_of("accept in on !dmz\n", &k), NO_IN);
	/* An interface of no zone is not in one that is negated. */
	k.in_zones = 0;
	assert_int_equal(rule_of("accept in on !wan\n", &k), 0);
	assert_int_equal(rule_of("accept in on wan\n", &k), NO_IN);
	assert_int_equal(rule_of("accept in on any\n", &k), 0);
	/* `out on` is the leaving interface. */
	k.dir = FW_DIR_OUT;
	k.in_zones = WAN;
	k.out_zones = LAN;
	assert_int_equal(rule_of("drop out on wan\n", &k),
			 FW_RULE_DEFAULT + FW_DIR_OUT);
	assert_int_equal(rule_of("drop out on lan\n", &k), 0);
}

static void test_forward(void **state)
{
	const char *rules = "accept forward wan -> dmz\n"
			    "accept forward wan -> !{ wan, dmz }\n"
			    "drop forward any -> wan\n"
			    "accept forward on wan\n";
	struct fw_key k = tcp(FW_DIR_FORWARD, "10.1.1.1", "192.0.2.1", 22);
	struct fw_result result;

	(void)state;
	k.in_zones = WAN;
	k.out_zones = DMZ;
	assert_int_equal(judge(rules, &k, false, &result), 0);
	assert_int_equal(result.flags, FW_RESULT_MAYBE);
	k.out_zones = LAN;
	assert_int_equal(judge(rules, &k, false, &result), 1);
	k.out_zones = 0;
	assert_int_equal(judge(rules, &k, false, &result), 1);
	k.out_zones = WAN;
	assert_int_equal(judge(rules, &k, false, &result), 2);
	/* Not known yet: go on as if such rows did not match, and say so. */
	k.flags |= FW_KEY_OUT_UNKNOWN;
	assert_int_equal(judge(rules, &k, false, &result), 3);
	assert_int_equal(result.flags, FW_RESULT_MAYBE);
	k.in_zones = LAN;
	assert_int_equal(judge(rules, &k, false, &result),
			 FW_RULE_DEFAULT + FW_DIR_FORWARD);
	assert_int_equal(result.flags, FW_RESULT_MAYBE | FW_RESULT_DEFAULT);
	/* Without such a row before it nothing is uncertain. */
	assert_int_equal(
		judge("drop forward on lan\naccept forward any -> wan\n", &k,
		      false, &result),
		0);
	assert_int_equal(result.flags, 0);
}

static void test_families(void **state)
{
	struct fw_key v4 = tcp(FW_DIR_IN, "10.1.1.1", "192.0.2.1", 22);
	struct fw_key v6 = tcp(FW_DIR_IN, "2001:db8::9", "2001:db8::1", 22);

	(void)state;
	assert_int_equal(rule_of("accept in family ipv4\n", &v4), 0);
	assert_int_equal(rule_of("accept in family ipv4\n", &v6), NO_IN);
	assert_int_equal(rule_of("accept in from 10.0.0.0/8\n", &v6), NO_IN);
	assert_int_equal(rule_of("accept in from !10.0.0.0/8\n", &v6), 0);
	assert_int_equal(rule_of("accept in from !10.0.0.0/8\n", &v4), NO_IN);
	assert_int_equal(rule_of("accept in from !0.0.0.0/0\n", &v4), NO_IN);
	assert_int_equal(rule_of("accept in from !0.0.0.0/0\n", &v6), 0);
	assert_int_equal(
		rule_of("accept in from { 10.0.0.0/8, 2001:db8::/32 }\n", &v6),
		0);
	assert_int_equal(rule_of("accept in from any\n", &v6), 0);
	assert_int_equal(
		rule_of("accept in from 2001:db8::1-2001:db8::9\n", &v6), 0);
	assert_int_equal(
		rule_of("accept in from 2001:db8::a-2001:db8::ff\n", &v6),
		NO_IN);
}

static void test_self(void **state)
{
	struct fw_key k = tcp(FW_DIR_IN, "10.1.1.1", "192.0.2.1", 22);

	(void)state;
	assert_int_equal(rule_of("accept in to self\n", &k), NO_IN);
	assert_int_equal(rule_of("accept in to !self\n", &k), 0);
	assert_int_equal(rule_of("accept in to { self, 192.0.2.0/24 }\n", &k),
			 0);
	k.flags |= FW_KEY_DST_SELF;
	assert_int_equal(rule_of("accept in to self\n", &k), 0);
	assert_int_equal(rule_of("accept in from self\n", &k), NO_IN);
	assert_int_equal(rule_of("accept in to !self\n", &k), NO_IN);
	assert_int_equal(rule_of("accept in to !{ self, 10.0.0.0/8 }\n", &k),
			 NO_IN);
	k.flags |= FW_KEY_SRC_SELF;
	assert_int_equal(rule_of("accept in from self\n", &k), 0);
}

static void test_ports(void **state)
{
	struct fw_key k = tcp(FW_DIR_IN, "10.1.1.1", "192.0.2.1", 0);

	(void)state;
	assert_int_equal(rule_of("accept in to port 0\n", &k), 0);
	k.dport = 65535;
	assert_int_equal(rule_of("accept in to port 0-65534\n", &k), NO_IN);
	assert_int_equal(rule_of("accept in to port !0-65534\n", &k), 0);
	assert_int_equal(rule_of("accept in from port 40000\n", &k), 0);
	assert_int_equal(
		rule_of("accept in from port !{ 1-39999, 40001 }\n", &k), 0);
	k.proto = 17;
	assert_int_equal(rule_of("accept in proto tcp to port 65535\n", &k),
			 NO_IN);
	assert_int_equal(rule_of("accept in to port 65535\n", &k), 0);
	/* SCTP has ports too, but rules with ports are TCP and UDP. */
	k.proto = 132;
	assert_int_equal(rule_of("accept in to port 65535\n", &k), NO_IN);
	/* Without ports no port term matches, negated or not. */
	k.proto = 6;
	k.flags = 0;
	assert_int_equal(rule_of("accept in to port 65535\n", &k), NO_IN);
	assert_int_equal(rule_of("accept in to port !1\n", &k), NO_IN);
	assert_int_equal(rule_of("accept in proto tcp\n", &k), 0);
}

static void test_icmp(void **state)
{
	struct fw_key v4 = icmp("10.1.1.1", 8, 0);
	struct fw_key v6 = icmp("2001:db8::9", 128, 0);
	const char *unreachable =
		"accept in proto icmp type destination-unreachable code port-unreachable\n";

	(void)state;
	assert_int_equal(rule_of("accept in proto icmp\n", &v4), 0);
	assert_int_equal(rule_of("accept in proto icmp\n", &v6), 0);
	assert_int_equal(rule_of("accept in proto icmp4\n", &v6), NO_IN);
	assert_int_equal(rule_of("accept in proto icmp6\n", &v6), 0);
	assert_int_equal(rule_of("accept in type echo-request\n", &v4), 0);
	assert_int_equal(rule_of("accept in type echo-request\n", &v6), 0);
	assert_int_equal(rule_of("accept in type !echo-request\n", &v4), NO_IN);
	assert_int_equal(rule_of("accept in type !echo-reply\n", &v6), 0);
	assert_int_equal(rule_of("accept in proto icmp4 type 8\n", &v4), 0);
	assert_int_equal(rule_of("accept in type packet-too-big\n", &v4),
			 NO_IN);
	v4 = icmp("10.1.1.1", 3, 3);
	v6 = icmp("2001:db8::9", 1, 4);
	assert_int_equal(rule_of(unreachable, &v4), 0);
	assert_int_equal(rule_of(unreachable, &v6), 0);
	v4.icmp = 3 << 8 | 4;
	v6.icmp = 1 << 8 | 3;
	assert_int_equal(rule_of(unreachable, &v4), NO_IN);
	assert_int_equal(rule_of(unreachable, &v6), NO_IN);
	assert_int_equal(rule_of("accept in proto icmp4 type 3 code !3\n", &v4),
			 0);
	assert_int_equal(
		rule_of("accept in proto icmp4 type 255 code 255\n", &v4),
		NO_IN);
	v4.icmp = 0xffff;
	assert_int_equal(
		rule_of("accept in proto icmp4 type 255 code 255\n", &v4), 0);
	v4.flags = 0;
	assert_int_equal(rule_of("accept in proto icmp4 type 0-255\n", &v4),
			 NO_IN);
}

static void test_proto_negated(void **state)
{
	struct fw_key k = tcp(FW_DIR_IN, "10.1.1.1", "192.0.2.1", 22);

	(void)state;
	assert_int_equal(rule_of("accept in proto !tcp\n", &k), NO_IN);
	assert_int_equal(rule_of("accept in proto !{ udp, icmp }\n", &k), 0);
	k.proto = 255;
	assert_int_equal(rule_of("accept in proto !tcp\n", &k), 0);
}

static void test_essential(void **state)
{
	struct fw_key k = icmp("2001:db8::9", 135, 0);
	struct fw_result result;

	(void)state;
	k.flags |= FW_KEY_ESSENTIAL;
	/* A rule that denies without naming it passes it over. */
	assert_int_equal(
		judge("drop in\nreject in proto icmp6\n", &k, false, &result),
		NO_IN);
	assert_int_equal(result.verdict, FW_ACCEPT);
	assert_int_equal(result.flags, FW_RESULT_DEFAULT | FW_RESULT_ESSENTIAL);
	assert_int_equal(judge("default in drop log\n", &k, false, &result),
			 NO_IN);
	assert_int_equal(result.flags, FW_RESULT_DEFAULT | FW_RESULT_ESSENTIAL);
	assert_int_equal(judge("default in accept log\n", &k, false, &result),
			 NO_IN);
	assert_int_equal(result.flags, FW_RESULT_DEFAULT | FW_RESULT_LOG);
	/* One that names it, or is stateless, or accepts, does not. */
	assert_int_equal(judge("drop in type neighbour-solicitation\n", &k,
			       false, &result),
			 0);
	assert_int_equal(result.verdict, FW_DROP);
	assert_int_equal(judge("drop stateless in\n", &k, true, &result), 0);
	assert_int_equal(judge("accept in\n", &k, false, &result), 0);
	/* A row that was passed over leaves nothing uncertain. */
	k.dir = FW_DIR_FORWARD;
	k.flags |= FW_KEY_OUT_UNKNOWN;
	assert_int_equal(judge("drop forward any -> wan\n", &k, false, &result),
			 FW_RULE_DEFAULT + FW_DIR_FORWARD);
	assert_int_equal(result.flags, FW_RESULT_DEFAULT | FW_RESULT_ESSENTIAL);
}

/* The option, unless the rule says otherwise; only where flows are forwarded. */
static void test_offload(void **state)
{
	const char *rules = "option offload on\n"
			    "default forward accept\n"
			    "default in accept\n"
			    "accept forward proto tcp to port 1 offload off\n"
			    "accept forward proto tcp to port 2 offload first\n"
			    "accept forward proto tcp to port 3\n"
			    "drop forward proto tcp to port 4\n"
			    "accept in proto tcp to port 5\n";
	static const uint8_t flags[] = {
		FW_RESULT_DEFAULT | FW_RESULT_OFFLOAD,
		0,
		FW_RESULT_OFFLOAD | FW_RESULT_OFFLOAD_FIRST,
		FW_RESULT_OFFLOAD,
		0,
	};
	struct fw_key k = tcp(FW_DIR_FORWARD, "10.1.1.1", "192.0.2.1", 0);
	struct fw_result result;

	(void)state;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		k.dport = (uint16_t)i;
		(void)judge(rules, &k, false, &result);
		assert_int_equal(result.flags, flags[i]);
	}
	k.dir = FW_DIR_IN;
	k.dport = 5;
	(void)judge(rules, &k, false, &result);
	assert_int_equal(result.flags, 0);
	k.dport = 6;
	(void)judge(rules, &k, false, &result);
	assert_int_equal(result.flags, FW_RESULT_DEFAULT);
	/* Without the option, the rule alone. */
	k.dir = FW_DIR_FORWARD;
	(void)judge("accept forward offload\n", &k, false, &result);
	assert_int_equal(result.flags, FW_RESULT_OFFLOAD);
	(void)judge("accept forward\n", &k, false, &result);
	assert_int_equal(result.flags, 0);
}

static void set_ipsec(struct fw_key *k, uint8_t flags, uint32_t reqid)
{
	k->flags &= (uint8_t)~(FW_KEY_IPSEC | FW_KEY_IPSEC_UNKNOWN);
	k->flags |= flags;
	k->reqid = reqid;
}

static void test_ipsec(void **state)
{
	const char *rules = "accept in to port 22 via ipsec reqid 5\n"
			    "reject in to port 22 via ipsec\n"
			    "accept in to port 22 not via ipsec log\n"
			    "accept forward lan -> wan via ipsec\n";
	struct fw_key k = tcp(FW_DIR_IN, "10.1.1.1", "192.0.2.1", 22);
	struct fw_result result;

	(void)state;
	set_ipsec(&k, FW_KEY_IPSEC, 5);
	assert_int_equal(judge(rules, &k, false, &result), 0);
	assert_int_equal(result.flags, 0);
	assert_int_equal(result.names_reqid, 1);
	set_ipsec(&k, FW_KEY_IPSEC, 6);
	assert_int_equal(judge(rules, &k, false, &result), 1);
	assert_int_equal(result.names_reqid, 0);
	set_ipsec(&k, 0, 0);
	assert_int_equal(judge(rules, &k, false, &result), 2);
	assert_int_equal(result.flags, FW_RESULT_LOG);
	/* Nobody knows: go on as if such rules did not match, and say so. */
	set_ipsec(&k, FW_KEY_IPSEC_UNKNOWN, 0);
	assert_int_equal(judge(rules, &k, false, &result), NO_IN);
	assert_int_equal(result.flags, FW_RESULT_MAYBE | FW_RESULT_DEFAULT);
	k.dport = 23;
	assert_int_equal(judge(rules, &k, false, &result), NO_IN);
	assert_int_equal(result.flags, FW_RESULT_DEFAULT);
	/* What differs leaves nothing open about the leaving interface. */
	k.dir = FW_DIR_FORWARD;
	k.in_zones = LAN;
	set_ipsec(&k, FW_KEY_OUT_UNKNOWN, 0);
	(void)judge(rules, &k, false, &result);
	assert_int_equal(result.flags, FW_RESULT_DEFAULT);
	set_ipsec(&k, FW_KEY_OUT_UNKNOWN | FW_KEY_IPSEC, 1);
	(void)judge(rules, &k, false, &result);
	assert_int_equal(result.flags, FW_RESULT_MAYBE | FW_RESULT_DEFAULT);
}

/* `accept out ... via ipsec` decides in any case, and drops what is in clear. */
static void test_ipsec_promise(void **state)
{
	const char *rules = "accept out on wan to port 22 via ipsec log\n"
			    "accept out to port 22\n"
			    "drop out to port 23 not via ipsec\n";
	struct fw_key k = tcp(FW_DIR_OUT, "10.1.1.1", "192.0.2.1", 22);
	struct fw_result result;

	(void)state;
	k.out_zones = WAN;
	set_ipsec(&k, FW_KEY_IPSEC, 7);
	assert_int_equal(judge(rules, &k, false, &result), 0);
	assert_int_equal(result.verdict, FW_ACCEPT);
	assert_int_equal(result.flags, FW_RESULT_MAYBE | FW_RESULT_LOG);
	set_ipsec(&k, 0, 0);
	assert_int_equal(judge(rules, &k, false, &result), 0);
	assert_int_equal(result.verdict, FW_DROP);
	assert_int_equal(result.flags,
			 FW_RESULT_MAYBE | FW_RESULT_LOG | FW_RESULT_CLEAR);
	set_ipsec(&k, FW_KEY_IPSEC_UNKNOWN, 0);
	assert_int_equal(judge(rules, &k, false, &result), 0);
	assert_int_equal(result.verdict, FW_DROP);
	assert_int_equal(result.flags,
			 FW_RESULT_MAYBE | FW_RESULT_LOG | FW_RESULT_CLEAR);
	set_ipsec(&k, 0, 0);
	k.out_zones = LAN;
	assert_int_equal(judge(rules, &k, false, &result), 1);
	k.dport = 23;
	assert_int_equal(judge(rules, &k, false, &result), 2);
	set_ipsec(&k, FW_KEY_IPSEC, 7);
	assert_int_equal(judge(rules, &k, false, &result),
			 FW_RULE_DEFAULT + FW_DIR_OUT);
}

/* Without neighbours there is no host: a promise that does not name them spares them. */
static void test_ipsec_essential(void **state)
{
	struct fw_key k = icmp("2001:db8::9", 135, 0);
	struct fw_result result;

	(void)state;
	k.dir = FW_DIR_OUT;
	k.flags |= FW_KEY_ESSENTIAL;
	assert_int_equal(judge("accept out via ipsec\n", &k, false, &result),
			 FW_RULE_DEFAULT + FW_DIR_OUT);
	assert_int_equal(result.flags, FW_RESULT_DEFAULT);
	assert_int_equal(
		judge("accept out type neighbour-solicitation via ipsec\n", &k,
		      false, &result),
		0);
	assert_int_equal(result.flags, FW_RESULT_CLEAR);
	k.dir = FW_DIR_IN;
	assert_int_equal(judge("drop in not via ipsec\n", &k, false, &result),
			 NO_IN);
	assert_int_equal(result.flags, FW_RESULT_DEFAULT | FW_RESULT_ESSENTIAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_match),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_stateless),
		cmocka_unit_test(test_zones),
		cmocka_unit_test(test_forward),
		cmocka_unit_test(test_families),
		cmocka_unit_test(test_self),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_icmp),
		cmocka_unit_test(test_proto_negated),
		cmocka_unit_test(test_essential),
		cmocka_unit_test(test_offload),
		cmocka_unit_test(test_ipsec),
		cmocka_unit_test(test_ipsec_promise),
		cmocka_unit_test(test_ipsec_essential),
	};

	return cmocka_run_group_tests_name("interpret", tests, NULL, NULL);
}

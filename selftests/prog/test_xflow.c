/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Floods of flows that nf_conntrack does not take: pings, answered or not, and first
 * packets of protocols without ports. They fill their table and push out each other,
 * but none of the flows that somebody answered.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <linux/icmp.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "harness.h"
#include "user/skel.h"
#include "user/util.h"

#define RULES                                      \
	"interface wan = if0\n"                    \
	"default in drop\n"                        \
	"default out drop\n"                       \
	"timeout other 1h\n"                       \
	"timeout icmp 1h\n"                        \
	"accept out proto { gre, esp }\n"          \
	"accept in proto icmp type echo-request\n" \
	"accept in proto ah\n"

#define ROOM  4096u
#define FLOOD (3 * ROOM)
#define US    0u /* the number of our address; others are other hosts' */
#define PEER  1u
#define LATE  2u
#define MANY  1000u /* from here on those of a flood */

static struct harness h;

struct packet {
	uint8_t bytes[ETH_HLEN + sizeof(struct ipv6hdr) + 32];
	uint32_t len;
};

static uint16_t checksum(const void *at, size_t len)
{
	const uint8_t *bytes = at;
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i += 2)
		sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
	sum = (sum >> 16) + (sum & 0xffff);
	sum += sum >> 16;
	return htons((uint16_t)~sum);
}

static uint32_t v4_of(uint32_t number)
{
	return htonl((number ? 0x0a000000 : 0xc0000201) + number);
}

static struct in6_addr v6_of(uint32_t number)
{
	struct in6_addr a = { .s6_addr32 = { htonl(0x20010db8) } };

	a.s6_addr32[3] = htonl(number + 1);
	return a;
}

static void add_ipv4(struct packet *p, uint8_t proto, uint32_t from,
		     uint32_t to)
{
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = htons(sizeof(ip) + 32),
		.ttl = 64,
		.protocol = proto,
		.saddr = v4_of(from),
		.daddr = v4_of(to),
	};

	ip.check = checksum(&ip, sizeof(ip));
	memcpy(p->bytes + ETH_HLEN, &ip, sizeof(ip));
	p->len = ETH_HLEN + sizeof(ip) + 32;
}

static void add_ipv6(struct packet *p, uint8_t proto, uint32_t from,
		     uint32_t to)
{
	struct ipv6hdr ip = {
		.version = 6,
		.payload_len = htons(32),
		.nexthdr = proto,
		.hop_limit = 64,
	};
	const struct in6_addr src = v6_of(from), dst = v6_of(to);

	memcpy(&ip.saddr, &src, sizeof(src));
	memcpy(&ip.daddr, &dst, sizeof(dst));
	memcpy(p->bytes + ETH_HLEN, &ip, sizeof(ip));
	p->len = ETH_HLEN + sizeof(ip) + 32;
}

static struct packet packet(int family, uint8_t proto, uint32_t from,
			    uint32_t to)
{
	struct packet p = { .bytes = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 } };
	const uint16_t type = htons(family == 4 ? ETH_P_IP : ETH_P_IPV6);

	memcpy(p.bytes + 12, &type, sizeof(type));
	if (family == 4)
		add_ipv4(&p, proto, from, to);
	else
		add_ipv6(&p, proto, from, to);
	return p;
}

static struct packet ping(int family, uint32_t from, uint32_t to, bool reply)
{
	struct packet p = packet(
		family, family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, from, to);
	uint8_t *icmp = p.bytes + p.len - 32;

	icmp[0] = family == 4 ? (reply ? 0 : 8) : reply ? 129 : 128;
	icmp[4] = 0x12; /* all have one identifier */
	return p;
}

static enum fw_reason judge(enum fw_hook hook, struct packet p)
{
	static struct outcome o;

	assert_int_equal(harness_run(&h, hook, 0, -1, p.bytes, p.len, &o), 0);
	assert_int_equal(o.n_reasons, 1);
	return o.reason;
}

/* Without a look at the counters, for many. */
static void feed(enum fw_hook hook, struct packet p)
{
	struct __sk_buff skb = { .ifindex = h.ifindex[0],
				 .ingress_ifindex = h.ifindex[0] };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = p.bytes,
		    .data_size_in = p.len, .ctx_in = &skb,
		    .ctx_size_in = sizeof(skb), .repeat = 1);

	if (hook == FW_HOOK_EGRESS)
		skb.ingress_ifindex = 0;
	assert_int_equal(
		bpf_prog_test_run_opts(
			bpf_program__fd(hook == FW_HOOK_EGRESS
						? h.skel->progs.fw_egress
						: h.skel->progs.fw_ingress),
			&opts),
		0);
}

/* A tunnel of either kind in either family, opened from here and answered. */
static void open_tunnels(void)
{
	static const uint8_t protos[] = { IPPROTO_GRE, IPPROTO_ESP };

	harness_flush(&h);
	assert_int_equal(harness_rules(&h, RULES), 0);
	for (int family = 4; family <= 6; family += 2)
		for (size_t i = 0; i < ARRAY_SIZE(protos); i++) {
			assert_int_equal(
				judge(FW_HOOK_EGRESS,
				      packet(family, protos[i], US, PEER)),
				FW_REASON_NEW);
			assert_int_equal(
				judge(FW_HOOK_INGRESS,
				      packet(family, protos[i], PEER, US)),
				FW_REASON_ESTABLISHED);
		}
}

/* The other side is the first to speak again. */
static void expect_tunnels(void)
{
	for (int family = 4; family <= 6; family += 2) {
		assert_int_equal(judge(FW_HOOK_XDP,
				       packet(family, IPPROTO_GRE, PEER, US)),
				 FW_REASON_ESTABLISHED);
		assert_int_equal(judge(FW_HOOK_INGRESS,
				       packet(family, IPPROTO_ESP, PEER, US)),
				 FW_REASON_ESTABLISHED);
	}
}

static void pings_push_out_no_tunnel(void **state)
{
	(void)state;
	open_tunnels();
	for (uint32_t i = 0; i < FLOOD; i++) {
		feed(FW_HOOK_INGRESS, ping(4, MANY + i, US, false));
		if (i % 4 == 0)
			feed(FW_HOOK_EGRESS, ping(4, US, MANY + i, true));
	}
	expect_tunnels();
	/* and those who ping now get their answer */
	for (int family = 4; family <= 6; family += 2) {
		assert_int_equal(
			judge(FW_HOOK_INGRESS, ping(family, LATE, US, false)),
			FW_REASON_NEW);
		assert_int_equal(
			judge(FW_HOOK_EGRESS, ping(family, US, LATE, true)),
			FW_REASON_ESTABLISHED);
	}
}

/* Twice: what is seen again stays longer. */
static void flood(int family, uint32_t from)
{
	for (int i = 0; i < 2; i++)
		feed(FW_HOOK_INGRESS, packet(family, IPPROTO_AH, from, US));
}

static void first_packets_push_out_no_tunnel(void **state)
{
	(void)state;
	open_tunnels();
	for (uint32_t i = 0; i < FLOOD; i++)
		flood(6, MANY + i);
	expect_tunnels();
	assert_int_equal(
		judge(FW_HOOK_EGRESS, packet(4, IPPROTO_GRE, US, LATE)),
		FW_REASON_NEW);
	assert_int_equal(judge(FW_HOOK_XDP, packet(4, IPPROTO_GRE, LATE, US)),
			 FW_REASON_ESTABLISHED);
}

/* Judged again by other rules it is still one that was answered. */
static void reload_moves_no_tunnel_back(void **state)
{
	(void)state;
	open_tunnels();
	assert_int_equal(harness_rules(&h, RULES "# more\n"), 0);
	for (int family = 4; family <= 6; family += 2) {
		feed(FW_HOOK_INGRESS, packet(family, IPPROTO_GRE, PEER, US));
		feed(FW_HOOK_INGRESS, packet(family, IPPROTO_ESP, PEER, US));
	}
	for (uint32_t i = 0; i < FLOOD; i++)
		flood(4, MANY + i);
	expect_tunnels();
}

static int group_setup(void **state)
{
	(void)state;
	harness_init_small(&h, ROOM);
	harness_self(&h, "192.0.2.1", FW_SELF_ADDRESS);
	harness_self(&h, "2001:db8::1", FW_SELF_ADDRESS);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	harness_done(&h);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pings_push_out_no_tunnel),
		cmocka_unit_test(first_packets_push_out_no_tunnel),
		cmocka_unit_test(reload_moves_no_tunnel_back),
	};

	return cmocka_run_group_tests_name("prog-xflow", tests, group_setup,
					   group_teardown);
}

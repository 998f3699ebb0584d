/* SPDX-License-Identifier: GPL-2.0-only */

/* A packet in words: the frame that is made of it, and what is said of mistakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "user/packetframe.h"

static struct fw_packetframe parse(const char *text)
{
	struct fw_packet_error error = { 0 };
	struct fw_packetframe packet;

	if (fw_packetframe_parse(text, &packet, &error) < 0)
		fail_msg("'%s': %s", text, error.text);
	return packet;
}

static void assert_bytes(const char *text, size_t at, const char *hex)
{
	struct fw_packetframe packet = parse(text);
	char found[2 * 64 + 1] = "";
	size_t n = strlen(hex) / 2;

	for (size_t i = 0; i < n && at + i < packet.len; i++)
		(void)snprintf(found + 2 * i, 3, "%02x", packet.frame[at + i]);
	assert_string_equal(found, hex);
}

static void assert_summary(const char *text, const char *summary)
{
	struct fw_packetframe packet = parse(text);

	assert_string_equal(packet.summary, summary);
}

static void test_frames(void **state)
{
	(void)state;
	/* as scapy makes them */
	assert_bytes("in eth0 tcp 192.0.2.1:40000 -> 198.51.100.1:22", 12,
		     "0800450000280001000040068e99c0000201c6336401"
		     "9c40001600000000000000005002000027560000");
	assert_bytes("in eth0 udp [2001:db8::1]:53 to [2001:db8::2]:53", 12,
		     "86dd6000000000081140"
		     "20010db8000000000000000000000001"
		     "20010db8000000000000000000000002"
		     "003500350008a3ff");
	assert_bytes("in eth0 icmp 192.0.2.1 to 192.0.2.2 id 5", 34,
		     "0800f7fa00050000");
}

static void test_terms(void **state)
{
	struct fw_packetframe packet;

	(void)state;
	packet = parse("out eth0 esp 192.0.2.1 to 192.0.2.2 length 100");
	assert_true(packet.out);
	assert_string_equal(packet.interface, "eth0");
	assert_int_equal(packet.len, 114);
	assert_bytes("in e tcp 192.0.2.1 to 192.0.2.2:1 vlan 20 vlan 10", 12,
		     "88a800148100000a080045");
	assert_bytes("in e tcp 192.0.2.1 to 192.0.2.2:1 flags syn,ACK", 47,
		     "12");
	assert_bytes("in e tcp 192.0.2.1 to 192.0.2.2:1 flags none", 47, "00");
	assert_bytes("in e udp 192.0.2.1 to 192.0.2.2:1 fragment first id 7",
		     18, "00072000");
	assert_bytes("in e udp 192.0.2.1 to 192.0.2.2 fragment 16 more", 18,
		     "00012002");
	assert_bytes("in e udp 2001:db8::1 to 2001:db8::2 fragment 16", 20,
		     "2c40");
	/* an ICMP error about what this host has sent */
	assert_bytes(
		"in e icmp destination-unreachable 192.0.2.2 to 192.0.2.1 code port-unreachable about udp 192.0.2.1:7 to 192.0.2.2:9",
		34, "0303");
	assert_bytes(
		"in e icmp packet-too-big 2001:db8::2 to 2001:db8::1 about tcp [2001:db8::1]:7 to [2001:db8::2]:9",
		54, "0200");
}

static void test_summaries(void **state)
{
	(void)state;
	assert_summary(
		"in eth0 tcp from 192.0.2.1 to 198.51.100.1:https",
		"in eth0 tcp 192.0.2.1:40000 to 198.51.100.1:443 flags syn ttl 64 length 40");
	assert_summary(
		"out eth0 udp 2001:db8::1 -> [2001:db8::2]:53 ttl 3 vlan 7",
		"out eth0 udp [2001:db8::1]:40000 to [2001:db8::2]:53 ttl 3 vlan 7 length 48");
	assert_summary(
		"in e 253 1.2.3.4 to 1.2.3.5 via ipsec reqid 7",
		"in e 253 1.2.3.4 to 1.2.3.5 ttl 64 length 36 via ipsec reqid 7");
}

/* Each of what a summary says is understood again, and says the same. */
static void test_summaries_are_packets(void **state)
{
	static const char *const texts[] = {
		"in e tcp 192.0.2.1 to 192.0.2.2:1 flags none",
		"in e icmp 192.0.2.1 to 192.0.2.2",
		"in e icmp echo-request 192.0.2.1 to 192.0.2.2 id 7",
		"in e udp 192.0.2.1:0 to 192.0.2.2:53",
		"in e tcp [2001:db8::1]:0 to [2001:db8::2]:22",
		"in e icmpv6 echo-reply 2001:db8::1 to 2001:db8::2",
		"in e 253 192.0.2.1 to 192.0.2.2 ttl 1 length 60",
		"in e udp 192.0.2.1 to 192.0.2.2:53 fragment first",
		"in e udp 192.0.2.1 to 192.0.2.2 fragment 1480",
		"in e icmp 3 192.0.2.1 to 192.0.2.2 about udp 192.0.2.2 to 192.0.2.1:5",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct fw_packetframe packet = parse(texts[i]), again;

		again = parse(packet.summary);
		assert_string_equal(packet.summary, again.summary);
		assert_int_equal(packet.len, again.len);
		assert_memory_equal(packet.frame, again.frame, packet.len);
	}
}

static void test_mistakes(void **state)
{
	static const struct {
		const char *text, *says;
		size_t at, len;
	} cases[] = {
		{ "", "begin with 'in' or 'out'", 0, 1 },
		{ "in", "which interface?", 2, 1 },
		{ "in eth0", "what protocol?", 7, 1 },
		{ "in eth0 tpc 1.2.3.4 to 1.2.3.5:6", "what protocol?", 8, 3 },
		{ "in eth0 tcp 1.2.3 to 1.2.3.5:6", "this is no address", 12,
		  5 },
		{ "in eth0 tcp", "an address is missing", 11, 1 },
		{ "in eth0 tcp 1.2.3.4 1.2.3.5:6", "'to' and where", 20, 9 },
		{ "in eth0 tcp 1.2.3.4 -", "the shell has taken", 20, 1 },
		{ "in eth0 tcp 1.2.3.4 to 1.2.3.5", "tcp needs a port", 30, 1 },
		{ "in eth0 tcp 1.2.3.4 to 1.2.3.5:66666", "is no port", 23,
		  13 },
		{ "in eth0 esp 1.2.3.4 to 1.2.3.5:6", "only tcp, udp", 23, 9 },
		{ "in eth0 esp 1.2.3.4 to ::1", "not of one family", 23, 3 },
		{ "in eth0 icmp packet-too-big 1.2.3.4 to 1.2.3.5",
		  "ICMP has no packet-too-big", 46, 1 },
		{ "in eth0 esp 1.2.3.4 to 1.2.3.5 ttl 256", "ttl takes", 35,
		  3 },
		{ "in eth0 esp 1.2.3.4 to 1.2.3.5 flags syn", "only tcp has",
		  37, 3 },
		{ "in eth0 esp 1.2.3.4 to 1.2.3.5 fragment 9", "multiple of 8",
		  40, 1 },
		{ "in eth0 esp 1.2.3.4 to 1.2.3.5 nonsense", "what follows is",
		  31, 8 },
		{ "in eth0 esp 1.2.3.4 to 1.2.3.5 length 99999", "length takes",
		  38, 5 },
		{ "in eth0 esp 1.2.3.4 to 1.2.3.5 via tunnel", "via ipsec", 35,
		  6 },
		{ "in eth0 esp 1.2.3.4 to 1.2.3.5 via ipsec reqid 0",
		  "reqid takes", 47, 1 },
		{ "out eth0 esp 1.2.3.4 to 1.2.3.5 via ipsec", "what comes in",
		  41, 1 },
		{ "in e icmp 3 1.2.3.4 to 1.2.3.5 about 253 1.2.3.5 to 1.2.3.4 via ipsec",
		  "before 'about'", 69, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fw_packet_error error = { 0 };
		struct fw_packetframe packet;

		assert_int_equal(
			fw_packetframe_parse(cases[i].text, &packet, &error),
			-EINVAL);
		assert_non_null(error.text);
		if (!strstr(error.text, cases[i].says))
			fail_msg("'%s': %s", cases[i].text, error.text);
		if (error.at != cases[i].at || error.len != cases[i].len)
			fail_msg("'%s': at %zu, %zu", cases[i].text, error.at,
				 error.len);
		free(error.text);
	}
}

/* Whatever is written: it is a frame that fits, or a mistake within the text. */
static void test_anything(void **state)
{
	static const char *const words[] = {
		"in",	  "eth0",      "tcp",	      "udp",	 "icmp",
		"icmpv6", "192.0.2.1", "192.0.2.2:5", "[::1]:5", "::2",
		"to",	  "->",	       "flags",	      "syn",	 "length",
		"2968",	  "about",     "fragment",    "first",	 "vlan",
		"20",	  "ttl",       "code",	      "3",	 "more",
		"[",	  ":",	       "65528",	      "]:",	 "id",
	};
	uint32_t seed = 1;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		char text[512] = "in eth0 ";
		struct fw_packet_error error = { 0 };
		struct fw_packetframe packet;
		size_t n = 1 + (size_t)i % 14;

		for (size_t k = 0; k < n; k++) {
			seed = seed * 1664525 + 1013904223;
			(void)strcat(text,
				     words[(seed >> 16) %
					   (sizeof(words) / sizeof(words[0]))]);
			(void)strcat(text, " ");
		}
		if (fw_packetframe_parse(text, &packet, &error) == 0)
			assert_in_range(packet.len, 14, FW_FRAME_MOST);
		else
			assert_in_range(error.at, 0, strlen(text));
		free(error.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_terms),
		cmocka_unit_test(test_summaries),
		cmocka_unit_test(test_summaries_are_packets),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

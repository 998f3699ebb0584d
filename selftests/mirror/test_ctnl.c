/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The netlink decoder: what any protocol may send, what may be missing, and
 * whatever else may be in the buffer.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "user/ctnl.c"

#define ROUNDS 200000

struct builder {
	char buf[1024] __attribute__((aligned(8)));
	struct nlmsghdr *nlh;
};

static void begin(struct builder *b, uint16_t type, uint16_t flags,
		  uint8_t family)
{
	struct nfgenmsg *nfg;

	memset(b, 0, sizeof(*b));
	b->nlh = mnl_nlmsg_put_header(b->buf);
	b->nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	b->nlh->nlmsg_flags = flags;
	nfg = mnl_nlmsg_put_extra_header(b->nlh, sizeof(*nfg));
	nfg->nfgen_family = family;
}

static void put_ipv4(struct builder *b, uint32_t src, uint32_t dst)
{
	struct nlattr *nest = mnl_attr_nest_start(b->nlh, CTA_TUPLE_IP);

	mnl_attr_put_u32(b->nlh, CTA_IP_V4_SRC, htonl(src));
	mnl_attr_put_u32(b->nlh, CTA_IP_V4_DST, htonl(dst));
	mnl_attr_nest_end(b->nlh, nest);
}

static void put_ports(struct builder *b, uint8_t proto, uint16_t sport,
		      uint16_t dport)
{
	struct nlattr *nest = mnl_attr_nest_start(b->nlh, CTA_TUPLE_PROTO);

	mnl_attr_put_u8(b->nlh, CTA_PROTO_NUM, proto);
	if (sport || dport) {
		mnl_attr_put_u16(b->nlh, CTA_PROTO_SRC_PORT, htons(sport));
		mnl_attr_put_u16(b->nlh, CTA_PROTO_DST_PORT, htons(dport));
	}
	mnl_attr_nest_end(b->nlh, nest);
}

static void put_tuple(struct builder *b, uint16_t type, uint8_t proto,
		      uint32_t src, uint32_t dst, uint16_t sport,
		      uint16_t dport)
{
	struct nlattr *nest = mnl_attr_nest_start(b->nlh, type);

	put_ipv4(b, src, dst);
	put_ports(b, proto, sport, dport);
	mnl_attr_nest_end(b->nlh, nest);
}

static void put_tcp(struct builder *b, uint8_t state, uint8_t flags)
{
	struct nf_ct_tcp_flags value = { .flags = flags };
	struct nlattr *info = mnl_attr_nest_start(b->nlh, CTA_PROTOINFO);
	struct nlattr *tcp = mnl_attr_nest_start(b->nlh, CTA_PROTOINFO_TCP);

	mnl_attr_put_u8(b->nlh, CTA_PROTOINFO_TCP_STATE, state);
	mnl_attr_put(b->nlh, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, sizeof(value),
		     &value);
	mnl_attr_put(b->nlh, CTA_PROTOINFO_TCP_FLAGS_REPLY, sizeof(value),
		     &value);
	mnl_attr_nest_end(b->nlh, tcp);
	mnl_attr_nest_end(b->nlh, info);
}

static void put_counts(struct builder *b, uint16_t type, uint64_t packets,
		       uint64_t bytes)
{
	struct nlattr *counters = mnl_attr_nest_start(b->nlh, type);

	mnl_attr_put_u64(b->nlh, CTA_COUNTERS_PACKETS, htobe64(packets));
	mnl_attr_put_u64(b->nlh, CTA_COUNTERS_BYTES, htobe64(bytes));
	mnl_attr_nest_end(b->nlh, counters);
}

/* A TCP entry with source NAT and everything that we look at. */
static void build_full(struct builder *b)
{
	begin(b, IPCTNL_MSG_CT_NEW, NLM_F_CREATE | NLM_F_EXCL, AF_INET);
	put_tuple(b, CTA_TUPLE_ORIG, IPPROTO_TCP, 0x0a000001, 0x0a000002, 1000,
		  80);
	put_tuple(b, CTA_TUPLE_REPLY, IPPROTO_TCP, 0x0a000002, 0xc0000201, 80,
		  2000);
	mnl_attr_put_u32(b->nlh, CTA_ID, htonl(99));
	mnl_attr_put_u32(b->nlh, CTA_STATUS, htonl(0x18e));
	mnl_attr_put_u32(b->nlh, CTA_MARK, htonl(0x00530001));
	mnl_attr_put_u32(b->nlh, CTA_TIMEOUT, htonl(432000));
	mnl_attr_put_u16(b->nlh, CTA_ZONE, htons(4));
	mnl_attr_put_u32(b->nlh, CTA_USE, htonl(1));
	mnl_attr_put_u32(b->nlh, 77, 1); /* of a newer kernel */
	put_tcp(b, 3, 0x0b);
}

static void test_full(void **state)
{
	struct builder b;
	struct fw_ct ct;

	(void)state;
	build_full(&b);
	assert_int_equal(fw_ctnl_decode(b.nlh, &ct), 0);
	assert_int_equal(ct.orig.family, FW_AF_IPV4);
	assert_int_equal(ct.orig.proto, IPPROTO_TCP);
	assert_int_equal(ntohl(ct.orig.saddr.w[2]), 0xffff);
	assert_int_equal(ntohl(ct.orig.saddr.w[3]), 0x0a000001);
	assert_int_equal(ntohl(ct.orig.daddr.w[3]), 0x0a000002);
	assert_int_equal(ntohs(ct.orig.sport), 1000);
	assert_int_equal(ntohs(ct.orig.dport), 80);
	assert_int_equal(ntohl(ct.reply.daddr.w[3]), 0xc0000201);
	assert_int_equal(ntohs(ct.reply.dport), 2000);
	assert_int_equal(ct.id, 99);
	assert_int_equal(ct.status, 0x18e);
	assert_int_equal(ct.mark, 0x00530001);
	assert_int_equal(ct.timeout_s, 432000);
	assert_int_equal(ct.zone, 4);
	assert_int_equal(ct.tcp_state, 3);
	assert_int_equal(ct.tcp_flags[0], 0x0b);
	assert_int_equal(ct.has, FW_CT_HAS_STATUS | FW_CT_HAS_MARK |
					 FW_CT_HAS_TIMEOUT | FW_CT_HAS_TCP);
}

static void test_counts(void **state)
{
	struct builder b;
	struct fw_ct ct;

	(void)state;
	build_full(&b);
	put_counts(&b, CTA_COUNTERS_ORIG, 3, 1ull << 40);
	assert_int_equal(fw_ctnl_decode(b.nlh, &ct), 0);
	assert_false(ct.has & FW_CT_HAS_COUNTS); /* half of it is nothing */
	put_counts(&b, CTA_COUNTERS_REPLY, 2, 99);
	assert_int_equal(fw_ctnl_decode(b.nlh, &ct), 0);
	assert_true(ct.has & FW_CT_HAS_COUNTS);
	assert_int_equal(ct.counts.packets[0], 3);
	assert_int_equal(ct.counts.bytes[0], 1ull << 40);
	assert_int_equal(ct.counts.packets[1], 2);
	assert_int_equal(ct.counts.bytes[1], 99);
}

static void test_bare(void **state)
{
	struct builder b;
	struct fw_ct ct;

	(void)state;
	begin(&b, IPCTNL_MSG_CT_NEW, 0, AF_INET);
	put_tuple(&b, CTA_TUPLE_ORIG, IPPROTO_GRE, 1, 2, 0, 0);
	assert_int_equal(fw_ctnl_decode(b.nlh, &ct), 0);
	assert_int_equal(ct.has, 0);
	assert_int_equal(ct.orig.sport, 0);
	assert_int_equal(ntohl(ct.reply.saddr.w[3]), 2);
	assert_int_equal(ntohl(ct.reply.daddr.w[3]), 1);
}

static void test_icmpv6(void **state)
{
	static const uint8_t src[16] = { 0xfd, [15] = 1 };
	static const uint8_t dst[16] = { 0xfd, [15] = 2 };
	struct builder b;
	struct nlattr *outer;
	struct nlattr *nest;
	struct fw_ct ct;

	(void)state;
	begin(&b, IPCTNL_MSG_CT_NEW, 0, AF_INET6);
	outer = mnl_attr_nest_start(b.nlh, CTA_TUPLE_ORIG);
	nest = mnl_attr_nest_start(b.nlh, CTA_TUPLE_IP);
	mnl_attr_put(b.nlh, CTA_IP_V6_SRC, sizeof(src), src);
	mnl_attr_put(b.nlh, CTA_IP_V6_DST, sizeof(dst), dst);
	mnl_attr_nest_end(b.nlh, nest);
	nest = mnl_attr_nest_start(b.nlh, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(b.nlh, CTA_PROTO_NUM, IPPROTO_ICMPV6);
	mnl_attr_put_u16(b.nlh, CTA_PROTO_ICMPV6_ID, htons(7));
	mnl_attr_put_u8(b.nlh, CTA_PROTO_ICMPV6_TYPE, 128);
	mnl_attr_put_u8(b.nlh, CTA_PROTO_ICMPV6_CODE, 3);
	mnl_attr_nest_end(b.nlh, nest);
	mnl_attr_put_u16(b.nlh, CTA_TUPLE_ZONE, htons(6));
	mnl_attr_nest_end(b.nlh, outer);
	assert_int_equal(fw_ctnl_decode(b.nlh, &ct), 0);
	assert_int_equal(ct.orig.family, FW_AF_IPV6);
	assert_memory_equal(&ct.orig.saddr, src, sizeof(src));
	assert_memory_equal(&ct.reply.saddr, dst, sizeof(dst));
	assert_int_equal(ntohs(ct.orig.sport), 7);
	assert_int_equal(ct.orig.dport, 0);
	assert_int_equal(ct.orig.icmp_type, 128);
	assert_int_equal(ct.orig.pad, 3);
	assert_int_equal(ct.reply.icmp_type, 129);
	assert_int_equal(ntohs(ct.reply.sport), 7);
	assert_int_equal(ct.zone, 6);
}

static void test_unusable(void **state)
{
	struct builder b;
	struct nlattr *nest;
	struct fw_ct ct;

	(void)state;
	begin(&b, IPCTNL_MSG_CT_NEW, 0, AF_INET);
	assert_int_equal(fw_ctnl_decode(b.nlh, &ct), -EBADMSG);
	/* addresses without a protocol */
	nest = mnl_attr_nest_start(b.nlh, CTA_TUPLE_ORIG);
	put_ipv4(&b, 1, 2);
	mnl_attr_nest_end(b.nlh, nest);
	assert_int_equal(fw_ctnl_decode(b.nlh, &ct), -EBADMSG);
	/* a protocol without addresses */
	begin(&b, IPCTNL_MSG_CT_NEW, 0, AF_INET);
	nest = mnl_attr_nest_start(b.nlh, CTA_TUPLE_ORIG);
	put_ports(&b, IPPROTO_UDP, 1, 2);
	mnl_attr_nest_end(b.nlh, nest);
	assert_int_equal(fw_ctnl_decode(b.nlh, &ct), -EBADMSG);
	/* an address that is too short */
	begin(&b, IPCTNL_MSG_CT_NEW, 0, AF_INET);
	build_full(&b);
	b.nlh->nlmsg_len = FW_CTMSG_HEAD + 2;
	assert_int_equal(fw_ctnl_decode(b.nlh, &ct), -EBADMSG);
	b.nlh->nlmsg_len = FW_CTMSG_HEAD - 1;
	assert_int_equal(fw_ctnl_decode(b.nlh, &ct), -EBADMSG);
}

struct seen {
	unsigned int n[4];
};

static void note(void *data, const enum fw_ct_msg *msgs,
		 const struct fw_ct *cts, size_t n)
{
	struct seen *seen = data;

	assert_in_range(n, 1, FW_CTNL_BATCH);
	for (size_t i = 0; i < n; i++) {
		assert_true(cts[i].orig.family == FW_AF_IPV4 ||
			    cts[i].orig.family == FW_AF_IPV6);
		seen->n[msgs[i]]++;
	}
}

static void test_kinds_of_events(void **state)
{
	struct seen seen = { 0 };
	static struct fw_ctnl ctnl = { .shift = FW_MARK_SHIFT };
	struct reader reader;
	struct builder b;

	(void)state;
	reader_init(&reader, &ctnl, note, &seen);
	build_full(&b);
	assert_int_equal(walk(b.buf, b.nlh->nlmsg_len, on_event, &reader), 0);
	b.nlh->nlmsg_flags = 0;
	assert_int_equal(walk(b.buf, b.nlh->nlmsg_len, on_event, &reader), 0);
	b.nlh->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
	assert_int_equal(walk(b.buf, b.nlh->nlmsg_len, on_event, &reader), 0);
	b.nlh->nlmsg_type = NFNL_SUBSYS_CTNETLINK_EXP << 8;
	assert_int_equal(walk(b.buf, b.nlh->nlmsg_len, on_event, &reader), 0);
	tell(&reader);
	assert_int_equal(seen.n[FW_CT_NEW], 1);
	assert_int_equal(seen.n[FW_CT_UPDATED], 1);
	assert_int_equal(seen.n[FW_CT_DESTROYED], 1);
	/* a datagram that was cut off is loss, not an end */
	assert_int_equal(walk(b.buf, b.nlh->nlmsg_len - 4, on_event, &reader),
			 -EBADMSG);
	b.nlh->nlmsg_type = NLMSG_OVERRUN;
	assert_int_equal(walk(b.buf, b.nlh->nlmsg_len, on_event, &reader),
			 -ENOBUFS);
}

static uint64_t random_state = 1;

static uint32_t pick(uint32_t n)
{
	random_state =
		random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(random_state >> 33) % n;
}

/* Feeds exactly `len` bytes, so that a sanitizer sees each byte too many. */
static void feed(const void *bytes, size_t len)
{
	struct seen seen = { 0 };
	static struct fw_ctnl ctnl = { .shift = FW_MARK_SHIFT };
	struct reader reader;
	void *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	reader_init(&reader, &ctnl, note, &seen);
	(void)walk(copy, len, on_event, &reader);
	tell(&reader);
	free(copy);
}

static void test_mutated(void **state)
{
	static const uint8_t lengths[] = { 0, 1, 3, 4, 5, 8, 127, 255 };
	struct builder b;
	unsigned int i;
	unsigned int n;
	uint32_t len;

	(void)state;
	for (i = 0; i < ROUNDS; i++) {
		build_full(&b);
		len = b.nlh->nlmsg_len;
		for (n = 1 + pick(4); n; n--) {
			uint32_t at = pick(len);

			if (pick(2))
				b.buf[at] = (char)lengths[pick(8)];
			else
				b.buf[at] = (char)pick(256);
		}
		/* keep the head right most of the time, to get further */
		if (pick(8)) {
			b.nlh->nlmsg_len = len;
			b.nlh->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8;
		}
		if (!pick(4)) {
			len = pick(len + 1);
			if (len >= 4 && pick(2))
				b.nlh->nlmsg_len = len;
		}
		feed(b.buf, len);
	}
}

static void test_noise(void **state)
{
	char noise[256] __attribute__((aligned(8)));
	unsigned int i;
	size_t j;

	(void)state;
	for (i = 0; i < ROUNDS / 4; i++) {
		for (j = 0; j < sizeof(noise); j++)
			noise[j] = (char)pick(256);
		if (pick(2)) {
			noise[2] = noise[3] = 0;
			noise[4] = 0;
			noise[5] = NFNL_SUBSYS_CTNETLINK;
		}
		feed(noise, pick(sizeof(noise)));
	}
}

/* Answers come from the kernel, but their parser is no less careful. */
static void test_answers(void **state)
{
	char noise[128] __attribute__((aligned(8)));
	struct nlmsghdr *nlh;
	unsigned int i;
	size_t j;

	(void)state;
	for (i = 0; i < ROUNDS / 4; i++) {
		uint32_t len = 16 + pick(sizeof(noise) - 16);

		for (j = 0; j < sizeof(noise); j++)
			noise[j] = (char)pick(pick(2) ? 256 : 24);
		nlh = malloc(len);
		assert_non_null(nlh);
		memcpy(nlh, noise, len);
		nlh->nlmsg_len = len;
		nlh->nlmsg_type = pick(2) ? NLMSG_ERROR : NLMSG_DONE;
		nlh->nlmsg_flags = (uint16_t)(pick(2) ? NLM_F_ACK_TLVS : 0);
		if (pick(2))
			nlh->nlmsg_flags |= NLM_F_CAPPED;
		assert_true(error_of(nlh) <= 0);
		free(nlh);
	}
}

static void test_messages_name_their_entry(void **state)
{
	static const uint8_t protos[] = { IPPROTO_TCP,	   IPPROTO_UDP,
					  IPPROTO_ICMP,	   IPPROTO_ICMPV6,
					  IPPROTO_SCTP,	   IPPROTO_GRE,
					  IPPROTO_UDPLITE, 99 };
	char buf[MESSAGE_MAX] __attribute__((aligned(8)));
	struct fw_ctnl *ctnl = calloc(1, sizeof(*ctnl));
	struct nf_conntrack *ct;
	struct nlmsghdr *nlh;
	struct fw_ct back;
	struct builder b;
	struct fw_ct want;
	size_t i;

	(void)state;
	assert_non_null(ctnl);
	build_full(&b);
	assert_int_equal(fw_ctnl_decode(b.nlh, &want), 0);
	for (i = 0; i < sizeof(protos); i++) {
		want.orig.proto = protos[i];
		ct = new_ct(&want.orig);
		assert_non_null(ct);
		nlh = put_head(ctnl, buf, IPCTNL_MSG_CT_DELETE, NLM_F_ACK,
			       AF_INET);
		assert_int_equal(nfct_nlmsg_build(nlh, ct), 0);
		nfct_destroy(ct);
		assert_true(names_an_entry(nlh));
		assert_int_equal(fw_ctnl_decode(nlh, &back), 0);
		assert_int_equal(back.orig.proto, protos[i]);
		assert_memory_equal(&back.orig.daddr, &want.orig.daddr, 16);
	}
	nlh = put_head(ctnl, buf, IPCTNL_MSG_CT_DELETE, NLM_F_ACK, AF_INET);
	assert_false(names_an_entry(nlh));
	free(ctnl);
}

/* A message of a dump, as the socket that asked would read it. */
static int say(const struct mnl_socket *socket, uint32_t seq, uint16_t type,
	       uint16_t flags, int error, bool *is_interrupted)
{
	char buf[64] __attribute__((aligned(8)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = (uint16_t)(NLM_F_MULTI | flags);
	nlh->nlmsg_seq = seq;
	nlh->nlmsg_pid = mnl_socket_get_portid(socket);
	memcpy(mnl_nlmsg_put_extra_header(nlh, sizeof(error)), &error,
	       sizeof(error));
	return dump_control(socket, 7, nlh, is_interrupted);
}

static void test_ends_of_a_dump(void **state)
{
	const uint16_t entry = NFNL_SUBSYS_CTNETLINK << 8;
	struct mnl_socket *socket = NULL;
	bool intr = false;

	(void)state;
	if (open_socket(0, 0, &socket) < 0)
		skip();
	assert_int_equal(say(socket, 7, entry, 0, 0, &intr), 0);
	assert_int_equal(say(socket, 7, NLMSG_DONE, 0, 0, &intr), 1);
	/* of a dump that was given up */
	assert_int_equal(say(socket, 6, NLMSG_DONE, 0, 0, &intr), 0);
	assert_int_equal(say(socket, 6, NLMSG_ERROR, 0, -EPERM, &intr), 0);
	/* refused, ended by an error, lost */
	assert_int_equal(say(socket, 7, NLMSG_ERROR, 0, -EPERM, &intr), -EPERM);
	assert_int_equal(say(socket, 7, NLMSG_DONE, 0, -ENOMEM, &intr),
			 -ENOMEM);
	assert_int_equal(say(socket, 7, NLMSG_OVERRUN, 0, 0, &intr), -ENOBUFS);
	/* whole, but not of one moment */
	assert_int_equal(say(socket, 7, entry, NLM_F_DUMP_INTR, 0, &intr), 0);
	assert_int_equal(say(socket, 7, NLMSG_DONE, 0, 0, &intr), -EINTR);
	close_socket(&socket);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_bare),
		cmocka_unit_test(test_icmpv6),
		cmocka_unit_test(test_unusable),
		cmocka_unit_test(test_kinds_of_events),
		cmocka_unit_test(test_mutated),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_ends_of_a_dump),
		cmocka_unit_test(test_messages_name_their_entry),
	};

	return cmocka_run_group_tests_name("mirror-ctnl", tests, NULL, NULL);
}

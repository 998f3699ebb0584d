/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Packets that XDP forwards without the stack, held against what the stack would have
 * sent; and those that it has to leave to it. Routes and neighbours are the kernel's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <err.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "checksum.h"
#include "ct_entry.h"
#include "dry.h"
#include "harness.h"
#include "kern/offload_abi.h"
#include "random_case.h"
#include "user/hosttab.h"
#include "user/skel.h"
#include "user/util.h"

#define RULES                   \
	"interface lan = if0\n" \
	"interface wan = if1\n" \
	"default forward accept\n"
#define ON	 RULES "option offload on\n"
#define TAG_IN	 5 /* of if0 */
#define TAG_OUT	 7 /* of if1 */
#define MTU	 1500
#define REDIRECT 4   /* XDP_REDIRECT */
#define PASS	 2   /* XDP_PASS */
#define LIFE_MS	 800 /* less than what is remembered lives for */

static struct harness h;
static struct dry_bpf *dry;
static struct ct_table *table;
static uint32_t ifindex_in, ifindex_out; /* of the VLAN devices */
static uint16_t iface_flags;

static const uint8_t mac_in[6] = { 2, 0, 0, 0, 0, 0x10 };
static const uint8_t mac_out[6] = { 2, 0, 0, 0, 0, 0x11 };
static const uint8_t mac_host[6] = { 2, 0, 0, 0, 0, 0x99 };
static const uint8_t mac_hop[2][6] = { { 2, 0, 0, 0, 1, 2 },
				       { 2, 0, 0, 0, 7, 2 } };

/* What a packet is made of. */
struct shape {
	uint8_t family, proto;
	bool tag_in, tag_out; /* comes, goes with one */
	bool reply; /* of no flow that was turned round: the tuple says */
	uint8_t ttl, tos, tcp_flags;
	uint16_t sport, payload;
	uint16_t frag_off; /* IPv4, host order */
	uint16_t bad;	   /* BAD_* */
	uint16_t id;
};

#define BAD_IP_SUM  0x01 /* the header's checksum */
#define BAD_OPTIONS 0x02 /* IPv4 options, an IPv6 hop-by-hop header */
#define BAD_MAC	    0x04 /* for another host on the link */
#define BAD_LEN	    0x08 /* more in the frame than the packet says */
#define BAD_UDP_LEN 0x10
#define NO_SUM	    0x20 /* of UDP */
#define PARTIAL	    0x40 /* a checksum for the network card to write */

struct packet {
	uint8_t pad
		[2]; /* IP begins at a multiple of 4, with a tag and without */
	uint8_t bytes[ETH_HLEN + 4 + 2048];
	uint32_t len;
};

/* ---- frames ------------------------------------------------------------------ */

static struct fw_tuple tuple_of(const struct shape *s)
{
	static const char *const from[2][2] = {
		{ "10.0.0.9", "2001:db8::9" }, { "10.0.5.9", "2001:db8:5::9" }
	};
	static const char *const to[2][2] = { { "10.9.0.1", "2001:db8:9::1" },
					      { "10.0.7.2", "2001:db8:7::2" } };
	struct fw_tuple t = {
		.saddr = { .w = { 0, 0, htonl(0xffff), 0 } },
		.daddr = { .w = { 0, 0, htonl(0xffff), 0 } },
		.sport = htons(s->sport),
		.dport = htons(443),
		.proto = s->proto,
		.family = s->family,
	};
	bool v6 = s->family == FW_AF_IPV6;
	int af = v6 ? AF_INET6 : AF_INET;

	(void)inet_pton(af, from[s->tag_in][v6],
			v6 ? &t.saddr.w[0] : &t.saddr.w[3]);
	(void)inet_pton(af, to[s->tag_out][v6],
			v6 ? &t.daddr.w[0] : &t.daddr.w[3]);
	return t;
}

static uint32_t add_up(const void *at, size_t len)
{
	const uint8_t *bytes = at;
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? bytes[i] : (uint32_t)bytes[i] << 8;
	return sum;
}

static uint16_t folded(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)sum;
}

/* The checksum of TCP or UDP, or that of the pseudo header alone. */
static void put_l4_sum(const struct shape *s, const struct fw_tuple *t,
		       uint8_t *l4, uint16_t len)
{
	uint8_t *at = l4 + (s->proto == IPPROTO_TCP ? 16 : 6);
	size_t n = s->family == FW_AF_IPV6 ? 16 : 4;
	uint32_t sum = len + s->proto;
	uint16_t check;

	sum += add_up((const uint8_t *)&t->saddr + 16 - n, n);
	sum += add_up((const uint8_t *)&t->daddr + 16 - n, n);
	if (s->bad & PARTIAL) {
		check = htons(folded(sum));
	} else {
		check = htons((uint16_t)~folded(sum + add_up(l4, len)));
		if (!check)
			check = 0xffff;
	}
	if (s->bad & NO_SUM && s->proto == IPPROTO_UDP)
		check = 0;
	memcpy(at, &check, sizeof(check));
}

static uint16_t put_l4(const struct shape *s, const struct fw_tuple *t,
		       uint8_t *l4)
{
	uint16_t head = s->proto == IPPROTO_TCP ? 20 : 8;
	uint16_t len = (uint16_t)(head + s->payload);
	struct tcphdr *th = (void *)l4;
	struct udphdr *uh = (void *)l4;

	for (uint16_t i = head; i < len; i++)
		l4[i] = (uint8_t)(i * 7 + s->id);
	uh->source = t->sport;
	uh->dest = t->dport;
	if (s->proto == IPPROTO_TCP) {
		th->th_off = 5;
		th->th_flags = s->tcp_flags;
		th->th_seq = htonl(s->id * 977u);
	} else {
		uh->len =
			htons((uint16_t)(s->bad & BAD_UDP_LEN ? len - 1 : len));
	}
	put_l4_sum(s, t, l4, len);
	return len;
}

static uint32_t put_ipv4(const struct shape *s, const struct fw_tuple *t,
			 uint8_t *l3)
{
	struct iphdr *ip = (void *)l3;
	uint16_t len;

	ip->version = 4;
	ip->ihl = s->bad & BAD_OPTIONS ? 6 : 5;
	if (s->bad & BAD_OPTIONS)
		memset(l3 + 20, 1, 4);
	ip->ttl = s->ttl;
	ip->tos = s->tos;
	ip->id = htons(s->id);
	ip->frag_off = htons(s->frag_off);
	ip->protocol = s->proto;
	ip->saddr = t->saddr.w[3];
	ip->daddr = t->daddr.w[3];
	len = (uint16_t)(ip->ihl * 4 + put_l4(s, t, l3 + ip->ihl * 4));
	ip->tot_len = htons(len);
	put_ip_checksum(l3);
	if (s->bad & BAD_IP_SUM)
		ip->check ^= htons(0x0100);
	return len;
}

static uint32_t put_ipv6(const struct shape *s, const struct fw_tuple *t,
			 uint8_t *l3)
{
	struct ip6_hdr *ip = (void *)l3;
	uint16_t ext = s->bad & BAD_OPTIONS ? 8 : 0, len;

	ip->ip6_flow = htonl(6u << 28 | (uint32_t)s->tos << 20 | s->id);
	ip->ip6_hlim = s->ttl;
	ip->ip6_nxt = ext ? IPPROTO_HOPOPTS : s->proto;
	memcpy(&ip->ip6_src, &t->saddr, 16);
	memcpy(&ip->ip6_dst, &t->daddr, 16);
	if (ext) {
		memset(l3 + 40, 0, 8);
		l3[40] = s->proto;
		l3[42] = 1;
		l3[43] = 4;
	}
	len = (uint16_t)(ext + put_l4(s, t, l3 + 40 + ext));
	ip->ip6_plen = htons(len);
	return 40u + len;
}

static uint8_t *put_l2(uint8_t *p, const uint8_t *to, const uint8_t *from,
		       uint16_t vlan, const struct shape *s)
{
	const uint8_t tag[4] = { 0x81, 0, (uint8_t)(vlan >> 8), (uint8_t)vlan };
	bool v6 = s->family == FW_AF_IPV6;

	memcpy(p, to, 6);
	memcpy(p + 6, from, 6);
	p += 12;
	if (vlan) {
		memcpy(p, tag, sizeof(tag));
		p += sizeof(tag);
	}
	*p++ = v6 ? 0x86 : 0x08;
	*p++ = v6 ? 0xdd : 0x00;
	return p;
}

static void make(const struct shape *s, const uint8_t *to, const uint8_t *from,
		 uint16_t vlan, struct packet *ret)
{
	const struct fw_tuple t = tuple_of(s);
	uint8_t *l3;

	memset(ret->bytes, 0, sizeof(ret->bytes));
	l3 = put_l2(ret->bytes, to, from, vlan, s);
	ret->len = (uint32_t)(l3 - ret->bytes);
	ret->len += t.family == FW_AF_IPV4 ? put_ipv4(s, &t, l3)
					   : put_ipv6(s, &t, l3);
	if (s->bad & BAD_LEN)
		ret->len += 3;
}

static void make_in(const struct shape *s, struct packet *ret)
{
	make(s, s->bad & BAD_MAC ? mac_hop[0] : mac_in, mac_host,
	     s->tag_in ? TAG_IN : 0, ret);
}

/* What the stack would send: made anew, with one less to live. */
static void make_out(const struct shape *s, struct packet *ret)
{
	struct shape out = *s;

	out.ttl--;
	make(&out, mac_hop[s->tag_out], mac_out, s->tag_out ? TAG_OUT : 0, ret);
}

/* ---- the lab ------------------------------------------------------------------- */

static void must(const char *command)
{
	int r = system(command);

	if (r)
		errx(1, "'%s': %d", command, r);
}

/* if2 and if3 stand for VLAN devices on if0 and if1: not every kernel has those. */
static void make_lab(void)
{
	must("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 "
	     "net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.if0.accept_dad=0 "
	     "net.ipv6.conf.if1.accept_dad=0");
	must("ip link set if0 address 02:00:00:00:00:10 && "
	     "ip link set if1 address 02:00:00:00:00:11 && "
	     "ip link set if3 address 02:00:00:00:00:11");
	must("ip addr add 10.0.0.1/24 dev if0 && "
	     "ip addr add 10.0.5.1/24 dev if2 && "
	     "ip addr add 10.0.1.1/24 dev if1 && "
	     "ip addr add 10.0.7.1/24 dev if3 && "
	     "ip addr add 2001:db8::1/64 dev if0 nodad && "
	     "ip addr add 2001:db8:5::1/64 dev if2 nodad && "
	     "ip addr add 2001:db8:1::1/64 dev if1 nodad && "
	     "ip addr add 2001:db8:7::1/64 dev if3 nodad");
	must("ip route add 10.9.0.0/16 via 10.0.1.2 && "
	     "ip -6 route add 2001:db8:9::/48 via 2001:db8:1::2");
	must("ip neigh add 10.0.1.2 lladdr 02:00:00:00:01:02 dev if1 && "
	     "ip neigh add 10.0.7.2 lladdr 02:00:00:00:07:02 dev if3 && "
	     "ip neigh add 2001:db8:1::2 lladdr 02:00:00:00:01:02 dev if1 && "
	     "ip neigh add 2001:db8:7::2 lladdr 02:00:00:00:07:02 dev if3");
	ifindex_in = h.ifindex[2];
	ifindex_out = h.ifindex[3];
}

static void put_out(uint32_t ifindex, uint32_t tx, uint16_t vlan)
{
	const struct fw_offload_out out = {
		.tx_ifindex = tx,
		.vlan = vlan,
		.vlan_proto = vlan ? htons(ETH_P_8021Q) : 0,
	};

	if (bpf_map_update_elem(bpf_map__fd(h.skel->maps.offload_out), &ifindex,
				&out, BPF_ANY))
		err(1, "offload_out");
}

static void drop_out(uint32_t ifindex)
{
	(void)bpf_map_delete_elem(bpf_map__fd(h.skel->maps.offload_out),
				  &ifindex);
}

static void new_epoch(void)
{
	h.skel->bss->host.offload_epoch++;
}

/* The rules, and what comes in by if0 and its VLAN is lan's. */
static void rules(const char *text)
{
	struct fw_iface_entry entries[] = {
		{ { .ifindex = h.ifindex[0] },
		  { .zones = 1,
		    .ifindex = h.ifindex[0],
		    .slot = 1,
		    .flags = iface_flags } },
		{ { .ifindex = h.ifindex[0], .vlan = TAG_IN },
		  { .zones = 1,
		    .ifindex = ifindex_in,
		    .slot = 1,
		    .flags = iface_flags } },
		{ { .ifindex = h.ifindex[1] },
		  { .zones = 2,
		    .ifindex = h.ifindex[1],
		    .slot = 2,
		    .flags = iface_flags } },
	};

	assert_int_equal(harness_rules(&h, text), 0);
	assert_int_equal(fw_hosttab_put_ifaces(h.tables, h.gen, h.gen, entries,
					       ARRAY_SIZE(entries)),
			 0);
}

/* An entry of the connection table, as of an established flow of ours. */
static void put_flow(const struct shape *s, uint8_t progress, uint32_t status)
{
	const struct fw_tuple t = tuple_of(s);
	const struct ct_entry entry = {
		.mark = h.gen << FW_MARK_GEN_SHIFT |
			(uint32_t)progress << FW_MARK_TCP_SHIFT,
		.status = status,
		.left_s = 100,
	};

	ct_table_put(table, &t, &entry);
}

static void put_established(const struct shape *s)
{
	put_flow(s, FW_TCP_ESTABLISHED, IPS_SEEN_REPLY | IPS_ASSURED);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void forget_flow(const struct shape *s)
{
	const struct fw_tuple t = tuple_of(s);

	ct_table_delete(table, &t);
}

static struct outcome run(const struct packet *p)
{
	static struct outcome o;

	assert_int_equal(
		harness_run(&h, FW_HOOK_XDP, 0, -1, p->bytes, p->len, &o), 0);
	assert_int_equal(o.n_reasons, 1);
	return o;
}

/* Where the stack had no packet to the next hop for long, it gets one first. */
static void warm(const struct shape *s)
{
	struct packet p;

	make_in(s, &p);
	(void)run(&p);
}

static void expect_sent(const struct shape *s)
{
	struct packet in, out;
	struct outcome o;

	make_in(s, &in);
	make_out(s, &out);
	o = run(&in);
	/* a second has passed since the stack had one */
	if (o.reason == FW_REASON_ESTABLISHED)
		o = run(&in);
	assert_string_equal(fw_reason_name(o.reason), "offloaded");
	assert_int_equal(o.action, REDIRECT);
	assert_int_equal(o.bytes, in.len);
	assert_int_equal(o.len, out.len);
	assert_memory_equal(o.data, out.bytes, out.len);
}

/* Sent without the stack's packet of the second. */
static bool is_sent(const struct shape *s)
{
	struct packet in;

	make_in(s, &in);
	return run(&in).reason == FW_REASON_OFFLOADED;
}

static void expect_left_as(const struct shape *s, enum fw_reason reason)
{
	struct packet in;
	struct outcome o;

	make_in(s, &in);
	o = run(&in);
	assert_string_equal(fw_reason_name(o.reason), fw_reason_name(reason));
	assert_int_equal(o.action, fw_reason_is_drop(reason) ? XDP_DROP : PASS);
	/* in front of it what XDP leaves for TC, if anything */
	assert_true(o.len >= in.len);
	assert_memory_equal(o.data + o.len - in.len, in.bytes, in.len);
}

static void expect_left(const struct shape *s)
{
	expect_left_as(s, FW_REASON_ESTABLISHED);
}

static struct shape shape(uint8_t family, uint8_t proto)
{
	static uint16_t next_port = 1024;

	return (struct shape){
		.family = family,
		.proto = proto,
		.ttl = 64,
		.tcp_flags = TH_ACK,
		.sport = next_port++,
		.payload = 100,
	};
}

typedef void (*each_fn)(struct shape *s);

/* Both families, TCP and UDP, with and without tags. */
static void each(each_fn fn)
{
	for (unsigned int i = 0; i < 16; i++) {
		struct shape s = shape(i & 1 ? FW_AF_IPV6 : FW_AF_IPV4,
				       i & 2 ? IPPROTO_UDP : IPPROTO_TCP);

		s.tag_in = i & 4;
		s.tag_out = i & 8;
		put_established(&s);
		warm(&s);
		fn(&s);
		forget_flow(&s);
	}
}

static int setup(void **state)
{
	(void)state;
	iface_flags = FW_IFACE_OFFLOAD;
	harness_flush(&h);
	new_epoch();
	put_out(h.ifindex[1], h.ifindex[1], 0);
	put_out(ifindex_out, h.ifindex[1], TAG_OUT);
	rules(ON);
	return 0;
}

/* ---- tests ------------------------------------------------------------------------ */

/* Asked of the connection table and of the routes once; then remembered. */
static void check_remembered(struct shape *s)
{
	expect_sent(s);
	expect_sent(s);
	forget_flow(s); /* not looked for any more */
	expect_sent(s);
	s->payload++;
	s->id++;
	s->tos ^= 3; /* ECN */
	s->ttl = 2;
	expect_sent(s);
}

static void remembers(void **state)
{
	(void)state;
	each(check_remembered);
}

/* As many flows as have the same places are remembered, all of them; one more is sent, too. */
static void shares_places(void **state)
{
	struct shape s[FW_CACHED_WAYS], more = shape(FW_AF_IPV4, IPPROTO_UDP);
	uint32_t sent, rounds = 0;
	uint64_t began;

	(void)state;
	for (uint32_t i = 0; i < FW_CACHED_WAYS; i++)
		s[i] = shape(i % 2 ? FW_AF_IPV6 : FW_AF_IPV4, IPPROTO_UDP);
	do {
		began = now_ms();
		for (uint32_t i = 0; i < FW_CACHED_WAYS; i++) {
			put_established(&s[i]);
			warm(&s[i]);
			expect_sent(&s[i]);
		}
		for (uint32_t i = 0; i < FW_CACHED_WAYS; i++)
			forget_flow(&s[i]);
		sent = 0;
		for (uint32_t i = 0; i < FW_CACHED_WAYS; i++)
			sent += is_sent(&s[i]);
		/* on a slow machine the first ones' life may have ended by now */
	} while (now_ms() - began > LIFE_MS && ++rounds < 100);
	assert_int_equal(sent, FW_CACHED_WAYS);
	put_established(&more);
	expect_sent(&more);
	forget_flow(&more);
}

/* What the stack has to see, remembered flow or not; it gets it as it came. */
static void check_special(struct shape *s)
{
	static const uint8_t flags[] = { TH_FIN | TH_ACK, TH_RST,
					 TH_RST | TH_ACK };
	struct shape good = *s;

	for (int i = 0; i < 2; i++) {
		*s = good;
		s->ttl = 1;
		expect_left(s);
		*s = good;
		s->payload = MTU - 20 - (s->proto == IPPROTO_TCP ? 20 : 8) + 1;
		if (s->family == FW_AF_IPV6)
			s->payload -= 20;
		expect_left(s);
		s->payload--;
		expect_sent(s);
		*s = good;
		s->bad = BAD_OPTIONS;
		expect_left(s);
		s->bad = BAD_MAC;
		expect_left(s);
		s->bad = BAD_LEN;
		expect_left(s);
		if (s->family == FW_AF_IPV4) {
			s->bad = BAD_IP_SUM;
			expect_left_as(s, FW_REASON_DROP_BAD_CHECKSUM);
		}
		*s = good;
		expect_sent(s); /* is remembered now, if it was not */
	}
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (s->proto != IPPROTO_TCP)
			break;
		*s = good;
		s->tcp_flags = flags[i];
		expect_left(s);
	}
}

static void leaves_what_is_special(void **state)
{
	(void)state;
	each(check_special);
}

static void leaves_fragments(void **state)
{
	struct shape s = shape(FW_AF_IPV4, IPPROTO_UDP);

	(void)state;
	put_established(&s);
	warm(&s);
	expect_sent(&s);
	s.frag_off = IP_DF;
	expect_sent(&s);
	s.payload = 104;
	s.frag_off = IP_MF;
	expect_left(&s);
	s.frag_off = 20;
	expect_left_as(&s, FW_REASON_FRAGMENT);
}

/* TCP and UDP frames that are shorter than Ethernet's shortest are padded. */
static void forwards_padding(void **state)
{
	struct shape s = shape(FW_AF_IPV4, IPPROTO_UDP);
	struct packet in, out;
	struct outcome o;

	(void)state;
	s.payload = 1;
	put_established(&s);
	warm(&s);
	make_in(&s, &in);
	make_out(&s, &out);
	in.len = out.len = 60;
	for (int i = 0; i < 2; i++) {
		o = run(&in);
		assert_string_equal(fw_reason_name(o.reason), "offloaded");
		assert_int_equal(o.len, out.len);
		assert_memory_equal(o.data, out.bytes, out.len);
	}
}

static void check_untrue(struct shape *s)
{
	expect_sent(s);
	forget_flow(s);
	expect_sent(s);
	new_epoch();
	/* the whole way: there is no such flow any more */
	expect_left_as(s, s->proto == IPPROTO_TCP ? FW_REASON_DROP_TCP_NO_SYN
						  : FW_REASON_NEW);
}

static void epoch_ends_it(void **state)
{
	(void)state;
	each(check_untrue);
}

static void generation_ends_it(void **state)
{
	struct shape s = shape(FW_AF_IPV4, IPPROTO_TCP);

	(void)state;
	put_established(&s);
	warm(&s);
	expect_sent(&s);
	rules(ON "drop forward proto tcp\n");
	expect_left_as(&s, FW_REASON_UNDECIDED); /* TC judges it anew */
	rules(RULES);
	forget_flow(&s);
	put_established(&s);
	expect_left(&s); /* nobody says `offload` */
}

static void age_ends_it(void **state)
{
	const struct timespec pause = { .tv_sec = 1 };
	struct shape s = shape(FW_AF_IPV6, IPPROTO_TCP);

	(void)state;
	put_established(&s);
	warm(&s);
	expect_sent(&s);
	forget_flow(&s);
	expect_sent(&s);
	(void)nanosleep(&pause, NULL);
	expect_left_as(&s, FW_REASON_DROP_TCP_NO_SYN);
}

/* A packet a second to each next hop is the stack's. */
static void stack_keeps_neighbours(void **state)
{
	const struct timespec pause = { .tv_sec = 1, .tv_nsec = 50000000 };
	struct shape s = shape(FW_AF_IPV4, IPPROTO_TCP);

	(void)state;
	put_established(&s);
	warm(&s);
	expect_sent(&s);
	(void)nanosleep(&pause, NULL);
	expect_left(&s);
	expect_sent(&s);
}

static void check_partial(struct shape *s)
{
	s->bad = PARTIAL;
	expect_left(s);
	s->bad = 0;
	expect_sent(s);
	s->bad = PARTIAL;
	expect_left(s);
	s->bad = NO_SUM;
	if (s->proto == IPPROTO_UDP && s->family == FW_AF_IPV4)
		expect_sent(s);
}

static void leaves_unwritten_checksums(void **state)
{
	(void)state;
	iface_flags |= FW_IFACE_PARTIAL;
	rules(ON);
	each(check_partial);
}

static void leaves_without_consent(void **state)
{
	struct shape s = shape(FW_AF_IPV4, IPPROTO_UDP);
	const struct {
		uint32_t status;
		uint8_t progress;
	} not_yet[] = {
		{ 0, FW_TCP_SYN_SENT },
		{ IPS_SEEN_REPLY | IPS_ASSURED, FW_TCP_NONE },
	};

	(void)state;
	/* the interface cannot */
	iface_flags = 0;
	rules(ON);
	put_established(&s);
	warm(&s);
	expect_left(&s);
	iface_flags = FW_IFACE_OFFLOAD;
	rules(ON);
	forget_flow(&s);
	put_established(&s);
	warm(&s);
	expect_sent(&s);
	/* the other one cannot */
	drop_out(h.ifindex[1]);
	new_epoch();
	expect_left(&s);
	put_out(h.ifindex[1], h.ifindex[1], 0);
	expect_left(&s); /* that is remembered, too */
	new_epoch();
	expect_sent(&s);
	new_epoch();
	/* nobody has answered */
	forget_flow(&s);
	put_flow(&s, not_yet[0].progress, not_yet[0].status);
	expect_left(&s);
	expect_left(&s);
	rules(RULES "option offload first\n");
	forget_flow(&s);
	put_flow(&s, not_yet[0].progress, not_yet[0].status);
	expect_sent(&s);
	/* IPv6 and IPv4: forwarding is off */
	new_epoch();
	must("sysctl -qw net.ipv4.conf.if0.forwarding=0");
	expect_left(&s);
	must("sysctl -qw net.ipv4.conf.if0.forwarding=1");
	new_epoch();
	expect_sent(&s);
}

/* Half an opening, half a closing: TCP is offloaded only in between. */
static void leaves_half_open(void **state)
{
	static const uint8_t states[] = { FW_TCP_SYN_RECV, FW_TCP_FIN_ORIG,
					  FW_TCP_FIN_REPLY, FW_TCP_TIME_WAIT };
	struct shape s = shape(FW_AF_IPV4, IPPROTO_TCP);

	(void)state;
	put_established(&s);
	warm(&s);
	expect_sent(&s);
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		forget_flow(&s);
		put_flow(&s, states[i], IPS_SEEN_REPLY);
		new_epoch();
		expect_left(&s);
	}
}

static void leaves_routes(void **state)
{
	struct shape s = shape(FW_AF_IPV4, IPPROTO_UDP);

	(void)state;
	put_established(&s);
	warm(&s);
	expect_sent(&s);
	/* the way back is another one, which the stack may want to know */
	must("ip route add 10.0.0.9/32 via 10.0.1.2");
	new_epoch();
	expect_sent(&s);
	must("sysctl -qw net.ipv4.conf.if0.rp_filter=1");
	new_epoch();
	expect_left(&s);
	must("sysctl -qw net.ipv4.conf.if0.rp_filter=0 "
	     "net.ipv4.conf.all.rp_filter=2");
	new_epoch();
	expect_left(&s);
	must("sysctl -qw net.ipv4.conf.all.rp_filter=0");
	rules(ON "option check spoofed-self off\n");
	forget_flow(&s);
	put_established(&s);
	expect_left(&s);
	rules(ON);
	forget_flow(&s);
	put_established(&s);
	must("ip route del 10.0.0.9/32");
	new_epoch();
	expect_sent(&s);
	/* back where it came from: the stack sends a redirect */
	must("ip route add 10.9.0.1/32 via 10.0.0.3 && "
	     "ip neigh add 10.0.0.3 lladdr 02:00:00:00:00:03 dev if0");
	put_out(h.ifindex[0], h.ifindex[0], 0);
	new_epoch();
	expect_left(&s);
	must("ip route del 10.9.0.1/32");
	/* nobody knows the next hop */
	must("ip route add 10.9.0.1/32 via 10.0.1.77");
	new_epoch();
	expect_left(&s);
	must("ip route change 10.9.0.1/32 dev if1 via 10.0.1.2 mtu lock 1000");
	new_epoch();
	expect_sent(&s);
	s.payload = 973;
	expect_left(&s);
	s.payload = 972;
	expect_sent(&s);
	must("ip route del 10.9.0.1/32");
}

static void leaves_beside_ipsec(void **state)
{
	struct shape s = shape(FW_AF_IPV6, IPPROTO_UDP);

	(void)state;
	put_established(&s);
	warm(&s);
	expect_sent(&s);
	must("ip xfrm policy add dst 203.0.113.0/24 dir out "
	     "tmpl src 10.0.1.1 dst 10.0.1.2 proto esp mode tunnel");
	new_epoch();
	expect_left(&s);
	must("ip xfrm policy flush");
	new_epoch();
	expect_sent(&s);
}

/* An entry that the kernel has made, with so many seconds left. */
static void put_kernels(const struct shape *s, uint32_t status, uint32_t left_s)
{
	const struct fw_tuple t = tuple_of(s);
	const struct ct_entry entry = { .mark = h.gen << FW_MARK_GEN_SHIFT,
					.status = status,
					.left_s = left_s };

	forget_flow(s);
	ct_table_put(table, &t, &entry);
	new_epoch();
}

/* Flows of the kernel: refreshed as it would, if it bears to miss their packets. */
static void asks_the_kernel(void **state)
{
	const uint32_t answered = IPS_SEEN_REPLY | IPS_ASSURED;
	struct shape s = shape(FW_AF_IPV4, IPPROTO_UDP);
	const struct fw_tuple t = tuple_of(&s);
	struct ct_entry entry;

	(void)state;
	must("sysctl -qw net.netfilter.nf_conntrack_udp_timeout_stream=1000 "
	     "net.netfilter.nf_conntrack_acct=0");
	put_kernels(&s, answered, 400);
	warm(&s);
	expect_sent(&s);
	assert_true(ct_table_get(table, &t, &entry));
	assert_in_range(entry.left_s, 990, 1000);
	put_kernels(&s, IPS_SEEN_REPLY, 400);
	expect_left(&s);
	must("sysctl -qw net.netfilter.nf_conntrack_acct=1");
	put_kernels(&s, answered, 400);
	expect_left(&s); /* the kernel would count them */
	must("sysctl -qw net.netfilter.nf_conntrack_acct=0");
	/* TCP that is not known to be established */
	s = shape(FW_AF_IPV4, IPPROTO_TCP);
	must("sysctl -qw net.netfilter.nf_conntrack_tcp_be_liberal=1");
	put_kernels(&s, answered, 400000);
	expect_left(&s);
	must("sysctl -qw net.netfilter.nf_conntrack_tcp_be_liberal=0");
}

/* Where the kernel's hooks run they follow TCP, also a flow of ours, and must bear gaps. */
static void leaves_windows(void **state)
{
	struct shape tcp = shape(FW_AF_IPV4, IPPROTO_TCP);
	struct shape udp = shape(FW_AF_IPV4, IPPROTO_UDP);

	(void)state;
	put_established(&tcp);
	put_established(&udp);
	warm(&tcp);
	expect_sent(&tcp);
	must("nft 'table ip t { chain c { type filter hook prerouting priority 0;"
	     " ct state established accept; }; }'");
	new_epoch();
	expect_left(&tcp);
	expect_sent(&udp);
	must("sysctl -qw net.netfilter.nf_conntrack_tcp_be_liberal=1");
	new_epoch();
	expect_sent(&tcp);
	must("nft delete table ip t && "
	     "sysctl -qw net.netfilter.nf_conntrack_tcp_be_liberal=0");
	new_epoch();
	expect_sent(&tcp);
}

/* The rule that let the flow in is asked where not all say the same. */
static void asks_the_rule(void **state)
{
	struct shape s = shape(FW_AF_IPV4, IPPROTO_UDP);
	struct fw_flow_info info = { 0 };
	const struct fw_tuple t = tuple_of(&s);
	int fd = bpf_map__fd(h.skel->maps.flow_info);

	(void)state;
	rules(RULES "accept forward proto udp offload\n");
	put_established(&s);
	warm(&s);
	expect_left(&s); /* nobody knows */
	assert_int_equal(bpf_map_update_elem(fd, &t, &info, BPF_ANY), 0);
	expect_left(&s);
	info.offload = FW_RESULT_OFFLOAD;
	assert_int_equal(bpf_map_update_elem(fd, &t, &info, BPF_ANY), 0);
	expect_sent(&s);
	new_epoch();
	forget_flow(&s);
	put_flow(&s, FW_TCP_SYN_SENT, 0);
	expect_left(&s);
	info.offload = FW_RESULT_OFFLOADS;
	assert_int_equal(bpf_map_update_elem(fd, &t, &info, BPF_ANY), 0);
	expect_sent(&s);
}

static void counts_flows(void **state)
{
	struct shape s = shape(FW_AF_IPV6, IPPROTO_TCP);
	struct fw_flow_info info = { 0 };
	const struct fw_tuple t = tuple_of(&s);
	int fd = bpf_map__fd(h.skel->maps.flow_info);

	(void)state;
	rules(ON "option flow-accounting on\n");
	put_established(&s);
	warm(&s);
	assert_int_equal(bpf_map_update_elem(fd, &t, &info, BPF_ANY), 0);
	for (int i = 0; i < 5; i++)
		expect_sent(&s);
	assert_int_equal(bpf_map_lookup_elem(fd, &t, &info), 0);
	assert_int_equal(info.counts.packets[0], 5);
	assert_int_equal(info.counts.bytes[0], 5 * (40 + 20 + 100));
}

/* Who asks what would become of it hears the same, and nothing is remembered. */
static void explains(void **state)
{
	struct shape s = shape(FW_AF_IPV4, IPPROTO_TCP);
	struct fw_explained e;
	struct packet p;
	int action;

	(void)state;
	put_established(&s);
	for (int i = 0; i < 2; i++) {
		make_in(&s, &p);
		dry_begin(dry);
		e = dry_run(&h, dry, FW_HOOK_XDP, 0, -1, p.bytes, p.len,
			    &action);
		assert_int_equal(e.hooks[FW_HOOK_XDP].reason,
				 FW_REASON_OFFLOADED);
		assert_int_equal(action, REDIRECT);
		warm(&s);
	}
	s.ttl = 1;
	make_in(&s, &p);
	dry_begin(dry);
	e = dry_run(&h, dry, FW_HOOK_XDP, 0, -1, p.bytes, p.len, &action);
	assert_int_equal(e.hooks[FW_HOOK_XDP].reason, FW_REASON_ESTABLISHED);
	assert_int_equal(action, PASS);
}

/* ---- live ------------------------------------------------------------------------ */

static int open_link(const char *name)
{
	const struct timeval patience = { .tv_sec = 5 };
	struct sockaddr_ll at = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)if_nametoindex(name) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));

	if (fd < 0 || bind(fd, (void *)&at, sizeof(at)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
		       sizeof(patience)))
		err(1, "%s", name);
	return fd;
}

/* The next frame that is this one; others have something to say, too. */
static bool comes(int fd, const struct packet *p)
{
	uint8_t data[4096];
	ssize_t n;

	do {
		n = recv(fd, data, sizeof(data), 0);
	} while (n >= 0 &&
		 (n != (ssize_t)p->len || memcmp(data, p->bytes, p->len)));
	return n >= 0;
}

static uint64_t count_sent(void)
{
	struct fw_counter sum = { 0 };

	fw_counters_add(&h.stats,
			FW_STATS_INDEX(1, FW_HOOK_XDP, FW_REASON_OFFLOADED),
			(__u64 *)&sum);
	return sum.packets;
}

/* Through the driver: what comes out of the other end of if1, and is not the stack's. */
static void sends_for_real(void **state)
{
	int prog = bpf_program__fd(h.skel->progs.fw_xdp), link, in, out;

	(void)state;
	must("ethtool -K peer1 gro on"); /* or veth takes no redirected frame */
	link = bpf_link_create(prog, (int)h.ifindex[0], BPF_XDP, NULL);
	if (link < 0)
		skip();
	in = open_link("peer0");
	out = open_link("peer1");
	for (unsigned int i = 0; i < 8; i++) {
		uint64_t before;

		struct shape s = shape(i & 1 ? FW_AF_IPV6 : FW_AF_IPV4,
				       i & 2 ? IPPROTO_UDP : IPPROTO_TCP);
		struct packet p, q;

		s.tag_in = i & 4;
		put_established(&s);
		warm(&s);
		expect_sent(&s);
		make_in(&s, &p);
		make_out(&s, &q);
		before = count_sent();
		for (int k = 0; k < 4; k++) {
			assert_int_equal(send(in, p.bytes, p.len, 0), p.len);
			assert_true(comes(out, &q));
		}
		/* the stack may have had one */
		assert_in_range(count_sent() - before, 3, 4);
	}
	(void)close(in);
	(void)close(out);
	(void)close(link);
}

/* ---- random packets ------------------------------------------------------------- */

#define FLOWS 64

static bool is_special(const struct shape *s)
{
	const uint8_t ends = TH_FIN | TH_SYN | TH_RST | TH_ACK;
	uint32_t len = s->payload + (s->proto == IPPROTO_TCP ? 20u : 8u) +
		       (s->family == FW_AF_IPV6 ? 40u : 20u);

	return s->ttl <= 1 || (s->bad & ~NO_SUM) || len > MTU ||
	       (s->family == FW_AF_IPV4 && s->frag_off & ~IP_DF) ||
	       (s->proto == IPPROTO_TCP && (s->tcp_flags & ends) != TH_ACK);
}

static void random_shape(struct rng *rng, struct shape *s)
{
	s->ttl = (uint8_t)(rng_below(rng, 8) ? rng_below(rng, 256) : 1);
	s->ttl = s->ttl ? s->ttl : 255;
	s->tos = (uint8_t)(rng_below(rng, 4) ? s->tos : rng_below(rng, 4));
	s->id = (uint16_t)rng_below(rng, 65536);
	s->payload = (uint16_t)(rng_below(rng, 16) ? rng_below(rng, 64)
						   : rng_below(rng, 1600));
	s->tcp_flags = TH_ACK | (rng_below(rng, 2) ? TH_PUSH : 0);
	s->frag_off = rng_below(rng, 2) ? IP_DF : 0;
	s->bad = 0;
	if (!rng_below(rng, 16))
		s->bad = BAD_OPTIONS;
	if (!rng_below(rng, 16))
		s->bad = BAD_MAC;
	if (!rng_below(rng, 16) && s->family == FW_AF_IPV4)
		s->bad = NO_SUM;
}

/* Bytes alone, without counters: true if it was sent. */
static bool one_random(const struct shape *s, struct packet *in)
{
	static uint8_t data[4096];
	struct packet out;
	struct xdp_md xdp = { .ingress_ifindex = h.ifindex[0] };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->bytes,
		    .data_out = data, .repeat = 1, .ctx_in = &xdp,
		    .ctx_size_in = sizeof(xdp));

	make_in(s, in);
	xdp.data_end = in->len;
	opts.data_size_in = in->len;
	opts.data_size_out = sizeof(data);
	assert_int_equal(bpf_prog_test_run_opts(
				 bpf_program__fd(h.skel->progs.fw_xdp), &opts),
			 0);
	if (opts.retval == PASS) {
		assert_true(opts.data_size_out >= in->len);
		assert_memory_equal(data + opts.data_size_out - in->len,
				    in->bytes, in->len);
		return false;
	}
	assert_int_equal(opts.retval, REDIRECT);
	make_out(s, &out);
	assert_int_equal(opts.data_size_out, out.len);
	assert_memory_equal(data, out.bytes, out.len);
	return true;
}

/* Some of so many flows share a place; none of them is taken for another one. */
static void one_place_for_two(void **state)
{
	enum { MANY = 1200 };
	struct shape *flows = calloc(MANY, sizeof(*flows));
	uint32_t sent = 0;
	struct packet in;

	(void)state;
	assert_non_null(flows);
	for (uint32_t i = 0; i < MANY; i++) {
		flows[i] = shape(i & 1 ? FW_AF_IPV6 : FW_AF_IPV4, IPPROTO_UDP);
		flows[i].tag_in = i & 2;
		flows[i].tag_out = i & 4;
		flows[i].ttl = (uint8_t)(2 + i % 200);
		put_established(&flows[i]);
	}
	for (uint32_t i = 0; i < 3 * MANY; i++)
		sent += one_random(&flows[i * 7 % MANY], &in);
	/* all but some to each of four next hops */
	assert_true(sent > 3 * MANY - 40);
	free(flows);
}

static uint32_t n_random = 100000;

static void random_packets(void **state)
{
	struct rng rng = { .state = 0x0ff10ad };
	struct shape flows[FLOWS];
	uint32_t sent = 0, plain = 0;
	struct packet in;

	(void)state;
	for (uint32_t i = 0; i < FLOWS; i++) {
		flows[i] = shape(i & 1 ? FW_AF_IPV6 : FW_AF_IPV4,
				 i & 2 ? IPPROTO_UDP : IPPROTO_TCP);
		flows[i].tag_in = i & 4;
		flows[i].tag_out = i & 8;
		put_established(&flows[i]);
	}
	for (uint32_t i = 0; i < n_random; i++) {
		struct shape *s = &flows[rng_below(&rng, FLOWS)];
		bool special, was_sent;

		random_shape(&rng, s);
		special = is_special(s);
		was_sent = one_random(s, &in);
		if (special)
			assert_false(was_sent);
		plain += !special;
		sent += was_sent;
	}
	/* all but one a second to each of four next hops */
	assert_true(sent <= plain && sent > plain - plain / 100);
}

static void begin(void (*init)(struct harness *))
{
	uint32_t dev;

	init(&h);
	make_lab();
	table = ct_table_open();
	dry = dry_open(&h);
	dev = h.ifindex[1];
	if (bpf_map_update_elem(bpf_map__fd(h.skel->maps.offload_devs), &dev,
				&dev, BPF_ANY))
		err(1, "offload_devs");
}

static void end(void)
{
	dry_close(dry);
	ct_table_close(table);
	harness_done(&h);
}

/* Maps with room for few flows, for one test. */
static int setup_few(void **state)
{
	end();
	begin(harness_init_tight);
	return setup(state);
}

static int teardown_few(void **state)
{
	(void)state;
	end();
	begin(harness_init);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(remembers, setup),
		cmocka_unit_test_setup(leaves_what_is_special, setup),
		cmocka_unit_test_setup(leaves_fragments, setup),
		cmocka_unit_test_setup(forwards_padding, setup),
		cmocka_unit_test_setup(epoch_ends_it, setup),
		cmocka_unit_test_setup(generation_ends_it, setup),
		cmocka_unit_test_setup(age_ends_it, setup),
		cmocka_unit_test_setup(stack_keeps_neighbours, setup),
		cmocka_unit_test_setup(one_place_for_two, setup),
		cmocka_unit_test_setup(leaves_unwritten_checksums, setup),
		cmocka_unit_test_setup(leaves_without_consent, setup),
		cmocka_unit_test_setup(leaves_half_open, setup),
		cmocka_unit_test_setup(leaves_routes, setup),
		cmocka_unit_test_setup(leaves_beside_ipsec, setup),
		cmocka_unit_test_setup(asks_the_kernel, setup),
		cmocka_unit_test_setup(leaves_windows, setup),
		cmocka_unit_test_setup(asks_the_rule, setup),
		cmocka_unit_test_setup(counts_flows, setup),
		cmocka_unit_test_setup(explains, setup),
		cmocka_unit_test_setup(sends_for_real, setup),
		cmocka_unit_test_setup(random_packets, setup),
		cmocka_unit_test_setup_teardown(shares_places, setup_few,
						teardown_few),
	};
	int r;

	if (argc > 1)
		n_random = (uint32_t)strtoul(argv[1], NULL, 10);
	begin(harness_init);
	r = cmocka_run_group_tests_name("offload", tests, NULL, NULL);
	end();
	return r;
}

/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The life cycle of flows that BPF owns: every combination of TCP flags in every
 * state, both directions, both families and all hooks, against tcp_judge.c. Then
 * what concerns timeouts, the two states of UDP, and flows that open anew.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <err.h>
#include <linux/if_ether.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "ct_entry.h"
#include "harness.h"
#include "tcp_judge.h"
#include "user/skel.h"

#define OPEN                    \
	"interface wan = if0\n" \
	"default in accept\n"
#define SHUT                    \
	"interface wan = if0\n" \
	"default in drop\n"     \
	"default out drop\n"
#define USER_BITS 0xbeefbeefu /* of the mark: the operator's, but for ours */
#define ISN	  0xfffffff0u /* of all SYNs */
#define ROOM	  (1u << 20)  /* that much may be acknowledged beyond */

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10

static struct harness h;
static struct ct_table *table;
static uint8_t shift;	/* where our bits of the mark are */
static bool is_lenient; /* no check of TCP flags */

/* ---- packets and flows ------------------------------------------------------ */

static void set_addr(struct fw_addr *addr, uint8_t family, bool is_self)
{
	const char *v4 = is_self ? "192.0.2.1" : "198.51.100.9";
	const char *v6 = is_self ? "2001:db8:1::1" : "2001:db8:9::9";

	*addr = (struct fw_addr){ .w = { 0, 0, htonl(0xffff), 0 } };
	if (family == FW_AF_IPV4)
		(void)inet_pton(AF_INET, v4, &addr->w[3]);
	else
		(void)inet_pton(AF_INET6, v6, addr);
}

/* What a hook sees of a flow: in packets to us, out packets from us. */
static struct fw_tuple packet_tuple(uint8_t family, uint8_t proto, bool out)
{
	struct fw_tuple t = { .proto = proto,
			      .family = family,
			      .sport = htons(out ? 22 : 1024),
			      .dport = htons(out ? 1024 : 22) };

	set_addr(&t.saddr, family, out);
	set_addr(&t.daddr, family, !out);
	return t;
}

static struct fw_tuple turned(const struct fw_tuple *t)
{
	struct fw_tuple r = *t;

	r.saddr = t->daddr;
	r.daddr = t->saddr;
	r.sport = t->dport;
	r.dport = t->sport;
	return r;
}

static size_t put_l3(uint8_t *p, const struct fw_tuple *t, uint16_t l4_len)
{
	struct iphdr *ip = (struct iphdr *)p;
	struct ip6_hdr *ip6 = (struct ip6_hdr *)p;

	if (t->family == FW_AF_IPV4) {
		ip->version = 4;
		ip->ihl = 5;
		ip->ttl = 64;
		ip->protocol = t->proto;
		ip->tot_len = htons((uint16_t)(sizeof(*ip) + l4_len));
		ip->saddr = t->saddr.w[3];
		ip->daddr = t->daddr.w[3];
		put_ip_checksum(p);
		return sizeof(*ip);
	}
	ip6->ip6_vfc = 0x60;
	ip6->ip6_hlim = 64;
	ip6->ip6_nxt = t->proto;
	ip6->ip6_plen = htons(l4_len);
	memcpy(&ip6->ip6_src, &t->saddr, sizeof(t->saddr));
	memcpy(&ip6->ip6_dst, &t->daddr, sizeof(t->daddr));
	return sizeof(*ip6);
}

static uint32_t put_frame(uint8_t *p, const struct fw_tuple *t, uint8_t flags,
			  uint32_t ack)
{
	bool is_tcp = t->proto == IPPROTO_TCP;
	uint16_t len = is_tcp ? sizeof(struct tcphdr) : sizeof(struct udphdr);
	struct ethhdr *eth = (struct ethhdr *)p;
	struct tcphdr *tcp;
	size_t off = sizeof(*eth);

	memset(p, 0, 128);
	eth->h_dest[0] = eth->h_source[0] = 2;
	eth->h_proto = htons(t->family == FW_AF_IPV4 ? ETH_P_IP : ETH_P_IPV6);
	off += put_l3(p + off, t, len);
	/* the ports are in the same place */
	tcp = (struct tcphdr *)(p + off);
	tcp->source = t->sport;
	tcp->dest = t->dport;
	if (is_tcp) {
		tcp->doff = 5;
		tcp->seq = htonl(ISN);
		tcp->ack_seq = htonl(ack);
		p[off + 13] = flags;
	} else {
		((struct udphdr *)tcp)->len = htons(len);
	}
	return (uint32_t)(off + len);
}

static int load(const char *rules)
{
	char text[512];

	(void)snprintf(text, sizeof(text), "option mark-mask 0x%08x\n%s",
		       FW_MARK_HALF << shift, rules);
	return harness_rules(&h, text);
}

/* Our bits alone, at the place of some rules. */
static uint32_t bits_of(uint32_t gen, uint8_t state, uint8_t at)
{
	return (gen << 4 | state) << at;
}

static uint32_t mark_of(uint8_t state)
{
	return bits_of(h.gen, state, shift) |
	       (USER_BITS & ~(FW_MARK_HALF << shift));
}

static uint32_t state_of(uint32_t mark)
{
	return mark >> shift & 0xf;
}

static uint32_t life_of(unsigned int life)
{
	return h.program->timeouts.seconds[life];
}

/* One packet of a flow, and what was before. */
struct step {
	uint8_t family, proto;
	enum fw_hook hook;
	bool reply;
	uint8_t flags;
	uint32_t acks; /* beyond the other side's SYN */
	struct ct_entry entry;
};

static struct fw_tuple step_packet(const struct step *s)
{
	return packet_tuple(s->family, s->proto, s->hook == FW_HOOK_EGRESS);
}

static struct fw_tuple step_orig(const struct step *s)
{
	struct fw_tuple t = step_packet(s);

	return s->reply ? turned(&t) : t;
}

static void run(const struct step *s, struct outcome *ret)
{
	struct fw_tuple t = step_packet(s);
	/* so that IP is aligned, as drivers do (NET_IP_ALIGN) */
	uint8_t room[2 + 128] __attribute__((aligned(4))), *frame = room + 2;

	assert_int_equal(
		harness_run(&h, s->hook, 0, -1, frame,
			    put_frame(frame, &t, s->flags, ISN + 1 + s->acks),
			    ret),
		0);
	assert_int_equal(ret->n_reasons, 1);
}

/* As the SYN of the answering side has left it. */
static void put_isn(const struct fw_tuple *orig)
{
	const struct fw_flow_info info = { .isn = ISN };

	if (bpf_map_update_elem(bpf_map__fd(h.skel->maps.flow_info), orig,
				&info, BPF_ANY))
		err(1, "flow_info");
}

/*
 * Make the flow, send the packet, which takes the whole way as the first of a second does.
 * False: the flow is not there any more.
 */
static bool try(const struct step *s, struct outcome *ret,
		struct ct_entry *ret_after)
{
	struct fw_tuple orig = step_orig(s);

	ct_table_put(table, &orig, &s->entry);
	put_isn(&orig);
	h.skel->bss->host.offload_epoch++;
	run(s, ret);
	return ct_table_get(table, &orig, ret_after);
}

static void forget(const struct step *s)
{
	struct fw_tuple orig = step_orig(s);

	ct_table_delete(table, &orig);
}

static bool is_about(uint32_t value, uint32_t want)
{
	return value + 1 >= want && value <= want + 1;
}

/* ---- the table -------------------------------------------------------------- */

static uint32_t seconds_after(const struct step *s, const struct tcp_verdict *v,
			      enum fw_tcp_state before)
{
	uint32_t life = life_of(v->next), left = s->entry.left_s;

	if (v->reason != FW_REASON_ESTABLISHED)
		return left;
	if (v->next == before)
		return v->is_refreshed ? life : left;
	return v->is_reset && left < life ? left : life;
}

static uint32_t status_after(const struct step *s, const struct tcp_verdict *v)
{
	uint32_t status = s->entry.status;

	if (v->reason != FW_REASON_ESTABLISHED)
		return status;
	if (s->reply)
		status |= IPS_SEEN_REPLY;
	if (v->next == FW_TCP_ESTABLISHED)
		status |= IPS_ASSURED;
	return status;
}

static void complain(const struct step *s, enum fw_tcp_state state,
		     const struct tcp_verdict *v, const struct outcome *out,
		     const struct ct_entry *after)
{
	print_error("%s IPv%u, %s, state %u, %s, flags %#04x, ack %u, "
		    "status %#x: reason %s (%s), "
		    "state %u (%u), mark %#x, status %#x (%#x), "
		    "%u s left (%u)\n",
		    fw_hook_name(s->hook), s->family,
		    s->reply ? "reply" : "orig", state,
		    fw_tcp_state_name(state), s->flags, s->acks,
		    s->entry.status, fw_reason_name(out->reason),
		    fw_reason_name(v->reason), state_of(after->mark), v->next,
		    after->mark, after->status, status_after(s, v),
		    after->left_s, seconds_after(s, v, state));
}

/* The entry that a SYN of the other direction has put in place of one that is over. */
static bool is_replaced(const struct step *s)
{
	struct fw_tuple t = step_packet(s);
	struct ct_entry e;

	if (!ct_table_get(table, &t, &e))
		return false;
	return e.mark == bits_of(h.gen, FW_TCP_SYN_SENT, shift) &&
	       !(e.status & (IPS_SEEN_REPLY | IPS_ASSURED)) &&
	       is_about(e.left_s, life_of(FW_TCP_SYN_SENT));
}

static bool is_as_judged(struct step *s, enum fw_tcp_state state)
{
	const struct tcp_known known = {
		.acks = s->acks < ROOM, .assured = s->entry.status & IPS_ASSURED
	};
	struct tcp_verdict v = tcp_judge(state, s->reply, s->flags, known);
	bool opens = v.reason == FW_REASON_NEW, is_there, is_right;
	static struct outcome out;
	struct ct_entry after;

	if (is_lenient && fw_reason_is_drop(v.reason))
		v.reason = FW_REASON_DROP_TCP_NO_SYN;
	s->entry.mark = mark_of((uint8_t)state);
	s->entry.left_s = life_of(state) / 2;
	is_there = try(s, &out, &after);
	is_right = out.reason == v.reason &&
		   out.drop == fw_reason_is_drop(v.reason);
	if (opens && s->hook != FW_HOOK_XDP)
		is_right &= !is_there && is_replaced(s);
	else
		is_right &= is_there && after.mark == mark_of(v.next) &&
			    after.status == status_after(s, &v) &&
			    is_about(after.left_s, seconds_after(s, &v, state));
	if (!is_right)
		complain(s, state, &v, &out, &after);
	forget(s);
	return is_right;
}

static unsigned int count_wrong(struct step *s, enum fw_tcp_state state,
				unsigned int all_flags)
{
	unsigned int wrong = 0;

	for (unsigned int flags = 0; flags < all_flags; flags++) {
		s->flags = (uint8_t)flags;
		wrong += !is_as_judged(s, state);
	}
	return wrong;
}

/* What has been, and what the packet acknowledges, counts where a handshake ends. */
static unsigned int count_wrong_ends(struct step s, enum fw_tcp_state state)
{
	static const uint32_t acks[] = { ROOM - 1, ROOM, UINT32_MAX };
	unsigned int wrong = 0;

	for (int assured = 0; assured < 2; assured++) {
		s.entry.status = assured ? IPS_ASSURED : 0;
		for (size_t i = 0; i < sizeof(acks) / sizeof(*acks); i++) {
			s.acks = acks[i];
			wrong += count_wrong(&s, state, 256);
		}
	}
	return wrong;
}

static unsigned int count_wrong_states(uint8_t family, enum fw_hook hook,
				       bool reply)
{
	struct step s = { .family = family,
			  .proto = IPPROTO_TCP,
			  .hook = hook,
			  .reply = reply };
	unsigned int wrong = 0;

	for (int state = 1; state < FW_TCP_STATE_MAX; state++) {
		wrong += count_wrong(&s, (enum fw_tcp_state)state, 256);
		if (state == FW_TCP_SYN_RECV || state == FW_TCP_REOPEN)
			wrong += count_wrong_ends(s, (enum fw_tcp_state)state);
	}
	return wrong;
}

static void every_flag_in_every_state(void **state)
{
	unsigned int wrong = 0;

	(void)state;
	assert_int_equal(load(OPEN), 0);
	for (int hook = 0; hook < FW_HOOK_MAX && wrong < 20; hook++) {
		for (int reply = 0; reply < 2; reply++) {
			wrong += count_wrong_states(FW_AF_IPV4,
						    (enum fw_hook)hook, reply);
			wrong += count_wrong_states(FW_AF_IPV6,
						    (enum fw_hook)hook, reply);
		}
	}
	assert_int_equal(wrong, 0);
}

/* Flags that no TCP sends are of no flow, also where no check drops them. */
static void illegal_flags_move_nothing(void **state)
{
	struct step s = { .family = FW_AF_IPV4, .proto = IPPROTO_TCP };
	unsigned int wrong = 0;

	(void)state;
	is_lenient = true;
	assert_int_equal(load(OPEN "option check tcp-null off\n"
				   "option check tcp-xmas off\n"
				   "option check tcp-flags off\n"),
			 0);
	for (int i = 0; i < 2 * FW_HOOK_MAX; i++) {
		s.hook = (enum fw_hook)(i / 2);
		s.reply = i & 1;
		for (int st = 1; st < FW_TCP_STATE_MAX; st++)
			wrong += count_wrong(&s, (enum fw_tcp_state)st, 64);
	}
	assert_int_equal(wrong, 0);
	is_lenient = false;
	assert_int_equal(load(OPEN), 0);
}

/* What no handshake has assured is assured by the end of one only. */
static void assured_by_a_handshake_only(void **state)
{
	struct step s = { .family = FW_AF_IPV4, .proto = IPPROTO_TCP };
	static const uint8_t flags[] = { SYN, SYN | ACK, ACK, FIN | ACK, RST };
	static struct outcome out;
	struct ct_entry after;

	(void)state;
	for (unsigned int i = 0; i < sizeof(flags) * 2; i++) {
		s.reply = i & 1;
		s.flags = flags[i / 2];
		s.entry.left_s = 30;
		s.entry.mark = mark_of(FW_TCP_SYN_SENT);
		assert_true(try(&s, &out, &after));
		assert_false(after.status & IPS_ASSURED);
		forget(&s);
	}
}

/* Without a generation of ours in the mark, or a state, an entry is the kernel's. */
static void entries_of_the_kernel_stay(void **state)
{
	struct step s = { .family = FW_AF_IPV6, .proto = IPPROTO_TCP };
	static struct outcome out;
	struct ct_entry after;

	(void)state;
	for (int hook = 0; hook < FW_HOOK_MAX; hook++) {
		for (unsigned int flags = 0; flags < 256; flags++) {
			s.hook = (enum fw_hook)hook;
			s.reply = flags & 0x80;
			s.flags = (uint8_t)flags;
			s.entry = (struct ct_entry){ .mark = mark_of(0),
						     .left_s = 1000 };
			assert_true(try(&s, &out, &after));
			assert_int_equal(after.mark, s.entry.mark);
			assert_int_equal(after.status, 0);
			assert_true(is_about(after.left_s, 1000));
			forget(&s);
		}
	}
}

/* ---- what has ended ---------------------------------------------------------- */

/* A SYN the other way round is for the rules; denied, it changes nothing. */
static void the_other_side_is_judged(void **state)
{
	static const uint8_t over[] = { FW_TCP_TIME_WAIT, FW_TCP_REFUSED };
	struct step s = { .proto = IPPROTO_TCP, .reply = true, .flags = SYN };
	static struct outcome out;
	struct ct_entry after;

	(void)state;
	assert_int_equal(load(SHUT), 0);
	for (unsigned int i = 0; i < 2 * 2 * FW_HOOK_MAX; i++) {
		s.family = i & 1 ? FW_AF_IPV6 : FW_AF_IPV4;
		s.hook = (enum fw_hook)(i / 4);
		s.entry = (struct ct_entry){
			.mark = mark_of(over[i / 2 % 2]),
			.status = IPS_SEEN_REPLY | IPS_ASSURED,
			.left_s = 100,
		};
		assert_true(try(&s, &out, &after));
		assert_int_equal(out.reason, FW_REASON_DROP_DEFAULT);
		assert_int_equal(after.mark, s.entry.mark);
		assert_true(is_about(after.left_s, 100));
		forget(&s);
	}
	assert_int_equal(load(OPEN), 0);
}

/* Rules are loaded while a flow is over: no other way past them. */
static void an_old_generation_opens_nothing(void **state)
{
	struct step s = { .family = FW_AF_IPV4,
			  .proto = IPPROTO_TCP,
			  .hook = FW_HOOK_INGRESS,
			  .reply = true,
			  .flags = SYN };
	static struct outcome out;
	struct ct_entry after;

	(void)state;
	s.entry = (struct ct_entry){ .mark = mark_of(FW_TCP_TIME_WAIT),
				     .left_s = 100 };
	assert_int_equal(load("interface wan = if0\n"), 0);
	assert_true(try(&s, &out, &after));
	assert_int_equal(out.reason, FW_REASON_DROP_DEFAULT);
	forget(&s);
	assert_int_equal(load(OPEN), 0);
}

/* A rule rejects a flow that the kernel has made: its opener is told, nobody else. */
static void answers_are_not_rejected(void **state)
{
	static struct outcome out;
	struct ct_entry after;

	(void)state;
	assert_int_equal(load("interface wan = if0\n"
			      "default in drop\n"
			      "reject in to self port 22\n"),
			 0);
	for (int i = 0; i < 2 * 2 * 2; i++) {
		struct step s = {
			.family = i & 1 ? FW_AF_IPV6 : FW_AF_IPV4,
			.proto = i & 2 ? IPPROTO_UDP : IPPROTO_TCP,
			.hook = i & 4 ? FW_HOOK_EGRESS : FW_HOOK_INGRESS,
			.reply = i & 4,
			.flags = ACK,
			.entry = { .mark = bits_of(0, 0, shift), .left_s = 100 }
		};

		(void)try(&s, &out, &after);
		assert_int_equal(out.reason, s.reply ? FW_REASON_DROP_RULE
						     : FW_REASON_DROP_REJECT);
		forget(&s);
	}
	assert_int_equal(load(OPEN), 0);
}

/* ---- sequences ----------------------------------------------------------------- */

/*
 * A conversation: 's' SYN, 'S' SYN+ACK, 'a' ACK, 'f' FIN+ACK, 'r' RST; 'A' and 'F' of who
 * has not heard the other side; '<' by the peer.
 */
static enum fw_tcp_state talk(const char *text)
{
	struct step s = { .family = FW_AF_IPV4, .proto = IPPROTO_TCP };
	static struct outcome out;
	struct ct_entry e = { 0 };
	struct fw_tuple orig;

	for (; *text; text++) {
		bool from_peer = *text == '<';

		text += from_peer;
		s.hook = from_peer ? FW_HOOK_EGRESS : FW_HOOK_INGRESS;
		s.flags = *text == 's'			 ? SYN
			  : *text == 'S'		 ? SYN | ACK
			  : *text == 'r'		 ? RST
			  : *text == 'a' || *text == 'A' ? ACK
							 : FIN | ACK;
		s.acks = *text == 'A' || *text == 'F' ? ROOM : 0;
		run(&s, &out);
	}
	s.hook = FW_HOOK_INGRESS;
	orig = step_orig(&s);
	if (!ct_table_get(table, &orig, &e))
		return FW_TCP_NONE;
	ct_table_delete(table, &orig);
	return state_of(e.mark);
}

static void conversations(void **state)
{
	(void)state;
	/* open, close, either side first, half closed */
	assert_int_equal(talk("s<Sa"), FW_TCP_ESTABLISHED);
	assert_int_equal(talk("s<Saf<aaa<aaa"), FW_TCP_FIN_ORIG);
	assert_int_equal(talk("s<Saf<a<fa"), FW_TCP_TIME_WAIT);
	assert_int_equal(talk("s<Sa<faf<a"), FW_TCP_TIME_WAIT);
	/* simultaneous open, with its answers and without */
	assert_int_equal(talk("s<sS<Sa"), FW_TCP_ESTABLISHED);
	assert_int_equal(talk("s<sa"), FW_TCP_SYN_SENT2);
	/* opened again */
	assert_int_equal(talk("s<Saf<fas"), FW_TCP_SYN_SENT);
	assert_int_equal(talk("s<Saf<fas<Sa"), FW_TCP_ESTABLISHED);
	assert_int_equal(talk("s<Sars<Sa"), FW_TCP_ESTABLISHED);
	assert_int_equal(talk("s<rs<Sa"), FW_TCP_ESTABLISHED);
	/* no way past a handshake */
	assert_int_equal(talk("sra"), FW_TCP_REFUSED);
	assert_int_equal(talk("s<ra<a"), FW_TCP_REFUSED);
	assert_int_equal(talk("s<Sra"), FW_TCP_REOPEN);
	assert_int_equal(talk("s<Saf<fsra<a"), FW_TCP_REFUSED);
	assert_int_equal(talk("s<Saf<fra<a"), FW_TCP_TIME_WAIT);
	/* nor for who has not heard the answer, also if that is challenged */
	assert_int_equal(talk("s<SA<aA"), FW_TCP_SYN_RECV);
	assert_int_equal(talk("s<SF"), FW_TCP_SYN_RECV);
	assert_int_equal(talk("s<Srs<aA<a"), FW_TCP_SYN_RECV);
	assert_int_equal(talk("s<SAa"), FW_TCP_ESTABLISHED);
	assert_int_equal(talk("s<Srs<aa"), FW_TCP_ESTABLISHED);
	/* forged RSTs and SYNs, and those who go on talking */
	assert_int_equal(talk("s<Sar<a"), FW_TCP_ESTABLISHED);
	assert_int_equal(talk("s<Sas<aa"), FW_TCP_ESTABLISHED);
	assert_int_equal(talk("s<Sa<sa<a"), FW_TCP_ESTABLISHED);
	assert_int_equal(talk("s<Sarsa"), FW_TCP_REOPEN);
	assert_int_equal(talk("s<Sarsr<aa"), FW_TCP_ESTABLISHED);
	assert_int_equal(talk("s<Sr<aa"), FW_TCP_ESTABLISHED);
	assert_int_equal(talk("s<Safr<a"), FW_TCP_FIN_ORIG);
	assert_int_equal(talk("sr<Sa"), FW_TCP_ESTABLISHED);
	/* the challenge ACK, and the RST that follows it */
	assert_int_equal(talk("s<Sas<ar"), FW_TCP_CLOSE);
	assert_int_equal(talk("s<Sas<ars<Sa"), FW_TCP_ESTABLISHED);
}

/* Of a connection that is older than the rules, one side alone is not enough. */
static void adopted_by_both_sides_only(void **state)
{
	static const struct {
		const char *text;
		enum fw_tcp_state want;
	} told[] = {
		{ "a", FW_TCP_ADOPTED },
		{ "araf", FW_TCP_ADOPTED },
		{ "a<r<Sa", FW_TCP_ADOPTED },
		{ "a<a", FW_TCP_ESTABLISHED },
		{ "f<f", FW_TCP_FIN_REPLY },
		{ "as<a<a", FW_TCP_SYN_SENT },
		{ "as<SA<a", FW_TCP_SYN_RECV },
		{ "as<Sa", FW_TCP_ESTABLISHED },
		/* what we send is denied, so it answers what the peer has opened */
		{ "<a", FW_TCP_ADOPTED_REPLY },
		{ "<a<r<a<f", FW_TCP_ADOPTED_REPLY },
		{ "<a<s<S<r<a", FW_TCP_ADOPTED_REPLY },
		{ "<as<Sa", FW_TCP_ESTABLISHED },
		{ "<as<SA<a", FW_TCP_SYN_RECV },
		{ "<aa", FW_TCP_ESTABLISHED },
		{ "<r", FW_TCP_NONE },
		{ "<S", FW_TCP_NONE },
	};

	(void)state;
	harness_adopt(&h, 60);
	assert_int_equal(load(OPEN "default out drop\n"), 0);
	for (unsigned int i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
		harness_flush(&h);
		assert_int_equal(talk(told[i].text), told[i].want);
	}
	harness_flush(&h);
	harness_adopt(&h, 0);
	assert_int_equal(load(OPEN), 0);
}

/* ---- time ----------------------------------------------------------------------- */

/* A RST never lengthens what is left. */
static void a_reset_only_shortens(void **state)
{
	struct step s = { .family = FW_AF_IPV4,
			  .proto = IPPROTO_TCP,
			  .flags = RST };
	static struct outcome out;
	struct ct_entry after;

	(void)state;
	for (int i = 1; i < FW_TCP_STATE_MAX; i++) {
		s.entry.mark = mark_of((uint8_t)i);
		s.entry.left_s = 4;
		assert_true(try(&s, &out, &after));
		assert_true(after.left_s <= 4);
		forget(&s);
	}
}

/* The life of a flow is written when an eighth of it is gone, not before. */
static void written_when_worth_it(void **state)
{
	static const struct {
		uint8_t proto, state;
		uint32_t life;
	} kinds[] = {
		{ IPPROTO_TCP, FW_TCP_ESTABLISHED, FW_TCP_ESTABLISHED },
		{ IPPROTO_TCP, FW_TCP_FIN_ORIG, FW_TCP_FIN_ORIG },
		{ IPPROTO_TCP, FW_TCP_TIME_WAIT, FW_TCP_TIME_WAIT },
		{ IPPROTO_UDP, FW_TCP_ESTABLISHED, FW_LIFE_UDP_STREAM },
	};
	static struct outcome out;
	struct ct_entry after;

	(void)state;
	for (unsigned int i = 0; i < 4 * 2 * FW_HOOK_MAX; i++) {
		struct step s = { .family = i & 1 ? FW_AF_IPV6 : FW_AF_IPV4,
				  .proto = kinds[i / 2 % 4].proto,
				  .hook = (enum fw_hook)(i / 8),
				  .flags = ACK };
		uint32_t full = life_of(kinds[i / 2 % 4].life);

		s.entry.mark = mark_of(kinds[i / 2 % 4].state);
		s.entry.left_s = full - full / 8 + 3;
		assert_true(try(&s, &out, &after));
		assert_true(is_about(after.left_s, full - full / 8 + 3));
		forget(&s);
		s.entry.left_s = full - full / 8 - 3;
		assert_true(try(&s, &out, &after));
		assert_true(is_about(after.left_s, full));
		forget(&s);
		/* rules with a longer life have gone */
		s.entry.left_s = 2 * full;
		assert_true(try(&s, &out, &after));
		assert_true(is_about(after.left_s, full));
		forget(&s);
	}
}

static void udp_has_two_states(void **state)
{
	static struct outcome out;
	struct ct_entry after;

	(void)state;
	for (unsigned int i = 0; i < 2 * 2 * 2 * FW_HOOK_MAX; i++) {
		struct step s = { .family = i & 1 ? FW_AF_IPV6 : FW_AF_IPV4,
				  .proto = IPPROTO_UDP,
				  .reply = i & 2,
				  .hook = (enum fw_hook)(i / 8) };
		bool answered = i & 4, assured = answered && !s.reply;
		bool streams = answered || s.reply;

		s.entry.mark = mark_of(answered ? FW_TCP_ESTABLISHED
						: FW_TCP_SYN_SENT);
		s.entry.left_s = 7;
		assert_true(try(&s, &out, &after));
		assert_int_equal(out.reason, FW_REASON_ESTABLISHED);
		assert_int_equal(after.mark,
				 mark_of(streams ? FW_TCP_ESTABLISHED
						 : FW_TCP_SYN_SENT));
		assert_int_equal(after.status,
				 (s.reply ? IPS_SEEN_REPLY : 0) |
					 (assured ? IPS_ASSURED : 0));
		assert_true(is_about(
			after.left_s,
			life_of(streams ? FW_LIFE_UDP_STREAM : FW_LIFE_UDP)));
		forget(&s);
	}
}

/*
 * A flow that the kernel has made while its hooks ran, and nobody refreshes now, is ours
 * once it has not been for a while; a TCP connection is left alone unless it is there.
 */
static void orphans_are_taken(void **state)
{
	static struct outcome out;
	struct ct_entry after;

	(void)state;
	for (unsigned int i = 0; i < 2 * 2 * 2 * FW_HOOK_MAX; i++) {
		struct step s = { .family = i & 1 ? FW_AF_IPV6 : FW_AF_IPV4,
				  .proto = IPPROTO_UDP,
				  .reply = i & 2,
				  .hook = (enum fw_hook)(i / 8) };
		bool answered = i & 4, streams = answered || s.reply;
		uint32_t full =
			life_of(answered ? FW_LIFE_UDP_STREAM : FW_LIFE_UDP);

		s.entry.mark = mark_of(0);
		s.entry.status = answered ? IPS_SEEN_REPLY : 0;
		s.entry.left_s = full;
		assert_true(try(&s, &out, &after));
		assert_int_equal(out.reason, FW_REASON_ESTABLISHED);
		assert_int_equal(after.mark, mark_of(0));
		forget(&s);
		s.entry.left_s = full / 2;
		assert_true(try(&s, &out, &after));
		assert_int_equal(out.reason, FW_REASON_ESTABLISHED);
		assert_int_equal(after.mark,
				 mark_of(streams ? FW_TCP_ESTABLISHED
						 : FW_TCP_SYN_SENT));
		assert_true(is_about(
			after.left_s,
			life_of(streams ? FW_LIFE_UDP_STREAM : FW_LIFE_UDP)));
		forget(&s);
	}
}

/* ---- rules move the marks --------------------------------------------------------- */

static uint8_t other_half(void)
{
	return shift ? 0 : 16;
}

/* As user space loads rules with another mask over running ones. */
static void load_moving(const char *rules)
{
	h.past.mark_before = (uint8_t)(other_half() + 1);
	assert_int_equal(load(rules), 0);
}

static void load_moved(void)
{
	h.past.mark_before = 0;
	h.past.ended_before = 0;
	assert_int_equal(load(OPEN), 0);
}

/* A flow that earlier rules accepted, marked where they had their marks. */
static struct ct_entry carried_entry(uint8_t state)
{
	return (struct ct_entry){
		.mark = bits_of(h.gen - 1, state, other_half()),
		.left_s = 100,
	};
}

static void progress_moves_with_the_marks(void **state)
{
	static const enum fw_hook hooks[] = { FW_HOOK_INGRESS, FW_HOOK_EGRESS };
	const struct tcp_known known = { .acks = true };
	struct step s = { .proto = IPPROTO_TCP, .flags = ACK };
	static struct outcome out;
	struct tcp_verdict v;
	struct ct_entry after;
	unsigned int seen = 0;

	(void)state;
	load_moving(OPEN);
	for (uint8_t i = 1; i < FW_TCP_STATE_MAX; i++) {
		for (unsigned int j = 0; j < 8; j++) {
			s.family = j & 1 ? FW_AF_IPV6 : FW_AF_IPV4;
			s.reply = j & 2;
			s.hook = hooks[j / 4];
			s.entry = carried_entry(i);
			v = tcp_judge(i, s.reply, s.flags, known);
			(void)try(&s, &out, &after);
			forget(&s);
			if (v.reason != FW_REASON_ESTABLISHED)
				continue;
			assert_int_equal(out.reason, FW_REASON_ESTABLISHED);
			assert_int_equal(
				after.mark,
				bits_of(h.gen, (uint8_t)v.next, shift));
			seen++;
		}
	}
	assert_true(seen > 80);
	load_moved();
}

/* What earlier rules accepted is theirs wherever the mark is: kept, ended, judged. */
static void generations_move_with_the_marks(void **state)
{
	struct step s = { .family = FW_AF_IPV4,
			  .proto = IPPROTO_TCP,
			  .hook = FW_HOOK_XDP,
			  .flags = ACK };
	static struct outcome out;
	struct ct_entry after;

	(void)state;
	load_moving("option on-reload keep\n" OPEN);
	s.entry = carried_entry(FW_TCP_SYN_RECV);
	assert_true(try(&s, &out, &after));
	assert_int_equal(out.reason, FW_REASON_ESTABLISHED);
	assert_int_equal(after.mark, bits_of(h.gen, FW_TCP_ESTABLISHED, shift));
	forget(&s);
	/* bits that are others' again, on a flow that has been carried */
	s.entry.mark = after.mark | FW_MARK_HALF << other_half();
	assert_true(try(&s, &out, &after));
	assert_int_equal(out.reason, FW_REASON_ESTABLISHED);
	assert_int_equal(after.mark, s.entry.mark);
	forget(&s);

	load_moving("option on-reload kill\n" OPEN);
	s.hook = FW_HOOK_INGRESS;
	s.entry = carried_entry(FW_TCP_ESTABLISHED);
	(void)try(&s, &out, &after);
	forget(&s);
	assert_int_equal(out.reason, FW_REASON_DROP_RELOAD);

	load_moving(SHUT);
	s.entry = carried_entry(FW_TCP_ESTABLISHED);
	(void)try(&s, &out, &after);
	forget(&s);
	assert_int_equal(out.reason, FW_REASON_DROP_RELOAD);
	/* nobody looks there any more */
	load_moved();
	s.family = FW_AF_IPV6; /* the other one has ended */
	s.entry = carried_entry(FW_TCP_ESTABLISHED);
	assert_true(try(&s, &out, &after));
	assert_int_equal(after.mark, bits_of(h.gen, 0, shift) | s.entry.mark);
	forget(&s);
}

static int set_up(void **state)
{
	(void)state;
	harness_init(&h);
	harness_self(&h, "192.0.2.1", FW_SELF_ADDRESS);
	harness_self(&h, "2001:db8:1::1", FW_SELF_ADDRESS);
	table = ct_table_open();
	h.past = (struct fw_image_past){ 0 };
	return load(OPEN);
}

static int tear_down(void **state)
{
	(void)state;
	ct_table_close(table);
	harness_done(&h);
	return 0;
}

/* Wherever our bits of the mark are, or on their way from there to the other half. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_flag_in_every_state),
		cmocka_unit_test(illegal_flags_move_nothing),
		cmocka_unit_test(assured_by_a_handshake_only),
		cmocka_unit_test(entries_of_the_kernel_stay),
		cmocka_unit_test(the_other_side_is_judged),
		cmocka_unit_test(an_old_generation_opens_nothing),
		cmocka_unit_test(answers_are_not_rejected),
		cmocka_unit_test(conversations),
		cmocka_unit_test(adopted_by_both_sides_only),
		cmocka_unit_test(a_reset_only_shortens),
		cmocka_unit_test(written_when_worth_it),
		cmocka_unit_test(udp_has_two_states),
		cmocka_unit_test(orphans_are_taken),
	};

	const struct CMUnitTest moving[] = {
		cmocka_unit_test(progress_moves_with_the_marks),
		cmocka_unit_test(generations_move_with_the_marks),
	};
	bool is_moving = argc == 3 && !strcmp(argv[1], "moving");

	if (argc != 2 + is_moving) {
		fprintf(stderr, "usage: test_tcp [moving] SHIFT\n");
		return 2;
	}
	shift = (uint8_t)atoi(argv[1 + is_moving]);
	return is_moving ? cmocka_run_group_tests_name("moving marks", moving,
						       set_up, tear_down)
			 : cmocka_run_group_tests_name("tcp", tests, set_up,
						       tear_down);
}

/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The programs that only explain: they say what the others do, hook by hook and rule by
 * rule, and leave nothing behind. Random rules, and random packets of flows that come
 * and go: opened, answered, cut short, in fragments, complained about.
 *
 * FWCTL_DRY_SETS and FWCTL_DRY_SEED choose how many rule sets and where to start.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <linux/bpf.h>

#include <bpf/libbpf.h>

#include "checksum.h"
#include "dry.h"
#include "random_case.h"
#include "user/dryskel.h"
#include "user/skel.h"

#define PACKETS 150 /* of each rule set */
#define SILENT	60  /* explained, and not sent, between two pictures */
#define PAST	16  /* packets that others follow */
#define SELF_V4 "198.51.100.5"
#define SELF_V6 "2001:db8::5"

static struct harness h;
static struct dry_bpf *dry;
static unsigned int seen[FW_HOOK_MAX][FW_REASON_MAX];

/* ---- packets that follow others ------------------------------------------------ */

struct past {
	struct random_packet packets[PAST];
	unsigned int n;
	struct random_packet rest; /* of what was broken up a moment ago */
	bool has_rest;
};

/* Offsets in an untagged frame without options; 0: not one of these. */
static uint32_t l4_of(const struct random_packet *p)
{
	const uint8_t *f = p->frame;

	if (f[12] == 0x08 && f[13] == 0x00 && f[14] == 0x45)
		return 34;
	if (f[12] == 0x86 && f[13] == 0xdd && f[20] == p->key.proto)
		return 54;
	return 0;
}

static void swap(uint8_t *a, uint8_t *b, uint32_t len)
{
	uint8_t tmp[16];

	memcpy(tmp, a, len);
	memcpy(a, b, len);
	memcpy(b, tmp, len);
}

static void fix_sum(struct random_packet *p)
{
	if (p->frame[12] == 0x08)
		put_ip_checksum(p->frame + 14);
}

static void answer(struct random_packet *p, uint32_t l4)
{
	if (l4 == 34)
		swap(p->frame + 26, p->frame + 30, 4);
	else
		swap(p->frame + 22, p->frame + 38, 16);
	if (p->key.flags & FW_KEY_PORTS)
		swap(p->frame + l4, p->frame + l4 + 2, 2);
	if (p->key.flags & FW_KEY_ICMP)
		p->frame[l4] = l4 == 34 ? 0 : 129;
}

static void set_flags(struct rng *rng, struct random_packet *p, uint32_t l4)
{
	static const uint8_t flags[] = { 0x02, 0x10, 0x12, 0x18,
					 0x11, 0x04, 0x14, 0x01 };

	if (p->key.proto == IPPROTO_TCP)
		p->frame[l4 + 13] = flags[rng_below(rng, sizeof(flags))];
}

static void make_fragment(struct random_packet *p, uint8_t flags,
			  uint8_t offset)
{
	p->frame[18] = p->frame[19] = 0x77;
	p->frame[20] = flags;
	p->frame[21] = offset;
	put_ip_checksum(p->frame + 14);
}

/* IPv4: the first fragment, and another one that comes next. */
static void break_up(struct rng *rng, struct past *past,
		     struct random_packet *p)
{
	if (p->frame[12] != 0x08)
		return;
	past->rest = *p;
	past->has_rest = true;
	make_fragment(&past->rest, 0, (uint8_t)(1 + rng_below(rng, 4)));
	make_fragment(p, 0x20, 0);
}

/* An ICMP error of who got the packet. */
static void complain(struct rng *rng, struct random_packet *p, uint32_t l4)
{
	uint8_t quoted[256];
	uint32_t len = p->len - 14, head = l4 - 14;

	memcpy(quoted, p->frame + 14, len);
	if (14 + head + 8 + len > sizeof(p->frame))
		return;
	answer(p, l4);
	memset(p->frame + l4, 0, 8);
	memcpy(p->frame + l4 + 8, quoted, len);
	p->len = l4 + 8 + len;
	p->frame[l4] = l4 == 34 ? 3 : 1;
	p->frame[l4 + 1] = (uint8_t)rng_below(rng, 5);
	if (l4 == 34) {
		p->frame[16] = 0;
		p->frame[17] = (uint8_t)(p->len - 14);
		p->frame[23] = IPPROTO_ICMP;
	} else {
		p->frame[18] = 0;
		p->frame[19] = (uint8_t)(p->len - 54);
		p->frame[20] = IPPROTO_ICMPV6;
	}
}

/* ICMP over the whole packet, ICMPv6 with the addresses. */
static void put_icmp_sum(struct random_packet *p, uint32_t l4)
{
	uint32_t from = l4 == 34 ? l4 : 22, sum = 0;

	p->frame[l4 + 2] = p->frame[l4 + 3] = 0;
	for (uint32_t i = from; i < p->len; i++)
		sum += (i - from) % 2 ? p->frame[i]
				      : (uint32_t)p->frame[i] << 8;
	if (l4 != 34)
		sum += p->len - l4 + IPPROTO_ICMPV6;
	sum = (sum >> 16) + (sum & 0xffff);
	sum = ~((sum >> 16) + sum);
	p->frame[l4 + 2] = (uint8_t)(sum >> 8);
	p->frame[l4 + 3] = (uint8_t)sum;
}

static void follow(struct rng *rng, struct past *past, struct random_packet *p)
{
	uint32_t l4 = l4_of(p);

	if (!l4)
		return;
	if (rng_below(rng, 2))
		set_flags(rng, p, l4);
	if (rng_below(rng, 2))
		answer(p, l4);
	if (rng_below(rng, 6) == 0) {
		complain(rng, p, l4);
		if (rng_below(rng, 8))
			put_icmp_sum(p, l4);
	} else if (rng_below(rng, 4) == 0) {
		break_up(rng, past, p);
	} else if (rng_below(rng, 12) == 0) {
		/* less than an IP header the kernel does not run */
		p->len = l4 + rng_below(rng, p->len - l4);
	}
	fix_sum(p);
}

static void next_packet(struct rng *rng, struct past *past,
			struct random_packet *ret)
{
	if (past->has_rest) {
		*ret = past->rest;
		past->has_rest = false;
		return;
	}
	if (past->n && rng_below(rng, 3)) {
		*ret = past->packets[rng_below(rng, past->n)];
		follow(rng, past, ret);
		return;
	}
	random_packet(rng, ret);
	past->packets[past->n < PAST ? past->n++ : rng_below(rng, PAST)] = *ret;
}

/* ---- agreement ------------------------------------------------------------------- */

struct way {
	unsigned int in;
	int out; /* -1: it goes no further */
};

static void print_case(uint64_t seed, const struct random_packet *p,
		       enum fw_hook hook, const struct way *way)
{
	print_error("seed %llu %s in if%u out %d frame ",
		    (unsigned long long)seed, fw_hook_name(hook), way->in,
		    way->out);
	for (uint32_t i = 0; i < p->len; i++)
		print_error("%02x", p->frame[i]);
	print_error("\n");
}

static void explain(const struct random_packet *p, enum fw_hook hook,
		    const struct way *way, struct fw_explained *ret,
		    int *ret_action)
{
	bool egress = hook == FW_HOOK_EGRESS;

	*ret = dry_run(&h, dry, hook, egress ? (unsigned int)way->out : way->in,
		       egress ? (int)way->in : -1, p->frame, p->len,
		       ret_action);
}

/*
 * Explained, then done. 0: both say the same, and the packet goes on; 1: it ends here;
 * -1: they do not. How many rejects there may be is a matter of the moment.
 */
static int one_hook(uint64_t seed, const struct random_packet *p,
		    enum fw_hook hook, const struct way *way)
{
	bool egress = hook == FW_HOOK_EGRESS;
	const struct fw_explained_hook *said;
	struct fw_explained e;
	enum fw_reason reason;
	struct outcome o;
	int action;

	explain(p, hook, way, &e, &action);
	said = &e.hooks[hook];
	assert_int_equal(
		harness_run(&h, hook, egress ? (unsigned int)way->out : way->in,
			    egress ? (int)way->in : -1, p->frame, p->len, &o),
		0);
	reason = (enum fw_reason)said->reason;
	if (reason == FW_REASON_DROP_REJECT_LIMIT)
		reason = FW_REASON_DROP_REJECT;
	if (o.reason == FW_REASON_DROP_REJECT_LIMIT)
		o.reason = FW_REASON_DROP_REJECT;
	seen[hook][o.reason]++;
	/* where a reject is really sent the packet goes another way */
	if (o.reason == FW_REASON_DROP_REJECT)
		o.action = action;
	if (o.n_reasons == 1 && said->has_run && reason == o.reason &&
	    said->slot == o.slot && action == o.action)
		return fw_reason_is_drop(o.reason);
	print_case(seed, p, hook, way);
	print_error(
		"explained %s slot %u action %d, done %s slot %u action %d\n",
		fw_reason_name((enum fw_reason)said->reason), said->slot,
		action, fw_reason_name(o.reason), o.slot, o.action);
	return -1;
}

/* XDP has metadata for TC only where there is a driver: it goes alone. */
static int one_packet(uint64_t seed, struct rng *rng,
		      const struct random_packet *p)
{
	struct way way = { .in = rng_below(rng, 2) ? 0 : rng_below(rng, 4),
			   .out = (int)rng_below(rng, 5) - 1 };
	int r;

	if (rng_below(rng, 4) == 0) {
		dry_begin(dry);
		return one_hook(seed, p, FW_HOOK_XDP, &way) < 0 ? -1 : 0;
	}
	dry_begin(dry);
	r = rng_below(rng, 4) ? one_hook(seed, p, FW_HOOK_INGRESS, &way) : 0;
	if (r == 0 && way.out >= 0)
		r = one_hook(seed, p, FW_HOOK_EGRESS, &way);
	return r < 0 ? -1 : 0;
}

/* A slow machine does a fourth, so that it is about as long at it as others. */
static uint64_t part_of(uint64_t n)
{
	return getenv("FWCTL_SLOWNESS") ? n / 4 : n;
}

/* What has changed while packets were explained, or NULL. */
static const char *explain_some(struct rng *rng, struct past *past)
{
	struct picture *before = picture_take(&h);

	for (uint64_t i = 0; i < part_of(SILENT); i++) {
		struct way way = { .in = rng_below(rng, 4),
				   .out = (int)rng_below(rng, 4) };
		struct random_packet p;
		struct fw_explained e;
		int action;

		next_packet(rng, past, &p);
		dry_begin(dry);
		for (int hook = 0; hook < FW_HOOK_MAX; hook++)
			explain(&p, (enum fw_hook)hook, &way, &e, &action);
	}
	return picture_compare(before, picture_take(&h));
}

/* Nothing is sent: nothing changes. On a slow machine entries may expire meanwhile. */
static void explain_silently(struct rng *rng, struct past *past)
{
	const char *changed = explain_some(rng, past);

	for (int i = 0; changed && i < 4 && getenv("FWCTL_SLOWNESS"); i++)
		changed = explain_some(rng, past);
	if (changed)
		fail_msg("explaining has changed %s", changed);
}

static int one_set(uint64_t seed)
{
	struct rng rng = { .state = seed * 0x9e3779b97f4a7c15ull + 1 };
	static struct past past; /* earlier rules may have let them in */
	struct random_packet p;
	size_t size = 0;
	char *text = NULL;
	FILE *out = open_memstream(&text, &size);
	int r = 0;

	assert_non_null(out);
	random_rules(&rng, out, 1 + rng_below(&rng, 8));
	if (rng_below(&rng, 2)) /* or little would be let in */
		(void)fputs("accept in\naccept out\naccept forward\n", out);
	(void)fclose(out);
	if (rng_below(&rng, 3))
		harness_flush(&h); /* else these are flows of other rules */
	harness_adopt(&h, rng_below(&rng, 4) ? 0 : 60);
	harness_pressure(&h, rng_below(&rng, 6) ? 1000 : 5, 0,
			 rng_below(&rng, 3) ? 0 : 60);
	if (harness_rules(&h, text)) {
		print_error("seed %llu: rules refused:\n%s",
			    (unsigned long long)seed, text);
		r = -1;
	}
	for (int i = 0; i < PACKETS && !r; i++) {
		next_packet(&rng, &past, &p);
		r = one_packet(seed, &rng, &p);
		if (r)
			print_error("%s", text);
	}
	if (!r)
		explain_silently(&rng, &past);
	free(text);
	return r;
}

static uint64_t number(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : fallback;
}

static void says_what_happens(void **state)
{
	uint64_t first = number("FWCTL_DRY_SEED", 1);
	uint64_t sets = number("FWCTL_DRY_SETS", part_of(100));
	int bad = 0;

	(void)state;
	for (uint64_t i = 0; i < sets && bad < 3; i++)
		bad += one_set(first + i) != 0;
	assert_int_equal(bad, 0);
	for (int i = 0; i < FW_REASON_MAX && getenv("FWCTL_DRY_VERBOSE"); i++)
		print_message("%-18s %6u %6u %6u\n",
			      fw_reason_name((enum fw_reason)i), seen[0][i],
			      seen[1][i], seen[2][i]);
}

/* Of the packets above enough were worth it. */
static void has_seen_much(void **state)
{
	static const enum fw_reason often[] = {
		FW_REASON_ESTABLISHED,
		FW_REASON_NEW,
		FW_REASON_STATELESS,
		FW_REASON_FRAGMENT,
		FW_REASON_RELATED,
		FW_REASON_DROP_RULE,
		FW_REASON_DROP_DEFAULT,
		FW_REASON_DROP_REJECT,
		FW_REASON_DROP_TRUNCATED,
		FW_REASON_DROP_MARTIAN,
		FW_REASON_DROP_TCP_NO_SYN,
		FW_REASON_DROP_ICMP_UNRELATED,
		FW_REASON_DROP_FRAG_ORPHAN,
		FW_REASON_DROP_RELOAD,
		FW_REASON_DROP_TABLE_PRESSURE,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(often) / sizeof(often[0]); i++)
		if (!seen[FW_HOOK_INGRESS][often[i]])
			fail_msg("never seen: %s", fw_reason_name(often[i]));
}

/* ---- nothing in them can write ------------------------------------------------------- */

static bool may_call(int helper)
{
	static const int never[] = {
		BPF_FUNC_map_update_elem, BPF_FUNC_map_delete_elem,
		BPF_FUNC_map_push_elem,	  BPF_FUNC_ringbuf_output,
		BPF_FUNC_ringbuf_reserve, BPF_FUNC_perf_event_output,
		BPF_FUNC_redirect,	  BPF_FUNC_redirect_neigh,
		BPF_FUNC_clone_redirect,  BPF_FUNC_skb_store_bytes,
	};

	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		if (never[i] == helper)
			return false;
	return true;
}

static void cannot_write(void **state)
{
	const struct bpf_program *prog;
	const struct bpf_insn *insns;
	size_t n_progs = 0;

	(void)state;
	for (prog = bpf_object__next_program(dry->obj, NULL); prog;
	     prog = bpf_object__next_program(
		     dry->obj, (struct bpf_program *)(uintptr_t)prog)) {
		insns = bpf_program__insns(prog);
		n_progs++;
		for (size_t i = 0; i < bpf_program__insn_cnt(prog); i++) {
			uint8_t code = insns[i].code;

			if (code == (BPF_JMP | BPF_CALL) && !insns[i].src_reg &&
			    !may_call(insns[i].imm))
				fail_msg("%s calls helper %d",
					 bpf_program__name(prog), insns[i].imm);
			if ((code & 7) == BPF_STX &&
			    (code & 0xe0) == BPF_ATOMIC)
				fail_msg("%s has an atomic operation",
					 bpf_program__name(prog));
		}
	}
	assert_int_equal(n_progs, FW_HOOK_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cannot_write),
		cmocka_unit_test(says_what_happens),
		cmocka_unit_test(has_seen_much),
	};
	int r;

	harness_init(&h);
	dry = dry_open(&h);
	harness_self(&h, SELF_V4, FW_SELF_ADDRESS);
	harness_self(&h, SELF_V6, FW_SELF_ADDRESS);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	dry_close(dry);
	harness_done(&h);
	return r;
}

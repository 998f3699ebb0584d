/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * XDP, TC ingress and TC egress against the interpreter: random rule sets,
 * random packets that open flows, the same verdict by the same rule.
 *
 * FWCTL_ORACLE_SETS and FWCTL_ORACLE_SEED choose how many rule sets and where to
 * start; a failure prints the seed, the rules and the packet.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include "harness.h"
#include "random_case.h"
#include "sanity.h"

#define PACKETS 60
#define SELF_V4 "198.51.100.5"
#define SELF_V6 "2001:db8::5"

static struct harness h;

static bool is_loopback(const struct fw_addr *a)
{
	return !a->w[0] && !a->w[1] &&
	       (a->w[2] ? a->w[2] == htonl(0xffff) && (a->w[3] & 0xff) == 127
			: a->w[3] == htonl(1));
}

static bool is_self(const struct fw_addr *a)
{
	struct fw_addr v4 = { .w = { 0, 0, htonl(0xffff), 0 } }, v6;

	(void)inet_pton(AF_INET, SELF_V4, &v4.w[3]);
	(void)inet_pton(AF_INET6, SELF_V6, &v6);
	return !memcmp(a, &v4, sizeof(v4)) || !memcmp(a, &v6, sizeof(v6));
}

/* Direction and zones as the hook must find them. */
static void place(struct fw_key *k, enum fw_hook hook, unsigned int iface,
		  int iif)
{
	bool egress = hook == FW_HOOK_EGRESS;
	uint64_t here = 1ull << iface;
	/* what comes in with it is martian, and nobody asks whose it is */
	bool lo = egress || h.program->options & FW_OFF_MARTIAN;

	if (is_self(&k->saddr) || (lo && is_loopback(&k->saddr)))
		k->flags |= FW_KEY_SRC_SELF;
	if (is_self(&k->daddr) || (lo && is_loopback(&k->daddr)))
		k->flags |= FW_KEY_DST_SELF;
	if (hook == FW_HOOK_XDP && h.program->options & FW_OPT_IPSEC)
		k->flags |= FW_KEY_IPSEC_UNKNOWN;
	if (!egress) {
		k->in_zones = here;
		k->dir =
			k->flags & FW_KEY_DST_SELF ? FW_DIR_IN : FW_DIR_FORWARD;
		if (k->dir == FW_DIR_FORWARD)
			k->flags |= FW_KEY_OUT_UNKNOWN;
		return;
	}
	k->out_zones = here;
	if (k->flags & FW_KEY_SRC_SELF || iif < 0) {
		k->dir = FW_DIR_OUT;
	} else if (k->flags & FW_KEY_DST_SELF) {
		k->dir = FW_DIR_IN;
		k->in_zones = 1ull << iif;
		k->out_zones = 0;
	} else {
		k->dir = FW_DIR_FORWARD;
		k->in_zones = 1ull << iif;
	}
}

struct expected {
	enum fw_reason reason;
	uint32_t slot;
};

static uint32_t slot_of(const struct fw_result *res)
{
	if (res->rule >= FW_RULE_DEFAULT)
		return (uint32_t)h.program->n_rows + 1 +
		       (res->rule - FW_RULE_DEFAULT);
	return h.program->rows[res->rule].rule + 1;
}

static enum fw_reason drop_reason(const struct fw_result *res)
{
	if (res->verdict == FW_REJECT)
		return FW_REASON_DROP_REJECT;
	if (res->flags & FW_RESULT_CLEAR)
		return FW_REASON_DROP_IPSEC_CLEAR;
	return res->flags & FW_RESULT_DEFAULT ? FW_REASON_DROP_DEFAULT
					      : FW_REASON_DROP_RULE;
}

static struct expected expect_stateless(const struct fw_key *k,
					enum fw_hook hook,
					const struct fw_result *res)
{
	struct expected e = { .slot = slot_of(res) };

	e.reason = res->verdict == FW_ACCEPT ? FW_REASON_STATELESS
					     : drop_reason(res);
	if (hook == FW_HOOK_XDP && res->verdict == FW_REJECT)
		return (struct expected){ .reason = FW_REASON_UNDECIDED };
	/* what an ingress hook was sure of is counted there */
	if (hook == FW_HOOK_EGRESS && k->dir == FW_DIR_FORWARD &&
	    !(res->flags & FW_RESULT_MAYBE))
		e.slot = 0;
	return e;
}

/*
 * Ask the judge as the hook must: XDP leaves what depends on the leaving
 * interface or on IPsec to TC; TC ingress finds no route in this namespace, so no
 * zone. No packet of a test run has come out of an SA.
 */
static bool ask(struct fw_key *k, enum fw_hook hook, bool stateless,
		struct fw_result *ret)
{
	fw_interpret(h.program, k, stateless, ret);
	if (!(k->flags & (FW_KEY_OUT_UNKNOWN | FW_KEY_IPSEC_UNKNOWN)) ||
	    !(ret->flags & FW_RESULT_MAYBE))
		return true;
	if (hook == FW_HOOK_XDP)
		return false;
	k->flags &= (uint8_t)~FW_KEY_OUT_UNKNOWN;
	fw_interpret(h.program, k, stateless, ret);
	return true;
}

/* What the whole path must say, told from what the rules say. */
static struct expected expect(struct fw_key *k, enum fw_hook hook, bool opens)
{
	const struct expected undecided = { .reason = FW_REASON_UNDECIDED };
	struct expected e = { .reason = FW_REASON_NEW };
	uint8_t flags = k->flags;
	struct fw_result res;

	if (!ask(k, hook, true, &res))
		return undecided;
	if (res.rule != FW_RULE_NONE)
		return expect_stateless(k, hook, &res);
	if (!opens)
		return (struct expected){ .reason = FW_REASON_DROP_TCP_NO_SYN };
	k->flags = flags;
	if (!ask(k, hook, false, &res))
		return undecided;
	if (res.verdict != FW_ACCEPT)
		e.reason = drop_reason(&res);
	else if (hook == FW_HOOK_XDP)
		return e;
	if (res.verdict == FW_REJECT && hook == FW_HOOK_XDP)
		return undecided;
	e.slot = slot_of(&res);
	return e;
}

/* A stateless rule drops it, and that is certain at this hook. */
static bool is_flood(const struct fw_key *key, enum fw_hook hook,
		     struct expected *ret)
{
	struct fw_key k = *key;
	struct fw_result res;

	if (!ask(&k, hook, true, &res) || res.rule == FW_RULE_NONE ||
	    res.verdict != FW_DROP)
		return false;
	*ret = expect_stateless(&k, hook, &res);
	return true;
}

/* Stateless rules that drop come before the checks of addresses. */
static bool is_of_addresses(enum fw_reason reason)
{
	return reason == FW_REASON_DROP_LAND ||
	       reason == FW_REASON_DROP_MARTIAN ||
	       reason == FW_REASON_DROP_SPOOFED_SELF;
}

/*
 * XDP may find members of a set by the addresses alone, before it looks at the rest
 * (kern/front.h): the rule counts then, whatever else is wrong with the packet.
 */
static bool is_front(const struct expected *e, const struct fw_key *k,
		     enum fw_hook hook, const struct outcome *o)
{
	struct expected flood;

	return hook == FW_HOOK_XDP && e->reason != FW_REASON_NONE &&
	       is_flood(k, hook, &flood) && o->n_reasons == 1 &&
	       o->reason == flood.reason && o->slot == flood.slot;
}

static void print_case(uint64_t seed, const struct random_packet *p,
		       enum fw_hook hook, unsigned int iface, int iif)
{
	print_error("seed %llu hook %s iface %u iif %d frame ",
		    (unsigned long long)seed, fw_hook_name(hook), iface, iif);
	for (uint32_t i = 0; i < p->len; i++)
		print_error("%02x", p->frame[i]);
	print_error("\n");
}

static int one_packet(uint64_t seed, struct rng *rng,
		      const struct random_packet *p)
{
	unsigned int iface = rng_below(rng, 4);
	int iif = (int)rng_below(rng, 5) - 1;
	struct outcome o;
	struct expected e, broken;
	struct fw_key k;

	for (int hook = 0; hook < FW_HOOK_MAX; hook++) {
		k = p->key;
		place(&k, (enum fw_hook)hook, iface, iif);
		e = (struct expected){ .reason = sanity_of(
					       p, (enum fw_hook)hook,
					       h.program->options,
					       k.flags & FW_KEY_SRC_SELF) };
		if (is_of_addresses(e.reason))
			(void)is_flood(&k, (enum fw_hook)hook, &e);
		broken = e;
		if (e.reason == FW_REASON_NONE)
			e = expect(&k, (enum fw_hook)hook, p->opens);
		assert_int_equal(harness_run(&h, (enum fw_hook)hook, iface, iif,
					     p->frame, p->len, &o),
				 0);
		if (o.reason == FW_REASON_NEW)
			harness_flush(&h);
		if (o.reason == FW_REASON_DROP_REJECT_LIMIT)
			o.reason = FW_REASON_DROP_REJECT;
		if (o.n_reasons == 1 && o.reason == e.reason &&
		    o.slot == e.slot)
			continue;
		if (is_front(&broken, &k, (enum fw_hook)hook, &o))
			continue;
		print_case(seed, p, (enum fw_hook)hook, iface, iif);
		print_error("is %s slot %u (%u reasons), must be %s slot %u\n",
			    fw_reason_name(o.reason), o.slot, o.n_reasons,
			    fw_reason_name(e.reason), e.slot);
		return -1;
	}
	return 0;
}

static int one_set(uint64_t seed)
{
	struct rng rng = { .state = seed * 0x9e3779b97f4a7c15ull + 1 };
	struct random_packet p;
	size_t size = 0;
	char *text = NULL;
	FILE *out = open_memstream(&text, &size);
	int r = 0;

	assert_non_null(out);
	random_rules(&rng, out, 1 + rng_below(&rng, 12));
	(void)fclose(out);
	if (harness_rules(&h, text)) {
		print_error("seed %llu: rules refused:\n%s",
			    (unsigned long long)seed, text);
		r = -1;
	}
	for (int i = 0; i < PACKETS && !r; i++) {
		random_packet(&rng, &p);
		r = one_packet(seed, &rng, &p);
		if (r)
			print_error("%s", text);
	}
	free(text);
	return r;
}

static uint64_t number(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : fallback;
}

static void agrees_with_interpreter(void **state)
{
	uint64_t first = number("FWCTL_ORACLE_SEED", 1);
	uint64_t sets = number("FWCTL_ORACLE_SETS", 150);
	int bad = 0;

	(void)state;
	for (uint64_t i = 0; i < sets && bad < 3; i++)
		bad += one_set(first + i) != 0;
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_interpreter),
	};
	int r;

	harness_init(&h);
	harness_self(&h, SELF_V4, FW_SELF_ADDRESS);
	harness_self(&h, SELF_V6, FW_SELF_ADDRESS);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	harness_done(&h);
	return r;
}

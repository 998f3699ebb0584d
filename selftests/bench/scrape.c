/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What a scrape costs as the flow table grows: the daemon's own text of /metrics,
 * made beside a table of as many flows.
 *
 *	bench_scrape [--quick]
 *
 * Fails if it takes more than 50 ms, or several times as long as with few flows.
 * What is about rules, which flows have no part in, is left out: there are none.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "user/exposition.h"
#include "user/fill.h"
#include "user/flowtab.h"
#include "user/util.h"

#define LIMIT_NS 50000000ull
#define TIMES	 4u	  /* as long, at most */
#define SLACK_NS 2000000u /* of a machine that does something else as well */
#define SCRAPES	 25u	  /* the quickest one counts */

static struct fw_flowtab *tab;

/* ---- what the exposition asks of the daemon ---------------------------------------- */

const double fw_resync_bounds_s[FW_RESYNC_BUCKETS - 1] = { 1 };

void fw_mirror_stats(const struct fw_mirror *mirror,
		     struct fw_mirror_stats *ret)
{
	(void)mirror;
	*ret = (struct fw_mirror_stats){ .in_sync = true,
					 .flows = fw_flowtab_count(tab) };
}

const char *fw_missed_name(enum fw_missed missed)
{
	(void)missed;
	return "events";
}

const struct fw_census *fw_mirror_census(const struct fw_mirror *mirror)
{
	(void)mirror;
	return fw_flowtab_census(tab);
}

const struct fw_program *fw_daemon_program(const struct fw_daemon *daemon)
{
	(void)daemon;
	return NULL;
}

/* Without rules nobody asks for their part, and without a fill for that. */
void fw_expo_rules(struct fw_metric_out *out, const struct fw_daemon *daemon);
void fw_expo_rules(struct fw_metric_out *out, const struct fw_daemon *daemon)
{
	(void)out;
	(void)daemon;
	abort();
}

/* Nor for this one without a datapath. */
void fw_expo_ipsec(struct fw_metric_out *out, const struct fw_daemon *daemon);
void fw_expo_ipsec(struct fw_metric_out *out, const struct fw_daemon *daemon)
{
	(void)out;
	(void)daemon;
	abort();
}

void fw_fill_stats(const struct fw_fill *fill, struct fw_fill_stats *ret)
{
	(void)fill;
	(void)ret;
	abort();
}

const char *fw_refusal_cause_name(enum fw_refusal_cause cause)
{
	(void)cause;
	abort();
}

uint32_t fw_apply_gen(const struct fw_apply *apply)
{
	(void)apply;
	abort();
}

const struct fw_apply_iface *fw_apply_ifaces(const struct fw_apply *apply,
					     size_t *ret_n)
{
	(void)apply;
	*ret_n = 0;
	abort();
}

void fw_datapath_look(const struct fw_datapath *dp, uint32_t ifindex,
		      struct fw_hooks_found *ret)
{
	(void)dp;
	(void)ifindex;
	(void)ret;
	abort();
}

/* ---- measuring ----------------------------------------------------------------------- */

static int fill_table(uint32_t n)
{
	struct fw_ct ct = { .status = 0,
			    .timeout_s = 600,
			    .has = FW_CT_HAS_STATUS | FW_CT_HAS_TIMEOUT };
	struct fw_entry *entry;
	int r = 0;

	ct.orig.proto = IPPROTO_UDP;
	ct.orig.family = FW_AF_IPV4;
	for (uint32_t i = (uint32_t)fw_flowtab_count(tab); i < n && r == 0;
	     i++) {
		ct.orig.saddr.w[3] = htonl(i);
		ct.id = i + 1;
		fw_tuple_invert(&ct.orig, &ct.reply);
		r = fw_flowtab_ct(tab, FW_CT_NEW, &ct, fw_now_ns(), &entry);
	}
	return r;
}

/* The quickest of some scrapes; 0: the text is not what it should be. */
static uint64_t scrape(const struct fw_daemon *daemon, uint32_t n)
{
	char want[96];
	uint64_t best = UINT64_MAX;

	(void)snprintf(
		want, sizeof(want),
		"fwctl_flows{protocol=\"udp\",state=\"UNREPLIED\"} %" PRIu32
		"\n",
		n);
	for (unsigned int i = 0; i < SCRAPES; i++) {
		uint64_t begin_ns = fw_now_ns(), ns;
		_cleanup_free_ char *text =
			fw_exposition_metrics(daemon, FW_METRIC_OPENMETRICS);

		ns = fw_now_ns() - begin_ns;
		if (!text || !strstr(text, want))
			return 0;
		best = ns < best ? ns : best;
	}
	return best;
}

static int measure(const struct fw_daemon *daemon, uint32_t n,
		   uint64_t *least_ns)
{
	uint64_t ns = fill_table(n) == 0 ? scrape(daemon, n) : 0;

	if (!ns) {
		(void)fprintf(stderr, "no right text of %" PRIu32 " flows\n",
			      n);
		return EXIT_FAILURE;
	}
	(void)printf("%8" PRIu32 " flows: %8.3f ms\n", n, (double)ns / 1e6);
	if (!*least_ns)
		*least_ns = ns;
	if (ns <= LIMIT_NS && ns <= TIMES * *least_ns + SLACK_NS)
		return EXIT_SUCCESS;
	(void)fprintf(stderr, "that is too long\n");
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	static const uint32_t sizes[] = { 1000, 10000, 100000, 1000000 };
	bool is_quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
	struct fw_daemon daemon = { .started = 1 };
	int status = EXIT_SUCCESS;
	uint64_t least_ns = 0;

	/* Only its presence counts: nobody looks into it. */
	daemon.mirror = (struct fw_mirror *)&daemon;
	tab = fw_flowtab_new();
	if (!tab)
		return EXIT_FAILURE;
	for (size_t i = 0; i < ARRAY_SIZE(sizes) - is_quick && !status; i++)
		status = measure(&daemon, sizes[i], &least_ns);
	fw_flowtab_free(tab);
	return status;
}

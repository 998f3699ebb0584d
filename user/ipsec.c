/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The verb that lists security associations: what the kernel says of them, and what XDP
 * has seen.
 */
#include "user/ipsec.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/xfrm.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>

#include "user/counters.h"
#include "user/daemon.h"
#include "user/print.h"
#include "user/steer.h"
#include "user/util.h"

#define MAX_ROWS 16384u

/* ---- what XDP has counted --------------------------------------------------------- */

const char *fw_ipsec_count_name(enum fw_esp_count count)
{
	static const char *const names[] = {
#define COUNT_NAME(sym, name) [FW_ESP_##sym] = (name),
		FW_ESP_COUNTS(COUNT_NAME)
#undef COUNT_NAME
	};

	return names[count];
}

int fw_ipsec_counts(const struct fw_datapath *dp, struct fw_esp_counts *ret)
{
	int n_cpus = fw_counters_values();
	struct fw_esp_counts *values;
	uint32_t zero = 0;
	int r = 0;

	*ret = (struct fw_esp_counts){ 0 };
	if (n_cpus < 0)
		return n_cpus;
	values = calloc((size_t)n_cpus, sizeof(*values));
	if (!values)
		return -ENOMEM;
	if (bpf_map_lookup_elem(fw_datapath_map(dp, FW_MAP_ESP_COUNTS), &zero,
				values) < 0)
		r = -errno;
	for (int cpu = 0; r == 0 && cpu < n_cpus; cpu++) {
		for (size_t i = 0; i < FW_ESP_MAX; i++)
			ret->n[i] += values[cpu].n[i];
	}
	free(values);
	return r;
}

bool fw_ipsec_seen(const struct fw_datapath *dp,
		   const struct fw_sad_entry *entry, struct fw_sa *ret)
{
	const struct fw_sa_key key = { .daddr = entry->dst,
				       .spi = entry->spi,
				       .proto = entry->proto,
				       .family = entry->family };

	*ret = (struct fw_sa){ 0 };
	return bpf_map_lookup_elem(fw_datapath_map(dp, FW_MAP_SAS), &key,
				   ret) == 0;
}

const char *fw_ipsec_mode_name(uint8_t mode)
{
	static const char *const names[] = {
		[XFRM_MODE_TRANSPORT] = "transport",
		[XFRM_MODE_TUNNEL] = "tunnel",
		[XFRM_MODE_ROUTEOPTIMIZATION] = "ro",
		[XFRM_MODE_IN_TRIGGER] = "in-trigger",
		[XFRM_MODE_BEET] = "beet",
	};

	return mode < ARRAY_SIZE(names) ? names[mode] : "other";
}

/* ---- one association --------------------------------------------------------------- */

struct listing {
	const struct fw_daemon *daemon;
	struct ifaddrs *own;
	struct fw_esp_steer *steer; /* NULL: nothing is steered */
	json_t *rows;
	uint64_t more; /* that are too many */
	int64_t now;
};

static bool is_own(const struct listing *listing, const struct fw_addr *addr,
		   uint8_t family)
{
	for (const struct ifaddrs *i = listing->own; i; i = i->ifa_next) {
		const struct sockaddr_in6 *v6 = (const void *)i->ifa_addr;
		const struct sockaddr_in *v4 = (const void *)i->ifa_addr;

		if (!i->ifa_addr)
			continue;
		if (family == FW_AF_IPV4 && v4->sin_family == AF_INET &&
		    v4->sin_addr.s_addr == addr->w[3])
			return true;
		if (family == FW_AF_IPV6 && v6->sin6_family == AF_INET6 &&
		    memcmp(&v6->sin6_addr, addr, sizeof(*addr)) == 0)
			return true;
	}
	return false;
}

/* Older kernels do not say; then it is the side that is us, if just one is. */
static json_t *direction_json(const struct listing *listing,
			      const struct fw_sad_entry *e)
{
	bool is_in = is_own(listing, &e->dst, e->family);
	bool is_out = is_own(listing, &e->src, e->family);

	if (e->direction == 1 || (!e->direction && is_in && !is_out))
		return json_string("in");
	if (e->direction == 2 || (!e->direction && is_out && !is_in))
		return json_string("out");
	return json_null();
}

static json_t *number_or_null(uint64_t n)
{
	return n ? fw_json_u64(n) : json_null();
}

static json_t *encap_json(const struct fw_sad_entry *e)
{
	if (!e->encap_dport)
		return json_null();
	return json_pack("{s:i, s:i}", "source_port", e->encap_sport,
			 "destination_port", e->encap_dport);
}

static json_t *age_json(const struct listing *listing, uint64_t since)
{
	int64_t age = listing->now - (int64_t)since;

	return since ? json_integer(age > 0 ? age : 0) : json_null();
}

/* How many seconds are left until a limit after it was added. */
static json_t *left_json(const struct listing *listing,
			 const struct fw_sad_entry *e, uint64_t seconds)
{
	if (!seconds || seconds > INT32_MAX)
		return json_null();
	return json_integer((int64_t)e->added + (int64_t)seconds -
			    listing->now);
}

static void add_kernel(json_t *json, const struct listing *listing,
		       const struct fw_sad_entry *e)
{
	(void)fw_json_set(json, "packets", fw_json_u64(e->packets));
	(void)fw_json_set(json, "bytes", fw_json_u64(e->bytes));
	(void)fw_json_set(json, "replays", json_integer(e->replays));
	(void)fw_json_set(json, "integrity_failed",
			  json_integer(e->integrity_failed));
	(void)fw_json_set(json, "age", age_json(listing, e->added));
	(void)fw_json_set(json, "idle", age_json(listing, e->used));
	(void)fw_json_set(json, "rekey_in",
			  left_json(listing, e, e->soft_seconds));
	(void)fw_json_set(json, "ends_in",
			  left_json(listing, e, e->hard_seconds));
	(void)fw_json_set(json, "soft_bytes", number_or_null(e->soft_bytes));
	(void)fw_json_set(json, "hard_bytes", number_or_null(e->hard_bytes));
}

/* Where it is steered to; null: nowhere so far. */
static json_t *cpu_json(const struct listing *listing, const struct fw_sa *sa)
{
	int cpu = listing->steer ? fw_steer_cpu(listing->steer, sa->steer) : -1;

	return cpu < 0 ? json_null() : json_integer(cpu);
}

static void add_xdp(json_t *json, const struct listing *listing,
		    const struct fw_sad_entry *e)
{
	struct fw_sa sa;
	bool is_seen = fw_ipsec_seen(listing->daemon->datapath, e, &sa);

	(void)fw_json_set(json, "xdp_packets",
			  is_seen ? fw_json_u64(sa.packets) : json_null());
	(void)fw_json_set(json, "xdp_bytes",
			  is_seen ? fw_json_u64(sa.bytes) : json_null());
	(void)fw_json_set(json, "xdp_replays",
			  is_seen ? fw_json_u64(sa.replayed) : json_null());
	(void)fw_json_set(json, "cpu", cpu_json(listing, &sa));
}

static json_t *entry_json(const struct listing *listing,
			  const struct fw_sad_entry *e)
{
	char src[FW_ADDR_TEXT], dst[FW_ADDR_TEXT], proto[8];
	json_t *json;

	json = json_pack(
		"{s:o, s:s, s:s, s:s, s:o, s:I, s:s, s:o, s:s, s:o, "
		"s:o, s:b, s:I}",
		"direction", direction_json(listing, e), "source",
		fw_address_print(src, &e->src, e->family), "destination",
		fw_address_print(dst, &e->dst, e->family), "protocol",
		fw_protocol_print(proto, e->proto), "spi",
		json_sprintf("0x%08x", ntohl(e->spi)), "reqid",
		(json_int_t)e->reqid, "mode", fw_ipsec_mode_name(e->mode),
		"encapsulation", encap_json(e), "state",
		e->is_larval ? "larval" : "valid", "interface_id",
		number_or_null(e->if_id), "mark",
		e->mask ? json_sprintf("0x%x/0x%x", e->mark, e->mask)
			: json_null(),
		"esn", e->is_esn, "replay_window", (json_int_t)e->window);
	if (!json)
		return NULL;
	add_kernel(json, listing, e);
	add_xdp(json, listing, e);
	return json;
}

static int add_entry(void *data, const struct fw_sad_entry *entry)
{
	struct listing *listing = data;

	if (json_array_size(listing->rows) >= MAX_ROWS) {
		listing->more++;
		return 0;
	}
	return json_array_append_new(listing->rows,
				     entry_json(listing, entry)) < 0
		       ? -ENOMEM
		       : 0;
}

/* ---- all of them --------------------------------------------------------------------- */

static json_t *counts_json(const struct fw_daemon *daemon)
{
	struct fw_esp_counts counts;
	json_t *json = json_object();

	if (fw_ipsec_counts(daemon->datapath, &counts) < 0)
		return json;
	for (int i = 0; i < FW_ESP_MAX; i++)
		(void)fw_json_set(json,
				  fw_ipsec_count_name((enum fw_esp_count)i),
				  fw_json_u64(counts.n[i]));
	return json;
}

/* Packets by the CPU that they were steered to; none: nothing is, nor was it. */
static json_t *steering_json(const struct fw_daemon *daemon,
			     const struct fw_esp_steer *steer)
{
	_cleanup_free_ uint64_t *counts =
		calloc(FW_MAX_STEER_CPUS, sizeof(*counts));
	json_t *list = json_array();
	bool is_chosen;

	if (!counts || fw_steer_counts(daemon->datapath, counts) < 0)
		return list;
	for (uint32_t cpu = 0; cpu < FW_MAX_STEER_CPUS; cpu++) {
		is_chosen = steer && steer->has[cpu / 64] >> cpu % 64 & 1;
		if (!is_chosen && !counts[cpu])
			continue;
		(void)json_array_append_new(
			list, json_pack("{s:I, s:b, s:o}", "cpu",
					(json_int_t)cpu, "chosen", is_chosen,
					"packets", fw_json_u64(counts[cpu])));
	}
	return list;
}

/* What the programs know, while rules ask for it; malloc()ed. */
static struct fw_esp_steer *read_steer(const struct fw_daemon *daemon)
{
	const struct fw_program *program = fw_daemon_program(daemon);
	struct fw_esp_steer *steer;

	if (program && !(program->options & FW_OPT_ESP_STEER))
		return NULL;
	steer = malloc(sizeof(*steer));
	if (steer && fw_steer_read(daemon->datapath, steer) < 0)
		free(take_ptr(steer));
	return steer;
}

/* A dump that changes underneath is begun anew, a few times. */
static int list_all(struct listing *listing)
{
	int r = -EINTR;

	for (int i = 0; i < 5 && r == -EINTR; i++) {
		json_decref(listing->rows);
		listing->rows = json_array();
		listing->more = 0;
		r = listing->rows ? fw_sad_dump(add_entry, listing) : -ENOMEM;
	}
	return r == -EINTR ? 0 : r;
}

void fw_handle_ipsec(void *data, struct fw_request *request, const json_t *args)
{
	const struct fw_daemon *daemon = data;
	struct listing listing = { .daemon = daemon, .now = time(NULL) };
	int r;

	(void)args;
	if (!fw_daemon_check_loaded(daemon, request))
		return;
	listing.steer = read_steer(daemon);
	if (getifaddrs(&listing.own) < 0)
		listing.own = NULL;
	r = list_all(&listing);
	if (listing.own)
		freeifaddrs(listing.own);
	if (r < 0) {
		json_decref(listing.rows);
		free(listing.steer);
		fw_reply_error(request, FW_EXIT_KERNEL,
			       "cannot list security associations: %s",
			       strerror(-r));
		return;
	}
	fw_reply_array(request, "associations", listing.rows,
		       json_pack("{s:o, s:o, s:o}", "lookups",
				 counts_json(daemon), "steering",
				 steering_json(daemon, listing.steer), "more",
				 fw_json_u64(listing.more)));
	free(listing.steer);
}

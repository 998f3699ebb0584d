/* SPDX-License-Identifier: GPL-2.0-only */

/* The metrics fwctl_ipsec_*: of lookups in XDP, and of each association, if not too many. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "user/expoparts.h"
#include "user/ipsec.h"
#include "user/print.h"
#include "user/steer.h"
#include "user/util.h"

#define MAX_SHOWN 1024u

struct shown {
	struct fw_sad_entry *entries;
	struct fw_sa *seen;
	size_t n;
	uint64_t all;
};

/* States that wait for IKE have no SPI: many are alike. */
static int take(void *data, const struct fw_sad_entry *entry)
{
	struct shown *shown = data;

	shown->all++;
	if (entry->spi && shown->n < MAX_SHOWN)
		shown->entries[shown->n++] = *entry;
	return 0;
}

static void put(struct fw_metric_out *out, const struct fw_metric *metric,
		const struct fw_sad_entry *e, uint64_t value)
{
	char dst[FW_ADDR_TEXT], proto[8], spi[16], reqid[16], mark[24] = "";

	(void)snprintf(spi, sizeof(spi), "0x%08x", ntohl(e->spi));
	(void)snprintf(reqid, sizeof(reqid), "%u", e->reqid);
	if (e->mask)
		(void)snprintf(mark, sizeof(mark), "0x%x/0x%x", e->mark,
			       e->mask);
	fw_metric_put(out, metric,
		      FW_LABELS("dst",
				fw_address_print(dst, &e->dst, e->family),
				"proto", fw_protocol_print(proto, e->proto),
				"spi", spi, "reqid", reqid, "mark", mark),
		      value);
}

static void write_entries(struct fw_metric_out *out, const struct shown *shown)
{
	static const struct fw_metric packets = {
		"fwctl_ipsec_packets_total", "counter",
		"Packets that the kernel has counted for a security association."
	};
	static const struct fw_metric bytes = {
		"fwctl_ipsec_bytes_total", "counter",
		"Bytes that the kernel has counted for a security association."
	};
	static const struct fw_metric xdp = {
		"fwctl_ipsec_xdp_packets_total", "counter",
		"Packets of a security association that XDP has looked up."
	};
	static const struct fw_metric replays = {
		"fwctl_ipsec_xdp_replays_total", "counter",
		"Packets of a security association that XDP found replayed."
	};

	if (!shown->n) /* a family without samples is none */
		return;
	fw_metric_begin(out, &packets);
	for (size_t i = 0; i < shown->n; i++)
		put(out, &packets, &shown->entries[i],
		    shown->entries[i].packets);
	fw_metric_begin(out, &bytes);
	for (size_t i = 0; i < shown->n; i++)
		put(out, &bytes, &shown->entries[i], shown->entries[i].bytes);
	fw_metric_begin(out, &xdp);
	for (size_t i = 0; i < shown->n; i++)
		put(out, &xdp, &shown->entries[i], shown->seen[i].packets);
	fw_metric_begin(out, &replays);
	for (size_t i = 0; i < shown->n; i++)
		put(out, &replays, &shown->entries[i], shown->seen[i].replayed);
}

static void write_lookups(struct fw_metric_out *out,
			  const struct fw_daemon *daemon)
{
	static const struct fw_metric lookups = {
		"fwctl_ipsec_lookups_total", "counter",
		"IPsec packets that XDP has looked up, and errors of lookups, by result."
	};
	struct fw_esp_counts counts;

	if (fw_ipsec_counts(daemon->datapath, &counts) < 0) {
		out->is_broken = true;
		return;
	}
	fw_metric_begin(out, &lookups);
	for (int i = 0; i < FW_ESP_MAX; i++)
		fw_metric_put(out, &lookups,
			      FW_LABELS("result", fw_ipsec_count_name((
							  enum fw_esp_count)i)),
			      counts.n[i]);
}

/* Those that are steered to, and those that were. */
static void write_steered(struct fw_metric_out *out,
			  const struct fw_daemon *daemon)
{
	static const struct fw_metric steered = {
		"fwctl_ipsec_steered_packets_total", "counter",
		"IPsec packets that XDP has handed over to a CPU, by option esp-steer."
	};
	_cleanup_free_ uint64_t *counts =
		calloc(FW_MAX_STEER_CPUS, sizeof(*counts));
	struct fw_esp_steer steer;
	bool has_begun = false;
	char cpu[16];

	if (!counts || fw_steer_read(daemon->datapath, &steer) < 0 ||
	    fw_steer_counts(daemon->datapath, counts) < 0) {
		out->is_broken = true;
		return;
	}
	for (uint32_t i = 0; i < FW_MAX_STEER_CPUS; i++) {
		if (!(steer.has[i / 64] >> i % 64 & 1) && !counts[i])
			continue;
		if (!has_begun) /* a family without samples is none */
			fw_metric_begin(out, &steered);
		has_begun = true;
		(void)snprintf(cpu, sizeof(cpu), "%u", i);
		fw_metric_put(out, &steered, FW_LABELS("cpu", cpu), counts[i]);
	}
}

void fw_expo_ipsec(struct fw_metric_out *out, const struct fw_daemon *daemon)
{
	static const struct fw_metric all = {
		"fwctl_ipsec_associations", "gauge",
		"Security associations in the network namespace; 1024 have metrics of their own."
	};
	struct shown shown = { 0 };
	int r = -EINTR;

	write_lookups(out, daemon);
	write_steered(out, daemon);
	shown.entries = calloc(MAX_SHOWN, sizeof(*shown.entries));
	shown.seen = calloc(MAX_SHOWN, sizeof(*shown.seen));
	for (int i = 0; i < 5 && r == -EINTR; i++) {
		shown.n = 0;
		shown.all = 0;
		r = shown.entries && shown.seen ? fw_sad_dump(take, &shown)
						: -ENOMEM;
	}
	if (r < 0) {
		out->is_broken = true;
	} else {
		for (size_t i = 0; i < shown.n; i++)
			(void)fw_ipsec_seen(daemon->datapath, &shown.entries[i],
					    &shown.seen[i]);
		fw_metric_one(out, &all, shown.all);
		write_entries(out, &shown);
	}
	free(shown.entries);
	free(shown.seen);
}

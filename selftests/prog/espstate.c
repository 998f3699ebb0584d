/* SPDX-License-Identifier: GPL-2.0-only */

/* Maps of the programs about security associations -> JSON. */

#include "espstate.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "kern/esp_abi.h"
#include "user/skel.h"
#include "user/util.h"

void esp_put_marks(struct harness *h, const json_t *marks, bool unknown)
{
	struct fw_esp_marks value = { .unknown = unknown };
	uint32_t zero = 0;
	size_t i;
	const json_t *mark;

	json_array_foreach(marks, i, mark)
	{
		if (i >= FW_MAX_ESP_MARKS)
			errx(1, "too many marks");
		value.mark[i] = (uint32_t)json_integer_value(mark);
		value.n = (uint32_t)i + 1;
	}
	if (bpf_map_update_elem(bpf_map__fd(h->skel->maps.esp_marks), &zero,
				&value, BPF_ANY))
		err(1, "esp_marks");
}

static json_t *ms_ago(uint64_t at_ns)
{
	struct timespec ts;

	if (!at_ns)
		return json_null();
	if (clock_gettime(CLOCK_MONOTONIC_COARSE, &ts))
		err(1, "clock_gettime");
	return json_integer(((int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec -
			     (int64_t)at_ns) /
			    1000000);
}

static json_t *sa_json(const struct fw_sa_key *key, const struct fw_sa *sa)
{
	char dst[INET6_ADDRSTRLEN];

	if (key->family == FW_AF_IPV4)
		(void)inet_ntop(AF_INET, &key->daddr.w[3], dst, sizeof(dst));
	else
		(void)inet_ntop(AF_INET6, &key->daddr, dst, sizeof(dst));
	return json_pack(
		"{s:s, s:I, s:i, s:o, s:o, s:I, s:I, s:I}", "dst", dst, "spi",
		(json_int_t)ntohl(key->spi), "proto", key->proto, "valid",
		ms_ago(sa->valid_ns), "larval", ms_ago(sa->larval_ns),
		"packets", (json_int_t)sa->packets, "bytes",
		(json_int_t)sa->bytes, "replayed", (json_int_t)sa->replayed);
}

json_t *esp_sas(struct harness *h)
{
	int fd = bpf_map__fd(h->skel->maps.sas);
	struct fw_sa_key key, *last = NULL;
	json_t *list = json_array();
	struct fw_sa sa;

	while (bpf_map_get_next_key(fd, last, &key) == 0) {
		if (bpf_map_lookup_elem(fd, &key, &sa) == 0)
			json_array_append_new(list, sa_json(&key, &sa));
		last = &key;
	}
	return list;
}

static struct fw_esp_counts *counts_of(struct harness *h)
{
	struct fw_esp_counts *values;
	int n = libbpf_num_possible_cpus();
	uint32_t zero = 0;

	values = n > 0 ? calloc((size_t)n, sizeof(*values)) : NULL;
	if (!values)
		errx(1, "processors");
	if (bpf_map_lookup_elem(bpf_map__fd(h->skel->maps.esp_counts), &zero,
				values))
		err(1, "esp_counts");
	return values;
}

json_t *esp_counts(struct harness *h)
{
	static const char *const names[] = {
#define ESP_NAME(sym, name) name,
		FW_ESP_COUNTS(ESP_NAME)
#undef ESP_NAME
	};
	struct fw_esp_counts *values = counts_of(h);
	json_t *json = json_object();

	for (size_t i = 0; i < FW_ESP_MAX; i++) {
		json_int_t sum = 0;

		for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++)
			sum += (json_int_t)values[cpu].n[i];
		json_object_set_new(json, names[i], json_integer(sum));
	}
	free(values);
	return json;
}

static int on_record(void *list, void *data, size_t size)
{
	const struct fw_event *e = data;

	if (size >= sizeof(*e) && e->type == FW_EVENT_ESP)
		json_array_append_new(
			list,
			json_pack("{s:I, s:i, s:i, s:b, s:s}", "spi",
				  (json_int_t)ntohl(e->spi), "proto",
				  e->tuple.proto, "family", e->tuple.family,
				  "drop", e->verdict == FW_DROP, "reason",
				  fw_reason_name((enum fw_reason)e->reason)));
	return 0;
}

static json_int_t suppressed(struct harness *h)
{
	size_t n = (size_t)libbpf_num_possible_cpus();
	struct fw_log_budget *values = calloc(n, sizeof(*values));
	uint32_t index = FW_LOG_BUDGET_ESP;
	json_int_t sum = 0;

	if (!values ||
	    bpf_map_lookup_elem(bpf_map__fd(h->skel->maps.log_budgets), &index,
				values))
		err(1, "log_budgets");
	for (size_t cpu = 0; cpu < n; cpu++)
		sum += (json_int_t)values[cpu].suppressed;
	free(values);
	return sum;
}

json_t *esp_events(struct harness *h)
{
	json_t *list = json_array();
	struct ring_buffer *ring = ring_buffer__new(
		bpf_map__fd(h->skel->maps.events), on_record, list, NULL);

	if (!ring || ring_buffer__consume(ring) < 0)
		errx(1, "ring buffer");
	ring_buffer__free(ring);
	return json_pack("{s:o, s:I}", "records", list, "suppressed",
			 suppressed(h));
}

void esp_ahead(struct harness *h)
{
	int fd = bpf_map__fd(h->skel->maps.sas);
	struct fw_sa_key key, *last = NULL;
	struct fw_sa sa;

	for (; bpf_map_get_next_key(fd, last, &key) == 0; last = &key) {
		if (bpf_map_lookup_elem(fd, &key, &sa))
			err(1, "sas");
		if (sa.valid_ns)
			sa.valid_ns += 1000000000;
		if (sa.larval_ns)
			sa.larval_ns += 1000000000;
		if (bpf_map_update_elem(fd, &key, &sa, BPF_EXIST))
			err(1, "sas");
	}
}

void esp_flush(struct harness *h)
{
	struct fw_esp_counts *values = counts_of(h);
	int fd = bpf_map__fd(h->skel->maps.sas);
	struct fw_sa_key key;
	uint32_t zero = 0;

	while (bpf_map_get_next_key(fd, NULL, &key) == 0)
		if (bpf_map_delete_elem(fd, &key) && errno != ENOENT)
			err(1, "sas");
	memset(values, 0, (size_t)libbpf_num_possible_cpus() * sizeof(*values));
	if (bpf_map_update_elem(bpf_map__fd(h->skel->maps.esp_counts), &zero,
				values, BPF_ANY))
		err(1, "esp_counts");
	free(values);
	json_decref(esp_events(h));
}

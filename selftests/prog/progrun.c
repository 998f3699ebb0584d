/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The harness as a process: commands on stdin, one JSON object a line on stdout.
 * The tests that craft packets (test_*.py, scapy) talk to it.
 *
 *   {"rules": TEXT}                          -> {"ok": true}
 *   {"self": ADDR, "flags": N}               -> {"ok": true}
 *   {"room": N, "half_open": S, "seconds": S} -> {"ok": true}
 *   {"adopt": SECONDS}   of the next rules  -> {"ok": true}
 *   {"slave": I}   of if0, for the next rules, or 0 -> {"ok": true}
 *   {"ipsec": BITS}   interfaces of IPsec's, for the next rules -> {"ok": true}
 *   {"flush": true}                          -> {"ok": true}
 *   {"evict": true}      all of flow_info    -> {"ok": true}
 *   {"sh": COMMAND}      in its namespace    -> {"exit": N, "out": TEXT}
 *   {"marks": [M], "unknown": B}             -> {"ok": true}
 *   {"esp": true}        -> {"sas": [...], "counts": {...}, "events": {...}}
 *   {"esp_ahead": true}  as of a clock that is a second ahead -> {"ok": true}
 *   {"esp_flush": true}                      -> {"ok": true}
 *   {"repeat": N, "frame": HEX}   XDP on if0, nothing is looked at -> {"ok": B}
 *   {"hook": H, "iface": I, "iif": J, "frame": HEX}
 *                     -> {"drop": B, "reason": R, "rule": LABEL|null, ...}
 */

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "espstate.h"
#include "harness.h"
#include "user/skel.h"

static const char *slot_label(const struct harness *h, uint32_t slot)
{
	if (!slot)
		return NULL;
	if (slot <= h->program->n_rows)
		return h->program->rows[slot - 1].label;
	return fw_default_label(
		(enum fw_dir)(slot - 1 - (uint32_t)h->program->n_rows));
}

static size_t from_hex(const char *hex, uint8_t *ret, size_t size)
{
	size_t n = strlen(hex) / 2;
	unsigned int byte;

	if (n > size)
		errx(1, "frame of %zu bytes is too long", n);
	for (size_t i = 0; i < n; i++) {
		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			errx(1, "bad hex");
		ret[i] = (uint8_t)byte;
	}
	return n;
}

static char *to_hex(const uint8_t *data, size_t n)
{
	char *hex = malloc(2 * n + 1);

	if (!hex)
		err(1, "malloc");
	hex[0] = '\0';
	for (size_t i = 0; i < n; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", data[i]);
	return hex;
}

static json_t *run(struct harness *h, const json_t *request)
{
	static const char *const hooks[] = { "xdp", "ingress", "egress" };
	const char *hook = json_string_value(json_object_get(request, "hook"));
	const char *hex = json_string_value(json_object_get(request, "frame"));
	const json_t *iif = json_object_get(request, "iif");
	static struct outcome o;
	uint8_t frame[HARNESS_MAX_FRAME];
	json_t *reply;
	size_t len;
	char *out;
	int i = 0;

	if (!hook || !hex)
		errx(1, "hook and frame are needed");
	while (i < FW_HOOK_MAX && strcmp(hooks[i], hook))
		i++;
	if (i == FW_HOOK_MAX)
		errx(1, "'%s' is no hook", hook);
	len = from_hex(hex, frame, sizeof(frame));
	if (harness_run(h, (enum fw_hook)i,
			(unsigned int)json_integer_value(
				json_object_get(request, "iface")),
			iif ? (int)json_integer_value(iif) : -1, frame,
			(uint32_t)len, &o))
		return json_pack("{s:s}", "error", "the kernel refused");
	out = to_hex(o.data, o.len);
	reply = json_pack("{s:b, s:s, s:i, s:s?, s:i, s:i, s:I, s:s}", "drop",
			  o.drop, "reason", fw_reason_name(o.reason),
			  "n_reasons", (int)o.n_reasons, "rule",
			  slot_label(h, o.slot), "n_rules", (int)o.n_slots,
			  "action", o.action, "bytes", (json_int_t)o.bytes,
			  "frame", out);
	free(out);
	return reply;
}

static void put_pressure(struct harness *h, const json_t *request)
{
	harness_pressure(h,
			 json_integer_value(json_object_get(request, "room")),
			 (uint32_t)json_integer_value(
				 json_object_get(request, "half_open")),
			 (uint32_t)json_integer_value(
				 json_object_get(request, "seconds")));
}

/* A command in the namespace of the programs, and what it has said. */
static json_t *run_command(const char *command)
{
	char text[65536];
	size_t n;
	FILE *out = popen(command, "re");

	if (!out)
		err(1, "popen");
	n = fread(text, 1, sizeof(text) - 1, out);
	text[n] = '\0';
	return json_pack("{s:i, s:s}", "exit", pclose(out), "out", text);
}

/* One frame so many times. */
static json_t *repeat(struct harness *h, const json_t *request, int n)
{
	uint8_t frame[HARNESS_MAX_FRAME];
	uint32_t len = (uint32_t)from_hex(
		json_string_value(json_object_get(request, "frame")), frame,
		sizeof(frame));
	struct xdp_md xdp = { .data_end = len,
			      .ingress_ifindex = h->ifindex[0] };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame,
		    .data_size_in = len, .repeat = n, .ctx_in = &xdp,
		    .ctx_size_in = sizeof(xdp));

	return json_pack(
		"{s:b}", "ok",
		bpf_prog_test_run_opts(bpf_program__fd(h->skel->progs.fw_xdp),
				       &opts) == 0);
}

/* About security associations; NULL: it is not. */
static json_t *handle_esp(struct harness *h, const json_t *request)
{
	const char *text = json_string_value(json_object_get(request, "sh"));

	if (text)
		return run_command(text);
	if (json_object_get(request, "marks")) {
		esp_put_marks(
			h, json_object_get(request, "marks"),
			json_is_true(json_object_get(request, "unknown")));
		return json_pack("{s:b}", "ok", 1);
	}
	if (json_object_get(request, "esp"))
		return json_pack("{s:o, s:o, s:o}", "sas", esp_sas(h), "counts",
				 esp_counts(h), "events", esp_events(h));
	if (json_object_get(request, "esp_ahead")) {
		esp_ahead(h);
		return json_pack("{s:b}", "ok", 1);
	}
	if (json_object_get(request, "esp_flush")) {
		esp_flush(h);
		return json_pack("{s:b}", "ok", 1);
	}
	if (json_object_get(request, "repeat"))
		return repeat(h, request,
			      (int)json_integer_value(
				      json_object_get(request, "repeat")));
	return NULL;
}

static json_t *handle(struct harness *h, const json_t *request)
{
	const char *text;
	json_t *reply;

	reply = handle_esp(h, request);
	if (reply)
		return reply;
	text = json_string_value(json_object_get(request, "rules"));
	if (text)
		return json_pack("{s:b}", "ok", harness_rules(h, text) == 0);
	text = json_string_value(json_object_get(request, "self"));
	if (text) {
		harness_self(h, text,
			     (uint32_t)json_integer_value(
				     json_object_get(request, "flags")));
		return json_pack("{s:b}", "ok", 1);
	}
	if (json_object_get(request, "room")) {
		put_pressure(h, request);
		return json_pack("{s:b}", "ok", 1);
	}
	if (json_object_get(request, "adopt")) {
		harness_adopt(h, (uint64_t)json_integer_value(
					 json_object_get(request, "adopt")));
		return json_pack("{s:b}", "ok", 1);
	}
	if (json_object_get(request, "flush_conntrack")) {
		harness_flush_conntrack();
		return json_pack("{s:b}", "ok", 1);
	}
	if (json_object_get(request, "evict")) {
		harness_evict(h);
		return json_pack("{s:b}", "ok", 1);
	}
	if (json_object_get(request, "slave")) {
		h->slave = (unsigned int)json_integer_value(
			json_object_get(request, "slave"));
		return json_pack("{s:b}", "ok", 1);
	}
	if (json_object_get(request, "ipsec")) {
		h->ipsec = (unsigned int)json_integer_value(
			json_object_get(request, "ipsec"));
		return json_pack("{s:b}", "ok", 1);
	}
	if (json_object_get(request, "flush")) {
		harness_flush(h);
		return json_pack("{s:b}", "ok", 1);
	}
	return run(h, request);
}

int main(void)
{
	struct harness h;
	json_t *request, *reply;
	json_error_t error;
	char *line = NULL, *text;
	size_t size = 0;

	harness_init(&h);
	while (getline(&line, &size, stdin) > 0) {
		request = json_loads(line, 0, &error);
		if (!request)
			errx(1, "bad request: %s", error.text);
		reply = handle(&h, request);
		text = json_dumps(reply, JSON_COMPACT);
		if (!text)
			err(1, "json_dumps");
		puts(text);
		(void)fflush(stdout);
		free(text);
		json_decref(reply);
		json_decref(request);
	}
	free(line);
	harness_done(&h);
	return 0;
}

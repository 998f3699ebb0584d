/* SPDX-License-Identifier: GPL-2.0-only */

/* Replies of the daemon as samples of what `fwctl top` shows. */
#include "user/topfeed.h"

#include <stdio.h>
#include <string.h>

#include "user/json.h"

static uint64_t count(const json_t *object, const char *key)
{
	return (uint64_t)fw_json_get(object, key);
}

/* ---- interfaces and reasons ----------------------------------------------------------- */

static int put_hook(struct fw_top_model *model, const json_t *iface,
		    const json_t *hook)
{
	const json_t *accept = json_object_get(hook, "accept");
	const json_t *drop = json_object_get(hook, "drop");
	const uint64_t counts[FW_TOP_COUNTS] = {
		count(accept, "packets") + count(drop, "packets"),
		count(accept, "bytes") + count(drop, "bytes"),
		count(drop, "packets"),
	};
	char name[64];

	if (!counts[0])
		return 0;
	(void)snprintf(name, sizeof(name), "%s %s",
		       fw_json_get_text(iface, "name", "?"),
		       fw_json_get_text(hook, "hook", "?"));
	return fw_top_put(model, name, NULL, counts, NULL);
}

static int put_interfaces(struct fw_top_model *model, const json_t *list)
{
	const json_t *iface, *hook;
	size_t i, j;
	int r = 0;

	json_array_foreach(list, i, iface)
	{
		const json_t *hooks = json_object_get(iface, "hooks");

		json_array_foreach(hooks, j, hook)
		{
			if (r == 0)
				r = put_hook(model, iface, hook);
		}
	}
	return r;
}

static int put_reasons(struct fw_top_model *model, const json_t *list)
{
	const json_t *reason;
	size_t i;
	int r = 0;

	json_array_foreach(list, i, reason)
	{
		const uint64_t counts[FW_TOP_COUNTS] = {
			count(reason, "packets"),
			count(reason, "bytes"),
		};

		if (r == 0 && counts[0] &&
		    json_is_true(json_object_get(reason, "drop")))
			r = fw_top_put(model,
				       fw_json_get_text(reason, "reason", "?"),
				       fw_json_get_text(reason, "text", ""),
				       counts, NULL);
	}
	return r;
}

int fw_top_feed_status(struct fw_top_model *model, const json_t *result,
		       uint64_t now_ns)
{
	int r;

	fw_top_begin(model, now_ns);
	if (fw_top_model_view(model) == FW_TOP_INTERFACES)
		r = put_interfaces(model,
				   json_object_get(result, "interfaces"));
	else
		r = put_reasons(model, json_object_get(result, "reasons"));
	fw_top_end(model);
	return r;
}

/* ---- rules ---------------------------------------------------------------------------- */

int fw_top_feed_rules(struct fw_top_model *model, const json_t *result,
		      uint64_t now_ns)
{
	const json_t *list = json_object_get(result, "rules"), *rule;
	size_t i;
	int r = 0;

	fw_top_begin(model, now_ns);
	json_array_foreach(list, i, rule)
	{
		const uint64_t counts[FW_TOP_COUNTS] = {
			count(rule, "packets"),
			count(rule, "bytes"),
			count(rule, "flows"),
		};

		if (r == 0)
			r = fw_top_put(model,
				       fw_json_get_text(rule, "label", "?"),
				       NULL, counts, NULL);
	}
	fw_top_end(model);
	return r;
}

/* ---- flows and sources ------------------------------------------------------------------ */

static void rates_of(const json_t *row, double rates[FW_TOP_COUNTS])
{
	memset(rates, 0, FW_TOP_COUNTS * sizeof(*rates));
	rates[0] = json_number_value(json_object_get(row, "packet_rate"));
	rates[1] = json_number_value(json_object_get(row, "byte_rate"));
}

static int put_source(struct fw_top_model *model, const json_t *source)
{
	const uint64_t counts[FW_TOP_COUNTS] = { 0, 0, count(source, "flows") };
	double rates[FW_TOP_COUNTS];

	rates_of(source, rates);
	return fw_top_put(model, fw_json_get_text(source, "source", "?"), NULL,
			  counts, rates);
}

static void print_endpoint(const json_t *tuple, const char *address_key,
			   const char *port_key, char *text, size_t size)
{
	const char *address = fw_json_get_text(tuple, address_key, "?");

	if (!json_object_get(tuple, port_key))
		(void)snprintf(text, size, "%s", address);
	else
		(void)snprintf(text, size,
			       strchr(address, ':') ? "[%s]:%lld" : "%s:%lld",
			       address, fw_json_get(tuple, port_key));
}

static int put_flow(struct fw_top_model *model, const json_t *flow)
{
	const json_t *tuple = json_object_get(flow, "original");
	const uint64_t counts[FW_TOP_COUNTS] = { count(flow, "packets"),
						 count(flow, "bytes") };
	char name[192], from[64], to[64], id[32] = "";
	double rates[FW_TOP_COUNTS];

	print_endpoint(tuple, "source", "source_port", from, sizeof(from));
	print_endpoint(tuple, "destination", "destination_port", to,
		       sizeof(to));
	if (json_object_get(tuple, "id"))
		(void)snprintf(id, sizeof(id), " id %lld",
			       fw_json_get(tuple, "id"));
	(void)snprintf(name, sizeof(name), "%s %s -> %s%s",
		       fw_json_get_text(flow, "protocol", "?"), from, to, id);
	rates_of(flow, rates);
	return fw_top_put(model, name, fw_json_get_text(flow, "rule", "?"),
			  counts, rates);
}

int fw_top_feed_flows(struct fw_top_model *model, const json_t *item,
		      uint64_t now_ns)
{
	bool is_flows = fw_top_model_view(model) == FW_TOP_FLOWS;
	const json_t *list, *row;
	size_t i;
	int r = 0;

	list = json_object_get(item, is_flows ? "flows" : "sources");
	fw_top_begin(model, now_ns);
	json_array_foreach(list, i, row)
	{
		if (r == 0)
			r = is_flows ? put_flow(model, row)
				     : put_source(model, row);
	}
	fw_top_end(model);
	return r;
}

/* ---- text ------------------------------------------------------------------------------- */

void fw_top_summary(const json_t *result, char text[FW_TOP_SUMMARY])
{
	const json_t *conntrack = json_object_get(result, "conntrack");
	const json_t *mirror = json_object_get(result, "mirror");
	long long entries = fw_json_get(conntrack, "entries");
	long long limit = fw_json_get(conntrack, "limit");

	(void)snprintf(text, FW_TOP_SUMMARY,
		       "flows %lld%s, conntrack %lld of %lld (%lld %%)%s",
		       fw_json_get(mirror, "flows"),
		       json_is_true(json_object_get(mirror, "in_sync"))
			       ? ""
			       : " (stale)",
		       entries, limit, limit ? entries * 100 / limit : 0,
		       json_is_true(json_object_get(conntrack, "pressure"))
			       ? ", filling up"
			       : "");
}

void fw_top_note(const json_t *item, enum fw_top_view view,
		 char text[FW_TOP_SUMMARY])
{
	long long left_out = fw_json_get(item, "left_out");

	*text = '\0';
	if (!json_is_true(json_object_get(item, "counted")))
		(void)snprintf(text, FW_TOP_SUMMARY,
			       "%s: needs 'option flow-accounting on'",
			       view == FW_TOP_FLOWS ? "no flow is counted"
						    : "no rates");
	else if (left_out)
		(void)snprintf(text, FW_TOP_SUMMARY,
			       "%lld of %lld flows are left out", left_out,
			       fw_json_get(item, "walked"));
}

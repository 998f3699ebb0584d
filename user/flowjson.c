/* SPDX-License-Identifier: GPL-2.0-only */

/* Flows as `--json` shows them, and whose they are. */
#include "user/flowjson.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "rules/rules.h"
#include "user/daemon.h"
#include "user/flowquery.h"
#include "user/print.h"
#include "user/util.h"

/* ---- whose it is ------------------------------------------------------------------ */

bool fw_label_exists(const struct fw_daemon *daemon, const char *label)
{
	for (uint32_t slot = 1; slot < FW_MAX_SLOTS; slot++) {
		const char *other = fw_apply_slot_label(daemon->apply, slot);

		if (other && strcmp(other, label) == 0)
			return true;
	}
	return false;
}

const char *fw_flow_label(const struct fw_daemon *daemon,
			  const struct fw_flow *flow)
{
	/* The rules may have been unloaded since the list was made. */
	if (!daemon->apply || !flow->slot)
		return NULL;
	/* Its rule may be gone for so long that another one has the slot. */
	if (fw_apply_slot_is_reused(daemon->apply, flow->slot))
		return fw_apply_slot_label_at(
			daemon->apply, flow->slot,
			fw_mirror_judged_by(daemon->mirror, flow));
	return fw_apply_slot_label(daemon->apply, flow->slot);
}

static const char *ifname_of(const struct fw_daemon *daemon,
			     const struct fw_flow *flow)
{
	return daemon->apply && flow->ifindex
		       ? fw_apply_ifname(daemon->apply, flow->ifindex)
		       : NULL;
}

const struct fw_zone *fw_zone_find(const struct fw_daemon *daemon,
				   const char *name)
{
	const struct fw_program *program = fw_daemon_program(daemon);

	for (size_t i = 0; program && i < program->n_zones; i++) {
		if (strcmp(program->zones[i].name, name) == 0)
			return &program->zones[i];
	}
	return NULL;
}

bool fw_zone_has(const struct fw_zone *zone, const char *ifname)
{
	for (size_t i = 0; ifname && i < zone->n; i++) {
		if (strcmp(zone->members[i].ifname, ifname) == 0)
			return true;
	}
	return false;
}

bool fw_flows_are_counted(const struct fw_daemon *daemon)
{
	const struct fw_program *program = fw_daemon_program(daemon);

	return program && program->options & FW_OPT_FLOW_ACCT;
}

/* ---- as JSON ------------------------------------------------------------------------ */

json_t *fw_tuple_json(const struct fw_tuple *tuple)
{
	bool has_ports = tuple->sport || tuple->dport;
	char saddr[FW_ADDR_TEXT], daddr[FW_ADDR_TEXT];
	json_t *json;

	json = json_pack("{s:s, s:s}", "source",
			 fw_address_print(saddr, &tuple->saddr, tuple->family),
			 "destination",
			 fw_address_print(daddr, &tuple->daddr, tuple->family));
	if (!json)
		return NULL;
	if (tuple->proto == IPPROTO_ICMP || tuple->proto == IPPROTO_ICMPV6) {
		(void)fw_json_set(json, "id",
				  json_integer(ntohs(tuple->sport)));
		(void)fw_json_set(json, "type", json_integer(tuple->icmp_type));
	} else if (has_ports) {
		(void)fw_json_set(json, "source_port",
				  json_integer(ntohs(tuple->sport)));
		(void)fw_json_set(json, "destination_port",
				  json_integer(ntohs(tuple->dport)));
	}
	return json;
}

static json_t *seconds(uint64_t from_ns, uint64_t to_ns)
{
	uint64_t ns = to_ns > from_ns ? to_ns - from_ns : 0;

	return json_integer((json_int_t)(ns / 1000000000u));
}

json_t *fw_json_name(const char *name)
{
	return name ? fw_json_text(name) : json_null();
}

json_t *fw_flow_json(const struct fw_daemon *daemon, const struct fw_flow *flow)
{
	const char *ifname = ifname_of(daemon, flow);
	const char *label = fw_flow_label(daemon, flow);
	uint64_t now_ns = fw_now_ns();
	char protocol[8];

	return json_pack(
		"{s:s, s:s, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:I, s:s}",
		"protocol", fw_protocol_print(protocol, flow->orig.proto),
		"family", flow->orig.family == FW_AF_IPV4 ? "ipv4" : "ipv6",
		"original", fw_tuple_json(&flow->orig), "reply",
		fw_tuple_json(&flow->reply), "state", fw_flow_state(flow),
		"age",
		flow->opened_ns ? seconds(flow->opened_ns, now_ns)
				: json_null(),
		"left", seconds(now_ns, flow->expires_ns), "interface",
		fw_json_name(ifname), "rule", fw_json_name(label), "direction",
		flow->slot && flow->dir < FW_DIR_MAX
			? json_string(fw_dir_name((enum fw_dir)flow->dir))
			: json_null(),
		"replied", flow->replied, "assured", flow->assured, "mark",
		(json_int_t)fw_mirror_mark(daemon->mirror, flow), "table",
		flow->ct_id ? "conntrack" : "fwctl");
}

/* Of both directions; null: nobody has counted it. */
void fw_flow_json_counts(json_t *json, const struct fw_flow *flow)
{
	static const char *const names[2][2] = {
		{ "original_packets", "original_bytes" },
		{ "reply_packets", "reply_bytes" },
	};
	const struct fw_flow_counts *c = &flow->counts;

	for (int i = 0; i < 2; i++) {
		(void)fw_json_set(json, names[i][0],
				  flow->is_counted ? fw_json_u64(c->packets[i])
						   : json_null());
		(void)fw_json_set(json, names[i][1],
				  flow->is_counted ? fw_json_u64(c->bytes[i])
						   : json_null());
	}
}

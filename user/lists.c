/* SPDX-License-Identifier: GPL-2.0-only */

/* The verbs that list something: rules, flows, sets. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <netinet/in.h>
#include <string.h>

#include "user/daemon.h"
#include "user/print.h"
#include "user/stats.h"
#include "user/util.h"

bool fw_daemon_check_loaded(const struct fw_daemon *daemon,
			    struct fw_request *request)
{
	if (fw_daemon_program(daemon))
		return true;
	fw_reply_error(request, FW_EXIT_NO_DAEMON, "%s",
		       daemon->open_error ? daemon->open_error
					  : "nothing is loaded");
	return false;
}

/* ---- rules ------------------------------------------------------------------ */

static json_t *rule_json(const struct fw_daemon *daemon, uint32_t slot,
			 const char *label, const char *text)
{
	struct fw_rule_counter counter = { 0 };
	int r;

	r = fw_stats_rule(daemon->datapath, slot, &counter);
	if (r < 0)
		return NULL;
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "label",
			 fw_json_text(label), "text", fw_json_text(text),
			 "packets", fw_json_u64(counter.packets), "bytes",
			 fw_json_u64(counter.bytes), "flows",
			 fw_json_u64(counter.flows));
}

static json_t *row_json(const struct fw_daemon *daemon, size_t i)
{
	const struct fw_ir_row *row = &fw_daemon_program(daemon)->rows[i];
	json_t *json;

	json = rule_json(daemon, fw_apply_row_slot(daemon->apply, i),
			 row->label, row->text);
	if (!json)
		return NULL;
	(void)fw_json_set(json, "file", fw_json_text(row->file));
	(void)fw_json_set(json, "line", json_integer(row->line));
	(void)fw_json_set(json, "stateless",
			  json_boolean(row->flags & FW_ROW_STATELESS));
	(void)fw_json_set(json, "default", json_false());
	return json;
}

static json_t *default_json(const struct fw_daemon *daemon, enum fw_dir dir)
{
	const struct fw_program *program = fw_daemon_program(daemon);
	uint8_t verdict = program->default_verdict[dir];
	char text[64];
	json_t *json;

	(void)snprintf(text, sizeof(text), "default %s %s%s", fw_dir_name(dir),
		       fw_verdict_name((enum fw_verdict)verdict),
		       program->default_log & 1u << dir ? " log" : "");
	json = rule_json(daemon, fw_apply_default_slot(daemon->apply, dir),
			 fw_default_label(dir), text);
	if (!json)
		return NULL;
	(void)fw_json_set(json, "file", json_null());
	(void)fw_json_set(json, "line", json_null());
	(void)fw_json_set(json, "stateless", json_false());
	(void)fw_json_set(json, "default", json_true());
	return json;
}

void fw_handle_rules(void *data, struct fw_request *request, const json_t *args)
{
	struct fw_daemon *daemon = data;
	_cleanup_json_ json_t *list = NULL;
	const struct fw_program *program;
	int r = 0;

	(void)args;
	if (!fw_daemon_check_loaded(daemon, request))
		return;
	program = fw_daemon_program(daemon);
	list = json_array();
	for (size_t i = 0; r == 0 && i < program->n_rows; i++) {
		if (program->rows[i].rule == i)
			r = json_array_append_new(list, row_json(daemon, i));
	}
	for (int dir = 0; r == 0 && dir < FW_DIR_MAX; dir++) {
		r = json_array_append_new(
			list, default_json(daemon, (enum fw_dir)dir));
	}
	if (r < 0) {
		fw_reply_error(request, FW_EXIT_KERNEL,
			       "cannot read the counters of the rules");
		return;
	}
	fw_reply_array(request, "rules", take_ptr(list), json_object());
}

/* ---- sets ------------------------------------------------------------------- */

static json_t *set_json(const struct fw_named_set *set)
{
	const char *replaced = set->replaced.name;

	return json_pack(
		"{s:o, s:o, s:I, s:I, s:I, s:I, s:o}", "name",
		fw_json_text(set->name), "file", fw_json_text(set->file),
		"line", (json_int_t)set->line, "ipv4", (json_int_t)set->v4,
		"ipv6", (json_int_t)set->v6, "ports", (json_int_t)set->ports,
		"replaced_by", replaced ? fw_json_text(replaced) : json_null());
}

void fw_handle_sets(void *data, struct fw_request *request, const json_t *args)
{
	struct fw_daemon *daemon = data;
	const struct fw_program *program;
	json_t *list;

	(void)args;
	if (!fw_daemon_check_loaded(daemon, request))
		return;
	program = fw_daemon_program(daemon);
	list = json_array();
	for (size_t i = 0; list && i < program->n_named_sets; i++) {
		const struct fw_named_set *set = &program->named_sets[i];

		(void)json_array_append_new(list, set_json(set));
	}
	fw_reply_array(request, "sets", list, json_object());
}

/* ---- flows ------------------------------------------------------------------ */

/* A copy of the flow table: rows are made from it while the client reads. */
struct flow_list {
	struct fw_daemon *daemon;
	struct fw_flow *flows;
	size_t n, size, i;
};

static int collect_flow(void *data, const struct fw_flow *flow)
{
	struct flow_list *list = data;

	if (list->n == list->size) {
		size_t size = list->size ? 2 * list->size : 1024;
		struct fw_flow *flows;

		flows = reallocarray(list->flows, size, sizeof(*flows));
		if (!flows)
			return -ENOMEM;
		list->flows = flows;
		list->size = size;
	}
	list->flows[list->n++] = *flow;
	return 0;
}

static const char *kernel_state_name(uint8_t state)
{
	static const char *const names[] = {
		[TCP_CONNTRACK_SYN_SENT] = "SYN_SENT",
		[TCP_CONNTRACK_SYN_RECV] = "SYN_RECV",
		[TCP_CONNTRACK_ESTABLISHED] = "ESTABLISHED",
		[TCP_CONNTRACK_FIN_WAIT] = "FIN_WAIT",
		[TCP_CONNTRACK_CLOSE_WAIT] = "CLOSE_WAIT",
		[TCP_CONNTRACK_LAST_ACK] = "LAST_ACK",
		[TCP_CONNTRACK_TIME_WAIT] = "TIME_WAIT",
		[TCP_CONNTRACK_CLOSE] = "CLOSE",
		[TCP_CONNTRACK_SYN_SENT2] = "SYN_SENT2",
	};

	return state < ARRAY_SIZE(names) ? names[state] : NULL;
}

static const char *state_text(const struct fw_flow *flow)
{
	const char *name = NULL;

	if (flow->orig.proto != IPPROTO_TCP)
		return flow->replied ? "REPLIED" : "UNREPLIED";
	/* What BPF tracks is newer than what was written back to the kernel. */
	if (flow->tcp_state != FW_TCP_NONE &&
	    flow->tcp_state < FW_TCP_STATE_MAX)
		return fw_tcp_state_name((enum fw_tcp_state)flow->tcp_state);
	name = kernel_state_name(flow->kernel_tcp);
	return name ? name : "NONE";
}

static json_t *tuple_json(const struct fw_tuple *tuple)
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

static json_t *name_or_null(const char *name)
{
	return name ? fw_json_text(name) : json_null();
}

static json_t *flow_json(const struct fw_daemon *daemon,
			 const struct fw_flow *flow)
{
	const struct fw_apply *apply = daemon->apply;
	const char *ifname = NULL, *label = NULL;
	uint64_t now_ns = fw_now_ns();
	char protocol[8];

	/* The rules may have been unloaded since the list was made. */
	if (apply && flow->ifindex)
		ifname = fw_apply_ifname(apply, flow->ifindex);
	if (apply && flow->slot)
		label = fw_apply_slot_label(apply, flow->slot);
	return json_pack(
		"{s:s, s:s, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:I, s:s}",
		"protocol", fw_protocol_print(protocol, flow->orig.proto),
		"family", flow->orig.family == FW_AF_IPV4 ? "ipv4" : "ipv6",
		"original", tuple_json(&flow->orig), "reply",
		tuple_json(&flow->reply), "state", state_text(flow), "age",
		flow->opened_ns ? seconds(flow->opened_ns, now_ns)
				: json_null(),
		"left", seconds(now_ns, flow->expires_ns), "interface",
		name_or_null(ifname), "rule", name_or_null(label), "direction",
		flow->slot && flow->dir < FW_DIR_MAX
			? json_string(fw_dir_name((enum fw_dir)flow->dir))
			: json_null(),
		"replied", flow->replied, "assured", flow->assured, "mark",
		(json_int_t)flow->mark, "table",
		flow->ct_id ? "conntrack" : "fwctl");
}

static int flows_next(void *data, json_t *items)
{
	struct flow_list *list = data;

	for (int n = 0; n < FW_PROTO_ROWS && list->i < list->n;
	     n++, list->i++) {
		if (json_array_append_new(
			    items,
			    flow_json(list->daemon, &list->flows[list->i])) < 0)
			return -ENOMEM;
	}
	return list->i < list->n;
}

static void flows_free(void *data)
{
	struct flow_list *list = data;

	if (!list)
		return;
	free(list->flows);
	free(list);
}

static bool is_stale(const struct fw_daemon *daemon)
{
	struct fw_mirror_stats stats = { 0 };

	fw_mirror_stats(daemon->mirror, &stats);
	return !stats.in_sync;
}

void fw_handle_flows(void *data, struct fw_request *request, const json_t *args)
{
	struct fw_daemon *daemon = data;
	struct flow_list *list;
	int r, refreshed;

	(void)args;
	if (!fw_daemon_check_loaded(daemon, request))
		return;
	list = calloc(1, sizeof(*list));
	if (!list) {
		fw_reply(request, NULL);
		return;
	}
	list->daemon = daemon;
	/* A dump that fails leaves the last picture, marked as stale. */
	refreshed = fw_mirror_refresh(daemon->mirror);
	r = fw_mirror_foreach(daemon->mirror, collect_flow, list);
	if (r < 0) {
		flows_free(list);
		fw_reply_error(request, FW_EXIT_KERNEL,
			       "cannot list the flows: %s", strerror(-r));
		return;
	}
	fw_reply_rows(
		request,
		&(struct fw_rows){ .list = "flows",
				   .next = flows_next,
				   .free = flows_free,
				   .data = list },
		json_pack("{s:b}", "stale", refreshed < 0 || is_stale(daemon)));
}

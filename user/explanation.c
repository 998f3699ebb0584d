/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The verb explain: one packet past all hooks that it would meet, and why each of them
 * does what. The client has made a frame of its description.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "user/daemon.h"
#include "user/explainer.h"
#include "user/flowjson.h"
#include "user/iface.h"
#include "user/packetframe.h"
#include "user/route.h"
#include "user/util.h"

#define TAG	 4u  /* bytes of a VLAN tag, behind two addresses */
#define ADDRS	 12u /* of Ethernet */
#define MAX_TAGS 4
#define CT_COUNT "/proc/sys/net/netfilter/nf_conntrack_count"
#define CT_MAX	 "/proc/sys/net/netfilter/nf_conntrack_max"

/* A packet on its way. */
struct journey {
	struct fw_daemon *daemon;
	uint8_t frame[FW_EXPLAINER_MOST + MAX_TAGS * TAG];
	uint32_t len;
	json_t *steps, *notes;
	struct fw_explained_hook last;	  /* has_run 0: no hook so far */
	struct fw_explained_hook decided; /* the last one that knew enough */
	bool is_dropped;
	bool from_sa; /* it came out of an SA */
	int error;    /* negative errno of a hook that could not be asked */
	enum fw_hook error_hook;
};

__attribute__((format(printf, 2, 3))) static void
note(const struct journey *journey, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	(void)json_array_append_new(journey->notes, fw_json_text(text));
}

/* ---- what a hook says, as JSON ------------------------------------------------------ */

/* Did rules speak, so that it is known which? XDP leaves their counting to TC. */
static bool is_of_rules(const struct fw_explained_hook *said)
{
	return said->slot || said->reason == FW_REASON_NEW ||
	       said->reason == FW_REASON_ESSENTIAL;
}

static uint32_t slot_of(const struct fw_explained_hook *said)
{
	return said->slot ? said->slot : said->res.slot;
}

/* The row that spoke; NULL: a default, or nobody. */
static const struct fw_ir_row *row_of(const struct fw_daemon *daemon,
				      const struct fw_explained_hook *said)
{
	const struct fw_program *program = fw_daemon_program(daemon);
	uint32_t slot = slot_of(said), rule = said->res.rule;

	if (rule < program->n_rows &&
	    fw_apply_row_slot(daemon->apply, rule) == slot)
		return &program->rows[rule];
	for (size_t i = 0; i < program->n_rows; i++) {
		if (fw_apply_row_slot(daemon->apply, i) == slot)
			return &program->rows[i];
	}
	return NULL;
}

/* A line of a rule file, without the blanks around it; NULL: there is none. */
static json_t *source_line(const struct fw_program *program, const char *file,
			   uint32_t line)
{
	for (size_t i = 0; i < program->n_texts; i++) {
		const char *at = program->texts[i].data, *end;

		if (strcmp(program->texts[i].name, file) != 0)
			continue;
		for (uint32_t n = 1; at && n < line; n++) {
			at = strchr(at, '\n');
			at = at ? at + 1 : NULL;
		}
		if (!at)
			break;
		at += strspn(at, " \t");
		end = at + strcspn(at, "\n");
		while (end > at && strchr(" \t\r", end[-1]))
			end--;
		return json_stringn_nocheck(at, (size_t)(end - at));
	}
	return json_null();
}

/* True if the text of a rule names the set. */
static bool names_set(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = strchr(text, '@'); at; at = strchr(at + 1, '@')) {
		if (strncmp(at + 1, name, len) == 0 &&
		    !strpbrk((char[]){ at[1 + len], '\0' },
			     "abcdefghijklmnopqrstuvwxyz"
			     "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."))
			return true;
	}
	return false;
}

static json_t *sets_json(const struct fw_program *program,
			 const struct fw_ir_row *row)
{
	json_t *sets = json_array();

	for (size_t i = 0; sets && i < program->n_named_sets; i++) {
		const struct fw_named_set *set = &program->named_sets[i];

		if (!names_set(row->text, set->name))
			continue;
		(void)json_array_append_new(
			sets, json_pack("{s:o, s:o, s:I}", "name",
					fw_json_text(set->name), "file",
					fw_json_name(set->file), "line",
					(json_int_t)set->line));
	}
	return sets;
}

static void add_rule(json_t *json, const struct fw_daemon *daemon,
		     const struct fw_explained_hook *said)
{
	const struct fw_program *program = fw_daemon_program(daemon);
	const struct fw_ir_row *row;

	if (!is_of_rules(said))
		return;
	row = row_of(daemon, said);
	(void)fw_json_set(json, "rule",
			  fw_json_name(fw_apply_slot_label(daemon->apply,
							   slot_of(said))));
	(void)fw_json_set(json, "direction",
			  json_string(fw_dir_name(
				  (enum fw_dir)(said->key.dir % FW_DIR_MAX))));
	(void)fw_json_set(
		json, "logged",
		json_boolean(said->slot && said->res.flags & FW_RESULT_LOG));
	if (!row)
		return;
	(void)fw_json_set(json, "file", fw_json_name(row->file));
	(void)fw_json_set(json, "line", json_integer(row->line));
	(void)fw_json_set(json, "source",
			  source_line(program, row->file, row->line));
	(void)fw_json_set(json, "sets", sets_json(program, row));
}

/* The flow that the packet is of, as the daemon knows it, or just its tuple. */
static json_t *flow_json(const struct fw_daemon *daemon,
			 const struct fw_explained_hook *said)
{
	const struct fw_tuple *tuple =
		said->orig.family ? &said->orig : &said->tuple;
	struct fw_flow flow;
	json_t *json;

	if (fw_mirror_find(daemon->mirror, tuple, &flow))
		json = fw_flow_json(daemon, &flow);
	else
		json = json_pack("{s:o}", "original", fw_tuple_json(tuple));
	if (json)
		(void)fw_json_set(json, "is_reply", json_boolean(said->reply));
	return json;
}

static const char *verdict_name(const struct fw_explained_hook *said)
{
	enum fw_reason reason = (enum fw_reason)said->reason;

	if (reason == FW_REASON_DROP_REJECT)
		return "reject";
	if (fw_reason_is_drop(reason))
		return "drop";
	return reason == FW_REASON_UNDECIDED ? "undecided" : "accept";
}

static json_t *step_json(const struct journey *journey,
			 const struct fw_explainer_at *at,
			 const struct fw_explained_hook *said)
{
	static const char *const opens[] = {
		[FW_OPENS_NOTHING] = NULL,
		[FW_OPENS_FLOW] = "fwctl",
		[FW_OPENS_KERNEL] = "kernel",
		[FW_OPENS_SETTLED] = "settled",
	};
	const struct fw_daemon *daemon = journey->daemon;
	enum fw_reason reason = (enum fw_reason)said->reason;
	json_t *json;

	json = json_pack(
		"{s:s, s:o, s:s, s:s, s:s, s:o}", "hook",
		fw_hook_name(at->hook), "interface",
		fw_json_name(fw_apply_ifname(daemon->apply, at->ifindex)),
		"verdict", verdict_name(said), "reason", fw_reason_name(reason),
		"text", fw_reason_text(reason), "opens",
		fw_json_name(said->opens < ARRAY_SIZE(opens)
				     ? opens[said->opens]
				     : NULL));
	if (!json)
		return NULL;
	/* a tagged frame counts for its VLAN device, if the rules know that */
	if (reason != FW_REASON_UNCOVERED && said->ifindex != at->ifindex)
		(void)fw_json_set(json, "counts_for",
				  fw_json_name(fw_apply_ifname(daemon->apply,
							       said->ifindex)));
	add_rule(json, daemon, said);
	if (said->found)
		(void)fw_json_set(json, "flow", flow_json(daemon, said));
	return json;
}

/* ---- from hook to hook ---------------------------------------------------------------- */

/* An entry is not made to see whether there is room for it. */
static void note_room(const struct journey *journey,
		      const struct fw_explained_hook *said)
{
	uint64_t count, max;

	if (said->opens != FW_OPENS_FLOW || (said->tuple.proto != IPPROTO_TCP &&
					     said->tuple.proto != IPPROTO_UDP))
		return;
	if (fw_read_number(CT_COUNT, &count) == 0 &&
	    fw_read_number(CT_MAX, &max) == 0 && max && count >= max)
		note(journey,
		     "the connection table is full (%llu of %llu entries): the kernel may refuse one more",
		     (unsigned long long)count, (unsigned long long)max);
}

/* Rules ask what no frame shows, and what policies encrypt is not found out either. */
static void note_ipsec(const struct journey *journey)
{
	const struct fw_program *program =
		fw_apply_program(journey->daemon->apply);

	if (program && program->options & FW_OPT_IPSEC && !journey->from_sa)
		note(journey,
		     "rules ask for IPsec: the packet is taken to be in clear");
}

/* XDP has forwarded it: neither the stack nor a hook behind sees it. */
static bool is_gone(const struct journey *journey)
{
	return journey->is_dropped ||
	       (journey->last.has_run &&
		journey->last.reason == FW_REASON_OFFLOADED);
}

static void pass_hook(struct journey *journey, enum fw_hook hook,
		      uint32_t ifindex, uint32_t in)
{
	const struct fw_explainer_at at = { hook, ifindex, in };
	struct fw_explained_hook said;

	if (is_gone(journey) || journey->error)
		return;
	journey->error = fw_explainer_run(journey->daemon->explainer, &at,
					  journey->frame, journey->len, &said);
	journey->error_hook = hook;
	if (journey->error)
		return;
	(void)json_array_append_new(journey->steps,
				    step_json(journey, &at, &said));
	note_room(journey, &said);
	journey->is_dropped = fw_reason_is_drop((enum fw_reason)said.reason);
	journey->last = said;
	if (said.reason != FW_REASON_UNDECIDED &&
	    said.reason != FW_REASON_JUDGED)
		journey->decided = said;
}

/* Where our programs are now, whoever has taken them away. */
static void come_in(struct journey *journey, const struct fw_link *link)
{
	struct fw_hooks_found found = { .xdp = FW_MODE_TC };

	/* XDP forwards only what is for this host. */
	if (memcmp(journey->frame, FW_FRAME_TO, sizeof(link->mac)) == 0)
		memcpy(journey->frame, link->mac, sizeof(link->mac));
	fw_datapath_look(journey->daemon->datapath, link->ifindex, &found);
	/* native XDP has seen ESP in its place */
	if ((found.xdp == FW_MODE_XDP && !journey->from_sa) ||
	    found.xdp == FW_MODE_XDP_GENERIC)
		pass_hook(journey, FW_HOOK_XDP, link->ifindex, 0);
	if (found.xdp == FW_MODE_XDP_GENERIC && !journey->error)
		journey->error = fw_explainer_hide(journey->daemon->explainer);
	if (found.has_tc)
		pass_hook(journey, FW_HOOK_INGRESS, link->ifindex, 0);
}

static void go_out(struct journey *journey, const struct fw_link *link,
		   uint32_t in)
{
	struct fw_hooks_found found = { .xdp = FW_MODE_TC };

	fw_datapath_look(journey->daemon->datapath, link->ifindex, &found);
	if (found.has_tc)
		pass_hook(journey, FW_HOOK_EGRESS, link->ifindex, in);
}

/* ---- VLANs ------------------------------------------------------------------------------ */

static bool is_tagged(const struct journey *journey)
{
	const uint8_t *type = journey->frame + ADDRS;

	return journey->len >= ADDRS + TAG + 2 &&
	       ((type[0] == 0x81 && type[1] == 0x00) ||
		(type[0] == 0x88 && type[1] == 0xa8));
}

static uint16_t tag_of(const struct journey *journey)
{
	const uint8_t *tag = journey->frame + ADDRS;

	return (uint16_t)((tag[2] << 8 | tag[3]) & 0xfff);
}

static void take_tag(struct journey *journey)
{
	uint8_t *tag = journey->frame + ADDRS;

	journey->len -= TAG;
	memmove(tag, tag + TAG, journey->len - ADDRS);
}

static void put_tag(struct journey *journey, uint16_t vid)
{
	uint8_t *tag = journey->frame + ADDRS;

	if (journey->len + TAG > sizeof(journey->frame))
		return;
	memmove(tag + TAG, tag, journey->len - ADDRS);
	tag[0] = 0x81;
	tag[1] = 0;
	tag[2] = (uint8_t)(vid >> 8);
	tag[3] = (uint8_t)vid;
	journey->len += TAG;
}

static const struct fw_link *vlan_device(const struct fw_ifaces *ifaces,
					 uint32_t parent, uint16_t vid)
{
	const struct fw_link *link;

	for (size_t i = 0; (link = fw_ifaces_at(ifaces, i)); i++) {
		if (link->parent == parent && link->vlan == vid)
			return link;
	}
	return NULL;
}

/*
 * Past all ingress hooks; returns the interface that the stack sees it on. What comes in
 * by a VLAN device or a bond comes in by the one below first.
 */
static const struct fw_link *arrive(struct journey *journey,
				    const struct fw_link *link)
{
	const struct fw_ifaces *ifaces = fw_apply_links(journey->daemon->apply);
	const struct fw_link *below = NULL, *above;

	if (link->parent)
		below = fw_ifaces_by_index(ifaces, link->parent);
	if (below) {
		put_tag(journey, link->vlan);
		link = below;
	}
	come_in(journey, link);
	above = link->bond ? fw_ifaces_by_index(ifaces, link->bond) : NULL;
	if (above) {
		link = above;
		come_in(journey, link);
	}
	while (is_tagged(journey)) {
		if (!tag_of(journey)) { /* a priority, and no VLAN */
			take_tag(journey);
			continue;
		}
		above = vlan_device(ifaces, link->ifindex, tag_of(journey));
		if (!above) {
			if (!journey->is_dropped)
				note(journey,
				     "no device of this host takes VLAN %u of %s",
				     tag_of(journey), link->name);
			return NULL;
		}
		take_tag(journey);
		link = above;
		come_in(journey, link);
	}
	return link;
}

static void leave(struct journey *journey, const struct fw_link *link,
		  uint32_t in)
{
	const struct fw_ifaces *ifaces = fw_apply_links(journey->daemon->apply);

	go_out(journey, link, in);
	for (int i = 0; i < MAX_TAGS && link->parent; i++) {
		put_tag(journey, link->vlan);
		link = fw_ifaces_by_index(ifaces, link->parent);
		if (!link)
			return;
		go_out(journey, link, in);
	}
}

/* ---- through this host -------------------------------------------------------------------- */

/* The packet's tuple as it came; false: it has none. */
static bool tuple_of(const struct fw_explained_hook *said, struct fw_tuple *ret)
{
	const struct fw_key *key = &said->key;

	*ret = said->tuple;
	if (ret->family)
		return true;
	*ret = (struct fw_tuple){ .saddr = key->saddr,
				  .daddr = key->daddr,
				  .sport = htons(key->sport),
				  .dport = htons(key->dport),
				  .proto = key->proto,
				  .family = key->family };
	return key->family == FW_AF_IPV4 || key->family == FW_AF_IPV6;
}

/* Of an untagged frame of IPv4 or IPv6. */
static uint8_t ttl_of(const struct journey *journey)
{
	const uint8_t *ip = journey->frame + ADDRS + 2;

	return ip[0] >> 4 == 4 ? ip[8] : ip[7];
}

static json_t *route_json(const struct journey *journey,
			  const struct fw_route *route)
{
	static const char *const kinds[] = { [FW_ROUTE_NONE] = "none",
					     [FW_ROUTE_LOCAL] = "local",
					     [FW_ROUTE_FORWARD] = "forward" };
	const struct fw_apply *apply = journey->daemon->apply;

	return json_pack(
		"{s:s, s:o, s:o}", "kind", kinds[route->kind], "interface",
		fw_json_name(route->kind == FW_ROUTE_FORWARD
				     ? fw_apply_ifname(apply, route->ifindex)
				     : NULL),
		"error",
		fw_json_name(route->error ? strerror(route->error) : NULL));
}

/* What is in it in transport mode goes to no hook of these. */
static void note_transport(const struct journey *journey,
			   const struct fw_tuple *tuple)
{
	if (tuple->proto != IPPROTO_ESP && tuple->proto != IPPROTO_AH)
		return;
	if (fw_datapath_transport(journey->daemon->datapath) ==
	    FW_TRANSPORT_NOBODY)
		note(journey,
		     "what it carries in transport mode is not judged by rules here");
	else
		note(journey,
		     "what it carries in transport mode is judged once more, when it has been decrypted");
}

/* What ingress lets in is for this host or goes on; the latter meets egress. */
static json_t *go_through(struct journey *journey, const struct fw_link *in)
{
	const struct fw_ifaces *ifaces = fw_apply_links(journey->daemon->apply);
	uint32_t in_ifindex = in->ifindex;
	const struct fw_link *out;
	struct fw_tuple tuple;
	struct fw_route route;
	int r;

	if (journey->is_dropped || journey->error || !journey->last.has_run ||
	    !tuple_of(&journey->last, &tuple))
		return json_null();
	r = fw_route_query(&tuple, in_ifindex, &route);
	if (r < 0) {
		note(journey, "cannot ask for the route: %s", strerror(-r));
		return json_null();
	}
	if (route.kind == FW_ROUTE_LOCAL)
		note_transport(journey, &tuple);
	if (route.kind == FW_ROUTE_FORWARD && ttl_of(journey) <= 1) {
		note(journey,
		     "its TTL ends here: this host answers with an ICMP error");
		route = (struct fw_route){ .error = EHOSTUNREACH };
	}
	out = route.kind == FW_ROUTE_FORWARD
		      ? fw_ifaces_by_index(ifaces, route.ifindex)
		      : NULL;
	if (out)
		leave(journey, out, in_ifindex);
	return route_json(journey, &route);
}

/* ---- the verb --------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
	const char *const digits = "0123456789abcdef";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

static bool read_frame(const json_t *hex, struct journey *ret)
{
	const char *text = json_string_value(hex);
	size_t len = text ? strlen(text) : 0;

	if (len % 2 || len / 2 < FW_EXPLAINER_LEAST ||
	    len / 2 > FW_EXPLAINER_MOST)
		return false;
	for (size_t i = 0; i < len / 2; i++) {
		int high = hex_digit(text[2 * i]);
		int low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ret->frame[i] = (uint8_t)(high << 4 | low);
	}
	ret->len = (uint32_t)(len / 2);
	return true;
}

static json_t *result_json(struct journey *journey, json_t *route)
{
	const struct fw_explained_hook *said =
		journey->decided.has_run ? &journey->decided : &journey->last;
	enum fw_reason reason = (enum fw_reason)said->reason;

	if (!said->has_run)
		note(journey,
		     "no program of fwctl is there: it is let through");
	return json_pack("{s:s, s:o, s:I, s:O, s:o, s:O}", "verdict",
			 !journey->is_dropped		   ? "accept"
			 : reason == FW_REASON_DROP_REJECT ? "reject"
							   : "drop",
			 "reason",
			 said->has_run ? json_string(fw_reason_name(reason))
				       : json_null(),
			 "generation",
			 (json_int_t)fw_apply_gen(journey->daemon->apply),
			 "steps", journey->steps, "route", route, "notes",
			 journey->notes);
}

static void refuse(struct fw_request *request, const struct journey *journey)
{
	if (journey->error == -EINVAL)
		fw_reply_error(
			request, FW_EXIT_REQUEST,
			"the kernel does not run the program of %s on a frame that ends inside its IP header",
			fw_hook_name(journey->error_hook));
	else
		fw_reply_error(request, FW_EXIT_KERNEL,
			       "cannot run the program of %s: %s",
			       fw_hook_name(journey->error_hook),
			       strerror(-journey->error));
}

static void travel(struct journey *journey, struct fw_request *request,
		   const struct fw_link *link, bool out)
{
	const struct fw_link *in;
	json_t *route = NULL;

	if (out) {
		leave(journey, link, 0);
	} else {
		in = arrive(journey, link);
		if (in)
			route = go_through(journey, in);
	}
	if (!journey->error) {
		fw_reply(request,
			 result_json(journey, route ? route : json_null()));
		return;
	}
	json_decref(route);
	refuse(request, journey);
}

void fw_handle_explain(void *data, struct fw_request *request,
		       const json_t *args)
{
	struct fw_daemon *daemon = data;
	const char *name =
		json_string_value(json_object_get(args, "interface"));
	struct journey journey = { .daemon = daemon };
	_cleanup_free_ char *error = NULL;
	const struct fw_link *link;
	int r;

	if (!fw_daemon_check_loaded(daemon, request))
		return;
	if (!name || !read_frame(json_object_get(args, "frame"), &journey)) {
		fw_reply_error(request, FW_EXIT_REQUEST,
			       "explain: interface or frame is malformed");
		return;
	}
	link = fw_ifaces_by_name(fw_apply_links(daemon->apply), name);
	if (!link) {
		fw_reply_error(request, FW_EXIT_REQUEST,
			       "no interface is called '%s'", name);
		return;
	}
	r = fw_explainer_ready(&daemon->explainer, daemon->datapath, &error);
	journey.from_sa = json_is_true(json_object_get(args, "from_sa"));
	if (r == 0)
		r = fw_explainer_begin(daemon->explainer, journey.from_sa,
				       (uint32_t)json_integer_value(
					       json_object_get(args, "reqid")));
	if (r < 0) {
		fw_reply_error(request, FW_EXIT_KERNEL, "%s",
			       error ? error : strerror(-r));
		return;
	}
	journey.steps = json_array();
	journey.notes = json_array();
	if (journey.notes)
		note_ipsec(&journey);
	if (journey.steps && journey.notes)
		travel(&journey, request, link,
		       json_is_true(json_object_get(args, "out")));
	else
		fw_reply(request, NULL);
	json_decref(journey.steps);
	json_decref(journey.notes);
}

/* SPDX-License-Identifier: GPL-2.0-only */

/* What can be matched: how each kind of value is read and printed. */
#include "field.h"

#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "iana.h"
#include "mem.h"

/* ---- lists as text ------------------------------------------------------- */

struct fw_list fw_list_at(struct fw_str *str)
{
	return (struct fw_list){ .str = str, .start = str->n };
}

struct fw_str *fw_list_next(struct fw_list *list)
{
	list->n++;
	if (list->n == 2)
		fw_str_insert(list->str, list->start, "{ ", 2);
	if (list->n > 1)
		fw_str_add(list->str, ", ", 2);
	return list->str;
}

void fw_list_end(struct fw_list *list)
{
	if (list->n == 0) {
		fw_str_puts(list->str, "{ }");
	} else if (list->n > 1) {
		fw_str_puts(list->str, " }");
	}
}

/* ---- helpers of the readers ---------------------------------------------- */

/* A word that is being read. */
struct word {
	struct fw_scope *scope;
	struct fw_reporter *rep;
	struct fw_span at;
	const char *s;
	size_t len;
};

static bool is(const struct word *w, const char *text)
{
	/* The first byte tells most words apart. */
	return w->len && text[0] == w->s[0] && strlen(text) == w->len &&
	       memcmp(text, w->s, w->len) == 0;
}

/* A part of a word, for its own error message. */
static struct word part(const struct word *w, size_t off, size_t len)
{
	struct word sub = *w;

	sub.s += off;
	sub.len = len;
	sub.at.off += (uint32_t)off;
	sub.at.len = (uint32_t)len;
	return sub;
}

static bool add(struct word *w, struct fw_ranges *ranges, struct fw_u128 first,
		struct fw_u128 last)
{
	if (fw_ranges_add(ranges, first, last) == 0)
		return true;
	w->rep->is_broken = true;
	return false;
}

static bool add_small(struct word *w, struct fw_ranges *ranges, uint64_t first,
		      uint64_t last)
{
	const struct fw_u128 from = { .lo = first };
	const struct fw_u128 to = { .lo = last };

	return add(w, ranges, from, to);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_number(const struct word *w)
{
	size_t i;

	for (i = 0; i < w->len; i++) {
		if (!is_digit(w->s[i]))
			return false;
	}
	return w->len > 0;
}

/* Read a number up to a limit, or report it. */
static bool read_number(const struct word *w, const char *what, uint32_t max,
			uint32_t *ret)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < w->len; i++) {
		n = n * 10 + (uint64_t)(w->s[i] - '0');
		if (n > max) {
			fw_report_error(w->rep, w->at,
					"%s %.*s is out of range 0-%u", what,
					FW_QUOTE(w->rep, w->at), max);
			return false;
		}
	}
	*ret = (uint32_t)n;
	return true;
}

/* N or N-M; false with *ret_is_one false means that the word is no number. */
static bool read_range(struct word *w, const char *what, uint32_t max,
		       struct fw_ranges *ranges, bool *ret_is_one)
{
	const char *dash = memchr(w->s, '-', w->len);
	size_t first_len = dash ? (size_t)(dash - w->s) : w->len;
	struct word left = part(w, 0, first_len);
	struct word right = left;
	uint32_t first, last;

	if (dash)
		right = part(w, first_len + 1, w->len - first_len - 1);
	*ret_is_one = is_number(&left) && is_number(&right);
	if (!*ret_is_one || !read_number(&left, what, max, &first) ||
	    !read_number(&right, what, max, &last))
		return false;
	if (first > last) {
		fw_report_error(w->rep, w->at,
				"the range %.*s ends before it starts",
				FW_QUOTE(w->rep, w->at));
		fw_report_hint(w->rep, "write %u-%u", last, first);
		return false;
	}
	return add_small(w, ranges, first, last);
}

/* No name of a table starts with a digit. */
static const struct fw_iana_name *find_name(const struct word *w,
					    const struct fw_iana_name *table)
{
	if (w->len && is_digit(w->s[0]))
		return NULL;
	for (; table->name; table++) {
		if (is(w, table->name))
			return table;
	}
	return NULL;
}

/* Report a word that is not in the vocabulary; hint at what is near. */
static bool unknown(struct word *w, const char *what,
		    const struct fw_nearest *nearest)
{
	fw_report_error(w->rep, w->at, "unknown %s '%.*s'", what,
			FW_QUOTE(w->rep, w->at));
	if (!fw_report_nearest(w->rep, nearest, ""))
		(void)fw_scope_hint(w->scope, w->at);
	return false;
}

static bool unknown_iana(struct word *w, const char *what,
			 const struct fw_iana_name *table)
{
	struct fw_nearest nearest = fw_nearest_to(w->s, w->len);

	for (; table->name; table++)
		fw_nearest_try_word(&nearest, table->name);
	return unknown(w, what, &nearest);
}

/* ---- addresses ----------------------------------------------------------- */

static bool refuse_mapped(const struct word *w, const struct fw_address *a)
{
	struct fw_str str = { 0 };

	if (!fw_addr_is_mapped(a))
		return false;
	fw_addr_print(&str, (struct fw_u128){ .lo = a->value.lo & UINT32_MAX },
		      false);
	fw_report_error(
		w->rep, w->at,
		"'%.*s' is an IPv4 address in IPv6 form, which no packet carries",
		FW_QUOTE(w->rep, w->at));
	if (str.s)
		fw_report_hint(w->rep, "write %s", str.s);
	fw_str_done(&str);
	return true;
}

static bool not_address(struct word *w)
{
	bool is_like_one = w->len && (is_digit(w->s[0]) ||
				      memchr(w->s, ':', w->len) != NULL);

	fw_report_error(w->rep, w->at,
			is_like_one ? "'%.*s' is not an IPv4 or IPv6 address"
				    : "unknown address '%.*s'",
			FW_QUOTE(w->rep, w->at));
	if (!is_like_one && !fw_scope_hint(w->scope, w->at)) {
		fw_report_hint(
			w->rep,
			"names of hosts are not looked up; write the address");
	}
	return false;
}

static bool read_address(struct word *w, struct fw_address *ret)
{
	if (!fw_addr_parse(w->s, w->len, ret))
		return not_address(w);
	return !refuse_mapped(w, ret);
}

/* 255.255.255.0 -> 24, or -1. */
static int netmask_length(const struct word *w)
{
	struct fw_address mask;
	uint32_t host;

	if (!fw_addr_parse(w->s, w->len, &mask) || mask.is_v6)
		return -1;
	host = ~(uint32_t)mask.value.lo;
	return host & (host + 1) ? -1 : 32 - __builtin_popcount(host);
}

static bool read_prefix_length(struct word *w, bool is_v6, uint32_t *ret)
{
	int len;

	if (is_number(w) && w->len <= 3)
		return read_number(w, "prefix length", is_v6 ? 128 : 32, ret);
	fw_report_error(w->rep, w->at, "'%.*s' is not a prefix length",
			FW_QUOTE(w->rep, w->at));
	len = netmask_length(w);
	if (len >= 0 && !is_v6)
		fw_report_hint(w->rep, "write /%d", len);
	return false;
}

static void report_host_bits(struct word *w, const struct fw_address *a,
			     uint32_t len)
{
	struct fw_str network = { 0 };
	struct fw_str host = { 0 };

	fw_addr_print(&network, fw_addr_prefix_first(a, len), a->is_v6);
	fw_addr_print(&host, a->value, a->is_v6);
	fw_report_error(w->rep, w->at, "'%.*s' has bits set behind its prefix",
			FW_QUOTE(w->rep, w->at));
	if (network.s && host.s) {
		fw_report_hint(w->rep,
			       "the network is %s/%u, the single address is %s",
			       network.s, len, host.s);
	}
	fw_str_done(&network);
	fw_str_done(&host);
}

static bool read_prefix(struct word *w, size_t slash, struct fw_value *value)
{
	struct word left = part(w, 0, slash);
	struct word right = part(w, slash + 1, w->len - slash - 1);
	struct fw_address a;
	struct fw_u128 first;
	uint32_t len;

	if (!read_address(&left, &a) ||
	    !read_prefix_length(&right, a.is_v6, &len))
		return false;
	first = fw_addr_prefix_first(&a, len);
	if (first.hi != a.value.hi || first.lo != a.value.lo) {
		report_host_bits(w, &a, len);
		return false;
	}
	return add(w, a.is_v6 ? &value->v6 : &value->v4, first,
		   fw_addr_prefix_last(&a, len));
}

static bool read_address_range(struct word *w, size_t dash,
			       struct fw_value *value)
{
	struct word left = part(w, 0, dash);
	struct word right = part(w, dash + 1, w->len - dash - 1);
	struct fw_address first, last;

	if (!read_address(&left, &first) || !read_address(&right, &last))
		return false;
	if (first.is_v6 != last.is_v6) {
		fw_report_error(w->rep, w->at, "the range mixes IPv4 and IPv6");
		return false;
	}
	if (first.value.hi > last.value.hi ||
	    (first.value.hi == last.value.hi &&
	     first.value.lo > last.value.lo)) {
		fw_report_error(w->rep, w->at,
				"the range ends before it starts");
		return false;
	}
	return add(w, first.is_v6 ? &value->v6 : &value->v4, first.value,
		   last.value);
}

static bool parse_address(struct word *w, struct fw_value *value)
{
	const char *slash = memchr(w->s, '/', w->len);
	const char *dash = memchr(w->s, '-', w->len);
	struct fw_address a;

	if (is(w, "any")) {
		value->is_any = true;
		return true;
	}
	if (is(w, "self")) {
		value->has_self = true;
		return true;
	}
	if (slash)
		return read_prefix(w, (size_t)(slash - w->s), value);
	if (dash && w->len && (is_digit(w->s[0]) || memchr(w->s, ':', w->len)))
		return read_address_range(w, (size_t)(dash - w->s), value);
	if (!read_address(w, &a))
		return false;
	return add(w, a.is_v6 ? &value->v6 : &value->v4, a.value, a.value);
}

static void print_addresses(const struct fw_scope *scope,
			    const struct fw_value *value, struct fw_list *list)
{
	size_t i;

	(void)scope;
	if (value->has_self)
		fw_str_puts(fw_list_next(list), "self");
	for (i = 0; i < value->v4.n; i++)
		fw_addr_print_range(fw_list_next(list), &value->v4.r[i], false);
	for (i = 0; i < value->v6.n; i++)
		fw_addr_print_range(fw_list_next(list), &value->v6.r[i], true);
}

/* ---- ports --------------------------------------------------------------- */

static bool parse_port(struct word *w, struct fw_value *value)
{
	const struct fw_iana_name *name;
	bool is_one;

	name = find_name(w, fw_iana_services);
	if (name)
		return add_small(w, &value->v4, name->number, name->number);
	if (read_range(w, "port", UINT16_MAX, &value->v4, &is_one))
		return true;
	if (is_one)
		return false;
	return unknown_iana(w, "port", fw_iana_services);
}

bool fw_field_is_port(const char *s, size_t len)
{
	const struct word w = { .s = s, .len = len };
	const char *dash = memchr(s, '-', len);
	size_t first_len = dash ? (size_t)(dash - s) : len;
	struct word first = part(&w, 0, first_len);
	struct word last = first;

	if (dash)
		last = part(&w, first_len + 1, len - first_len - 1);
	return (is_number(&first) && is_number(&last)) ||
	       find_name(&w, fw_iana_services);
}

static void print_ranges(const struct fw_ranges *ranges, struct fw_list *list)
{
	size_t i;

	for (i = 0; i < ranges->n; i++) {
		const struct fw_range *r = &ranges->r[i];
		struct fw_str *str = fw_list_next(list);

		fw_str_put_number(str, r->first_lo);
		if (r->last_lo == r->first_lo)
			continue;
		fw_str_add(str, "-", 1);
		fw_str_put_number(str, r->last_lo);
	}
}

static void print_ports(const struct fw_scope *scope,
			const struct fw_value *value, struct fw_list *list)
{
	(void)scope;
	print_ranges(&value->v4, list);
}

/* ---- protocols ----------------------------------------------------------- */

/* The two protocols that are one to people; later rows are never printed. */
static const struct {
	const char *name;
	bool is_icmp4, is_icmp6;
} icmp_names[] = {
	{ "icmp", true, true },	   { "icmp4", true, false },
	{ "icmp6", false, true },  { "icmpv4", true, false },
	{ "icmpv6", false, true }, { "ipv6-icmp", false, true },
};

static bool parse_proto(struct word *w, struct fw_value *value)
{
	const struct fw_iana_name *name;
	bool is_one;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(icmp_names); i++) {
		if (!is(w, icmp_names[i].name))
			continue;
		return (!icmp_names[i].is_icmp4 ||
			add_small(w, &value->v4, FW_PROTO_ICMP,
				  FW_PROTO_ICMP)) &&
		       (!icmp_names[i].is_icmp6 ||
			add_small(w, &value->v4, FW_PROTO_ICMP6,
				  FW_PROTO_ICMP6));
	}
	name = find_name(w, fw_iana_protocols);
	if (name)
		return add_small(w, &value->v4, name->number, name->number);
	if (read_range(w, "protocol", UINT8_MAX, &value->v4, &is_one))
		return true;
	if (is_one)
		return false;
	return unknown_iana(w, "protocol", fw_iana_protocols);
}

static void print_proto(const struct fw_value *value, uint64_t number,
			struct fw_list *list)
{
	const struct fw_iana_name *n = fw_iana_protocols;
	struct fw_u128 other = { .lo = FW_PROTO_ICMP + FW_PROTO_ICMP6 -
				       number };

	if (number == FW_PROTO_ICMP || number == FW_PROTO_ICMP6) {
		if (!fw_ranges_has(&value->v4, other)) {
			fw_str_puts(fw_list_next(list), number == FW_PROTO_ICMP
								? "icmp4"
								: "icmp6");
		} else if (number == FW_PROTO_ICMP) {
			fw_str_puts(fw_list_next(list), "icmp");
		}
		return;
	}
	while (n->name && n->number != number)
		n++;
	if (n->name) {
		fw_str_puts(fw_list_next(list), n->name);
	} else {
		fw_str_put_number(fw_list_next(list), number);
	}
}

static void print_protos(const struct fw_scope *scope,
			 const struct fw_value *value, struct fw_list *list)
{
	uint64_t number;
	size_t i;

	(void)scope;
	for (i = 0; i < value->v4.n; i++) {
		for (number = value->v4.r[i].first_lo;
		     number <= value->v4.r[i].last_lo; number++)
			print_proto(value, number, list);
	}
}

/* ---- zones --------------------------------------------------------------- */

static bool parse_zone(struct word *w, struct fw_value *value)
{
	const struct fw_symbols *zones = &w->scope->zones;
	const struct fw_symbol *zone;
	struct fw_nearest nearest;
	uint64_t number;
	size_t i;

	if (is(w, "any")) {
		value->is_any = true;
		return true;
	}
	zone = fw_scope_find(w->scope, zones, w->at);
	if (zone) {
		number = (uint64_t)(zone - zones->s);
		return add_small(w, &value->v4, number, number);
	}
	nearest = fw_nearest_to(w->s, w->len);
	for (i = 0; i < zones->n; i++) {
		struct fw_span name = zones->s[i].name;

		fw_nearest_try(&nearest, fw_span_text(w->rep->sources, name),
			       name.len);
	}
	fw_report_error(w->rep, w->at, "there is no interface '%.*s'",
			FW_QUOTE(w->rep, w->at));
	if (!fw_report_nearest(w->rep, &nearest, "")) {
		fw_report_hint(w->rep, "declare it: interface %.*s = eth0",
			       FW_QUOTE(w->rep, w->at));
	}
	return false;
}

static void print_zones(const struct fw_scope *scope,
			const struct fw_value *value, struct fw_list *list)
{
	uint64_t number;
	size_t i;

	for (i = 0; i < value->v4.n; i++) {
		for (number = value->v4.r[i].first_lo;
		     number <= value->v4.r[i].last_lo; number++) {
			struct fw_span name = scope->zones.s[number].name;

			fw_str_add(fw_list_next(list),
				   fw_span_text(&scope->c->sources, name),
				   name.len);
		}
	}
}

/* ---- ICMP types and codes ------------------------------------------------ */

/* One name as numbers of both families; -1: none. */
struct pair {
	const char *name;
	int v4, v6;
};

static bool type_at(size_t i, struct pair *ret)
{
	const struct fw_iana_icmp *t = &fw_iana_icmp_types[i];

	*ret = (struct pair){ t->name, t->v4, t->v6 };
	return t->name != NULL;
}

/* The names of codes of one pair of types; others have no numbers. */
static bool code_at(size_t i, int type4, int type6, struct pair *ret)
{
	const struct fw_iana_code *c = &fw_iana_icmp_codes[i];

	*ret = (struct pair){ c->name, -1, -1 };
	if (c->name && type4 >= 0 && c->type4 == type4)
		ret->v4 = c->code4;
	if (c->name && type6 >= 0 && c->type6 == type6)
		ret->v6 = c->code6;
	return c->name != NULL;
}

static bool add_pair(struct word *w, const struct pair *pair,
		     struct fw_value *value)
{
	return (pair->v4 < 0 || add_small(w, &value->v4, (uint64_t)pair->v4,
					  (uint64_t)pair->v4)) &&
	       (pair->v6 < 0 || add_small(w, &value->v6, (uint64_t)pair->v6,
					  (uint64_t)pair->v6));
}

static bool has_small(const struct fw_ranges *ranges, int number)
{
	return number >= 0 &&
	       fw_ranges_has(ranges,
			     (struct fw_u128){ .lo = (uint64_t)number });
}

static bool unknown_type(struct word *w, bool wants_v4, bool wants_v6)
{
	struct fw_nearest nearest = fw_nearest_to(w->s, w->len);
	struct pair pair;
	size_t i;

	for (i = 0; type_at(i, &pair); i++) {
		if ((wants_v4 && pair.v4 >= 0) || (wants_v6 && pair.v6 >= 0))
			fw_nearest_try_word(&nearest, pair.name);
	}
	return unknown(w, "ICMP type", &nearest);
}

static bool parse_type(struct word *w, bool wants_v4, bool wants_v6,
		       struct fw_value *value)
{
	struct pair pair;
	size_t i;

	for (i = 0; type_at(i, &pair); i++) {
		if (!is(w, pair.name))
			continue;
		if (!wants_v4)
			pair.v4 = -1;
		if (!wants_v6)
			pair.v6 = -1;
		if (pair.v4 >= 0 || pair.v6 >= 0)
			return add_pair(w, &pair, value);
		fw_report_error(w->rep, w->at, "%s has no type '%s'",
				wants_v4 ? "ICMP" : "ICMPv6", pair.name);
		fw_report_hint(w->rep, "only %s has it: write 'proto %s'",
			       wants_v4 ? "ICMPv6" : "ICMP",
			       wants_v4 ? "icmp6" : "icmp4");
		return false;
	}
	return unknown_type(w, wants_v4, wants_v6);
}

/* Names only: a number means something else in each family. */
static bool parse_icmp(struct word *w, struct fw_value *value)
{
	if (!w->len || !is_digit(w->s[0]))
		return parse_type(w, true, true, value);
	fw_report_error(
		w->rep, w->at,
		"the number %.*s is another type in ICMP than in ICMPv6",
		FW_QUOTE(w->rep, w->at));
	fw_report_hint(
		w->rep,
		"write 'proto icmp4' or 'proto icmp6', or a name such as echo-request");
	return false;
}

static bool parse_icmp4(struct word *w, struct fw_value *value)
{
	bool is_one;

	if (read_range(w, "ICMP type", UINT8_MAX, &value->v4, &is_one))
		return true;
	return !is_one && parse_type(w, true, false, value);
}

static bool parse_icmp6(struct word *w, struct fw_value *value)
{
	bool is_one;

	if (read_range(w, "ICMPv6 type", UINT8_MAX, &value->v6, &is_one))
		return true;
	return !is_one && parse_type(w, false, true, value);
}

/*
 * Numbers of both families as names: every name all of whose numbers are
 * members, unless names before it said the same.
 */
static void print_pairs(const struct fw_value *value, int type4, int type6,
			bool is_code, struct fw_list *list)
{
	bool is_said4[256] = { false };
	bool is_said6[256] = { false };
	struct pair p;
	size_t i;

	for (i = 0; is_code ? code_at(i, type4, type6, &p) : type_at(i, &p);
	     i++) {
		if ((p.v4 < 0 && p.v6 < 0) ||
		    (p.v4 >= 0 && !has_small(&value->v4, p.v4)) ||
		    (p.v6 >= 0 && !has_small(&value->v6, p.v6)))
			continue;
		if ((p.v4 < 0 || is_said4[p.v4]) &&
		    (p.v6 < 0 || is_said6[p.v6]))
			continue;
		if (p.v4 >= 0)
			is_said4[p.v4] = true;
		if (p.v6 >= 0)
			is_said6[p.v6] = true;
		fw_str_puts(fw_list_next(list), p.name);
	}
}

static void print_icmp(const struct fw_scope *scope,
		       const struct fw_value *value, struct fw_list *list)
{
	(void)scope;
	print_pairs(value, -1, -1, false, list);
}

static const char *type_name(uint64_t number, bool is_v6)
{
	struct pair p;
	size_t i;

	for (i = 0; type_at(i, &p); i++) {
		if ((is_v6 ? p.v6 : p.v4) == (int)number)
			return p.name;
	}
	return NULL;
}

/* A short range of types that all have names is better read by them. */
#define MAX_NAMED_RANGE 4

static bool is_named_range(const struct fw_range *r, bool is_v6)
{
	uint64_t i;

	if (r->last_lo - r->first_lo >= MAX_NAMED_RANGE)
		return false;
	for (i = r->first_lo; i <= r->last_lo; i++) {
		if (!type_name(i, is_v6))
			return false;
	}
	return true;
}

static void print_types(const struct fw_ranges *ranges, bool is_v6,
			struct fw_list *list)
{
	size_t i;
	uint64_t k;

	for (i = 0; i < ranges->n; i++) {
		struct fw_range *r = &ranges->r[i];
		struct fw_ranges one = { .r = r, .n = 1 };

		if (!is_named_range(r, is_v6)) {
			print_ranges(&one, list);
			continue;
		}
		for (k = r->first_lo; k <= r->last_lo; k++)
			fw_str_puts(fw_list_next(list), type_name(k, is_v6));
	}
}

static void print_icmp4(const struct fw_scope *scope,
			const struct fw_value *value, struct fw_list *list)
{
	(void)scope;
	print_types(&value->v4, false, list);
}

static void print_icmp6(const struct fw_scope *scope,
			const struct fw_value *value, struct fw_list *list)
{
	(void)scope;
	print_types(&value->v6, true, list);
}

bool fw_field_parse_code(struct fw_scope *scope, struct fw_span at, int type4,
			 int type6, struct fw_value *value)
{
	struct fw_reporter *rep = &scope->c->rep;
	struct word w = { scope, rep, at, fw_span_text(rep->sources, at),
			  at.len };
	struct fw_nearest nearest = fw_nearest_to(w.s, w.len);
	struct pair pair;
	bool is_one;
	size_t i;

	for (i = 0; code_at(i, type4, type6, &pair); i++) {
		if (pair.v4 < 0 && pair.v6 < 0)
			continue;
		if (is(&w, pair.name))
			return add_pair(&w, &pair, value);
		fw_nearest_try_word(&nearest, pair.name);
	}
	if (type4 >= 0 && type6 >= 0 && w.len && is_digit(w.s[0])) {
		fw_report_error(
			rep, at,
			"the number %.*s is another code in ICMP than in ICMPv6",
			FW_QUOTE(rep, at));
		fw_report_hint(
			rep,
			"write 'proto icmp4' or 'proto icmp6', or the name of the code");
		return false;
	}
	if (read_range(&w, "ICMP code", UINT8_MAX,
		       type4 >= 0 ? &value->v4 : &value->v6, &is_one))
		return true;
	return !is_one && unknown(&w, "code of this ICMP type", &nearest);
}

void fw_field_print_codes(const struct fw_value *value, int type4, int type6,
			  struct fw_list *list)
{
	if (type4 >= 0 && type6 >= 0) {
		print_pairs(value, type4, type6, true, list);
	} else {
		print_ranges(type4 >= 0 ? &value->v4 : &value->v6, list);
	}
}

/* Addresses with ports stand in sets: of a rule, only their names are left. */
static void print_nothing(const struct fw_scope *scope,
			  const struct fw_value *value, struct fw_list *list)
{
	(void)scope;
	(void)value;
	(void)list;
}

/* ---- the table ----------------------------------------------------------- */

struct field {
	const char *name;
	bool (*parse)(struct word *w, struct fw_value *value);
	void (*print)(const struct fw_scope *scope,
		      const struct fw_value *value, struct fw_list *list);
};

static const struct field fields[] = {
	[FW_FIELD_ADDRESS] = { "an address", parse_address, print_addresses },
	[FW_FIELD_PORT] = { "a port", parse_port, print_ports },
	[FW_FIELD_PROTO] = { "a protocol", parse_proto, print_protos },
	[FW_FIELD_ZONE] = { "an interface", parse_zone, print_zones },
	[FW_FIELD_ICMP] = { "an ICMP type", parse_icmp, print_icmp },
	[FW_FIELD_ICMP4] = { "an ICMP type", parse_icmp4, print_icmp4 },
	[FW_FIELD_PAIR] = { "an address with a port", NULL, print_nothing },
	[FW_FIELD_ICMP6] = { "an ICMPv6 type", parse_icmp6, print_icmp6 },
};

const char *fw_field_name(enum fw_field field)
{
	return fields[field].name;
}

bool fw_field_parse(struct fw_scope *scope, enum fw_field field,
		    struct fw_span at, struct fw_value *value)
{
	struct fw_reporter *rep = &scope->c->rep;
	struct word w = { scope, rep, at, fw_span_text(rep->sources, at),
			  at.len };

	return fields[field].parse(&w, value);
}

void fw_field_print(const struct fw_scope *scope, enum fw_field field,
		    const struct fw_value *value, struct fw_list *list)
{
	if (value->is_any) {
		fw_str_puts(fw_list_next(list), "any");
	} else {
		fields[field].print(scope, value, list);
	}
}

/* SPDX-License-Identifier: GPL-2.0-only */

/* Which flows are meant: the words behind `show flows` and `flows kill`. */
#include "user/flowquery.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <linux/netfilter/nf_conntrack_tcp.h>

#include "rules/iana.h"
#include "rules/rules.h"
#include "user/util.h"

#define FILTERS "proto, from, to, port, state, rule, zone or family"
#define SORTS \
	"age, timeout, proto, from, to, port, state, rule, packets or bytes"

/* ---- states ------------------------------------------------------------------ */

static const char *const kernel_states[] = {
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

static const char *const other_states[] = { "REPLIED", "UNREPLIED" };

const char *fw_flow_state(const struct fw_flow *flow)
{
	const char *name = NULL;

	if (flow->orig.proto != IPPROTO_TCP)
		return other_states[!flow->replied];
	/* What BPF tracks is newer than what was written back to the kernel. */
	if (flow->tcp_state != FW_TCP_NONE &&
	    flow->tcp_state < FW_TCP_STATE_MAX)
		return fw_tcp_state_name((enum fw_tcp_state)flow->tcp_state);
	if (flow->kernel_tcp < ARRAY_SIZE(kernel_states))
		name = kernel_states[flow->kernel_tcp];
	return name ? name : fw_tcp_state_name(FW_TCP_NONE);
}

/* The i-th of all names that fw_flow_state() may say; NULL behind the last. */
static const char *state_name(size_t i)
{
	if (i < ARRAY_SIZE(other_states))
		return other_states[i];
	i -= ARRAY_SIZE(other_states);
	if (i < FW_TCP_STATE_MAX)
		return fw_tcp_state_name((enum fw_tcp_state)i);
	i -= FW_TCP_STATE_MAX;
	return i + 1 < ARRAY_SIZE(kernel_states) ? kernel_states[i + 1] : NULL;
}

static const char *find_state(const char *word)
{
	const char *name;

	for (size_t i = 0; (name = state_name(i)); i++) {
		if (strcasecmp(name, word) == 0)
			return name;
	}
	return NULL;
}

/* ---- words -------------------------------------------------------------------- */

static bool parse_number(const char *word, unsigned long max,
			 unsigned long *ret)
{
	char *end;

	if (*word < '0' || *word > '9')
		return false;
	errno = 0;
	*ret = strtoul(word, &end, 10);
	return !*end && !errno && *ret <= max;
}

static bool find_name(const struct fw_iana_name *names, const char *word,
		      unsigned long *ret)
{
	for (; names->name; names++) {
		if (strcasecmp(names->name, word) == 0) {
			*ret = names->number;
			return true;
		}
	}
	return false;
}

/* The two protocols that are one to people, called as rules call them. */
static bool take_icmp(struct fw_flow_query *query, const char *word)
{
	static const struct {
		const char *name;
		bool is_icmp4, is_icmp6;
	} names[] = {
		{ "icmp", true, true },	   { "icmp4", true, false },
		{ "icmp6", false, true },  { "icmpv4", true, false },
		{ "icmpv6", false, true }, { "ipv6-icmp", false, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(names[i].name, word) != 0)
			continue;
		query->protos[0] = (uint64_t)names[i].is_icmp4 << IPPROTO_ICMP;
		query->protos[0] |= (uint64_t)names[i].is_icmp6
				    << IPPROTO_ICMPV6;
		return true;
	}
	return false;
}

static int take_proto(struct fw_flow_query *query, const char *word,
		      char **reterr)
{
	unsigned long number;

	if (take_icmp(query, word))
		return 0;
	if (!parse_number(word, 255, &number) &&
	    !find_name(fw_iana_protocols, word, &number)) {
		fw_errorf(
			reterr,
			"no protocol is called '%s': proto takes tcp, udp, icmp and the like, or a number up to 255",
			word);
		return -EINVAL;
	}
	query->protos[number / 64] = 1ull << number % 64;
	return 0;
}

static bool parse_address(const char *text, struct fw_flow_prefix *ret)
{
	struct in_addr v4;

	*ret = (struct fw_flow_prefix){ .bits = 128 };
	if (inet_pton(AF_INET, text, &v4) == 1) {
		ret->family = FW_AF_IPV4;
		ret->addr.w[2] = htonl(0xffff);
		ret->addr.w[3] = v4.s_addr;
		return true;
	}
	ret->family = FW_AF_IPV6;
	return inet_pton(AF_INET6, text, &ret->addr) == 1;
}

static bool parse_prefix(const char *word, struct fw_flow_prefix *ret)
{
	const char *slash = strchr(word, '/');
	char text[INET6_ADDRSTRLEN];
	size_t len = slash ? (size_t)(slash - word) : strlen(word);
	unsigned long bits;
	bool is_v4;

	if (len >= sizeof(text))
		return false;
	memcpy(text, word, len);
	text[len] = '\0';
	if (!parse_address(text, ret))
		return false;
	is_v4 = ret->family == FW_AF_IPV4;
	if (!slash)
		return true;
	if (!parse_number(slash + 1, is_v4 ? 32 : 128, &bits))
		return false;
	ret->bits = (uint8_t)(bits + (is_v4 ? 96 : 0));
	return true;
}

/* The address that the prefix begins with; false: it is that of the word. */
static bool cut_host(struct fw_flow_prefix *prefix)
{
	const struct fw_addr whole = prefix->addr;

	for (unsigned int i = 0; i < 4; i++) {
		unsigned int bits =
			prefix->bits > i * 32 ? prefix->bits - i * 32 : 0;

		if (bits < 32)
			prefix->addr.w[i] &=
				htonl(bits ? UINT32_MAX << (32 - bits) : 0);
	}
	return memcmp(&whole, &prefix->addr, sizeof(whole)) != 0;
}

static void print_address(const struct fw_flow_prefix *prefix,
			  char text[INET6_ADDRSTRLEN])
{
	if (prefix->family == FW_AF_IPV4)
		(void)inet_ntop(AF_INET, &prefix->addr.w[3], text,
				INET6_ADDRSTRLEN);
	else
		(void)inet_ntop(AF_INET6, &prefix->addr, text,
				INET6_ADDRSTRLEN);
}

/* As in rules: who kills flows may mean the one address, or the network. */
static int check_host(struct fw_flow_prefix *prefix, const char *word,
		      char **reterr)
{
	char network[INET6_ADDRSTRLEN], host[INET6_ADDRSTRLEN];
	unsigned int len = prefix->bits;

	print_address(prefix, host);
	if (!cut_host(prefix))
		return 0;
	print_address(prefix, network);
	fw_errorf(
		reterr,
		"'%s' has bits set behind its prefix: the network is %s/%u, the single address is %s",
		word, network, prefix->family == FW_AF_IPV4 ? len - 96 : len,
		host);
	return -EINVAL;
}

static int take_prefix(struct fw_flow_prefix *prefix, const char *word,
		       char **reterr)
{
	if (parse_prefix(word, prefix))
		return check_host(prefix, word, reterr);
	fw_errorf(
		reterr,
		"'%s' is no address: from and to take 192.0.2.1, 192.0.2.0/24, 2001:db8::1 or 2001:db8::/32",
		word);
	return -EINVAL;
}

static int take_from(struct fw_flow_query *query, const char *word,
		     char **reterr)
{
	return take_prefix(&query->from, word, reterr);
}

static int take_to(struct fw_flow_query *query, const char *word, char **reterr)
{
	return take_prefix(&query->to, word, reterr);
}

static bool parse_port(const char *word, unsigned long *ret)
{
	return parse_number(word, 65535, ret) ||
	       find_name(fw_iana_services, word, ret);
}

static int take_port(struct fw_flow_query *query, const char *word,
		     char **reterr)
{
	unsigned long first = 0, last;
	const char *dash = strchr(word, '-');
	char text[8];
	bool is_range = false;

	if (dash && (size_t)(dash - word) < sizeof(text)) {
		memcpy(text, word, (size_t)(dash - word));
		text[dash - word] = '\0';
		is_range = parse_number(text, 65535, &first) &&
			   parse_number(dash + 1, 65535, &last) &&
			   first <= last;
	}
	if (!is_range) {
		if (!parse_port(word, &first)) {
			fw_errorf(
				reterr,
				"'%s' is no port: port takes a number up to 65535, a range such as 8000-8100, or a name such as ssh",
				word);
			return -EINVAL;
		}
		last = first;
	}
	query->first_port = (uint16_t)first;
	query->last_port = (uint16_t)last;
	query->has_port = true;
	return 0;
}

static int take_state(struct fw_flow_query *query, const char *word,
		      char **reterr)
{
	query->state = find_state(word);
	if (query->state)
		return 0;
	fw_errorf(
		reterr,
		"no state is called '%s': state takes ESTABLISHED, SYN_SENT, TIME_WAIT and the like for TCP, REPLIED or UNREPLIED for the rest",
		word);
	return -EINVAL;
}

static int take_rule(struct fw_flow_query *query, const char *word,
		     char **reterr)
{
	(void)reterr;
	query->rule = word;
	return 0;
}

static int take_zone(struct fw_flow_query *query, const char *word,
		     char **reterr)
{
	(void)reterr;
	query->zone = word;
	return 0;
}

static int take_family(struct fw_flow_query *query, const char *word,
		       char **reterr)
{
	if (strcmp(word, "ipv4") == 0) {
		query->family = FW_AF_IPV4;
	} else if (strcmp(word, "ipv6") == 0) {
		query->family = FW_AF_IPV6;
	} else {
		fw_errorf(reterr, "family is ipv4 or ipv6, not '%s'", word);
		return -EINVAL;
	}
	return 0;
}

static int take_sort(struct fw_flow_query *query, const char *word,
		     char **reterr)
{
	static const char *const names[] = {
		[FW_FLOW_SORT_AGE] = "age",
		[FW_FLOW_SORT_TIMEOUT] = "timeout",
		[FW_FLOW_SORT_PROTO] = "proto",
		[FW_FLOW_SORT_FROM] = "from",
		[FW_FLOW_SORT_TO] = "to",
		[FW_FLOW_SORT_PORT] = "port",
		[FW_FLOW_SORT_STATE] = "state",
		[FW_FLOW_SORT_RULE] = "rule",
		[FW_FLOW_SORT_PACKETS] = "packets",
		[FW_FLOW_SORT_BYTES] = "bytes",
	};

	for (size_t i = FW_FLOW_SORT_AGE; i < ARRAY_SIZE(names); i++) {
		if (strcmp(names[i], word) == 0) {
			query->sort = (enum fw_flow_sort)i;
			return 0;
		}
	}
	fw_errorf(reterr, "cannot sort by '%s': sort takes " SORTS, word);
	return -EINVAL;
}

static const struct term {
	const char *word;
	int (*take)(struct fw_flow_query *query, const char *word,
		    char **reterr);
	bool is_filter;
} terms[] = {
	{ "proto", take_proto, true }, { "from", take_from, true },
	{ "to", take_to, true },       { "port", take_port, true },
	{ "state", take_state, true }, { "rule", take_rule, true },
	{ "zone", take_zone, true },   { "family", take_family, true },
	{ "sort", take_sort, false },
};

/* A word that stands alone; false: it is not one. */
static bool take_flag(struct fw_flow_query *query, const char *word)
{
	if (strcmp(word, "all") == 0)
		query->all = true;
	else if (strcmp(word, "count") == 0)
		query->count = true;
	else if (strcmp(word, "reverse") == 0)
		query->reverse = true;
	else
		return false;
	return true;
}

static size_t find_term(const char *word)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(terms) && strcmp(terms[i].word, word) != 0)
		i++;
	return i;
}

/* Takes a term and its value off the words. */
static int take_term(struct fw_flow_query *query, const char *const *words,
		     size_t n, uint32_t *seen, char **reterr)
{
	size_t i = find_term(words[0]);

	if (i == ARRAY_SIZE(terms)) {
		fw_errorf(reterr,
			  "'%s' says nothing about a flow: expected " FILTERS
			  ", or sort, reverse, count, all",
			  words[0]);
		return -EINVAL;
	}
	if (*seen & 1u << i) {
		fw_errorf(reterr,
			  "'%s' is given twice: a flow has to match all terms",
			  words[0]);
		return -EINVAL;
	}
	*seen |= 1u << i;
	if (n < 2) {
		fw_errorf(reterr, "'%s' needs a value behind it", words[0]);
		return -EINVAL;
	}
	query->has_terms |= terms[i].is_filter;
	return terms[i].take(query, words[1], reterr);
}

static int check_query(const struct fw_flow_query *query, char **reterr)
{
	if (query->all && query->has_terms) {
		fw_errorf(reterr, "'all' does not stand beside other terms");
		return -EINVAL;
	}
	if (query->reverse && query->sort == FW_FLOW_SORT_NONE) {
		fw_errorf(reterr, "'reverse' needs an order: sort " SORTS);
		return -EINVAL;
	}
	return 0;
}

int fw_flow_query_parse(const char *const *words, size_t n,
			struct fw_flow_query *ret, char **reterr)
{
	struct fw_flow_query query = { 0 };
	uint32_t seen = 0;
	int r;

	for (size_t i = 0; i < n; i++) {
		if (take_flag(&query, words[i]))
			continue;
		r = take_term(&query, words + i, n - i, &seen, reterr);
		if (r < 0)
			return r;
		i++;
	}
	r = check_query(&query, reterr);
	if (r == 0)
		*ret = query;
	return r;
}

int fw_flow_query_check_kill(const struct fw_flow_query *query, char **reterr)
{
	if (query->sort != FW_FLOW_SORT_NONE || query->count) {
		fw_errorf(
			reterr,
			"flows kill takes no sort and no count: try show flows first");
		return -EINVAL;
	}
	if (!query->has_terms && !query->all) {
		fw_errorf(reterr, "which flows? " FILTERS
				  ", see show flows; 'all' ends every flow");
		return -EINVAL;
	}
	return 0;
}

/* ---- matching ------------------------------------------------------------------- */

static bool is_in(const struct fw_flow_prefix *prefix,
		  const struct fw_addr *addr, uint8_t family)
{
	const uint8_t *a = (const uint8_t *)&prefix->addr;
	const uint8_t *b = (const uint8_t *)addr;
	unsigned int bytes = prefix->bits / 8, bits = prefix->bits % 8;

	if (prefix->family != family || memcmp(a, b, bytes) != 0)
		return false;
	return !bits || (a[bytes] ^ b[bytes]) >> (8 - bits) == 0;
}

/* Either name of a side that is translated. */
static bool matches_side(const struct fw_flow_prefix *prefix,
			 const struct fw_addr *before,
			 const struct fw_addr *after, uint8_t family)
{
	return !prefix->family || is_in(prefix, before, family) ||
	       is_in(prefix, after, family);
}

static bool matches_port(const struct fw_flow_query *query,
			 const struct fw_flow *flow)
{
	const uint16_t ports[] = { flow->orig.sport, flow->orig.dport,
				   flow->reply.sport, flow->reply.dport };

	if (!query->has_port)
		return true;
	/* the identifier of an echo is no port */
	if (flow->orig.proto == IPPROTO_ICMP ||
	    flow->orig.proto == IPPROTO_ICMPV6 ||
	    (!flow->orig.sport && !flow->orig.dport))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		if (ntohs(ports[i]) >= query->first_port &&
		    ntohs(ports[i]) <= query->last_port)
			return true;
	}
	return false;
}

static bool matches_proto(const struct fw_flow_query *query, uint8_t proto)
{
	const uint64_t *p = query->protos;

	return !(p[0] | p[1] | p[2] | p[3]) || p[proto / 64] >> proto % 64 & 1;
}

bool fw_flow_query_matches(const struct fw_flow_query *query,
			   const struct fw_flow *flow)
{
	const struct fw_tuple *orig = &flow->orig, *reply = &flow->reply;

	return (!query->family || query->family == orig->family) &&
	       matches_proto(query, orig->proto) && matches_port(query, flow) &&
	       matches_side(&query->from, &orig->saddr, &reply->daddr,
			    orig->family) &&
	       matches_side(&query->to, &orig->daddr, &reply->saddr,
			    orig->family) &&
	       (!query->state ||
		strcmp(query->state, fw_flow_state(flow)) == 0);
}

/* ---- order ------------------------------------------------------------------------ */

static uint64_t both(const __u64 *counts)
{
	return counts[0] + counts[1];
}

/* Two texts are in the order of these numbers. */
static int number_order(char **ret, uint64_t number, const char *tuple)
{
	return asprintf(ret, "%016llx%s", (unsigned long long)number, tuple);
}

static void print_hex(const void *data, size_t n, char *ret)
{
	const uint8_t *bytes = data;

	*ret = '\0';
	for (size_t i = 0; i < n; i++)
		(void)snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

char *fw_flow_order(enum fw_flow_sort sort, const struct fw_flow *flow,
		    const char *label)
{
	/* the same order each time: a tuple begins with where it is from */
	char tuple[2 * sizeof(flow->orig) + 1];
	char addr[2 * sizeof(flow->orig.daddr) + 1];
	char *order = NULL;
	int r = -1;

	print_hex(&flow->orig, sizeof(flow->orig), tuple);
	switch (sort) {
	case FW_FLOW_SORT_AGE: /* what is older than we are has no age: oldest */
		r = number_order(&order, flow->opened_ns, tuple);
		break;
	case FW_FLOW_SORT_TIMEOUT:
		r = number_order(&order, flow->expires_ns, tuple);
		break;
	case FW_FLOW_SORT_PROTO:
		r = number_order(&order, flow->orig.proto, tuple);
		break;
	case FW_FLOW_SORT_TO:
		print_hex(&flow->orig.daddr, sizeof(flow->orig.daddr), addr);
		r = asprintf(&order, "%s%s", addr, tuple);
		break;
	case FW_FLOW_SORT_PORT:
		r = number_order(&order, ntohs(flow->orig.dport), tuple);
		break;
	case FW_FLOW_SORT_STATE: /* what ends a text is below all that goes on */
		r = asprintf(&order, "%s\x01%s", fw_flow_state(flow), tuple);
		break;
	case FW_FLOW_SORT_RULE:
		r = asprintf(&order, "%s\x01%s", label ? label : "", tuple);
		break;
	case FW_FLOW_SORT_PACKETS:
		r = number_order(&order, ~both(flow->counts.packets), tuple);
		break;
	case FW_FLOW_SORT_BYTES:
		r = number_order(&order, ~both(flow->counts.bytes), tuple);
		break;
	case FW_FLOW_SORT_FROM:
	case FW_FLOW_SORT_NONE:
		r = asprintf(&order, "%s", tuple);
		break;
	}
	return r < 0 ? NULL : order;
}

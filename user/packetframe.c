/* SPDX-License-Identifier: GPL-2.0-only */

/* A packet as people describe it: read from left to right, then made into a frame. */
#include "user/packetframe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "kern/abi.h"
#include "rules/iana.h"
#include "user/print.h"
#include "user/util.h"

#define MAX_TAGS    2
#define MAX_DEPTH   2 /* an ICMP error, and the packet it is about */
#define SOURCE_PORT 40000
#define DEFAULT_ID  1
#define DEFAULT_TTL 64
#define WORD_SIZE   64

struct word {
	size_t at, len;
	char text[WORD_SIZE]; /* empty: behind the last one */
};

struct reader {
	const char *text;
	size_t at;
	struct word word; /* the one that comes next */
	struct fw_packet_error *error;
};

/* HEADERS of the grammar. */
struct packet {
	uint8_t family; /* FW_AF_*; 0: not known yet */
	uint8_t proto;
	struct fw_addr src, dst;
	uint16_t sport, dport;
	bool has_sport, has_dport;
	bool has_type, has_code;
	uint8_t type, code;		      /* of ICMP */
	const struct fw_iana_icmp *type_name; /* until the family is known */
	bool has_flags;
	uint8_t flags; /* of TCP */
	uint8_t ttl;
	uint32_t length; /* of the IP packet; 0: as it needs */
	uint16_t vlan[MAX_TAGS];
	size_t n_vlans;
	uint16_t id;
	bool is_fragment, more;
	uint16_t offset; /* bytes */
	bool from_sa;
	uint32_t reqid;
	uint8_t quoted[FW_FRAME_MOST];
	size_t n_quoted;
	char about[192]; /* `quoted` in words */
};

/* ---- words -------------------------------------------------------------------- */

static void next_word(struct reader *r)
{
	const char *blanks = " \t\n";
	size_t n;

	r->at += strspn(r->text + r->at, blanks);
	n = strcspn(r->text + r->at, blanks);
	r->word.at = r->at;
	r->word.len = n;
	r->at += n;
	n = n < WORD_SIZE ? n : WORD_SIZE - 1;
	memcpy(r->word.text, r->text + r->word.at, n);
	r->word.text[n] = '\0';
}

/* It is about the next word, or the place where one should be. */
__attribute__((format(printf, 2, 3))) static int fail(const struct reader *r,
						      const char *format, ...)
{
	char text[384];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fw_errorf(&r->error->text, "%s", text);
	r->error->at = r->word.at;
	r->error->len = r->word.len ? r->word.len : 1;
	return -EINVAL;
}

static bool is_word(const struct reader *r, const char *text)
{
	return strcmp(r->word.text, text) == 0;
}

static bool take_word(struct reader *r, const char *text)
{
	if (!is_word(r, text))
		return false;
	next_word(r);
	return true;
}

static bool read_number(const char *text, unsigned long max, unsigned long *ret)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*ret = strtoul(text, &end, 0);
	return !*end && !errno && *ret <= max;
}

static int take_number(struct reader *r, const char *what, unsigned long min,
		       unsigned long max, unsigned long *ret)
{
	if (!read_number(r->word.text, max, ret) || *ret < min)
		return fail(r, "%s takes a number from %lu to %lu", what, min,
			    max);
	next_word(r);
	return 0;
}

static bool find_name(const struct fw_iana_name *names, const char *text,
		      unsigned long *ret)
{
	for (; names->name; names++) {
		if (strcasecmp(names->name, text) == 0) {
			*ret = names->number;
			return true;
		}
	}
	return false;
}

/* ---- protocol, addresses -------------------------------------------------------- */

static bool is_icmp(const struct packet *p)
{
	return p->proto == IPPROTO_ICMP || p->proto == IPPROTO_ICMPV6;
}

static bool has_ports(const struct packet *p)
{
	return p->proto == IPPROTO_TCP || p->proto == IPPROTO_UDP ||
	       p->proto == IPPROTO_SCTP;
}

/* A type of ICMP may stand behind the protocol, by its name or number. */
static void take_icmp_type(struct reader *r, struct packet *p)
{
	const struct fw_iana_icmp *t = fw_iana_icmp_types;
	unsigned long number;

	if (read_number(r->word.text, 255, &number)) {
		p->type = (uint8_t)number;
		p->has_type = true;
		next_word(r);
		return;
	}
	for (; t->name; t++) {
		if (strcasecmp(t->name, r->word.text) == 0) {
			p->type_name = t;
			next_word(r);
			return;
		}
	}
}

static int take_protocol(struct reader *r, struct packet *p)
{
	static const struct fw_iana_name others[] = {
		{ "icmp", IPPROTO_ICMP },     { "icmp6", IPPROTO_ICMPV6 },
		{ "icmpv6", IPPROTO_ICMPV6 }, { "icmp4", IPPROTO_ICMP },
		{ "icmpv4", IPPROTO_ICMP },   { NULL, 0 },
	};
	unsigned long number;

	if (!find_name(fw_iana_protocols, r->word.text, &number) &&
	    !find_name(others, r->word.text, &number) &&
	    !read_number(r->word.text, 255, &number))
		return fail(
			r,
			"what protocol? tcp, udp, icmp, icmpv6, esp, sctp and the like, or a number up to 255");
	p->proto = (uint8_t)number;
	next_word(r);
	if (is_icmp(p))
		take_icmp_type(r, p);
	return 0;
}

static bool read_address(const char *text, struct fw_addr *ret,
			 uint8_t *ret_family)
{
	*ret = (struct fw_addr){ .w = { 0, 0, htonl(0xffff), 0 } };
	*ret_family = FW_AF_IPV4;
	if (inet_pton(AF_INET, text, &ret->w[3]) == 1)
		return true;
	*ret_family = FW_AF_IPV6;
	return inet_pton(AF_INET6, text, ret->w) == 1;
}

/* Splits "192.0.2.1:80" and "[2001:db8::1]:80" in place; NULL: no port is given. */
static char *split_port(char *text, char **ret_address)
{
	char *end = strrchr(text, ':');

	*ret_address = text;
	if (*text == '[') {
		*ret_address = text + 1;
		end = strchr(text, ']');
		if (!end)
			return NULL;
		*end++ = '\0';
		return *end == ':' ? end + 1 : NULL;
	}
	if (!end || strchr(text, ':') != end)
		return NULL;
	*end = '\0';
	return end + 1;
}

static int take_port(const struct reader *r, const struct packet *p,
		     const char *text, uint16_t *ret, bool *ret_has)
{
	unsigned long number;

	*ret_has = text;
	if (!text)
		return 0;
	if (!has_ports(p))
		return fail(r, "only tcp, udp and sctp have ports");
	if (!read_number(text, UINT16_MAX, &number) &&
	    !find_name(fw_iana_services, text, &number))
		return fail(
			r,
			"'%s' is no port: a number up to 65535, or ssh, https and the like",
			text);
	*ret = (uint16_t)number;
	return 0;
}

static int take_host(struct reader *r, struct packet *p, bool is_source)
{
	struct fw_addr *addr = is_source ? &p->src : &p->dst;
	char text[WORD_SIZE], *port, *address;
	uint8_t family;
	int n;

	memcpy(text, r->word.text, sizeof(text));
	port = split_port(text, &address);
	if (!read_address(address, addr, &family))
		return fail(r, "%s: 192.0.2.1%s or %s is how %s is written",
			    *r->word.text ? "this is no address"
					  : "an address is missing",
			    has_ports(p) ? ":80" : "",
			    has_ports(p) ? "[2001:db8::1]:80" : "2001:db8::1",
			    is_source ? "the source" : "the destination");
	if (p->family && p->family != family)
		return fail(r, "source and destination are not of one family");
	p->family = family;
	n = is_source ? take_port(r, p, port, &p->sport, &p->has_sport)
		      : take_port(r, p, port, &p->dport, &p->has_dport);
	if (n < 0)
		return n;
	next_word(r);
	return 0;
}

static int take_hosts(struct reader *r, struct packet *p)
{
	int n;

	(void)take_word(r, "from");
	n = take_host(r, p, true);
	if (n < 0)
		return n;
	if (is_word(r, "-"))
		return fail(
			r,
			"the shell has taken the rest of '->' and made a file: write 'to', or quote the packet");
	if (!take_word(r, "->") && !take_word(r, "to"))
		return fail(
			r,
			"'to' and where the packet goes to has to follow the source");
	return take_host(r, p, false);
}

/* What depends on the family, which the addresses have told. */
static int settle_icmp(const struct reader *r, struct packet *p)
{
	bool v4 = p->family == FW_AF_IPV4;
	int type;

	if (!is_icmp(p))
		return 0;
	p->proto = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	if (p->type_name) {
		type = v4 ? p->type_name->v4 : p->type_name->v6;
		if (type < 0)
			return fail(r, "%s has no %s", v4 ? "ICMP" : "ICMPv6",
				    p->type_name->name);
		p->type = (uint8_t)type;
	} else if (!p->has_type) {
		p->type = v4 ? 8 : 128;
	}
	return 0;
}

/* ---- terms ------------------------------------------------------------------------ */

static const char *const flag_names[] = { "fin", "syn", "rst", "psh",
					  "ack", "urg", "ece", "cwr" };

static int read_flag(const char *text, size_t len, uint8_t *flags)
{
	for (size_t i = 0; i < ARRAY_SIZE(flag_names); i++) {
		if (len == strlen(flag_names[i]) &&
		    strncasecmp(text, flag_names[i], len) == 0) {
			*flags |= (uint8_t)(1u << i);
			return 0;
		}
	}
	return -EINVAL;
}

static int take_flags(struct reader *r, struct packet *p)
{
	const char *at = r->word.text;

	if (p->proto != IPPROTO_TCP)
		return fail(r, "only tcp has flags");
	p->has_flags = true;
	p->flags = 0;
	if (take_word(r, "none"))
		return 0;
	do {
		size_t len = strcspn(at, ",+/");

		if (read_flag(at, len, &p->flags) < 0)
			return fail(
				r,
				"flags takes none or fin, syn, rst, psh, ack, urg, ece and cwr, like syn,ack");
		at += len;
	} while (*at && *++at);
	next_word(r);
	return 0;
}

static int take_code(struct reader *r, struct packet *p)
{
	bool v4 = p->family == FW_AF_IPV4;
	unsigned long number;

	if (!is_icmp(p))
		return fail(r, "only ICMP has a code");
	p->has_code = true;
	for (const struct fw_iana_code *c = fw_iana_icmp_codes; c->name; c++) {
		if ((v4 ? c->type4 : c->type6) == p->type &&
		    strcasecmp(c->name, r->word.text) == 0) {
			p->code = (uint8_t)(v4 ? c->code4 : c->code6);
			next_word(r);
			return 0;
		}
	}
	if (take_number(r, "code of this type", 0, 255, &number) < 0)
		return -EINVAL;
	p->code = (uint8_t)number;
	return 0;
}

static int take_fragment(struct reader *r, struct packet *p)
{
	unsigned long number;

	p->is_fragment = true;
	if (take_word(r, "first")) {
		p->more = true;
		return 0;
	}
	if (!read_number(r->word.text, 65528, &number) || number % 8)
		return fail(
			r,
			"fragment takes 'first', or where it begins: a multiple of 8");
	p->offset = (uint16_t)number;
	next_word(r);
	p->more = take_word(r, "more");
	return 0;
}

static int take_vlan(struct reader *r, struct packet *p)
{
	unsigned long number;

	if (p->n_vlans == MAX_TAGS)
		return fail(r, "no more than two VLAN tags");
	if (take_number(r, "vlan", 0, 4094, &number) < 0)
		return -EINVAL;
	p->vlan[p->n_vlans++] = (uint16_t)number;
	return 0;
}

static int take_headers(struct reader *r, struct packet *p, int depth);
static size_t put_ip(const struct packet *p, uint8_t *ip);
static void print_headers(const struct packet *p, char *text, size_t size);

static int take_about(struct reader *r, struct packet *p, int depth)
{
	struct packet about = { 0 };
	int n;

	if (!is_icmp(p) || depth == MAX_DEPTH)
		return fail(r, "only an ICMP error is about another packet");
	n = take_headers(r, &about, depth + 1);
	if (n < 0)
		return n;
	if (about.from_sa)
		return fail(r, "'via ipsec' stands before 'about'");
	if (about.family != p->family)
		return fail(r, "an ICMP error is about a packet of its family");
	p->n_quoted = put_ip(&about, p->quoted);
	/* what routers quote of it at least, or all that anybody may */
	if (p->n_quoted > 512)
		p->n_quoted = 512;
	print_headers(&about, p->about, sizeof(p->about));
	return 0;
}

/* Behind "via". */
static int take_via(struct reader *r, struct packet *p)
{
	unsigned long number;
	int n;

	if (!take_word(r, "ipsec"))
		return fail(r, "it is 'via ipsec', or 'via ipsec reqid 7'");
	p->from_sa = true;
	if (!take_word(r, "reqid"))
		return 0;
	n = take_number(r, "reqid", 1, UINT32_MAX, &number);
	p->reqid = (uint32_t)number;
	return n;
}

static int take_term(struct reader *r, struct packet *p, int depth)
{
	unsigned long number;
	int n;

	if (take_word(r, "via"))
		return take_via(r, p);
	if (take_word(r, "flags"))
		return take_flags(r, p);
	if (take_word(r, "code"))
		return take_code(r, p);
	if (take_word(r, "vlan"))
		return take_vlan(r, p);
	if (take_word(r, "fragment"))
		return take_fragment(r, p);
	if (take_word(r, "about"))
		return take_about(r, p, depth);
	if (take_word(r, "ttl")) {
		n = take_number(r, "ttl", 0, 255, &number);
		p->ttl = (uint8_t)number;
		return n;
	}
	if (take_word(r, "id")) {
		n = take_number(r, "id", 0, UINT16_MAX, &number);
		p->id = (uint16_t)number;
		return n;
	}
	if (take_word(r, "length")) {
		n = take_number(r, "length", 20, FW_FRAME_MOST - 32, &number);
		p->length = (uint32_t)number;
		return n;
	}
	return fail(
		r,
		"what follows is flags, ttl, length, vlan, id, code, fragment, via or about");
}

static int take_headers(struct reader *r, struct packet *p, int depth)
{
	int n;

	p->ttl = DEFAULT_TTL;
	p->id = DEFAULT_ID;
	p->flags = 0x02; /* SYN */
	n = take_protocol(r, p);
	if (n == 0)
		n = take_hosts(r, p);
	if (n == 0)
		n = settle_icmp(r, p);
	if (n == 0 && !p->has_dport &&
	    (p->proto == IPPROTO_TCP || p->proto == IPPROTO_UDP) &&
	    !is_word(r, "fragment"))
		return fail(r,
			    "%s needs a port behind its destination, like :80",
			    p->proto == IPPROTO_TCP ? "tcp" : "udp");
	if (!p->has_sport && has_ports(p))
		p->sport = SOURCE_PORT;
	while (n == 0 && *r->word.text)
		n = take_term(r, p, depth);
	return n;
}

/* ---- the frame ------------------------------------------------------------------------ */

static void put16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint32_t add_sum(uint32_t sum, const uint8_t *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? at[i] : (uint32_t)at[i] << 8;
	return sum;
}

static uint16_t end_sum(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Headers and what they need at least; returns its length. */
static size_t put_l4(const struct packet *p, uint8_t *l4)
{
	if (p->is_fragment && p->offset)
		return 16;
	if (has_ports(p)) {
		put16(l4, p->sport);
		put16(l4 + 2, p->dport);
	}
	switch (p->proto) {
	case IPPROTO_TCP:
		l4[12] = 5 << 4;
		l4[13] = p->flags;
		return 20;
	case IPPROTO_UDP:
		return 8;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		l4[0] = p->type;
		l4[1] = p->code;
		if (p->n_quoted)
			memcpy(l4 + 8, p->quoted, p->n_quoted);
		else
			put16(l4 + 4, p->id);
		return 8 + p->n_quoted;
	default:
		return 16;
	}
}

/* Where the checksum of a protocol is; 0: it has none that anybody here looks at. */
static size_t sum_offset(const struct packet *p)
{
	if (p->is_fragment)
		return 0;
	return p->proto == IPPROTO_TCP	 ? 16
	       : p->proto == IPPROTO_UDP ? 6
	       : is_icmp(p)		 ? 2
					 : 0;
}

static void sum_l4(const struct packet *p, uint8_t *l4, size_t len)
{
	bool v4 = p->family == FW_AF_IPV4;
	size_t at = sum_offset(p), alen = v4 ? 4 : 16;
	uint32_t sum = 0;

	if (!at)
		return;
	if (p->proto != IPPROTO_ICMP) {
		sum = (uint32_t)len + p->proto;
		sum = add_sum(sum, (const uint8_t *)&p->src.w[v4 ? 3 : 0],
			      alen);
		sum = add_sum(sum, (const uint8_t *)&p->dst.w[v4 ? 3 : 0],
			      alen);
	}
	put16(l4 + at, end_sum(add_sum(sum, l4, len)));
}

static size_t head_len(const struct packet *p)
{
	if (p->family == FW_AF_IPV4)
		return 20;
	return p->is_fragment ? 48 : 40;
}

static void put_ipv4(const struct packet *p, uint8_t *ip, size_t len)
{
	ip[0] = 0x45;
	put16(ip + 2, len);
	put16(ip + 4, p->id);
	put16(ip + 6, p->offset / 8u | (p->more ? 0x2000u : 0));
	ip[8] = p->ttl;
	ip[9] = p->proto;
	memcpy(ip + 12, &p->src.w[3], 4);
	memcpy(ip + 16, &p->dst.w[3], 4);
	put16(ip + 10, end_sum(add_sum(0, ip, 20)));
}

static void put_ipv6(const struct packet *p, uint8_t *ip, size_t len)
{
	ip[0] = 0x60;
	put16(ip + 4, len - 40);
	ip[6] = p->is_fragment ? IPPROTO_FRAGMENT : p->proto;
	ip[7] = p->ttl;
	memcpy(ip + 8, &p->src, 16);
	memcpy(ip + 24, &p->dst, 16);
	if (!p->is_fragment)
		return;
	ip[40] = p->proto;
	put16(ip + 42, p->offset | (p->more ? 1u : 0));
	put16(ip + 46, p->id);
}

/* The packet from its IP header on; returns its length. */
static size_t put_ip(const struct packet *p, uint8_t *ip)
{
	size_t head = head_len(p), len;
	uint8_t *l4 = ip + head;

	memset(ip, 0, FW_FRAME_MOST - 32);
	len = put_l4(p, l4);
	if (p->more)
		len = (len + 7) / 8 * 8;
	if (p->length > head)
		len = p->length - head;
	if (p->proto == IPPROTO_UDP && !(p->is_fragment && p->offset))
		put16(l4 + 4, len);
	if (p->is_fragment && p->more && p->proto == IPPROTO_UDP && !p->offset)
		put16(l4 + 4, len + 1000); /* of the whole datagram */
	sum_l4(p, l4, len);
	if (p->family == FW_AF_IPV4)
		put_ipv4(p, ip, head + len);
	else
		put_ipv6(p, ip, head + len);
	return head + len;
}

static void put_frame(const struct packet *p, struct fw_packetframe *ret)
{
	uint8_t *at = ret->frame;

	memcpy(at, FW_FRAME_TO "\x02\0\0\0\0\x01", 12);
	at += 12;
	for (size_t i = 0; i < p->n_vlans; i++, at += 4) {
		put16(at, i + 1 < p->n_vlans ? 0x88a8 : 0x8100);
		put16(at + 2, p->vlan[i]);
	}
	put16(at, p->family == FW_AF_IPV4 ? 0x0800 : 0x86dd);
	at += 2;
	at += put_ip(p, at);
	ret->len = (uint32_t)(at - ret->frame);
}

/* ---- in words --------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void
append(char *text, size_t size, const char *format, ...)
{
	size_t n = strlen(text);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text + n, size - n, format, args);
	va_end(args);
}

static void print_flags(const struct packet *p, char *text, size_t size)
{
	const char *separator = " flags ";

	for (size_t i = 0; i < ARRAY_SIZE(flag_names); i++) {
		if (p->flags & 1u << i) {
			append(text, size, "%s%s", separator, flag_names[i]);
			separator = ",";
		}
	}
	if (!p->flags)
		append(text, size, " flags none");
}

static void print_fragment(const struct packet *p, char *text, size_t size)
{
	if (p->offset)
		append(text, size, " fragment %u%s", p->offset,
		       p->more ? " more" : "");
	else
		append(text, size, p->more ? " fragment first" : " fragment 0");
}

/* What tells one echo from the other, and datagrams of which there are fragments. */
static void print_id(const struct packet *p, char *text, size_t size)
{
	if (p->is_fragment || p->id != DEFAULT_ID)
		append(text, size, " id %u", p->id);
}

/* The port, too, if it is 0: nobody has that, so it has been asked for. */
static void print_endpoint(const struct packet *p, const struct fw_addr *addr,
			   uint16_t port, char *text, size_t size)
{
	bool later = p->is_fragment && p->offset;
	char address[FW_ADDR_TEXT];

	(void)fw_address_print(address, addr, p->family);
	if (!has_ports(p) || later)
		append(text, size, "%s", address);
	else
		append(text, size,
		       p->family == FW_AF_IPV4 ? "%s:%u" : "[%s]:%u", address,
		       port);
}

static void print_headers(const struct packet *p, char *text, size_t size)
{
	bool later = p->is_fragment && p->offset;
	char protocol[8];

	append(text, size, "%s ", fw_protocol_print(protocol, p->proto));
	if (is_icmp(p) && !later)
		append(text, size, "%u ", p->type);
	print_endpoint(p, &p->src, p->sport, text, size);
	append(text, size, " to ");
	print_endpoint(p, &p->dst, p->dport, text, size);
	if (is_icmp(p) && !later)
		append(text, size, " code %u", p->code);
	if (p->proto == IPPROTO_TCP && !later)
		print_flags(p, text, size);
	if (p->is_fragment)
		print_fragment(p, text, size);
	print_id(p, text, size);
	append(text, size, " ttl %u", p->ttl);
}

static void print_summary(const struct packet *p, struct fw_packetframe *ret)
{
	size_t size = sizeof(ret->summary);

	ret->summary[0] = '\0';
	append(ret->summary, size, "%s %s ", ret->out ? "out" : "in",
	       ret->interface);
	print_headers(p, ret->summary, size);
	for (size_t i = 0; i < p->n_vlans; i++)
		append(ret->summary, size, " vlan %u", p->vlan[i]);
	append(ret->summary, size, " length %zu",
	       ret->len - 14 - 4 * p->n_vlans);
	if (p->from_sa)
		append(ret->summary, size, " via ipsec");
	if (p->reqid)
		append(ret->summary, size, " reqid %u", p->reqid);
	if (p->n_quoted)
		append(ret->summary, size, " about %s", p->about);
}

/* What no byte of the frame says. */
static int take_over(struct reader *r, const struct packet *p,
		     struct fw_packetframe *ret)
{
	if (p->from_sa && ret->out)
		return fail(r, "'via ipsec' is said of what comes in");
	ret->from_sa = p->from_sa;
	ret->reqid = p->reqid;
	return 0;
}

/* ---- all of it ---------------------------------------------------------------------------- */

static int take_place(struct reader *r, struct fw_packetframe *ret)
{
	next_word(r);
	ret->out = is_word(r, "out");
	if (!take_word(r, "in") && !take_word(r, "out"))
		return fail(
			r,
			"begin with 'in' or 'out' and the interface, like: in eth0 tcp 192.0.2.1 to 198.51.100.1:22");
	if (!*r->word.text || r->word.len >= sizeof(ret->interface))
		return fail(r, "which interface?");
	(void)snprintf(ret->interface, sizeof(ret->interface), "%.15s",
		       r->word.text);
	next_word(r);
	return 0;
}

int fw_packetframe_parse_place(const char *text, struct fw_packetframe *ret,
			       struct fw_packet_error *reterr)
{
	struct reader r = { .text = text, .error = reterr };
	struct packet packet = { 0 };
	int n = take_place(&r, ret);

	if (n == 0 && take_word(&r, "via"))
		n = take_via(&r, &packet);
	if (n == 0 && *r.word.text)
		return fail(&r, "the frame says the rest");
	return n < 0 ? n : take_over(&r, &packet, ret);
}

int fw_packetframe_parse(const char *text, struct fw_packetframe *ret,
			 struct fw_packet_error *reterr)
{
	struct reader r = { .text = text, .error = reterr };
	struct packet packet = { 0 };
	int n;

	n = take_place(&r, ret);
	if (n == 0)
		n = take_headers(&r, &packet, 1);
	if (n == 0)
		n = take_over(&r, &packet, ret);
	if (n < 0)
		return n;
	put_frame(&packet, ret);
	print_summary(&packet, ret);
	return 0;
}

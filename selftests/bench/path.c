/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What the whole way of a packet through our programs costs: nanoseconds net of
 * a program that drops it at once; and whether each was judged as it should be.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_ether.h>

#include "kern/offload_abi.h"
#include "selftests/bench/path.h"
#include "selftests/bench/path_skel.h"
#include "selftests/prog/harness.h"
#include "user/skel.h"

#define SELF4  "192.0.2.1"
#define SELF6  "2001:db8:1::1"
/* IPv6: the last 32 bits behind 2001:db8:: */
#define PEERS  0x0a010000u /* 10.1.0.0; one of 10.2.0.0 has no rule */
#define OTHERS 0x0a020000u

/* Behind if1, the peers are behind if0. */
#define FAR4 "203.0.113.5"
#define FAR6 "2001:db8:3::5"

#define SET_STEP 3 /* from one member of a set to the next */

#define TCP_SYN 0x02
#define TCP_ACK 0x10

static unsigned int repeat = 1 << 20; /* packets a measurement */
static unsigned int trials = 7;	      /* the fastest counts */

/* ---- what is measured ------------------------------------------------------ */

enum what {
	STATELESS, /* a stateless rule drops */
	SET,	   /* the same, for a set of addresses */
	RULE,	   /* another rule drops, once no flow was found */
	DEFAULT,   /* the default drops */
	LOOKUP, /* TCP of a flow that is there, and nothing but that is asked */
	KNOWN,	/* the same, and our programs are asked */
	FORWARD, /* the same, which this host forwards */
	OFFLOAD, /* and XDP does, by itself */
};

struct path_case {
	const char *name;
	enum fw_hook hook;
	enum what what;
	unsigned int n; /* rules or flows */
	bool is_tagged;
};

static const struct path_case cases[] = {
	{ "stateless drop, 1 rule", FW_HOOK_XDP, STATELESS, 1, false },
	{ "stateless drop, 10 rules", FW_HOOK_XDP, STATELESS, 10, false },
	{ "stateless drop, 100 rules", FW_HOOK_XDP, STATELESS, 100, false },
	{ "stateless drop, 1000 rules", FW_HOOK_XDP, STATELESS, 1000, false },
	{ "the same, 10 rules, VLAN", FW_HOOK_XDP, STATELESS, 10, true },
	{ "drop from a set, 1000", FW_HOOK_XDP, SET, 1000, false },
	{ "the same, VLAN", FW_HOOK_XDP, SET, 1000, true },
	{ "new, default drops", FW_HOOK_XDP, DEFAULT, 10, false },
	{ "new, 10 rules, one drops", FW_HOOK_XDP, RULE, 10, false },
	{ "(conntrack lookup, 1 flow)", FW_HOOK_XDP, LOOKUP, 1, false },
	{ "established TCP, 1 flow", FW_HOOK_XDP, KNOWN, 1, false },
	{ "(conntrack lookup, 1024)", FW_HOOK_XDP, LOOKUP, 1024, false },
	{ "established TCP, 1024 flows", FW_HOOK_XDP, KNOWN, 1024, false },
	{ "forwarded TCP, 1024 flows", FW_HOOK_XDP, FORWARD, 1024, false },
	{ "the same, offloaded", FW_HOOK_XDP, OFFLOAD, 1024, false },
	{ "stateless drop, 10 rules", FW_HOOK_INGRESS, STATELESS, 10, false },
	{ "the same, VLAN", FW_HOOK_INGRESS, STATELESS, 10, true },
	{ "drop from a set, 1000", FW_HOOK_INGRESS, SET, 1000, false },
	{ "new, default drops", FW_HOOK_INGRESS, DEFAULT, 10, false },
	{ "new, 10 rules, one drops", FW_HOOK_INGRESS, RULE, 10, false },
	{ "established TCP, 1024 flows", FW_HOOK_INGRESS, KNOWN, 1024, false },
	{ "stateless drop, 10 rules", FW_HOOK_EGRESS, STATELESS, 10, false },
	{ "new, default drops", FW_HOOK_EGRESS, DEFAULT, 10, false },
	{ "established TCP, 1024 flows", FW_HOOK_EGRESS, KNOWN, 1024, false },
};

/* Does a flow end at this host? */
static bool ends_here(const struct path_case *c)
{
	return c->what == KNOWN || c->what == LOOKUP;
}

static bool is_forwarded(const struct path_case *c)
{
	return c->what == FORWARD || c->what == OFFLOAD;
}

static bool has_flows(const struct path_case *c)
{
	return ends_here(c) || is_forwarded(c);
}

static const char *const hook_names[] = { "XDP", "TC in", "TC out" };

/* Of IPv4 in 10.1.0.0/16. */
static void write_peer(FILE *out, bool is_v6, unsigned int i)
{
	if (is_v6)
		fprintf(out, "2001:db8::%x:%x", PEERS >> 16, i);
	else
		fprintf(out, "10.1.%u.%u", i >> 8, i & 255);
}

static void write_set(FILE *out, const struct path_case *c, bool is_v6)
{
	unsigned int i;

	fprintf(out, "set peers {");
	for (i = 0; i < c->n; i++) {
		fputs(i ? ", " : " ", out);
		write_peer(out, is_v6, SET_STEP * i);
	}
	fprintf(out, " }\ndrop stateless in on wan from @peers\n");
}

/* Each rule is about one peer, and the packets are of all of them in turn. */
static void write_rules(FILE *out, const struct path_case *c, bool is_v6)
{
	bool out_dir = c->hook == FW_HOOK_EGRESS;
	unsigned int i;

	fprintf(out, "interface wan = if0\n"
		     "default in drop\n"
		     "default out drop\n"
		     "default forward drop\n");
	if (ends_here(c)) {
		fprintf(out, "accept in on wan proto tcp to self port 22\n");
		return;
	}
	if (is_forwarded(c)) {
		fprintf(out, "accept forward proto tcp offload %s\n",
			c->what == OFFLOAD ? "on" : "off");
		return;
	}
	if (c->what == SET) {
		write_set(out, c, is_v6);
		return;
	}
	for (i = 0; i < c->n; i++) {
		fprintf(out, "drop%s %s proto tcp %s ",
			c->what == STATELESS ? " stateless" : "",
			out_dir ? "out" : "in", out_dir ? "to" : "from");
		write_peer(out, is_v6, i);
		fprintf(out, out_dir ? " port 1024\n" : " to port 22\n");
	}
}

static void load_rules(struct harness *h, const struct path_case *c, bool is_v6)
{
	size_t len = 0;
	char *text = NULL;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		err(1, "rules");
	write_rules(out, c, is_v6);
	if (fclose(out) || harness_rules(h, text))
		errx(1, "rules of '%s'", c->name);
	free(text);
}

/* ---- packets ----------------------------------------------------------------- */

struct frame {
	uint8_t data[128];
	uint32_t len;
	uint32_t l3, l4;
};

static void put(struct frame *f, const void *bytes, size_t n)
{
	memcpy(f->data + f->len, bytes, n);
	f->len += (uint32_t)n;
}

static void put_l3(struct frame *f, bool is_v6, const char *src,
		   const char *dst)
{
	static const uint8_t v4[] = { 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0 };
	static const uint8_t v6[] = { 0x60, 0, 0, 0, 0, 20, 6, 64 };
	struct in6_addr a;

	f->l3 = f->len;
	put(f, is_v6 ? v6 : v4, is_v6 ? sizeof(v6) : sizeof(v4));
	if (inet_pton(is_v6 ? AF_INET6 : AF_INET, src, &a) != 1)
		errx(1, "'%s' is no address", src);
	put(f, &a, is_v6 ? 16 : 4);
	if (inet_pton(is_v6 ? AF_INET6 : AF_INET, dst, &a) != 1)
		errx(1, "'%s' is no address", dst);
	put(f, &a, is_v6 ? 16 : 4);
}

/* Of a peer's port 1024 and our port 22; `to_us` or back. */
static void make_frame(struct frame *f, const struct path_case *c, bool is_v6,
		       bool to_us, uint8_t flags)
{
	const char *peer = is_v6 ? "2001:db8::a01:0" : "10.1.0.0";
	bool is_ours = !is_forwarded(c);
	const char *self =
		is_v6 ? (is_ours ? SELF6 : FAR6) : (is_ours ? SELF4 : FAR4);
	uint8_t mac[12] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };
	uint16_t proto = htons(is_v6 ? ETH_P_IPV6 : ETH_P_IP);
	uint16_t tag[2] = { htons(ETH_P_8021Q), htons(5) };
	uint16_t ports[2] = { htons(to_us ? 1024 : 22),
			      htons(to_us ? 22 : 1024) };
	/* Both sides' first number is 1, and nobody has sent a byte. */
	uint8_t seq = flags & TCP_SYN ? 1 : 2, ack = flags & TCP_ACK ? 2 : 0;
	uint8_t rest[16] = {
		0, 0, 0, seq, 0, 0, 0, ack, 0x50, flags, 255, 255
	};

	memset(f, 0, sizeof(*f));
	put(f, mac, sizeof(mac));
	if (c->is_tagged)
		put(f, tag, sizeof(tag));
	put(f, &proto, sizeof(proto));
	put_l3(f, is_v6, to_us ? peer : self, to_us ? self : peer);
	f->l4 = f->len;
	put(f, ports, sizeof(ports));
	put(f, rest, sizeof(rest));
}

/* Of an IPv4 header but for 32 bits at `but`, where the program writes. */
static uint32_t sum_rest(const uint8_t *ip, uint32_t but)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < 20; i += 2) {
		if (i < but || i >= but + 4)
			sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
	}
	return sum;
}

static void vary_packets(struct path_vary *v, const struct path_case *c,
			 const struct frame *f, bool is_v6, bool to_us)
{
	uint32_t n = 1;

	while (n * 2 <= c->n)
		n *= 2;
	*v = (struct path_vary){
		.addr = PEERS,
		.n_addrs = n,
		.step = c->what == SET ? SET_STEP : 1,
		.port = 1024,
		.n_ports = 1,
	};
	if (c->what == DEFAULT) {
		v->addr = OTHERS;
		v->n_addrs = 1 << 16;
	} else if (has_flows(c)) {
		v->n_addrs = 1;
		v->n_ports = n;
	}
	v->addr_at = f->l3 + (is_v6 ? 8 + 12 : 12);
	if (!to_us)
		v->addr_at += is_v6 ? 16 : 4;
	if (c->what == OFFLOAD && c->hook == FW_HOOK_XDP) {
		v->ttl_at = f->l3 + (is_v6 ? 7 : 8);
		memcpy(v->macs, f->data, sizeof(v->macs));
	}
	v->port_at = f->l4 + (to_us ? 0 : 2);
	if (is_v6)
		return;
	v->check_at = f->l3 + 10;
	v->sum = sum_rest(f->data + f->l3, v->addr_at - f->l3);
}

/* ---- runs ---------------------------------------------------------------------- */

struct bench {
	struct harness h;
	struct path_bpf *skel;
};

/* Of this thread alone: other work on the machine does not count. */
static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Run what drives packets into a program; what the last one returned. */
static uint32_t run(struct bench *b, enum fw_hook hook, int target_fd,
		    const struct frame *f, unsigned int times)
{
	uint32_t ifindex = b->h.ifindex[0], zero = 0;
	struct xdp_md xdp = { .data_end = f->len, .ingress_ifindex = ifindex };
	struct __sk_buff skb = { .ifindex = ifindex };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->data,
		    .data_size_in = f->len, .repeat = (int)times);
	const struct bpf_program *drive;
	const struct bpf_map *target;

	if (hook == FW_HOOK_INGRESS)
		skb.ingress_ifindex = ifindex;
	if (hook == FW_HOOK_XDP) {
		drive = b->skel->progs.drive_xdp;
		target = b->skel->maps.xdp_target;
		opts.ctx_in = &xdp;
		opts.ctx_size_in = sizeof(xdp);
	} else {
		drive = b->skel->progs.drive_tc;
		target = b->skel->maps.tc_target;
		opts.ctx_in = &skb;
		opts.ctx_size_in = sizeof(skb);
	}
	b->skel->bss->at = 0;
	if (bpf_map_update_elem(bpf_map__fd(target), &zero, &target_fd, 0) ||
	    bpf_prog_test_run_opts(bpf_program__fd(drive), &opts))
		err(1, "run");
	return opts.retval;
}

static double measure(struct bench *b, enum fw_hook hook, int target_fd,
		      const struct frame *f)
{
	double best = 1e18, t;

	for (unsigned int i = 0; i < trials; i++) {
		t = now_ns();
		(void)run(b, hook, target_fd, f, repeat);
		t = (now_ns() - t) / repeat;
		best = t < best ? t : best;
	}
	return best;
}

static uint64_t count_reason(const struct bench *b, enum fw_hook hook,
			     uint32_t reason)
{
	struct fw_counter sum = { 0 };

	/* the harness counts if0 in row 1 */
	fw_counters_add(&b->h.stats, FW_STATS_INDEX(1, hook, reason),
			(__u64 *)&sum);
	return sum.packets;
}

static enum fw_reason expected(const struct path_case *c)
{
	if (c->what == OFFLOAD)
		return FW_REASON_OFFLOADED;
	if (has_flows(c))
		return FW_REASON_ESTABLISHED;
	return c->what == DEFAULT ? FW_REASON_DROP_DEFAULT
				  : FW_REASON_DROP_RULE;
}

/* So many of n packets; of what XDP forwards the stack gets one now and then. */
static bool is_as_expected(const struct path_case *c, uint32_t reason,
			   uint64_t judged, uint64_t n)
{
	uint64_t some = c->what == OFFLOAD ? n / 64 : 0;

	if (reason == expected(c))
		return judged >= n - some;
	return judged <= (reason == FW_REASON_ESTABLISHED ? some : 0);
}

/* What does nothing else finds each flow. */
static void check_lookup(struct bench *b, int target_fd, const struct frame *f)
{
	const unsigned int n = 4096;

	b->skel->bss->found = 0;
	(void)run(b, FW_HOOK_XDP, target_fd, f, n);
	if (b->skel->bss->found != n)
		errx(1, "of %u flows %u are found", n, b->skel->bss->found);
}

/* Each of some packets is judged as expected. */
static void check(struct bench *b, const struct path_case *c, int target_fd,
		  const struct frame *f)
{
	const unsigned int n = 4096;
	uint64_t before[FW_REASON_MAX], judged;
	bool is_right = true;
	uint32_t i, last;

	for (i = 0; i < FW_REASON_MAX; i++)
		before[i] = count_reason(b, c->hook, i);
	last = run(b, c->hook, target_fd, f, n);
	for (i = 0; i < FW_REASON_MAX; i++) {
		judged = count_reason(b, c->hook, i) - before[i];
		if (is_as_expected(c, i, judged, n))
			continue;
		is_right = false;
		warnx("%s, %s: %llu of %u packets are '%s'",
		      hook_names[c->hook], c->name, (unsigned long long)judged,
		      n, fw_reason_name((enum fw_reason)i));
	}
	if (!is_right)
		errx(1, "the last one was answered by %u", last);
}

/* Ours. */
static int prog_fd(const struct bench *b, enum fw_hook hook)
{
	const struct bpf_program *progs[FW_HOOK_MAX] = {
		b->h.skel->progs.fw_xdp,
		b->h.skel->progs.fw_ingress,
		b->h.skel->progs.fw_egress,
	};

	return bpf_program__fd(progs[hook]);
}

/* The three packets that open each flow, by the hooks that see them. */
static void open_flows(struct bench *b, const struct path_case *c, bool is_v6)
{
	struct path_case way = *c;
	struct frame f;

	for (int i = 0; i < 3; i++) {
		way.hook = i == 1 && ends_here(c) ? FW_HOOK_EGRESS
						  : FW_HOOK_INGRESS;
		make_frame(&f, c, is_v6, i != 1,
			   i == 0   ? TCP_SYN
			   : i == 1 ? TCP_SYN | TCP_ACK
				    : TCP_ACK);
		vary_packets(&b->skel->bss->vary, &way, &f, is_v6, i != 1);
		(void)run(b, way.hook, prog_fd(b, way.hook), &f, c->n);
	}
}

/* The way to the far side, and that XDP may take it. */
static void make_route(struct bench *b)
{
	const struct fw_offload_out out = { .tx_ifindex = b->h.ifindex[1] };
	const char *command =
		"ip link set if0 address 02:00:00:00:00:01 && "
		"sysctl -qw net.ipv4.ip_forward=1 "
		"net.ipv6.conf.all.forwarding=1 && "
		"ip route add 10.1.0.0/16 dev if0 && "
		"ip route add 203.0.113.0/24 dev if1 && "
		"ip -6 route add 2001:db8:3::/64 dev if1 && "
		"ip neigh add " FAR4 " lladdr 02:00:00:00:00:03 dev if1 && "
		"ip neigh add " FAR6 " lladdr 02:00:00:00:00:03 dev if1";

	if (system(command) ||
	    bpf_map_update_elem(bpf_map__fd(b->h.skel->maps.offload_devs),
				&out.tx_ifindex, &out.tx_ifindex, BPF_ANY) ||
	    bpf_map_update_elem(bpf_map__fd(b->h.skel->maps.offload_out),
				&out.tx_ifindex, &out, BPF_ANY))
		err(1, "routes");
	b->h.iface_flags = FW_IFACE_OFFLOAD;
}

/* Nanoseconds net of the program that drops at once. */
static double bench(struct bench *b, const struct path_case *c, bool is_v6)
{
	int drop_fd = bpf_program__fd(c->hook == FW_HOOK_XDP
					      ? b->skel->progs.drop_xdp
					      : b->skel->progs.drop_tc);
	int fd = c->what == LOOKUP ? bpf_program__fd(b->skel->progs.lookup_xdp)
				   : prog_fd(b, c->hook);
	bool to_us = c->hook != FW_HOOK_EGRESS;
	struct frame f;

	load_rules(&b->h, c, is_v6);
	harness_flush(&b->h);
	if (has_flows(c))
		open_flows(b, c, is_v6);
	make_frame(&f, c, is_v6, to_us, has_flows(c) ? TCP_ACK : TCP_SYN);
	vary_packets(&b->skel->bss->vary, c, &f, is_v6, to_us);
	if (c->what == OFFLOAD) /* one packet a second is the stack's */
		(void)run(b, c->hook, fd, &f, 1);
	if (c->what == LOOKUP)
		check_lookup(b, fd, &f);
	else
		check(b, c, fd, &f);
	return measure(b, c->hook, fd, &f) - measure(b, c->hook, drop_fd, &f);
}

/* ---- command line ---------------------------------------------------------------- */

static void parse_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "repeat", required_argument, NULL, 'r' },
		{ "trials", required_argument, NULL, 't' },
		{ 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "r:t:", options, NULL)) >= 0) {
		if (opt == 'r')
			repeat = (unsigned int)strtoul(optarg, NULL, 10);
		else if (opt == 't')
			trials = (unsigned int)strtoul(optarg, NULL, 10);
		else
			errx(2, "usage: bench_path [--repeat N] [--trials N]");
	}
	if (!repeat || !trials)
		errx(2, "--repeat and --trials take a number above 0");
}

int main(int argc, char **argv)
{
	struct bench b = { 0 };
	double v4, v6, first = 0;

	parse_options(argc, argv);
	harness_init(&b.h);
	harness_self(&b.h, SELF4, FW_SELF_ADDRESS);
	harness_self(&b.h, SELF6, FW_SELF_ADDRESS);
	b.skel = path_bpf__open_and_load();
	if (!b.skel)
		err(1, "load");
	make_route(&b);
	printf("ns a packet, net of a program that drops at once; x: times the first row\n");
	printf("%-7s %-28s  %7s %7s  %5s\n", "hook", "packet", "IPv4", "IPv6",
	       "x");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		v4 = bench(&b, &cases[i], false);
		v6 = bench(&b, &cases[i], true);
		first = i ? first : v4;
		printf("%-7s %-28s  %7.1f %7.1f  %5.2f\n",
		       hook_names[cases[i].hook], cases[i].name, v4, v6,
		       v4 / first);
		(void)fflush(stdout);
	}
	path_bpf__destroy(b.skel);
	harness_done(&b.h);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-only */

/* Loads the programs into a namespace of our own and runs them by packet. */

#include "harness.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "user/hosttab.h"
#include "user/skel.h"
#include "user/util.h"

#define IMAGE_SIZE (1u << 20)

static void run_command(const char *command)
{
	int r = system(command);

	if (r)
		errx(1, "'%s' failed: %d", command, r);
}

static uint32_t hz(void)
{
	struct timespec ts;

	(void)clock_getres(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint32_t)(1000000000 / ts.tv_nsec);
}

static void map_counters(const struct bpf_map *map, uint32_t cpus,
			 struct fw_counters *ret)
{
	int r = fw_counters_map(bpf_map__fd(map), cpus, ret);

	if (r)
		errx(1, "counters: %s", strerror(-r));
}

static void put_selves(struct harness *h)
{
	int r = fw_hosttab_put_selves(h->tables, h->selves, h->n_selves);

	if (r)
		errx(1, "own addresses: %s", strerror(-r));
}

static uint32_t count_cpus(void)
{
	int n = fw_counters_cpus();

	if (n < 0)
		errx(1, FW_COUNTERS_POSSIBLE ": %s", strerror(-n));
	return (uint32_t)n;
}

static void init(struct harness *h, uint32_t cpus, uint32_t xflows,
		 uint32_t offloaded)
{
	char command[128];
	char name[16];

	memset(h, 0, sizeof(*h));
	if (unshare(CLONE_NEWNET))
		err(1, "unshare");
	run_command("ip link set lo up");
	for (unsigned int i = 0; i < HARNESS_MAX_IFACES; i++) {
		(void)snprintf(command, sizeof(command),
			       "ip link add if%u type veth peer name peer%u && "
			       "ip link set if%u up && ip link set peer%u up",
			       i, i, i, i);
		run_command(command);
		(void)snprintf(name, sizeof(name), "if%u", i);
		h->ifindex[i] = if_nametoindex(name);
	}
	h->skel = fwctl_bpf__open();
	if (!h->skel)
		err(1, "open");
	if (fw_skel_set_image_size(h->skel, IMAGE_SIZE))
		err(1, "image size");
	if (bpf_map__set_max_entries(h->skel->maps.xflows, xflows) ||
	    bpf_map__set_max_entries(h->skel->maps.xflows_answered, xflows))
		err(1, "flows of our own");
	if (fw_skel_set_counters(h->skel, FW_MAX_SLOTS, cpus))
		err(1, "room for counters");
	if (fw_skel_set_flows(h->skel, offloaded, cpus))
		err(1, "room for flows");
	h->skel->rodata->fw_hz = hz();
#ifdef __x86_64__
	h->skel->rodata->fw_is_ordered = 1;
#endif
	h->skel->rodata->fw_cookie = 0x0123456789abcdefull;
	for (size_t i = 0; i < ARRAY_SIZE(h->skel->rodata->fw_hash_keys); i++)
		h->skel->rodata->fw_hash_keys[i] =
			(i + 1) * 0x9e3779b97f4a7c15ull;
	if (fwctl_bpf__load(h->skel))
		err(1, "load");
	if (fw_counters_put_bases(bpf_map__fd(h->skel->maps.work),
				  FW_MAX_SLOTS))
		errx(1, "bases of counters");
	map_counters(h->skel->maps.stats, cpus, &h->stats);
	map_counters(h->skel->maps.rule_stats, cpus, &h->rule_stats);
	if (fw_hosttab_open(bpf_map__fd(h->skel->maps.bss), &h->tables))
		errx(1, "tables");
}

void harness_init(struct harness *h)
{
	harness_init_for(h, count_cpus());
}

void harness_init_for(struct harness *h, uint32_t cpus)
{
	init(h, cpus, FW_MAX_XFLOWS,
	     fw_flow_cache_entries(FW_FLOW_CACHE_OFFLOAD, cpus));
}

void harness_init_small(struct harness *h, uint32_t xflows)
{
	const uint32_t cpus = count_cpus();

	init(h, cpus, xflows,
	     fw_flow_cache_entries(FW_FLOW_CACHE_OFFLOAD, cpus));
}

void harness_init_tight(struct harness *h)
{
	init(h, count_cpus(), FW_MAX_XFLOWS, FW_CACHED_WAYS);
}

void harness_done(struct harness *h)
{
	fw_program_free(h->program);
	fw_counters_unmap(&h->stats);
	fw_counters_unmap(&h->rule_stats);
	fw_hosttab_free(h->tables);
	fwctl_bpf__destroy(h->skel);
}

static int put_image(struct harness *h, const struct fw_image *image)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	size_t len = image->size;
	uint32_t zero = 0;
	void *value;
	int fd, r;

	if (len > IMAGE_SIZE)
		return -E2BIG;
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "image", 4,
			    IMAGE_SIZE + FW_IMAGE_SLACK, 1, &opts);
	if (fd < 0)
		return -errno;
	value = mmap(NULL, len, PROT_WRITE, MAP_SHARED, fd, 0);
	if (value == MAP_FAILED)
		err(1, "mmap");
	memcpy(value, image->bytes, len);
	(void)munmap(value, len);
	r = bpf_map_update_elem(bpf_map__fd(h->skel->maps.rulesets), &zero, &fd,
				0);
	close(fd);
	return r;
}

/* False: no zone has the interface. */
static bool find_zones(const struct fw_program *program, unsigned int i,
		       __u64 *ret)
{
	bool declared = false;
	char name[16];

	*ret = 0;
	(void)snprintf(name, sizeof(name), "if%u", i);
	for (size_t z = 0; z < program->n_zones; z++)
		for (size_t m = 0; m < program->zones[z].n; m++)
			if (!strcmp(program->zones[z].members[m].ifname,
				    name)) {
				*ret |= 1ull << z;
				declared = true;
			}
	return declared;
}

static void put_ifaces(const struct harness *h, uint32_t running,
		       const struct fw_program *program)
{
	struct fw_iface_entry entries[HARNESS_MAX_IFACES] = { 0 };
	size_t n = 0;
	int r;

	for (unsigned int i = 0; i < HARNESS_MAX_IFACES; i++) {
		struct fw_iface_entry *e = &entries[n];
		unsigned int counts_as = i == h->slave ? 0 : i;

		e->key.ifindex = h->ifindex[i];
		e->value.ifindex = h->ifindex[counts_as];
		e->value.slot = (__u16)(i + 1);
		e->value.flags = h->iface_flags;
		if (h->ipsec >> i & 1)
			e->value.flags |= FW_IFACE_IPSEC;
		n += find_zones(program, counts_as, &e->value.zones);
	}
	r = fw_hosttab_put_ifaces(h->tables, running, h->gen, entries, n);
	if (r)
		errx(1, "ifaces: %s", strerror(-r));
}

int harness_rules(struct harness *h, const char *text)
{
	uint32_t *slots, defaults[FW_DIR_MAX], running = h->gen;
	struct fw_program *program = NULL;
	struct fw_image image = { 0 };
	struct fw_diag diag = { 0 };
	int r;

	r = fw_compile("test.conf", text, strlen(text), NULL, NULL, &diag,
		       &program);
	if (r < 0) {
		fw_diag_print(&diag, stderr, false);
		fw_diag_done(&diag);
		return -1;
	}
	fw_diag_done(&diag);
	slots = calloc(program->n_rows + 1, sizeof(*slots));
	if (!slots)
		err(1, "calloc");
	for (size_t i = 0; i < program->n_rows; i++)
		slots[i] = program->rows[i].rule + 1;
	for (uint32_t i = 0; i < FW_DIR_MAX; i++)
		defaults[i] = (uint32_t)program->n_rows + 1 + i;
	h->gen = h->gen % FW_MARK_GEN_MAX + 1;
	r = fw_emit(program, h->gen, slots, defaults, &image);
	free(slots);
	if (r < 0)
		errx(1, "fw_emit: %s", strerror(-r));
	if (h->program && program->options & FW_OPT_RELOAD_KILL)
		h->past.ended_before = h->gen;
	fw_image_set_past(&image, &h->past);
	put_ifaces(h, running, program);
	fw_hosttab_know(h->tables, 0);
	r = put_image(h, &image);
	if (r)
		errx(1, "image: %s", strerror(errno));
	if (fw_image_lets_known(fw_image_head(&image)))
		fw_hosttab_know(h->tables, h->gen);
	fw_image_done(&image);
	fw_program_free(h->program);
	h->program = program;
	return 0;
}

void harness_self(struct harness *h, const char *addr, uint32_t flags)
{
	struct fw_addr a = { .w = { 0, 0, htonl(0xffff), 0 } };
	size_t i;

	if (inet_pton(AF_INET, addr, &a.w[3]) != 1 &&
	    inet_pton(AF_INET6, addr, &a) != 1)
		errx(1, "'%s' is no address", addr);
	for (i = 0; i < h->n_selves; i++)
		if (!memcmp(&h->selves[i].addr, &a, sizeof(a)))
			break;
	if (i == HARNESS_MAX_SELVES)
		errx(1, "too many addresses");
	h->selves[i] = (struct fw_self_entry){ a, flags };
	if (i == h->n_selves)
		h->n_selves++;
	put_selves(h);
}

static void flush_map(int fd, size_t key_size)
{
	uint8_t key[128];

	if (key_size > sizeof(key))
		abort();
	while (!bpf_map_get_next_key(fd, NULL, key))
		if (bpf_map_delete_elem(fd, key) && errno != ENOENT)
			err(1, "flush");
}

/* IPCTNL_MSG_CT_DELETE without a tuple empties the namespace's table. */
void harness_flush_conntrack(void)
{
	struct {
		struct nlmsghdr nlh;
		struct nfgenmsg nfg;
	} request = {
		.nlh = { .nlmsg_len = sizeof(request),
			 .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 |
				       IPCTNL_MSG_CT_DELETE,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
	};
	struct nlmsgerr *answer;
	char buf[256];
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	if (fd < 0 || send(fd, &request, sizeof(request), 0) < 0 ||
	    recv(fd, buf, sizeof(buf), 0) < 0)
		err(1, "conntrack flush");
	answer = NLMSG_DATA((struct nlmsghdr *)buf);
	if (answer->error)
		errx(1, "conntrack flush: %s", strerror(-answer->error));
	close(fd);
}

void harness_pressure(struct harness *h, int64_t room, uint32_t half_open,
		      uint32_t seconds)
{
	const struct fw_pressure value = {
		.until_ns = seconds ? fw_now_ns() + seconds * 1000000000ull : 0,
		.room = room,
		.half_open = half_open,
	};
	uint32_t zero = 0;

	if (bpf_map_update_elem(bpf_map__fd(h->skel->maps.pressure), &zero,
				&value, BPF_ANY) < 0)
		err(1, "pressure");
}

void harness_adopt(struct harness *h, uint64_t seconds)
{
	h->past.adopt_until_ns =
		seconds ? fw_now_ns() + seconds * 1000000000ull : 0;
}

void harness_evict(struct harness *h)
{
	flush_map(bpf_map__fd(h->skel->maps.flow_info),
		  sizeof(struct fw_tuple));
}

void harness_flush(struct harness *h)
{
	harness_evict(h);
	flush_map(bpf_map__fd(h->skel->maps.xflows), sizeof(struct fw_tuple));
	flush_map(bpf_map__fd(h->skel->maps.xflows_answered),
		  sizeof(struct fw_tuple));
	flush_map(bpf_map__fd(h->skel->maps.frags), sizeof(struct fw_frag_key));
	harness_flush_conntrack();
	fw_hosttab_end_epoch(h->tables);
}

/* Sums over CPUs of what is `at` bytes into `n` counters from `first` on. */
static void read_counters(const struct fw_counters *counters, uint32_t first,
			  uint32_t n, size_t at, uint64_t *ret)
{
	for (uint32_t i = 0; i < n; i++) {
		__u64 sum[3] = { 0 };

		fw_counters_add(counters, first + i, sum);
		ret[i] = sum[at / sizeof(sum[0])];
	}
}

struct snapshot {
	uint64_t reasons[FW_REASON_MAX], bytes[FW_REASON_MAX];
	uint64_t *slots;
	uint32_t n_slots;
};

/* What is counted on no interface of the rules is in slot 0. */
static void read_reasons(const struct harness *h, enum fw_hook hook,
			 unsigned int iface, size_t at, uint64_t *ret)
{
	uint64_t nowhere[FW_REASON_MAX];

	read_counters(&h->stats, FW_STATS_INDEX(0, hook, 0), FW_REASON_MAX, at,
		      nowhere);
	read_counters(&h->stats, FW_STATS_INDEX(iface + 1, hook, 0),
		      FW_REASON_MAX, at, ret);
	for (unsigned int i = 0; i < FW_REASON_MAX; i++)
		ret[i] += nowhere[i];
}

static void take_snapshot(const struct harness *h, enum fw_hook hook,
			  unsigned int iface, struct snapshot *ret)
{
	ret->n_slots =
		h->program ? (uint32_t)h->program->n_rows + 1 + FW_DIR_MAX : 0;
	ret->slots = calloc(ret->n_slots, sizeof(*ret->slots));
	if (!ret->slots)
		err(1, "calloc");
	read_reasons(h, hook, iface, offsetof(struct fw_counter, packets),
		     ret->reasons);
	read_reasons(h, hook, iface, offsetof(struct fw_counter, bytes),
		     ret->bytes);
	read_counters(&h->rule_stats, 0, ret->n_slots,
		      offsetof(struct fw_rule_counter, packets), ret->slots);
}

static void compare(const struct snapshot *before, const struct snapshot *after,
		    struct outcome *ret)
{
	for (unsigned int i = 0; i < FW_REASON_MAX; i++)
		if (before->reasons[i] != after->reasons[i]) {
			ret->reason = (enum fw_reason)i;
			ret->bytes = after->bytes[i] - before->bytes[i];
			ret->n_reasons++;
		}
	for (uint32_t i = 0; i < before->n_slots; i++)
		if (before->slots[i] != after->slots[i]) {
			ret->slot = i;
			ret->n_slots++;
		}
}

int harness_run(struct harness *h, enum fw_hook hook, unsigned int iface,
		int iif, const uint8_t *frame, uint32_t len,
		struct outcome *ret)
{
	struct xdp_md xdp = { .data_end = len,
			      .ingress_ifindex = h->ifindex[iface] };
	struct __sk_buff skb = { .ifindex = h->ifindex[iface] };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame,
		    .data_size_in = len, .data_out = ret->data,
		    .data_size_out = sizeof(ret->data), .repeat = 1);
	struct snapshot before = { 0 }, after = { 0 };
	struct bpf_program *prog;
	int r;

	memset(ret, 0, sizeof(*ret));
	opts.data_out = ret->data;
	if (hook == FW_HOOK_XDP) {
		prog = h->skel->progs.fw_xdp;
		opts.ctx_in = &xdp;
		opts.ctx_size_in = sizeof(xdp);
	} else {
		prog = hook == FW_HOOK_INGRESS ? h->skel->progs.fw_ingress
					       : h->skel->progs.fw_egress;
		if (hook == FW_HOOK_INGRESS)
			skb.ingress_ifindex = h->ifindex[iface];
		else if (iif >= 0)
			skb.ingress_ifindex = h->ifindex[iif];
		opts.ctx_in = &skb;
		opts.ctx_size_in = sizeof(skb);
	}
	take_snapshot(h, hook, iface, &before);
	r = bpf_prog_test_run_opts(bpf_program__fd(prog), &opts);
	take_snapshot(h, hook, iface, &after);
	compare(&before, &after, ret);
	free(before.slots);
	free(after.slots);
	if (r)
		return -1;
	ret->len = opts.data_size_out;
	ret->action = (int)opts.retval;
	ret->drop = hook == FW_HOOK_XDP ? opts.retval == XDP_DROP
					: opts.retval == 2;
	return 0;
}

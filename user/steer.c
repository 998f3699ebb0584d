/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Which CPUs are steered to, and who tells that one comes or goes. A CPU has a queue
 * before it is chosen, and is no longer chosen when that goes. What waits in the queue
 * of a CPU that has gone the kernel works off elsewhere.
 */
#include "user/steer.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <bpf/bpf.h>
#include <libmnl/libmnl.h>

#include "user/counters.h"
#include "user/daemon.h"
#include "user/iface.h"
#include "user/log.h"
#include "user/loop.h"
#include "user/netdev.h"
#include "user/probe.h"
#include "user/util.h"

#define ONLINE	     "/sys/devices/system/cpu/online"
#define UEVENT_GROUP 1	      /* of the kernel; udev's is another */
#define LOOK_MS	     10000ull /* where nothing is told, or was lost */

struct fw_steer {
	struct fw_daemon *daemon;
	struct mnl_socket *nl; /* NULL: nothing is steered, or nobody tells */
	struct fw_watch *watch;
	struct fw_timer *timer;
	struct fw_cpuset queues; /* CPUs in `esp_cpus` */
	struct fw_cpuset
		stale; /* of these, those that were offline meanwhile */
	bool is_on;
	bool is_failing; /* said once */
	bool is_idle;	 /* likewise: no CPU is there */
};

/* ---- CPUs ------------------------------------------------------------------------------ */

static int read_set(const char *path, struct fw_cpuset *ret)
{
	_cleanup_free_ struct fw_cpus *cpus = malloc(sizeof(*cpus));
	char list[4096];
	int r;

	if (!cpus)
		return -ENOMEM;
	r = fw_read_text(path, list, sizeof(list));
	if (r == 0)
		r = fw_counters_parse_cpus(list, cpus);
	if (r < 0)
		return r;
	*ret = (struct fw_cpuset){ 0 };
	for (uint32_t i = 0; i < cpus->n; i++) {
		if (cpus->id[i] < FW_MAX_STEER_CPUS)
			fw_cpuset_add(ret, cpus->id[i]);
	}
	return 0;
}

static struct fw_cpuset common(const struct fw_cpuset *a,
			       const struct fw_cpuset *b)
{
	struct fw_cpuset set;

	for (size_t i = 0; i < ARRAY_SIZE(set.bits); i++)
		set.bits[i] = a->bits[i] & b->bits[i];
	return set;
}

/* In `a` and not in `b`. */
static struct fw_cpuset without(const struct fw_cpuset *a,
				const struct fw_cpuset *b)
{
	struct fw_cpuset set;

	for (size_t i = 0; i < ARRAY_SIZE(set.bits); i++)
		set.bits[i] = a->bits[i] & ~b->bits[i];
	return set;
}

static bool is_empty(const struct fw_cpuset *set)
{
	static const struct fw_cpuset none;

	return memcmp(set, &none, sizeof(none)) == 0;
}

int fw_steer_check(const struct fw_program *program, struct fw_span *ret_at,
		   char **reterr)
{
	char names[FW_CPUSET_TEXT], others[FW_CPUSET_TEXT];
	struct fw_cpuset possible, lacking;
	int r;

	if (!(program->options & FW_OPT_ESP_STEER))
		return 0;
	r = read_set(FW_COUNTERS_POSSIBLE, &possible);
	if (r < 0) {
		fw_errorf(reterr, "cannot read " FW_COUNTERS_POSSIBLE ": %s",
			  strerror(-r));
		return r;
	}
	lacking = without(&program->steer, &possible);
	if (is_empty(&lacking))
		return 0;
	*ret_at = program->steer_at;
	fw_errorf(reterr, "this machine cannot have the CPU %s: it has %s",
		  fw_cpuset_text(names, &lacking),
		  fw_cpuset_text(others, &possible));
	return -EOPNOTSUPP;
}

/* ---- what the programs know -------------------------------------------------------------- */

int fw_steer_read(const struct fw_datapath *dp, struct fw_esp_steer *ret)
{
	uint32_t zero = 0;

	return bpf_map_lookup_elem(fw_datapath_map(dp, FW_MAP_ESP_STEER), &zero,
				   ret) < 0
		       ? -errno
		       : 0;
}

int fw_steer_counts(const struct fw_datapath *dp, uint64_t *ret)
{
	int n_cpus = fw_counters_cpus(), n = fw_counters_values(), r = 0;
	_cleanup_free_ uint64_t *values = NULL;

	memset(ret, 0, FW_MAX_STEER_CPUS * sizeof(*ret));
	if (n_cpus < 0 || n < 0)
		return n < 0 ? n : n_cpus;
	values = calloc((size_t)n, sizeof(*values));
	if (!values)
		return -ENOMEM;
	for (uint32_t cpu = 0;
	     r == 0 && cpu < (uint32_t)n_cpus && cpu < FW_MAX_STEER_CPUS;
	     cpu++) {
		if (bpf_map_lookup_elem(fw_datapath_map(dp, FW_MAP_ESP_STEERED),
					&cpu, values) < 0)
			r = -errno;
		for (int i = 0; r == 0 && i < n; i++)
			ret[cpu] += values[i];
	}
	return r;
}

bool fw_steer_place(struct fw_esp_steer *now, const struct fw_cpuset *set)
{
	struct fw_cpuset before, come;

	_Static_assert(sizeof(now->has) == sizeof(set->bits), "the same bits");
	memcpy(&before, now->has, sizeof(before));
	if (memcmp(&before, set, sizeof(before)) == 0)
		return false;
	come = without(set, &before);
	if (!is_empty(&come)) {
		now->epoch++;
		now->turn = 0;
	}
	memcpy(now->has, set, sizeof(now->has));
	memset(now->cpu, 0, sizeof(now->cpu));
	now->n = 0;
	for (uint32_t cpu = 0; cpu < FW_MAX_STEER_CPUS; cpu++) {
		if (fw_cpuset_has(set, cpu))
			now->cpu[now->n++] = (uint16_t)cpu;
	}
	return true;
}

/* 0, also if the programs know it already. */
static int publish(const struct fw_steer *steer, const struct fw_cpuset *set)
{
	const struct fw_datapath *dp = steer->daemon->datapath;
	_cleanup_free_ struct fw_esp_steer *now = malloc(sizeof(*now));
	uint32_t zero = 0;
	int r;

	if (!now)
		return -ENOMEM;
	r = fw_steer_read(dp, now);
	if (r < 0 || !fw_steer_place(now, set))
		return r;
	return bpf_map_update_elem(fw_datapath_map(dp, FW_MAP_ESP_STEER), &zero,
				   now, BPF_ANY) < 0
		       ? -errno
		       : 0;
}

/* ---- queues ------------------------------------------------------------------------------- */

static int queues_map(const struct fw_steer *steer)
{
	return fw_datapath_map(steer->daemon->datapath, FW_MAP_ESP_CPUS);
}

/*
 * The thread that works off the queue of a CPU is moved when that goes, and not back when
 * it comes: then it gets another one.
 */
static int add_queues(struct fw_steer *steer, struct fw_cpuset *set)
{
	struct fw_cpuset bound = without(&steer->queues, &steer->stale);
	struct fw_cpuset come = without(set, &bound);
	const uint32_t length = FW_ESP_STEER_QUEUE;
	int r = 0;

	for (uint32_t cpu = 0; cpu < FW_MAX_STEER_CPUS; cpu++) {
		if (!fw_cpuset_has(&come, cpu))
			continue;
		if (bpf_map_update_elem(queues_map(steer), &cpu, &length,
					BPF_ANY) == 0) {
			fw_cpuset_add(&steer->queues, cpu);
			continue;
		}
		r = -errno;
		set->bits[cpu / 64] &= ~(1ull << cpu % 64);
	}
	return r;
}

static void remove_queues(struct fw_steer *steer, const struct fw_cpuset *set)
{
	struct fw_cpuset gone = without(&steer->queues, set);

	for (uint32_t cpu = 0; cpu < FW_MAX_STEER_CPUS; cpu++) {
		if (fw_cpuset_has(&gone, cpu))
			(void)bpf_map_delete_elem(queues_map(steer), &cpu);
	}
	steer->queues = *set;
}

/* Those that an earlier daemon has made. */
static void find_queues(struct fw_steer *steer)
{
	int n = fw_counters_cpus();
	uint32_t value;

	for (uint32_t cpu = 0; (int)cpu < n && cpu < FW_MAX_STEER_CPUS; cpu++) {
		if (bpf_map_lookup_elem(queues_map(steer), &cpu, &value) == 0)
			fw_cpuset_add(&steer->queues, cpu);
	}
}

/* ---- following ------------------------------------------------------------------------------ */

static void say(struct fw_steer *steer, const struct fw_cpuset *set)
{
	char text[FW_CPUSET_TEXT];
	bool is_idle = steer->is_on && is_empty(set);

	if (is_idle && !steer->is_idle)
		log_warning(
			"no CPU of option esp-steer is online: IPsec stays where it comes in");
	else if (!is_empty(set))
		log_info("IPsec is steered to the CPUs %s",
			 fw_cpuset_text(text, set));
	steer->is_idle = is_idle;
}

static int settle(struct fw_steer *steer, const struct fw_cpuset *want)
{
	struct fw_cpuset set, before = steer->queues;
	int r, r_queues;

	r = read_set(ONLINE, &set);
	if (r < 0)
		return r;
	set = common(want, &set);
	r_queues = add_queues(steer, &set);
	r = publish(steer, &set);
	if (r < 0)
		return r;
	remove_queues(steer, &set);
	steer->stale = (struct fw_cpuset){ 0 };
	if (memcmp(&before, &set, sizeof(set)) != 0 || is_empty(&set))
		say(steer, &set);
	return r_queues;
}

static void look(struct fw_steer *steer)
{
	static const struct fw_cpuset none;
	const struct fw_program *program = fw_daemon_program(steer->daemon);
	int r;

	if (!steer->is_on && is_empty(&steer->queues))
		return;
	r = settle(steer, steer->is_on ? &program->steer : &none);
	if (r < 0 && !steer->is_failing)
		log_error("cannot follow the CPUs of option esp-steer: %s",
			  strerror(-r));
	steer->is_failing = r < 0;
}

int fw_steer_uevent(const char *text, bool *ret_gone)
{
	static const char path[] = "@/devices/system/cpu/cpu";
	const char *at = strchr(text, '@');
	char *end;
	unsigned long cpu;

	if (!at || strncmp(at, path, sizeof(path) - 1) != 0)
		return -1;
	at += sizeof(path) - 1;
	if (*at < '0' || *at > '9')
		return -1;
	cpu = strtoul(at, &end, 10);
	if (*end || cpu >= FW_MAX_STEER_CPUS)
		return -1;
	*ret_gone = strncmp(text, "online@", 7) != 0;
	return (int)cpu;
}

/* What was lost may have been about any CPU: the file is read then, too. */
static void on_uevents(void *data, uint32_t events)
{
	struct fw_steer *steer = data;
	bool is_news = false, is_gone;
	char text[2048];
	ssize_t n;
	int cpu;

	(void)events;
	for (;;) {
		n = recv(mnl_socket_get_fd(steer->nl), text, sizeof(text) - 1,
			 MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != ENOBUFS)
			break;
		if (n < 0) {
			is_news = true;
			continue;
		}
		text[n] = '\0';
		cpu = fw_steer_uevent(text, &is_gone);
		if (cpu < 0)
			continue;
		is_news = true;
		if (is_gone)
			fw_cpuset_add(&steer->stale, (uint32_t)cpu);
	}
	if (is_news)
		look(steer);
}

static void on_timer(void *data)
{
	look(data);
}

static int subscribe(struct fw_steer *steer)
{
	steer->nl = mnl_socket_open2(NETLINK_KOBJECT_UEVENT,
				     SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!steer->nl ||
	    mnl_socket_bind(steer->nl, UEVENT_GROUP, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	steer->watch =
		fw_watch_new(steer->daemon->loop, mnl_socket_get_fd(steer->nl),
			     EPOLLIN, on_uevents, steer);
	return steer->watch ? 0 : -errno;
}

static void unsubscribe(struct fw_steer *steer)
{
	fw_watch_free(take_ptr(steer->watch));
	if (steer->nl)
		(void)mnl_socket_close(take_ptr(steer->nl));
	(void)fw_timer_arm(steer->timer, FW_TIMER_NEVER, 0);
}

/* Without news the timer has to do. */
static void watch(struct fw_steer *steer)
{
	int r;

	if (steer->nl)
		return;
	r = subscribe(steer);
	if (r < 0) {
		log_warning(
			"cannot hear of CPUs that come and go: %s, looking every %llu seconds",
			strerror(-r), LOOK_MS / 1000);
		unsubscribe(steer);
	}
	r = fw_timer_arm(steer->timer, LOOK_MS, LOOK_MS);
	if (r < 0)
		log_warning("cannot look at CPUs: %s, ignoring", strerror(-r));
}

void fw_steer_follow(struct fw_steer *steer)
{
	const struct fw_program *program;

	if (!steer)
		return;
	program = fw_daemon_program(steer->daemon);
	/* Rules that cannot be read are in force: they may have asked for it. */
	if (!program && fw_apply_gen(steer->daemon->apply))
		return;
	steer->is_on = program && program->options & FW_OPT_ESP_STEER;
	if (steer->is_on)
		watch(steer);
	else
		unsubscribe(steer);
	look(steer);
}

int fw_steer_new(struct fw_daemon *daemon, struct fw_steer **ret, char **reterr)
{
	struct fw_steer *steer;
	int r;

	steer = calloc(1, sizeof(*steer));
	if (!steer)
		return -ENOMEM;
	steer->daemon = daemon;
	steer->timer = fw_timer_new(daemon->loop, on_timer, steer);
	if (!steer->timer) {
		r = -errno;
		fw_errorf(reterr, "cannot follow CPUs: %s", strerror(-r));
		fw_steer_free(steer);
		return r;
	}
	find_queues(steer);
	fw_steer_follow(steer);
	*ret = steer;
	return 0;
}

void fw_steer_free(struct fw_steer *steer)
{
	if (!steer)
		return;
	fw_watch_free(steer->watch);
	fw_timer_free(steer->timer);
	if (steer->nl)
		(void)mnl_socket_close(steer->nl);
	free(steer);
}

/* ---- interfaces ------------------------------------------------------------------------------- */

static bool has_vlans(const struct fw_ifaces *links, uint32_t ifindex)
{
	const struct fw_link *link;

	for (size_t i = 0; ifindex && (link = fw_ifaces_at(links, i)); i++) {
		if (link->vlan && link->parent == ifindex)
			return true;
	}
	return false;
}

/* A packet that waits for a CPU has its bytes and its device, and nothing beside. */
static const char *why_not_native(const struct fw_ifaces *links,
				  const struct fw_link *link)
{
	uint64_t features = 0;

	if (link->is_port)
		return "it is a port of a bridge or the like";
	if (fw_netdev_query(link->ifindex, &features) < 0 ||
	    !(features & FW_XDP_CAN_REDIRECT))
		return "its driver cannot redirect";
	if (!has_vlans(links, link->ifindex) && !has_vlans(links, link->bond))
		return NULL;
	if (link->is_virtual)
		return "it has VLAN devices, and tags may be beside the packet, where they would be lost";
	if (fw_probe_hides_tags(link->name) != 0)
		return "it has VLAN devices, and its driver takes the tags off, which would be lost: 'ethtool -K DEVICE rxvlan off'";
	return NULL;
}

const char *fw_steer_why_not(const struct fw_ifaces *links,
			     const struct fw_link *link,
			     enum fw_iface_mode mode)
{
	if (mode == FW_MODE_AUTO)
		mode = link->is_virtual ? FW_MODE_TC : FW_MODE_XDP;
	/*
	 * The copy that generic XDP makes (6.18) does not know how long its Ethernet
	 * header is (ctx_has_l2()): behind the queue that would be taken for IP's.
	 */
	if (mode == FW_MODE_XDP_GENERIC)
		return "generic XDP would lose the packets on their way: it needs mode xdp";
	if (mode == FW_MODE_TC)
		return "mode tc: it needs mode xdp";
	return why_not_native(links, link);
}

const char *fw_steer_look(const struct fw_ifaces *links,
			  const struct fw_apply_iface *iface)
{
	const struct fw_link *link = fw_ifaces_by_index(links, iface->ifindex);

	if (!link || iface->mode == FW_MODE_AUTO)
		return "nothing is attached";
	return fw_steer_why_not(links, link, iface->mode);
}

uint16_t fw_steer_flags(const struct fw_ifaces *links,
			const struct fw_link *link, enum fw_iface_mode wanted)
{
	unsigned int flags = FW_IFACE_STEER;

	if (fw_steer_why_not(links, link, wanted))
		return 0;
	/* Where senders of this machine may be, they leave checksums to the device. */
	if (link->is_virtual)
		flags |= FW_IFACE_PARTIAL;
	return (uint16_t)flags;
}

/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Our programs on interfaces.
 *
 * The directory of pins is the only record of what is attached. A link is
 * pinned before anything relies on it: if we die in between, its last
 * descriptor closes and the kernel detaches it. A clsact filter would stay
 * without a trace, so its program is pinned under the interface's name before
 * the filter is made. TC comes before XDP and leaves after it, so that TC alone
 * means "some mode lacks" and never "not covered".
 */
#include "user/attach.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "user/iface.h"
#include "user/util.h"

/* Linux 6.6, missing from the headers of Debian 12. */
#define TCX_INGRESS ((enum bpf_attach_type)46)
#define TCX_EGRESS  ((enum bpf_attach_type)47)
#define TCX_BEFORE  (1u << 3) /* BPF_F_BEFORE: first in the list */

/*
 * Where our clsact filters are. Priority 1, as a filter in front of ours could
 * let packets through. Ours says "next" about what it accepts, so that other
 * people's filters behind it go on working.
 */
#define FILTER_PRIORITY 1u
#define FILTER_HANDLE	0x66770001u

#define MAX_TCX_PROGS 64u /* BPF_MPROG_MAX of the kernel */

enum pin {
	PIN_XDP,
	PIN_INGRESS,
	PIN_EGRESS,
	PIN_FILTER_IN, /* a program whose clsact filter we made */
	PIN_FILTER_OUT,
	PIN_QDISC, /* any program: the clsact qdisc is of our making */
	PIN_MAX,
};

static const struct {
	const char *name; /* of the pin, before "_IFINDEX" */
	enum fw_hook hook;
} pins[PIN_MAX] = {
	[PIN_XDP] = { "xdp", FW_HOOK_XDP },
	[PIN_INGRESS] = { "ingress", FW_HOOK_INGRESS },
	[PIN_EGRESS] = { "egress", FW_HOOK_EGRESS },
	[PIN_FILTER_IN] = { "filter-ingress", FW_HOOK_INGRESS },
	[PIN_FILTER_OUT] = { "filter-egress", FW_HOOK_EGRESS },
	[PIN_QDISC] = { "qdisc", FW_HOOK_INGRESS },
};

struct fw_attach {
	char *dir;
	int prog[FW_HOOK_MAX]; /* borrowed */
	uint32_t prog_id[FW_HOOK_MAX];
	bool has_tcx;
	struct fw_attachment *list;
	size_t n;
};

struct pin_path {
	char text[PATH_MAX];
};

static struct pin_path path_of(const char *dir, enum pin pin, uint32_t ifindex)
{
	struct pin_path path;

	(void)snprintf(path.text, sizeof(path.text), "%s/%s_%u", dir,
		       pins[pin].name, ifindex);
	return path;
}

static int prog_id_of(int prog, uint32_t *ret)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	int r;

	r = bpf_obj_get_info_by_fd(prog, &info, &len);
	if (r < 0)
		return r;
	*ret = info.id;
	return 0;
}

/* ---- clsact filters --------------------------------------------------------- */

static enum bpf_tc_attach_point filter_point(enum pin pin)
{
	return pin == PIN_FILTER_IN ? BPF_TC_INGRESS : BPF_TC_EGRESS;
}

/* Is this program in our place of the qdisc? */
static bool has_filter(enum pin pin, uint32_t ifindex, uint32_t prog_id)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = filter_point(pin));
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE,
		    .priority = FILTER_PRIORITY);

	return bpf_tc_query(&hook, &opts) == 0 && opts.prog_id == prog_id;
}

static void drop_filter(enum pin pin, uint32_t ifindex, int prog)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = filter_point(pin));
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE,
		    .priority = FILTER_PRIORITY);
	uint32_t prog_id;

	if (prog_id_of(prog, &prog_id) == 0 &&
	    has_filter(pin, ifindex, prog_id))
		(void)bpf_tc_detach(&hook, &opts);
}

/* The qdisc goes if we made it and nobody else has come to use it. */
static void drop_qdisc(uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);

	if (fw_link_has_filters(ifindex) == 0)
		(void)bpf_tc_hook_destroy(&hook);
}

/* ---- pins --------------------------------------------------------------------- */

static int put_pin(const char *dir, enum pin pin, uint32_t ifindex, int fd)
{
	struct pin_path path = path_of(dir, pin, ifindex);

	return bpf_obj_pin(fd, path.text);
}

/* The descriptor of what is pinned, or a negative errno. */
static int get_pin(const char *dir, enum pin pin, uint32_t ifindex)
{
	struct pin_path path = path_of(dir, pin, ifindex);

	return bpf_obj_get(path.text);
}

/* Remove a pin and what it stands for. A device that is gone is fine. */
static int drop_pin(const char *dir, enum pin pin, uint32_t ifindex)
{
	struct pin_path path = path_of(dir, pin, ifindex);
	_cleanup_close_ int fd = get_pin(dir, pin, ifindex);

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	switch (pin) {
	case PIN_XDP:
	case PIN_INGRESS:
	case PIN_EGRESS:
		/* Somebody may hold the link open: closing ours is not enough. */
		(void)bpf_link_detach(fd);
		break;
	case PIN_FILTER_IN:
	case PIN_FILTER_OUT:
		drop_filter(pin, ifindex, fd);
		break;
	case PIN_QDISC:
		drop_qdisc(ifindex);
		break;
	case PIN_MAX:
		return -EINVAL;
	}
	return unlink(path.text) < 0 ? -errno : 0;
}

/* All pins of an interface, XDP first and the qdisc last. */
static int drop_pins(const char *dir, uint32_t ifindex)
{
	int r, first = 0;

	for (int pin = 0; pin < PIN_MAX; pin++) {
		r = drop_pin(dir, (enum pin)pin, ifindex);
		if (r < 0 && first == 0)
			first = r;
	}
	return first;
}

static int add_index(uint32_t ifindex, uint32_t **base, size_t *n)
{
	uint32_t *larger;

	for (size_t i = 0; i < *n; i++) {
		if ((*base)[i] == ifindex)
			return 0;
	}
	larger = reallocarray(*base, *n + 1, sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	larger[(*n)++] = ifindex;
	*base = larger;
	return 0;
}

/* Numbers of the interfaces that have pins. */
static int list_pinned(const char *dir, uint32_t **ret, size_t *ret_n)
{
	_cleanup_free_ uint32_t *base = NULL;
	const struct dirent *entry;
	unsigned long ifindex;
	const char *number;
	size_t n = 0;
	int r = 0;
	DIR *d;

	d = opendir(dir);
	if (!d)
		return -errno;
	while (r == 0 && (entry = readdir(d))) {
		number = strrchr(entry->d_name, '_');
		ifindex = number ? strtoul(number + 1, NULL, 10) : 0;
		if (ifindex > 0 && ifindex <= INT_MAX)
			r = add_index((uint32_t)ifindex, &base, &n);
	}
	(void)closedir(d);
	if (r < 0)
		return r;
	*ret = take_ptr(base);
	*ret_n = n;
	return 0;
}

int fw_attach_purge(const char *dir)
{
	_cleanup_free_ uint32_t *pinned = NULL;
	size_t n = 0;
	int r, first = 0;

	r = list_pinned(dir, &pinned, &n);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (size_t i = 0; i < n; i++) {
		r = drop_pins(dir, pinned[i]);
		if (r < 0 && first == 0)
			first = r;
	}
	return first;
}

/* ---- other programs ------------------------------------------------------- */

/* Pin a program in place of another one. */
static int repin(const char *dir, enum pin pin, uint32_t ifindex, int prog)
{
	struct pin_path path = path_of(dir, pin, ifindex), fresh;

	(void)snprintf(fresh.text, sizeof(fresh.text), "%s/new", dir);
	(void)unlink(fresh.text);
	if (bpf_obj_pin(prog, fresh.text) < 0)
		return -errno;
	return rename(fresh.text, path.text) < 0 ? -errno : 0;
}

static int replace_filter(const char *dir, enum pin pin, uint32_t ifindex,
			  int prog)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = filter_point(pin));
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE,
		    .priority = FILTER_PRIORITY, .prog_fd = prog,
		    .flags = BPF_TC_F_REPLACE);
	int r;

	r = bpf_tc_attach(&hook, &opts);
	return r < 0 ? r : repin(dir, pin, ifindex, prog);
}

static int replace_pin(const char *dir, enum pin pin, uint32_t ifindex,
		       int prog)
{
	_cleanup_close_ int fd = get_pin(dir, pin, ifindex);

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	switch (pin) {
	case PIN_XDP:
	case PIN_INGRESS:
	case PIN_EGRESS:
		return bpf_link_update(fd, prog, NULL);
	case PIN_FILTER_IN:
	case PIN_FILTER_OUT:
		return replace_filter(dir, pin, ifindex, prog);
	case PIN_QDISC:
		return repin(dir, pin, ifindex, prog);
	case PIN_MAX:
		break;
	}
	return -EINVAL;
}

int fw_attach_replace(const char *dir, const int progs[FW_HOOK_MAX])
{
	_cleanup_free_ uint32_t *pinned = NULL;
	size_t n = 0;
	int r, first;

	first = list_pinned(dir, &pinned, &n);
	for (size_t i = 0; i < n; i++) {
		for (int pin = 0; pin < PIN_MAX; pin++) {
			r = replace_pin(dir, (enum pin)pin, pinned[i],
					progs[pins[pin].hook]);
			/* Its device is gone, and so is what to replace. */
			if (r < 0 && r != -ENODEV && r != -ENOLINK &&
			    first == 0)
				first = r;
		}
	}
	return first;
}

int fw_attach_use(struct fw_attach *attach, const int progs[FW_HOOK_MAX])
{
	int r = 0;

	for (int hook = 0; hook < FW_HOOK_MAX && r == 0; hook++) {
		attach->prog[hook] = progs[hook];
		r = prog_id_of(progs[hook], &attach->prog_id[hook]);
	}
	return r;
}

/* ---- links ---------------------------------------------------------------------- */

static enum bpf_attach_type type_of(enum pin pin)
{
	if (pin == PIN_XDP)
		return BPF_XDP;
	return pin == PIN_INGRESS ? TCX_INGRESS : TCX_EGRESS;
}

bool fw_attach_has_tcx(void)
{
	uint32_t n = 0;

	/* Each network namespace has the loopback as its first interface. */
	return bpf_prog_query(1, TCX_INGRESS, 0, NULL, NULL, &n) == 0;
}

/* How the program runs as XDP; TC: it does not. */
static enum fw_iface_mode running_xdp(uint32_t ifindex, uint32_t prog_id)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, opts);

	if (bpf_xdp_query((int)ifindex, 0, &opts) < 0)
		return FW_MODE_TC;
	if (opts.drv_prog_id == prog_id)
		return FW_MODE_XDP;
	return opts.skb_prog_id == prog_id ? FW_MODE_XDP_GENERIC : FW_MODE_TC;
}

static bool runs_tcx(enum pin pin, uint32_t ifindex, uint32_t prog_id)
{
	uint32_t ids[MAX_TCX_PROGS], n = MAX_TCX_PROGS;

	if (bpf_prog_query((int)ifindex, type_of(pin), 0, NULL, ids, &n) < 0)
		return false;
	for (uint32_t i = 0; i < n && i < MAX_TCX_PROGS; i++) {
		if (ids[i] == prog_id)
			return true;
	}
	return false;
}

/*
 * Is our link pinned, alive, and on the interface that bears this number here?
 * The number alone proves nothing: the device may have moved to another network
 * namespace, or be gone and its number given to a new one.
 */
static bool has_link(const struct fw_attach *attach, enum pin pin,
		     uint32_t ifindex)
{
	uint32_t prog_id = attach->prog_id[pins[pin].hook];
	_cleanup_close_ int fd = get_pin(attach->dir, pin, ifindex);
	struct bpf_link_info info = { 0 };
	uint32_t len = sizeof(info);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return false;
	/* The number of a TCX link is where that of an XDP link is. */
	if (info.prog_id != prog_id || info.xdp.ifindex != ifindex)
		return false;
	if (pin == PIN_XDP)
		return running_xdp(ifindex, prog_id) != FW_MODE_TC;
	return runs_tcx(pin, ifindex, prog_id);
}

static int add_link(const struct fw_attach *attach, enum pin pin,
		    uint32_t ifindex, uint32_t flags)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = flags);
	_cleanup_close_ int fd = -1;

	/* What is pinned under this name is dead, or we would not be here. */
	(void)drop_pin(attach->dir, pin, ifindex);
	fd = bpf_link_create(attach->prog[pins[pin].hook], (int)ifindex,
			     type_of(pin), &opts);
	if (fd < 0)
		return fd;
	/* Without a pin the link ends with its descriptor, on return. */
	return put_pin(attach->dir, pin, ifindex, fd);
}

/* ---- TC ---------------------------------------------------------------------------- */

static bool has_pinned_filter(const struct fw_attach *attach, enum pin pin,
			      uint32_t ifindex)
{
	struct pin_path path = path_of(attach->dir, pin, ifindex);
	uint32_t prog_id = attach->prog_id[pins[pin].hook];

	return access(path.text, F_OK) == 0 &&
	       has_filter(pin, ifindex, prog_id);
}

static int add_filter(const struct fw_attach *attach, enum pin pin,
		      uint32_t ifindex)
{
	int prog = attach->prog[pins[pin].hook];
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = filter_point(pin));
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE,
		    .priority = FILTER_PRIORITY, .prog_fd = prog,
		    .flags = BPF_TC_F_REPLACE);
	int r;

	(void)drop_pin(attach->dir, pin, ifindex);
	r = put_pin(attach->dir, pin, ifindex, prog);
	if (r < 0)
		return r;
	r = bpf_tc_hook_create(&hook);
	if (r == 0)
		r = put_pin(attach->dir, PIN_QDISC, ifindex, prog);
	if (r < 0 && r != -EEXIST)
		return r;
	return bpf_tc_attach(&hook, &opts);
}

static bool has_tc(const struct fw_attach *attach, uint32_t ifindex)
{
	if (attach->has_tcx) {
		return has_link(attach, PIN_INGRESS, ifindex) &&
		       has_link(attach, PIN_EGRESS, ifindex);
	}
	return has_pinned_filter(attach, PIN_FILTER_IN, ifindex) &&
	       has_pinned_filter(attach, PIN_FILTER_OUT, ifindex);
}

/* One of the two TC hooks, if it is not there already. */
static int ensure_hook(const struct fw_attach *attach, uint32_t ifindex,
		       enum pin link, enum pin filter)
{
	if (attach->has_tcx) {
		if (has_link(attach, link, ifindex))
			return 0;
		return add_link(attach, link, ifindex, TCX_BEFORE);
	}
	if (has_pinned_filter(attach, filter, ifindex))
		return 0;
	return add_filter(attach, filter, ifindex);
}

static int ensure_tc(const struct fw_attach *attach, const struct fw_link *link,
		     char **reterr)
{
	int r;

	r = ensure_hook(attach, link->ifindex, PIN_INGRESS, PIN_FILTER_IN);
	if (r == 0) {
		r = ensure_hook(attach, link->ifindex, PIN_EGRESS,
				PIN_FILTER_OUT);
	}
	if (r < 0) {
		fw_errorf(reterr, "cannot attach to TC of '%s': %s", link->name,
			  strerror(-r));
	}
	return r;
}

/* ---- XDP --------------------------------------------------------------------------- */

static enum fw_iface_mode xdp_mode(const struct fw_attach *attach,
				   uint32_t ifindex)
{
	if (!has_link(attach, PIN_XDP, ifindex))
		return FW_MODE_TC;
	return running_xdp(ifindex, attach->prog_id[FW_HOOK_XDP]);
}

/* Name of a program, for people; empty if it may not be asked. */
static void name_prog(uint32_t id, char ret[static BPF_OBJ_NAME_LEN])
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	_cleanup_close_ int fd = -1;

	ret[0] = '\0';
	fd = bpf_prog_get_fd_by_id(id);
	if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0)
		(void)snprintf(ret, BPF_OBJ_NAME_LEN, "%s", info.name);
}

/* Somebody's XDP program stays where it is. */
static int refuse_foreign(const struct fw_link *link, char **reterr)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, opts);
	char name[BPF_OBJ_NAME_LEN];
	uint32_t id;
	int r;

	r = bpf_xdp_query((int)link->ifindex, 0, &opts);
	if (r < 0) {
		fw_errorf(reterr, "cannot ask for XDP programs of '%s': %s",
			  link->name, strerror(-r));
		return r;
	}
	id = opts.drv_prog_id	? opts.drv_prog_id
	     : opts.skb_prog_id ? opts.skb_prog_id
				: opts.hw_prog_id;
	if (id == 0)
		return 0;
	name_prog(id, name);
	fw_errorf(
		reterr,
		"another XDP program is on '%s' (id %u%s%s): remove it or say 'mode tc'",
		link->name, id, name[0] ? ", " : "", name);
	return -EBUSY;
}

static int add_xdp(const struct fw_attach *attach, uint32_t ifindex,
		   enum fw_iface_mode mode)
{
	return add_link(attach, PIN_XDP, ifindex,
			mode == FW_MODE_XDP ? XDP_FLAGS_DRV_MODE
					    : XDP_FLAGS_SKB_MODE);
}

static void explain_xdp(const struct fw_link *link, enum fw_iface_mode mode,
			int r, char **reterr)
{
	if (r == -EEXIST) {
		fw_errorf(
			reterr,
			"'%s' cannot have XDP, as a device above it has: say 'mode tc' for one of them",
			link->name);
	} else if (mode == FW_MODE_XDP_GENERIC) {
		fw_errorf(reterr,
			  "'%s' refuses generic XDP (%s): say 'mode tc' for it",
			  link->name, strerror(-r));
	} else if (r == -EOPNOTSUPP) {
		fw_errorf(
			reterr,
			"the driver of '%s' has no native XDP: say 'mode tc' or 'mode xdp-generic' for it",
			link->name);
	} else {
		fw_errorf(
			reterr,
			"the driver of '%s' refuses native XDP (%s): say 'mode tc' or 'mode xdp-generic' for it",
			link->name, strerror(-r));
	}
}

/* Is it one of ours in XDP that could be stacked above another device? */
static bool may_be_above(const struct fw_attach *attach,
			 const struct fw_attachment *entry, uint32_t ifindex)
{
	struct fw_link link;

	return entry->ifindex != ifindex &&
	       xdp_mode(attach, entry->ifindex) != FW_MODE_TC &&
	       fw_link_query(entry->ifindex, &link) == 0 && link.is_virtual;
}

/*
 * The kernel takes no XDP program on a device below one that has some
 * (dev_xdp_attach()), yet takes both in the other order. So ours above let go
 * for a moment, in which TC judges there.
 */
static int add_xdp_below(const struct fw_attach *attach, uint32_t ifindex,
			 enum fw_iface_mode mode)
{
	_cleanup_free_ enum fw_iface_mode *had = NULL;
	int r, back;

	had = calloc(attach->n + 1, sizeof(*had)); /* all FW_MODE_AUTO: none */
	if (!had)
		return -ENOMEM;
	for (size_t i = 0; i < attach->n; i++) {
		const struct fw_attachment *above = &attach->list[i];

		if (!may_be_above(attach, above, ifindex))
			continue;
		had[i] = xdp_mode(attach, above->ifindex);
		(void)drop_pin(attach->dir, PIN_XDP, above->ifindex);
	}
	r = add_xdp(attach, ifindex, mode);
	for (size_t i = 0; i < attach->n; i++) {
		if (had[i] == FW_MODE_AUTO)
			continue;
		back = add_xdp(attach, attach->list[i].ifindex, had[i]);
		if (back == 0 || r < 0)
			continue;
		/* They exclude each other: who was there first stays. */
		r = -EEXIST;
		(void)drop_pin(attach->dir, PIN_XDP, ifindex);
		(void)add_xdp(attach, attach->list[i].ifindex, had[i]);
	}
	return r;
}

/*
 * Native and generic XDP exclude each other, so a change detaches first; TC,
 * which is there all the time, judges in between. A failure puts back what was.
 */
static int change_xdp(const struct fw_attach *attach,
		      const struct fw_link *link, enum fw_iface_mode mode,
		      char **reterr)
{
	enum fw_iface_mode before = xdp_mode(attach, link->ifindex);
	int r;

	if (before == mode)
		return 0;
	r = drop_pin(attach->dir, PIN_XDP, link->ifindex);
	if (r < 0) {
		fw_errorf(reterr, "cannot detach XDP from '%s': %s", link->name,
			  strerror(-r));
		return r;
	}
	if (mode == FW_MODE_TC)
		return 0;

	r = refuse_foreign(link, reterr);
	if (r < 0)
		return r;
	r = add_xdp(attach, link->ifindex, mode);
	if (r == -EEXIST)
		r = add_xdp_below(attach, link->ifindex, mode);
	if (r < 0) {
		explain_xdp(link, mode, r, reterr);
		if (before != FW_MODE_TC)
			(void)add_xdp(attach, link->ifindex, before);
	}
	return r;
}

/* ---- the list ------------------------------------------------------------------------ */

static struct fw_attachment *find(const struct fw_attach *attach,
				  uint32_t ifindex)
{
	for (size_t i = 0; i < attach->n; i++) {
		if (attach->list[i].ifindex == ifindex)
			return &attach->list[i];
	}
	return NULL;
}

/* The entry of an interface, made if there is none. */
static struct fw_attachment *enter(struct fw_attach *attach, uint32_t ifindex)
{
	struct fw_attachment *entry = find(attach, ifindex);

	if (entry)
		return entry;
	entry = reallocarray(attach->list, attach->n + 1, sizeof(*entry));
	if (!entry)
		return NULL;
	attach->list = entry;
	entry = &attach->list[attach->n++];
	*entry = (struct fw_attachment){ .ifindex = ifindex };
	return entry;
}

static void strike(struct fw_attach *attach, uint32_t ifindex)
{
	struct fw_attachment *entry = find(attach, ifindex);

	if (entry)
		*entry = attach->list[--attach->n];
}

static enum fw_iface_mode resolve(enum fw_iface_mode wanted,
				  const struct fw_link *link)
{
	if (wanted != FW_MODE_AUTO)
		return wanted;
	return link->is_virtual ? FW_MODE_TC : FW_MODE_XDP;
}

int fw_attach_set(struct fw_attach *attach, uint32_t ifindex,
		  enum fw_iface_mode wanted, struct fw_attachment *ret,
		  char **reterr)
{
	bool is_new = !find(attach, ifindex);
	struct fw_attachment *entry;
	struct fw_link link;
	int r;

	r = fw_link_query(ifindex, &link);
	if (r < 0) {
		fw_errorf(reterr, "cannot find interface number %u: %s",
			  ifindex, strerror(-r));
		return r;
	}
	entry = enter(attach, ifindex);
	if (!entry)
		return -ENOMEM;

	r = ensure_tc(attach, &link, reterr);
	if (r == 0)
		r = change_xdp(attach, &link, resolve(wanted, &link), reterr);
	if (r < 0) {
		/* Nothing half attached stays; what was attached does. */
		if (is_new)
			(void)fw_attach_clear(attach, ifindex);
		return r;
	}
	entry->wanted = wanted;
	entry->mode = resolve(wanted, &link);
	entry->tcx = attach->has_tcx;
	if (ret)
		*ret = *entry;
	return 0;
}

int fw_attach_clear(struct fw_attach *attach, uint32_t ifindex)
{
	strike(attach, ifindex);
	return drop_pins(attach->dir, ifindex);
}

const struct fw_attachment *fw_attach_list(const struct fw_attach *attach,
					   size_t *ret_n)
{
	*ret_n = attach->n;
	return attach->list;
}

void fw_attach_look(const struct fw_attach *attach, uint32_t ifindex,
		    struct fw_hooks_found *ret)
{
	ret->has_tc = has_tc(attach, ifindex);
	ret->xdp = xdp_mode(attach, ifindex);
}

/* ---- start and end --------------------------------------------------------------------- */

static int adopt(struct fw_attach *attach, uint32_t ifindex)
{
	struct fw_attachment *entry;

	if (!has_tc(attach, ifindex)) {
		(void)drop_pins(attach->dir, ifindex);
		return 0;
	}
	entry = enter(attach, ifindex);
	if (!entry)
		return -ENOMEM;
	entry->mode = xdp_mode(attach, ifindex);
	entry->wanted = entry->mode;
	entry->tcx = attach->has_tcx;
	if (entry->mode == FW_MODE_TC)
		(void)drop_pin(attach->dir, PIN_XDP, ifindex);
	return 0;
}

static int adopt_all(struct fw_attach *attach)
{
	_cleanup_free_ uint32_t *pinned = NULL;
	size_t n = 0;
	int r;

	r = list_pinned(attach->dir, &pinned, &n);
	for (size_t i = 0; i < n && r == 0; i++)
		r = adopt(attach, pinned[i]);
	return r;
}

int fw_attach_new(const char *dir, const int progs[FW_HOOK_MAX], bool has_tcx,
		  struct fw_attach **ret)
{
	struct fw_attach *attach;
	int r;

	attach = calloc(1, sizeof(*attach));
	if (!attach)
		return -ENOMEM;
	attach->has_tcx = has_tcx;
	attach->dir = strdup(dir);
	r = attach->dir ? fw_attach_use(attach, progs) : -ENOMEM;
	if (r == 0)
		r = adopt_all(attach);
	if (r < 0) {
		fw_attach_free(attach);
		return r;
	}
	*ret = attach;
	return 0;
}

void fw_attach_free(struct fw_attach *attach)
{
	if (!attach)
		return;
	free(attach->dir);
	free(attach->list);
	free(attach);
}

/* SPDX-License-Identifier: GPL-2.0-only */

/* Lets route lookups be made for `antispoof`; see antispoof.h. */
#include "user/antispoof.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

#include "user/log.h"
#include "user/util.h"

#define CONF6 "/proc/sys/net/ipv6/conf"

static const char *const paths[] = {
	"/proc/sys/net/ipv4/conf/lo/forwarding",
	CONF6 "/lo/forwarding",
};

static bool is_on(const char *path)
{
	uint64_t value;
	int r = fw_read_number(path, &value);

	/* without IPv6 there is nothing to look up */
	return r == -ENOENT || (r == 0 && value != 0);
}

static int open_sysctl(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int write_digit(const char *path, char digit)
{
	int fd = open_sysctl(path), r = 0;

	if (fd < 0)
		return fd;
	if (write(fd, &digit, 1) != 1)
		r = -errno;
	close(fd);
	return r;
}

/* ---- default routes that routers have advertised --------------------------------- */

/* Interfaces by whose advertisements the kernel makes default routes. */
struct hosts {
	char (*name)[IFNAMSIZ];
	size_t n;
};

static uint64_t conf6(const char *name, const char *what)
{
	uint64_t value = 0;
	char path[96];

	(void)snprintf(path, sizeof(path), CONF6 "/%s/%s", name, what);
	return fw_read_number(path, &value) == 0 ? value : 0;
}

/* Writes accept_ra of all of them; one that is gone meanwhile has no route left. */
static void accept_ra(const struct hosts *hosts, char digit)
{
	char path[96];
	int r;

	for (size_t i = 0; i < hosts->n; i++) {
		(void)snprintf(path, sizeof(path), CONF6 "/%s/accept_ra",
			       hosts->name[i]);
		r = write_digit(path, digit);
		if (r < 0 && r != -ENOENT)
			log_warning("cannot write '%s': %s, ignoring", path,
				    strerror(-r));
	}
}

static bool is_host(const char *name)
{
	return strlen(name) < IFNAMSIZ && strcmp(name, "all") != 0 &&
	       strcmp(name, "default") != 0 && conf6(name, "accept_ra") == 1 &&
	       !conf6(name, "forwarding");
}

static int add_host(struct hosts *hosts, const char *name)
{
	void *more =
		realloc(hosts->name, (hosts->n + 1) * sizeof(*hosts->name));

	if (!more)
		return -ENOMEM;
	hosts->name = more;
	(void)snprintf(hosts->name[hosts->n++], IFNAMSIZ, "%s", name);
	return 0;
}

static int find_hosts(struct hosts *hosts)
{
	const struct dirent *entry;
	int r = 0;
	DIR *dir;

	dir = opendir(CONF6);
	if (!dir)
		return -errno;
	while (r == 0 && (entry = readdir(dir))) {
		if (is_host(entry->d_name))
			r = add_host(hosts, entry->d_name);
	}
	closedir(dir);
	return r;
}

/*
 * The kernel takes an interface that begins to forward for a sign that the whole
 * namespace is a router, and deletes all default routes learned from others, but
 * those of interfaces with accept_ra 2: accept even so. On a host, 1 and 2 are the
 * same, so a crash in between does no harm.
 */
static int switch_on_ipv6(const char *path)
{
	struct hosts hosts = { 0 };
	int r;

	r = find_hosts(&hosts);
	if (r == 0) {
		accept_ra(&hosts, '2');
		r = write_digit(path, '1');
		accept_ra(&hosts, '1');
	}
	free(hosts.name);
	return r;
}

static int switch_on(const char *path)
{
	return strncmp(path, CONF6, strlen(CONF6)) == 0
		       ? switch_on_ipv6(path)
		       : write_digit(path, '1');
}

/* ---- for the rules ---------------------------------------------------------------- */

int fw_antispoof_probe(const char **ret_path)
{
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		if (is_on(paths[i]))
			continue;
		fd = open_sysctl(paths[i]);
		if (fd < 0) {
			*ret_path = paths[i];
			return fd;
		}
		close(fd);
	}
	return 0;
}

int fw_antispoof_keep(const struct fw_program *program, char **reterr)
{
	int r, ret = 0;

	if (!program->antispoof)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		if (is_on(paths[i]))
			continue;
		r = switch_on(paths[i]);
		if (r < 0) {
			fw_errorf(reterr, "antispoof needs 1 in %s: %s",
				  paths[i], strerror(-r));
			return r;
		}
		ret = 1;
	}
	return ret;
}

int fw_antispoof_prepare(const struct fw_program *program,
			 struct fw_span *ret_at, char **reterr)
{
	int r = fw_antispoof_keep(program, reterr);

	if (r < 0)
		*ret_at = program->antispoof_at;
	return r < 0 ? r : 0;
}

/* SPDX-License-Identifier: GPL-2.0-only */

/* Rule files from the disk. */
#include "user/rulefile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "user/proto.h"
#include "user/util.h"

/* Behind sudo the caller is who typed it, not root. */
static bool is_caller(uid_t uid)
{
	const char *sudo = getenv("SUDO_UID");
	unsigned long id;
	char *end;

	if (uid == getuid())
		return true;
	if (getuid() != 0 || !sudo || !*sudo)
		return false;
	id = strtoul(sudo, &end, 10);
	return !*end && id == uid;
}

/* Whoever can write the file decides what the firewall does. */
static int check_trust(struct fw_rulefiles *files, const struct stat *st)
{
	if (st->st_uid != 0 && !is_caller(st->st_uid)) {
		(void)snprintf(
			files->error, sizeof(files->error),
			"belongs to user %u; it must belong to root or to you",
			st->st_uid);
		files->is_untrusted = true;
		return -EPERM;
	}
	if (st->st_mode & (S_IWGRP | S_IWOTH)) {
		(void)snprintf(
			files->error, sizeof(files->error),
			"can be written to by others (mode %04o); chmod go-w it",
			st->st_mode & 07777);
		files->is_untrusted = true;
		return -EPERM;
	}
	return 0;
}

static int check_file(struct fw_rulefiles *files, int fd)
{
	const char *error = NULL;
	struct stat st;

	if (fstat(fd, &st) < 0) {
		int r = -errno;

		(void)snprintf(files->error, sizeof(files->error), "%s",
			       strerror(-r));
		return r;
	}
	if (S_ISDIR(st.st_mode)) {
		error = "is a directory";
	} else if (!S_ISREG(st.st_mode)) {
		error = "is not a regular file; give - for standard input";
	} else if (st.st_size > FW_PROTO_MAX_REQUEST) {
		error = "is larger than 64 MiB";
	}
	if (error) {
		(void)snprintf(files->error, sizeof(files->error), "%s", error);
		return -EINVAL;
	}
	return files->is_strict ? check_trust(files, &st) : 0;
}

static int read_all(int fd, struct fw_text *text)
{
	size_t size = 0;

	for (;;) {
		ssize_t n;

		if (text->len + 1 >= size) {
			size_t wanted = size ? 2 * size : 65536;
			char *data;

			if (text->len > FW_PROTO_MAX_REQUEST)
				return -EFBIG;
			data = realloc(text->data, wanted);
			if (!data)
				return -ENOMEM;
			text->data = data;
			size = wanted;
		}
		n = read(fd, text->data + text->len, size - text->len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		text->len += (size_t)n;
	}
	text->data[text->len] = '\0';
	return 0;
}

static bool is_regular(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       lseek(fd, 0, SEEK_CUR) == 0;
}

static int open_file(struct fw_rulefiles *files, const char *name)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (strcmp(name, "-") == 0) {
		fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
		r = fd < 0 ? -errno : 0;
	} else {
		/* Non-blocking: a FIFO without a writer must not stop us. */
		fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		r = fd < 0 ? -errno : check_file(files, fd);
		if (fd >= 0 && r < 0)
			return r;
	}
	if (r < 0) {
		(void)snprintf(files->error, sizeof(files->error), "%s",
			       strerror(-r));
		return r;
	}
	return take_fd(&fd);
}

int fw_rulefile_read(void *ctx, const char *name, struct fw_text *ret,
		     const char **reterr)
{
	struct fw_rulefiles *files = ctx;
	_cleanup_close_ int fd = -1;
	struct fw_text text = { 0 };
	int r;

	*reterr = files->error;
	fd = open_file(files, name);
	if (fd < 0)
		return fd;
	r = -EINVAL;
	if (files->into && is_regular(fd))
		r = fw_textfile_read(files->into, fd, FW_PROTO_MAX_REQUEST,
				     &text);
	/* The kernel cannot copy from all file systems: not from procfs. */
	if (r == -EINVAL)
		r = read_all(fd, &text);
	if (r == 0) {
		text.name =
			strdup(strcmp(name, "-") == 0 ? FW_STDIN_NAME : name);
		r = text.name ? 0 : -ENOMEM;
	}
	if (r < 0) {
		(void)snprintf(files->error, sizeof(files->error), "%s",
			       strerror(-r));
		fw_text_done(&text);
		return r;
	}
	*ret = text;
	return 0;
}

char *fw_rulefile_absolute(const char *name)
{
	char dir[PATH_MAX];
	char *path = NULL;

	if (*name == '/' || !getcwd(dir, sizeof(dir)))
		return strdup(name);
	if (strncmp(name, "./", 2) == 0)
		name += 2;
	fw_errorf(&path, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, name);
	return path;
}

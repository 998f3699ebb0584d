/* SPDX-License-Identifier: GPL-2.0-only */

/* Texts that go along with a request. */
#include "user/textfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "user/proto.h"
#include "user/util.h"

#ifndef MFD_NOEXEC_SEAL /* Linux 6.3; later ones may ask for it */
#define MFD_NOEXEC_SEAL 0x8u
#endif

/* A text that lies in the file. */
struct part {
	struct fw_text_owner owner; /* first */
	const struct fw_textfile *file;
	size_t at;
	void *map;
	size_t map_len;
};

static void release(struct fw_text_owner *owner)
{
	struct part *part = (struct part *)owner;

	(void)munmap(part->map, part->map_len);
	free(part);
}

/* The descriptor; the file is made when it is needed first. */
static int open_file(struct fw_textfile *file)
{
	int fd = file->fd_plus_1 - 1;

	if (fd >= 0)
		return fd;
	fd = memfd_create("fwctl",
			  MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("fwctl", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	file->fd_plus_1 = fd + 1;
	return fd;
}

/* Where the next text begins: what is mapped begins with a page. */
static size_t next_at(const struct fw_textfile *file)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (file->bytes + page - 1) / page * page;
}

/* The text at `at` is complete, but for the NUL behind it. */
static int add(struct fw_textfile *file, int fd, size_t at, size_t len)
{
	if (ftruncate(fd, (off_t)(at + len + 1)) < 0)
		return -errno;
	file->bytes = at + len + 1;
	return 0;
}

static int copy(int to, size_t at, int from, size_t max, size_t *ret_len)
{
	size_t len = 0;

	if (lseek(to, (off_t)at, SEEK_SET) < 0)
		return -errno;
	while (len <= max) {
		ssize_t n = sendfile(to, from, NULL, max + 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret_len = len;
	return len > max ? -EFBIG : 0;
}

static int map(struct fw_textfile *file, int fd, size_t at, size_t len,
	       struct fw_text *ret)
{
	struct part *part = calloc(1, sizeof(*part));

	if (!part)
		return -ENOMEM;
	/* What is mapped to be shared and written could not be sealed. */
	part->map = mmap(NULL, len + 1, PROT_READ, MAP_PRIVATE | MAP_POPULATE,
			 fd, (off_t)at);
	if (part->map == MAP_FAILED) {
		free(part);
		return -errno;
	}
	part->owner.release = release;
	part->file = file;
	part->at = at;
	part->map_len = len + 1;
	ret->data = part->map;
	ret->len = len;
	ret->owner = &part->owner;
	return 0;
}

int fw_textfile_read(struct fw_textfile *file, int from, size_t max,
		     struct fw_text *ret)
{
	size_t at = next_at(file), len = 0;
	int fd = open_file(file);
	int r;

	if (fd < 0)
		return fd;
	r = copy(fd, at, from, max, &len);
	if (r == 0)
		r = add(file, fd, at, len);
	return r < 0 ? r : map(file, fd, at, len, ret);
}

static int append(struct fw_textfile *file, const struct fw_text *text,
		  size_t at)
{
	int fd = open_file(file);
	size_t done = 0;

	if (fd < 0)
		return fd;
	while (done < text->len) {
		ssize_t n = pwrite(fd, text->data + done, text->len - done,
				   (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return add(file, fd, at, text->len);
}

int fw_textfile_place(struct fw_textfile *file, const struct fw_text *text,
		      size_t *ret_at)
{
	if (text->owner && text->owner->release == release) {
		const struct part *part = (const void *)text->owner;

		if (part->file == file) {
			*ret_at = part->at;
			return 0;
		}
	}
	*ret_at = next_at(file);
	return append(file, text, *ret_at);
}

int fw_textfile_seal(struct fw_textfile *file)
{
	int fd = open_file(file);

	if (fd >= 0 && fcntl(fd, F_ADD_SEALS, FW_PROTO_SEALS) < 0)
		return -errno;
	return fd;
}

void fw_textfile_done(struct fw_textfile *file)
{
	if (file->fd_plus_1)
		(void)close(file->fd_plus_1 - 1);
	*file = (struct fw_textfile){ 0 };
}

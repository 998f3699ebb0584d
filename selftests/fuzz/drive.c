/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Runs a fuzz target without libFuzzer: the files and folders it is given, then so many
 * changes of them (--changes N), the same in each run.
 *
 * The last input is kept in a file (--last FILE), where it is found after a crash.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

#define INPUT_MOST  (4u << 20)
#define CHANGE_MOST 16384u /* larger inputs are only replayed */
#define INPUTS_MOST 4096u
#define AT_ONCE	    8u /* changes of one input, at most */

struct input {
	uint8_t *data;
	size_t size;
};

static struct input inputs[INPUTS_MOST];
static size_t n_inputs;
static uint8_t *last; /* see above; NULL: nobody wants it */
static int last_fd = -1;

/* ---- running ---------------------------------------------------------------- */

static void keep(const uint8_t *data, size_t size)
{
	if (!last)
		return;
	must(ftruncate(last_fd, (off_t)size) == 0);
	if (size)
		memcpy(last, data, size);
}

static void run(const uint8_t *data, size_t size)
{
	keep(data, size);
	(void)LLVMFuzzerTestOneInput(data, size);
}

static int open_last(const char *name)
{
	last_fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (last_fd < 0)
		return -errno;
	last = mmap(NULL, INPUT_MOST, PROT_READ | PROT_WRITE, MAP_SHARED,
		    last_fd, 0);
	return last == MAP_FAILED ? -errno : 0;
}

/* ---- reading ---------------------------------------------------------------- */

static int read_file(const char *name)
{
	struct input *input = &inputs[n_inputs];
	FILE *file;

	if (n_inputs == INPUTS_MOST)
		return -E2BIG;
	file = fopen(name, "re");
	if (!file)
		return -errno;
	input->data = malloc(INPUT_MOST);
	must(input->data);
	input->size = fread(input->data, 1, INPUT_MOST, file);
	(void)fclose(file);
	input->data = realloc(input->data, input->size + 1);
	must(input->data);
	n_inputs++;
	return 0;
}

static int read_inputs(const char *name);

/* In the order of their names, or no two runs would be the same. */
static int read_folder(const char *name)
{
	struct dirent **entries;
	char path[4096];
	int i, n, r = 0;

	n = scandir(name, &entries, NULL, alphasort);
	if (n < 0)
		return -errno;
	for (i = 0; i < n; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", name,
			       entries[i]->d_name);
		if (r == 0 && entries[i]->d_name[0] != '.')
			r = read_inputs(path);
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int read_inputs(const char *name)
{
	struct stat st;

	if (stat(name, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? read_folder(name) : read_file(name);
}

/* ---- changing --------------------------------------------------------------- */

static uint64_t state = 0x9e3779b97f4a7c15u; /* always the same */

static uint64_t draw(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return below ? state % below : 0;
}

/* Values at which sizes and counts go wrong. */
static void put_edge(uint8_t *at, size_t left)
{
	static const uint32_t edges[] = {
		0,    1,	  3,	  4,	  0x7f,	      0x80,
		0xff, 0x100,	  0x7fff, 0xffff, 0x7fffffff, 0x80000000,
		~0u,  0xfffffff0, '"',	  '{'
	};
	uint32_t value = edges[draw(sizeof(edges) / sizeof(*edges))];
	size_t n = (size_t)1 << draw(3);

	if (draw(2))
		value = __builtin_bswap32(value) >> (8 * (4 - n));
	memcpy(at, &value, n < left ? n : left);
}

static size_t cut(uint8_t *data, size_t size, size_t at)
{
	size_t n = 1 + draw(draw(2) ? 8 : size - at);

	if (n > size - at)
		n = size - at;
	memmove(data + at, data + at + n, size - at - n);
	return size - n;
}

/* Puts bytes of the same input, or of another one, between others. */
static size_t insert(uint8_t *data, size_t size, size_t at)
{
	const struct input *from = &inputs[draw(n_inputs)];
	size_t start = draw(from->size);
	size_t n = draw(draw(2) ? 8 : 256);

	if (n > from->size - start)
		n = from->size - start;
	if (size + n > CHANGE_MOST)
		return size;
	memmove(data + at + n, data + at, size - at);
	memcpy(data + at, from->data + start, n);
	return size + n;
}

static size_t change(uint8_t *data, size_t size)
{
	size_t at = draw(size);

	if (!size)
		return insert(data, size, 0);
	switch (draw(6)) {
	case 0:
		data[at] ^= (uint8_t)(1u << draw(8));
		return size;
	case 1:
		data[at] = (uint8_t)draw(256);
		return size;
	case 2:
		put_edge(data + at, size - at);
		return size;
	case 3:
		return cut(data, size, at);
	case 4:
		return draw(4) ? size : at + 1; /* it ends early */
	default:
		return insert(data, size, at);
	}
}

static void run_changed(unsigned long n)
{
	uint8_t *data = malloc(CHANGE_MOST);
	const struct input *input;
	size_t size;

	must(data);
	for (unsigned long i = 0; i < n; i++) {
		uint64_t changes = 1 + draw(AT_ONCE);

		input = &inputs[i % n_inputs];
		if (input->size > CHANGE_MOST)
			continue;
		size = input->size;
		memcpy(data, input->data, size);
		while (changes--)
			size = change(data, size);
		run(data, size);
	}
	free(data);
}

/* ---- all of it --------------------------------------------------------------- */

static int take_argument(const char *name, const char *value,
			 unsigned long *changes)
{
	if (strcmp(name, "--changes") == 0) {
		*changes = strtoul(value, NULL, 10);
		return 0;
	}
	return strcmp(name, "--last") == 0 ? open_last(value) : -EINVAL;
}

int main(int argc, char **argv)
{
	FILE *out =
		fdopen(dup(STDOUT_FILENO), "w"); /* a target may want its own */
	unsigned long changes = 0;
	int i, r;

	must(out);
	for (i = 1; i < argc; i++) {
		bool is_option = argv[i][0] == '-' && i + 1 < argc;

		r = is_option ? take_argument(argv[i], argv[i + 1], &changes)
			      : read_inputs(argv[i]);
		if (r < 0) {
			(void)fprintf(stderr, "cannot use '%s': %s\n", argv[i],
				      strerror(-r));
			return 1;
		}
		i += is_option;
	}
	for (size_t n = 0; n < n_inputs; n++)
		run(inputs[n].data, inputs[n].size);
	if (n_inputs)
		run_changed(changes);
	(void)fprintf(out, "1..1\nok 1 - %zu inputs, %lu changes\n", n_inputs,
		      changes);
	(void)fclose(out);
	for (size_t n = 0; n < n_inputs; n++)
		free(inputs[n].data);
	return n_inputs ? 0 : 1;
}

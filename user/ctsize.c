/* SPDX-License-Identifier: GPL-2.0-only */

/* How large the connection table is, how full, and what became of insertions. */
#include "user/ctsize.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "user/util.h"

#define SYSCTL "/proc/sys/net/netfilter/nf_conntrack_"
#define EVENTS "/proc/self/net/stat/nf_conntrack"

int fw_ctsize_entries(uint64_t *ret)
{
	return fw_read_number(SYSCTL "count", ret);
}

void fw_ctsize_read(struct fw_ctsize *ret)
{
	*ret = (struct fw_ctsize){ 0 };
	(void)fw_ctsize_entries(&ret->entries);
	(void)fw_read_number(SYSCTL "max", &ret->limit);
	(void)fw_read_number(SYSCTL "buckets", &ret->buckets);
}

/* Columns have changed places and names: the first line says which is which. */
static const struct {
	const char *name;
	size_t offset;
} columns[] = {
	{ "insert", offsetof(struct fw_ctevents, inserts) },
	{ "insert_failed", offsetof(struct fw_ctevents, insert_failed) },
	{ "drop", offsetof(struct fw_ctevents, drop) },
	{ "early_drop", offsetof(struct fw_ctevents, early_drop) },
};

/* The sum that a column is of; NULL: nobody asks for it. */
static uint32_t *sum_of(struct fw_ctevents *events, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		if (strcmp(columns[i].name, name) == 0)
			return (uint32_t *)((char *)events + columns[i].offset);
	}
	return NULL;
}

static void add_line(char *line, uint32_t *const *sums, size_t n)
{
	char *rest = line, *word;

	for (size_t i = 0; i < n && (word = strtok_r(rest, " \n", &rest));
	     i++) {
		if (sums[i])
			*sums[i] += (uint32_t)strtoul(word, NULL, 16);
	}
}

int fw_ctevents_read(struct fw_ctevents *ret)
{
	uint32_t *sums[32] = { NULL };
	char line[512], *rest = line, *word;
	size_t n = 0;
	FILE *file;

	*ret = (struct fw_ctevents){ 0 };
	file = fopen(EVENTS, "re");
	if (!file)
		return -errno;
	if (!fgets(line, sizeof(line), file)) {
		(void)fclose(file);
		return -EIO;
	}
	while (n < ARRAY_SIZE(sums) && (word = strtok_r(rest, " \n", &rest)))
		sums[n++] = sum_of(ret, word);
	while (fgets(line, sizeof(line), file))
		add_line(line, sums, n);
	(void)fclose(file);
	return 0;
}

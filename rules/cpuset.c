/* SPDX-License-Identifier: GPL-2.0-only */

/* Sets of CPUs: text in and out. */
#include "cpuset.h"

#include <stdio.h>

/* How many digits there are; a number of any size, UINT32_MAX at most. */
static size_t read_number(const char *s, size_t len, uint32_t *ret)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < len && s[i] >= '0' && s[i] <= '9'; i++) {
		n = n * 10 + (uint64_t)(s[i] - '0');
		if (n > UINT32_MAX)
			n = UINT32_MAX;
	}
	*ret = (uint32_t)n;
	return i;
}

enum fw_cpuset_error fw_cpuset_part(const char *s, size_t len,
				    struct fw_cpuset_part *ret)
{
	size_t at = read_number(s, len, &ret->first), n = at;

	ret->last = ret->first;
	if (!at)
		return FW_CPUSET_NO_NUMBER;
	if (at < len) {
		if (s[at++] != '-')
			return FW_CPUSET_NO_NUMBER;
		n = read_number(s + at, len - at, &ret->last);
		if (!n || at + n != len)
			return FW_CPUSET_NO_NUMBER;
	}
	if (ret->first >= FW_MAX_STEER_CPUS || ret->last >= FW_MAX_STEER_CPUS)
		return FW_CPUSET_TOO_GREAT;
	return ret->first > ret->last ? FW_CPUSET_REVERSED : FW_CPUSET_OK;
}

void fw_cpuset_add_part(struct fw_cpuset *set,
			const struct fw_cpuset_part *part)
{
	for (uint32_t cpu = part->first;
	     cpu <= part->last && cpu < FW_MAX_STEER_CPUS; cpu++)
		fw_cpuset_add(set, cpu);
}

const char *fw_cpuset_text(char buf[FW_CPUSET_TEXT],
			   const struct fw_cpuset *set)
{
	size_t used = 0;

	buf[0] = '\0';
	for (uint32_t cpu = 0; cpu < FW_MAX_STEER_CPUS; cpu++) {
		uint32_t first = cpu;

		if (!fw_cpuset_has(set, cpu))
			continue;
		while (fw_cpuset_has(set, cpu + 1))
			cpu++;
		used += (size_t)snprintf(buf + used, FW_CPUSET_TEXT - used,
					 used ? ",%u" : "%u", first);
		if (cpu > first)
			used += (size_t)snprintf(
				buf + used, FW_CPUSET_TEXT - used, "-%u", cpu);
	}
	return buf;
}

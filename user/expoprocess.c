/* SPDX-License-Identifier: GPL-2.0-only */

/* What every exporter says of its process: process_*. */
#include <dirent.h>
#include <sys/resource.h>

#include "user/expoparts.h"
#include "user/util.h"

static uint64_t count_fds(void)
{
	struct dirent *entry;
	uint64_t n = 0;
	DIR *dir;

	dir = opendir("/proc/self/fd");
	if (!dir)
		return 0;
	for (entry = readdir(dir); entry; entry = readdir(dir))
		n += entry->d_name[0] != '.';
	(void)closedir(dir);
	return n ? n - 1 : 0; /* not the one that reads the directory */
}

/* Virtual and resident size in pages, which are the first two numbers. */
static void read_memory(uint64_t ret_pages[2])
{
	char line[128] = "";
	char *end = line;

	(void)fw_read_text("/proc/self/statm", line, sizeof(line));
	ret_pages[0] = strtoull(end, &end, 10);
	ret_pages[1] = strtoull(end, &end, 10);
}

void fw_expo_process(struct fw_metric_out *out, const struct fw_daemon *daemon)
{
	static const struct fw_metric cpu = {
		"process_cpu_seconds_total", "counter",
		"Total user and system CPU time spent in seconds."
	};
	static const struct fw_metric resident = {
		"process_resident_memory_bytes", "gauge",
		"Resident memory size in bytes."
	};
	static const struct fw_metric virtual = {
		"process_virtual_memory_bytes", "gauge",
		"Virtual memory size in bytes."
	};
	static const struct fw_metric open_fds = {
		"process_open_fds", "gauge", "Number of open file descriptors."
	};
	static const struct fw_metric max_fds = {
		"process_max_fds", "gauge",
		"Maximum number of open file descriptors."
	};
	static const struct fw_metric start = {
		"process_start_time_seconds", "gauge",
		"Start time of the process since unix epoch in seconds."
	};
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct rlimit limit = { 0 };
	struct timespec spent = { 0 };
	uint64_t pages[2];

	read_memory(pages);
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	fw_metric_one_real(out, &cpu,
			   (double)spent.tv_sec + (double)spent.tv_nsec / 1e9);
	fw_metric_one(out, &resident, pages[1] * page);
	fw_metric_one(out, &virtual, pages[0] * page);
	fw_metric_one(out, &open_fds, count_fds());
	fw_metric_one(out, &max_fds, limit.rlim_cur);
	fw_metric_one(out, &start, (uint64_t)daemon->started);
}

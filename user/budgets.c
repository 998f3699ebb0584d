/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * How many records of packets the programs have not made.
 *
 * A budget is used up by records, so where nothing came nothing was left out: the
 * counters are read only while records come, and once more.
 */
#include "user/budgets.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "user/counters.h"
#include "user/log.h"
#include "user/loop.h"
#include "user/util.h"

#define READ_MS 1000

struct fw_budgets {
	struct fw_timer *timer;
	bool is_armed;
	int map;
	size_t n_cpus;
	struct fw_log_budget *values; /* of all CPUs, as the kernel has them */
	fw_budgets_fn fn;
	void *data;
	uint64_t known[FW_LOG_BUDGETS]; /* suppressed packets */
	struct fw_event last[FW_LOG_BUDGETS];
};

static int read_values(struct fw_budgets *budgets)
{
	uint32_t keys[FW_LOG_BUDGETS], n = FW_LOG_BUDGETS;
	uint64_t cursor = 0;

	if (bpf_map_lookup_batch(budgets->map, NULL, &cursor, keys,
				 budgets->values, &n, NULL) < 0 &&
	    errno != ENOENT)
		return -errno;
	return n == FW_LOG_BUDGETS ? 0 : -EIO;
}

static uint64_t sum_of(const struct fw_budgets *budgets, size_t i)
{
	const struct fw_log_budget *values =
		budgets->values + i * budgets->n_cpus;
	uint64_t sum = 0;

	for (size_t cpu = 0; cpu < budgets->n_cpus; cpu++)
		sum += values[cpu].suppressed;
	return sum;
}

static void on_read(void *data)
{
	struct fw_budgets *budgets = data;
	int r;

	budgets->is_armed = false;
	r = read_values(budgets);
	if (r < 0) {
		log_debug("cannot read what was not logged: %s, ignoring",
			  strerror(-r));
		return;
	}
	for (size_t i = 0; i < FW_LOG_BUDGETS; i++) {
		uint64_t sum = sum_of(budgets, i);
		uint64_t more = sum - budgets->known[i];

		budgets->known[i] = sum;
		if (more)
			budgets->fn(budgets->data, &budgets->last[i], more);
	}
}

static int start(struct fw_budgets *budgets, struct fw_loop *loop)
{
	int n_cpus = fw_counters_values();
	int r;

	if (n_cpus < 0)
		return n_cpus;
	budgets->n_cpus = (size_t)n_cpus;
	budgets->values = calloc(FW_LOG_BUDGETS * budgets->n_cpus,
				 sizeof(*budgets->values));
	if (!budgets->values)
		return -ENOMEM;
	budgets->timer = fw_timer_new(loop, on_read, budgets);
	if (!budgets->timer)
		return -errno;
	r = read_values(budgets);
	for (size_t i = 0; r == 0 && i < FW_LOG_BUDGETS; i++)
		budgets->known[i] = sum_of(budgets, i);
	return r;
}

int fw_budgets_new(struct fw_loop *loop, int map, fw_budgets_fn fn, void *data,
		   struct fw_budgets **ret)
{
	struct fw_budgets *budgets;
	int r;

	budgets = calloc(1, sizeof(*budgets));
	if (!budgets)
		return -ENOMEM;
	budgets->map = map;
	budgets->fn = fn;
	budgets->data = data;
	r = start(budgets, loop);
	if (r < 0) {
		fw_budgets_free(budgets);
		return r;
	}
	*ret = budgets;
	return 0;
}

void fw_budgets_free(struct fw_budgets *budgets)
{
	if (!budgets)
		return;
	fw_timer_free(budgets->timer);
	free(budgets->values);
	free(budgets);
}

static size_t budget_of(const struct fw_event *event)
{
	switch (event->type) {
	case FW_EVENT_LOG:
		return FW_LOG_BUDGET_OF(event->slot);
	case FW_EVENT_ESP:
		return FW_LOG_BUDGET_ESP;
	default:
		return FW_LOG_BUDGET_DROP;
	}
}

void fw_budgets_note(struct fw_budgets *budgets, const struct fw_event *event)
{
	size_t i = budget_of(event);

	budgets->last[i] = *event;
	if (!budgets->is_armed)
		budgets->is_armed =
			fw_timer_arm(budgets->timer, READ_MS, 0) == 0;
}

/* SPDX-License-Identifier: GPL-2.0-only */

/* What a daemon has of rules and programs, for the tests of the datapath. */
#include "selftests/datapath/daemon.h"

#include <string.h>

#include <bpf/bpf.h>

#include "user/util.h"

struct daemon start(void)
{
	struct daemon d = { 0 };
	char *error = NULL;
	int r;

	d.loop = fw_loop_new();
	assert_non_null(d.loop);
	d.dp = open_datapath();
	r = fw_apply_new(d.loop, d.dp, &d.apply, &error);
	if (r < 0)
		fail_msg("fw_apply_new: %d, %s", r, error ? error : "");
	assert_null(error);
	return d;
}

void stop(struct daemon *d)
{
	fw_apply_free(d->apply);
	fw_datapath_free(d->dp);
	fw_loop_free(d->loop);
}

void load(struct daemon *d, const char *text)
{
	struct fw_program *program = compile(text);
	char *error = NULL;
	struct fw_span at;
	int r;

	r = fw_apply_load(d->apply, program, &at, &error);
	if (r < 0)
		fail_msg("fw_apply_load: %d, %s", r, error ? error : "");
	assert_null(error);
	assert_ptr_equal(fw_apply_program(d->apply), program);
}

void fail_to_load(struct daemon *d, const char *text, int want,
		  const char *want_text, const char *want_at)
{
	struct fw_program *program = compile(text);
	_cleanup_free_ char *error = NULL;
	struct fw_span at;

	assert_int_equal(fw_apply_load(d->apply, program, &at, &error), want);
	assert_non_null(error);
	if (!strstr(error, want_text))
		fail_msg("'%s' is not in '%s'", want_text, error);
	assert_int_equal(at.len != 0, want_at != NULL);
	if (want_at)
		assert_memory_equal(text + at.off, want_at, strlen(want_at));
	fw_program_free(program);
}

uint32_t slot_of(const struct daemon *d, const char *label)
{
	const struct fw_program *program = fw_apply_program(d->apply);
	uint32_t slot;

	for (size_t i = 0; i < program->n_rows; i++) {
		if (strcmp(program->rows[i].label, label) != 0)
			continue;
		slot = fw_apply_row_slot(d->apply, i);
		assert_int_not_equal(slot, 0);
		assert_string_equal(fw_apply_slot_label(d->apply, slot), label);
		return slot;
	}
	fail_msg("no rule '%s'", label);
	return 0;
}

void set_counter(const struct daemon *d, uint32_t cpu, uint32_t slot,
		 const struct fw_rule_counter *value)
{
	uint32_t index = cpu * fw_datapath_size(d->dp).slots + slot;

	assert_int_equal(
		bpf_map_update_elem(fw_datapath_map(d->dp, FW_MAP_RULE_STATS),
				    &index, value, BPF_ANY),
		0);
}

void set_packets(const struct daemon *d, uint32_t slot, uint64_t packets)
{
	const struct fw_rule_counter value = { .packets = packets };

	set_counter(d, 0, slot, &value);
}

uint64_t packets_of(const struct daemon *d, uint32_t slot)
{
	struct fw_rule_counter value;

	assert_int_equal(fw_stats_rule(d->dp, slot, &value), 0);
	return value.packets;
}

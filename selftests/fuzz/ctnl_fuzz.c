/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Any bytes as what netlink sends, and any bytes as records of our programs, merged into a
 * flow table as the mirror does it.
 *
 * An input is a sequence of steps, each a byte that says what it is, and a part:
 * datagrams of events, of dumps and of answers, with any number of messages; the
 * beginning and the end of a dump. The table must count right, whatever it was told.
 */
#include "user/ctnl.c"

#include <netinet/in.h>
#include <unistd.h>

#include "user/flowtab.h"
#include "user/xflows.h"

#include "fuzz.h"

#define DUMP_SEQ 1 /* that a message has to bear */
#define LIFE_NS	 1000000000ull

enum step {
	STEP_EVENTS,
	STEP_DUMP,
	STEP_ANSWERS,
	STEP_MARK,
	STEP_CARRY,
	STEP_DELETE,
	STEP_BEGIN,
	STEP_SWEEP,
	STEP_ABORT,
	STEP_RECORD,
	STEP_XFLOW,
	STEP_END,
	STEPS,
};

struct fuzz {
	struct fw_ctnl *ctnl;
	struct fw_flowtab *tab;
	uint64_t now_ns;
	size_t gone;
};

static void on_gone(void *data, const struct fw_entry *entry)
{
	struct fuzz *fuzz = data;

	(void)entry;
	fuzz->gone++;
}

/* What the mirror asks of an entry, and tells the kernel about it. */
static void use(struct fuzz *fuzz, const struct fw_entry *entry)
{
	struct fw_flow flow;
	uint8_t state = fw_entry_kernel_tcp_due(entry);

	(void)fw_entry_is_half_open(entry);
	(void)fw_entry_flow(entry, fuzz->now_ns, &flow);
	if (state)
		(void)fw_ctnl_queue_tcp_state(fuzz->ctnl, &entry->orig, state);
	(void)fw_ctnl_queue_timeout(fuzz->ctnl, &entry->orig, 5);
	(void)fw_ctnl_queue_delete(fuzz->ctnl, &entry->orig, entry->zone,
				   entry->ct_id);
}

static void merge_ct(struct fuzz *fuzz, enum fw_ct_msg msg,
		     const struct fw_ct *ct)
{
	struct fw_entry *entry = NULL;

	must(fw_flowtab_ct(fuzz->tab, msg, ct, fuzz->now_ns, &entry) == 0);
	if (!entry)
		return;
	must(fw_flowtab_find(fuzz->tab, &ct->orig, ct->zone) == entry);
	use(fuzz, entry);
}

static void on_cts(void *data, const enum fw_ct_msg *msgs,
		   const struct fw_ct *cts, size_t n)
{
	struct fuzz *fuzz = data;

	fw_flowtab_prefetch(fuzz->tab, cts, n);
	for (size_t i = 0; i < n; i++)
		merge_ct(fuzz, msgs[i], &cts[i]);
}

/* ---- steps ------------------------------------------------------------------------ */

static void read_filtered_part(struct fuzz *fuzz, enum step step,
			       const uint8_t *part, size_t len)
{
	struct filtered filtered = { .ctnl = fuzz->ctnl,
				     .socket = fuzz->ctnl->dump,
				     .seq = DUMP_SEQ,
				     .from = 16,
				     .to = 0,
				     .other = 7 };

	filtered.fn = step == STEP_MARK	   ? mark_one
		      : step == STEP_CARRY ? carry_one
					   : delete_one;
	if (step == STEP_CARRY)
		filtered.any = ~0u;
	(void)walk(part, len, on_filtered, &filtered);
}

static void read_answers(struct fuzz *fuzz, const uint8_t *part, size_t len)
{
	struct answers answers = { .ctnl = fuzz->ctnl, .first_seq = 0 };

	(void)walk(part, len, on_answer, &answers);
}

static void read_record(struct fuzz *fuzz, const uint8_t *part, size_t len)
{
	struct fw_event event = { 0 };
	struct fw_entry *entry = NULL;

	memcpy(&event, part, len < sizeof(event) ? len : sizeof(event));
	if (event.type != FW_EVENT_FLOW_NEW &&
	    event.type != FW_EVENT_FLOW_STATE &&
	    event.type != FW_EVENT_FLOW_END && event.type != FW_EVENT_ADOPT)
		return;
	if (fw_flowtab_record(fuzz->tab, &event, &entry) == 0 && entry)
		use(fuzz, entry);
}

static void read_xflow(struct fuzz *fuzz, const uint8_t *part, size_t len)
{
	struct {
		struct fw_tuple tuple;
		struct fw_xflow xflow;
	} element = { 0 };

	memcpy(&element, part, len < sizeof(element) ? len : sizeof(element));
	must(fw_flowtab_xflow(fuzz->tab, &element.tuple, &element.xflow) == 0);
}

static void end_flow(struct fuzz *fuzz, const uint8_t *part, size_t len)
{
	struct fw_tuple tuple = { 0 };

	memcpy(&tuple, part, len < sizeof(tuple) ? len : sizeof(tuple));
	fw_flowtab_end(fuzz->tab, &tuple, 0);
}

static void take_step(struct fuzz *fuzz, enum step step, const uint8_t *part,
		      size_t len)
{
	struct reader reader;

	reader_init(&reader, fuzz->ctnl, on_cts, fuzz);
	switch (step) {
	case STEP_EVENTS:
		(void)walk(part, len, on_event, &reader);
		tell(&reader);
		break;
	case STEP_DUMP:
		(void)walk(part, len, on_dumped, &reader);
		tell(&reader);
		break;
	case STEP_ANSWERS:
		read_answers(fuzz, part, len);
		break;
	case STEP_MARK:
	case STEP_CARRY:
	case STEP_DELETE:
		read_filtered_part(fuzz, step, part, len);
		break;
	case STEP_BEGIN:
		fw_flowtab_begin(fuzz->tab, fuzz->now_ns);
		break;
	case STEP_SWEEP:
		fw_flowtab_sweep_begin(fuzz->tab,
				       len ? part[0] & 3 : FW_SOURCE_CT);
		(void)fw_flowtab_sweep_some(fuzz->tab, len > 1 ? part[1] : 1);
		break;
	case STEP_ABORT:
		fw_flowtab_abort_begin(fuzz->tab);
		(void)fw_flowtab_sweep_some(fuzz->tab, 2);
		break;
	case STEP_RECORD:
		read_record(fuzz, part, len);
		break;
	case STEP_XFLOW:
		read_xflow(fuzz, part, len);
		break;
	case STEP_END:
		end_flow(fuzz, part, len);
		break;
	case STEPS:
		break;
	}
}

/* ---- what must hold ---------------------------------------------------------------- */

static int count_one(void *data, const struct fw_entry *entry)
{
	size_t *n = data;

	*n += !(entry->flags & FW_ENTRY_DEAD);
	return 0;
}

static void check_table(struct fuzz *fuzz)
{
	const struct fw_census *census = fw_flowtab_census(fuzz->tab);
	size_t walked = 0, counted = 0;
	uint64_t at = 0;

	while (fw_flowtab_sweep_some(fuzz->tab, 3))
		;
	while (fw_flowtab_walk(fuzz->tab, &at, 2, count_one, &walked) == 1)
		;
	must(walked == fw_flowtab_count(fuzz->tab));
	for (size_t i = 1; i < ARRAY_SIZE(census->n); i++)
		counted += census->n[i];
	must(counted == walked);
}

/* A table with sockets that lead nowhere. */
static struct fw_ctnl *new_ctnl(void)
{
	struct fw_ctnl *ctnl = calloc(1, sizeof(*ctnl));
	int fds[2];

	must(ctnl && socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
	(void)close(fds[1]); /* what is sent there fails */
	ctnl->dump = mnl_socket_fdopen(fds[0]);
	must(ctnl->dump);
	ctnl->control = ctnl->dump;
	ctnl->dump_seq = DUMP_SEQ;
	ctnl->shift = FW_MARK_SHIFT;
	return ctnl;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fw_ctnl
		*ctnl; /* one for all inputs: its buffers are large */
	struct fuzz_input in = { data, size };
	struct fuzz fuzz = { .now_ns = LIFE_NS };

	if (!ctnl)
		ctnl = new_ctnl();
	ctnl->is_interrupted = false;
	ctnl->batch_n = 0;
	ctnl->batch_len = 0;
	ctnl->batch_error = 0;
	ctnl->seq = 100;
	fuzz.ctnl = ctnl;
	fuzz.tab = fw_flowtab_new();
	must(fuzz.tab);
	fw_flowtab_set_gone(fuzz.tab, on_gone, &fuzz);
	while (in.left) {
		enum step step = (enum step)(fuzz_byte(&in) % STEPS);
		size_t len;
		uint8_t *part = fuzz_part(&in, &len);

		take_step(&fuzz, step, part, len);
		free(part);
		fuzz.now_ns += LIFE_NS;
	}
	check_table(&fuzz);
	fw_flowtab_free(fuzz.tab);
	return 0;
}

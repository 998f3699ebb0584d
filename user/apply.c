/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Makes a compiled program the running one.
 *
 * Order of a load: counters, generation, image, entries of the interfaces - all
 * of it unseen by packets; then attach; then one update of `rulesets` switches;
 * then what only the old rules needed goes. Up to the switch everything can be
 * taken back, and after it nothing can fail. An interface that the old rules do
 * not know is attached before the switch, too: the programs pass what comes by
 * an interface without an entry. Only the very first load switches first, for
 * without any image the programs drop.
 */
#include "user/apply.h"

#include <errno.h>
#include <string.h>

#include "user/cover.h"
#include "user/hosttab.h"
#include "user/iface.h"
#include "user/log.h"
#include "user/loop.h"
#include "user/offload.h"
#include "user/rulesets.h"
#include "user/slots.h"
#include "user/timeouts.h"
#include "user/util.h"

/* One rule set, and all that stands in the kernel for it. */
struct rules {
	struct fw_program *program; /* NULL: none, or not readable */
	uint32_t *row_slots;
	uint32_t default_slots[FW_DIR_MAX];
	uint32_t gen; /* 0: none */
	uint8_t mark_shift;
	bool is_in_place; /* image_fd: where the programs to come look for it */
	int image_fd;	  /* -1: none */
	struct fw_image_past past;
	struct fw_image_cost cost;
	struct fw_cover_set cover;
};

/* After that no packet is at work with the image before the running one. */
#define FORGET_AFTER_MS 1000

struct fw_apply {
	struct fw_datapath *dp;
	struct fw_hosttab *tables;
	struct fw_ifaces *ifaces;
	struct fw_slots *slots;
	struct fw_offload *offload;
	struct fw_cover *cover;
	struct rules now;
	struct fw_timer *forget_timer; /* for the image before this one */
	bool is_kept;	/* the running image, for after the next switch */
	uint64_t loads; /* since we are here, replacements of sets too */
	uint32_t forgotten_gen; /* of which there are no marks; 0: none */
	uint8_t forgotten_shift;
	int spare_fd; /* a map for the next image; -1: none */
	uint32_t spare_size;
	time_t since;
	fw_apply_forget_fn forget;
	void *forget_data;
	fw_apply_move_fn move;
	void *move_data;
};

static const struct fw_cover_set no_interfaces;

/* Frees all but the program, which has another owner while a load goes on. */
static void rules_done(struct rules *rules)
{
	free(rules->row_slots);
	fw_closep(&rules->image_fd);
	fw_cover_set_done(&rules->cover);
	*rules = (struct rules){ .image_fd = -1 };
}

/* ---- forwarding by XDP ------------------------------------------------------- */

static bool wants_offload(const struct rules *rules)
{
	return rules->program && rules->program->options & FW_OPT_OFFLOAD;
}

/* The running rules are what counts. */
static void follow_offload(struct fw_apply *apply)
{
	const struct fw_cover_set *cover = &apply->now.cover;

	fw_offload_use(apply->offload, wants_offload(&apply->now));
	fw_offload_update(apply->offload, apply->ifaces, cover->ifaces,
			  cover->n);
}

/* ---- loading -------------------------------------------------------------- */

/* Are these the running rules, with other content in a set of theirs? */
static bool is_same(const struct fw_apply *apply, const struct rules *next)
{
	return next->program == apply->now.program;
}

static int keep_slots(const struct rules *now, struct rules *next)
{
	size_t size = (now->program->n_rows + 1) * sizeof(uint32_t);

	next->row_slots = malloc(size);
	if (!next->row_slots)
		return -ENOMEM;
	memcpy(next->row_slots, now->row_slots, size);
	memcpy(next->default_slots, now->default_slots,
	       sizeof(next->default_slots));
	return 0;
}

static int assign_slots(struct fw_apply *apply, struct rules *next,
			char **reterr)
{
	const struct fw_program *program = next->program;
	int r = 0;

	if (is_same(apply, next))
		return keep_slots(&apply->now, next);
	next->row_slots = calloc(program->n_rows + 1, sizeof(uint32_t));
	if (!next->row_slots)
		return -ENOMEM;
	fw_slots_begin(apply->slots, fw_datapath_size(apply->dp).slots);
	for (int dir = 0; dir < FW_DIR_MAX && r == 0; dir++) {
		r = fw_slots_assign(apply->slots,
				    fw_default_label((enum fw_dir)dir),
				    &next->default_slots[dir]);
	}
	for (size_t i = 0; i < program->n_rows && r == 0; i++) {
		uint32_t rule = program->rows[i].rule;

		if (rule != i) {
			next->row_slots[i] = next->row_slots[rule];
			continue;
		}
		r = fw_slots_assign(apply->slots, program->rows[i].label,
				    &next->row_slots[i]);
	}
	if (r == 0)
		fw_slots_clear_new(apply->slots, apply->dp);
	if (r == -ENOSPC) {
		fw_errorf(
			reterr,
			"too many rules: old and new ones have more than %d labels together",
			FW_MAX_SLOTS - 1);
	}
	return r;
}

/* A set that gets other content makes new rules of the same load. */
static bool ends_flows(const struct fw_apply *apply, const struct rules *next)
{
	return apply->now.image_fd >= 0 && !is_same(apply, next) &&
	       next->program->options & FW_OPT_RELOAD_KILL;
}

/* Will our bits of marks be elsewhere than those of the running rules are? */
static bool moves_marks(const struct fw_apply *apply, const struct rules *next)
{
	return apply->now.image_fd >= 0 &&
	       next->mark_shift != apply->now.mark_shift;
}

static struct fw_forget what_to_forget(const struct fw_apply *apply,
				       uint32_t gen, uint8_t mark_shift)
{
	uint32_t now = apply->now.gen;
	uint32_t ended_before = apply->now.past.ended_before;

	if (apply->now.image_fd < 0)
		return (struct fw_forget){ .mark_shift = mark_shift };
	return (struct fw_forget){
		.mark_shift = mark_shift,
		.gen = gen,
		.heir = now > 1 ? now - 1 : FW_MARK_GEN_MAX,
		.is_ended = fw_gen_has_ended(gen, ended_before, now),
	};
}

/* The generation of the next rules. */
static uint32_t coming_gen(const struct fw_apply *apply)
{
	uint32_t gen = apply->now.gen;

	return gen < FW_MARK_GEN_MAX ? gen + 1 : 1;
}

/*
 * No flow bears the mark of a generation that is not running. Marks are where the
 * running rules have them; if there are none, where those to come will have them.
 */
static int forget_gen(struct fw_apply *apply, uint32_t gen, uint8_t mark_shift)
{
	struct fw_forget forget = what_to_forget(apply, gen, mark_shift);
	int r = 0;

	if (apply->forget && (apply->forgotten_gen != gen ||
			      apply->forgotten_shift != mark_shift))
		r = apply->forget(apply->forget_data, &forget);
	if (r == 0) {
		apply->forgotten_gen = gen;
		apply->forgotten_shift = mark_shift;
	}
	return r;
}

/* The running image is found by packets after the next switch, too. */
static int keep_image(struct fw_apply *apply)
{
	int r;

	if (apply->now.image_fd < 0 || apply->is_kept)
		return 0;
	r = fw_rulesets_keep(apply->dp, apply->now.image_fd);
	apply->is_kept = r == 0;
	return r;
}

void fw_apply_expect(struct fw_apply *apply)
{
	fw_apply_expect_nothing(apply);
	/* else it is not known yet where the marks will be */
	if (apply->now.image_fd >= 0)
		(void)forget_gen(apply, coming_gen(apply),
				 apply->now.mark_shift);
	(void)fw_hosttab_settle(apply->tables);
	/* Other programs are on their way, with a map of their own. */
	if (fw_datapath_is_expecting(apply->dp))
		return;
	(void)keep_image(apply);
	apply->spare_size = fw_datapath_size(apply->dp).image;
	apply->spare_fd = fw_datapath_take_spare_image(apply->dp);
	if (apply->spare_fd < 0)
		(void)fw_rulesets_new(apply->spare_size, &apply->spare_fd);
}

void fw_apply_expect_nothing(struct fw_apply *apply)
{
	fw_closep(&apply->spare_fd);
	apply->spare_fd = -1;
	apply->spare_size = 0;
}

/* After a switch: our bits of all marks are where the running rules have them. */
static int carry_marks(struct fw_apply *apply)
{
	struct rules *now = &apply->now;
	const struct fw_mark_move move = {
		.from = (uint8_t)(now->past.mark_before - 1),
		.to = now->mark_shift,
		.has_switched = true,
	};
	int r = 0;

	if (!now->past.mark_before)
		return 0;
	if (apply->move)
		r = apply->move(apply->move_data, &move);
	if (r == 0)
		r = fw_rulesets_end_carrying(now->image_fd);
	if (r == 0)
		now->past.mark_before = 0;
	return r;
}

static int claim_marks(struct fw_apply *apply, const struct rules *next,
		       char **reterr)
{
	const struct fw_mark_move move = {
		.from = apply->now.mark_shift,
		.to = next->mark_shift,
	};
	int r;

	r = apply->move ? apply->move(apply->move_data, &move) : 0;
	if (r < 0) {
		fw_errorf(reterr, "cannot clear the bits of marks: %s",
			  strerror(-r));
	}
	return r;
}

/*
 * Decides where the marks of the coming rules are. Bits that old and new ones share
 * could be taken for what they are not, so only half a mark is out of the way.
 */
static int place_marks(struct fw_apply *apply, struct rules *next,
		       struct fw_span *ret_at, char **reterr)
{
	uint32_t now, then;
	int r;

	next->mark_shift = next->program->mark_shift;
	if (!moves_marks(apply, next))
		return 0;
	now = FW_MARK_HALF << apply->now.mark_shift;
	then = FW_MARK_HALF << next->mark_shift;
	if (now & then) {
		*ret_at = next->program->mark_at;
		fw_errorf(
			reterr,
			"the running rules have their marks in 0x%08x, which has bits in common with 0x%08x: 'fwctl unload' first",
			now, then);
		return -EBUSY;
	}
	r = carry_marks(apply);
	if (r < 0) {
		fw_errorf(reterr, "cannot carry over the marks of flows: %s",
			  strerror(-r));
	}
	return r;
}

static int next_gen(struct fw_apply *apply, struct rules *next, char **reterr)
{
	bool is_first = apply->now.image_fd < 0;
	uint32_t gen = coming_gen(apply);
	int r;

	r = forget_gen(apply, gen,
		       is_first ? next->mark_shift : apply->now.mark_shift);
	if (r < 0) {
		fw_errorf(
			reterr,
			"cannot clear the marks of an earlier generation %u: %s",
			gen, strerror(-r));
		return r;
	}
	next->gen = gen;
	next->past = apply->now.past;
	if (moves_marks(apply, next))
		next->past.mark_before = (uint8_t)(apply->now.mark_shift + 1);
	/* Come round: of what was before that, no flow is left. */
	if (next->past.ended_before == gen)
		next->past.ended_before = 0;
	if (ends_flows(apply, next))
		next->past.ended_before = gen;
	/* What is older than all rules of ours; later ones may only stop it. */
	if (!next->program->adopt_s)
		next->past.adopt_until_ns = 0;
	else if (apply->now.image_fd < 0)
		next->past.adopt_until_ns =
			fw_now_ns() + next->program->adopt_s * 1000000000ull;
	return 0;
}

/* Memory of a map that nothing looks at yet, for an image. */
struct room {
	unsigned char *at; /* NULL: there is none */
	uint32_t size;
	bool is_expected; /* of programs that are on their way */
};

/*
 * The map for an image, and programs for maps of that size or for more counters
 * if need be.
 */
static int put_image(struct fw_apply *apply, struct rules *next,
		     const struct fw_image *image, const struct room *room,
		     char **reterr)
{
	struct fw_datapath_size has = fw_datapath_size(apply->dp), size = has;
	const struct fw_datapath_size least = {
		.image = image->size,
		.slots = fw_slots_needed(apply->slots),
		.flows = wants_offload(next) ? fw_offload_flows() : 0,
	};
	int r = 0;

	if (least.image > has.image)
		size.image = fw_rulesets_size(least.image);
	if (least.slots > has.slots)
		size.slots = least.slots;
	if (least.flows > has.flows)
		size.flows = least.flows;
	if (size.image != has.image || size.slots != has.slots ||
	    size.flows != has.flows)
		r = fw_datapath_grow(apply->dp, &least, &size, reterr);
	if (r < 0)
		return r;
	size = fw_datapath_size(apply->dp);
	next->image_fd = fw_datapath_take_image(apply->dp);
	next->is_in_place = next->image_fd >= 0;
	if (!next->is_in_place && apply->spare_size == size.image)
		next->image_fd = take_fd(&apply->spare_fd);
	/* Made where it belongs: nothing is left to be done. */
	if (image->is_lent && next->image_fd >= 0 &&
	    next->is_in_place == room->is_expected)
		return 0;
	return fw_rulesets_make(image, size.image, &next->image_fd);
}

/* The map that the next image will probably be in. */
static struct room borrow_room(const struct fw_apply *apply)
{
	struct room room = { .is_expected = true };
	int fd = fw_datapath_expected_image(apply->dp, &room.size);

	if (fd < 0) {
		fd = apply->spare_fd;
		room.size = apply->spare_size;
		room.is_expected = false;
	}
	if (fd >= 0)
		room.at = fw_rulesets_borrow(fd, room.size);
	return room;
}

static int make_image(struct fw_apply *apply, struct rules *next, char **reterr)
{
	struct room room = borrow_room(apply);
	struct fw_image image = { 0 };
	int r;

	r = fw_emit_to(room.at, room.size, next->program, next->gen,
		       next->row_slots, next->default_slots, &image);
	if (r == 0) {
		fw_image_set_past(&image, &next->past);
		r = put_image(apply, next, &image, &room, reterr);
	}
	next->cost = image.cost;
	if (r == -E2BIG) {
		fw_errorf(
			reterr,
			"the rules are too large: compiled and with their text they need more than %u MiB",
			FW_IMAGE_MAX >> 20);
	}
	fw_image_done(&image);
	fw_rulesets_return(room.at, room.size);
	return r;
}

static int make_cover(struct fw_apply *apply, struct rules *next, char **reterr)
{
	int r;

	if (wants_offload(next))
		fw_offload_use(apply->offload, true);
	r = fw_cover_plan(apply->cover, apply->ifaces, next->program, next->gen,
			  &next->cover, reterr);
	if (r < 0)
		return r;
	r = fw_cover_add(apply->cover, &apply->now.cover, &next->cover);
	if (r < 0) {
		fw_errorf(reterr, "cannot write the interfaces: %s",
			  strerror(-r));
	}
	return r;
}

/* Everything that no packet sees. */
static int prepare(struct fw_apply *apply, struct rules *next,
		   struct fw_span *ret_at, char **reterr)
{
	int r;

	r = assign_slots(apply, next, reterr);
	if (r == 0)
		r = place_marks(apply, next, ret_at, reterr);
	if (r == 0)
		r = next_gen(apply, next, reterr);
	if (r == 0)
		r = make_image(apply, next, reterr);
	if (r == 0)
		r = make_cover(apply, next, reterr);
	return r;
}

/* Until follow_known(): who looks at the rules sees which they are. */
static void end_known(struct fw_apply *apply)
{
	fw_hosttab_know(apply->tables, 0);
}

static void follow_known(struct fw_apply *apply)
{
	fw_hosttab_know(apply->tables,
			fw_rulesets_known_gen(apply->now.image_fd));
}

static int switch_over(struct fw_apply *apply, struct rules *next,
		       struct fw_span *ret_at, char **reterr)
{
	bool is_growing = fw_datapath_is_growing(apply->dp);
	bool is_first = apply->now.image_fd < 0;
	int r = 0;

	end_known(apply);
	if (!is_first)
		r = fw_cover_attach(apply->cover, &next->cover, ret_at, reterr);
	if (r < 0)
		return r;
	/* As late as can be: what was there is lost. */
	if (moves_marks(apply, next))
		r = claim_marks(apply, next, reterr);
	if (r < 0)
		return r;
	if (!is_growing)
		r = keep_image(apply);
	if (r == 0 && !next->is_in_place)
		r = fw_rulesets_switch(apply->dp, next->image_fd);
	if (r < 0) {
		fw_errorf(reterr, "cannot switch to the new rules: %s",
			  strerror(-r));
		return r;
	}
	if (is_growing) {
		r = fw_datapath_grown(apply->dp, reterr);
		if (r < 0)
			return r;
		/* Once more, to wait for packets in the other programs. */
		(void)fw_rulesets_switch(apply->dp, next->image_fd);
	}
	if (is_first)
		r = fw_cover_attach(apply->cover, &next->cover, ret_at, reterr);
	return r;
}

/* Put back what was before a load that failed. */
static void abandon(struct fw_apply *apply, struct rules *next)
{
	const struct rules *now = &apply->now;

	if (now->image_fd < 0) {
		fw_cover_trim(apply->cover, &no_interfaces);
		(void)fw_rulesets_clear(apply->dp);
	} else if (now->program) {
		/* Modes that were changed go back to what they were. */
		(void)fw_cover_attach(apply->cover, &apply->now.cover, NULL,
				      NULL);
		fw_cover_trim(apply->cover, &now->cover);
	}
	follow_known(apply);
	follow_offload(apply);
	fw_datapath_shrink(apply->dp);
	/* They may have run for a moment, and marked flows. */
	apply->forgotten_gen = 0;
	if (!is_same(apply, next))
		fw_slots_abort(apply->slots);
	next->program = NULL;
	rules_done(next);
}

static void on_forget(void *data)
{
	struct fw_apply *apply = data;

	fw_rulesets_forget(apply->dp);
	apply->is_kept = false;
}

/* The switch is done: what only the old rules needed goes. */
static void commit(struct fw_apply *apply, struct rules *next)
{
	bool is_new = !is_same(apply, next);
	struct rules old = apply->now;
	int r;

	apply->now = *next;
	follow_known(apply);
	r = carry_marks(apply);
	if (r < 0) {
		log_warning(
			"cannot carry over the marks of flows yet, their packets do: %s",
			strerror(-r));
	}
	apply->loads++;
	apply->is_kept = false;
	apply->forgotten_gen = 0;
	fw_cover_trim(apply->cover, &apply->now.cover);
	follow_offload(apply);
	if (is_new) {
		apply->since = time(NULL);
		fw_slots_commit(apply->slots, apply->loads);
		fw_program_free(old.program);
	}
	rules_done(&old);
	(void)fw_timer_arm(apply->forget_timer, FORGET_AFTER_MS, 0);
}

int fw_apply_load(struct fw_apply *apply, struct fw_program *program,
		  struct fw_span *ret_at, char **reterr)
{
	struct rules next = { .program = program, .image_fd = -1 };
	uint32_t timeouts[FW_TIMEOUT_MAX];
	char *error = NULL;
	int r;

	*ret_at = (struct fw_span){ 0 };
	fw_timeouts_read(timeouts);
	fw_program_set_timeouts(program, timeouts);
	r = fw_ifaces_sync(apply->ifaces);
	if (r < 0) {
		fw_errorf(reterr, "cannot read interfaces and addresses: %s",
			  strerror(-r));
		return r;
	}
	r = prepare(apply, &next, ret_at, &error);
	if (r == 0)
		r = switch_over(apply, &next, ret_at, &error);
	if (r < 0) {
		abandon(apply, &next);
		fw_errorf(reterr, "%s", error ? error : strerror(-r));
		free(error);
		return r;
	}
	commit(apply, &next);
	return 0;
}

/* How long flows live, and who says so. */
struct lives {
	struct fw_timeouts seconds;
	struct fw_timeout_from from[FW_TIMEOUT_MAX];
};

static struct lives lives_of(const struct fw_program *program)
{
	struct lives lives = { .seconds = program->timeouts };

	memcpy(lives.from, program->timeout_from, sizeof(lives.from));
	return lives;
}

static void put_back_lives(struct fw_program *program,
			   const struct lives *lives)
{
	program->timeouts = lives->seconds;
	memcpy(program->timeout_from, lives->from, sizeof(lives->from));
}

int fw_apply_replace(struct fw_apply *apply, struct fw_replacement *replacement,
		     char **reterr)
{
	struct fw_program *program = apply->now.program;
	const struct lives lives = lives_of(program);
	struct fw_span at;
	int r;

	fw_replacement_swap(program, replacement);
	r = fw_apply_load(apply, program, &at, reterr);
	if (r < 0) {
		fw_replacement_swap(program, replacement);
		put_back_lives(program, &lives);
	}
	return r;
}

/* ---- interfaces come and go -------------------------------------------------- */

static const char *earlier_error(const struct fw_cover_set *set,
				 const char *name)
{
	for (size_t i = 0; i < set->n; i++) {
		if (strcmp(set->ifaces[i].name, name) == 0)
			return set->ifaces[i].error;
	}
	return NULL;
}

/* Say what changed; a failure that lasts is said once. */
static void report(const struct fw_cover_set *before,
		   const struct fw_cover_set *after)
{
	for (size_t i = 0; i < after->n; i++) {
		const struct fw_apply_iface *iface = &after->ifaces[i];
		const char *old = earlier_error(before, iface->name);

		if (old && !iface->error) {
			log_info("interface '%s' is covered, mode %s",
				 iface->name, fw_mode_name(iface->mode));
		} else if (iface->error &&
			   (!old || strcmp(old, iface->error))) {
			log_warning("interface '%s' is not covered: %s",
				    iface->name, iface->error);
		}
	}
}

static int bring_to_interfaces(struct fw_apply *apply)
{
	struct fw_cover_set before, after;
	int r;

	r = fw_cover_plan(apply->cover, apply->ifaces, apply->now.program,
			  apply->now.gen, &after, NULL);
	if (r < 0)
		return r;
	before = apply->now.cover;
	r = fw_cover_add(apply->cover, &before, &after);
	if (r < 0) {
		fw_cover_set_done(&after);
		return r;
	}
	(void)fw_cover_attach(apply->cover, &after, NULL, NULL);
	apply->now.cover = after;
	fw_cover_trim(apply->cover, &after);
	follow_offload(apply);
	report(&before, &after);
	fw_cover_set_done(&before);
	return 0;
}

/* Bring the running rules to the interfaces as they are now. */
static void refresh(struct fw_apply *apply)
{
	int r = bring_to_interfaces(apply);

	if (r < 0)
		log_warning("cannot follow a change of interfaces: %s",
			    strerror(-r));
}

static void on_gone(void *data, uint32_t ifindex)
{
	struct fw_apply *apply = data;

	fw_cover_gone(apply->cover, ifindex);
}

static void on_changed(void *data)
{
	struct fw_apply *apply = data;

	if (apply->now.program)
		refresh(apply);
}

static const struct fw_ifaces_ops ifaces_ops = {
	.gone = on_gone,
	.changed = on_changed,
};

/* ---- adoption -------------------------------------------------------------------- */

struct answers {
	const struct fw_text *texts;
	size_t n;
};

/* Answers for included files with what the image holds. */
static int read_text(void *ctx, const char *name, struct fw_text *ret,
		     const char **reterr)
{
	const struct answers *answers = ctx;

	for (size_t i = 0; i < answers->n; i++) {
		const struct fw_text *text = &answers->texts[i];

		if (strcmp(text->name, name) != 0)
			continue;
		ret->name = strdup(name);
		ret->data = malloc(text->len + 1);
		if (!ret->name || !ret->data) {
			free(ret->name);
			free(ret->data);
			*reterr = "out of memory";
			return -ENOMEM;
		}
		memcpy(ret->data, text->data, text->len);
		ret->data[text->len] = '\0';
		ret->len = text->len;
		return 0;
	}
	*reterr = "not in the running rules";
	return -ENOENT;
}

static int recompile(const struct fw_image *image, struct fw_program **ret)
{
	/* Nobody reads warnings here. */
	struct fw_options as_it_runs = {
		.skip_passes = 1u << FW_PASS_DECIDED,
	};
	struct fw_set_text *replaced;
	struct fw_diag diag = { 0 };
	struct fw_text *texts;
	struct answers answers;
	size_t n;
	int r;

	r = fw_image_texts(image, &texts, &n, &replaced,
			   &as_it_runs.n_replaced);
	if (r < 0)
		return r;
	as_it_runs.replaced = replaced;
	answers = (struct answers){ texts, n };
	r = fw_compile_with(&as_it_runs, texts[0].name, texts[0].data,
			    texts[0].len, read_text, &answers, &diag, ret);
	fw_diag_done(&diag);
	fw_texts_free(texts, n);
	fw_set_texts_free(replaced, as_it_runs.n_replaced);
	return r;
}

static int claim_slots(struct fw_apply *apply, struct rules *rules,
		       const struct fw_image *image)
{
	const struct fw_program *program = rules->program;
	int r;

	rules->row_slots = calloc(program->n_rows + 1, sizeof(uint32_t));
	if (!rules->row_slots)
		return -ENOMEM;
	r = fw_image_slots(image, program->n_rows, rules->row_slots,
			   rules->default_slots);
	for (int dir = 0; dir < FW_DIR_MAX && r == 0; dir++) {
		r = fw_slots_claim(apply->slots,
				   fw_default_label((enum fw_dir)dir),
				   rules->default_slots[dir]);
	}
	for (size_t i = 0; i < program->n_rows && r == 0; i++) {
		r = fw_slots_claim(apply->slots, program->rows[i].label,
				   rules->row_slots[i]);
	}
	return r;
}

/* Learn the running rules from their image. */
static int adopt_image(struct fw_apply *apply, struct rules *rules)
{
	uint32_t timeouts[FW_TIMEOUT_MAX];
	struct fw_image image = { 0 };
	int r;

	r = fw_rulesets_read(rules->image_fd, &image);
	if (r < 0)
		return r;
	rules->gen = fw_image_head(&image)->gen;
	if (fw_image_head(&image)->magic != FW_IMAGE_MAGIC ||
	    rules->gen > FW_MARK_GEN_MAX)
		rules->gen = 0;
	rules->past.ended_before = fw_image_head(&image)->ended_before;
	rules->past.adopt_until_ns = fw_image_head(&image)->adopt_until_ns;
	rules->past.mark_before = fw_image_head(&image)->mark_before;
	rules->mark_shift = fw_image_head(&image)->mark_shift;
	r = recompile(&image, &rules->program);
	if (r == 0) {
		/* those of then: the system's may be others by now */
		fw_image_timeouts(&image, timeouts);
		fw_program_set_timeouts(rules->program, timeouts);
		r = claim_slots(apply, rules, &image);
	}
	fw_image_done(&image);
	return r;
}

/*
 * Rules that cannot be read back, made by another version, stay in force as
 * they are: the worst that we could do is to end them. A load replaces them.
 */
static int keep_unreadable(struct fw_apply *apply, int r)
{
	/* Without the generation nothing can be told apart: not ours at all. */
	if (apply->now.gen == 0)
		return -EBADMSG;
	log_warning(
		"the running rules stay in force but cannot be read back (%s): load rules to change them",
		strerror(-r));
	fw_program_free(apply->now.program);
	apply->now.program = NULL;
	free(apply->now.row_slots);
	apply->now.row_slots = NULL;
	memset(apply->now.default_slots, 0, sizeof(apply->now.default_slots));
	fw_slots_free(apply->slots);
	apply->slots = fw_slots_new(fw_datapath_size(apply->dp).slots, false);
	return apply->slots ? 0 : -ENOMEM;
}

static int adopt(struct fw_apply *apply)
{
	bool is_readable = true;
	int r;

	r = fw_rulesets_open(apply->dp, &apply->now.image_fd);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0) {
		r = adopt_image(apply, &apply->now);
		is_readable = r == 0;
		if (!is_readable)
			r = keep_unreadable(apply, r);
		if (r < 0)
			return r;
	}
	r = fw_cover_adopt(apply->cover, apply->now.gen, &apply->now.cover);
	if (r < 0)
		return r;
	follow_known(apply);
	apply->since = time(NULL);
	/* What runs may be unloaded and replaced, whatever the interfaces are. */
	fw_offload_use(apply->offload, wants_offload(&apply->now));
	if (apply->now.program)
		refresh(apply);
	else
		follow_offload(apply);
	/* Without an image nothing may be attached: it would drop everything. */
	if (apply->now.image_fd < 0)
		fw_cover_trim(apply->cover, &no_interfaces);
	return 0;
}

/* ---- birth and death ---------------------------------------------------------------- */

static int start(struct fw_apply *apply, struct fw_loop *loop, char **reterr)
{
	int r;

	apply->slots = fw_slots_new(fw_datapath_size(apply->dp).slots,
				    !fw_datapath_adopted(apply->dp));
	apply->forget_timer = fw_timer_new(loop, on_forget, apply);
	if (!apply->slots || !apply->forget_timer)
		return -ENOMEM;
	r = fw_hosttab_open(fw_datapath_map(apply->dp, FW_MAP_HOST),
			    &apply->tables);
	if (r < 0)
		return r;
	/* Who watched the daemon before this one is gone. */
	fw_apply_watch(apply, UINT8_MAX, 0);
	r = fw_offload_new(loop, apply->dp, apply->tables, on_changed, apply,
			   &apply->offload);
	if (r < 0)
		return r;
	r = fw_cover_new(apply->dp, apply->tables, apply->offload,
			 &apply->cover);
	if (r < 0)
		return r;
	r = fw_ifaces_new(loop, apply->tables, &ifaces_ops, apply,
			  &apply->ifaces, reterr);
	if (r < 0)
		return r;
	r = adopt(apply);
	if (r < 0) {
		fw_errorf(reterr, "cannot adopt the running rules: %s",
			  strerror(-r));
	}
	return r;
}

int fw_apply_new(struct fw_loop *loop, struct fw_datapath *dp,
		 struct fw_apply **ret, char **reterr)
{
	struct fw_apply *apply;
	int r;

	apply = calloc(1, sizeof(*apply));
	if (!apply)
		return -ENOMEM;
	apply->dp = dp;
	apply->now.image_fd = -1;
	apply->spare_fd = -1;
	r = start(apply, loop, reterr);
	if (r < 0) {
		fw_apply_free(apply);
		return r;
	}
	*ret = apply;
	return 0;
}

void fw_apply_free(struct fw_apply *apply)
{
	if (!apply)
		return;
	fw_apply_expect_nothing(apply);
	fw_timer_free(apply->forget_timer);
	fw_ifaces_free(apply->ifaces);
	fw_program_free(apply->now.program);
	rules_done(&apply->now);
	fw_cover_free(apply->cover);
	fw_offload_free(apply->offload);
	fw_hosttab_free(apply->tables);
	fw_slots_free(apply->slots);
	free(apply);
}

void fw_apply_set_forget(struct fw_apply *apply, fw_apply_forget_fn forget,
			 void *data)
{
	apply->forget = forget;
	apply->forget_data = data;
}

void fw_apply_set_move(struct fw_apply *apply, fw_apply_move_fn move,
		       void *data)
{
	int r;

	apply->move = move;
	apply->move_data = data;
	r = carry_marks(apply);
	if (r < 0) {
		log_warning("cannot carry over the marks of flows: %s",
			    strerror(-r));
	}
}

void fw_apply_watch(const struct fw_apply *apply, uint8_t mask, uint8_t kinds)
{
	fw_hosttab_watch(apply->tables, mask, kinds);
}

void fw_apply_snap(const struct fw_apply *apply, uint16_t len)
{
	fw_hosttab_snap(apply->tables, len);
}

/* ---- questions ------------------------------------------------------------------------ */

const struct fw_program *fw_apply_program(const struct fw_apply *apply)
{
	return apply->now.program;
}

struct fw_image_cost fw_apply_cost(const struct fw_apply *apply)
{
	return apply->now.cost;
}

uint32_t fw_apply_gen(const struct fw_apply *apply)
{
	return apply->now.gen;
}

uint8_t fw_apply_mark_shift(const struct fw_apply *apply)
{
	return apply->now.image_fd < 0 ? FW_MARK_SHIFT : apply->now.mark_shift;
}

bool fw_apply_has_ended(const struct fw_apply *apply, uint32_t gen)
{
	return fw_gen_has_ended(gen, apply->now.past.ended_before,
				apply->now.gen);
}

time_t fw_apply_time(const struct fw_apply *apply)
{
	return apply->since;
}

uint32_t fw_apply_row_slot(const struct fw_apply *apply, size_t row)
{
	if (!apply->now.program || row >= apply->now.program->n_rows)
		return 0;
	return apply->now.row_slots[row];
}

uint32_t fw_apply_default_slot(const struct fw_apply *apply, enum fw_dir dir)
{
	return dir < FW_DIR_MAX ? apply->now.default_slots[dir] : 0;
}

const char *fw_apply_slot_label(const struct fw_apply *apply, uint32_t slot)
{
	return fw_slots_label(apply->slots, slot);
}

bool fw_apply_slot_is_reused(const struct fw_apply *apply, uint32_t slot)
{
	return fw_slots_since(apply->slots, slot) != 0;
}

const char *fw_apply_slot_label_at(const struct fw_apply *apply, uint32_t slot,
				   uint32_t gen)
{
	uint64_t since = fw_slots_since(apply->slots, slot);
	uint32_t now = apply->now.gen, loads_ago;

	if (!since)
		return fw_slots_label(apply->slots, slot);
	if (!gen || gen > FW_MARK_GEN_MAX || since > apply->loads)
		return NULL;
	loads_ago = gen <= now ? now - gen : now + FW_MARK_GEN_MAX - gen;
	return apply->loads - since >= loads_ago
		       ? fw_slots_label(apply->slots, slot)
		       : NULL;
}

const struct fw_apply_iface *fw_apply_ifaces(const struct fw_apply *apply,
					     size_t *ret_n)
{
	*ret_n = apply->now.cover.n;
	return apply->now.cover.ifaces;
}

size_t fw_apply_self_count(const struct fw_apply *apply)
{
	return fw_ifaces_self_count(apply->ifaces);
}

const struct fw_ifaces *fw_apply_links(const struct fw_apply *apply)
{
	return apply->ifaces;
}

const struct fw_offload *fw_apply_offload(const struct fw_apply *apply)
{
	return apply->offload;
}

void fw_apply_flows_cut(struct fw_apply *apply)
{
	fw_offload_forget(apply->offload);
}

const char *fw_apply_ifname(const struct fw_apply *apply, uint32_t ifindex)
{
	const struct fw_link *link = fw_ifaces_by_index(apply->ifaces, ifindex);

	return link ? link->name : NULL;
}

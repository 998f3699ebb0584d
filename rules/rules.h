/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The rule language as a library: text in, diagnostics and a compiled program out.
 *
 * Pure: no system calls, no logging, no global state. Files that the text names
 * (include, set files) are asked for through a callback; interface names stay
 * names. The same text and the same answers of the callback give the same bytes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "kern/abi.h"

#include "cpuset.h"

struct fw_arena;

/* ---- input ---------------------------------------------------------------- */

/* One file as it was read. */
struct fw_text {
	char *name; /* as printed in messages */
	char *data; /* may contain any byte; data[len] == '\0'; never written to */
	size_t len;
	struct fw_text_owner *owner; /* of `data`; NULL: it is freed */
};

/* Whose memory texts lie in: is told of each that nobody needs any more. */
struct fw_text_owner {
	void (*release)(struct fw_text_owner *owner);
};

/**
 * @brief Answers for a file that the rules name.
 *
 * @param ctx      the pointer given to fw_compile()
 * @param name     path as written, already joined with the directory of the
 *                 file that names it unless it is absolute
 * @param ret      name, data and len to fill with malloc()ed memory, which
 *                 the compiler then owns
 * @param reterr   on failure a short reason ("no such file"), static or owned
 *                 by `ctx`
 * @return 0, or a negative errno
 */
typedef int (*fw_read_fn)(void *ctx, const char *name, struct fw_text *ret,
			  const char **reterr);

/*
 * A stretch of one file, by the file's number among the texts. Line and column
 * are computed when somebody asks.
 */
struct fw_span {
	uint32_t file;
	uint32_t off; /* in bytes */
	uint32_t len; /* in bytes; of no place at all 0 */
};

/* ---- diagnostics ----------------------------------------------------------- */

enum fw_severity {
	FW_SEVERITY_ERROR,
	FW_SEVERITY_WARNING,
	FW_SEVERITY_NOTE,
};

/* One message with its place; line and column count from 1, column in bytes. */
struct fw_message {
	enum fw_severity severity;
	char *file;
	uint32_t line;
	uint32_t column;
	uint32_t length; /* of the marked text, at least 1 */
	char *text;	 /* "port 70000 is out of range 0-65535" */
	char *source;	/* the line of the file; a long one is cut: "...x..." */
	uint32_t caret; /* where in `source` the marked text begins, in bytes */
	char *hint;	/* NULL, or what would be right */
};

struct fw_diag {
	struct fw_message *messages;
	size_t n;
	size_t errors;
	size_t warnings;
	bool truncated; /* more than FW_MAX_ERRORS were found */
};

#define FW_MAX_ERRORS 50

/** @brief Print all messages, each with place, line, caret and hint; colour if asked. */
void fw_diag_print(const struct fw_diag *diag, FILE *out, bool colour);

/** @brief Free what `diag` holds and zero it; NULL and zeroed are fine. */
void fw_diag_done(struct fw_diag *diag);

/* ---- the compiled program --------------------------------------------------- */

/* Half-open never: both ends are members. Host byte order; v4 in `lo`. */
struct fw_range {
	uint64_t first_hi, first_lo;
	uint64_t last_hi, last_lo;
};

/* Sorted, not overlapping, not adjacent. */
struct fw_ranges {
	struct fw_range *r;
	size_t n;
};

struct fw_set_origin; /* rules/origin.h */

/* A set of the program, after every list, define and file has been merged. */
struct fw_ir_set {
	struct fw_ranges v4;
	struct fw_ranges v6;
	struct fw_ranges port; /* ports, or ICMP type << 8 | code */
	bool has_self;
	bool is_heap; /* the ranges are not in the arena of the program */
	/*
	 * Named sets are part of it, or it is one: its content may be replaced.
	 * NULL: it is what the rules say, and stays that.
	 */
	const struct fw_set_origin *origin;
};

/*
 * One match, flat; the ABI row with places and names. Sets by index, -1: any.
 * A rule is one row, or with sets of addresses with ports several that stand
 * together: it matches if one of them does. They have all but their sets in
 * common, counter and label as well.
 */
struct fw_ir_row {
	uint32_t rule; /* the first row of the same rule */
	/*
	 * An earlier row + 1 that decides whatever this one matches: this one
	 * never does and may be left out of an image. 0: none is known.
	 */
	uint32_t decided_by;
	uint64_t in_zones, out_zones;
	uint64_t protos[4];
	int32_t src, dst; /* struct fw_ir_set */
	int32_t l4a, l4b; /* ports, or ICMP types with FW_ROW_ICMP */
	uint8_t verdict, dirs;
	uint8_t families;	/* in which it can match, as its sets are now */
	uint8_t given_families; /* whatever named sets hold */
	uint32_t flags;		/* FW_ROW_* */
	uint32_t reqid;		/* with FW_ROW_IPSEC; 0: any */
	const char *label;  /* never NULL; made of the text if none is given */
	const char *prefix; /* of log, or NULL */
	const char *file;   /* belongs to the texts of the program */
	uint32_t line, column;
	const char *text; /* canonical form of the rule, one line */
};

enum fw_iface_mode {
	FW_MODE_AUTO,
	FW_MODE_XDP,
	FW_MODE_XDP_GENERIC,
	FW_MODE_TC,
};

struct fw_zone_member {
	char *ifname;
	enum fw_iface_mode mode;
	struct fw_span at; /* of its mode if one is given, or of the name */
};

struct fw_zone {
	char *name; /* bit number in zone masks is the index of the zone */
	struct fw_zone_member *members;
	size_t n;
	char *file;
	uint32_t line, column;
};

/* Addresses, each with all of some ports: two sets of the program. */
struct fw_ir_pair {
	int32_t addr, port;
};

/* A named set, for `fwctl show sets`. */
struct fw_named_set {
	char *name;
	size_t v4, v6; /* ranges after merging */
	size_t ports;  /* of a set that holds ports, or addresses with ports */
	int32_t set;   /* its content: index of a struct fw_ir_set; -1: pairs */
	struct fw_ir_pair
		*pairs; /* in the arena; no address is in two of them */
	size_t n_pairs;
	bool holds_ports;
	bool is_fixed; /* part of addresses with ports: cannot be replaced */
	char *file;
	uint32_t line;
	struct fw_text replaced; /* what it was replaced by; no name: nothing */
};

/** @brief Does a set hold addresses with ports?  It has no set of its own. */
static inline bool fw_named_set_has_pairs(const struct fw_named_set *set)
{
	return set->set < 0;
}

/* Timeouts as people name them: one may be that of several lives of a flow. */
enum fw_timeout {
	FW_TIMEOUT_TCP_SYN_SENT,
	FW_TIMEOUT_TCP_SYN_RECV,
	FW_TIMEOUT_TCP_ESTABLISHED,
	FW_TIMEOUT_TCP_FIN,
	FW_TIMEOUT_TCP_TIME_WAIT,
	FW_TIMEOUT_TCP_CLOSE,
	FW_TIMEOUT_UDP,
	FW_TIMEOUT_UDP_STREAM,
	FW_TIMEOUT_ICMP4,
	FW_TIMEOUT_ICMP6,
	FW_TIMEOUT_OTHER,
	FW_TIMEOUT_MAX,
};

enum fw_timeout_origin {
	FW_TIMEOUT_BUILT_IN,
	FW_TIMEOUT_SYSTEM, /* fw_program_set_timeouts() */
	FW_TIMEOUT_RULES,  /* a `timeout` statement */
	FW_TIMEOUT_ORIGIN_MAX,
};

struct fw_timeout_from {
	const char *file; /* of FW_TIMEOUT_RULES; belongs to the texts */
	uint32_t line;
	uint8_t origin; /* enum fw_timeout_origin */
};

/* Everything that a rule file says. */
struct fw_program {
	struct fw_ir_row *rows; /* in file order, stateless ones among them */
	size_t n_rows;
	size_t n_expected; /* room for rows from the beginning */
	size_t n_rules;	   /* rows that are the first ones of their rules */
	struct fw_ir_set *sets;
	size_t n_sets;
	struct fw_zone *zones;
	size_t n_zones;
	struct fw_named_set *named_sets;
	size_t n_named_sets;
	char **defines; /* canonical form of each `define`, one line */
	size_t n_defines;
	uint8_t default_verdict[FW_DIR_MAX];
	uint8_t default_log;
	uint32_t options;   /* FW_OPT_* */
	uint8_t offload;    /* of `option offload`: FW_RESULT_OFFLOADS, or 0 */
	uint32_t adopt_s;   /* of `option adopt`; 0: off */
	uint8_t mark_shift; /* of `option mark-mask` */
	uint16_t esp_grace; /* of `option esp-grace`, seconds; 0: off */
	uint64_t antispoof, antispoof_strict; /* zones, as in the image */
	struct fw_span antispoof_at;	      /* the first place; len 0: none */
	struct fw_span ct_hooks_at;	      /* where FW_OPT_CT_HOOKS is set */
	struct fw_span mark_at;		      /* of `option mark-mask`; len 0 */
	struct fw_span esp_at;	 /* where one of FW_OPT_ESP is set; len 0 */
	struct fw_cpuset steer;	 /* of `option esp-steer` */
	struct fw_span steer_at; /* where they are listed; len 0 */
	struct fw_timeouts timeouts;
	struct fw_timeout_from timeout_from[FW_TIMEOUT_MAX];
	struct fw_text *texts; /* all files read, the main one first */
	size_t n_texts;
	uint32_t *text_sets; /* named set + 1 that alone reads a text, or 0 */
	size_t n_fixed_entries; /* ranges of names without named sets in them */
	struct fw_arena *arena; /* holds the texts of rows, ranges of sets */
};

/* What is done with the rows; see rules/pass.c for the table. */
enum fw_pass {
	FW_PASS_WIDE,	 /* terms that match everything are left out */
	FW_PASS_DECIDED, /* rows that an earlier one decides: found, warned of */
	FW_PASS_MAX
};

const char *fw_pass_name(enum fw_pass pass);

/* Comparisons until the search for decided rows gives up; some seconds. */
#define FW_SHADOW_STEPS 100000000u

/* The content of a named set that stands in for what the rules say. */
struct fw_set_text {
	char *set; /* its name */
	bool holds_ports;
	struct fw_text text; /* one entry a line */
};

/* Zeroed is what everybody wants. */
struct fw_options {
	uint32_t skip_passes;		    /* bit per enum fw_pass */
	uint64_t shadow_steps;		    /* 0: FW_SHADOW_STEPS */
	size_t shadow_rows;		    /* 0: all of them */
	const struct fw_set_text *replaced; /* borrowed */
	size_t n_replaced;
	/*
	 * Called with the `ctx` of the compilation, each once at most; NULL: nobody
	 * wants to know. First when all files have been read and nothing was wrong
	 * until then: the texts are all that there will be. Then when there is no
	 * error: the program is complete, and what follows only looks for warnings,
	 * which may take long. Meanwhile others may read the program, all but its
	 * `decided_by`; it is theirs when fw_compile_with() returns it, which it does.
	 * Either may return false: that is enough. With `only_texts` reading all
	 * files is enough in any case, and rules are passed over where they stand
	 * on a line of their own: they name no files, and may be wrong. Then the
	 * main text is not copied.
	 */
	bool only_texts;
	bool (*read_all)(void *ctx, const struct fw_text *texts, size_t n);
	bool (*accepted)(void *ctx, struct fw_program *program);
};

/**
 * @brief Compile a rule file.
 *
 * @param main_name  name of the file for messages and for relative includes
 * @param main_text  its bytes; copied
 * @param main_len   number of bytes
 * @param read       answers for included files; NULL: they cannot be read
 * @param ctx        passed to `read`
 * @param diag       zeroed by the caller; receives all errors and warnings
 * @param ret        the program, to be freed by fw_program_free()
 * @return 0, -EINVAL if `diag` has errors, or -ENOMEM
 */
int fw_compile(const char *main_name, const char *main_text, size_t main_len,
	       fw_read_fn read, void *ctx, struct fw_diag *diag,
	       struct fw_program **ret);

/**
 * @brief fw_compile() with options.
 *
 * @param main_text  NULL: `read` has it, or a negative errno; the program keeps what
 *                   `read` gives, while it copies a text that it is handed
 * @return as fw_compile(), or -ECANCELED if reading all files was enough
 */
int fw_compile_with(const struct fw_options *options, const char *main_name,
		    const char *main_text, size_t main_len, fw_read_fn read,
		    void *ctx, struct fw_diag *diag, struct fw_program **ret);

/**
 * @brief Record an error that only a kernel could find, with its place.
 *
 * @param diag  gets one more message, as fw_compile() would have added it
 * @param at    of this program or of another one that was compiled of the same
 *              texts; checked
 * @return 0, -EINVAL if there is no such place, or -ENOMEM
 */
int fw_program_error(const struct fw_program *program, struct fw_span at,
		     struct fw_diag *diag, const char *text);

/** @brief The same for a warning. */
int fw_program_warning(const struct fw_program *program, struct fw_span at,
		       struct fw_diag *diag, const char *text);

/**
 * @brief Give timeouts that the rules do not name those of the system.
 *
 * @param seconds  0: none is known; brought into the range that flows can have
 */
void fw_program_set_timeouts(struct fw_program *program,
			     const uint32_t seconds[FW_TIMEOUT_MAX]);

/** @brief Free a program; NULL is fine. */
void fw_program_free(struct fw_program *program);

/* ---- replacing the content of a named set ------------------------------------ */

/* A named set with other content, and all that follows from it. */
struct fw_replacement;

/** @brief The named set of that name, or NULL. */
const struct fw_named_set *fw_program_set(const struct fw_program *program,
					  const char *name);

/** @brief The named set that may have been meant, or NULL. */
const struct fw_named_set *
fw_program_nearest_set(const struct fw_program *program, const char *name);

/**
 * @brief Work out what a program is with other content in one of its sets.
 *
 * Nothing but that set and those that it is part of is looked at again: rules
 * are neither read nor checked, and no warnings are made. The program is the
 * same as one that was compiled with this text in struct fw_options.
 *
 * @param program  borrowed; unchanged until fw_replacement_swap()
 * @param set      from fw_program_set()
 * @param text     one entry a line; taken, also on failure
 * @param diag     zeroed by the caller; receives the errors
 * @param ret      freed by fw_replacement_free()
 * @return 0, -EINVAL if `diag` has errors, -E2BIG if the sets would have too
 *         many ranges together, or -ENOMEM
 */
int fw_replacement_new(const struct fw_program *program,
		       const struct fw_named_set *set, struct fw_text *text,
		       struct fw_diag *diag, struct fw_replacement **ret);

/**
 * @brief Exchange the content of the program and that of the replacement.
 *
 * Once puts it in force, twice takes it back; nothing can fail.
 *
 * @param program  the one that the replacement was made of
 */
void fw_replacement_swap(struct fw_program *program,
			 struct fw_replacement *replacement);

/** @brief Free a replacement, and the content that it holds now; NULL is fine. */
void fw_replacement_free(struct fw_replacement *replacement);

/**
 * @brief Print the canonical form of a rule file.
 *
 * Parsing what is printed prints the same again.
 */
void fw_program_print(const struct fw_program *program, FILE *out);

/** @brief Print the intermediate form, one row a line, for tests and people. */
void fw_program_dump(const struct fw_program *program, FILE *out);

/* Name of the counter of a default verdict: "default-in" and so on. */
const char *fw_default_label(enum fw_dir dir);

/* ---- the image ---------------------------------------------------------------- */

/* What an image costs a packet. */
struct fw_image_cost {
	uint32_t most_steps;   /* of the walk for one packet, at worst */
	uint32_t longest_list; /* rules that one packet may be held against */
	uint32_t slowest_row;  /* the first of these */
};

struct fw_image {
	unsigned char *bytes; /* struct fw_image_head first */
	uint32_t size;
	bool is_lent;		   /* see fw_emit_to() */
	struct fw_image_cost cost; /* as fw_emit() found it */
};

/**
 * @brief Emit the image that the programs in the kernel walk.
 *
 * @param program  compiled rules; borrowed
 * @param gen      generation, 1..FW_MARK_GEN_MAX
 * @param slots    counter slot of each row, in file order; borrowed
 * @param default_slots  counter slot of each enum fw_dir
 * @param ret      the image; freed by fw_image_done()
 * @return 0, -E2BIG if it needs more than FW_IMAGE_MAX bytes, or -ENOMEM
 */
int fw_emit(const struct fw_program *program, uint32_t gen,
	    const uint32_t *slots, const uint32_t default_slots[FW_DIR_MAX],
	    struct fw_image *ret);

/* What an image has to know of the loads before; zeroed: this is the first. */
struct fw_image_past {
	uint32_t ended_before; /* these as in struct fw_image_head */
	uint64_t adopt_until_ns;
	uint8_t mark_before;
};

/**
 * @brief fw_emit(), in memory of the caller if the image fits.
 *
 * @param room  of `len` bytes, which nobody reads before this returns; what is there
 *              afterwards is the image if `ret` says that it is lent. NULL: none
 */
int fw_emit_to(unsigned char *room, size_t len,
	       const struct fw_program *program, uint32_t gen,
	       const uint32_t *slots, const uint32_t default_slots[FW_DIR_MAX],
	       struct fw_image *ret);

/** @brief Say in an image that fw_emit() made what was before it. */
void fw_image_set_past(struct fw_image *image,
		       const struct fw_image_past *past);

void fw_image_done(struct fw_image *image);

/**
 * @brief Warn of rules that are not judged at one flat cost.
 *
 * Some packets are held against many rules one by one, as these cannot be told
 * apart by address, port, protocol or entering interface.
 *
 * @param cost     of an image
 * @param program  what it was made of
 * @param diag     gets at most one more message
 * @return 0, or -ENOMEM
 */
int fw_image_warn(const struct fw_image_cost *cost,
		  const struct fw_program *program, struct fw_diag *diag);

/** @brief The head of an image; the image has to be large enough for one. */
const struct fw_image_head *fw_image_head(const struct fw_image *image);

/** @brief What an image has of fw_program_set_timeouts(), for that again. */
void fw_image_timeouts(const struct fw_image *image,
		       uint32_t ret[FW_TIMEOUT_MAX]);

/**
 * @brief Read the counter slots back out of an image.
 *
 * @param image          as read from the kernel; checked, never trusted
 * @param n_rows         how many rows it must have
 * @param ret_slots      slot of each row, in file order
 * @param default_slots  slot of each enum fw_dir
 * @return 0, or -EBADMSG if the image is not one of ours or has other rows
 */
int fw_image_slots(const struct fw_image *image, size_t n_rows,
		   uint32_t *ret_slots, uint32_t default_slots[FW_DIR_MAX]);

/**
 * @brief Read the texts back out of an image's annex.
 *
 * @param image         as read from the kernel; checked, never trusted
 * @param ret_texts     malloc()ed array; freed by fw_texts_free()
 * @param ret_n         its length
 * @param ret_replaced  sets that were replaced, malloc()ed, for struct
 *                      fw_options; NULL if there are none; freed by
 *                      fw_set_texts_free()
 * @param ret_n_replaced  its length
 * @return 0, -EBADMSG if the image is not one of ours, or -ENOMEM
 */
int fw_image_texts(const struct fw_image *image, struct fw_text **ret_texts,
		   size_t *ret_n, struct fw_set_text **ret_replaced,
		   size_t *ret_n_replaced);

void fw_text_done(struct fw_text *text);
void fw_texts_free(struct fw_text *texts, size_t n);
void fw_set_texts_free(struct fw_set_text *texts, size_t n);

/* ---- the oracle ------------------------------------------------------------------ */

/**
 * @brief What the rules say of a packet; the judge of every other implementation.
 *
 * Walks the program, not the image. Rows of the wanted kind are tried in file
 * order, the first match wins; then, for the stateful pass, the default.
 * A row that matches but for a leaving interface that is not known yet
 * (FW_KEY_OUT_UNKNOWN) sets FW_RESULT_MAYBE and the walk goes on as if it had
 * not matched. FW_RESULT_MAYBE is also set, with the interface known, when some
 * row up to the deciding one names a leaving interface and matches but for it.
 * So does a row that matches but for IPsec, as long as nobody knows
 * (FW_KEY_IPSEC_UNKNOWN). A row that promises IPsec (fw_row_promises()) decides
 * whatever the packet is: in clear, or not known not to be, it is dropped, with
 * FW_RESULT_CLEAR; essential messages pass over such a row as over one that denies.
 *
 * @param program    compiled rules
 * @param key        the packet; FW_KEY_SRC_SELF and FW_KEY_DST_SELF say `self`
 * @param stateless  true: only stateless rows, and FW_RULE_NONE if none matches
 * @param ret        verdict, row (its `rule` says of which rule) and flags;
 *                   `slot` is left 0
 */
void fw_interpret(const struct fw_program *program, const struct fw_key *key,
		  bool stateless, struct fw_result *ret);

/* ---- names ------------------------------------------------------------------------- */

/* A check of packets that `option check` may switch off; called as its reason. */
struct fw_check {
	enum fw_reason reason;
	uint32_t off; /* FW_OFF_* */
};

extern const struct fw_check fw_checks[];
extern const size_t fw_n_checks;

const char *fw_reason_name(enum fw_reason reason); /* "tcp-no-syn" */
const char *fw_reason_text(enum fw_reason reason);
bool fw_reason_is_drop(enum fw_reason reason);
const char *fw_verdict_name(enum fw_verdict verdict);
const char *fw_dir_name(enum fw_dir dir);
const char *fw_hook_name(enum fw_hook hook);
const char *fw_tcp_state_name(enum fw_tcp_state state); /* "ESTABLISHED" */
const char *fw_mode_name(enum fw_iface_mode mode);

/* ---- timeouts ---------------------------------------------------------------------- */

const char *fw_timeout_name(enum fw_timeout timeout);	/* "tcp-established" */
const char *fw_timeout_sysctl(enum fw_timeout timeout); /* of net.netfilter */
const char *fw_timeout_origin_name(enum fw_timeout_origin origin);
uint32_t fw_timeout_seconds(const struct fw_timeouts *values,
			    enum fw_timeout timeout);

#define FW_DURATION_SIZE 16

/** @brief "2h": in the largest unit in which it is a whole number. */
void fw_duration_text(uint32_t seconds, char text[FW_DURATION_SIZE]);

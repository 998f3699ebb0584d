/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The rule file as it was written: who stands where, nothing about meaning.
 * All of it lives in the arena of the compiler; every node has its place.
 */
#pragma once

#include "cpuset.h"
#include "source.h"

enum fw_item_kind {
	FW_ITEM_WORD,
	FW_ITEM_DEFINE, /* $name */
	FW_ITEM_SET,	/* @name */
	FW_ITEM_LIST,	/* { ... } */
	FW_ITEM_FILE,	/* file "path", in a set */
	FW_ITEM_PAIR, /* ADDRESS port PORT, in a set: these two, as in a list */
};

/* A value; what it means depends on where it stands. */
struct fw_item {
	struct fw_item *next;
	union {
		struct fw_item *first; /* of FW_ITEM_LIST, FW_ITEM_PAIR */
		uint32_t file;	       /* of FW_ITEM_FILE: its number */
	};
	struct fw_span at; /* with $ or @ */
	enum fw_item_kind kind;
};

/* A value in a rule, perhaps with '!' before it. */
struct fw_ast_term {
	struct fw_item *item; /* NULL: not given */
	struct fw_span at;    /* with the '!' */
	bool is_negated;
};

enum fw_term_id {
	FW_TERM_IN,  /* entering interface */
	FW_TERM_OUT, /* leaving interface */
	FW_TERM_PROTO,
	FW_TERM_TYPE,
	FW_TERM_CODE,
	FW_TERM_SRC,
	FW_TERM_SPORT,
	FW_TERM_DST,
	FW_TERM_DPORT,
	FW_TERM_MAX
};

struct fw_ast_rule {
	struct fw_ast_term terms[FW_TERM_MAX];
	struct fw_span family_at;  /* len 0: not given */
	struct fw_span prefix;	   /* of log, without quotes; len 0: none */
	struct fw_span label;	   /* len 0: not given */
	struct fw_span offload_at; /* len 0: not given */
	uint8_t offload;	   /* FW_RESULT_OFFLOADS; 0: off */
	struct fw_span offload_on; /* the second word of `offload on` */
	struct fw_span ipsec_at;   /* `ipsec`, or what else; len 0: not given */
	struct fw_span reqid_at;   /* len 0: not given */
	uint32_t reqid;		   /* 0: any */
	bool is_not_ipsec;
	uint8_t families; /* FW_FAMILY_*; 0: not given */
	uint8_t verdict;  /* enum fw_verdict */
	uint8_t dir;	  /* enum fw_dir */
	bool is_stateless;
	bool has_log;
};

struct fw_ast_member {
	struct fw_ast_member *next;
	struct fw_span at; /* the interface name, without quotes */
	struct fw_span mode_at;
	enum fw_iface_mode mode;
	bool has_mode;
};

struct fw_ast_interface {
	struct fw_ast_interface *next; /* of the file */
	struct fw_span name;
	struct fw_ast_member *members;
};

/* `define` and `set` alike. */
struct fw_ast_binding {
	struct fw_span name;
	struct fw_item *item; /* of a set always a list */
};

struct fw_ast_option {
	struct fw_span name;
	uint32_t clear, set; /* FW_OPT_*; both 0: one of those below */
	uint32_t adopt_s;
	uint32_t esp_grace;
	struct fw_cpuset *steer; /* NULL: not this one */
	struct fw_span steer_at;
	uint8_t mark_shift;
	bool is_mark;
	bool is_esp_grace;
};

struct fw_ast_timeout {
	struct fw_span name;
	uint32_t timeouts; /* bit per enum fw_timeout */
	uint32_t seconds;
};

struct fw_ast_default {
	struct fw_span dir_at;
	uint8_t dir;
	uint8_t verdict;
	bool has_log;
};

/* Zones whose packets must have a way back. */
struct fw_ast_antispoof {
	struct fw_item *item;
	bool is_loose;
};

enum fw_stmt_kind {
	FW_STMT_INTERFACE,
	FW_STMT_DEFINE,
	FW_STMT_SET,
	FW_STMT_OPTION,
	FW_STMT_TIMEOUT,
	FW_STMT_DEFAULT,
	FW_STMT_ANTISPOOF,
};

/* All but rules. */
struct fw_stmt {
	struct fw_stmt *next;
	struct fw_span at; /* from its first to its last token */
	enum fw_stmt_kind kind;
	bool is_broken; /* an error was reported; its name is declared still */
	union {
		struct fw_ast_interface interface;
		struct fw_ast_binding binding;
		struct fw_ast_option option;
		struct fw_ast_timeout timeout;
		struct fw_ast_default dflt;
		struct fw_ast_antispoof antispoof;
	};
};

/* A rule that waits for its turn; ast_rule.h knows what the words are. */
struct fw_packed_rule {
	struct fw_packed_rule *next;
	struct fw_span at; /* from its first to its last token */
	uint32_t kinds;	   /* of the values of its terms */
	uint16_t negated;  /* bit per enum fw_term_id */
	uint8_t spans;
	uint8_t offload;
	uint32_t reqid;
	uint8_t families, verdict, dir;
	bool is_not_ipsec : 1, is_stateless : 1, has_log : 1;
	uint32_t words[];
};

struct fw_ast {
	struct fw_stmt *first;
	struct fw_stmt *last;
	struct fw_packed_rule *first_rule;
	struct fw_packed_rule *last_rule;
	struct fw_ast_interface *first_interface;
	struct fw_ast_interface *last_interface;
	size_t n_items;
	size_t n_rules;
	size_t n_others; /* statements that are no rules */
	bool is_full;	 /* there are too many: what follows is not read */
};

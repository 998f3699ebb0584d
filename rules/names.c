/* SPDX-License-Identifier: GPL-2.0-only */

/* The words that people read for the numbers of kern/abi.h. */
#include "rules.h"

struct reason {
	const char *name;
	const char *text;
	bool is_drop;
};

static const struct reason reasons[] = {
#define REASON_ROW(sym, word, drop, meaning) { word, meaning, drop },
	FW_REASONS(REASON_ROW)
#undef REASON_ROW
};

const struct fw_check fw_checks[] = {
#define CHECK_ROW(sym, bit) { FW_REASON_DROP_##sym, FW_OFF_##sym },
	FW_CHECKS(CHECK_ROW)
#undef CHECK_ROW
};
const size_t fw_n_checks = sizeof(fw_checks) / sizeof(fw_checks[0]);

static const char *const verdicts[] = {
	[FW_ACCEPT] = "accept",
	[FW_DROP] = "drop",
	[FW_REJECT] = "reject",
};

static const char *const dirs[] = {
	[FW_DIR_IN] = "in",
	[FW_DIR_OUT] = "out",
	[FW_DIR_FORWARD] = "forward",
};

static const char *const default_labels[] = {
	[FW_DIR_IN] = "default-in",
	[FW_DIR_OUT] = "default-out",
	[FW_DIR_FORWARD] = "default-forward",
};

static const char *const hooks[] = {
	[FW_HOOK_XDP] = "xdp",
	[FW_HOOK_INGRESS] = "ingress",
	[FW_HOOK_EGRESS] = "egress",
};

/* As conntrack(8) spells them, which has one word for all that a RST leaves. */
static const char *const tcp_states[] = {
	[FW_TCP_NONE] = "NONE",
	[FW_TCP_SYN_SENT] = "SYN_SENT",
	[FW_TCP_SYN_RECV] = "SYN_RECV",
	[FW_TCP_ESTABLISHED] = "ESTABLISHED",
	[FW_TCP_FIN_ORIG] = "FIN_WAIT",
	[FW_TCP_FIN_REPLY] = "CLOSE_WAIT",
	[FW_TCP_TIME_WAIT] = "TIME_WAIT",
	[FW_TCP_CLOSE] = "CLOSE",
	[FW_TCP_SYN_SENT2] = "SYN_SENT2",
	[FW_TCP_REFUSED] = "CLOSE",
	[FW_TCP_REOPEN] = "CLOSE",
	[FW_TCP_CLOSE_ORIG] = "CLOSE",
	[FW_TCP_CLOSE_REPLY] = "CLOSE",
	[FW_TCP_ADOPTED] = "ADOPTED",
	[FW_TCP_ADOPTED_REPLY] = "ADOPTED",
};

static const char *const modes[] = {
	[FW_MODE_AUTO] = "auto",
	[FW_MODE_XDP] = "xdp",
	[FW_MODE_XDP_GENERIC] = "xdp-generic",
	[FW_MODE_TC] = "tc",
};

/* Numbers may come from a map that something else wrote: never trust them. */
#define NAME_AT(table, i) \
	((size_t)(i) < sizeof(table) / sizeof((table)[0]) ? (table)[i] : "?")

const char *fw_reason_name(enum fw_reason reason)
{
	return (size_t)reason < FW_REASON_MAX ? reasons[reason].name : "?";
}

const char *fw_reason_text(enum fw_reason reason)
{
	return (size_t)reason < FW_REASON_MAX ? reasons[reason].text : "?";
}

bool fw_reason_is_drop(enum fw_reason reason)
{
	return (size_t)reason < FW_REASON_MAX && reasons[reason].is_drop;
}

const char *fw_verdict_name(enum fw_verdict verdict)
{
	return NAME_AT(verdicts, verdict);
}

const char *fw_dir_name(enum fw_dir dir)
{
	return NAME_AT(dirs, dir);
}

const char *fw_default_label(enum fw_dir dir)
{
	return NAME_AT(default_labels, dir);
}

const char *fw_hook_name(enum fw_hook hook)
{
	return NAME_AT(hooks, hook);
}

const char *fw_tcp_state_name(enum fw_tcp_state state)
{
	return NAME_AT(tcp_states, state);
}

const char *fw_mode_name(enum fw_iface_mode mode)
{
	return NAME_AT(modes, mode);
}

/* SPDX-License-Identifier: GPL-2.0-only */

/* Tokens to the syntax tree: durations, and how long flows live. */
#include "mem.h"
#include "parser.h"
#include "timeout.h"

/* As after `proto`: of both families, or of one. */
#define ICMP	  "icmp"
#define BOTH_ICMP (1u << FW_TIMEOUT_ICMP4 | 1u << FW_TIMEOUT_ICMP6)

static void unknown_name(struct fw_parser *p)
{
	struct fw_reporter *rep = &p->c->rep;
	struct fw_nearest nearest;
	int i;

	fw_parser_unexpected(p, "the name of a timeout");
	if (p->token.kind != FW_TOKEN_WORD)
		return;
	nearest = fw_nearest_to(fw_span_text(&p->c->sources, p->token.at),
				p->token.at.len);
	for (i = 0; i < FW_TIMEOUT_MAX; i++)
		fw_nearest_try_word(&nearest,
				    fw_timeout_name((enum fw_timeout)i));
	fw_nearest_try_word(&nearest, ICMP);
	if (!fw_report_nearest(rep, &nearest, "")) {
		fw_report_hint(
			rep,
			"there are tcp-syn-sent, tcp-syn-recv, tcp-established, tcp-fin, tcp-time-wait, tcp-close, udp, udp-stream, icmp, icmp4, icmp6 and other");
	}
}

static bool parse_name(struct fw_parser *p, struct fw_ast_timeout *timeout)
{
	int i;

	if (fw_parser_accept_word(p, ICMP))
		timeout->timeouts = BOTH_ICMP;
	for (i = 0; i < FW_TIMEOUT_MAX && !timeout->timeouts; i++) {
		if (fw_parser_accept_word(p,
					  fw_timeout_name((enum fw_timeout)i)))
			timeout->timeouts = 1u << i;
	}
	timeout->name = p->last;
	if (!timeout->timeouts)
		unknown_name(p);
	return timeout->timeouts;
}

/* What a number without unit or a word says instead. */
static void not_a_duration(struct fw_parser *p, struct fw_span at,
			   bool has_unit)
{
	struct fw_reporter *rep = &p->c->rep;

	if (!has_unit) {
		fw_report_error(rep, at, "'%.*s' has no unit",
				FW_QUOTE(rep, at));
		fw_report_hint(rep, "did you mean '%.*ss'?", FW_QUOTE(rep, at));
		return;
	}
	fw_report_error(rep, at, "'%.*s' is not a duration", FW_QUOTE(rep, at));
	fw_report_hint(rep, "write a number and s, m, h or d: 30s, 1h");
}

bool fw_parser_duration(struct fw_parser *p, const char *what, uint32_t max,
			uint32_t *ret)
{
	struct fw_reporter *rep = &p->c->rep;
	char limit[FW_DURATION_SIZE];
	bool has_unit = false;
	struct fw_span at;
	uint64_t seconds;

	if (!fw_parser_expect(p, FW_TOKEN_WORD, what))
		return false;
	at = p->last;
	if (!fw_duration_read(fw_span_text(&p->c->sources, at), at.len,
			      &has_unit, &seconds)) {
		not_a_duration(p, at, true);
		return false;
	}
	if (!has_unit) {
		not_a_duration(p, at, false);
		return false;
	}
	if (seconds < 1 || seconds > max) {
		fw_duration_text(max, limit);
		fw_report_error(rep, at, "'%.*s' is out of range 1s-%s",
				FW_QUOTE(rep, at), limit);
		return false;
	}
	*ret = (uint32_t)seconds;
	return true;
}

bool fw_parser_timeout(struct fw_parser *p, struct fw_ast_timeout *timeout)
{
	return parse_name(p, timeout) &&
	       fw_parser_duration(p, "a duration such as 30s or 2h",
				  FW_LIFE_SECONDS_MAX, &timeout->seconds);
}

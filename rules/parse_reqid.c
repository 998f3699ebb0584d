/* SPDX-License-Identifier: GPL-2.0-only */

/* The reqid of `via ipsec`: by which number the kernel ties SAs to a policy. */
#include "parser.h"

#include "diag.h"

/* Digits alone, of 32 bits at most: false if there is anything else. */
static bool read_number(const char *s, size_t len, uint64_t *ret)
{
	size_t i;

	*ret = 0;
	for (i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		if (*ret <= UINT32_MAX)
			*ret = *ret * 10 + (uint64_t)(s[i] - '0');
	}
	return len > 0;
}

bool fw_parser_reqid(struct fw_parser *p, struct fw_ast_rule *rule)
{
	struct fw_reporter *rep = &p->c->rep;
	struct fw_span at = fw_parser_take(p);
	uint64_t number;

	if (rule->is_not_ipsec) {
		fw_report_error(rep, at, "'not via ipsec' has no reqid");
		fw_report_hint(
			rep,
			"it is for what came in clear; for other SAs put a rule with 'via ipsec reqid N' before 'via ipsec'");
		return false;
	}
	if (!fw_parser_expect(p, FW_TOKEN_WORD, "one number")) {
		if (p->token.kind == FW_TOKEN_OPEN)
			fw_report_hint(rep, "write a rule for each reqid");
		return false;
	}
	rule->reqid_at = fw_span_join(at, p->last);
	at = p->last;
	if (!read_number(fw_span_text(rep->sources, at), at.len, &number)) {
		fw_report_error(rep, at, "'%.*s' is not a reqid",
				FW_QUOTE(rep, at));
		fw_report_hint(
			rep,
			"write the number that 'ip xfrm state' shows: via ipsec reqid 5");
		return false;
	}
	if (number < 1 || number > UINT32_MAX) {
		fw_report_error(rep, at, "reqid %.*s is out of range 1-%u",
				FW_QUOTE(rep, at), UINT32_MAX);
		if (!number)
			fw_report_hint(rep, "write 'via ipsec' for every SA");
		return false;
	}
	rule->reqid = (uint32_t)number;
	return true;
}

/* SPDX-License-Identifier: GPL-2.0-only */

/* The CPUs of `option esp-steer`: 0-3,6. */
#include "parser.h"

#include "diag.h"

static bool refuse(struct fw_parser *p, enum fw_cpuset_error error,
		   const struct fw_cpuset_part *part)
{
	struct fw_reporter *rep = &p->c->rep;
	struct fw_span at = p->last;

	if (error == FW_CPUSET_TOO_GREAT) {
		fw_report_error(rep, at, "'%.*s' is out of range 0-%d",
				FW_QUOTE(rep, at), FW_MAX_STEER_CPUS - 1);
	} else if (error == FW_CPUSET_REVERSED) {
		fw_report_error(rep, at, "'%.*s' begins behind its end",
				FW_QUOTE(rep, at));
		fw_report_hint(rep, "did you mean '%u-%u'?", part->last,
			       part->first);
	} else {
		fw_report_error(rep, at,
				"'%.*s' is no CPU and no range of CPUs",
				FW_QUOTE(rep, at));
		fw_report_hint(rep, "write numbers and ranges, such as 0-3,6");
	}
	return false;
}

bool fw_parser_steer(struct fw_parser *p, struct fw_ast_option *option)
{
	struct fw_span first = p->token.at;
	enum fw_cpuset_error error;
	struct fw_cpuset_part part;

	option->steer = fw_compiler_alloc(p->c, sizeof(*option->steer));
	if (!option->steer)
		return false;
	do {
		if (!fw_parser_expect(p, FW_TOKEN_WORD, "CPUs such as 0-3,6"))
			return false;
		error = fw_cpuset_part(fw_span_text(&p->c->sources, p->last),
				       p->last.len, &part);
		if (error != FW_CPUSET_OK)
			return refuse(p, error, &part);
		fw_cpuset_add_part(option->steer, &part);
	} while (fw_parser_accept(p, FW_TOKEN_COMMA));
	option->steer_at = fw_span_join(first, p->last);
	option->set = FW_OPT_ESP_STEER;
	return true;
}

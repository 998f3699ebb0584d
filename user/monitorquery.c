/* SPDX-License-Identifier: GPL-2.0-only */

/* What is to be monitored: the words behind `monitor`. */
#include "user/monitorquery.h"

#include <errno.h>
#include <string.h>

#include "rules/rules.h"
#include "user/util.h"

/* Takes "drops" and the like; false: it is not one of them. */
static bool take_kind(struct fw_monitor_query *query, const char *word)
{
	if (strcmp(word, "drops") == 0)
		query->kinds = FW_MONITOR_DROPS;
	else if (strcmp(word, "flows") == 0)
		query->kinds = FW_MONITOR_FLOWS;
	else if (strcmp(word, "all") == 0)
		query->kinds = FW_MONITOR_ALL;
	else
		return false;
	return true;
}

static int take_reason(struct fw_monitor_query *query, const char *word,
		       char **reterr)
{
	for (int i = 0; i < FW_REASON_MAX; i++) {
		if (strcmp(fw_reason_name((enum fw_reason)i), word) == 0) {
			query->reasons |= 1ull << i;
			return 0;
		}
	}
	fw_errorf(
		reterr,
		"no reason is called '%s': reason takes rule, default, tcp-no-syn and the like, see fwctl(8)",
		word);
	return -EINVAL;
}

/* Takes a term that flows do not have; 0: it is none, 1, or -EINVAL. */
static int take_own(struct fw_monitor_query *query, const char *const *words,
		    size_t n, char **reterr)
{
	bool is_reason = strcmp(words[0], "reason") == 0;

	if (!is_reason && strcmp(words[0], "interface") != 0)
		return 0;
	if (n < 2) {
		fw_errorf(reterr, "'%s' needs a value behind it", words[0]);
		return -EINVAL;
	}
	if (is_reason)
		return take_reason(query, words[1], reterr) < 0 ? -EINVAL : 1;
	if (query->interface) {
		fw_errorf(reterr, "'interface' is given twice");
		return -EINVAL;
	}
	query->interface = words[1];
	return 1;
}

static int check_query(const struct fw_monitor_query *query, char **reterr)
{
	const char *error = NULL;

	if (query->of.sort != FW_FLOW_SORT_NONE || query->of.count ||
	    query->of.all)
		error = "monitor takes no sort and no count, and 'all' in the first place only";
	else if (query->reasons && query->kinds == FW_MONITOR_FLOWS)
		error = "flows have no reason: try monitor drops";
	else if (query->of.state && query->kinds != FW_MONITOR_FLOWS)
		error = "only flows have a state: try monitor flows";
	if (error)
		fw_errorf(reterr, "%s", error);
	return error ? -EINVAL : 0;
}

int fw_monitor_query_parse(const char *const *words, size_t n,
			   struct fw_monitor_query *ret, char **reterr)
{
	struct fw_monitor_query query = { .kinds = FW_MONITOR_ALL };
	const char *rest[FW_MONITOR_WORDS];
	size_t n_rest = 0, i = 0;
	int r;

	if (n > FW_MONITOR_WORDS) {
		fw_errorf(reterr, "more than %d words", FW_MONITOR_WORDS);
		return -EINVAL;
	}
	if (n && take_kind(&query, words[0]))
		i = 1;
	while (i < n) {
		r = take_own(&query, words + i, n - i, reterr);
		if (r < 0)
			return r;
		/* What another term may need stands behind it, whatever it is. */
		for (size_t end = i + 2; i < end && i < n; i++) {
			if (r == 0)
				rest[n_rest++] = words[i];
		}
	}
	r = fw_flow_query_parse(rest, n_rest, &query.of, reterr);
	if (r == 0)
		r = check_query(&query, reterr);
	if (r == 0)
		*ret = query;
	return r;
}

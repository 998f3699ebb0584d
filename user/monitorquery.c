/* SPDX-License-Identifier: GPL-2.0-only */

/* What is to be monitored or captured: the words behind `monitor` and `capture`. */
#include "user/monitorquery.h"

#include <errno.h>
#include <string.h>

#include "rules/diag.h"
#include "rules/rules.h"
#include "user/util.h"

/* The words that say what is wanted, and where they may stand. */
struct language {
	const char *command;
	struct {
		const char *word; /* NULL: behind the last one */
		unsigned int kinds;
	} kinds[4];
	unsigned int usual; /* without any of them */
	bool anywhere;	    /* also behind terms */
};

static const struct language monitor_language = {
	.command = "monitor",
	.kinds = { { "drops", FW_MONITOR_DROPS },
		   { "flows", FW_MONITOR_FLOWS },
		   { "all", FW_MONITOR_ALL } },
	.usual = FW_MONITOR_ALL,
};

static const struct language capture_language = {
	.command = "capture",
	.kinds = { { "drops", FW_MONITOR_DROPS },
		   { "matches", FW_MONITOR_LOGS },
		   { "all", FW_MONITOR_DROPS | FW_MONITOR_LOGS } },
	.usual = FW_MONITOR_DROPS,
	.anywhere = true,
};

/* Takes "drops" and the like; false: it is not one of them. */
static bool take_kind(const struct language *language,
		      struct fw_monitor_query *query, const char *word)
{
	for (size_t i = 0; language->kinds[i].word; i++) {
		if (strcmp(language->kinds[i].word, word) == 0) {
			query->kinds = language->kinds[i].kinds;
			return true;
		}
	}
	return false;
}

/* ---- reasons -------------------------------------------------------------------- */

/* "drop-rule" is what a capture calls it. */
static bool is_reason(enum fw_reason reason, const char *word, size_t len)
{
	const char *name = fw_reason_name(reason);
	const char *verdict = fw_reason_is_drop(reason) ? "drop-" : "accept-";
	size_t skip = strlen(verdict);

	if (strlen(name) == len && memcmp(name, word, len) == 0)
		return true;
	return len > skip && memcmp(word, verdict, skip) == 0 &&
	       strlen(name) == len - skip &&
	       memcmp(name, word + skip, len - skip) == 0;
}

static void complain_of_reason(const char *word, size_t len, char **reterr)
{
	struct fw_nearest nearest = fw_nearest_to(word, len);
	int quoted = (int)(len < FW_QUOTE_MAX ? len : FW_QUOTE_MAX);

	for (int i = 0; i < FW_REASON_MAX; i++)
		fw_nearest_try_word(&nearest,
				    fw_reason_name((enum fw_reason)i));
	if (nearest.best) {
		fw_errorf(
			reterr,
			"no reason is called '%.*s', did you mean '%s'? fwctl(8) has them all",
			quoted, word, nearest.best);
		return;
	}
	fw_errorf(
		reterr,
		"no reason is called '%.*s': reason takes rule, default, tcp-no-syn and the like, see fwctl(8)",
		quoted, word);
}

static int take_reason(uint64_t *reasons, const char *word, size_t len,
		       char **reterr)
{
	for (int i = 0; i < FW_REASON_MAX; i++) {
		if (is_reason((enum fw_reason)i, word, len)) {
			*reasons |= 1ull << i;
			return 0;
		}
	}
	complain_of_reason(word, len, reterr);
	return -EINVAL;
}

int fw_reasons_parse(const char *list, uint64_t *ret, char **reterr)
{
	uint64_t reasons = 0;
	int r;

	for (const char *word = list;; word++) {
		size_t len = strcspn(word, ",");

		r = take_reason(&reasons, word, len, reterr);
		if (r < 0)
			return r;
		word += len;
		if (!*word)
			break;
	}
	*ret |= reasons;
	return 0;
}

/* ---- terms ---------------------------------------------------------------------- */

/* Takes a term that flows do not have; 0: it is none, 1, or -EINVAL. */
static int take_own(struct fw_monitor_query *query, const char *const *words,
		    size_t n, char **reterr)
{
	bool has_reason = strcmp(words[0], "reason") == 0;

	if (!has_reason && strcmp(words[0], "interface") != 0)
		return 0;
	if (n < 2) {
		fw_errorf(reterr, "'%s' needs a value behind it", words[0]);
		return -EINVAL;
	}
	if (has_reason)
		return take_reason(&query->reasons, words[1], strlen(words[1]),
				   reterr) < 0
			       ? -EINVAL
			       : 1;
	if (query->interface) {
		fw_errorf(reterr, "'interface' is given twice");
		return -EINVAL;
	}
	query->interface = words[1];
	return 1;
}

static int check_query(const struct language *language,
		       const struct fw_monitor_query *query, char **reterr)
{
	const char *error = NULL;

	if (query->of.sort != FW_FLOW_SORT_NONE || query->of.count ||
	    query->of.all) {
		fw_errorf(reterr,
			  "%s takes no sort and no count, and 'all' %s only",
			  language->command,
			  language->anywhere ? "once" : "in the first place");
		return -EINVAL;
	}
	if (query->reasons && query->kinds == FW_MONITOR_FLOWS)
		error = "flows have no reason: try monitor drops";
	else if (query->of.state && query->kinds != FW_MONITOR_FLOWS)
		error = "only flows have a state: try monitor flows";
	if (error)
		fw_errorf(reterr, "%s", error);
	return error ? -EINVAL : 0;
}

static int parse(const struct language *language, const char *const *words,
		 size_t n, struct fw_monitor_query *ret, char **reterr)
{
	struct fw_monitor_query query = { 0 };
	const char *rest[FW_MONITOR_WORDS];
	size_t n_rest = 0, i = 0;
	int r;

	if (n > FW_MONITOR_WORDS) {
		fw_errorf(reterr, "more than %d words", FW_MONITOR_WORDS);
		return -EINVAL;
	}
	while (i < n) {
		if (!query.kinds && (i == 0 || language->anywhere) &&
		    take_kind(language, &query, words[i])) {
			i++;
			continue;
		}
		r = take_own(&query, words + i, n - i, reterr);
		if (r < 0)
			return r;
		/* What another term may need stands behind it, whatever it is. */
		for (size_t end = i + 2; i < end && i < n; i++) {
			if (r == 0)
				rest[n_rest++] = words[i];
		}
	}
	if (!query.kinds)
		query.kinds = language->usual;
	r = fw_flow_query_parse(rest, n_rest, &query.of, reterr);
	if (r == 0)
		r = check_query(language, &query, reterr);
	if (r == 0)
		*ret = query;
	return r;
}

int fw_monitor_query_parse(const char *const *words, size_t n,
			   struct fw_monitor_query *ret, char **reterr)
{
	return parse(&monitor_language, words, n, ret, reterr);
}

int fw_capture_query_parse(const char *const *words, size_t n,
			   struct fw_monitor_query *ret, char **reterr)
{
	return parse(&capture_language, words, n, ret, reterr);
}

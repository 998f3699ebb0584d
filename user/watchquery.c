/* SPDX-License-Identifier: GPL-2.0-only */

/* What those who watch have asked for, held against the running rules. */
#include "user/watchquery.h"

#include <errno.h>
#include <string.h>

#include "user/daemon.h"
#include "user/flowjson.h"
#include "user/util.h"

static int read_words(const json_t *words, fw_watch_parse_fn parse,
		      struct fw_monitor_query *ret, char **reterr)
{
	const char *texts[FW_MONITOR_WORDS];
	size_t n = json_array_size(words);

	if (n > FW_MONITOR_WORDS) {
		fw_errorf(reterr, "more than %d words", FW_MONITOR_WORDS);
		return -EINVAL;
	}
	for (size_t i = 0; i < n; i++) {
		texts[i] = json_string_value(json_array_get(words, i));
		if (!texts[i]) {
			fw_errorf(reterr, "words are malformed");
			return -EINVAL;
		}
	}
	return parse(texts, n, ret, reterr);
}

/* What the words mean to the running rules. */
static int check_names(const struct fw_daemon *daemon,
		       const struct fw_flow_query *query, char **reterr)
{
	if (query->rule && !fw_label_exists(daemon, query->rule)) {
		fw_errorf(
			reterr,
			"no rule is called '%s': rule takes a label, see fwctl show rules",
			query->rule);
		return -EINVAL;
	}
	if (query->zone && !fw_zone_find(daemon, query->zone)) {
		fw_errorf(
			reterr,
			"no zone is called '%s': zone takes a name that 'interface' declares, see fwctl show interfaces",
			query->zone);
		return -EINVAL;
	}
	return 0;
}

int fw_watch_read(const struct fw_daemon *daemon, const json_t *args,
		  fw_watch_parse_fn parse, json_t **ret_words,
		  struct fw_monitor_query *ret, char **reterr)
{
	int r;

	*ret_words = json_deep_copy(json_object_get(args, "words"));
	r = read_words(*ret_words, parse, ret, reterr);
	return r < 0 ? r : check_names(daemon, &ret->of, reterr);
}

bool fw_watch_matches(const struct fw_daemon *daemon,
		      const struct fw_monitor_query *query,
		      const struct fw_flow *flow, const char *label)
{
	const struct fw_zone *zone;
	const char *ifname;

	if (!fw_flow_query_matches(&query->of, flow))
		return false;
	if (query->of.rule && (!label || strcmp(query->of.rule, label) != 0))
		return false;
	if (!query->interface && !query->of.zone)
		return true;
	ifname = fw_apply_ifname(daemon->apply, flow->ifindex);
	if (!ifname ||
	    (query->interface && strcmp(query->interface, ifname) != 0))
		return false;
	if (!query->of.zone)
		return true;
	/* New rules may have left it out. */
	zone = fw_zone_find(daemon, query->of.zone);
	return zone && fw_zone_has(zone, ifname);
}

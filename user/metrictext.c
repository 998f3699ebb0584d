/* SPDX-License-Identifier: GPL-2.0-only */

/* Metrics as text; and which form of it a client wants. */
#include "user/metrictext.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#define TOTAL "_total"

/* ---- writing ---------------------------------------------------------------- */

/* Length of the name that the family has in this form. */
static int family_len(const struct fw_metric_out *out,
		      const struct fw_metric *metric)
{
	size_t len = strlen(metric->name), tail = strlen(TOTAL);

	if (out->form == FW_METRIC_OPENMETRICS && len > tail &&
	    strcmp(metric->name + len - tail, TOTAL) == 0)
		len -= tail;
	return (int)len;
}

void fw_metric_begin(struct fw_metric_out *out, const struct fw_metric *metric)
{
	int len = family_len(out, metric);

	(void)fprintf(out->file, "# HELP %.*s %s\n# TYPE %.*s %s\n", len,
		      metric->name, metric->help, len, metric->name,
		      metric->type);
}

/* Backslash, quote and newline are escaped; only ASCII is surely UTF-8. */
static void print_escaped(FILE *file, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '\\' || c == '"')
			(void)fputc('\\', file);
		if (c == '\n')
			(void)fputs("\\n", file);
		else
			(void)fputc(c < 0x80 ? c : '?', file);
	}
}

static void print_name(FILE *file, const char *name, const char *const *labels)
{
	(void)fputs(name, file);
	for (size_t i = 0; labels && labels[i]; i += 2) {
		(void)fputc(i ? ',' : '{', file);
		(void)fputs(labels[i], file);
		(void)fputs("=\"", file);
		print_escaped(file, labels[i + 1]);
		(void)fputc('"', file);
	}
	(void)fputs(labels && labels[0] ? "} " : " ", file);
}

void fw_metric_put(struct fw_metric_out *out, const struct fw_metric *metric,
		   const char *const *labels, uint64_t value)
{
	print_name(out->file, metric->name, labels);
	(void)fprintf(out->file, "%" PRIu64 "\n", value);
}

void fw_metric_put_real(struct fw_metric_out *out,
			const struct fw_metric *metric,
			const char *const *labels, double value)
{
	print_name(out->file, metric->name, labels);
	(void)fprintf(out->file, "%.17g\n", value);
}

void fw_metric_one(struct fw_metric_out *out, const struct fw_metric *metric,
		   uint64_t value)
{
	fw_metric_begin(out, metric);
	fw_metric_put(out, metric, NULL, value);
}

void fw_metric_one_real(struct fw_metric_out *out,
			const struct fw_metric *metric, double value)
{
	fw_metric_begin(out, metric);
	fw_metric_put_real(out, metric, NULL, value);
}

/* A bound as OpenMetrics wants it: "0.5", "10.0". */
static void bound_text(char *buf, size_t size, double bound)
{
	(void)snprintf(buf, size, "%g", bound);
	if (!strpbrk(buf, ".e"))
		(void)snprintf(buf, size, "%.1f", bound);
}

void fw_metric_histogram(struct fw_metric_out *out,
			 const struct fw_metric *metric, const double *bounds,
			 const uint64_t *counts, size_t n, double sum)
{
	uint64_t below = 0;
	char bound[32];

	fw_metric_begin(out, metric);
	for (size_t i = 0; i <= n; i++) {
		if (i < n)
			bound_text(bound, sizeof(bound), bounds[i]);
		below += counts[i];
		(void)fprintf(out->file, "%s_bucket{le=\"%s\"} %" PRIu64 "\n",
			      metric->name, i < n ? bound : "+Inf", below);
	}
	(void)fprintf(out->file, "%s_sum %.17g\n%s_count %" PRIu64 "\n",
		      metric->name, sum, metric->name, below);
}

void fw_metric_end(struct fw_metric_out *out)
{
	if (out->form == FW_METRIC_OPENMETRICS)
		(void)fprintf(out->file, "# EOF\n");
}

/* ---- which form ------------------------------------------------------------- */

const char *fw_metric_content_type(enum fw_metric_form form)
{
	return form == FW_METRIC_OPENMETRICS
		       ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
		       : "text/plain; version=0.0.4; charset=utf-8";
}

/* A piece of a header, which is never copied. */
struct piece {
	const char *s;
	size_t len;
};

static struct piece trim(struct piece p)
{
	while (p.len && isspace((unsigned char)*p.s)) {
		p.s++;
		p.len--;
	}
	while (p.len && isspace((unsigned char)p.s[p.len - 1]))
		p.len--;
	return p;
}

/* What is before the first `c`, trimmed; `rest` goes on behind it. */
static struct piece split(struct piece *rest, char c)
{
	const char *end = memchr(rest->s, c, rest->len);
	struct piece first = { rest->s,
			       end ? (size_t)(end - rest->s) : rest->len };

	rest->s += first.len + (end != NULL);
	rest->len -= first.len + (end != NULL);
	return trim(first);
}

static bool is(struct piece p, const char *word)
{
	return p.len == strlen(word) && strncasecmp(p.s, word, p.len) == 0;
}

/* A weight in thousandths: "1", "0.75"; -1: it is none. */
static int parse_weight(struct piece p)
{
	int value, digit = 100;

	if (!p.len || (p.s[0] != '0' && p.s[0] != '1') ||
	    (p.len > 1 && p.s[1] != '.') || p.len > 5)
		return -1;
	value = (p.s[0] - '0') * 1000;
	for (size_t i = 2; i < p.len; i++, digit /= 10) {
		if (!isdigit((unsigned char)p.s[i]))
			return -1;
		value += (p.s[i] - '0') * digit;
	}
	return value > 1000 ? -1 : value;
}

/* Weights of the two forms; -1: nothing was said. */
struct weights {
	int openmetrics;
	int text, any_text, any; /* the more specific one counts */
};

static void add_range(struct weights *weights, struct piece range)
{
	struct piece type = split(&range, ';');
	bool is_version = true;
	int *weight = NULL;
	int q = 1000;

	if (is(type, "application/openmetrics-text"))
		weight = &weights->openmetrics;
	else if (is(type, "text/plain"))
		weight = &weights->text;
	else if (is(type, "text/*"))
		weight = &weights->any_text;
	else if (is(type, "*/*"))
		weight = &weights->any;
	while (range.len) {
		struct piece value = split(&range, ';');
		struct piece key = split(&value, '=');

		value = trim(value);
		if (value.len >= 2 && value.s[0] == '"')
			value = (struct piece){ value.s + 1, value.len - 2 };
		if (is(key, "q"))
			q = parse_weight(value);
		else if (is(key, "version"))
			is_version = is(value, weight == &weights->openmetrics
						       ? "1.0.0"
						       : "0.0.4");
	}
	if (weight && is_version && q > *weight)
		*weight = q;
}

enum fw_metric_form fw_metric_negotiate(const char *accept)
{
	struct weights w = { -1, -1, -1, -1 };
	struct piece rest = { accept, accept ? strlen(accept) : 0 };
	int text;

	while (rest.len)
		add_range(&w, split(&rest, ','));
	text = w.text >= 0 ? w.text : w.any_text >= 0 ? w.any_text : w.any;
	return w.openmetrics > 0 && w.openmetrics >= text
		       ? FW_METRIC_OPENMETRICS
		       : FW_METRIC_TEXT;
}

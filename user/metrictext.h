/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Metrics as text, in either of the two forms that Prometheus reads.
 *
 * They differ in what is said about a family and in how the text ends; samples are
 * the same. There are no samples "_created", which OpenMetrics leaves to us: the
 * counters of the programs outlive who could say since when they count.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum fw_metric_form {
	FW_METRIC_TEXT,	       /* version 0.0.4 */
	FW_METRIC_OPENMETRICS, /* version 1.0.0 */
};

struct fw_metric_out {
	FILE *file;
	enum fw_metric_form form;
	bool is_broken; /* something could not be told; `file` knows what was not written */
};

/* What a metric is; a counter's name ends in "_total". */
struct fw_metric {
	const char *name;
	const char *type; /* "gauge", "counter", "histogram" */
	const char *help; /* a sentence, no backslash */
};

/** @brief The name of a form as HTTP wants it, static. */
const char *fw_metric_content_type(enum fw_metric_form form);

/**
 * @brief The form that a client prefers.
 *
 * @param accept  value of its header "Accept", of any length and content; NULL: none
 * @return FW_METRIC_OPENMETRICS only if it is named and nothing else liked more
 */
enum fw_metric_form fw_metric_negotiate(const char *accept);

/** @brief Begin a family; all its samples follow, before the next one begins. */
void fw_metric_begin(struct fw_metric_out *out, const struct fw_metric *metric);

/* Pairs of a label and its value, which may hold anything. */
#define FW_LABELS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/** @brief A sample; `labels` may be NULL. */
void fw_metric_put(struct fw_metric_out *out, const struct fw_metric *metric,
		   const char *const *labels, uint64_t value);
void fw_metric_put_real(struct fw_metric_out *out,
			const struct fw_metric *metric,
			const char *const *labels, double value);

/** @brief A family of one sample without labels. */
void fw_metric_one(struct fw_metric_out *out, const struct fw_metric *metric,
		   uint64_t value);
void fw_metric_one_real(struct fw_metric_out *out,
			const struct fw_metric *metric, double value);

/**
 * @brief A family that is one histogram.
 *
 * @param bounds  upper ends of all buckets but the last one, ascending
 * @param counts  of each bucket alone, n + 1 of them
 * @param sum     of everything that was observed
 */
void fw_metric_histogram(struct fw_metric_out *out,
			 const struct fw_metric *metric, const double *bounds,
			 const uint64_t *counts, size_t n, double sum);

/** @brief Nothing follows. */
void fw_metric_end(struct fw_metric_out *out);

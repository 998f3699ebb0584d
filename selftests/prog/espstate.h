/* SPDX-License-Identifier: GPL-2.0-only */

/* What the programs know of security associations, for the tests: as JSON, both ways. */
#pragma once

#include <jansson.h>

#include "harness.h"

/** @brief The marks that states may have, and whether there are more. */
void esp_put_marks(struct harness *h, const json_t *marks, bool unknown);

/** @brief All entries of `sas`, times as milliseconds ago (null: never). */
json_t *esp_sas(struct harness *h);

/** @brief {"valid": N, ...} of `esp_counts`, all CPUs together. */
json_t *esp_counts(struct harness *h);

/** @brief Records of unknown SPIs since the last time, and how many there are not. */
json_t *esp_events(struct harness *h);

/** @brief Have all entries written by a processor whose clock is a second ahead. */
void esp_ahead(struct harness *h);

/** @brief Forget all entries, counts and records. */
void esp_flush(struct harness *h);

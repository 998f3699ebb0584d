/* SPDX-License-Identifier: GPL-2.0-only */

/* The rule text as bytes at the end of an image. */
#pragma once

#include "rules.h"

/** @brief Bytes that the texts of a program take. */
size_t fw_annex_size(const struct fw_program *program);

/** @brief Write the texts to a buffer of fw_annex_size() bytes. */
void fw_annex_write(const struct fw_program *program, unsigned char *to);

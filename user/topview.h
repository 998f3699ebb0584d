/* SPDX-License-Identifier: GPL-2.0-only */

/* What `fwctl top` draws: on a terminal, or as text. No decisions are made here. */
#pragma once

#include <stdio.h>

#include "user/topmodel.h"

/* All that is on the screen. */
struct fw_top_screen {
	const struct fw_top_model *model;
	const char *summary;
	const char *note; /* a line instead of the keys; "": none */
	double interval_s;
	size_t column; /* of the order */
	bool is_reverse;
	bool is_paused;
	bool has_help;
	size_t first; /* row that is on top */
};

/** @brief Take the terminal; 0, or -EINVAL if it is none that curses knows. */
int fw_top_view_open(void);

/** @brief Give the terminal back as it was; nothing happens if it was not taken. */
void fw_top_view_close(void);

void fw_top_view_draw(const struct fw_top_screen *screen);

/** @brief Rows that fit on the screen, at least 1. */
size_t fw_top_view_rows(void);

enum fw_top_key {
	FW_TOP_KEY_NONE, /* nothing is pressed, or nothing that we know */
	FW_TOP_KEY_QUIT,
	FW_TOP_KEY_NEXT,
	FW_TOP_KEY_PREVIOUS,
	FW_TOP_KEY_UP,
	FW_TOP_KEY_DOWN,
	FW_TOP_KEY_PAGE_UP,
	FW_TOP_KEY_PAGE_DOWN,
	FW_TOP_KEY_HOME,
	FW_TOP_KEY_END,
	FW_TOP_KEY_SORT_LEFT,
	FW_TOP_KEY_SORT_RIGHT,
	FW_TOP_KEY_SORT_NEXT,
	FW_TOP_KEY_REVERSE,
	FW_TOP_KEY_PAUSE,
	FW_TOP_KEY_HELP,
	FW_TOP_KEY_REDRAW, /* the size has changed */
	FW_TOP_KEY_VIEW,   /* + enum fw_top_view */
};

/** @brief The next key, without waiting; FW_TOP_KEY_NONE and *ret_more false: none. */
unsigned int fw_top_view_key(bool *ret_more);

/** @brief The same rows as text: a line of headings, numbers in full. */
void fw_top_print(const struct fw_top_model *model, FILE *out);

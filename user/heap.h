/* SPDX-License-Identifier: GPL-2.0-only */

/* Where the daemon's memory comes from, and when it goes back. */
#pragma once

/** @brief What holds always; before the first thread and the first malloc(). */
void fw_heap_init(void);

/** @brief Much will be taken, freed and taken again. */
void fw_heap_begin(void);

/** @brief That is over: what is free goes back to the system. */
void fw_heap_end(void);

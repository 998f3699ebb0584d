/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Those who capture packets over the control socket. Nobody waits for any of them.
 *
 * The items of the stream, by "event":
 *   start   the request is accepted; first and once
 *   packet  "time_ns" since 1970, "ifindex" and "interface" of the device (null: it
 *           is gone), "link" ("ethernet" or "raw", IP without a header before it),
 *           "hook", "reason", "dropped", "rule", "file" and "line" (null: none),
 *           "length" of the packet, "data": as much of it as is wanted, base64
 *   lost    "count" packets more at "interface" (null: one without counters of its
 *           own). Those that the programs had no room for are counted whatever the
 *           filter says: nobody has looked at them.
 */
#pragma once

struct fw_captures;
struct fw_daemon;

/** @brief NULL without memory. */
struct fw_captures *fw_captures_new(struct fw_daemon *daemon);

/** @brief Nobody may be connected any more. */
void fw_captures_free(struct fw_captures *captures);

/** @brief How many there are. */
unsigned int fw_captures_count(const struct fw_captures *captures);

/** @brief There is nothing to capture any more, and this is why. */
void fw_captures_end(struct fw_captures *captures, const char *why);

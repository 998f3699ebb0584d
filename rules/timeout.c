/* SPDX-License-Identifier: GPL-2.0-only */

/* How long flows live: names, durations, where the values come from. */
#include "timeout.h"

#include <stdio.h>
#include <string.h>

#include "mem.h"

#define LIFE(x) (1u << (x))

/* A life has one of these names, see kern/tcp.h for what the states mean. */
static const struct {
	const char *name;
	const char *sysctl;
	uint32_t lives;	  /* bits: enum fw_tcp_state, enum fw_life */
	uint32_t seconds; /* without a word of rules or system */
} timeouts[FW_TIMEOUT_MAX] = {
	[FW_TIMEOUT_TCP_SYN_SENT] = { "tcp-syn-sent",
				      "nf_conntrack_tcp_timeout_syn_sent",
				      LIFE(FW_TCP_SYN_SENT) |
					      LIFE(FW_TCP_SYN_SENT2) |
					      LIFE(FW_TCP_ADOPTED) |
					      LIFE(FW_TCP_ADOPTED_REPLY),
				      60 },
	[FW_TIMEOUT_TCP_SYN_RECV] = { "tcp-syn-recv",
				      "nf_conntrack_tcp_timeout_syn_recv",
				      LIFE(FW_TCP_SYN_RECV), 60 },
	[FW_TIMEOUT_TCP_ESTABLISHED] = { "tcp-established",
					 "nf_conntrack_tcp_timeout_established",
					 LIFE(FW_TCP_ESTABLISHED), 432000 },
	[FW_TIMEOUT_TCP_FIN] = { "tcp-fin", "nf_conntrack_tcp_timeout_fin_wait",
				 LIFE(FW_TCP_FIN_ORIG) | LIFE(FW_TCP_FIN_REPLY),
				 120 },
	[FW_TIMEOUT_TCP_TIME_WAIT] = { "tcp-time-wait",
				       "nf_conntrack_tcp_timeout_time_wait",
				       LIFE(FW_TCP_TIME_WAIT), 120 },
	[FW_TIMEOUT_TCP_CLOSE] = { "tcp-close",
				   "nf_conntrack_tcp_timeout_close",
				   LIFE(FW_TCP_CLOSE) |
					   LIFE(FW_TCP_CLOSE_ORIG) |
					   LIFE(FW_TCP_CLOSE_REPLY) |
					   LIFE(FW_TCP_REFUSED) |
					   LIFE(FW_TCP_REOPEN),
				   10 },
	[FW_TIMEOUT_UDP] = { "udp", "nf_conntrack_udp_timeout",
			     LIFE(FW_LIFE_UDP), 30 },
	[FW_TIMEOUT_UDP_STREAM] = { "udp-stream",
				    "nf_conntrack_udp_timeout_stream",
				    LIFE(FW_LIFE_UDP_STREAM), 120 },
	[FW_TIMEOUT_ICMP4] = { "icmp4", "nf_conntrack_icmp_timeout",
			       LIFE(FW_LIFE_ICMP), 30 },
	[FW_TIMEOUT_ICMP6] = { "icmp6", "nf_conntrack_icmpv6_timeout",
			       LIFE(FW_LIFE_ICMPV6), 30 },
	[FW_TIMEOUT_OTHER] = { "other", "nf_conntrack_generic_timeout",
			       LIFE(FW_LIFE_OTHER), 600 },
};

static const char *const origins[FW_TIMEOUT_ORIGIN_MAX] = {
	[FW_TIMEOUT_BUILT_IN] = "built-in",
	[FW_TIMEOUT_SYSTEM] = "sysctl",
	[FW_TIMEOUT_RULES] = "rules",
};

const char *fw_timeout_name(enum fw_timeout timeout)
{
	return timeouts[timeout].name;
}

const char *fw_timeout_sysctl(enum fw_timeout timeout)
{
	return timeouts[timeout].sysctl;
}

const char *fw_timeout_origin_name(enum fw_timeout_origin origin)
{
	return origins[origin];
}

void fw_timeout_set(struct fw_program *program, enum fw_timeout timeout,
		    uint32_t seconds, enum fw_timeout_origin origin)
{
	uint32_t life;

	if (seconds < 1)
		seconds = 1;
	if (seconds > FW_LIFE_SECONDS_MAX)
		seconds = FW_LIFE_SECONDS_MAX;
	for (life = 0; life < FW_LIFE_MAX; life++) {
		if (timeouts[timeout].lives & LIFE(life))
			program->timeouts.seconds[life] = seconds;
	}
	program->timeout_from[timeout].origin = (uint8_t)origin;
}

void fw_timeouts_init(struct fw_program *program)
{
	int i;

	for (i = 0; i < FW_TIMEOUT_MAX; i++) {
		fw_timeout_set(program, (enum fw_timeout)i, timeouts[i].seconds,
			       FW_TIMEOUT_BUILT_IN);
	}
}

uint32_t fw_timeout_seconds(const struct fw_timeouts *values,
			    enum fw_timeout timeout)
{
	return values->seconds[__builtin_ctz(timeouts[timeout].lives)];
}

void fw_program_set_timeouts(struct fw_program *program,
			     const uint32_t seconds[FW_TIMEOUT_MAX])
{
	int i;

	for (i = 0; i < FW_TIMEOUT_MAX; i++) {
		if (seconds[i] &&
		    program->timeout_from[i].origin != FW_TIMEOUT_RULES)
			fw_timeout_set(program, (enum fw_timeout)i, seconds[i],
				       FW_TIMEOUT_SYSTEM);
	}
}

void fw_image_timeouts(const struct fw_image *image,
		       uint32_t ret[FW_TIMEOUT_MAX])
{
	const struct fw_image_head *head = fw_image_head(image);
	int i;

	for (i = 0; i < FW_TIMEOUT_MAX; i++) {
		ret[i] = 0;
		if (head->system_timeouts >> i & 1)
			ret[i] = fw_timeout_seconds(&head->timeouts,
						    (enum fw_timeout)i);
	}
}

/* ---- durations ----------------------------------------------------------- */

/* The largest first. */
static const struct {
	char unit;
	uint32_t seconds;
} units[] = { { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 } };

bool fw_duration_read(const char *s, size_t len, bool *ret_has_unit,
		      uint64_t *ret)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < len && s[i] >= '0' && s[i] <= '9'; i++) {
		n = n * 10 + (uint64_t)(s[i] - '0');
		if (n > UINT32_MAX)
			n = UINT32_MAX; /* out of any range, with any unit */
	}
	*ret_has_unit = i + 1 == len;
	if (i == 0 || len > i + 1)
		return false;
	if (i == len)
		return true;
	for (i = 0; i < ARRAY_SIZE(units); i++) {
		if (units[i].unit != s[len - 1])
			continue;
		*ret = n * units[i].seconds;
		return true;
	}
	return false;
}

void fw_duration_text(uint32_t seconds, char text[FW_DURATION_SIZE])
{
	size_t i = 0;

	while (seconds % units[i].seconds)
		i++;
	(void)snprintf(text, FW_DURATION_SIZE, "%u%c",
		       seconds / units[i].seconds, units[i].unit);
}

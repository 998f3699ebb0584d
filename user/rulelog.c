/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The lines that rules with `log` write.
 *
 * A token bucket bounds them, because the sender of packets decides how many
 * there are. What is left out is counted and reported.
 */
#include "user/rulelog.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "user/apply.h"
#include "user/log.h"
#include "user/loop.h"
#include "user/print.h"
#include "user/util.h"

#define BURST	   100u
#define PER_SECOND 20u
#define REPORT_MS  5000

struct fw_rulelog {
	struct fw_timer *timer;
	uint64_t filled_ns;
	uint64_t tokens;
	uint64_t suppressed;
};

static void on_report(void *data)
{
	struct fw_rulelog *log = data;

	if (!log->suppressed)
		return;
	log_info("rule log: %llu more packets are not shown",
		 (unsigned long long)log->suppressed);
	log->suppressed = 0;
}

static void suppress(struct fw_rulelog *log, uint64_t n)
{
	if (n && !log->suppressed)
		(void)fw_timer_arm(log->timer, REPORT_MS, 0);
	log->suppressed += n;
}

struct fw_rulelog *fw_rulelog_new(struct fw_loop *loop)
{
	struct fw_rulelog *log;

	log = calloc(1, sizeof(*log));
	if (!log)
		return NULL;
	log->timer = fw_timer_new(loop, on_report, log);
	if (!log->timer) {
		free(log);
		return NULL;
	}
	log->tokens = BURST;
	log->filled_ns = fw_now_ns();
	return log;
}

void fw_rulelog_free(struct fw_rulelog *log)
{
	if (!log)
		return;
	on_report(log);
	fw_timer_free(log->timer);
	free(log);
}

static bool take_token(struct fw_rulelog *log)
{
	const uint64_t token_ns = 1000000000u / PER_SECOND;
	uint64_t n = (fw_now_ns() - log->filled_ns) / token_ns;

	log->filled_ns += n * token_ns;
	log->tokens = log->tokens + n > BURST ? BURST : log->tokens + n;
	if (!log->tokens)
		return false;
	log->tokens--;
	return true;
}

/* The row that spoke, if the rules have not changed since. */
static const struct fw_ir_row *find_row(const struct fw_apply *apply,
					const struct fw_event *event)
{
	const struct fw_program *program = fw_apply_program(apply);

	if (!program || event->gen != fw_apply_gen(apply) ||
	    event->rule >= program->n_rows)
		return NULL;
	return &program->rows[event->rule];
}

static void print_details(char *buf, size_t size, const struct fw_event *event)
{
	static const char flags[] = "FSRPAUEC";
	char set[sizeof(flags)] = "";
	size_t n = 0;

	if (event->tuple.proto == IPPROTO_TCP) {
		for (size_t i = 0; flags[i]; i++) {
			if (event->tcp_flags & 1u << i)
				set[n++] = flags[i];
		}
		set[n] = '\0';
		(void)snprintf(buf, size, " flags %s", n ? set : "none");
	} else if (event->tuple.proto == IPPROTO_ICMP ||
		   event->tuple.proto == IPPROTO_ICMPV6) {
		(void)snprintf(buf, size, " type %u", event->tuple.icmp_type);
	} else {
		buf[0] = '\0';
	}
}

#define PACKET_TEXT (2 * FW_ENDPOINT_TEXT + 16)

/* Protocol, from where and to where; `buf` has PACKET_TEXT bytes. */
static void print_packet(char *buf, const struct fw_event *event)
{
	const struct fw_tuple *tuple = &event->tuple;
	char from[FW_ENDPOINT_TEXT], to[FW_ENDPOINT_TEXT];
	char protocol[8];

	(void)snprintf(buf, PACKET_TEXT, "%s %s -> %s",
		       fw_protocol_print(protocol, tuple->proto),
		       fw_endpoint_print(from, &tuple->saddr,
					 ntohs(tuple->sport), tuple->family),
		       fw_endpoint_print(to, &tuple->daddr, ntohs(tuple->dport),
					 tuple->family));
}

/* No rule has to do with it. */
static void print_esp(const struct fw_apply *apply,
		      const struct fw_event *event)
{
	const char *ifname = fw_apply_ifname(apply, event->ifindex);
	char packet[PACKET_TEXT];

	print_packet(packet, event);
	log_info("%s in on %s (%s): %s spi 0x%08x len %u, reason %s",
		 fw_verdict_name((enum fw_verdict)event->verdict),
		 ifname ? ifname : "an unknown interface",
		 fw_hook_name((enum fw_hook)event->hook), packet,
		 ntohl(event->spi), event->len,
		 fw_reason_name((enum fw_reason)event->reason));
}

static void print_line(const struct fw_apply *apply,
		       const struct fw_event *event)
{
	const struct fw_ir_row *row = find_row(apply, event);
	const char *label = fw_apply_slot_label(apply, event->slot);
	const char *ifname = fw_apply_ifname(apply, event->ifindex);
	char packet[PACKET_TEXT], details[32];

	print_packet(packet, event);
	print_details(details, sizeof(details), event);
	log_info("%s%s%s %s on %s (%s): %s%s len %u, rule %s, reason %s",
		 row && row->prefix ? row->prefix : "",
		 row && row->prefix ? " " : "",
		 fw_verdict_name((enum fw_verdict)event->verdict),
		 fw_dir_name((enum fw_dir)event->dir),
		 ifname ? ifname : "an unknown interface",
		 fw_hook_name((enum fw_hook)event->hook), packet, details,
		 event->len, label ? label : "?",
		 fw_reason_name((enum fw_reason)event->reason));
}

void fw_rulelog_event(struct fw_rulelog *log, const struct fw_apply *apply,
		      const struct fw_event *event)
{
	if (event->type != FW_EVENT_LOG && event->type != FW_EVENT_ESP)
		return;
	if (event->verdict >= FW_VERDICT_MAX || event->dir >= FW_DIR_MAX ||
	    event->hook >= FW_HOOK_MAX || event->reason >= FW_REASON_MAX)
		return;
	if (!take_token(log))
		suppress(log, 1);
	else if (event->type == FW_EVENT_ESP)
		print_esp(apply, event);
	else
		print_line(apply, event);
}

void fw_rulelog_suppressed(struct fw_rulelog *log, uint64_t n)
{
	suppress(log, n);
}

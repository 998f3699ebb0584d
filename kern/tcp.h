/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Life cycle of a TCP flow that BPF owns (RFC 9293 section 3.3.2, seen from
 * the middle). The state lives in bits of the conntrack mark.
 *
 * tcp_next() is idempotent: a packet that both hooks of a router see moves the
 * flow once. Nothing here looks at sequence numbers, so a RST only shortens
 * the life of a flow, and data brings it back: a blind RST cuts nothing.
 */
#pragma once

static __always_inline __u8 tcp_next(__u8 state, bool reply, __u8 flags,
				     bool assured)
{
	bool syn = flags & TCP_SYN, ack = flags & TCP_ACK;
	bool fin = flags & TCP_FIN, rst = flags & TCP_RST;

	if (rst)
		return FW_TCP_CLOSE;
	switch (state) {
	case FW_TCP_SYN_SENT:
		if (reply && syn)
			return ack ? FW_TCP_SYN_RECV : FW_TCP_SYN_SENT2;
		return FW_TCP_SYN_SENT;
	case FW_TCP_SYN_SENT2:
		return syn && ack ? FW_TCP_SYN_RECV : FW_TCP_SYN_SENT2;
	case FW_TCP_SYN_RECV:
		if (!reply && ack && !syn)
			return fin ? FW_TCP_FIN_ORIG : FW_TCP_ESTABLISHED;
		return FW_TCP_SYN_RECV;
	case FW_TCP_ESTABLISHED:
		if (!fin)
			return FW_TCP_ESTABLISHED;
		return reply ? FW_TCP_FIN_REPLY : FW_TCP_FIN_ORIG;
	case FW_TCP_FIN_ORIG:
		return fin && reply ? FW_TCP_TIME_WAIT : FW_TCP_FIN_ORIG;
	case FW_TCP_FIN_REPLY:
		return fin && !reply ? FW_TCP_TIME_WAIT : FW_TCP_FIN_REPLY;
	case FW_TCP_TIME_WAIT:
		/* RFC 9293 section 3.6.1: a new SYN may reuse the pair */
		return syn && !ack && !reply ? FW_TCP_SYN_SENT
					     : FW_TCP_TIME_WAIT;
	case FW_TCP_CLOSE:
		if (syn)
			return !ack && !reply ? FW_TCP_SYN_SENT : FW_TCP_CLOSE;
		/* never a way past the handshake: SYN, RST, ACK is not one */
		return ack && !fin && assured ? FW_TCP_ESTABLISHED
					      : FW_TCP_CLOSE;
	default:
		return state;
	}
}

/* Seconds that a flow lives without another packet. */
static __always_inline __u32 tcp_timeout(const struct fw_timeouts *t,
					 __u8 state)
{
	switch (state) {
	case FW_TCP_SYN_RECV:
		return t->tcp_syn_recv;
	case FW_TCP_ESTABLISHED:
		return t->tcp_established;
	case FW_TCP_FIN_ORIG:
	case FW_TCP_FIN_REPLY:
		return t->tcp_fin;
	case FW_TCP_TIME_WAIT:
		return t->tcp_time_wait;
	case FW_TCP_CLOSE:
		return t->tcp_close;
	default:
		return t->tcp_syn_sent;
	}
}

/* SPDX-License-Identifier: GPL-2.0-only */

/* What is known of a connection, and what a segment adds to that. */

#include "tcp_judge.h"

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define PSH 0x08
#define ACK 0x10
#define URG 0x20

enum handshake {
	SYN_SEEN,
	BOTH_SYN_SEEN, /* simultaneous open */
	ANSWERED,      /* by SYN+ACK */
	DONE,
	/* older than the rules, nobody saw it; who was heard so far: */
	HEARD_OPENER,
	HEARD_OTHER,
};

struct facts {
	enum handshake handshake;
	bool fin[2];  /* sent by the opener, by the other side */
	bool was_rst; /* and nothing since then that contradicts it */
};

static struct facts facts_of(enum fw_tcp_state state)
{
	switch (state) {
	case FW_TCP_SYN_SENT:
		return (struct facts){ SYN_SEEN, { 0, 0 }, 0 };
	case FW_TCP_SYN_SENT2:
		return (struct facts){ BOTH_SYN_SEEN, { 0, 0 }, 0 };
	case FW_TCP_REFUSED:
		return (struct facts){ SYN_SEEN, { 0, 0 }, 1 };
	case FW_TCP_SYN_RECV:
		return (struct facts){ ANSWERED, { 0, 0 }, 0 };
	case FW_TCP_REOPEN:
		return (struct facts){ ANSWERED, { 0, 0 }, 1 };
	case FW_TCP_ESTABLISHED:
		return (struct facts){ DONE, { 0, 0 }, 0 };
	case FW_TCP_CLOSE:
		return (struct facts){ DONE, { 0, 0 }, 1 };
	case FW_TCP_FIN_ORIG:
		return (struct facts){ DONE, { 1, 0 }, 0 };
	case FW_TCP_CLOSE_ORIG:
		return (struct facts){ DONE, { 1, 0 }, 1 };
	case FW_TCP_FIN_REPLY:
		return (struct facts){ DONE, { 0, 1 }, 0 };
	case FW_TCP_CLOSE_REPLY:
		return (struct facts){ DONE, { 0, 1 }, 1 };
	case FW_TCP_ADOPTED:
		return (struct facts){ HEARD_OPENER, { 0, 0 }, 0 };
	case FW_TCP_ADOPTED_REPLY:
		return (struct facts){ HEARD_OTHER, { 0, 0 }, 0 };
	case FW_TCP_TIME_WAIT:
	case FW_TCP_NONE:
	case FW_TCP_STATE_MAX:
		break;
	}
	return (struct facts){ DONE, { 1, 1 }, 0 };
}

static enum fw_tcp_state state_of(const struct facts *f)
{
	if (f->handshake == HEARD_OPENER)
		return FW_TCP_ADOPTED;
	if (f->handshake == HEARD_OTHER)
		return FW_TCP_ADOPTED_REPLY;
	if (f->handshake == ANSWERED)
		return f->was_rst ? FW_TCP_REOPEN : FW_TCP_SYN_RECV;
	if (f->handshake != DONE && f->was_rst)
		return FW_TCP_REFUSED;
	if (f->handshake != DONE)
		return f->handshake == SYN_SEEN ? FW_TCP_SYN_SENT
						: FW_TCP_SYN_SENT2;
	if (f->fin[0] && f->fin[1])
		return FW_TCP_TIME_WAIT;
	if (f->fin[0])
		return f->was_rst ? FW_TCP_CLOSE_ORIG : FW_TCP_FIN_ORIG;
	if (f->fin[1])
		return f->was_rst ? FW_TCP_CLOSE_REPLY : FW_TCP_FIN_REPLY;
	return f->was_rst ? FW_TCP_CLOSE : FW_TCP_ESTABLISHED;
}

/* Why no TCP sends this (RFC 9293 section 3.5, 3.10), or NONE. */
static enum fw_reason illegal(uint8_t flags)
{
	bool fin = flags & FIN, syn = flags & SYN, rst = flags & RST;

	/* one of them, or ACK; FIN, URG and PSH come with an ACK only */
	if (fin + syn + rst <= 1 && (flags & ACK || syn || rst))
		return FW_REASON_NONE;
	if (!(flags & (FIN | SYN | RST | PSH | ACK | URG)))
		return FW_REASON_DROP_TCP_NULL;
	if (fin && flags & PSH && flags & URG)
		return FW_REASON_DROP_TCP_XMAS;
	return FW_REASON_DROP_TCP_FLAGS;
}

/* The flow has ended for sure: a handshake failed, or both have closed. */
static bool has_ended(const struct facts *f)
{
	return (f->fin[0] && f->fin[1]) ||
	       (f->was_rst && f->handshake < ANSWERED);
}

/* False: it has nothing to do with the flow. */
static bool learn_syn(struct facts *f, bool reply, bool *ret_lives)
{
	if (has_ended(f)) {
		if (!reply)
			*f = (struct facts){ SYN_SEEN, { 0, 0 }, 0 };
		return !reply;
	}
	if (f->handshake >= HEARD_OPENER && !reply)
		f->handshake = SYN_SEEN;
	/* the rules deny what that side opens, nothing else was heard of it */
	if (f->handshake == HEARD_OTHER && reply)
		return false;
	if (f->handshake == SYN_SEEN && reply)
		f->handshake = BOTH_SYN_SEEN;
	if (f->was_rst && !reply) {
		*ret_lives = f->handshake == ANSWERED;
		*f = (struct facts){ ANSWERED, { 0, 0 }, 1 };
	}
	return true; /* else the host that has the connection challenges it */
}

static bool learn_synack(struct facts *f, bool reply)
{
	if (reply && f->handshake <= ANSWERED) {
		f->handshake = ANSWERED;
		f->was_rst = false;
	}
	if (reply || (f->handshake <= ANSWERED && !f->was_rst)) {
		if (f->handshake == BOTH_SYN_SEEN)
			f->handshake = ANSWERED;
		return true;
	}
	/* openers send it in a simultaneous open only */
	return f->handshake == SYN_SEEN;
}

static void learn_ack(struct facts *f, bool reply, bool fin, struct tcp_known k,
		      bool *ret_lives)
{
	bool counts = f->handshake == DONE;

	/* it did not, and there was none before: it only asks for the handshake's end */
	if (f->handshake == ANSWERED && f->was_rst && reply && !fin &&
	    !k.assured) {
		f->was_rst = false;
		return;
	}
	/* the opener ends the handshake, or the host that was said to have reset it */
	if (f->handshake == ANSWERED)
		counts = f->was_rst ? reply : reply ? fin : k.acks;
	/* one side alone, whatever it says, is no connection */
	if (f->handshake == HEARD_OPENER || f->handshake == HEARD_OTHER)
		counts = reply == (f->handshake == HEARD_OPENER);
	if (!counts)
		return;
	f->handshake = DONE;
	f->was_rst = false;
	f->fin[reply] |= fin;
	*ret_lives = true;
}

struct tcp_verdict tcp_judge(enum fw_tcp_state state, bool reply, uint8_t flags,
			     struct tcp_known known)
{
	struct tcp_verdict v = { .reason = illegal(flags), .next = state };
	struct facts f = facts_of(state);
	bool is_part = true, lives = false;

	if (v.reason != FW_REASON_NONE)
		return v;
	if (flags & RST) {
		v.is_reset = true;
		f.was_rst = f.was_rst || !has_ended(&f);
	} else if (flags & SYN && flags & ACK) {
		is_part = learn_synack(&f, reply);
	} else if (flags & SYN) {
		is_part = learn_syn(&f, reply, &lives);
	} else {
		learn_ack(&f, reply, flags & FIN, known, &lives);
	}
	if (!is_part) {
		v.reason =
			flags & ACK ? FW_REASON_DROP_TCP_NO_SYN : FW_REASON_NEW;
		return v;
	}
	v.reason = FW_REASON_ESTABLISHED;
	v.next = state_of(&f);
	v.is_refreshed = lives && v.next == state;
	return v;
}

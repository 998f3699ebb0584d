/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Life cycle of a TCP flow that BPF owns, seen from the middle: one table. The
 * state lives in bits of the conntrack mark.
 *
 * Nothing here looks at sequence numbers, but for the end of a handshake
 * (handshake.h). So no packet is believed that would end a flow: a RST only
 * shortens its life, by a twin of its state from which it comes back to where it
 * was, and a SYN changes nothing while the flow may be alive. A FIN is believed:
 * one that is forged brings an idle flow to the life of a half closed one for good.
 * The table is idempotent: a packet that both hooks of a router see, or that comes
 * twice, moves the flow once.
 */
#pragma once

/* Which packet: FIN, SYN and RST are their flags, 5 to 7 are none. */
enum tcp_class {
	TCP_CLASS_ACK = 0, /* data as well */
	TCP_CLASS_FIN = TCP_FIN,
	TCP_CLASS_SYN = TCP_SYN,
	TCP_CLASS_SYNACK = 3,
	TCP_CLASS_RST = TCP_RST,
	TCP_CLASSES = 8,
};

/* Beside the next state: somebody is there, the flow's time begins anew. */
#define TCP_LIVES 0x80u

/* The other side, or (UDP, too) anybody, has still to answer. */
static __always_inline bool tcp_is_half_open(__u8 state)
{
	return state == FW_TCP_SYN_SENT || state == FW_TCP_SYN_RECV ||
	       state == FW_TCP_SYN_SENT2 || state == FW_TCP_ADOPTED ||
	       state == FW_TCP_ADOPTED_REPLY;
}

/*
 * {state, direction, class} -> next state. `no`: not a packet of this flow. It is
 * judged as if there were none: a SYN by the rules, all others are dropped.
 *
 * From nf_conntrack_proto_tcp.c, whose states are named in capitals, and RFC 9293
 * (TCP), 5961 (blind attacks), 6191 and 1337 (TIME-WAIT). What nf_conntrack calls
 * ignored or invalid passes and changes nothing, where not said otherwise.
 */
#define no  FW_TCP_NONE
#define SS  FW_TCP_SYN_SENT
#define S2  FW_TCP_SYN_SENT2
#define SR  FW_TCP_SYN_RECV
#define ES  FW_TCP_ESTABLISHED
#define FO  FW_TCP_FIN_ORIG
#define FR  FW_TCP_FIN_REPLY
#define TW  FW_TCP_TIME_WAIT
#define RF  FW_TCP_REFUSED
#define RO  FW_TCP_REOPEN
#define CL  FW_TCP_CLOSE
#define CO  FW_TCP_CLOSE_ORIG
#define CR  FW_TCP_CLOSE_REPLY
#define AD  FW_TCP_ADOPTED
#define AR  FW_TCP_ADOPTED_REPLY
#define ES_ (FW_TCP_ESTABLISHED | TCP_LIVES)
#define FO_ (FW_TCP_FIN_ORIG | TCP_LIVES)
#define FR_ (FW_TCP_FIN_REPLY | TCP_LIVES)
#define TW_ (FW_TCP_TIME_WAIT | TCP_LIVES)
#define RO_ (FW_TCP_REOPEN | TCP_LIVES)

/* clang-format off */
const __u8 tcp_table[FW_TCP_STATES][2][TCP_CLASSES] = {
	/*                ACK  FIN  SYN  S+A  RST */
	/*
	 * SYN_SENT. An ACK is what a host says that still has an older connection
	 * (RFC 9293 3.5.1); the opener then resets that one and tries again.
	 */
	[SS] = { [0] = { SS,  SS,  SS,  SS,  RF },
		 [1] = { SS,  SS,  S2,  SR,  RF } },
	/* SYN_SENT2: simultaneous open, both answer SYN by SYN+ACK (RFC 9293 3.5) */
	[S2] = { [0] = { S2,  S2,  S2,  SR,  RF },
		 [1] = { S2,  S2,  S2,  SR,  RF } },
	/*
	 * SYN_RECV. The opener's ACK ends the handshake, if it answers the other
	 * side's SYN (handshake.h), nothing else does. A FIN of the other side may
	 * come first (RFC 9293 3.10.4).
	 */
	[SR] = { [0] = { ES,  FO,  SR,  SR,  RO },
		 [1] = { SR,  FR,  SR,  SR,  RO } },
	/*
	 * ESTABLISHED. A SYN, of either side, is the end host's to answer by a
	 * challenge ACK (RFC 5961 4.2); SYN+ACK of the answering side is a late one.
	 * That of the opener is invalid: it would answer a SYN that no rule has seen.
	 */
	[ES] = { [0] = { ES_, FO,  ES,  no,  CL },
		 [1] = { ES_, FR,  ES,  ES,  CL } },
	/* FIN_WAIT, CLOSE_WAIT: half closed (RFC 9293 3.6), data may flow for long */
	[FO] = { [0] = { FO_, FO_, FO,  no,  CO },
		 [1] = { FO_, TW,  FO,  FO,  CO } },
	[FR] = { [0] = { FR_, TW,  FR,  no,  CR },
		 [1] = { FR_, FR_, FR,  FR,  CR } },
	/*
	 * LAST_ACK, TIME_WAIT: FIN of both, the last ACK or a FIN again. The opener's
	 * SYN reopens (RFC 9293 3.6.1, RFC 6191), one of the other side is a flow in
	 * the other direction. A RST is ignored (RFC 1337 3).
	 */
	[TW] = { [0] = { TW_, TW_, SS,  no,  TW },
		 [1] = { TW_, TW_, no,  TW,  TW } },
	/*
	 * CLOSE before a handshake: what came of SYN_SENT and SYN_SENT2. Either the
	 * RST was forged and SYN+ACK follows, or the opener tries again.
	 */
	[RF] = { [0] = { RF,  RF,  SS,  RF,  RF },
		 [1] = { RF,  RF,  no,  SR,  RF } },
	/*
	 * CLOSE in the middle of a handshake, or a SYN in CLOSE: only the answering
	 * side knows what became of it. Its ACK says that the connection is there,
	 * maybe challenging a forged SYN (RFC 5961 4.2), SYN+ACK that it is new. Its
	 * ACK leads back to SYN_RECV if there never was a connection (ct_next()): so
	 * is answered what is out of the window before the handshake has ended.
	 */
	[RO] = { [0] = { RO,  RO,  RO_, no,  RO },
		 [1] = { ES,  FR,  RO,  SR,  RO } },
	/*
	 * CLOSE: twins of ESTABLISHED and of the half closed states after a RST that
	 * may be forged (RFC 5961 3.2). Only what shows that somebody goes on talking
	 * brings them back. The opener's SYN begins a new handshake.
	 */
	[CL] = { [0] = { ES,  FO,  RO,  no,  CL },
		 [1] = { ES,  FR,  CL,  CL,  CL } },
	[CO] = { [0] = { FO,  FO,  RO,  no,  CO },
		 [1] = { FO,  TW,  CO,  CO,  CO } },
	[CR] = { [0] = { FR,  TW,  RO,  no,  CR },
		 [1] = { FR,  FR,  CR,  CR,  CR } },
	/*
	 * Older than the rules: nobody saw its handshake, and so far one side was
	 * heard alone, in AD the opener, in AR the other one. Nothing that this side
	 * says makes a connection of it, it takes an ACK of the other one. There is
	 * nothing to come back to after a RST: the life is short and stays as it is.
	 * The opener's SYN begins a handshake, for a forged one would be answered. In
	 * AR the rules deny what this side opens, and its SYN would open: the host
	 * that answers one out of its window by an ACK would open it for good.
	 */
	[AD] = { [0] = { AD,  AD,  SS,  no,  AD },
		 [1] = { ES,  FR,  AD,  AD,  AD } },
	[AR] = { [0] = { ES,  FO,  SS,  no,  AR },
		 [1] = { AR,  AR,  no,  AR,  AR } },
};
/* clang-format on */

#undef no
#undef SS
#undef S2
#undef SR
#undef ES
#undef FO
#undef FR
#undef TW
#undef RF
#undef RO
#undef CL
#undef CO
#undef CR
#undef AD
#undef AR
#undef ES_
#undef FO_
#undef FR_
#undef TW_
#undef RO_

/*
 * The next state of a flow of ours, perhaps with TCP_LIVES, or FW_TCP_NONE: the
 * packet is not part of it.
 */
static __always_inline __u8 tcp_next(__u8 state, bool reply, __u8 flags)
{
	__u32 class = flags & (TCP_FIN | TCP_SYN | TCP_RST);

	/* what nearly all packets are needs no table */
	if (likely(state == FW_TCP_ESTABLISHED &&
		   (flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK)) ==
			   TCP_ACK))
		return FW_TCP_ESTABLISHED | TCP_LIVES;
	/* let pass by checks that are switched off; here they would be taken for others */
	if (unlikely(!tcp_flags_are_legal(flags)))
		return FW_TCP_NONE;
	if (class == TCP_CLASS_SYN && flags & TCP_ACK)
		class = TCP_CLASS_SYNACK;
	return tcp_table[state & (FW_TCP_STATES - 1)][reply ? 1 : 0][class];
}

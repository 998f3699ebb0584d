/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The contract between the programs in the kernel and everything in user space:
 * map keys and values, the compiled rule image, verdicts, reasons and limits.
 *
 * Everything here is fixed-width, explicitly padded and the same on both sides.
 * A change to the layout of anything that is pinned, or to what it means, bumps
 * FW_ABI_VERSION, which is among the constants of every program: a daemon of
 * another version refuses to adopt them, and they go on with the rules they have.
 */
#pragma once

#include <linux/types.h>

#define FW_ABI_VERSION 3

/* ---- limits ------------------------------------------------------------- */

#define FW_MAX_RULES	   131000 /* in one image: half of the slots */
#define FW_MAX_ZONES	   64	  /* bits of a zone mask */
#define FW_MAX_IFSLOTS	   64 /* interfaces with counters; slot 0: any other */
#define FW_MAX_SLOTS	   262144 /* rule counters; slot 0 is never used */
#define FW_SLOTS_MIN	   4096	  /* the least that `rule_stats` has room for */
#define FW_MAX_CPUS	   16383  /* indices of `rule_stats` are 32 bits wide */
#define FW_MAX_XFLOWS	   65536  /* `xflows`; as many in `xflows_answered` */
#define FW_MAX_FRAGS	   16384  /* datagrams whose first fragment passed */
#define FW_MAX_EXPECTED	   4096	  /* flows announced to the kernel's helpers */
#define FW_MAX_FLOW_INFO   131072 /* flows whose rule and age are remembered */
#define FW_MAX_IFACES	   2048 /* (interface, VLAN) pairs of one generation */
#define FW_MAX_SELF	   4096 /* addresses of this host */
#define FW_EVENTS_BYTES	   (1u << 22) /* ring buffer */
#define FW_CAPTURES_BYTES  (1u << 20) /* the other one */
#define FW_MAX_VLAN_TAGS   2
#define FW_MAX_EXT_HEADERS 8

/* ---- the conntrack mark ------------------------------------------------- */

/*
 * 16 bits are ours, the others are the operator's and survive. Ours are the upper
 * half, or those that `option mark-mask` names (mark_shift in the image: the lowest
 * of them). Here as user space sees a mark, turned so that ours are on top:
 *   31..20  generation of the rules that accepted the flow (1..4095, 0: nobody)
 *   19..16  progress of a flow that BPF owns, enum fw_tcp_state; 0: the kernel
 *           tracks the flow itself. A UDP flow is SYN_SENT until it was
 *           answered, then ESTABLISHED.
 */
#define FW_MARK_MASK 0xffff0000u
#define FW_MARK_HALF \
	0xffffu /* of a mark shifted down: progress and generation */
#define FW_MARK_SHIFT	  16 /* unless the rules say otherwise; 0..16 */
#define FW_MARK_GEN_SHIFT 20
#define FW_MARK_GEN_MASK  0xfff00000u
#define FW_MARK_GEN_MAX	  4095u
#define FW_MARK_TCP_SHIFT 16
#define FW_MARK_TCP_MASK  0x000f0000u

/*
 * Life cycle of a flow that BPF owns; the table is in kern/tcp.h. In CLOSE and its
 * relatives a RST was seen, which may be forged: traffic brings the flow back.
 */
enum fw_tcp_state {
	FW_TCP_NONE = 0,
	FW_TCP_SYN_SENT = 1,
	FW_TCP_SYN_RECV = 2,
	FW_TCP_ESTABLISHED = 3,
	FW_TCP_FIN_ORIG = 4,  /* the opener has sent FIN, the other side not */
	FW_TCP_FIN_REPLY = 5, /* the other way round */
	FW_TCP_TIME_WAIT = 6, /* FIN seen from both */
	FW_TCP_CLOSE = 7,     /* RST in ESTABLISHED */
	FW_TCP_SYN_SENT2 = 8, /* simultaneous open */
	FW_TCP_REFUSED = 9,   /* RST in SYN_SENT or SYN_SENT2 */
	FW_TCP_REOPEN = 10,   /* RST in SYN_RECV, or SYN after a RST */
	FW_TCP_CLOSE_ORIG = 11,	 /* RST in FIN_ORIG */
	FW_TCP_CLOSE_REPLY = 12, /* RST in FIN_REPLY */
	/* older than the rules, and one side was heard so far: */
	FW_TCP_ADOPTED = 13,	   /* the opener */
	FW_TCP_ADOPTED_REPLY = 14, /* the other one */
	FW_TCP_STATE_MAX = 15,
};
#define FW_TCP_STATES 16 /* what the bits could hold */

/* ---- verdicts, directions, hooks, reasons ------------------------------- */

enum fw_verdict {
	FW_ACCEPT = 0,
	FW_DROP = 1,
	FW_REJECT = 2,
	FW_VERDICT_MAX = 3,
};

enum fw_dir {
	FW_DIR_IN = 0,	    /* to this host */
	FW_DIR_OUT = 1,	    /* from this host */
	FW_DIR_FORWARD = 2, /* through this host */
	FW_DIR_MAX = 3,
};

enum fw_hook {
	FW_HOOK_XDP = 0,
	FW_HOOK_INGRESS = 1,
	FW_HOOK_EGRESS = 2,
	FW_HOOK_MAX = 3,
};

/*
 * Why a packet was passed or dropped: X(symbol, "name", is_drop, "what it means").
 * Numbers are positions and are never reused; append before FW_REASON_MAX.
 * Each packet is counted once per hook it crosses, under exactly one reason.
 */
#define FW_REASONS(X)                                                         \
	X(NONE, "none", 0, "not judged yet")                                  \
	X(ESTABLISHED, "established", 0, "belongs to an accepted flow")       \
	X(RELATED, "related", 0,                                              \
	  "ICMP error about an accepted flow, or a flow that one announced")  \
	X(NEW, "new", 0, "opens a flow that a rule or default accepts")       \
	X(STATELESS, "stateless", 0, "accepted by a stateless rule")          \
	X(ESSENTIAL, "essential", 0,                                          \
	  "neighbour discovery, multicast listener, router or DHCP message")  \
	X(NON_IP, "non-ip", 0, "not an IPv4 or IPv6 frame")                   \
	X(FRAGMENT, "fragment", 0, "follows an accepted first fragment")      \
	X(JUDGED, "judged-by-xdp", 0, "TC follows the verdict of XDP")        \
	X(UNDECIDED, "undecided", 0,                                          \
	  "left to the next hook, which knows more")                          \
	X(OWN_REPLY, "own-reply", 0, "a reset or ICMP error built by fwctl")  \
	X(UNCOVERED, "uncovered", 0, "interface is not in the rules")         \
	X(DROP_RULE, "rule", 1, "denied by a rule")                           \
	X(DROP_DEFAULT, "default", 1, "no rule matched, the default denies")  \
	X(DROP_REJECT, "reject", 1, "denied, and the sender was told")        \
	X(DROP_REJECT_LIMIT, "reject-limit", 1,                               \
	  "denied; too many rejects, the sender was not told")                \
	X(DROP_RELOAD, "reload", 1, "running flow that new rules end")        \
	X(DROP_TRUNCATED, "truncated", 1, "packet ends inside a header")      \
	X(DROP_BAD_IPV4, "bad-ipv4", 1, "IPv4 header contradicts itself")     \
	X(DROP_BAD_IPV6, "bad-ipv6", 1, "IPv6 header contradicts itself")     \
	X(DROP_SOURCE_ROUTE, "source-route", 1, "IPv4 source route option")   \
	X(DROP_EXT_HEADERS, "ext-headers", 1,                                 \
	  "IPv6 extension headers too many or out of order")                  \
	X(DROP_VLAN_DEPTH, "vlan-depth", 1, "more than two VLAN tags")        \
	X(DROP_BAD_L4, "bad-l4", 1, "TCP, UDP or ICMP header is impossible")  \
	X(DROP_LAND, "land", 1, "source equals destination")                  \
	X(DROP_MARTIAN, "martian", 1,                                         \
	  "address that never comes from a network")                          \
	X(DROP_SPOOFED_SELF, "spoofed-self", 1,                               \
	  "arrived with an address of this host as source")                   \
	X(DROP_TCP_NULL, "tcp-null", 1, "TCP without any flag")               \
	X(DROP_TCP_XMAS, "tcp-xmas", 1, "TCP with FIN, PSH and URG")          \
	X(DROP_TCP_FLAGS, "tcp-flags", 1, "illegal combination of TCP flags") \
	X(DROP_TCP_NO_SYN, "tcp-no-syn", 1,                                   \
	  "TCP that neither opens nor belongs to a flow")                     \
	X(DROP_ICMP_UNRELATED, "icmp-unrelated", 1,                           \
	  "ICMP error about a packet of no known flow")                       \
	X(DROP_ICMP_NO_REQUEST, "icmp-no-request", 1,                         \
	  "ICMP reply that nobody asked for")                                 \
	X(DROP_FRAG_ORPHAN, "fragment-orphan", 1,                             \
	  "fragment whose first fragment did not pass")                       \
	X(DROP_FRAG_TINY, "fragment-tiny", 1,                                 \
	  "first fragment too short to carry the header chain")               \
	X(DROP_FRAG_BAD, "fragment-bad", 1,                                   \
	  "fragment offset or length is impossible, or overlaps the first")   \
	X(DROP_FRAG_OPTION, "fragment-option", 1, "option fragments drop")    \
	X(DROP_NON_IP, "non-ip-drop", 1, "option non-ip drop")                \
	X(DROP_TABLE_FULL, "table-full", 1,                                   \
	  "the connection table is full, or has no memory")                   \
	X(DROP_NO_RULES, "no-rules", 1, "no rule image is loaded")            \
	X(DROP_INTERNAL, "internal", 1, "a helper failed that should not")    \
	X(DROP_ROUTING_0, "routing-header-0", 1,                              \
	  "IPv6 routing header type 0, a source route")                       \
	X(DROP_IP_OPTIONS, "ip-options-drop", 1, "option ip-options drop")    \
	X(DROP_TTL_ZERO, "ttl-zero", 1,                                       \
	  "arrived with a TTL or hop limit of 0")                             \
	X(DROP_BAD_CHECKSUM, "bad-checksum", 1,                               \
	  "checksum of an IPv4 header or ICMP error is wrong")                \
	X(DROP_PORT_ZERO, "port-zero", 1, "TCP or UDP port that nobody has")  \
	X(DROP_ANTISPOOF, "antispoof", 1,                                     \
	  "answers would not leave by the interface it came by")              \
	X(DROP_TABLE_PRESSURE, "table-pressure", 1,                           \
	  "new flow kept out of a connection table that is nearly full")      \
	X(DROP_TABLE_INSERT, "table-insert", 1,                               \
	  "the hash of the connection table did not take a new flow")         \
	X(OFFLOADED, "offloaded", 0,                                          \
	  "established, and forwarded by XDP without the stack")              \
	X(DROP_ESP_UNKNOWN_SPI, "esp-unknown-spi", 1,                         \
	  "IPsec without a valid security association")                       \
	X(DROP_ESP_REPLAY, "esp-replay", 1,                                   \
	  "IPsec whose sequence number has been there, or is too old")        \
	X(DROP_IPSEC_CLEAR, "ipsec-clear", 1,                                 \
	  "in clear, of a flow that IPsec has to protect")

enum fw_reason {
#define FW_REASON_ENUM(sym, name, is_drop, text) FW_REASON_##sym,
	FW_REASONS(FW_REASON_ENUM)
#undef FW_REASON_ENUM
		FW_REASON_MAX
};

/* ---- addresses, tuples, keys -------------------------------------------- */

/*
 * 128 bits in network byte order; IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2).
 * Programs write and read both halves whole: a processor waits where it reads at
 * once what it wrote in parts.
 */
struct fw_addr {
	__be32 w[4];
} __attribute__((aligned(8)));

typedef __u64 __attribute__((may_alias)) fw_addr_half;

#define FW_AF_IPV4 4
#define FW_AF_IPV6 6

/*
 * A flow as its opener sends it. Echo: sport is the identifier, dport 0 and
 * icmp_type the type of the request (8 or 128). Other protocols: ports are 0.
 */
struct fw_tuple {
	struct fw_addr saddr;
	struct fw_addr daddr;
	__be16 sport;
	__be16 dport;
	__u8 proto;  /* IPPROTO_* */
	__u8 family; /* FW_AF_* */
	__u8 icmp_type;
	__u8 pad;
};

/* What the rules look at; the interpreter and the programs take the same. */
struct fw_key {
	struct fw_addr saddr;
	struct fw_addr daddr;
	__u64 in_zones;	 /* zones of the interface it came in by; 0: none */
	__u64 out_zones; /* zones of the interface it leaves by */
	__u16 sport;	 /* host order; 0 without FW_KEY_PORTS */
	__u16 dport;
	__u16 icmp; /* type << 8 | code; 0 without FW_KEY_ICMP */
	__u8 proto;
	__u8 family; /* FW_AF_* */
	__u8 dir;    /* enum fw_dir */
	__u8 flags;  /* FW_KEY_* */
	__u8 pad[2];
	__u32 reqid; /* of the SA, host order; 0 without FW_KEY_IPSEC */
};

#define FW_KEY_PORTS	   0x01 /* TCP or UDP with a complete header */
#define FW_KEY_ICMP	   0x02 /* ICMP on IPv4 or ICMPv6 on IPv6 */
#define FW_KEY_SRC_SELF	   0x04 /* saddr is an address of this host */
#define FW_KEY_DST_SELF	   0x08
#define FW_KEY_ESSENTIAL   0x10 /* see FW_REASON_ESSENTIAL */
#define FW_KEY_OUT_UNKNOWN 0x20 /* forwarded, leaving interface not known yet */

/* it came out of an SA; at egress: the device that it leaves by encrypts it */
#define FW_KEY_IPSEC	     0x40
#define FW_KEY_IPSEC_UNKNOWN 0x80 /* XDP: nobody knows yet */

/* What the rules say. */
struct fw_result {
	__u32 slot;   /* counter; 0: none */
	__u32 rule;   /* row in the image that matched; FW_RULE_DEFAULT + dir */
	__u8 verdict; /* enum fw_verdict */
	__u8 flags;   /* FW_RESULT_* */
	__u8 names_reqid; /* 1: the rule asks for the reqid that the packet has */
	__u8 pad;
};

#define FW_RULE_DEFAULT 0xfffffff0u /* + enum fw_dir */
#define FW_RULE_NONE	0xffffffffu

/* what a rule says, FW_END_FLAGS_MASK */
#define FW_RESULT_LOG		0x01
#define FW_RESULT_STATELESS	0x02 /* a stateless rule matched */
/* XDP may forward the flow's packets by itself, if that is possible at all */
#define FW_RESULT_OFFLOAD	0x04 /* once it was answered */
#define FW_RESULT_OFFLOAD_FIRST 0x08 /* beside it; UDP: from the first packet */
#define FW_RESULT_OFFLOADS	(FW_RESULT_OFFLOAD | FW_RESULT_OFFLOAD_FIRST)

#define FW_RESULT_DEFAULT   0x10 /* no rule matched */
#define FW_RESULT_MAYBE	    0x20 /* what is not known yet could change it */
#define FW_RESULT_ESSENTIAL 0x40 /* accepted only because it is essential */
/* dropped: `accept out ... via ipsec` matches all but that it is in clear */
#define FW_RESULT_CLEAR	    0x80

/* ---- the rule image ------------------------------------------------------ */

/*
 * The only value of an array map is one rule set: the head, then the compiled
 * rules (kern/match_abi.h) and sets (kern/addrset_abi.h), last the annex, the
 * rule text it was compiled from, which only user space reads. Storing a new
 * image in slot 0 of the outer map `rulesets` is the atomic switch.
 *
 * All images that one map takes are of one size, a power of two, which the
 * programs learn before they are loaded (kern/image.h). Rules that outgrow it
 * get programs for larger images.
 */
#define FW_IMAGE_MIN   (1u << 20)
#define FW_IMAGE_MAX   (1u << 28)
#define FW_IMAGE_SLOTS 2
#define FW_IMAGE_MAGIC 0x66776374u /* "fwct" */

/*
 * How long a flow lives without another packet, in seconds: a TCP flow by its
 * state, the others below. The kernel counts in signed 32 bits, of 1000 a second
 * if it is built so: that is the limit.
 */
enum fw_life {
	FW_LIFE_UDP = FW_TCP_STATES,
	FW_LIFE_UDP_STREAM,
	FW_LIFE_ICMP,
	FW_LIFE_ICMPV6,
	FW_LIFE_OTHER,
	FW_LIFE_MAX,
};
#define FW_LIFE_SECONDS_MAX (24u * 24 * 60 * 60)

struct fw_timeouts {
	__u32 seconds[FW_LIFE_MAX]; /* by enum fw_tcp_state and enum fw_life */
};

#define FW_ADOPT_DEFAULT 60 /* seconds after the first load */
#define FW_ADOPT_MAX	 3600

#define FW_OPT_FRAG_DROP    0x01
#define FW_OPT_NON_IP_DROP  0x02
#define FW_OPT_IP_OPTS_DROP 0x04
/* what a load does to flows that earlier rules accepted; neither: judge again */
#define FW_OPT_RELOAD_KEEP  0x10
#define FW_OPT_RELOAD_KILL  0x20
#define FW_OPT_FLOW_ACCT    0x40 /* packets and bytes of each flow */
#define FW_OPT_CT_HOOKS	    0x80 /* of the daemon alone */

/* XDP forwards packets of established flows, see FW_RESULT_OFFLOAD */
#define FW_OPT_OFFLOAD	     0x100000 /* some rule, or a default, says so */
#define FW_OPT_OFFLOAD_ALL   0x200000 /* all that forward say the same */
#define FW_OPT_OFFLOAD_FIRST 0x400000 /* some say so for UDP unanswered */

/* what XDP asks the kernel of ESP and AH to this host (kern/esp.h) */
#define FW_OPT_ESP_LOG	0x800000  /* unknown SPIs are told of, */
#define FW_OPT_ESP_DROP 0x1000000 /* and dropped */
#define FW_OPT_ESP_STEER \
	0x2000000 /* known ones go on at the CPU of their state */
#define FW_OPT_ESP (FW_OPT_ESP_LOG | FW_OPT_ESP_DROP | FW_OPT_ESP_STEER)

#define FW_MAX_STEER_CPUS 1024 /* CPUs with lower numbers can be named */

#define FW_ESP_GRACE_DEFAULT 10 /* seconds */
#define FW_ESP_GRACE_MAX     3600

#define FW_OPT_IPSEC 0x4000000 /* some rule asks for IPsec */

/*
 * Checks that may be switched off, X(symbol, bit of the options): set, and the
 * packet goes on. A check has the name of its reason.
 */
#define FW_CHECKS(X)        \
	X(LAND, 8)          \
	X(MARTIAN, 9)       \
	X(SPOOFED_SELF, 10) \
	X(SOURCE_ROUTE, 11) \
	X(ROUTING_0, 12)    \
	X(TTL_ZERO, 13)     \
	X(BAD_CHECKSUM, 14) \
	X(BAD_L4, 15)       \
	X(PORT_ZERO, 16)    \
	X(TCP_NULL, 17)     \
	X(TCP_XMAS, 18)     \
	X(TCP_FLAGS, 19)

enum fw_opt_off {
#define FW_CHECK_ENUM(sym, bit) FW_OFF_##sym = 1u << (bit),
	FW_CHECKS(FW_CHECK_ENUM)
#undef FW_CHECK_ENUM
};

/* At offset 0. Offsets are in bytes from there. */
struct fw_image_head {
	__u32 magic;
	__u32 abi;
	__u32 gen;	     /* 1 .. FW_MARK_GEN_MAX, then again from 1 */
	__u32 size;	     /* bytes in use, the annex with them */
	__u32 n_rows;	     /* of all rules, see struct fw_ir_row */
	__u32 has_stateless; /* FW_STATELESS_*; 0: no rule is judged before state */
	__u32 annex;
	__u32 annex_len;
	__u32 options; /* FW_OPT_* */
	struct fw_timeouts timeouts;
	__u32 system_timeouts; /* bit per enum fw_timeout: not of the rules */
	__u32 remembers; /* 1: XDP remembers what is established (kern/offload.h) */
	__u64 antispoof;	/* zones: what comes in must have a way back */
	__u64 antispoof_strict; /* of these: by the interface it came by */
	/*
	 * Flows that rules before this generation accepted have ended; 0: none
	 * have. The rules of that generation were loaded with FW_OPT_RELOAD_KILL.
	 */
	__u32 ended_before;
	__u8 mark_shift; /* our bits of the conntrack mark: the lowest one */
	__u8 mark_before; /* 1 + that of rules whose marks are still there; 0: none */
	__u16 esp_grace; /* seconds that an association is let in without being valid */
	__u64 adopt_until_ns; /* CLOCK_MONOTONIC; 0: nothing is adopted */
};

/* Behind it, where no packet has to look for it: struct fw_match_head. */
#define FW_IMAGE_RULES 192

#define FW_STATELESS_RULES 1u
#define FW_STATELESS_FRONT 2u /* some are for kern/front.h, too */
#define FW_STATELESS_EARLY 4u /* kern/early.h may ask them */

/*
 * How many loads lie between a generation and the running one: numbers come round
 * after FW_MARK_GEN_MAX.
 */
static __inline__ __u32 fw_gen_age(__u32 gen, __u32 now)
{
	return now >= gen ? now - gen : now + FW_MARK_GEN_MAX - gen;
}

/* A load has ended the flows of this generation, whoever runs now. */
static __inline__ int fw_gen_has_ended(__u32 gen, __u32 ended_before, __u32 now)
{
	return gen && ended_before &&
	       fw_gen_age(gen, now) > fw_gen_age(ended_before, now);
}

/*
 * A packet of a flow that the hook before it has found needs no more of these rules than
 * that they are the same.
 */
static __inline__ int fw_image_lets_known(const struct fw_image_head *head)
{
	return !head->has_stateless &&
	       !(head->options & (FW_OPT_FLOW_ACCT | FW_OPT_IPSEC));
}

/*
 * Nothing but the state of its flow decides about a packet of one that is established, nor
 * is there more to do with it.
 */
static __inline__ int fw_image_remembers(const struct fw_image_head *head)
{
	return fw_image_lets_known(head) && !head->antispoof &&
	       !(head->options & FW_OPT_ESP);
}

#define FW_FAMILY_IPV4 1
#define FW_FAMILY_IPV6 2

#define FW_ROW_NOT_IN	     0x0001 /* in_zones is negated: no common bit */
#define FW_ROW_NOT_OUT	     0x0002
#define FW_ROW_NOT_SRC	     0x0004
#define FW_ROW_NOT_DST	     0x0008
#define FW_ROW_NOT_SPORT     0x0010
#define FW_ROW_NOT_DPORT     0x0020
#define FW_ROW_ICMP	     0x0040
#define FW_ROW_LOG	     0x0080
#define FW_ROW_STATELESS     0x0100
#define FW_ROW_NAMED	     0x0200 /* names ICMP types or ports: may deny essentials */
#define FW_ROW_OFFLOAD	     0x0400 /* as FW_RESULT_OFFLOAD */
#define FW_ROW_OFFLOAD_FIRST 0x0800
#define FW_ROW_IPSEC	     0x1000 /* what came out of an SA, see reqid */
#define FW_ROW_NOT_IPSEC     0x2000 /* what came in clear */

/* ---- map keys and values ------------------------------------------------- */

/* `host`: interfaces (kern/host_abi.h), there before their generation's image */
struct fw_iface_key {
	__u32 ifindex;
	__u16 vlan; /* 802.1Q VID of the outermost tag; 0: untagged or any */
	__u16 pad;
};

/*
 * Where strict `antispoof` asks for routes, in place of a VID and with nothing but an
 * ifindex behind it: the bond of a declared slave, and the one below a VLAN device.
 */
#define FW_VLAN_BOND  0x1000
#define FW_VLAN_BELOW 0x1001

struct fw_iface {
	__u64 zones;
	__u32 ifindex; /* of the VLAN device, where the tag has one */
	__u16 slot;    /* row of `stats`, below FW_MAX_IFSLOTS */
	__u16 flags;   /* FW_IFACE_* */
};

/* XDP may forward what comes in by it; a VLAN device: 802.1Q, on no other one */
#define FW_IFACE_OFFLOAD 0x1
/* a local sender may have left checksums unwritten: veth and the like */
#define FW_IFACE_PARTIAL 0x2
/* what leaves by it is encrypted by it, what comes in by it came out of an SA */
#define FW_IFACE_IPSEC	 0x4
/* IPsec that comes in by it may go on at another CPU; a device, whatever the tag */
#define FW_IFACE_STEER	 0x8

/* `host`: what an address is to us */
#define FW_SELF_ADDRESS	  1u
#define FW_SELF_BROADCAST 2u

/*
 * `stats`: index of {interface slot, hook, reason}, behind FW_STATS_ENTRIES for
 * each CPU with a lower number
 */
#define FW_STATS_INDEX(slot, hook, reason)                                  \
	(((__u32)(slot) * FW_HOOK_MAX + (__u32)(hook)) * FW_STATS_REASONS + \
	 (__u32)(reason))
#define FW_STATS_REASONS 64 /* room for reasons to come without a new layout */
#define FW_STATS_ENTRIES (FW_MAX_IFSLOTS * FW_HOOK_MAX * FW_STATS_REASONS)

/* `work`: which CPU this is, and where its counters begin; the last of its bytes */
struct fw_base {
	__u32 stats;
	__u32 rule_stats;
	__u32 cpu;
	__u32 pad;
} __attribute__((aligned(8)));

struct fw_counter {
	__u64 packets;
	__u64 bytes;
};

/* `rule_stats`: index is the slot, behind all slots for each lower CPU */
struct fw_rule_counter {
	__u64 packets; /* packets that the rule itself decided */
	__u64 bytes;
	__u64 flows; /* flows it opened */
};

/* Of a flow, with FW_OPT_FLOW_ACCT: [0] as its opener sends, [1] the answers. */
struct fw_flow_counts {
	__u64 packets[2];
	__u64 bytes[2]; /* of IP packets, headers with them */
};

/*
 * What a flow asks of its packets, with FW_OPT_IPSEC: to be protected where its opener
 * is, or (out) where it leaves; and by an SA with this very reqid.
 */
#define FW_BOUND       0x1
#define FW_BOUND_REQID 0x2

/* `flow_info`: struct fw_tuple -> who let the flow in, and whether it was cut */
struct fw_flow_info {
	__u64 opened_ns; /* CLOCK_MONOTONIC */
	__u32 slot;
	__u32 rule;
	__u32 ifindex; /* of the hook that judged its first packet */
	__u32 gen;
	__u8 dir;   /* enum fw_dir */
	__u8 ended; /* cut: only a SYN makes it a flow again */
	__u8 turned; /* older than all rules, and the answering side came first */
	__u8 offload; /* FW_RESULT_OFFLOAD, FW_RESULT_OFFLOAD_FIRST, of its rule */
	__u32 isn; /* of the last SYN of the answering side; TCP that is ours */
	__u32 reqid; /* of the SA that its opener's packets came out of; 0: unknown */
	__u8 ipsec; /* FW_BOUND, FW_BOUND_REQID */
	__u8 pad[3];
	struct fw_flow_counts counts;
};

/*
 * `xflows`, `xflows_answered`: struct fw_tuple -> flows that kfuncs refuse, and those of
 * IPsec in transport mode, which are out of their reach
 */
struct fw_xflow {
	__u64 opened_ns;
	__u64 expires_ns; /* CLOCK_MONOTONIC, coarse */
	__u32 slot;
	__u32 rule;
	__u32 ifindex;
	__u32 gen;
	__u8 dir;
	__u8 replied;
	__u8 ipsec;	/* as in struct fw_flow_info */
	__u8 tcp_state; /* enum fw_tcp_state; TCP is only in transport mode */
	__u32 reqid;
	struct fw_flow_counts counts;
};

/* `frags`: a datagram whose first fragment passed */
struct fw_frag_key {
	struct fw_addr saddr;
	struct fw_addr daddr;
	__u32 id;      /* as on the wire */
	__u32 ifindex; /* of the device whose rules count: the bond, not its slave */
	__u16 vlan;
	__u8 proto; /* IPv4 only: IPv6 fragments may name different headers */
	__u8 hook;  /* enum fw_hook */
	__u8 family;
	__u8 pad[3];
};

struct fw_frag {
	__u64 expires_ns; /* CLOCK_MONOTONIC, coarse */
	__u32 gen;	  /* of the rules that let it pass */
	__u16 end;	  /* bytes of the datagram that it carried */
	__u8 undecided;	  /* 1: passed on to a hook that knows more */
	__u8 ipsec;	  /* 1: it came out of an SA */
};

/*
 * `pressure`: what a connection table that fills up allows. The daemon writes all
 * of it, new flows count `room` down.
 */
struct fw_pressure {
	__u64 until_ns; /* CLOCK_MONOTONIC, coarse; then nothing of it holds */
	__s64 room;	/* flows that may still be made */
	__u32 half_open; /* seconds that an unanswered flow lives at most; 0: any */
	__u32 pad;
};

/* ---- events (`events` ring buffer) --------------------------------------- */

enum fw_event_type {
	FW_EVENT_FLOW_NEW = 1,	 /* BPF inserted an entry */
	FW_EVENT_FLOW_STATE = 2, /* its TCP state changed */
	FW_EVENT_FLOW_END = 3,	 /* cut: denied by new rules, or ended before */
	FW_EVENT_LOG = 4,	 /* a rule with `log` matched */
	FW_EVENT_ADOPT =
		5, /* new rules, or the first, have judged and marked it */
	FW_EVENT_DROP =
		6, /* dropped, while `host` says that somebody watches */
	FW_EVENT_ESP =
		7, /* no valid security association; dropped, or let in */
	FW_EVENT_MAX = 8,
};

struct fw_event {
	__u64 time_ns;	       /* CLOCK_MONOTONIC */
	struct fw_tuple tuple; /* FLOW_*: original direction; else the packet */
	__u32 type;	       /* enum fw_event_type */
	__u32 ifindex;
	__u32 slot;
	union {
		__u32 rule;
		__be32 spi; /* ESP */
	};
	__u32 gen;	/* DROP: not known */
	__u32 len;	/* bytes of the packet; LOG, DROP, ESP, as all below */
	__u8 hook;	/* of all: enum fw_hook */
	__u8 dir;	/* of all: enum fw_dir; DROP: if rules were asked */
	__u8 tcp_state; /* FLOW_*: enum fw_tcp_state */
	__u8 reason;	/* enum fw_reason */
	__u8 verdict;	/* enum fw_verdict, of the rules; LOG and ESP */
	__u8 tcp_flags;
	__u8 pad[2];
};

/*
 * `log_budgets`: how many records of packets a CPU makes, 100 a second of each rule
 * with `log`, as many of unknown SPIs ([1]), ten times as many of drops that nobody logs
 * ([0]). Rules share a budget that have the same slot but for a multiple.
 */
#define FW_LOG_BUDGETS	       1024
#define FW_LOG_BUDGET_DROP     0
#define FW_LOG_BUDGET_ESP      1
#define FW_LOG_BUDGET_OF(slot) (2 + (slot) % (FW_LOG_BUDGETS - 2))
#define FW_LOG_INTERVAL_NS     10000000ull
#define FW_DROP_INTERVAL_NS    1000000ull
#define FW_LOG_BURST_NS	       1000000000ull /* a second's at once */

struct fw_log_budget {
	__u64 tat_ns;	  /* GCRA: theoretical arrival time of the next one */
	__u64 suppressed; /* packets without a record, ever */
};

/* ---- captures (`captures` ring buffer) ------------------------------------ */

/* `host`.watch: what somebody wants to see. */
#define FW_WATCH_DROPS		 0x1 /* FW_EVENT_DROP of what is dropped */
#define FW_WATCH_CAPTURE_DROPS	 0x2 /* and its bytes */
#define FW_WATCH_CAPTURE_MATCHES 0x4 /* those of what rules with `log` decide */
#define FW_WATCH_CAPTURES	 (FW_WATCH_CAPTURE_DROPS | FW_WATCH_CAPTURE_MATCHES)

/* A packet as the hook sees it; behind it are the first of its bytes. */
struct fw_capture {
	/* LOG: by the rule with `log` that decided; DROP: for any other reason */
	struct fw_event event;
	__u32 rx_ifindex;  /* of the device the hook is on */
	__u32 wire_len;	   /* bytes of the packet */
	__u32 len;	   /* of these, behind */
	__be16 vlan_proto; /* of a tag that the kernel keeps beside; 0: none */
	__u16 vlan_tci;
	__u8 flags; /* FW_CAPTURE_* */
	__u8 iface; /* row of `stats`, below FW_MAX_IFSLOTS */
	__u8 pad[6];
};

#define FW_CAPTURE_HAS_L2 0x01 /* it begins with an Ethernet header */
#define FW_CAPTURE_LOGGED 0x02 /* a rule with `log` decided about it */

/* Records have room for so many bytes, the least that suffices. */
#define FW_CAPTURE_SMALL  256
#define FW_CAPTURE_MEDIUM 2048
#define FW_CAPTURE_MAX	  16384 /* and more is never captured */

/* `capture_budget`: so many records a CPU makes, 100 000 a second. */
#define FW_CAPTURE_INTERVAL_NS 10000ull
#define FW_CAPTURE_BURST_NS    1000000000ull

struct fw_capture_budget {
	__u64 tat_ns; /* GCRA: theoretical arrival time of the next one */
	__u64 lost[FW_MAX_IFSLOTS]; /* packets without a record, ever */
};

/* ---- metadata that XDP leaves for TC ------------------------------------- */

/*
 * Constant for all packets of a flow, or GRO would not merge them. `cookie` is
 * random per load and `hash` covers it, the interface and the tuple, so that
 * neither leftovers nor an attacker's bytes are taken for a verdict.
 */
struct fw_meta {
	__u64 cookie;
	__u32 hash;
	__u32 gen;
	__u32 slot;
	__u32 rule;
	__u8 reason;  /* enum fw_reason: ESTABLISHED, NEW, ... */
	__u8 verdict; /* enum fw_verdict */
	__u8 flags;   /* FW_RESULT_* */
	__u8 ifslot;  /* of the interface, in `stats` */
	__u8 is_ours; /* 1: the source is an address of this host */
	__u8 pad[3];
};

#ifndef __cplusplus
_Static_assert(sizeof(struct fw_tuple) == 40, "fw_tuple");
_Static_assert(sizeof(struct fw_key) == 64, "fw_key");
_Static_assert(sizeof(struct fw_image_head) == 160, "fw_image_head");
_Static_assert(sizeof(struct fw_event) == 80, "fw_event");
_Static_assert(sizeof(struct fw_capture) == 104, "fw_capture");
_Static_assert(sizeof(struct fw_meta) == 32, "fw_meta");
_Static_assert(FW_MAX_IFSLOTS <= 256, "fw_meta.ifslot");
_Static_assert(sizeof(struct fw_frag_key) == 48, "fw_frag_key");
_Static_assert(FW_REASON_MAX <= FW_STATS_REASONS, "too many reasons");
#endif

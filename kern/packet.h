/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Bytes of a frame -> struct pkt; the only code that reads packet memory.
 *
 * Every length field is held against its minimum and against the packet before
 * it is used (a header that contradicts itself has a reason of its own), and a
 * chain that cannot be walked to its end is never "no L4, accept".
 */
#pragma once

/* IPv6 extension headers that <linux/in6.h> does not name (IANA) */
#define IPPROTO_MOBILITY 135
#define IPPROTO_HIP	 139
#define IPPROTO_SHIM6	 140

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_URG 0x20

enum pkt_frag {
	PKT_WHOLE = 0,
	PKT_FRAG_FIRST = 1,
	PKT_FRAG_LATER = 2,
};

enum pkt_icmp {
	PKT_ICMP_OTHER = 0,
	PKT_ICMP_ERROR = 1,
	PKT_ICMP_REQUEST = 2, /* echo or timestamp */
	PKT_ICMP_REPLY = 3,
};

/* What TC knows of the packet's way through IPsec, with FW_OPT_IPSEC. */
#define PKT_FROM_SA 0x1 /* it came out of an SA, or by a device of IPsec's */
#define PKT_INTO_SA 0x2 /* the device that it leaves by encrypts it */
#define PKT_CHECKED \
	0x4 /* egress: it came by an ingress hook of ours, or by none */

/* What kern/early.h has found out. */
enum pkt_early {
	PKT_EARLY_ASK = 0,    /* nothing */
	PKT_EARLY_NONE = 1,   /* no stateless rule matches */
	PKT_EARLY_ACCEPT = 2, /* the one in `res` does */
	PKT_EARLY_DROP = 3,   /* one does; it is counted */
};

/* A flow as we found it. */
struct flow {
	struct fw_tuple orig;
	__u32 gen; /* of the rules that accepted it; 0: nobody has judged it */
	__u8 changed; /* new enum fw_tcp_state, or 0 */
	bool found;
	bool reply;	/* this packet goes against the opener's direction */
	bool renamed;	/* NAT shows it under another tuple at this hook */
	bool older;	/* perhaps there before the first rules, or unseen */
	bool vouched;	/* a socket of this host says that it is there */
	bool related;	/* judged by the flow that has announced it */
	bool announces; /* egress: a helper of the kernel expects other flows */
	bool answered;	/* the other side was heard; known of fragments */
	__u8 counts;	/* see account.h */
	__u8 offload;	/* see offload.h */
	bool steady; /* nothing changes by more packets like this one; then: */
	__u32 half;  /* of the mark of its entry, */
	__u64 ct;    /* and where that is */
	__u8 bars;   /* see ipsec.h */
	__u8 bound;  /* FW_BOUND, FW_BOUND_REQID */
	bool forgotten; /* what it is bound to is not remembered */
	__u32 reqid;	/* of what it is bound to */
};

/* What of a frame names its flow (struct fw_cached_flow), and more; see frame.h. */
struct frame {
	__u64 addr[4];
	__u64 l4, from, to;
	__u32 off;	 /* of the IP header, 14 or 18 */
	__u32 len;	 /* from there on, as that says */
	__u32 bytes;	 /* of the frame */
	__be32 flowinfo; /* IPv6 */
	bool is_v6;
	bool in_pieces;
};

/*
 * From one of our interfaces to another: what their tables have said of it (known.h). True
 * for these rules as long as the tables are those.
 */
struct known_way {
	__u32 in_ifindex; /* 0: none */
	__u32 ifindex;
	__u32 gen;
	__u32 epoch; /* iface_epoch() */
	__u32 slot;  /* of the second one, in `stats` */
	__u32 pad;
};

#define KNOWN_WAYS 4u

/* Of an entry of the connection table, so many are looked at. */
#define ALIVE_WORDS 24

/* In a per-CPU map, not on the stack: see `work` in maps.h. */
struct pkt {
	union {
		struct match_io io;
		struct {
			struct fw_key key;
			struct fw_result res; /* what the rules said of it */
		};
	};
	struct fw_tuple tuple; /* as on the wire: see pkt_tuple() */
	struct flow flow;
	__u32 in_ifindex; /* TC egress: where a forwarded packet came in */
	__u32 slot;	  /* of the interface, in `stats` */
	__u16 vlan;	  /* VID of the outermost tag, 0: none */
	__be16 icmp_id;
	__u8 frag;	   /* enum pkt_frag */
	__u8 icmp_kind;	   /* enum pkt_icmp */
	__u8 icmp_request; /* type of the request of a REQUEST or REPLY */
	__u8 tcp_flags;
	bool offered; /* an address, to us: see offers_address() */
	__u8 early;   /* enum pkt_early */
	bool logged;  /* there is a record of it, or none any more */
	bool told;    /* the same, of esp.h: no rule has to do with it */
	__u8 ipsec;   /* PKT_FROM_SA, PKT_INTO_SA, PKT_CHECKED */
	__u16 steer; /* XDP: 1 + the CPU that it goes on at, if it may; 0: this one */
	__u32 reqid; /* TC: of the SA that the packet came out of */

	/* from here on not zeroed before, but always written before it is read */
	__u64 zones
		__attribute__((aligned(8))); /* of the interface of this hook */
	__u64 way_zones;		     /* see leaves_by_ours() */
	__u32 len;			     /* of the frame, see reaches() */
	__u32 l3_off;			     /* from the start of the frame */
	__u32 l4_off;
	__u32 l3_end;	  /* where IP says that the packet ends */
	__u32 frag_id;	  /* of a fragment, as on the wire */
	__u32 frag_edge;  /* where a first one ends, a later one begins */
	__u32 ifindex;	  /* of the device whose rules count */
	__u32 rx_ifindex; /* of the device the hook is on */
	__u32 early_end, early_slot; /* of PKT_EARLY_ACCEPT: see take_rule() */
	__u32 epoch; /* of `flow_cache`, read before anything it is about */
	__u32 busy;  /* kern/transport.h: 1: somebody is at work with it */
	__u8 ttl;
	bool is_arp; /* what is not IP */
	bool has_l2; /* TC: the frame, as this hook sees it */
	bool is_stacks; /* with FW_OPT_OFFLOAD: XDP does not forward it, that is known */
	__u8 saddr_self; /* FW_SELF_* of key.saddr */
	__u8 daddr_self;
	struct frame frame;
	struct bpf_fib_lookup fib;	   /* of offload_fill.h */
	struct known_way ways[KNOWN_WAYS]; /* never cleared */
	__u64 entry[ALIVE_WORDS];	   /* kern/alive.h */
	struct fw_base base; /* last: user space writes it once, see `work` */
};

/* The reason of a check that has failed, or NONE: the options switch it off. */
#define failed(options, check) \
	((options) & FW_OFF_##check ? FW_REASON_NONE : FW_REASON_DROP_##check)

/* Where the flow came in, also if the leaving interface judged it. */
static __always_inline __u32 flow_ifindex(const struct pkt *p)
{
	return p->key.dir == FW_DIR_FORWARD && p->in_ifindex ? p->in_ifindex
							     : p->ifindex;
}

static __always_inline void addr_from_v4(struct fw_addr *a, __be32 v4)
{
	const __u64 mark = bpf_htonl(0xffff);
	fw_addr_half *half = (void *)a;

	half[0] = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	half[1] = (__u64)v4 << 32 | mark;
#else
	half[1] = mark << 32 | v4;
#endif
}

/* Of IPv6, out of a frame, where it may lie at any address: see ctx_copy(). */
static __always_inline void addr_load(struct fw_addr *a, const void *from)
{
	*a = *(const struct fw_addr *)from;
}

static __always_inline bool addr_equal(const struct fw_addr *a,
				       const struct fw_addr *b)
{
	const fw_addr_half *x = (const void *)a, *y = (const void *)b;

	return x[1] == y[1] && x[0] == y[0];
}

/* Ethernet and at most two tags, one of which TC may have in metadata. */
static __always_inline enum fw_reason
parse_l2(struct pkt *p, void *ctx, const enum fw_hook hook, __u16 *ret_proto)
{
	struct __sk_buff *skb = ctx;
	struct {
		__be16 tci;
		__be16 proto;
	} room;
	const typeof(room) *tag; /* or what lies before the first one */
	__u32 tags = 0, off = 14;
	__be16 proto;
	__u16 tci;

	if (hook != FW_HOOK_XDP && skb->vlan_present) {
		p->vlan = skb->vlan_tci & 0xfff;
		tags = 1;
	}
	if (hook != FW_HOOK_XDP && !p->has_l2) {
		proto = (__be16)skb->protocol;
		off = 0;
	} else {
		tag = ctx_at(ctx, hook, 10, &room, sizeof(room));
		if (!tag)
			return FW_REASON_DROP_TRUNCATED;
		proto = tag->proto;
	}
	for (int i = 0; i <= FW_MAX_VLAN_TAGS; i++) {
		if (likely(proto != bpf_htons(ETH_P_8021Q) &&
			   proto != bpf_htons(ETH_P_8021AD)))
			break;
		if (tags == FW_MAX_VLAN_TAGS)
			return FW_REASON_DROP_VLAN_DEPTH;
		tag = ctx_at(ctx, hook, off, &room, sizeof(room));
		if (!tag)
			return FW_REASON_DROP_TRUNCATED;
		tci = bpf_ntohs(tag->tci);
		if (!tags)
			p->vlan = tci & 0xfff;
		proto = tag->proto;
		off += sizeof(*tag);
		tags++;
	}
	p->l3_off = off;
	*ret_proto = bpf_ntohs(proto);
	return FW_REASON_NONE;
}

/* Headers add up to this, in words of 32 bits: they lie at any even address. */
static __always_inline __u64 sum_words(const void *at, const int n)
{
	const __u32 *w = __builtin_assume_aligned(at, 4);
	__u64 sum = 0;

	for (int i = 0; i < n; i++)
		sum += w[i];
	return sum;
}

/*
 * RFC 791 section 3.1: the words of a right header add up to a multiple of 0xffff, and
 * not to 0, for it has a version. What is one, times the inverse of 0xffff in 64 bits, is
 * small: no division.
 */
static __always_inline bool sum_is_right(__u64 sum)
{
	const __u64 k = 0x0001000100010001ull; /* * 0xffff is -1 */

	return -(sum * k) <= k;
}

/* May a packet have it?  IGMP has to (RFC 3376 section 4). */
static __always_inline enum fw_reason
check_ipv4_option(const struct pkt *p, __u8 type, __u32 options)
{
	if ((type == IPOPT_LSRR || type == IPOPT_SSRR) &&
	    !(options & FW_OFF_SOURCE_ROUTE))
		return FW_REASON_DROP_SOURCE_ROUTE;
	if (options & FW_OPT_IP_OPTS_DROP &&
	    (type != IPOPT_RA || p->key.proto != IPPROTO_IGMP))
		return FW_REASON_DROP_IP_OPTIONS;
	return FW_REASON_NONE;
}

/* The options of an IPv4 header, and where the walk over them is. */
struct ipv4_options {
	const struct pkt *p;
	__u32 options; /* FW_OPT_*, FW_OFF_* */
	__u32 len;
	__u32 pos;
	__u32 reason; /* enum fw_reason, NONE so far */
	__u8 at[48] __attribute__((aligned(4)));
};

/* The option at w->pos; 1 if there is no other to look at. */
static long ipv4_option_step(__u32 i, struct ipv4_options *w)
{
	__u32 pos = w->pos, size = 1, reason = FW_REASON_NONE;
	__u8 type;

	(void)i;
	if (pos > 39 || pos >= w->len) /* the verifier needs a number */
		return 1;
	type = w->at[pos];
	if (type == IPOPT_END)
		return 1;
	if (type != IPOPT_NOOP) {
		size = w->at[pos + 1];
		reason = check_ipv4_option(w->p, type, w->options);
		if (reason == FW_REASON_NONE &&
		    (size < 2 || pos + size > w->len))
			reason = FW_REASON_DROP_BAD_IPV4;
	}
	w->reason = forget(reason);
	w->pos = forget(pos + size);
	return w->reason != FW_REASON_NONE;
}

/*
 * The options of an IPv4 header (RFC 791 section 3.1), the rest of which is at `ip`. A
 * call, for their room.
 */
static __noinline enum fw_reason
parse_ipv4_options(const struct pkt *p, void *ctx, const enum fw_hook hook,
		   const struct iphdr *ip, __u32 options)
{
	struct ipv4_options w = { .p = p, .options = options };
	__u32 len = p->l4_off - p->l3_off - (__u32)sizeof(*ip);

	if (len < 4 || len > 40)
		return FW_REASON_DROP_BAD_IPV4;
	if (hook == FW_HOOK_XDP
		    ? bpf_xdp_load_bytes(ctx, p->l3_off + 20, w.at, len)
		    : bpf_skb_load_bytes(ctx, p->l3_off + 20, w.at, len))
		return FW_REASON_DROP_TRUNCATED;
	if (hook != FW_HOOK_EGRESS &&
	    !sum_is_right(sum_words(ip, 5) + sum_words(w.at, 10)) &&
	    !(options & FW_OFF_BAD_CHECKSUM))
		return FW_REASON_DROP_BAD_CHECKSUM;
	w.len = forget(len);
	w.pos = forget(0);
	bpf_loop(40, ipv4_option_step, &w, 0);
	return w.reason;
}

/*
 * True if the frame goes as far as `end`. How long it is altogether is asked only
 * if the part at hand does not: behind the end of IP, bytes in other buffers of a
 * driver are not counted.
 */
static __always_inline bool reaches(struct pkt *p, void *ctx,
				    const enum fw_hook hook, __u32 end)
{
	if (likely(end <= p->len))
		return true;
	if (hook != FW_HOOK_XDP)
		return false;
	p->len = ctx_len(ctx, hook);
	return end <= p->len;
}

/* `rest` bytes follow the header. */
static __always_inline enum fw_reason
parse_frag4(struct pkt *p, const struct iphdr *ip, __u32 rest)
{
	__u32 off = bpf_ntohs(ip->frag_off) & 0x1fffu;
	bool more = ip->frag_off & bpf_htons(0x2000);

	p->frag = off ? PKT_FRAG_LATER : PKT_FRAG_FIRST;
	p->frag_id = ip->id;
	p->frag_edge = off ? off * 8 : rest;
	/* RFC 3128: nobody needs a second fragment inside the TCP header */
	if ((off == 1 && ip->protocol == IPPROTO_TCP) ||
	    off * 8 + rest > 65535 - ip->ihl * 4u || !rest ||
	    (more && rest % 8))
		return FW_REASON_DROP_FRAG_BAD;
	return FW_REASON_NONE;
}

static __always_inline enum fw_reason
parse_ipv4(struct pkt *p, void *ctx, const enum fw_hook hook, __u32 options)
{
	struct iphdr room;
	const struct iphdr *ip =
		ctx_at(ctx, hook, p->l3_off, &room, sizeof(room));
	__u32 hlen, total;
	enum fw_reason reason;

	if (unlikely(!ip))
		return FW_REASON_DROP_TRUNCATED;
	hlen = ip->ihl * 4u;
	total = bpf_ntohs(ip->tot_len);
	if (hook != FW_HOOK_XDP && !total &&
	    ((struct __sk_buff *)ctx)->gso_size)
		total = p->len - p->l3_off; /* BIG TCP */
	if (unlikely(ip->version != 4 || hlen < 20 || total < hlen))
		return FW_REASON_DROP_BAD_IPV4;
	if (unlikely(!reaches(p, ctx, hook, p->l3_off + total)))
		return FW_REASON_DROP_TRUNCATED;
	if (hook != FW_HOOK_EGRESS && hlen == 20 &&
	    !sum_is_right(sum_words(ip, 5)) && !(options & FW_OFF_BAD_CHECKSUM))
		return FW_REASON_DROP_BAD_CHECKSUM;
	addr_from_v4(&p->key.saddr, ip->saddr);
	addr_from_v4(&p->key.daddr, ip->daddr);
	p->key.family = FW_AF_IPV4;
	p->key.proto = ip->protocol;
	p->ttl = ip->ttl;
	p->l4_off = p->l3_off + hlen;
	p->l3_end = p->l3_off + total;
	if (unlikely(ip->frag_off & bpf_htons(0x3fff))) {
		reason = parse_frag4(p, ip, total - hlen);
		if (reason != FW_REASON_NONE)
			return reason;
	}
	if (unlikely(hlen > 20))
		return parse_ipv4_options(p, ctx, hook, ip, options);
	return FW_REASON_NONE;
}

/* The fragment header (RFC 8200 section 4.5); atomic ones are no fragments. */
static __always_inline enum fw_reason
parse_frag6(struct pkt *p, void *ctx, const enum fw_hook hook, __u32 off)
{
	struct {
		__u8 next, reserved;
		__be16 frag_off;
		__u32 identification;
	} fh;
	__u32 rest, at;

	if (ctx_load(ctx, hook, off, &fh, sizeof(fh)))
		return FW_REASON_DROP_TRUNCATED;
	at = bpf_ntohs(fh.frag_off) & 0xfff8u;
	rest = p->l3_end - off - 8;
	p->frag_id = fh.identification;
	p->frag_edge = at ? at : rest;
	if (at)
		p->frag = PKT_FRAG_LATER;
	else if (bpf_ntohs(fh.frag_off) & 1)
		p->frag = PKT_FRAG_FIRST;
	else
		return FW_REASON_NONE; /* RFC 6946 */
	if (!rest || at + rest > 65535 ||
	    (bpf_ntohs(fh.frag_off) & 1 && rest % 8))
		return FW_REASON_DROP_FRAG_BAD;
	return FW_REASON_NONE;
}

/*
 * What other headers follow. AH is a protocol of its own, as with IPv4: what it
 * protects is for the host that has the key.
 */
static __always_inline bool is_ext6(__u8 proto)
{
	switch (proto) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
	case IPPROTO_FRAGMENT:
	case IPPROTO_MOBILITY:
	case IPPROTO_HIP:
	case IPPROTO_SHIM6:
		return true;
	default:
		return false;
	}
}

/* A walk over extension headers. */
struct ext6_walk {
	struct pkt *p;
	void *ctx;
	__u32 options; /* FW_OPT_*, FW_OFF_* */
	__u32 reason;  /* enum fw_reason if this is all */
};

/* The extension header at p->l4_off; NONE: what follows is there now. */
static __always_inline enum fw_reason ext6_header(struct pkt *p, void *ctx,
						  const enum fw_hook hook,
						  __u32 options, bool is_first)
{
	enum fw_reason reason;
	struct {
		__u8 next;
		__u8 len;
		__u8 type;
		__u8 left;
	} room;
	const typeof(room) *eh;
	__u32 size;
	__u8 next;

	if (p->key.proto == IPPROTO_HOPOPTS && !is_first)
		return FW_REASON_DROP_EXT_HEADERS;
	eh = ctx_at(ctx, hook, p->l4_off, &room, sizeof(room));
	if (!eh)
		return p->frag ? FW_REASON_DROP_FRAG_TINY
			       : FW_REASON_DROP_TRUNCATED;
	next = eh->next;
	size = (eh->len + 1u) * 8;
	if (p->key.proto == IPPROTO_FRAGMENT)
		size = 8;
	if (p->key.proto == IPPROTO_ROUTING && eh->type == 0 &&
	    !(options & FW_OFF_ROUTING_0))
		return FW_REASON_DROP_ROUTING_0;
	if (p->l4_off + size > p->l3_end)
		return p->frag ? FW_REASON_DROP_FRAG_TINY
			       : FW_REASON_DROP_TRUNCATED;
	if (p->key.proto == IPPROTO_FRAGMENT) {
		if (p->frag)
			return FW_REASON_DROP_EXT_HEADERS;
		reason = parse_frag6(p, ctx, hook, p->l4_off);
		if (unlikely(reason != FW_REASON_NONE))
			return reason;
	}
	p->key.proto = next;
	p->l4_off += size;
	return FW_REASON_NONE;
}

/* The next header; 1 if it was the last one that can be walked. */
static __always_inline long ext6_step(struct ext6_walk *w, __u32 i,
				      const enum fw_hook hook)
{
	struct pkt *p = w->p;
	enum fw_reason reason =
		ext6_header(p, w->ctx, hook, w->options, i == 0);
	bool is_last = reason != FW_REASON_NONE ||
		       p->frag == PKT_FRAG_LATER || /* no header follows */
		       !is_ext6(p->key.proto);

	if (is_last)
		w->reason = forget(reason);
	return is_last;
}

static long ext6_step_xdp(__u32 i, struct ext6_walk *w)
{
	return ext6_step(w, i, FW_HOOK_XDP);
}

static long ext6_step_tc(__u32 i, struct ext6_walk *w)
{
	return ext6_step(w, i, FW_HOOK_INGRESS);
}

/*
 * Walk the extension headers (RFC 8200 section 4.1). Hop-by-hop comes first or
 * not at all, routing type 0 is refused (RFC 5095), and a chain that is longer
 * than FW_MAX_EXT_HEADERS or leaves the packet has its own reason. A call, for its room.
 */
static __noinline enum fw_reason
parse_ext6(struct pkt *p, void *ctx, const enum fw_hook hook, __u32 options)
{
	struct ext6_walk w = { .p = p,
			       .ctx = ctx,
			       .options = options,
			       .reason = FW_REASON_DROP_EXT_HEADERS };

	if (hook == FW_HOOK_XDP)
		bpf_loop(FW_MAX_EXT_HEADERS, ext6_step_xdp, &w, 0);
	else
		bpf_loop(FW_MAX_EXT_HEADERS, ext6_step_tc, &w, 0);
	return w.reason;
}

static __always_inline enum fw_reason
parse_ipv6(struct pkt *p, void *ctx, const enum fw_hook hook, __u32 options)
{
	struct ipv6hdr room;
	const struct ipv6hdr *ip =
		ctx_at(ctx, hook, p->l3_off, &room, sizeof(room));
	__u32 total;

	if (unlikely(!ip))
		return FW_REASON_DROP_TRUNCATED;
	total = bpf_ntohs(ip->payload_len) + 40u;
	if (hook != FW_HOOK_XDP && total == 40 &&
	    ((struct __sk_buff *)ctx)->gso_size)
		total = p->len - p->l3_off; /* BIG TCP, RFC 2675 */
	if (unlikely(ip->version != 6))
		return FW_REASON_DROP_BAD_IPV6;
	if (unlikely(!reaches(p, ctx, hook, p->l3_off + total)))
		return FW_REASON_DROP_TRUNCATED;
	__builtin_memcpy(&p->key.saddr, &ip->saddr, sizeof(p->key.saddr));
	__builtin_memcpy(&p->key.daddr, &ip->daddr, sizeof(p->key.daddr));
	p->key.family = FW_AF_IPV6;
	p->key.proto = ip->nexthdr;
	p->ttl = ip->hop_limit;
	p->l4_off = p->l3_off + 40;
	p->l3_end = p->l3_off + total;
	if (likely(!is_ext6(p->key.proto)))
		return FW_REASON_NONE;
	return parse_ext6(p, ctx, hook, options);
}

/* Of a TCP segment (RFC 9293 section 3.1); <linux/tcp.h> has the flags as bits. */
struct tcp_head {
	__be16 sport, dport;
	__be32 seq, ack;
	__u8 doff;
	__u8 flags;
	__be16 window, check, urgent;
};

/* Of FIN, SYN, RST and ACK, what a TCP sends; FIN, PSH and URG may come with ACK. */
static __always_inline bool tcp_flags_are_legal(__u8 flags)
{
	const __u32 legal = 1u << TCP_SYN | 1u << (TCP_SYN | TCP_ACK) |
			    1u << TCP_ACK | 1u << TCP_RST |
			    1u << (TCP_RST | TCP_ACK) |
			    1u << (TCP_FIN | TCP_ACK);

	return legal >> (flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK)) & 1;
}

/* Flags that no TCP sends. Each of the scans that have a name has its own reason. */
static __always_inline enum fw_reason check_tcp_flags(__u8 flags, __u32 options)
{
	const __u8 xmas = TCP_FIN | TCP_PSH | TCP_URG;

	if (likely(tcp_flags_are_legal(flags)))
		return FW_REASON_NONE;
	if (!(flags & 0x3f))
		return failed(options, TCP_NULL);
	if ((flags & xmas) == xmas)
		return failed(options, TCP_XMAS);
	return failed(options, TCP_FLAGS);
}

static __always_inline enum fw_reason
parse_tcp(struct pkt *p, void *ctx, const enum fw_hook hook, __u32 options)
{
	struct tcp_head room;
	const struct tcp_head *th;

	if (unlikely(p->l4_off + sizeof(*th) > p->l3_end))
		return FW_REASON_DROP_TRUNCATED;
	th = ctx_at(ctx, hook, p->l4_off, &room, sizeof(room));
	if (unlikely(!th))
		return FW_REASON_DROP_TRUNCATED;
	if (unlikely((th->doff >> 4) < 5) && !(options & FW_OFF_BAD_L4))
		return FW_REASON_DROP_BAD_L4;
	if (unlikely(p->l4_off + (th->doff >> 4) * 4u > p->l3_end))
		return FW_REASON_DROP_TRUNCATED;
	p->key.sport = bpf_ntohs(th->sport);
	p->key.dport = bpf_ntohs(th->dport);
	p->key.flags |= FW_KEY_PORTS;
	p->tcp_flags = th->flags;
	if (unlikely(!th->sport || !th->dport) && !(options & FW_OFF_PORT_ZERO))
		return FW_REASON_DROP_PORT_ZERO;
	return check_tcp_flags(th->flags, options);
}

/* By one of its ports: DHCP (RFC 2131 section 4.1), DHCPv6 (RFC 8415 section 7.2). */
static __always_inline bool is_dhcp(__u16 port, bool v4)
{
	return (__u16)(port - (v4 ? 67 : 546)) <= 1;
}

static __always_inline enum fw_reason
parse_udp(struct pkt *p, void *ctx, const enum fw_hook hook, __u32 options)
{
	struct udphdr room;
	const struct udphdr *uh;
	__u32 len;
	bool v4;

	if (unlikely(p->l4_off + sizeof(*uh) > p->l3_end))
		return FW_REASON_DROP_TRUNCATED;
	uh = ctx_at(ctx, hook, p->l4_off, &room, sizeof(room));
	if (unlikely(!uh))
		return FW_REASON_DROP_TRUNCATED;
	len = bpf_ntohs(uh->len);
	if (!len && ctx_is_gso(ctx, hook))
		len = 8; /* a super-datagram over 64 KiB */
	if ((len < 8 ||
	     (p->frag == PKT_WHOLE && p->l4_off + len > p->l3_end)) &&
	    !(options & FW_OFF_BAD_L4))
		return FW_REASON_DROP_BAD_L4;
	/* a sender that wants no answer has port 0 (RFC 768) */
	if (unlikely(!uh->dest) && !(options & FW_OFF_PORT_ZERO))
		return FW_REASON_DROP_PORT_ZERO;
	p->key.sport = bpf_ntohs(uh->source);
	p->key.dport = bpf_ntohs(uh->dest);
	p->key.flags |= FW_KEY_PORTS;
	/* from one of its two ports to the other */
	v4 = p->key.family == FW_AF_IPV4;
	if (is_dhcp(p->key.sport, v4) && is_dhcp(p->key.dport, v4) &&
	    p->key.sport != p->key.dport)
		p->key.flags |= FW_KEY_ESSENTIAL;
	return FW_REASON_NONE;
}

static __always_inline void classify_icmp4(struct pkt *p, __u8 type)
{
	switch (type) {
	case 3:	 /* destination unreachable */
	case 4:	 /* source quench */
	case 5:	 /* redirect */
	case 11: /* time exceeded */
	case 12: /* parameter problem */
		p->icmp_kind = PKT_ICMP_ERROR;
		break;
	case 8:	 /* echo request */
	case 13: /* timestamp request */
		p->icmp_kind = PKT_ICMP_REQUEST;
		p->icmp_request = type;
		break;
	case 0:
		p->icmp_kind = PKT_ICMP_REPLY;
		p->icmp_request = 8;
		break;
	case 14:
		p->icmp_kind = PKT_ICMP_REPLY;
		p->icmp_request = 13;
		break;
	default:
		break;
	}
}

static __always_inline void classify_icmp6(struct pkt *p, __u8 type)
{
	switch (type) {
	case 1: /* destination unreachable */
	case 2: /* packet too big */
	case 3: /* time exceeded */
	case 4: /* parameter problem */
		p->icmp_kind = PKT_ICMP_ERROR;
		break;
	case 128:
		p->icmp_kind = PKT_ICMP_REQUEST;
		p->icmp_request = 128;
		break;
	case 129:
		p->icmp_kind = PKT_ICMP_REPLY;
		p->icmp_request = 128;
		break;
	case 130: /* multicast listener query, report, done; MLDv2 report */
	case 131:
	case 132:
	case 143:
		if (p->ttl == 1) /* RFC 3810 section 5 */
			p->key.flags |= FW_KEY_ESSENTIAL;
		break;
	case 133: /* router and neighbour messages, redirect */
	case 134:
	case 135:
	case 136:
	case 137:
		/* RFC 4861: came from this link; RFC 6980: and whole */
		if (p->ttl == 255 && !p->frag)
			p->key.flags |= FW_KEY_ESSENTIAL;
		break;
	default:
		break;
	}
}

static __always_inline enum fw_reason parse_icmp(struct pkt *p, void *ctx,
						 const enum fw_hook hook)
{
	struct {
		__u8 type, code;
		__be16 check, id, seq;
	} room;
	const typeof(room) *ih;

	if (p->l4_off + sizeof(*ih) > p->l3_end)
		return FW_REASON_DROP_TRUNCATED;
	ih = ctx_at(ctx, hook, p->l4_off, &room, sizeof(room));
	if (unlikely(!ih))
		return FW_REASON_DROP_TRUNCATED;
	p->key.icmp = (__u16)(ih->type << 8 | ih->code);
	p->key.flags |= FW_KEY_ICMP;
	if (p->key.family == FW_AF_IPV4)
		classify_icmp4(p, ih->type);
	else
		classify_icmp6(p, ih->type);
	if (p->icmp_kind == PKT_ICMP_REQUEST || p->icmp_kind == PKT_ICMP_REPLY)
		p->icmp_id = ih->id;
	return FW_REASON_NONE;
}

static __always_inline enum fw_reason
parse_l4(struct pkt *p, void *ctx, const enum fw_hook hook, __u32 options)
{
	if (unlikely(p->frag == PKT_FRAG_LATER))
		return FW_REASON_NONE;
	if (likely(p->key.proto == IPPROTO_TCP))
		return parse_tcp(p, ctx, hook, options);
	switch (p->key.proto) {
	case IPPROTO_UDP:
		return parse_udp(p, ctx, hook, options);
	case IPPROTO_ICMP:
		if (p->key.family != FW_AF_IPV4)
			return failed(options, BAD_L4);
		return parse_icmp(p, ctx, hook);
	case IPPROTO_ICMPV6:
		if (p->key.family != FW_AF_IPV6)
			return failed(options, BAD_L4);
		return parse_icmp(p, ctx, hook);
	case IPPROTO_IGMP:
		if (p->key.family == FW_AF_IPV4 && p->ttl == 1)
			p->key.flags |= FW_KEY_ESSENTIAL;
		return FW_REASON_NONE;
	default:
		return FW_REASON_NONE;
	}
}

static __always_inline enum fw_reason
parse_headers(struct pkt *p, void *ctx, const enum fw_hook hook, __u32 options)
{
	enum fw_reason reason;
	__u16 proto = 0;

	reason = parse_l2(p, ctx, hook, &proto);
	if (unlikely(reason != FW_REASON_NONE))
		return reason;
	if (proto == ETH_P_IP) {
		reason = parse_ipv4(p, ctx, hook, options);
	} else if (proto == ETH_P_IPV6) {
		reason = parse_ipv6(p, ctx, hook, options);
	} else {
		p->is_arp = proto == ETH_P_ARP;
		return FW_REASON_NON_IP;
	}
	if (unlikely(reason != FW_REASON_NONE))
		return reason;
	if (hook != FW_HOOK_EGRESS && unlikely(!p->ttl) &&
	    !(options & FW_OFF_TTL_ZERO))
		return FW_REASON_DROP_TTL_ZERO;
	reason = parse_l4(p, ctx, hook, options);
	/* RFC 7112: a first fragment carries the whole header chain */
	if (unlikely(reason == FW_REASON_DROP_TRUNCATED) &&
	    p->frag == PKT_FRAG_FIRST)
		return FW_REASON_DROP_FRAG_TINY;
	return reason;
}

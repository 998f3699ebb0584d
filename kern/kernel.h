/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The kernel's own types, as far as we read them; each names the header it is
 * defined in. What user space may know comes from <linux/...> instead.
 *
 * libbpf moves every access to where the field lies in the running kernel and
 * its modules (CO-RE, matched by the names of type and field). So the layout
 * here means nothing, and a field that is not read is not listed. A name that
 * some kernel lacks is no error before the programs are loaded there.
 */
#pragma once

#define FROM_KERNEL __attribute__((preserve_access_index))

/* enum tcp_conntrack, uapi/linux/netfilter/nf_conntrack_tcp.h */
#define TCP_CONNTRACK_ESTABLISHED 3

/* ---- net/net_namespace.h, net/netns/netfilter.h --------------------------- */

struct netns_nf {
	struct nf_hook_entries *hooks_ipv4[NF_INET_NUMHOOKS];
	struct nf_hook_entries *hooks_ipv6[NF_INET_NUMHOOKS];
} FROM_KERNEL;

struct nf_tcp_net { /* net/netns/conntrack.h; times in ticks of fw_hz */
	unsigned int timeouts[TCP_CONNTRACK_ESTABLISHED + 1];
	__u8 tcp_be_liberal;
} FROM_KERNEL;

struct nf_udp_net {
	unsigned int timeouts[2]; /* unanswered, answered */
} FROM_KERNEL;

struct nf_ip_net {
	struct nf_tcp_net tcp;
	struct nf_udp_net udp;
} FROM_KERNEL;

struct netns_ct {
	struct nf_ip_net nf_ct_proto;
} FROM_KERNEL;

/* net/netns/xfrm.h: IN, OUT, FWD; of sockets and of all */
struct netns_xfrm {
	unsigned int policy_count[6];
	__u8 policy_default[3];
} FROM_KERNEL;

#define XFRM_USERPOLICY_BLOCK 1

/* linux/inetdevice.h: sysctls of a device, or of all, by enum IPV4_DEVCONF_* less one */
struct ipv4_devconf {
	int data[IPV4_DEVCONF_RP_FILTER];
} FROM_KERNEL;

struct in_device {
	struct ipv4_devconf cnf;
} FROM_KERNEL;

struct netns_ipv4 { /* net/netns/ipv4.h */
	struct ipv4_devconf *devconf_all;
} FROM_KERNEL;

struct net {
	struct netns_nf nf;
	struct netns_ct ct;
	struct netns_xfrm xfrm;
	struct netns_ipv4 ipv4;
} FROM_KERNEL;

/* ---- linux/netfilter.h --------------------------------------------------- */

#define NF_CONNTRACK_PRIORITY (-200) /* NF_IP_PRI_CONNTRACK, IPv6 the same */

enum nf_hook_ops_type {
	NF_HOOK_OP_UNDEFINED = 0, /* a hook of the kernel's own */
};

struct nf_hook_entry { /* its size counts, see hooks_active() */
	void *hook;
	void *priv;
} FROM_KERNEL;

struct nf_hook_entries {
	__u16 num_hook_entries;
	struct nf_hook_entry hooks[];
} FROM_KERNEL;

struct nf_hook_state {
	__u8 pf; /* NFPROTO_* */
	struct net_device *in;
	struct net_device *out;
} FROM_KERNEL;

struct nf_hook_ops {
	enum nf_hook_ops_type hook_ops_type : 8;
	int priority;
} FROM_KERNEL;

/* ---- linux/netdevice.h, net/xdp.h, linux/skbuff.h ------------------------- */

struct net_device {
	int ifindex;
	unsigned short type; /* ARPHRD_* */
	const unsigned char *dev_addr;
	struct in_device *ip_ptr;
	void *xdp_prog; /* of generic XDP */
	struct {
		struct net *net;
	} nd_net; /* possible_net_t */
} FROM_KERNEL;

struct xdp_rxq_info {
	struct net_device *dev;
} FROM_KERNEL;

struct xdp_buff {
	struct xdp_rxq_info *rxq;
} FROM_KERNEL;

struct sk_buff {
	struct net_device *dev;
	unsigned long _skb_refdst; /* struct dst_entry * | flags */
	unsigned int len;
	unsigned long _nfct; /* struct nf_conn * | enum ip_conntrack_info */
	__u8 ip_summed : 2;
	__u8 active_extensions; /* bits by enum skb_ext_id */
	__u16 network_header;
	__u16 mac_header;
	unsigned int end; /* sk_buff_data_t: from the head on */
	unsigned char *head;
	unsigned char *data;
	struct skb_ext *extensions;
} FROM_KERNEL;

struct skb_shared_info { /* at the end of an skb */
	__u8 meta_len;
} FROM_KERNEL;

enum skb_ext_id {
	SKB_EXT_SEC_PATH = 1, /* whatever it is */
};

struct skb_ext {
	__u8 offset[1]; /* by enum skb_ext_id, in units of 8 bytes */
} FROM_KERNEL;

/* ---- net/netfilter/nf_conntrack_tuple.h, nf_conntrack.h ------------------- */

struct nf_conntrack_man {
	union nf_inet_addr u3;
	union nf_conntrack_man_proto u;
	__u16 l3num; /* AF_INET, AF_INET6 */
} FROM_KERNEL;

struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
	struct {
		union nf_inet_addr u3;
		union {
			__be16 all;
			struct {
				__u8 type;
			} icmp;
		} u;
		__u8 protonum;
	} dst;
} FROM_KERNEL;

struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
} FROM_KERNEL;

struct ip_ct_tcp {
	__u8 state; /* enum tcp_conntrack */
} FROM_KERNEL;

union nf_conntrack_proto {
	struct ip_ct_tcp tcp;
} FROM_KERNEL;

struct nf_conn {
	__u32 timeout; /* in ticks of fw_hz, against bpf_jiffies64() */
	struct nf_conntrack_tuple_hash tuplehash[IP_CT_DIR_MAX];
	unsigned long status;	/* IPS_* */
	struct nf_conn *master; /* if IPS_EXPECTED */
	__u32 mark;
	struct nf_ct_ext *ext;
	union nf_conntrack_proto proto;
	struct {
		struct net *net;
	} ct_net; /* possible_net_t */
} FROM_KERNEL;

/* ---- net/netfilter/nf_conntrack_extend.h, _helper.h, _expect.h ------------- */

struct nf_ct_ext {
	__u8 offset
		[1]; /* NF_CT_EXT_HELPER is the first; 0: the flow has none */
} FROM_KERNEL;

enum nf_ct_ext_id {
	NF_CT_EXT_ACCT = 1, /* whatever it is */
};

struct hlist_node {
	struct hlist_node *next;
} FROM_KERNEL;

struct nf_conn_help {
	struct {
		struct hlist_node *first;
	} expectations;
} FROM_KERNEL;

struct nf_conntrack_tuple_mask { /* net/netfilter/nf_conntrack_tuple.h */
	struct {
		union nf_inet_addr u3;
		union nf_conntrack_man_proto u;
	} src;
} FROM_KERNEL;

struct nf_conntrack_expect {
	struct hlist_node lnode; /* of nf_conn_help.expectations */
	struct nf_conntrack_tuple tuple;
	struct nf_conntrack_tuple_mask mask;
} FROM_KERNEL;

/* ---- net/xfrm.h ----------------------------------------------------------- */

enum {
	XFRM_STATE_ACQ = 1, /* larval: it has an SPI, and no keys yet */
	XFRM_STATE_VALID = 2,
};

struct xfrm_state_walk {
	__u8 state;
} FROM_KERNEL;

#define XFRM_STATE_ESN 128 /* uapi/linux/xfrm.h */

struct xfrm_replay_state { /* uapi/linux/xfrm.h */
	__u32 seq;
	__u32 bitmap;
} FROM_KERNEL;

struct xfrm_replay_state_esn { /* uapi/linux/xfrm.h */
	unsigned int bmp_len;  /* of 32 bits */
	__u32 seq;
	__u32 replay_window;
	__u32 bmp[1];
} FROM_KERNEL;

struct xfrm_lifetime_cur { /* uapi/linux/xfrm.h */
	__u64 packets;
} FROM_KERNEL;

struct xfrm_state {
	struct {
		struct {
			struct {
				struct {
					int counter;
				} val; /* 0: nobody has it */
			} raw_lock;
		} rlock;
	} lock;		/* spinlock_t where it is a qspinlock */
	__u32 pcpu_num; /* the CPU that it is for, or UINT_MAX; since 6.13 */
	struct xfrm_state_walk km;
	struct {
		__u32 reqid;
		__u8 mode; /* XFRM_MODE_*, uapi/linux/xfrm.h */
		__u8 replay_window;
		__u8 flags;
	} props;
	struct xfrm_replay_state replay;
	struct xfrm_replay_state_esn *replay_esn; /* in place of `replay` */
	struct xfrm_lifetime_cur curlft;
} FROM_KERNEL;

#define XFRM_STATES 6 /* XFRM_MAX_DEPTH: what a packet passes at most */

struct sec_path {
	int len;
	struct xfrm_state *xvec[XFRM_STATES];
} FROM_KERNEL;

struct dst_entry {		 /* net/dst.h */
	struct xfrm_state *xfrm; /* with CONFIG_XFRM */
} FROM_KERNEL;

/* net/netfilter/nf_conntrack_bpf.c: allocated, not in the table yet */
struct nf_conn___init {
	struct nf_conn ct;
} FROM_KERNEL;

/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What the programs that only explain (kern/dry.h) tell user space of a packet. Both are
 * of one build and nothing of it is pinned: no part of FW_ABI_VERSION.
 */
#pragma once

#include "kern/abi.h"

enum fw_explained_opens {
	FW_OPENS_NOTHING = 0,
	FW_OPENS_FLOW = 1,    /* gets an entry: nf_conntrack's, or `xflows` */
	FW_OPENS_KERNEL = 2,  /* gets one, but of the kernel's own hooks */
	FW_OPENS_SETTLED = 3, /* was there, and these rules accept it now */
};

/* One hook. */
struct fw_explained_hook {
	struct fw_key key;    /* what the rules were asked, if they were */
	struct fw_result res; /* and what they said */
	struct fw_tuple
		tuple; /* of the packet; family 0: nobody has asked for it */
	struct fw_tuple orig; /* `found`: of the flow, unless family is 0 */
	__u32 flow_gen;
	__u32 slot;    /* of the rule that counts here; 0: none does */
	__u32 ifindex; /* of the device whose rules count */
	__u8 hook;     /* enum fw_hook */
	__u8 reason;   /* enum fw_reason */
	__u8 has_run;
	__u8 found; /* a flow */
	__u8 reply; /* the packet is one of its other side */
	__u8 older; /* of a connection older than the rules */
	__u8 related;
	__u8 opens; /* enum fw_explained_opens */
	__u8 pad[4];
};

/* All hooks of one packet, and what one tells those behind it. */
struct fw_explained {
	struct fw_explained_hook hooks[FW_HOOK_MAX];
	struct fw_tuple opened; /* family 0: nothing */
	struct fw_meta meta;	/* gen 0: none; in place of XDP metadata */
	__u32 opened_gen;	/* 0: the kernel's, nobody has judged it */
	/* of the hook at work */
	__u32 slot;
	__u32 opens;
	/* as user space says */
	__u32 from_sa; /* the packet came out of an SA */
	__u32 reqid;
	__u32 pad;
};

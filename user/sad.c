/* SPDX-License-Identifier: GPL-2.0-only */

/* Messages of NETLINK_XFRM -> struct fw_sad_entry. */
#include "user/sad.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/xfrm.h>
#include <string.h>

#include <libmnl/libmnl.h>

#include "user/netlink.h"
#include "user/util.h"

#define SA_DIR 33 /* XFRMA_SA_DIR, of Linux 6.10 */

/* An address as the kernel has it. */
static void put_address(struct fw_addr *ret, const xfrm_address_t *address,
			uint16_t family)
{
	*ret = (struct fw_addr){ 0 };
	if (family == AF_INET) {
		ret->w[2] = htonl(0xffff);
		ret->w[3] = address->a4;
	} else {
		memcpy(ret, address->a6, sizeof(*ret));
	}
}

/* UINT64_MAX is no limit, and we say 0. */
static uint64_t limit_of(uint64_t limit)
{
	return limit == UINT64_MAX ? 0 : limit;
}

static int put_info(struct fw_sad_entry *e, const struct xfrm_usersa_info *info)
{
	if (info->family != AF_INET && info->family != AF_INET6)
		return -EBADMSG;
	put_address(&e->src, &info->saddr, info->family);
	put_address(&e->dst, &info->id.daddr, info->family);
	e->family = info->family == AF_INET ? FW_AF_IPV4 : FW_AF_IPV6;
	e->proto = info->id.proto;
	e->spi = info->id.spi;
	e->mode = info->mode;
	e->reqid = info->reqid;
	e->window = info->replay_window;
	e->is_esn = info->flags & XFRM_STATE_ESN;
	e->is_larval = true;
	e->packets = info->curlft.packets;
	e->bytes = info->curlft.bytes;
	e->added = info->curlft.add_time;
	e->used = info->curlft.use_time;
	e->soft_seconds = limit_of(info->lft.soft_add_expires_seconds);
	e->hard_seconds = limit_of(info->lft.hard_add_expires_seconds);
	e->soft_bytes = limit_of(info->lft.soft_byte_limit);
	e->hard_bytes = limit_of(info->lft.hard_byte_limit);
	e->replays = info->stats.replay + info->stats.replay_window;
	e->integrity_failed = info->stats.integrity_failed;
	return 0;
}

/* What of an attribute is ours, if it is long enough. */
static const void *payload(const struct nlattr *attr, size_t size)
{
	return mnl_attr_get_payload_len(attr) >= size
		       ? mnl_attr_get_payload(attr)
		       : NULL;
}

static void put_encap(struct fw_sad_entry *e, const struct nlattr *attr)
{
	const struct xfrm_encap_tmpl *encap = payload(attr, sizeof(*encap));

	if (!encap)
		return;
	e->encap_sport = ntohs(encap->encap_sport);
	e->encap_dport = ntohs(encap->encap_dport);
}

static void put_mark(struct fw_sad_entry *e, const struct nlattr *attr)
{
	const struct xfrm_mark *mark = payload(attr, sizeof(*mark));

	if (!mark)
		return;
	e->mark = mark->v;
	e->mask = mark->m;
}

static void put_window(struct fw_sad_entry *e, const struct nlattr *attr)
{
	const struct xfrm_replay_state_esn *esn = payload(attr, sizeof(*esn));

	if (esn)
		e->window = esn->replay_window;
}

/* That there are keys is all that is read of them. */
static int on_attr(const struct nlattr *attr, void *data)
{
	struct fw_sad_entry *e = data;
	const void *value;

	switch (mnl_attr_get_type(attr)) {
	case XFRMA_ALG_AUTH:
	case XFRMA_ALG_AUTH_TRUNC:
	case XFRMA_ALG_CRYPT:
	case XFRMA_ALG_AEAD:
	case XFRMA_ALG_COMP:
		e->is_larval = false;
		break;
	case XFRMA_ENCAP:
		put_encap(e, attr);
		break;
	case XFRMA_MARK:
		put_mark(e, attr);
		break;
	case XFRMA_REPLAY_ESN_VAL:
		put_window(e, attr);
		break;
	case XFRMA_IF_ID:
		value = payload(attr, sizeof(e->if_id));
		if (value)
			memcpy(&e->if_id, value, sizeof(e->if_id));
		break;
	case SA_DIR:
		value = payload(attr, sizeof(e->direction));
		if (value)
			memcpy(&e->direction, value, sizeof(e->direction));
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

int fw_sad_decode(const struct nlmsghdr *nlh, struct fw_sad_entry *ret)
{
	struct xfrm_usersa_info info;
	int r;

	*ret = (struct fw_sad_entry){ 0 };
	if (nlh->nlmsg_type != XFRM_MSG_NEWSA &&
	    nlh->nlmsg_type != XFRM_MSG_UPDSA)
		return -ENOMSG;
	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(info))
		return -EBADMSG;
	memcpy(&info, mnl_nlmsg_get_payload(nlh), sizeof(info));
	r = put_info(ret, &info);
	if (r < 0)
		return r;
	if (mnl_nlmsg_get_payload_len(nlh) > sizeof(info))
		(void)mnl_attr_parse(nlh, sizeof(info), on_attr, ret);
	return 0;
}

struct dump {
	fw_sad_fn fn;
	void *data;
};

static int on_message(const struct nlmsghdr *nlh, void *data)
{
	const struct dump *dump = data;
	struct fw_sad_entry entry;
	int r;

	r = fw_sad_decode(nlh, &entry);
	if (r == 0)
		r = dump->fn(dump->data, &entry);
	if (r == 0 || r == -ENOMSG || r == -EBADMSG)
		return MNL_CB_OK;
	errno = -r;
	return MNL_CB_ERROR;
}

int fw_sad_dump(fw_sad_fn fn, void *data)
{
	struct dump dump = { .fn = fn, .data = data };
	const struct nlmsghdr request = {
		.nlmsg_len = sizeof(request),
		.nlmsg_type = XFRM_MSG_GETSA,
		.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		.nlmsg_seq = 1,
	};
	int r;

	r = fw_netlink_ask(NETLINK_XFRM, &request, on_message, &dump);
	return r == -EPROTONOSUPPORT ? 0 : r;
}

/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Any bytes as what NETLINK_XFRM sends about security associations. An input is one
 * datagram with any number of messages. What is read of it is of the associations, and
 * nothing of their keys.
 */
#include "user/sad.h"

#include <linux/xfrm.h>

#include <libmnl/libmnl.h>

#include "fuzz.h"

/* What seeds have for a key; four bytes of it nobody may keep. */
static const uint8_t secret[] = { 0x5e, 0xc2, 0xe7, 0x5e };

static bool has_secret(const struct fw_sad_entry *entry)
{
	return memmem(entry, sizeof(*entry), secret, sizeof(secret));
}

static int on_attr(const struct nlattr *attr, void *data)
{
	bool *is_elsewhere = data;

	switch (mnl_attr_get_type(attr)) {
	case XFRMA_ALG_AEAD:
	case XFRMA_ALG_CRYPT:
	case XFRMA_ALG_AUTH:
	case XFRMA_ALG_AUTH_TRUNC:
		break;
	default:
		*is_elsewhere |=
			!!memmem(attr, attr->nla_len, secret, sizeof(secret));
	}
	return MNL_CB_OK;
}

/* Keys are in attributes; the same bytes elsewhere are none. */
static bool has_elsewhere(const struct nlmsghdr *nlh)
{
	bool is_elsewhere =
		memmem(mnl_nlmsg_get_payload(nlh),
		       sizeof(struct xfrm_usersa_info), secret, sizeof(secret));

	(void)mnl_attr_parse(nlh, sizeof(struct xfrm_usersa_info), on_attr,
			     &is_elsewhere);
	return is_elsewhere;
}

static void read_one(const struct nlmsghdr *nlh)
{
	struct fw_sad_entry entry;

	if (fw_sad_decode(nlh, &entry) < 0)
		return;
	must(entry.family == FW_AF_IPV4 || entry.family == FW_AF_IPV6);
	must(!has_secret(&entry) || has_elsewhere(nlh));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	const struct nlmsghdr *nlh = (const void *)copy;
	int left = (int)size;

	must(copy);
	memcpy(copy, data, size);
	/* libmnl takes a length of more than 2 GiB for a negative one */
	while (mnl_nlmsg_ok(nlh, left) && nlh->nlmsg_len <= (uint32_t)left) {
		read_one(nlh);
		nlh = mnl_nlmsg_next(nlh, &left);
	}
	free(copy);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-only */

/* What NETLINK_XFRM says of a security association, and where its mark is put for XDP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/xfrm.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <libmnl/libmnl.h>

#include "user/espmarks.h"
#include "user/sad.h"

#define KEY "0123456789abcdefghij" /* of a cipher; nobody may keep it */

/* A message as the kernel sends it, of one association. */
static struct nlmsghdr *message(char *buf, uint16_t family)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct xfrm_usersa_info *info;

	nlh->nlmsg_type = XFRM_MSG_NEWSA;
	info = mnl_nlmsg_put_extra_header(nlh, sizeof(*info));
	info->family = family;
	info->id.proto = IPPROTO_ESP;
	info->id.spi = htonl(0xc0ffee01);
	info->saddr.a4 = htonl(0xc0000201);
	info->id.daddr.a4 = htonl(0xc6336401);
	info->reqid = 42;
	info->mode = XFRM_MODE_TUNNEL;
	info->replay_window = 32;
	info->flags = XFRM_STATE_ESN;
	info->lft.soft_add_expires_seconds = 100;
	info->lft.hard_add_expires_seconds = 200;
	info->lft.soft_byte_limit = UINT64_MAX;
	info->lft.hard_byte_limit = UINT64_MAX;
	info->curlft.packets = 7;
	info->curlft.bytes = 700;
	info->curlft.add_time = 1000;
	info->stats.replay = 2;
	info->stats.replay_window = 3;
	info->stats.integrity_failed = 4;
	return nlh;
}

static void put_key(struct nlmsghdr *nlh)
{
	char alg[sizeof(struct xfrm_algo_aead) + sizeof(KEY) - 1] = { 0 };
	struct xfrm_algo_aead *aead = (void *)alg;

	(void)strcpy(aead->alg_name, "rfc4106(gcm(aes))");
	aead->alg_key_len = 8 * (sizeof(KEY) - 1);
	memcpy(aead->alg_key, KEY, sizeof(KEY) - 1);
	mnl_attr_put(nlh, XFRMA_ALG_AEAD, sizeof(alg), alg);
}

static void all_is_read(void **state)
{
	const struct xfrm_encap_tmpl encap = { .encap_type = 2,
					       .encap_sport = htons(1234),
					       .encap_dport = htons(4500) };
	const struct xfrm_mark mark = { .v = 5, .m = 0xff };
	const struct xfrm_replay_state_esn esn = { .replay_window = 128 };
	_Alignas(struct nlmsghdr) char buf[4096] = { 0 };
	struct nlmsghdr *nlh = message(buf, AF_INET);
	struct fw_sad_entry e;

	(void)state;
	put_key(nlh);
	mnl_attr_put(nlh, XFRMA_ENCAP, sizeof(encap), &encap);
	mnl_attr_put(nlh, XFRMA_MARK, sizeof(mark), &mark);
	mnl_attr_put(nlh, XFRMA_REPLAY_ESN_VAL, sizeof(esn), &esn);
	mnl_attr_put_u32(nlh, XFRMA_IF_ID, 9);
	mnl_attr_put_u8(nlh, 33, 1); /* XFRMA_SA_DIR */
	assert_int_equal(fw_sad_decode(nlh, &e), 0);
	assert_int_equal(e.family, FW_AF_IPV4);
	assert_int_equal(e.src.w[2], htonl(0xffff));
	assert_int_equal(e.src.w[3], htonl(0xc0000201));
	assert_int_equal(e.dst.w[3], htonl(0xc6336401));
	assert_int_equal(e.proto, IPPROTO_ESP);
	assert_int_equal(e.spi, htonl(0xc0ffee01));
	assert_int_equal(e.reqid, 42);
	assert_int_equal(e.mode, XFRM_MODE_TUNNEL);
	assert_false(e.is_larval);
	assert_true(e.is_esn);
	assert_int_equal(e.direction, 1);
	assert_int_equal(e.if_id, 9);
	assert_int_equal(e.mark, 5);
	assert_int_equal(e.mask, 0xff);
	assert_int_equal(e.window, 128);
	assert_int_equal(e.encap_sport, 1234);
	assert_int_equal(e.encap_dport, 4500);
	assert_int_equal(e.packets, 7);
	assert_int_equal(e.bytes, 700);
	assert_int_equal(e.added, 1000);
	assert_int_equal(e.used, 0);
	assert_int_equal(e.soft_seconds, 100);
	assert_int_equal(e.hard_seconds, 200);
	assert_int_equal(e.soft_bytes, 0);
	assert_int_equal(e.hard_bytes, 0);
	assert_int_equal(e.replays, 5);
	assert_int_equal(e.integrity_failed, 4);
	assert_null(memmem(&e, sizeof(e), KEY, 4));
}

static void larval_and_cut(void **state)
{
	_Alignas(struct nlmsghdr) char buf[4096] = { 0 };
	struct nlmsghdr *nlh = message(buf, AF_INET6);
	struct fw_sad_entry e;

	(void)state;
	assert_int_equal(fw_sad_decode(nlh, &e), 0);
	assert_true(e.is_larval);
	assert_int_equal(e.family, FW_AF_IPV6);
	mnl_attr_put_u16(nlh, XFRMA_MARK, 7); /* too short */
	mnl_attr_put_u8(nlh, XFRMA_IF_ID, 7);
	assert_int_equal(fw_sad_decode(nlh, &e), 0);
	assert_int_equal(e.mask, 0);
	assert_int_equal(e.if_id, 0);
	nlh->nlmsg_type = XFRM_MSG_DELSA;
	assert_int_equal(fw_sad_decode(nlh, &e), -ENOMSG);
	nlh->nlmsg_type = XFRM_MSG_UPDSA;
	nlh->nlmsg_len -= 100;
	assert_int_equal(fw_sad_decode(nlh, &e), -EBADMSG);
	nlh = message(buf, AF_UNIX);
	assert_int_equal(fw_sad_decode(nlh, &e), -EBADMSG);
}

static void marks_keep_their_places(void **state)
{
	const uint32_t first[] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	const uint32_t later[] = { 9, 8, 2, 5 };
	const uint32_t many[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
	struct fw_esp_marks m = { 0 };

	(void)state;
	fw_espmarks_place(&m, first, 8);
	assert_memory_equal(m.mark, first, sizeof(first));
	assert_int_equal(m.n, 8);
	assert_int_equal(m.unknown, 0);
	fw_espmarks_place(&m, later, 4);
	assert_int_equal(m.mark[1], 2);
	assert_int_equal(m.mark[4], 5);
	assert_int_equal(m.mark[7], 8);
	assert_int_equal(m.mark[0], 9);
	assert_int_equal(m.mark[2], 0);
	assert_int_equal(m.n, 8);
	fw_espmarks_place(&m, many, 9);
	assert_int_equal(m.unknown, 1);
	fw_espmarks_place(&m, later, 1);
	assert_int_equal(m.unknown, 0);
	assert_int_equal(m.mark[0], 9);
	assert_int_equal(m.n, 1);
	fw_espmarks_place(&m, later, 0);
	assert_int_equal(m.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_is_read),
		cmocka_unit_test(larval_and_cut),
		cmocka_unit_test(marks_keep_their_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

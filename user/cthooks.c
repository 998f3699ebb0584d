/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The table that makes the kernel track connections itself.
 *
 * Its chain hangs at no hook and sees no packet: that a rule in it asks for `ct` is
 * enough for the kernel to register conntrack's hooks, for IPv4 and IPv6, as long
 * as the table is there. It outlives the daemon, like all that is pinned.
 */
#include "user/cthooks.h"

#include <errno.h>
#include <string.h>

#include <nftables/libnftables.h>

#include "user/feature.h"
#include "user/log.h"
#include "user/modules.h"
#include "user/util.h"

/* By which we know our table again, and what it is there for. */
#define OURS "fwctld: option conntrack-hooks"
#define RULE "ct state invalid"

static const char list_text[] = "list table inet fwctl";
static const char delete_text[] = "delete table inet fwctl\n";
/* Fails if somebody makes a table of that name at this moment. */
static const char create_text[] =
	"create table inet fwctl { comment \"" OURS "\"; }\n"
	"add chain inet fwctl hooks\n"
	"add rule inet fwctl hooks " RULE;

enum table {
	TABLE_NONE,
	TABLE_OURS,
	TABLE_EMPTY, /* ours, and somebody has removed its rule */
	TABLE_FOREIGN,
};

static bool run(struct nft_ctx *nft, const char *text)
{
	return nft_run_cmd_from_buffer(nft, text) == 0;
}

static enum table look(struct nft_ctx *nft)
{
	const char *text;

	if (!run(nft, list_text))
		return TABLE_NONE;
	text = nft_ctx_get_output_buffer(nft);
	if (!strstr(text, "\"" OURS "\""))
		return TABLE_FOREIGN;
	return strstr(text, RULE) ? TABLE_OURS : TABLE_EMPTY;
}

static int fail(struct nft_ctx *nft, const char *what, char **reterr)
{
	const char *text = nft_ctx_get_error_buffer(nft);

	fw_errorf(reterr, "cannot %s the nftables table inet fwctl: %.*s", what,
		  (int)strcspn(text, "\n"), text);
	return -EIO;
}

static int set(struct nft_ctx *nft, bool on, char **reterr)
{
	enum table table = look(nft);

	if (table == TABLE_FOREIGN && on) {
		fw_errorf(
			reterr,
			"there is an nftables table inet fwctl that fwctld has not made");
		return -EEXIST;
	}
	if (table == (on ? TABLE_OURS : TABLE_NONE) || table == TABLE_FOREIGN)
		return 0;
	if (table != TABLE_NONE && !run(nft, delete_text))
		return fail(nft, "remove", reterr);
	if (on && !run(nft, create_text))
		return fail(nft, "make", reterr);
	log_info(
		"conntrack hooks of the kernel %s by the nftables table inet fwctl",
		on ? "are turned on" : "are no longer held");
	return 1;
}

/* Asking loads nf_tables; where it is not loaded there is no table either. */
static bool has_tables(void)
{
	struct fw_kernel kernel;
	bool has = true;

	if (fw_kernel_init(&kernel) == 0) {
		enum fw_module_state state =
			fw_module_state(kernel.modules, FW_MODULE_NFTABLES);

		has = fw_module_is_here(state) || state == FW_MODULE_UNKNOWN;
	}
	fw_kernel_done(&kernel);
	return has;
}

int fw_cthooks_set(bool on, char **reterr)
{
	struct nft_ctx *nft;
	int r;

	if (!on && !has_tables())
		return 0;
	nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!nft)
		return -ENOMEM;
	r = -ENOMEM;
	if (nft_ctx_buffer_output(nft) == 0 && nft_ctx_buffer_error(nft) == 0)
		r = set(nft, on, reterr);
	nft_ctx_free(nft);
	return r;
}

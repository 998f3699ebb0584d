/* SPDX-License-Identifier: GPL-2.0-only */

/* Entries of nf_conntrack, by libnetfilter_conntrack. */

#include "ct_entry.h"

#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <libnetfilter_conntrack/libnetfilter_conntrack.h>

#define CHANGING (~(uint32_t)IPS_CONFIRMED)

struct ct_table {
	struct nfct_handle *handle;
	/* what the last question was about, and its answer */
	struct fw_tuple asked;
	struct ct_entry answer;
	bool is_answered;
};

static bool has_tuple(const struct nf_conntrack *ct, const struct fw_tuple *t)
{
	if (nfct_get_attr_u16(ct, ATTR_PORT_SRC) != t->sport)
		return false;
	if (t->family == FW_AF_IPV4)
		return nfct_get_attr_u32(ct, ATTR_IPV4_SRC) == t->saddr.w[3];
	return !memcmp(nfct_get_attr(ct, ATTR_IPV6_SRC), &t->saddr,
		       sizeof(t->saddr));
}

static int on_entry(enum nf_conntrack_msg_type type, struct nf_conntrack *ct,
		    void *data)
{
	struct ct_table *table = data;

	(void)type;
	if (!has_tuple(ct, &table->asked))
		return NFCT_CB_CONTINUE;
	table->is_answered = true;
	table->answer = (struct ct_entry){
		.mark = nfct_get_attr_u32(ct, ATTR_MARK),
		.status = nfct_get_attr_u32(ct, ATTR_STATUS) & CHANGING,
		.left_s = nfct_get_attr_u32(ct, ATTR_TIMEOUT),
	};
	return NFCT_CB_CONTINUE;
}

struct ct_table *ct_table_open(void)
{
	struct ct_table *table = calloc(1, sizeof(*table));

	if (!table)
		err(1, "calloc");
	table->handle = nfct_open(CONNTRACK, 0);
	if (!table->handle)
		err(1, "nfct_open");
	if (nfct_callback_register(table->handle, NFCT_T_ALL, on_entry, table))
		err(1, "nfct_callback_register");
	return table;
}

void ct_table_close(struct ct_table *table)
{
	(void)nfct_close(table->handle);
	free(table);
}

static struct nf_conntrack *build(const struct fw_tuple *t)
{
	struct nf_conntrack *ct = nfct_new();

	if (!ct)
		err(1, "nfct_new");
	if (t->family == FW_AF_IPV4) {
		nfct_set_attr_u8(ct, ATTR_L3PROTO, AF_INET);
		nfct_set_attr_u32(ct, ATTR_IPV4_SRC, t->saddr.w[3]);
		nfct_set_attr_u32(ct, ATTR_IPV4_DST, t->daddr.w[3]);
	} else {
		nfct_set_attr_u8(ct, ATTR_L3PROTO, AF_INET6);
		nfct_set_attr(ct, ATTR_IPV6_SRC, &t->saddr);
		nfct_set_attr(ct, ATTR_IPV6_DST, &t->daddr);
	}
	nfct_set_attr_u8(ct, ATTR_L4PROTO, t->proto);
	nfct_set_attr_u16(ct, ATTR_PORT_SRC, t->sport);
	nfct_set_attr_u16(ct, ATTR_PORT_DST, t->dport);
	return ct;
}

void ct_table_put(struct ct_table *table, const struct fw_tuple *orig,
		  const struct ct_entry *entry)
{
	struct nf_conntrack *ct = build(orig);

	nfct_setobjopt(ct, NFCT_SOPT_SETUP_REPLY);
	nfct_set_attr_u32(ct, ATTR_TIMEOUT, entry->left_s);
	nfct_set_attr_u32(ct, ATTR_MARK, entry->mark);
	nfct_set_attr_u32(ct, ATTR_STATUS, IPS_CONFIRMED | entry->status);
	if (nfct_query(table->handle, NFCT_Q_CREATE, ct) < 0)
		err(1, "cannot make an entry");
	nfct_destroy(ct);
}

bool ct_table_get(struct ct_table *table, const struct fw_tuple *orig,
		  struct ct_entry *ret)
{
	struct nf_conntrack *ct = build(orig);

	table->asked = *orig;
	table->is_answered = false;
	if (nfct_query(table->handle, NFCT_Q_GET, ct) < 0 && errno != ENOENT)
		err(1, "cannot read an entry");
	nfct_destroy(ct);
	*ret = table->answer;
	return table->is_answered;
}

void ct_table_delete(struct ct_table *table, const struct fw_tuple *tuple)
{
	struct nf_conntrack *ct = build(tuple);

	if (nfct_query(table->handle, NFCT_Q_DESTROY, ct) < 0 &&
	    errno != ENOENT)
		err(1, "cannot delete an entry");
	nfct_destroy(ct);
}

/* SPDX-License-Identifier: GPL-2.0-only */

/* What the tests against the kernel need. */
#include "helpers.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <linux/bpf.h>

/* ---- entries ---------------------------------------------------------------- */

struct fw_tuple entry_tuple(const struct want *want)
{
	struct fw_tuple t = { .proto = want->proto };

	if (want->is_ipv6) {
		t.family = FW_AF_IPV6;
		t.saddr.w[0] = t.daddr.w[0] = htonl(0xfd000000);
		t.saddr.w[3] = htonl(0x10000u + want->number);
		t.daddr.w[3] = htonl(2);
	} else {
		t.family = FW_AF_IPV4;
		t.saddr.w[2] = t.daddr.w[2] = htonl(0xffff);
		t.saddr.w[3] = htonl(0x0a010000u + want->number);
		t.daddr.w[3] = htonl(0x0a000002);
	}
	switch (want->proto) {
	case IPPROTO_ICMP:
		t.icmp_type = 8;
		t.sport = htons(want->number);
		break;
	case IPPROTO_ICMPV6:
		t.icmp_type = 128;
		t.sport = htons(want->number);
		break;
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
	case IPPROTO_UDPLITE:
		t.sport = htons((uint16_t)(1024 + want->number));
		t.dport = htons(443);
		break;
	default:
		break;
	}
	return t;
}

static void set_addrs(struct nf_conntrack *ct, const struct fw_tuple *t)
{
	if (t->family == FW_AF_IPV4) {
		nfct_set_attr_u8(ct, ATTR_L3PROTO, AF_INET);
		nfct_set_attr_u32(ct, ATTR_IPV4_SRC, t->saddr.w[3]);
		nfct_set_attr_u32(ct, ATTR_IPV4_DST, t->daddr.w[3]);
	} else {
		nfct_set_attr_u8(ct, ATTR_L3PROTO, AF_INET6);
		nfct_set_attr(ct, ATTR_IPV6_SRC, t->saddr.w);
		nfct_set_attr(ct, ATTR_IPV6_DST, t->daddr.w);
	}
}

static struct nf_conntrack *build(const struct want *want)
{
	struct fw_tuple t = entry_tuple(want);
	struct nf_conntrack *ct = nfct_new();

	if (!ct)
		return NULL;
	set_addrs(ct, &t);
	nfct_set_attr_u8(ct, ATTR_L4PROTO, want->proto);
	if (t.icmp_type) {
		nfct_set_attr_u8(ct, ATTR_ICMP_TYPE, t.icmp_type);
		nfct_set_attr_u8(ct, ATTR_ICMP_CODE, 0);
		nfct_set_attr_u16(ct, ATTR_ICMP_ID, t.sport);
	} else {
		nfct_set_attr_u16(ct, ATTR_PORT_SRC, t.sport);
		nfct_set_attr_u16(ct, ATTR_PORT_DST, t.dport);
	}
	return ct;
}

static void set_rest(struct nf_conntrack *ct, const struct want *want,
		     bool is_new)
{
	if (is_new)
		nfct_setobjopt(ct, NFCT_SOPT_SETUP_REPLY);
	if (want->is_nat)
		nfct_set_attr_u32(ct, ATTR_REPL_IPV4_DST, htonl(0xc0000201));
	if (want->timeout_s)
		nfct_set_attr_u32(ct, ATTR_TIMEOUT, want->timeout_s);
	nfct_set_attr_u32(ct, ATTR_MARK, want->mark);
	if (want->status)
		nfct_set_attr_u32(ct, ATTR_STATUS,
				  IPS_CONFIRMED | want->status);
	if (want->tcp_state)
		nfct_set_attr_u8(ct, ATTR_TCP_STATE, want->tcp_state);
}

static int query(enum nf_conntrack_query type, const struct want *want)
{
	struct nfct_handle *handle = nfct_open(CONNTRACK, 0);
	struct nf_conntrack *ct;
	int r = 0;

	if (!handle)
		return -errno;
	ct = build(want);
	if (ct && type != NFCT_Q_DESTROY)
		set_rest(ct, want, type == NFCT_Q_CREATE);
	if (!ct || nfct_query(handle, type, ct) < 0)
		r = -errno;
	if (ct)
		nfct_destroy(ct);
	(void)nfct_close(handle);
	return r;
}

int entry_create(const struct want *want)
{
	return query(NFCT_Q_CREATE, want);
}

int entry_update(const struct want *want)
{
	return query(NFCT_Q_UPDATE, want);
}

int entry_delete(const struct want *want)
{
	return query(NFCT_Q_DESTROY, want);
}

/* ---- rows ------------------------------------------------------------------- */

struct row *rows_add(struct rows *rows)
{
	struct row *row;

	if (rows->n == rows->size) {
		rows->size = rows->size ? rows->size * 2 : 64;
		row = realloc(rows->row, rows->size * sizeof(*row));
		if (!row)
			abort();
		rows->row = row;
	}
	row = rows->row + rows->n++;
	memset(row, 0, sizeof(*row));
	return row;
}

void rows_free(struct rows *rows)
{
	free(rows->row);
	memset(rows, 0, sizeof(*rows));
}

static int compare(const void *a, const void *b)
{
	const struct row *x = a;
	const struct row *y = b;

	return strcmp(x->text, y->text);
}

void rows_sort(struct rows *rows)
{
	if (rows->n)
		qsort(rows->row, rows->n, sizeof(*rows->row), compare);
}

bool rows_equal(const struct rows *a, const struct rows *b, long slack_s,
		char *ret_difference, size_t size)
{
	size_t i;

	for (i = 0; i < a->n && i < b->n; i++) {
		if (strcmp(a->row[i].text, b->row[i].text) == 0 &&
		    labs(a->row[i].left_s - b->row[i].left_s) <= slack_s)
			continue;
		(void)snprintf(ret_difference, size, "%s (%ld s)\n%s (%ld s)",
			       a->row[i].text, a->row[i].left_s, b->row[i].text,
			       b->row[i].left_s);
		return false;
	}
	(void)snprintf(ret_difference, size, "%zu and %zu flows", a->n, b->n);
	return a->n == b->n;
}

static void append(struct row *row, const char *text)
{
	size_t len = strlen(row->text);

	(void)snprintf(row->text + len, sizeof(row->text) - len, " %s", text);
}

/*
 * "ipv4 2 tcp 6 99 ESTABLISHED src=... src=... [ASSURED] mark=0 use=1 id=7":
 * family, protocol number, the time aside, then every other word in its order.
 */
static void parse_line(char *line, struct row *row)
{
	char *save = NULL;
	char *word;
	int i = 0;

	for (word = strtok_r(line, " \n", &save); word;
	     word = strtok_r(NULL, " \n", &save), i++) {
		if (i == 1 || i == 2 || strncmp(word, "use=", 4) == 0)
			continue;
		if (i == 4)
			row->left_s = strtol(word, NULL, 10);
		else
			append(row, word);
	}
}

static int list_family(const char *family, struct rows *ret)
{
	char command[128];
	char line[1024];
	FILE *pipe;

	(void)snprintf(command, sizeof(command),
		       "conntrack -L -f %s -o extended,id 2>/dev/null", family);
	pipe = popen(command, "re");
	if (!pipe)
		return -errno;
	while (fgets(line, sizeof(line), pipe))
		parse_line(line, rows_add(ret));
	return pclose(pipe) == 0 ? 0 : -EIO;
}

int list_rows(struct rows *ret)
{
	int r;

	r = list_family("ipv4", ret);
	if (r < 0)
		return r;
	r = list_family("ipv6", ret);
	rows_sort(ret);
	return r;
}

/* ---- the rest ----------------------------------------------------------------- */

int run(const char *command)
{
	char quiet[256];

	(void)snprintf(quiet, sizeof(quiet), "%s >/dev/null 2>&1", command);
	return system(quiet);
}

static FILE *open_sysctl(const char *name, const char *mode)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "/proc/sys/net/netfilter/%s", name);
	return fopen(path, mode);
}

long read_sysctl(const char *name)
{
	FILE *file = open_sysctl(name, "re");
	long value = -1;

	if (!file)
		return -1;
	if (fscanf(file, "%ld", &value) != 1)
		value = -1;
	(void)fclose(file);
	return value;
}

int write_sysctl(const char *name, const char *value)
{
	FILE *file = open_sysctl(name, "we");
	int n;

	if (!file)
		return -errno;
	n = fprintf(file, "%s\n", value);
	return fclose(file) == 0 && n > 0 ? 0 : -EIO;
}

#define INSN(c, d, s, o, i)                 \
	((struct bpf_insn){ .code = (c),    \
			    .dst_reg = (d), \
			    .src_reg = (s), \
			    .off = (o),     \
			    .imm = (i) })

/* The packet it is run with is the record; it goes by way of the stack. */
int emitter_new(int ring_fd)
{
	const int size = sizeof(struct fw_event);
	const struct bpf_insn insns[] = {
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 3, 10, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 3, 0, 0, -size),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, size),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_load_bytes),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 0, 0, 7, 0),
		INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0,
		     ring_fd),
		INSN(0, 0, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -size),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, size),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ringbuf_output),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};

	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "emit", "GPL", insns,
			     sizeof(insns) / sizeof(*insns), NULL);
}

int emit(int emitter_fd, const struct fw_event *event)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = event,
		    .data_size_in = sizeof(*event), .repeat = 1);
	int r;

	r = bpf_prog_test_run_opts(emitter_fd, &opts);
	return r < 0 ? r : (int)opts.retval;
}

/* SPDX-License-Identifier: GPL-2.0-only */

/* The compiler as its callers see it: labels, files, limits, warnings. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "rules_helper.h"

/* The label of the first rule of a text, owned by the caller. */
static char *label_of(const char *text)
{
	struct fw_program *program = compile_good(text, NULL);
	char *label = strdup(program->rows[0].label);

	fw_program_free(program);
	assert_non_null(label);
	return label;
}

static void same_label(const char *a, const char *b, bool is_same)
{
	char *x = label_of(a);
	char *y = label_of(b);

	assert_int_equal(strcmp(x, y) == 0, is_same);
	free(x);
	free(y);
}

static void test_labels(void **state)
{
	char *label = label_of("accept in proto tcp to port ssh\n");

	(void)state;
	/* Changing this name loses counters at the next reload. */
	assert_string_equal(label, "accept-in-tcp-22-54154c04");
	free(label);
	same_label("accept in proto tcp to port 22\n",
		   "# other place\n\naccept in to port ssh proto tcp\n", true);
	same_label("accept in to port { 80, 81, 90 }\n",
		   "accept in proto { udp, tcp } to port { 90, 80-81 }\n",
		   true);
	same_label("define a = 80\naccept in to port $a\n",
		   "define a = 81\naccept in to port $a\n", true);
	same_label("accept in to port 80\n", "accept in to port 81\n", false);
	same_label("accept in\n", "drop in\n", false);
	same_label("accept in label x.y_z-1\n", "drop in label x.y_z-1\n",
		   true);
}

static void test_label_charset(void **state)
{
	static const char *const texts[] = {
		"accept in\n",
		"reject stateless forward proto !tcp\n",
		"accept in proto { 200, 201 }\n",
		"accept in proto icmp6 type !neighbour-solicitation\n",
		"accept in proto icmp type certification-path-advertisement\n",
		"accept in to port !{ 1-2, 60000-65535 }\n",
	};
	static const char good[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char *label = label_of(texts[i]);

		assert_in_range(strlen(label), 1, 63);
		assert_int_equal(strspn(label, good), strlen(label));
		free(label);
	}
}

static void test_shared_label(void **state)
{
	struct fw_program *program =
		compile_good("accept in proto tcp label web\n"
			     "accept in proto udp label web\n",
			     NULL);

	(void)state;
	assert_string_equal(program->rows[0].label, "web");
	assert_string_equal(program->rows[1].label, "web");
	fw_program_free(program);
}

static void test_row_places(void **state)
{
	static const struct test_file files[] = {
		{ "sub/a.conf", "\n\n  drop in proto tcp\n" },
		{ NULL, NULL },
	};
	struct fw_program *program = compile_good(
		"include \"./sub/a.conf\"\n\taccept in log \"x y\"\n", files);

	(void)state;
	assert_string_equal(program->rows[0].file, "sub/a.conf");
	assert_int_equal(program->rows[0].line, 3);
	assert_int_equal(program->rows[0].column, 3);
	assert_string_equal(program->rows[1].file, "test.conf");
	assert_int_equal(program->rows[1].line, 2);
	assert_int_equal(program->rows[1].column, 2);
	assert_string_equal(program->rows[1].prefix, "x y");
	assert_null(program->rows[0].prefix);
	fw_program_free(program);
}

static void expect_error(const char *text, const struct test_file *files,
			 const char *message)
{
	struct fw_diag diag;

	compile_bad(text, files, &diag);
	assert_string_equal(diag.messages[0].text, message);
	fw_diag_done(&diag);
}

static void test_includes(void **state)
{
	static const struct test_file loop[] = {
		{ "a.conf", "include \"b.conf\"\n" },
		{ "b.conf", "include \"a.conf\"\n" },
		{ NULL, NULL },
	};
	static const struct test_file twice[] = {
		{ "a.conf", "accept in proto tcp\n" },
		{ NULL, NULL },
	};
	struct fw_program *program;

	(void)state;
	expect_error("include \"a.conf\"\n", loop, "'a.conf' includes itself");
	expect_error("include \"no.conf\"\n", loop,
		     "cannot read 'no.conf': no such file");
	expect_error("include \"\"\n", loop, "the path is empty");
	program =
		compile_good("include \"a.conf\"\ninclude \"a.conf\"\n", twice);
	assert_int_equal(program->n_rows, 2);
	assert_int_equal(program->n_texts, 2);
	fw_program_free(program);
}

/* a.conf includes aa.conf includes aaa.conf ... */
static int read_deeper(void *ctx, const char *name, struct fw_text *ret,
		       const char **reterr)
{
	int n;

	(void)ctx;
	(void)reterr;
	n = asprintf(&ret->data, "include \"a%s\"\n", name);
	if (n < 0)
		return -12;
	ret->name = strdup(name);
	ret->len = (size_t)n;
	return ret->name ? 0 : -12;
}

static void test_include_depth(void **state)
{
	const char text[] = "include \"a\"\n";
	struct fw_program *program = NULL;
	struct fw_diag diag = { 0 };

	(void)state;
	assert_int_equal(fw_compile("t", text, sizeof(text) - 1, read_deeper,
				    NULL, &diag, &program),
			 -22);
	assert_int_equal(diag.errors, 1);
	assert_string_equal(diag.messages[0].text,
			    "files include each other deeper than 16");
	fw_diag_done(&diag);
}

static void test_without_reader(void **state)
{
	const char text[] = "set a { file \"a.txt\" }\n";
	struct fw_program *program = NULL;
	struct fw_diag diag = { 0 };

	(void)state;
	assert_int_equal(fw_compile("t", text, sizeof(text) - 1, NULL, NULL,
				    &diag, &program),
			 -22);
	assert_string_equal(diag.messages[0].text,
			    "cannot read 'a.txt': files cannot be read here");
	fw_diag_done(&diag);
}

/* What a compilation told as soon as it knew that there is no error. */
struct told {
	const struct test_file *files;
	char names[64];
	int n;
	int n_read;
	size_t n_texts;
	const struct fw_program *program; /* as it was told; later freed */
	size_t warnings;
	bool is_enough_read, is_enough; /* what is answered */
	int result;
};

static int read_told(void *ctx, const char *name, struct fw_text *ret,
		     const char **reterr)
{
	const struct told *told = ctx;

	return test_read((void *)(uintptr_t)told->files, name, ret, reterr);
}

static bool on_accepted(void *ctx, struct fw_program *program)
{
	struct told *told = ctx;

	told->n++;
	told->program = program;
	for (size_t i = 0; i < program->n_texts; i++) {
		(void)strcat(told->names, program->texts[i].name);
		(void)strcat(told->names, " ");
	}
	for (size_t i = 0; i < program->n_rows; i++)
		assert_int_equal(program->rows[i].decided_by, 0);
	return !told->is_enough;
}

static bool on_read_all(void *ctx, const struct fw_text *texts, size_t n)
{
	struct told *told = ctx;

	(void)texts;
	assert_int_equal(told->n, 0);
	told->n_read++;
	told->n_texts = n;
	return !told->is_enough_read;
}

static void compile_telling(struct told *told, const char *text)
{
	const struct fw_options options = { .read_all = on_read_all,
					    .accepted = on_accepted };
	struct fw_program *program = NULL;
	struct fw_diag diag = { 0 };

	told->result = fw_compile_with(&options, "t", text, strlen(text),
				       read_told, told, &diag, &program);
	told->warnings = diag.warnings;
	assert_ptr_equal(program, told->program);
	fw_program_free(program);
	fw_diag_done(&diag);
}

/* A text that lies in memory of somebody else. */
struct lender {
	struct fw_text_owner owner; /* first */
	char *data;
	int n_lent;
};

static void take_back(struct fw_text_owner *owner)
{
	struct lender *lender = (struct lender *)owner;

	lender->n_lent--;
}

static int read_lent(void *ctx, const char *name, struct fw_text *ret,
		     const char **reterr)
{
	struct lender *lender = ctx;

	(void)reterr;
	if (strcmp(name, "gone") == 0)
		return -ENOENT;
	lender->n_lent++;
	*ret = (struct fw_text){ .name = strdup(name),
				 .data = lender->data,
				 .len = strlen(lender->data),
				 .owner = &lender->owner };
	return 0;
}

/* The main file can be read like the others; what is lent goes back, once. */
static void test_lent_texts(void **state)
{
	static char good[] = "accept in proto tcp to port 22\n";
	static char bad[] = "accept in proto nonsense\n";
	static char deep[] = "include \"t\"\n"; /* itself */
	struct lender lender = { .owner = { take_back } };
	const struct fw_options options = { 0 };
	struct fw_program *program = NULL;
	struct fw_diag diag = { 0 };

	(void)state;
	lender.data = good;
	assert_int_equal(fw_compile_with(&options, "t", NULL, 0, read_lent,
					 &lender, &diag, &program),
			 0);
	assert_int_equal(lender.n_lent, 1);
	assert_ptr_equal(program->texts[0].data, good);
	assert_string_equal(program->texts[0].name, "t");
	fw_program_free(program);
	assert_int_equal(lender.n_lent, 0);
	fw_diag_done(&diag);
	for (int i = 0; i < 2; i++) {
		lender.data = i ? deep : bad;
		assert_int_equal(fw_compile_with(&options, "t", NULL, 0,
						 read_lent, &lender, &diag,
						 &program),
				 -EINVAL);
		assert_int_equal(lender.n_lent, 0);
		fw_diag_done(&diag);
	}
	assert_int_equal(fw_compile_with(&options, "gone", NULL, 0, read_lent,
					 &lender, &diag, &program),
			 -ENOENT);
	fw_diag_done(&diag);
}

static struct told compile_told(const char *text, const struct test_file *files)
{
	struct told told = { .files = files };

	compile_telling(&told, text);
	assert_int_equal(told.result, told.n ? 0 : -EINVAL);
	return told;
}

/* Once, with every file, in spite of warnings; never if there is an error. */
static void test_accepted(void **state)
{
	static const struct test_file files[] = {
		{ "a.conf", "set s { file \"s.txt\" }\n" },
		{ "s.txt", "10.0.0.0/8\n" },
		{ "bad.txt", "10.0.0.0/8\n10.0.0.0/33\n" },
		{ NULL, NULL },
	};
	struct told told;

	(void)state;
	told = compile_told("include \"a.conf\"\naccept in\n"
			    "drop in from @s # never\n",
			    files);
	assert_int_equal(told.n, 1);
	assert_int_equal(told.n_read, 1);
	assert_int_equal(told.n_texts, 3);
	assert_string_equal(told.names, "t a.conf s.txt ");
	/* What cannot be parsed, or read, is not passed on at all. */
	told = compile_told("accept inn\n", files);
	assert_int_equal(told.n + told.n_read, 0);
	told = compile_told("include \"no.conf\"\n", files);
	assert_int_equal(told.n + told.n_read, 0);
	/* What is wrong otherwise is known to be all there is, never to be right. */
	told = compile_told("accept in from @s\n", files);
	assert_int_equal(told.n, 0);
	assert_int_equal(told.n_read, 1);
	told = compile_told("set s { file \"bad.txt\" }\naccept in\n", files);
	assert_int_equal(told.n, 0);
	assert_int_equal(told.n_read, 1);
	assert_int_equal(told.n_texts, 2);
}

/* Whoever has got what he wanted need not wait for the rest. */
static void test_enough(void **state)
{
	const char *text = "interface wan = eth0\n"
			   "accept in\naccept in from 10.0.0.1\n";
	struct told told = { 0 };

	(void)state;
	compile_telling(&told, text);
	assert_int_equal(told.result, 0);
	assert_int_equal(told.warnings, 1);
	told = (struct told){ .is_enough = true };
	compile_telling(&told, text);
	assert_int_equal(told.result, 0);
	assert_int_equal(told.n, 1);
	assert_int_equal(told.warnings, 0);
	told = (struct told){ .is_enough_read = true };
	compile_telling(&told, text);
	assert_int_equal(told.result, -ECANCELED);
	assert_int_equal(told.n_read, 1);
	assert_int_equal(told.n, 0);
	/* What cannot be parsed is looked at as a whole. */
	told = (struct told){ .is_enough_read = true };
	compile_telling(&told, "accept inn\n");
	assert_int_equal(told.result, -EINVAL);
	assert_int_equal(told.n_read, 0);
}

/* Rules are passed over, right or wrong, but not what may name a file. */
static void test_only_texts(void **state)
{
	static const struct test_file files[] = {
		{ "a.conf", "drop inn\nset s { file \"s.txt\" }" },
		{ "b.conf", "drop in log \"}" },
		{ "s.txt", "10.0.0.0/8\n" },
		{ NULL, NULL },
	};
	const struct fw_options options = { .read_all = on_read_all,
					    .only_texts = true };
	static const struct {
		const char *text;
		int result;
		size_t n_texts;
	} cases[] = {
		{ "accept inn\ninclude \"a.conf\"\nreject", -ECANCELED, 3 },
		{ "accept in; include \"a.conf\"\n", -ECANCELED, 3 },
		{ "drop in from {\ninclude \"a.conf\"\n}\n", -EINVAL, 0 },
		{ "drop in from { 10.0.0.1,\n10.0.0.2 }\ninclude \"b.conf\"",
		  -ECANCELED, 2 },
		{ "drop in # }\ndropping\n", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *text = cases[i].text;
		struct fw_program *program = NULL;
		struct told told = { .files = files };
		struct fw_diag diag = { 0 };

		assert_int_equal(fw_compile_with(&options, "t", text,
						 strlen(text), read_told, &told,
						 &diag, &program),
				 cases[i].result);
		assert_int_equal(told.n_texts, cases[i].n_texts);
		assert_null(program);
		fw_diag_done(&diag);
	}
}

/* The file of a set of ports has ports. */
static void test_file_of_ports(void **state)
{
	static const struct test_file files[] = {
		{ "more.txt", "# more\n8000-8100\nhttps\n" },
		{ NULL, NULL },
	};
	struct fw_program *program = compile_good(
		"set web { 80, file \"more.txt\" }\naccept in to port @web\n",
		files);
	const struct fw_ranges *ports = &program->sets[0].port;

	(void)state;
	assert_int_equal(ports->n, 3);
	assert_int_equal(ports->r[1].first_lo, 443);
	assert_int_equal(ports->r[2].last_lo, 8100);
	assert_int_equal(program->sets[0].v4.n, 0);
	fw_program_free(program);
}

/*
 * What a set holds now is no mistake of a rule: it warns, and the rule matches
 * nothing else than it says.
 */
static void test_never_now(void **state)
{
	static const char text[] = "interface wan = eth0\n"
				   "set all { 0.0.0.0/0, ::/0 }\n"
				   "set v6 { 2001:db8::/32 }\n"
				   "define d = { @v6 }\n"
				   "drop in from !@all\n"
				   "drop in from $d to 10.0.0.0/8\n"
				   "accept in proto icmp4 type 8 from @v6\n";
	struct fw_program *program = NULL;
	struct fw_diag diag = { 0 };
	struct fw_result result;
	/* Not echo: ICMP for IPv4 in a packet of IPv6, of type 3. */
	struct fw_key key = { .dir = FW_DIR_IN,
			      .family = FW_AF_IPV6,
			      .proto = 1,
			      .icmp = 3 << 8,
			      .flags = FW_KEY_ICMP };

	(void)state;
	key.saddr.w[0] = htonl(0x20010db8);
	assert_int_equal(fw_compile("t", text, strlen(text), NULL, NULL, &diag,
				    &program),
			 0);
	assert_int_equal(diag.errors, 0);
	assert_int_equal(diag.warnings, 3);
	assert_int_equal(program->rows[1].families, FW_FAMILY_IPV4);
	assert_int_equal(program->rows[2].families, FW_FAMILY_IPV4);
	fw_interpret(program, &key, false, &result);
	assert_true(result.flags & FW_RESULT_DEFAULT);
	fw_program_free(program);
	fw_diag_done(&diag);
}

static void test_named_sets(void **state)
{
	static const struct test_file files[] = {
		{ "s.txt", "# head\r\n10.0.0.0/25\r\n\n 10.0.0.128/25 # two\n"
			   "2001:db8::/32\nself" },
		{ NULL, NULL },
	};
	struct fw_program *program = compile_good(
		"set s { file \"s.txt\", 192.0.2.1 }\n"
		"set all { @s\n 198.51.100.7, }\ndrop in from { @all, @s }\n",
		files);

	(void)state;
	assert_int_equal(program->n_named_sets, 2);
	assert_string_equal(program->named_sets[0].name, "s");
	assert_int_equal(program->named_sets[0].v4, 2);
	assert_int_equal(program->named_sets[0].v6, 1);
	assert_int_equal(program->named_sets[1].v4, 3);
	assert_true(program->sets[program->named_sets[0].set].has_self);
	fw_program_free(program);
}

static void test_modes(void **state)
{
	struct fw_program *p = compile_good(
		"interface a = { eth0, eth1 { mode tc } } { mode xdp }\n"
		"interface b = eth0\n"
		"interface c = \"we@rd\" { mode xdp-generic }\n",
		NULL);

	(void)state;
	assert_int_equal(p->n_zones, 3);
	assert_int_equal(p->zones[0].members[0].mode, FW_MODE_XDP);
	assert_int_equal(p->zones[0].members[1].mode, FW_MODE_TC);
	/* One interface has one mode, whatever the zone. */
	assert_int_equal(p->zones[1].members[0].mode, FW_MODE_XDP);
	assert_int_equal(p->zones[2].members[0].mode, FW_MODE_XDP_GENERIC);
	assert_string_equal(p->zones[2].members[0].ifname, "we@rd");
	fw_program_free(p);
}

/* A text of `n` lines: head, number, tail. */
static char *repeat(const char *head, const char *tail, unsigned int n)
{
	size_t len = strlen(head) + strlen(tail) + 8;
	char *text = malloc(n * len + 1);
	size_t at = 0;
	unsigned int i;

	assert_non_null(text);
	text[0] = '\0';
	for (i = 0; i < n; i++) {
		at += (size_t)snprintf(text + at, len, "%s%u%s\n", head,
				       i % 60000, tail);
	}
	return text;
}

static void test_limits(void **state)
{
	char *text = repeat("interface z", " = eth0", FW_MAX_ZONES + 9);
	char message[64];
	struct fw_diag diag;
	struct fw_program *program;

	(void)state;
	compile_bad(text, NULL, &diag);
	assert_int_equal(diag.errors, 1);
	assert_string_equal(diag.messages[0].text,
			    "more than 64 interface statements");
	assert_int_equal(diag.messages[0].line, 65);
	fw_diag_done(&diag);
	free(text);

	text = repeat("accept in to port ", "", FW_MAX_RULES + 9);
	compile_bad(text, NULL, &diag);
	assert_int_equal(diag.errors, 1); /* and that no interface is there */
	(void)snprintf(message, sizeof(message), "more than %d rules",
		       FW_MAX_RULES);
	assert_string_equal(diag.messages[1].text, message);
	assert_int_equal(diag.messages[1].line, FW_MAX_RULES + 1);
	fw_diag_done(&diag);
	free(text);

	text = repeat("accept in to port ", "", FW_MAX_RULES);
	program = compile_good(text, NULL);
	assert_int_equal(program->n_rows, FW_MAX_RULES);
	fw_program_free(program);
	free(text);
}

/* All warnings of a text that is right, as their lines. */
static size_t warnings(const char *text, uint32_t *lines, size_t max)
{
	struct fw_program *program = NULL;
	struct fw_diag diag = { 0 };
	size_t i, n = 0;

	assert_int_equal(fw_compile("t", text, strlen(text), NULL, NULL, &diag,
				    &program),
			 0);
	for (i = 0; i < diag.n; i++) {
		if (diag.messages[i].severity == FW_SEVERITY_WARNING && n < max)
			lines[n++] = diag.messages[i].line;
	}
	fw_diag_done(&diag);
	fw_program_free(program);
	return n;
}

static void test_warnings(void **state)
{
	uint32_t lines[8] = { 0 };

	(void)state;
	assert_int_equal(warnings("", lines, 8), 1); /* no interface */
	assert_int_equal(warnings("interface a = eth0\n"
				  "define x = 1\n"
				  "set y { 192.0.2.1 }\n"
				  "accept in proto tcp to port { 80, 443 }\n"
				  "drop in proto tcp to port { 443, 80 } log\n"
				  "accept out\n"
				  "drop out to 192.0.2.1\n"
				  "accept in to port { 80, 443 }\n",
				  lines, 8),
			 4);
	assert_int_equal(lines[0], 2);
	assert_int_equal(lines[1], 3);
	assert_int_equal(lines[2], 5);
	assert_int_equal(lines[3], 7);
	/* Stateless rules are another list; essentials fall through. */
	assert_int_equal(warnings("interface a = eth0\n"
				  "drop stateless in\n"
				  "drop in\n"
				  "accept in type neighbour-solicitation\n",
				  lines, 8),
			 0);
}

/* Messages may follow when all others are sorted. */
static void test_later_errors(void **state)
{
	static const char text[] = "define a = 1\ndefine b = 2\n"
				   "define c = 3\naccept in\n";
	const struct fw_span at = { .off = 39, .len = 6 };
	struct fw_program *program = NULL;
	struct fw_diag diag = { 0 };
	size_t i;

	(void)state;
	assert_int_equal(fw_compile("t", text, strlen(text), NULL, NULL, &diag,
				    &program),
			 0);
	assert_int_equal(diag.n, 4);
	for (i = 0; i < 20; i++)
		assert_int_equal(fw_program_error(program, at, &diag, "no"), 0);
	assert_int_equal(diag.n, 24);
	assert_int_equal(diag.messages[23].line, 4);
	fw_diag_done(&diag);
	fw_program_free(program);
}

static void test_names(void **state)
{
	int i;

	(void)state;
	assert_string_equal(fw_reason_name(FW_REASON_DROP_TCP_NO_SYN),
			    "tcp-no-syn");
	assert_true(fw_reason_is_drop(FW_REASON_DROP_INTERNAL));
	assert_false(fw_reason_is_drop(FW_REASON_ESTABLISHED));
	for (i = 0; i < FW_REASON_MAX; i++)
		assert_true(strlen(fw_reason_text((enum fw_reason)i)) > 3);
	assert_string_equal(fw_reason_name((enum fw_reason)255), "?");
	assert_string_equal(fw_verdict_name(FW_REJECT), "reject");
	assert_string_equal(fw_verdict_name((enum fw_verdict)99), "?");
	assert_string_equal(fw_dir_name(FW_DIR_FORWARD), "forward");
	assert_string_equal(fw_default_label(FW_DIR_OUT), "default-out");
	assert_string_equal(fw_hook_name(FW_HOOK_EGRESS), "egress");
	assert_string_equal(fw_tcp_state_name(FW_TCP_ESTABLISHED),
			    "ESTABLISHED");
	assert_string_equal(fw_mode_name(FW_MODE_XDP_GENERIC), "xdp-generic");
}

/* What the options of the image say of all that lets forwarded flows in. */
static void test_offload_options(void **state)
{
	static const struct {
		const char *text;
		uint32_t options;
	} cases[] = {
		{ "accept forward\n", 0 },
		{ "option offload on\n", 0 }, /* nothing is accepted */
		{ "option offload on\naccept in\n", 0 },
		{ "option offload on\ndefault forward accept\n",
		  FW_OPT_OFFLOAD | FW_OPT_OFFLOAD_ALL },
		{ "option offload first\naccept forward proto udp\n",
		  FW_OPT_OFFLOAD | FW_OPT_OFFLOAD_ALL | FW_OPT_OFFLOAD_FIRST },
		{ "default forward accept\naccept forward proto udp offload\n",
		  FW_OPT_OFFLOAD },
		{ "option offload on\n"
		  "accept forward proto udp\n"
		  "accept forward proto tcp offload off\n",
		  FW_OPT_OFFLOAD },
		{ "option offload on\n"
		  "accept forward proto tcp\n"
		  "accept forward proto udp offload first\n"
		  "accept stateless forward proto gre\n",
		  FW_OPT_OFFLOAD | FW_OPT_OFFLOAD_FIRST },
		{ "accept forward offload\n",
		  FW_OPT_OFFLOAD | FW_OPT_OFFLOAD_ALL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fw_program *p = compile_good(cases[i].text, NULL);

		assert_int_equal(p->options, cases[i].options);
		fw_program_free(p);
	}
}

static void test_ipsec_options(void **state)
{
	static const struct {
		const char *text;
		uint32_t options;
	} cases[] = {
		{ "accept in to port 22\n", 0 },
		{ "accept in via ipsec\n", FW_OPT_IPSEC },
		{ "accept in via ipsec reqid 5\n", FW_OPT_IPSEC },
		{ "drop in not via ipsec\naccept in\n", FW_OPT_IPSEC },
		{ "accept out via ipsec\n", FW_OPT_IPSEC },
		/* What comes out of an SA is not offloaded, all else is. */
		{ "option offload on\naccept forward via ipsec\n",
		  FW_OPT_IPSEC },
		{ "option offload on\naccept forward not via ipsec\n",
		  FW_OPT_IPSEC | FW_OPT_OFFLOAD | FW_OPT_OFFLOAD_ALL },
		{ "option offload on\naccept forward via ipsec\n"
		  "accept forward\n",
		  FW_OPT_IPSEC | FW_OPT_OFFLOAD },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fw_program *p = compile_good(cases[i].text, NULL);

		assert_int_equal(p->options, cases[i].options);
		fw_program_free(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_label_charset),
		cmocka_unit_test(test_shared_label),
		cmocka_unit_test(test_row_places),
		cmocka_unit_test(test_includes),
		cmocka_unit_test(test_include_depth),
		cmocka_unit_test(test_without_reader),
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_enough),
		cmocka_unit_test(test_only_texts),
		cmocka_unit_test(test_file_of_ports),
		cmocka_unit_test(test_never_now),
		cmocka_unit_test(test_named_sets),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_later_errors),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_offload_options),
		cmocka_unit_test(test_lent_texts),
		cmocka_unit_test(test_ipsec_options),
	};

	return cmocka_run_group_tests_name("rules", tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-only */

/* The image: boundaries, rows, and the texts in its annex. */
#include <stdlib.h>

#include "rules_helper.h"

static const uint32_t default_slots[FW_DIR_MAX] = { 7, 8, 9 };

static void emit(const struct fw_program *program, struct fw_image *ret)
{
	uint32_t *slots = calloc(program->n_rows + 1, sizeof(*slots));
	size_t i;

	assert_non_null(slots);
	for (i = 0; i < program->n_rows; i++)
		slots[i] = 100 + (uint32_t)i;
	assert_int_equal(fw_emit(program, 5, slots, default_slots, ret), 0);
	free(slots);
}

static void compile_emit(const char *text, const struct test_file *files,
			 struct fw_image *ret)
{
	struct fw_program *program = compile_good(text, files);

	emit(program, ret);
	fw_program_free(program);
}

static const struct fw_set *set_at(const struct fw_image *image, uint32_t cell)
{
	assert_in_range(cell, 1, image->n_cells - 1);
	return &image->cells[cell].set;
}

static void test_empty(void **state)
{
	struct fw_image image;
	const struct fw_image_head *head;

	(void)state;
	compile_emit("", NULL, &image);
	head = &image.cells[0].head;
	assert_int_equal(head->magic, FW_IMAGE_MAGIC);
	assert_int_equal(head->abi, FW_ABI_VERSION);
	assert_int_equal(head->gen, 5);
	assert_int_equal(head->n_cells, image.n_cells);
	assert_int_equal(image.n_cells, 2);
	assert_int_equal(head->stateless_n, 0);
	assert_int_equal(head->rules_n, 0);
	assert_int_equal(head->annex_off, 1);
	assert_int_equal(head->default_verdict[FW_DIR_IN], FW_DROP);
	assert_int_equal(head->default_verdict[FW_DIR_OUT], FW_ACCEPT);
	assert_int_equal(head->default_verdict[FW_DIR_FORWARD], FW_DROP);
	assert_int_equal(head->default_slot[FW_DIR_FORWARD], 9);
	assert_int_equal(head->timeouts.tcp_established, 432000);
	fw_image_done(&image);
}

static void test_order(void **state)
{
	const struct fw_image_head *head;
	struct fw_image image;

	(void)state;
	compile_emit("interface a = eth0\n"
		     "accept in proto tcp\n"
		     "drop stateless in proto udp\n"
		     "accept out on a proto 255 log\n"
		     "accept stateless in proto 64\n",
		     NULL, &image);
	head = &image.cells[0].head;
	assert_int_equal(head->stateless_off, 1);
	assert_int_equal(head->stateless_n, 2);
	assert_int_equal(head->rules_off, 3);
	assert_int_equal(head->rules_n, 2);
	assert_int_equal(image.cells[1].row.rule, 1);
	assert_int_equal(image.cells[1].row.slot, 101);
	assert_int_equal(image.cells[1].row.flags, FW_ROW_STATELESS);
	assert_int_equal(image.cells[2].row.rule, 3);
	assert_int_equal(image.cells[2].row.protos[1], 1);
	assert_int_equal(image.cells[3].row.rule, 0);
	assert_int_equal(image.cells[3].row.protos[0], 1u << 6);
	assert_int_equal(image.cells[4].row.rule, 2);
	assert_int_equal(image.cells[4].row.flags, FW_ROW_LOG);
	assert_int_equal(image.cells[4].row.out_zones, 1);
	assert_int_equal(image.cells[4].row.dirs, 1u << FW_DIR_OUT);
	assert_true(image.cells[4].row.protos[3] == 1ull << 63);
	fw_image_done(&image);
}

static void test_v4_bounds(void **state)
{
	const uint32_t want[] = { 0, 2, 0x0a000000, 0x0b000000, 0xfffffffe };
	const struct fw_set *set;
	struct fw_image image;

	(void)state;
	compile_emit(
		"drop in from { 255.255.255.254/31, 10.0.0.0/8, 0.0.0.0/31, 10.1.2.3 }\n",
		NULL, &image);
	set = set_at(&image, image.cells[1].row.src_set);
	assert_int_equal(set->v4_n, 5);
	assert_memory_equal(image.cells[set->v4_off].v4, want, sizeof(want));
	assert_int_equal(set->v6_n, 0);
	assert_int_equal(set->port_n, 0);
	assert_int_equal(set->has_self, 0);
	assert_int_equal(image.cells[1].row.families, FW_FAMILY_IPV4);
	fw_image_done(&image);
}

static void test_v6_bounds(void **state)
{
	const struct fw_v6_bound want[] = {
		{ 0, 0 },
		{ 0, 1 },
		{ 0x20010db800000000, 0 },
		{ 0x20010db800000001, 0 },
		{ 0x20010db8ffffffff, 0xffffffffffffffff },
		{ 0x20010db900000000, 0 },
		{ 0xff00000000000000, 0 },
	};
	const struct fw_set *set;
	struct fw_image image;

	(void)state;
	compile_emit(
		"drop in from { ff00::/8, 2001:db8::/64, self, ::, 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff }\n",
		NULL, &image);
	set = set_at(&image, image.cells[1].row.src_set);
	assert_int_equal(set->v6_n, 7);
	assert_memory_equal(image.cells[set->v6_off].v6, want, sizeof(want));
	assert_int_equal(set->has_self, 1);
	fw_image_done(&image);
}

static void test_port_bounds(void **state)
{
	const uint16_t want[] = { 0, 1, 22, 23, 8000, 8101, 65535 };
	const struct fw_set *set;
	struct fw_image image;

	(void)state;
	compile_emit(
		"accept in to port { 65535, 8000-8100, ssh, 0 } from port 0-65535\n",
		NULL, &image);
	set = set_at(&image, image.cells[1].row.l4b_set);
	assert_int_equal(set->port_n, 7);
	assert_memory_equal(image.cells[set->port_off].port, want,
			    sizeof(want));
	set = set_at(&image, image.cells[1].row.l4a_set);
	assert_int_equal(set->port_n, 1);
	assert_int_equal(image.cells[set->port_off].port[0], 0);
	fw_image_done(&image);
}

/* Several cells of boundaries: membership by parity, as the programs do it. */
static bool has_v4(const struct fw_image *image, const struct fw_set *set,
		   uint32_t value)
{
	uint32_t i, n = 0;

	for (i = 0; i < set->v4_n; i++) {
		const union fw_cell *cell =
			&image->cells[set->v4_off + i / FW_V4_PER_CELL];

		n += cell->v4[i % FW_V4_PER_CELL] <= value;
	}
	return n % 2;
}

static void test_many(void **state)
{
	struct test_file files[] = { { "many.txt", NULL }, { NULL, NULL } };
	const struct fw_set *set;
	struct fw_image image;
	char *text = malloc(sizeof("10.0.255.255/31\n") * 1000);
	size_t n = 0;
	uint32_t i;

	(void)state;
	assert_non_null(text);
	for (i = 0; i < 1000; i++) {
		n += (size_t)sprintf(text + n, "10.0.%u.%u/31\n", i / 64,
				     i % 64 * 4);
	}
	files[0].text = text;
	compile_emit("set many { file \"many.txt\" }\ndrop in from @many\n",
		     files, &image);
	free(text);
	set = set_at(&image, image.cells[1].row.src_set);
	assert_int_equal(set->v4_n, 2000);
	for (i = 0; i < 4100; i++) {
		assert_int_equal(has_v4(&image, set, 0x0a000000 + i),
				 i < 4000 && i % 4 < 2);
	}
	fw_image_done(&image);
}

static void test_shared_sets(void **state)
{
	struct fw_image image;

	(void)state;
	compile_emit("define web = { http, https }\n"
		     "set a { 192.0.2.0/24 }\n"
		     "accept in to port $web from @a\n"
		     "accept out to 192.0.2.0/24 port { 443, 80 }\n",
		     NULL, &image);
	assert_int_equal(image.cells[1].row.l4b_set,
			 image.cells[2].row.l4b_set);
	assert_int_equal(image.cells[1].row.src_set,
			 image.cells[2].row.dst_set);
	fw_image_done(&image);
}

static void test_empty_set(void **state)
{
	const struct fw_set *set;
	struct fw_image image;

	(void)state;
	compile_emit("set none { }\ndrop in from @none\n", NULL, &image);
	set = set_at(&image, image.cells[1].row.src_set);
	assert_int_equal(set->v4_n + set->v6_n + set->port_n + set->has_self,
			 0);
	assert_int_equal(image.cells[1].row.families,
			 FW_FAMILY_IPV4 | FW_FAMILY_IPV6);
	fw_image_done(&image);
}

static void test_same_bytes(void **state)
{
	const char *text =
		"interface a = eth0\naccept in on a to port { 22, 80 }\n";
	struct fw_image one, two;

	(void)state;
	compile_emit(text, NULL, &one);
	compile_emit(text, NULL, &two);
	assert_int_equal(one.n_cells, two.n_cells);
	assert_memory_equal(one.cells, two.cells,
			    (size_t)one.n_cells * FW_CELL_SIZE);
	fw_image_done(&one);
	fw_image_done(&two);
}

/* ---- annex --------------------------------------------------------------- */

static const struct test_file annex_files[] = {
	{ "sub/more.conf", "set b { file \"b.txt\" }\ndrop in from @b\n" },
	{ "sub/b.txt", "" },
	{ NULL, NULL },
};
static const char annex_main[] =
	"interface wan = eth0\ninclude \"sub/more.conf\"\n";

static void test_texts(void **state)
{
	struct fw_image image;
	struct fw_text *texts;
	size_t i, n;

	(void)state;
	compile_emit(annex_main, annex_files, &image);
	assert_int_equal(fw_image_texts(&image, &texts, &n), 0);
	assert_int_equal(n, 3);
	assert_string_equal(texts[0].name, "test.conf");
	assert_string_equal(texts[0].data, annex_main);
	for (i = 1; i < n; i++) {
		assert_string_equal(texts[i].name, annex_files[i - 1].name);
		assert_string_equal(texts[i].data, annex_files[i - 1].text);
		assert_int_equal(texts[i].len, strlen(texts[i].data));
	}
	fw_texts_free(texts, n);
	fw_image_done(&image);
}

static void expect_bad(const struct fw_image *image)
{
	struct fw_text *texts = NULL;
	size_t n = 0;

	assert_int_equal(fw_image_texts(image, &texts, &n), -74);
	assert_null(texts);
	assert_int_equal(n, 0);
}

static void test_bad_head(void **state)
{
	struct fw_image image;
	struct fw_image_head good;
	struct fw_image_head *head;

	(void)state;
	compile_emit(annex_main, annex_files, &image);
	head = &image.cells[0].head;
	good = *head;
#define BREAK(field, value)    \
	head->field = (value); \
	expect_bad(&image);    \
	*head = good
	BREAK(magic, 0);
	BREAK(abi, FW_ABI_VERSION + 1);
	BREAK(n_cells, image.n_cells + 1);
	BREAK(n_cells, 0);
	BREAK(annex_off, 0);
	BREAK(annex_off, UINT32_MAX);
	BREAK(annex_len, UINT32_MAX);
	BREAK(annex_len, 0);
	BREAK(annex_len, 3);
	BREAK(annex_len, good.annex_len - 1);
	BREAK(annex_len, good.annex_len + 1);
#undef BREAK
	image.n_cells = 0;
	expect_bad(&image);
	fw_image_done(&image);
}

/* Every byte of the annex turned over: an error or other texts, no crash. */
static void test_bad_annex(void **state)
{
	struct fw_image image;
	struct fw_text *texts;
	unsigned char *annex;
	uint32_t i, len;
	size_t n;
	int r;

	(void)state;
	compile_emit(annex_main, annex_files, &image);
	len = image.cells[0].head.annex_len;
	annex = image.cells[image.cells[0].head.annex_off].bytes;
	for (i = 0; i < len; i++) {
		annex[i] ^= 0xff;
		r = fw_image_texts(&image, &texts, &n);
		assert_true(r == 0 || r == -74);
		if (r == 0)
			fw_texts_free(texts, n);
		annex[i] ^= 0xff;
	}
	annex[0] = 0; /* no texts at all */
	expect_bad(&image);
	fw_image_done(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_v4_bounds),
		cmocka_unit_test(test_v6_bounds),
		cmocka_unit_test(test_port_bounds),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_shared_sets),
		cmocka_unit_test(test_empty_set),
		cmocka_unit_test(test_same_bytes),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_bad_head),
		cmocka_unit_test(test_bad_annex),
	};

	return cmocka_run_group_tests_name("emit", tests, NULL, NULL);
}

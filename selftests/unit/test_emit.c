/* SPDX-License-Identifier: GPL-2.0-only */

/* The image: its head, the slots of rules, and the texts in its annex. */
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

/* The head, writable. */
static struct fw_image_head *head_of(const struct fw_image *image)
{
	return (void *)image->bytes;
}

/* Rules that only the leaving interfaces tell apart. */
static char *same_rules(unsigned int n)
{
	char *text = malloc(1024 + 256ul * n);
	int len = 0;

	assert_non_null(text);
	for (unsigned int i = 0; i < 10; i++)
		len += sprintf(text + len, "interface e%u = eth%u\n", i, i);
	for (unsigned int i = 1; i <= n; i++) {
		len += sprintf(text + len, "accept forward e0 -> { ");
		for (unsigned int bit = 0; bit < 10; bit++) {
			if (i >> bit & 1)
				len += sprintf(text + len, "e%u, ", bit);
		}
		len += sprintf(text + len - 2, " }\n") - 2;
	}
	return text;
}

static void check_warning(unsigned int n, const char *expected)
{
	struct fw_diag diag = { 0 };
	char *text = same_rules(n);
	struct fw_program *program;
	struct fw_image image;

	program = compile_good(text, NULL);
	emit(program, &image);
	assert_int_equal(fw_image_warn(&image.cost, program, &diag), 0);
	assert_int_equal(diag.warnings, !!expected);
	if (expected) {
		assert_string_equal(diag.messages[0].text, expected);
		assert_int_equal(diag.messages[0].line, 11);
		assert_int_equal(diag.messages[0].column, 1);
	}
	fw_diag_done(&diag);
	fw_image_done(&image);
	fw_program_free(program);
	free(text);
}

static void test_slow_rules(void **state)
{
	(void)state;
	check_warning(500, NULL);
	check_warning(
		600,
		"a packet may be held against up to 600 rules one by one, this one first");
}

static void test_empty(void **state)
{
	uint32_t defaults[FW_DIR_MAX], slot;
	const struct fw_image_head *head;
	struct fw_image image;

	(void)state;
	compile_emit("option fragments drop\n", NULL, &image);
	head = fw_image_head(&image);
	assert_int_equal(head->magic, FW_IMAGE_MAGIC);
	assert_int_equal(head->abi, FW_ABI_VERSION);
	assert_int_equal(head->gen, 5);
	assert_int_equal(head->size, image.size);
	assert_int_equal(head->n_rows, 0);
	assert_int_equal(head->has_stateless, 0);
	assert_int_equal(head->options, FW_OPT_FRAG_DROP);
	assert_int_equal(head->timeouts.seconds[FW_TCP_ESTABLISHED], 432000);
	assert_int_equal(head->annex + head->annex_len, image.size);
	assert_int_equal(fw_image_slots(&image, 0, &slot, defaults), 0);
	assert_memory_equal(defaults, default_slots, sizeof(defaults));
	fw_image_done(&image);
}

/* The rules' own timeouts, then the system's; an image remembers which are these. */
static void test_timeouts(void **state)
{
	static const char text[] = "timeout tcp-fin 3m\ntimeout icmp 1h\n";
	const uint32_t system[FW_TIMEOUT_MAX] = {
		[FW_TIMEOUT_TCP_SYN_SENT] = 120,
		[FW_TIMEOUT_TCP_FIN] = 99,
		[FW_TIMEOUT_ICMP6] = 98,
		[FW_TIMEOUT_TCP_CLOSE] = UINT32_MAX,
	};
	uint32_t again[FW_TIMEOUT_MAX];
	const uint32_t *seconds;
	struct fw_program *program;
	struct fw_image image;

	(void)state;
	program = compile_good(text, NULL);
	fw_program_set_timeouts(program, system);
	assert_int_equal(fw_emit(program, 5, NULL, default_slots, &image), 0);
	seconds = fw_image_head(&image)->timeouts.seconds;
	assert_int_equal(seconds[FW_TCP_SYN_SENT], 120);
	assert_int_equal(seconds[FW_TCP_SYN_SENT2], 120);
	assert_int_equal(seconds[FW_TCP_ADOPTED], 120);
	assert_int_equal(seconds[FW_TCP_ADOPTED_REPLY], 120);
	assert_int_equal(seconds[FW_TCP_SYN_RECV], 60);
	assert_int_equal(seconds[FW_TCP_FIN_ORIG], 180);
	assert_int_equal(seconds[FW_TCP_FIN_REPLY], 180);
	assert_int_equal(seconds[FW_TCP_REFUSED], FW_LIFE_SECONDS_MAX);
	assert_int_equal(seconds[FW_TCP_CLOSE_ORIG], FW_LIFE_SECONDS_MAX);
	assert_int_equal(seconds[FW_LIFE_ICMP], 3600);
	assert_int_equal(seconds[FW_LIFE_ICMPV6], 3600);
	assert_int_equal(seconds[FW_LIFE_OTHER], 600);
	fw_image_timeouts(&image, again);
	for (int i = 0; i < FW_TIMEOUT_MAX; i++) {
		bool is_system = i == FW_TIMEOUT_TCP_SYN_SENT ||
				 i == FW_TIMEOUT_TCP_CLOSE;
		uint32_t now = fw_timeout_seconds(&program->timeouts,
						  (enum fw_timeout)i);

		assert_int_equal(again[i], is_system ? now : 0);
	}
	fw_image_done(&image);
	fw_program_free(program);
}

/* No life of a flow is without a timeout, and none has two names. */
static void test_every_life_has_a_timeout(void **state)
{
	uint32_t system[FW_TIMEOUT_MAX];
	struct fw_program *program;
	int i;

	(void)state;
	program = compile_good("", NULL);
	for (i = 1; i < FW_LIFE_MAX; i++) {
		if (i < FW_TCP_STATE_MAX || i >= FW_LIFE_UDP)
			assert_true(program->timeouts.seconds[i] >= 10);
		else
			assert_int_equal(program->timeouts.seconds[i], 0);
	}
	for (i = 0; i < FW_TIMEOUT_MAX; i++)
		system[i] = 1000 + (uint32_t)i;
	fw_program_set_timeouts(program, system);
	for (i = 0; i < FW_TIMEOUT_MAX; i++)
		assert_int_equal(fw_timeout_seconds(&program->timeouts,
						    (enum fw_timeout)i),
				 system[i]);
	fw_program_free(program);
}

static void test_durations(void **state)
{
	static const struct {
		uint32_t seconds;
		const char *text;
	} all[] = {
		{ 1, "1s" },	  { 59, "59s" },
		{ 60, "1m" },	  { 90, "90s" },
		{ 3600, "1h" },	  { 5400, "90m" },
		{ 86400, "1d" },  { 432000, "5d" },
		{ 90000, "25h" }, { FW_LIFE_SECONDS_MAX, "24d" },
	};
	char text[FW_DURATION_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		fw_duration_text(all[i].seconds, text);
		assert_string_equal(text, all[i].text);
	}
}

/* Slots are read back in the order of the file, whatever kind the rules are. */
static void test_slots(void **state)
{
	static const char text[] = "accept in proto tcp to port 22\n"
				   "drop stateless in from 192.0.2.0/24\n"
				   "accept out proto udp log\n";
	uint32_t defaults[FW_DIR_MAX], slots[4];
	struct fw_image_head *head, good;
	struct fw_image image;
	uint32_t size;

	(void)state;
	compile_emit(text, NULL, &image);
	head = head_of(&image);
	good = *head;
	assert_int_equal(head->n_rows, 3);
	assert_int_equal(head->has_stateless,
			 FW_STATELESS_RULES | FW_STATELESS_EARLY);
	assert_int_equal(fw_image_slots(&image, 3, slots, defaults), 0);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(slots[i], 100 + i);
	assert_int_equal(fw_image_slots(&image, 2, slots, defaults), -74);
	assert_int_equal(fw_image_slots(&image, 4, slots, defaults), -74);
	head->magic = 0;
	assert_int_equal(fw_image_slots(&image, 3, slots, defaults), -74);
	*head = good;
	size = image.size;
	for (image.size = 0; image.size <= FW_IMAGE_RULES; image.size += 4) {
		assert_int_equal(fw_image_slots(&image, 3, slots, defaults),
				 -74);
	}
	image.size = size;
	fw_image_done(&image);
}

static uint32_t stateless_of(const char *text)
{
	struct fw_image image;
	uint32_t has;

	compile_emit(text, NULL, &image);
	has = head_of(&image)->has_stateless;
	fw_image_done(&image);
	return has;
}

/* Which rules XDP may ask before it knows what `self` is, and loopback. */
static void test_early(void **state)
{
	const uint32_t early = FW_STATELESS_RULES | FW_STATELESS_EARLY;
	const uint32_t later = FW_STATELESS_RULES;

	(void)state;
	assert_int_equal(stateless_of("drop in\n"), 0);
	assert_int_equal(stateless_of("drop stateless in proto udp\n"), early);
	assert_int_equal(stateless_of("drop stateless in proto udp\n"
				      "drop in to self\n"),
			 early);
	assert_int_equal(stateless_of("drop stateless in proto udp\n"
				      "drop stateless in from self\n"),
			 later);
	assert_int_equal(stateless_of("set a { self, 192.0.2.1 }\n"
				      "drop stateless in to !@a\n"),
			 later);
	assert_int_equal(stateless_of("option check martian off\n"
				      "drop stateless in proto udp\n"),
			 later);
}

static void test_same_bytes(void **state)
{
	const char *text =
		"interface a = eth0\naccept in on a to port { 22, 80 }\n";
	struct fw_image one, two;

	(void)state;
	compile_emit(text, NULL, &one);
	compile_emit(text, NULL, &two);
	assert_int_equal(one.size, two.size);
	assert_memory_equal(one.bytes, two.bytes, one.size);
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

/* In memory of the caller, with whatever is there, if the image fits. */
static void test_lent_room(void **state)
{
	static const char text[] =
		"interface e = eth0\n"
		"set s { 10.0.0.0/8, 2001:db8::/32, 192.0.2.1 }\n"
		"drop stateless in from @s\naccept in proto tcp to port 22\n";
	struct fw_program *program = compile_good(text, NULL);
	const uint32_t slots[] = { 5, 6 };
	struct fw_image image;
	unsigned char *room;

	(void)state;
	assert_int_equal(program->n_rows, 2);
	assert_int_equal(fw_emit(program, 5, slots, default_slots, &image), 0);
	assert_false(image.is_lent);
	/* too small, from the first object on to the last byte; then large enough */
	for (size_t len = 0; len <= image.size + 64; len++) {
		struct fw_image other;

		room = malloc(len + 1);
		assert_non_null(room);
		memset(room, 0xff, len);
		assert_int_equal(fw_emit_to(room, len, program, 5, slots,
					    default_slots, &other),
				 0);
		assert_int_equal(other.is_lent, len >= image.size);
		if (other.is_lent)
			assert_ptr_equal(other.bytes, room);
		assert_int_equal(other.size, image.size);
		assert_memory_equal(other.bytes, image.bytes, image.size);
		fw_image_done(&other);
		free(room);
	}
	fw_image_done(&image);
	fw_program_free(program);
}

static void test_texts(void **state)
{
	struct fw_set_text *replaced;
	struct fw_image image;
	struct fw_text *texts;
	size_t i, n, n_replaced;

	(void)state;
	compile_emit(annex_main, annex_files, &image);
	assert_int_equal(
		fw_image_texts(&image, &texts, &n, &replaced, &n_replaced), 0);
	assert_int_equal(n, 3);
	assert_int_equal(n_replaced, 0);
	assert_null(replaced);
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
	struct fw_set_text *replaced;
	struct fw_text *texts = NULL;
	size_t n = 0, n_replaced;

	assert_int_equal(
		fw_image_texts(image, &texts, &n, &replaced, &n_replaced), -74);
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
	head = head_of(&image);
	good = *head;
#define BREAK(field, value)    \
	head->field = (value); \
	expect_bad(&image);    \
	*head = good
	BREAK(magic, 0);
	BREAK(abi, FW_ABI_VERSION + 1);
	BREAK(annex, 0);
	BREAK(annex, image.size + 1);
	BREAK(annex, UINT32_MAX);
	BREAK(annex_len, UINT32_MAX);
	BREAK(annex_len, 0);
	BREAK(annex_len, 3);
	BREAK(annex_len, good.annex_len - 1);
	BREAK(annex_len, good.annex_len + 1);
#undef BREAK
	image.size = sizeof(*head) - 1;
	expect_bad(&image);
	fw_image_done(&image);
}

/* The image of rules with a set that was replaced. */
static void emit_replaced(struct fw_image *ret)
{
	static const uint32_t slots[1] = { 1 }, defaults[FW_DIR_MAX] = { 0 };
	struct fw_program *program = compile_good(annex_main, annex_files);
	struct fw_text text = { .name = strdup("new.txt"),
				.data = strdup("10.0.0.1\n"),
				.len = 9 };
	struct fw_replacement *replacement;
	struct fw_diag diag = { 0 };

	assert_int_equal(fw_replacement_new(program,
					    fw_program_set(program, "b"), &text,
					    &diag, &replacement),
			 0);
	fw_replacement_swap(program, replacement);
	fw_replacement_free(replacement);
	assert_int_equal(fw_emit(program, 1, slots, defaults, ret), 0);
	fw_program_free(program);
}

static void test_replaced(void **state)
{
	struct fw_set_text *replaced;
	struct fw_image image;
	struct fw_text *texts;
	size_t n, n_replaced;

	(void)state;
	emit_replaced(&image);
	assert_int_equal(
		fw_image_texts(&image, &texts, &n, &replaced, &n_replaced), 0);
	assert_int_equal(n, 3);
	assert_int_equal(n_replaced, 1);
	assert_string_equal(replaced[0].set, "b");
	assert_string_equal(replaced[0].text.name, "new.txt");
	assert_string_equal(replaced[0].text.data, "10.0.0.1\n");
	fw_texts_free(texts, n);
	fw_set_texts_free(replaced, n_replaced);
	/* Less than all of it is nothing. */
	head_of(&image)->annex_len--;
	expect_bad(&image);
	fw_image_done(&image);
}

/* Every byte of the annex turned over: an error or other texts, no crash. */
static void test_bad_annex(void **state)
{
	struct fw_set_text *replaced;
	struct fw_image image;
	struct fw_text *texts;
	unsigned char *annex;
	size_t n, n_replaced;
	uint32_t i, len;
	int r;

	(void)state;
	emit_replaced(&image);
	len = head_of(&image)->annex_len;
	annex = image.bytes + head_of(&image)->annex;
	for (i = 0; i < len; i++) {
		annex[i] ^= 0xff;
		r = fw_image_texts(&image, &texts, &n, &replaced, &n_replaced);
		assert_true(r == 0 || r == -74);
		if (r == 0) {
			fw_texts_free(texts, n);
			fw_set_texts_free(replaced, n_replaced);
		}
		annex[i] ^= 0xff;
	}
	annex[0] = 0; /* no texts at all */
	expect_bad(&image);
	fw_image_done(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slow_rules),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_every_life_has_a_timeout),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_early),
		cmocka_unit_test(test_same_bytes),
		cmocka_unit_test(test_lent_room),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_replaced),
		cmocka_unit_test(test_bad_head),
		cmocka_unit_test(test_bad_annex),
	};

	return cmocka_run_group_tests_name("emit", tests, NULL, NULL);
}

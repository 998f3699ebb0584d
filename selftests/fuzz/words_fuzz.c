/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Any text as what a user types, and any bytes as what a client and a daemon tell each
 * other as text: packets to explain, words of lists, monitors and captures, capture
 * files, messages, base64, the header Accept.
 *
 * What fwctl says of a packet that it has understood, it has to understand as the same
 * packet.
 */
#include <jansson.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "user/base64.h"
#include "user/flowquery.h"
#include "user/messages.h"
#include "user/metrictext.h"
#include "user/monitorquery.h"
#include "user/packetframe.h"
#include "user/pcapfile.h"
#include "user/proto.h"
#include "user/util.h"

#include "fuzz.h"

#define WORDS_MOST 64

/* ---- packets -------------------------------------------------------------------- */

static int parse_packet(const char *text, struct fw_packetframe *ret)
{
	struct fw_packet_error error = { 0 };
	int r;

	memset(ret, 0, sizeof(*ret));
	r = fw_packetframe_parse(text, ret, &error);
	if (r < 0) {
		must(error.text);
		must(error.at <= strlen(text));
		/* behind the last word one may be missing */
		must(error.len <= strlen(text) - error.at + 1);
	}
	free(error.text);
	return r;
}

static void read_packet(struct fuzz_input *in)
{
	static struct fw_packetframe first, second;
	_cleanup_free_ char *text = fuzz_text(in);

	if (parse_packet(text, &first) < 0)
		return;
	must(first.len <= FW_FRAME_MOST);
	must(memchr(first.summary, 0, sizeof(first.summary)));
	if (strlen(first.summary) + 1 < sizeof(first.summary)) {
		must(parse_packet(first.summary, &second) == 0);
		must(first.len == second.len);
		must(memcmp(first.frame, second.frame, first.len) == 0);
	}
}

static void read_place(struct fuzz_input *in)
{
	static struct fw_packetframe packet;
	struct fw_packet_error error = { 0 };
	_cleanup_free_ char *text = fuzz_text(in);

	if (fw_packetframe_parse_place(text, &packet, &error) < 0)
		must(error.text);
	free(error.text);
}

static void read_pcap(struct fuzz_input *in)
{
	unsigned long number = 1 + fuzz_byte(in) % 4u;
	uint8_t frame[200];
	_cleanup_free_ char *error = NULL;
	uint32_t len = 0;
	char path[64];
	int fd, r;

	fd = memfd_create("capture", 0);
	must(fd >= 0 && write(fd, in->at, in->left) == (ssize_t)in->left);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = fw_pcapfile_read(path, number, frame, sizeof(frame), &len, &error);
	must(r < 0 ? error != NULL : len && len <= sizeof(frame));
	(void)close(fd);
}

/* ---- words ---------------------------------------------------------------------- */

typedef int (*parse_fn)(const char *const *words, size_t n, void *ret,
			char **reterr);

static int parse_flows(const char *const *words, size_t n, void *ret,
		       char **reterr)
{
	return fw_flow_query_parse(words, n, ret, reterr);
}

static int parse_monitor(const char *const *words, size_t n, void *ret,
			 char **reterr)
{
	return fw_monitor_query_parse(words, n, ret, reterr);
}

static int parse_capture(const char *const *words, size_t n, void *ret,
			 char **reterr)
{
	return fw_capture_query_parse(words, n, ret, reterr);
}

/* Words end at a blank; each is a text of its own for the sanitizer. */
static void read_words(struct fuzz_input *in, parse_fn parse, void *ret)
{
	_cleanup_free_ char *text = fuzz_text(in), *error = NULL;
	char *words[WORDS_MOST], *rest = text, *word;
	size_t n = 0;
	int r;

	while (n < WORDS_MOST && (word = strsep(&rest, " "))) {
		words[n] = strdup(word);
		must(words[n++]);
	}
	r = parse((const char *const *)words, n, ret, &error);
	must((r < 0) == (error != NULL));
	while (n)
		free(words[--n]);
}

static void read_flow_words(struct fuzz_input *in)
{
	struct fw_flow_query query = { 0 };

	read_words(in, parse_flows, &query);
}

static void read_monitor_words(struct fuzz_input *in)
{
	struct fw_monitor_query query = { 0 };

	read_words(in, parse_monitor, &query);
}

static void read_capture_words(struct fuzz_input *in)
{
	struct fw_monitor_query query = { 0 };

	read_words(in, parse_capture, &query);
}

static void read_reasons(struct fuzz_input *in)
{
	_cleanup_free_ char *text = fuzz_text(in), *error = NULL;
	uint64_t reasons = 0;

	must((fw_reasons_parse(text, &reasons, &error) < 0) == (error != NULL));
}

/* ---- between client and daemon ---------------------------------------------------- */

static void print_diag(const struct fw_diag *diag)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	must(out);
	fw_diag_print(diag, out, true);
	(void)fclose(out);
}

static void read_messages(struct fuzz_input *in)
{
	struct fw_diag diag = { 0 };
	_cleanup_json_ json_t *json = json_loadb((const char *)in->at, in->left,
						 JSON_ALLOW_NUL, NULL);

	if (fw_messages_take(json, &diag) == 0)
		print_diag(&diag);
	json_decref(fw_messages_json(&diag));
	fw_diag_done(&diag);
}

static void read_base64(struct fuzz_input *in)
{
	_cleanup_free_ char *text = fuzz_text(in), *again = NULL;
	_cleanup_free_ void *data = NULL;
	size_t len, n;

	if (fw_base64_decode(text, strlen(text), &data, &len) < 0)
		return;
	again = fw_base64_encode(data, len, &n);
	must(again && strcmp(text, again) == 0);
}

static void read_bytes(struct fuzz_input *in)
{
	_cleanup_json_ json_t *json =
		fw_json_bytes((const char *)in->at, in->left);
	_cleanup_json_ json_t *text =
		json_loadb((const char *)in->at, in->left,
			   JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	_cleanup_free_ char *data = NULL, *other = NULL;
	size_t len, n;

	must(fw_json_bytes_get(json, &data, &len) == 0 && len == in->left);
	must(memcmp(data, in->at, len) == 0);
	(void)fw_json_bytes_get(text, &other, &n);
}

static void read_accept(struct fuzz_input *in)
{
	_cleanup_free_ char *text = fuzz_text(in);

	must(fw_metric_content_type(fw_metric_negotiate(text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const readers[])(struct fuzz_input *in) = {
		read_packet,	 read_place,	     read_pcap,
		read_flow_words, read_monitor_words, read_capture_words,
		read_reasons,	 read_messages,	     read_base64,
		read_bytes,	 read_accept,
	};
	struct fuzz_input in = { data, size };
	/* A letter, so that seeds can be written by hand. */
	uint8_t which = (uint8_t)(fuzz_byte(&in) - 'a');

	if (which < ARRAY_SIZE(readers))
		readers[which](&in);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-only */

/* The subcommand explain: what would become of a packet, told to people. */
#include <errno.h>
#include <string.h>

#include "user/client.h"
#include "user/json.h"
#include "user/packetframe.h"
#include "user/pcapfile.h"
#include "user/util.h"

#define FRAME_LEAST 14 /* an Ethernet header */

static const json_t *member(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_null(value) ? NULL : value;
}

/* ---- the packet ------------------------------------------------------------------- */

/* The words with blanks between them; NULL without memory. */
static char *join_words(const struct fw_cli *cli)
{
	size_t len = 1;
	char *text, *at;

	for (size_t i = 0; i < cli->n_words; i++)
		len += strlen(cli->words[i]) + 1;
	text = malloc(len);
	if (!text)
		return NULL;
	at = text;
	for (size_t i = 0; i < cli->n_words; i++) {
		size_t n = strlen(cli->words[i]);

		if (i)
			*at++ = ' ';
		memcpy(at, cli->words[i], n);
		at += n;
	}
	*at = '\0';
	return text;
}

/* The message, the description, and a caret below what is wrong. */
static void complain_at(const char *text, const struct fw_packet_error *error)
{
	fw_complain("%s", error->text ? error->text : "out of memory");
	(void)fprintf(stderr, "  %s\n  ", text);
	for (size_t i = 0; i < error->at; i++)
		(void)fputc(text[i] == '\t' ? '\t' : ' ', stderr);
	for (size_t i = 0; i < error->len; i++)
		(void)fputc(i ? '~' : '^', stderr);
	(void)fputc('\n', stderr);
}

static bool read_hex(const char *hex, struct fw_packetframe *ret)
{
	unsigned int half = 0, n = 0;

	for (; *hex; hex++) {
		const char *digits = "0123456789abcdef", *at;
		char c = *hex >= 'A' && *hex <= 'F' ? (char)(*hex + 32) : *hex;

		if (strchr(" :\t\n", c))
			continue;
		at = strchr(digits, c);
		if (!at || n == FW_FRAME_MOST)
			return false;
		half = half << 4 | (unsigned int)(at - digits);
		if (half & 0x100) {
			ret->frame[n++] = (uint8_t)half;
			half = 0;
		} else {
			half |= 0x10; /* one digit is there */
		}
	}
	ret->len = n;
	return !half && n >= FRAME_LEAST;
}

static int read_frame(const struct fw_cli *cli, struct fw_packetframe *ret)
{
	_cleanup_free_ char *error = NULL;
	unsigned long number = 1;
	char *end;

	if (cli->hex) {
		if (read_hex(cli->hex, ret))
			return 0;
		fw_complain(
			"--hex takes the bytes of a frame with its Ethernet header, from %d to %d",
			FRAME_LEAST, FW_FRAME_MOST);
		return -EINVAL;
	}
	if (cli->frame) {
		number = strtoul(cli->frame, &end, 10);
		if (*end || !number) {
			fw_complain("--frame takes a number from 1 on");
			return -EINVAL;
		}
	}
	if (fw_pcapfile_read(cli->pcap, number, ret->frame, FW_FRAME_MOST,
			     &ret->len, &error) < 0) {
		fw_complain("%s", error ? error : "out of memory");
		return -EINVAL;
	}
	if (ret->len >= FRAME_LEAST)
		return 0;
	fw_complain("frame %lu ends inside its Ethernet header", number);
	return -EINVAL;
}

static int read_packet(const struct fw_cli *cli, struct fw_packetframe *ret)
{
	struct fw_packet_error error = { 0 };
	_cleanup_free_ char *text = join_words(cli);
	bool is_raw = cli->hex || cli->pcap;
	int r;

	if (!text) {
		fw_complain("out of memory");
		return -ENOMEM;
	}
	r = is_raw ? fw_packetframe_parse_place(text, ret, &error)
		   : fw_packetframe_parse(text, ret, &error);
	if (r < 0)
		complain_at(text, &error);
	free(error.text);
	if (r == 0 && is_raw) {
		r = read_frame(cli, ret);
		(void)snprintf(ret->summary, sizeof(ret->summary),
			       "%s %s a frame of %u bytes",
			       ret->out ? "out" : "in", ret->interface,
			       ret->len);
	}
	return r;
}

/* ---- the answer --------------------------------------------------------------------- */

static void print_endpoint(const json_t *tuple, const char *address_key,
			   const char *port_key)
{
	const char *address = fw_json_get_text(tuple, address_key, "?");

	if (!member(tuple, port_key))
		(void)printf("%s", address);
	else
		(void)printf(strchr(address, ':') ? "[%s]:%lld" : "%s:%lld",
			     address, fw_json_get(tuple, port_key));
}

static void print_flow(const json_t *flow)
{
	const json_t *tuple = member(flow, "original");

	(void)printf("%21s%s of flow ", "",
		     json_is_true(json_object_get(flow, "is_reply"))
			     ? "an answer"
			     : "a packet");
	print_endpoint(tuple, "source", "source_port");
	(void)printf(" -> ");
	print_endpoint(tuple, "destination", "destination_port");
	if (member(flow, "state"))
		(void)printf(", %s", fw_json_get_text(flow, "state", "?"));
	if (member(flow, "rule"))
		(void)printf(", let in by rule %s",
			     fw_json_get_text(flow, "rule", "?"));
	(void)putchar('\n');
}

static void print_rule(const json_t *step)
{
	const json_t *set;
	size_t i;

	if (member(step, "file"))
		(void)printf("%21srule %s, %s:%lld: %s\n", "",
			     fw_json_get_text(step, "rule", "?"),
			     fw_json_get_text(step, "file", "?"),
			     fw_json_get(step, "line"),
			     fw_json_get_text(step, "source", "?"));
	else
		(void)printf("%21s%s\n", "",
			     fw_json_get_text(step, "rule", "?"));
	json_array_foreach(json_object_get(step, "sets"), i, set)
	{
		(void)printf("%21sset @%s, %s:%lld\n", "",
			     fw_json_get_text(set, "name", "?"),
			     fw_json_get_text(set, "file", "?"),
			     fw_json_get(set, "line"));
	}
	if (json_is_true(json_object_get(step, "logged")))
		(void)printf("%21sit would be logged\n", "");
}

static void print_step(const json_t *step)
{
	static const struct {
		const char *opens, *text;
	} openings[] = {
		{ "fwctl", "a new flow, which would be inserted" },
		{ "kernel",
		  "a new flow, of which the kernel's hooks would make an entry" },
		{ "settled",
		  "a flow that these rules have not judged before, and accept" },
	};
	const char *opens = fw_json_get_text(step, "opens", "");
	const char *verdict = fw_json_get_text(step, "verdict", "?");
	const char *reason = fw_json_get_text(step, "reason", "?");

	(void)printf("%-8s %-11s %s: %s", fw_json_get_text(step, "hook", "?"),
		     fw_json_get_text(step, "interface", "?"), verdict,
		     fw_json_get_text(step, "text", "?"));
	if (strcmp(verdict, reason) != 0)
		(void)printf(" (%s)", reason);
	(void)putchar('\n');
	if (member(step, "counts_for"))
		(void)printf("%21sjudged and counted as on %s\n", "",
			     fw_json_get_text(step, "counts_for", "?"));
	if (member(step, "rule"))
		print_rule(step);
	if (member(step, "flow"))
		print_flow(member(step, "flow"));
	for (size_t i = 0; i < ARRAY_SIZE(openings); i++) {
		if (strcmp(openings[i].opens, opens) == 0)
			(void)printf("%21s%s\n", "", openings[i].text);
	}
}

/* Egress comes behind the route, all else before it. */
static void print_steps(const json_t *steps, bool is_egress)
{
	const json_t *step;
	size_t i;

	json_array_foreach(steps, i, step)
	{
		if ((strcmp(fw_json_get_text(step, "hook", ""), "egress") ==
		     0) == is_egress)
			print_step(step);
	}
}

static void print_route(const json_t *route)
{
	const char *kind = fw_json_get_text(route, "kind", "");

	if (strcmp(kind, "local") == 0)
		(void)printf("route    %-11s for this host\n", "");
	else if (strcmp(kind, "forward") == 0)
		(void)printf("route    %-11s forwarded\n",
			     fw_json_get_text(route, "interface", "?"));
	else if (strcmp(kind, "none") == 0)
		(void)printf("route    %-11s not forwarded by the kernel%s%s\n",
			     "", member(route, "error") ? ": " : "",
			     fw_json_get_text(route, "error", ""));
}

static void print_answer(const char *summary, const json_t *result)
{
	const json_t *steps = json_object_get(result, "steps"), *note;
	const char *verdict = fw_json_get_text(result, "verdict", "?");
	size_t i;

	(void)printf("%s\n\n", summary);
	print_steps(steps, false);
	print_route(json_object_get(result, "route"));
	print_steps(steps, true);
	json_array_foreach(json_object_get(result, "notes"), i, note)(void)
		printf("note     %s\n", json_string_value(note));
	(void)printf("\n%s%s%s\n",
		     strcmp(verdict, "accept") == 0   ? "accepted"
		     : strcmp(verdict, "reject") == 0 ? "rejected"
						      : "dropped",
		     member(result, "reason") ? ": " : "",
		     fw_json_get_text(result, "reason", ""));
}

/* ---- the command --------------------------------------------------------------------- */

static json_t *make_args(const struct fw_packetframe *packet)
{
	_cleanup_free_ char *hex = malloc(2 * (size_t)packet->len + 1);

	if (!hex)
		return NULL;
	for (uint32_t i = 0; i < packet->len; i++)
		(void)snprintf(hex + 2 * (size_t)i, 3, "%02x",
			       packet->frame[i]);
	return json_pack("{s:o, s:b, s:s, s:b, s:I}", "interface",
			 fw_json_text(packet->interface), "out", packet->out,
			 "frame", hex, "from_sa", packet->from_sa, "reqid",
			 (json_int_t)packet->reqid);
}

static bool check_options(const struct fw_cli *cli)
{
	if (cli->hex && cli->pcap)
		fw_complain("--hex and --pcap are both a frame");
	else if (cli->frame && !cli->pcap)
		fw_complain("--frame is one of those of --pcap");
	else
		return true;
	return false;
}

enum fw_exit fw_cmd_explain(struct fw_cli *cli)
{
	_cleanup_free_ struct fw_packetframe *packet = NULL;
	struct fw_call call = { .verb = "explain",
				.start = FW_START_IF_PINNED };
	_cleanup_json_ json_t *result = NULL;
	enum fw_exit status;
	bool is_let_through;

	packet = calloc(1, sizeof(*packet));
	if (!packet) {
		fw_complain("out of memory");
		return FW_EXIT_REQUEST;
	}
	if (!check_options(cli) || read_packet(cli, packet) < 0)
		return FW_EXIT_USAGE;
	call.args = make_args(packet);
	if (!call.args) {
		fw_complain("out of memory");
		return FW_EXIT_REQUEST;
	}
	status = fw_client_call(cli, &call, &result);
	if (status != FW_EXIT_OK)
		return status;
	if (cli->json) {
		(void)fw_json_set(result, "packet",
				  fw_json_text(packet->summary));
		status = fw_print_json(result);
	} else {
		print_answer(packet->summary, result);
	}
	is_let_through =
		strcmp(fw_json_get_text(result, "verdict", ""), "accept") == 0;
	return status == FW_EXIT_OK && !is_let_through ? FW_EXIT_DROPPED
						       : status;
}

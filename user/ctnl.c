/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * ctnetlink: read the kernel's connection table and change single entries.
 *
 * Three sockets, so that no answer is ever mixed up with another: multicast
 * events, the dump that runs inside the loop, and requests that are answered
 * within the system call that sends them.
 */
#include "user/ctnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_compat.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include <libmnl/libmnl.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>

#include "user/ctmark.h"
#include "user/log.h"
#include "user/readahead.h"
#include "user/util.h"

#define EVENT_RCVBUF	(32 << 20) /* some 50 000 events; taken when they wait */
#define DUMP_RCVBUF	(1 << 20)
#define DUMP_LARGE	16u /* pieces, some 3000 entries: more are read ahead */
#define RECV_SIZE	FW_READAHEAD_SIZE
#define BATCH_SIZE	(16u << 10)
#define ANSWER_SIZE	(8u << 10)
#define MESSAGE_MAX	512u /* of those that we build */
#define SYNC_TIMEOUT_MS 10000
#define DUMP_ATTEMPTS	3

/* Where the next thing begins. */
static size_t align4(size_t len)
{
	return (len + 3) & ~(size_t)3;
}

struct fw_ctnl {
	struct mnl_socket *events;
	struct mnl_socket *dump;
	struct mnl_socket *control;
	uint32_t seq;
	uint32_t dump_seq;
	bool is_interrupted; /* a piece of the dump bore NLM_F_DUMP_INTR */
	unsigned int pieces; /* of the dump that have been read */
	int dump_ready;	     /* epoll: is there something to read of it? */
	struct fw_readahead *ahead; /* of a dump that turned out to be large */
	uint32_t batch_seq;	    /* of the first message queued */
	unsigned int batch_n;
	size_t batch_len;
	uint64_t batch_done; /* entries changed since the last report */
	int batch_error;     /* first one since the last report */
	uint8_t shift;	     /* our bits of a mark */
	char batch[BATCH_SIZE] __attribute__((aligned(8)));
	char answers[ANSWER_SIZE] __attribute__((aligned(8)));
	char buf[RECV_SIZE] __attribute__((aligned(8)));
};

/* ---- sockets ---------------------------------------------------------------- */

static int fd_of(const struct mnl_socket *socket)
{
	return mnl_socket_get_fd(socket);
}

/* More than net.core.rmem_max needs CAP_NET_ADMIN; what we get must do. */
static void size_buffer(int fd, int size)
{
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size,
				 sizeof(size));
}

static int open_socket(unsigned int groups, int rcvbuf, struct mnl_socket **ret)
{
	struct mnl_socket *socket;
	int one = 1;
	int r;

	socket = mnl_socket_open2(NETLINK_NETFILTER,
				  SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!socket)
		return -errno;
	if (mnl_socket_bind(socket, groups, MNL_SOCKET_AUTOPID) < 0) {
		r = -errno;
		(void)mnl_socket_close(socket);
		return r;
	}
	if (rcvbuf)
		size_buffer(fd_of(socket), rcvbuf);
	/* Both only make answers shorter or clearer. */
	(void)mnl_socket_setsockopt(socket, NETLINK_CAP_ACK, &one, sizeof(one));
	(void)mnl_socket_setsockopt(socket, NETLINK_EXT_ACK, &one, sizeof(one));
	*ret = socket;
	return 0;
}

static void close_socket(struct mnl_socket **socket)
{
	if (*socket)
		(void)mnl_socket_close(*socket);
	*socket = NULL;
}

/* One datagram: its length, 0 for one that the kernel did not send, or -errno. */
static ssize_t receive(int fd, void *buf, size_t size)
{
	struct iovec iov = { .iov_base = buf, .iov_len = size };
	struct sockaddr_nl from = { 0 };
	struct msghdr msg = { .msg_name = &from,
			      .msg_namelen = sizeof(from),
			      .msg_iov = &iov,
			      .msg_iovlen = 1 };
	ssize_t n;

	do
		n = recvmsg(fd, &msg, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (msg.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	if (msg.msg_namelen != sizeof(from) || from.nl_pid != 0)
		return 0;
	return n;
}

/* ---- where a dump is read --------------------------------------------------- */

static int watch(const struct fw_ctnl *ctnl, int op, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(ctnl->dump_ready, op, fd, &event) < 0 ? -errno : 0;
}

static int open_dump(struct fw_ctnl *ctnl)
{
	int r;

	ctnl->dump_ready = epoll_create1(EPOLL_CLOEXEC);
	if (ctnl->dump_ready < 0)
		return -errno;
	r = open_socket(0, DUMP_RCVBUF, &ctnl->dump);
	return r < 0 ? r : watch(ctnl, EPOLL_CTL_ADD, fd_of(ctnl->dump));
}

/* If it cannot be, this thread goes on reading. */
static void begin_to_read_ahead(struct fw_ctnl *ctnl)
{
	if (fw_readahead_begin(fd_of(ctnl->dump), receive, &ctnl->ahead) < 0)
		return;
	(void)watch(ctnl, EPOLL_CTL_DEL, fd_of(ctnl->dump));
	(void)watch(ctnl, EPOLL_CTL_ADD, fw_readahead_fd(ctnl->ahead));
}

static void read_no_more_ahead(struct fw_ctnl *ctnl)
{
	if (!ctnl->ahead)
		return;
	fw_readahead_end(take_ptr(ctnl->ahead));
	(void)watch(ctnl, EPOLL_CTL_ADD, fd_of(ctnl->dump));
}

static ssize_t read_piece(struct fw_ctnl *ctnl, const void **ret_buf)
{
	if (!ctnl->ahead && ctnl->pieces >= DUMP_LARGE)
		begin_to_read_ahead(ctnl);
	ctnl->pieces++;
	if (ctnl->ahead)
		return fw_readahead_take(ctnl->ahead, ret_buf);
	*ret_buf = ctnl->buf;
	return receive(fd_of(ctnl->dump), ctnl->buf, sizeof(ctnl->buf));
}

int fw_ctnl_new(struct fw_ctnl **ret, char **reterr)
{
	const unsigned int groups = NF_NETLINK_CONNTRACK_NEW |
				    NF_NETLINK_CONNTRACK_UPDATE |
				    NF_NETLINK_CONNTRACK_DESTROY;
	struct fw_ctnl *ctnl;
	int r;

	ctnl = calloc(1, sizeof(*ctnl));
	if (!ctnl)
		return -ENOMEM;
	ctnl->seq = (uint32_t)fw_now_ns();
	ctnl->shift = FW_MARK_SHIFT;
	ctnl->dump_ready = -1;
	r = open_socket(groups, EVENT_RCVBUF, &ctnl->events);
	if (r >= 0)
		r = open_dump(ctnl);
	if (r >= 0)
		r = open_socket(0, 0, &ctnl->control);
	if (r < 0) {
		fw_errorf(reterr,
			  "cannot open netlink to the connection table: %s",
			  strerror(-r));
		fw_ctnl_free(ctnl);
		return r;
	}
	*ret = ctnl;
	return 0;
}

void fw_ctnl_free(struct fw_ctnl *ctnl)
{
	if (!ctnl)
		return;
	fw_readahead_end(ctnl->ahead);
	close_socket(&ctnl->events);
	close_socket(&ctnl->dump);
	close_socket(&ctnl->control);
	fw_closep(&ctnl->dump_ready);
	free(ctnl);
}

void fw_ctnl_set_shift(struct fw_ctnl *ctnl, uint8_t shift)
{
	ctnl->shift = shift;
}

uint8_t fw_ctnl_shift(const struct fw_ctnl *ctnl)
{
	return ctnl->shift;
}

int fw_ctnl_event_fd(const struct fw_ctnl *ctnl)
{
	return fd_of(ctnl->events);
}

int fw_ctnl_dump_fd(const struct fw_ctnl *ctnl)
{
	return ctnl->dump_ready;
}

/* ---- messages ---------------------------------------------------------------- */

/*
 * True if `left` bytes hold the message. mnl_nlmsg_ok() compares as int, so
 * that a length of 2 GiB or more would pass.
 */
static bool is_complete(const struct nlmsghdr *nlh, size_t left)
{
	return left >= sizeof(*nlh) && nlh->nlmsg_len >= sizeof(*nlh) &&
	       nlh->nlmsg_len <= left;
}

/* The next message; the last one need not be padded. */
static const struct nlmsghdr *next_message(const struct nlmsghdr *nlh,
					   size_t *left)
{
	size_t len = align4(nlh->nlmsg_len);

	*left -= len < *left ? len : *left;
	return (const void *)((const char *)nlh + len);
}

/* Handles one message: 0 to go on, anything else ends the walk. */
typedef int (*message_fn)(void *data, const struct nlmsghdr *nlh);

/* Walks the messages of a datagram; -EBADMSG if it ends inside of one. */
static int walk(const void *buf, size_t len, message_fn fn, void *data)
{
	const struct nlmsghdr *nlh = buf;
	size_t left = len;
	int r;

	while (is_complete(nlh, left)) {
		r = fn(data, nlh);
		if (r)
			return r;
		nlh = next_message(nlh, &left);
	}
	return left ? -EBADMSG : 0;
}

static bool is_ct_message(const struct nlmsghdr *nlh, int type)
{
	return nlh->nlmsg_type == ((NFNL_SUBSYS_CTNETLINK << 8) | type);
}

/* The text that some errors carry, for somebody who hunts a problem. */
static void log_extack(const struct nlmsghdr *nlh, size_t off)
{
	const struct nlattr *attrs[NLMSGERR_ATTR_MAX + 1];
	const struct nlattr *text;

	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS) || nlh->nlmsg_len < off)
		return;
	fw_ctmsg_index((const char *)nlh + off, nlh->nlmsg_len - off, attrs,
		       ARRAY_SIZE(attrs));
	text = attrs[NLMSGERR_ATTR_MSG];
	if (text)
		log_debug("ctnetlink: %.*s",
			  (int)mnl_attr_get_payload_len(text),
			  (const char *)mnl_attr_get_payload(text));
}

/* The error of an NLMSG_ERROR or NLMSG_DONE; 0: it is an acknowledgement. */
static int error_of(const struct nlmsghdr *nlh)
{
	const struct nlmsgerr *err = mnl_nlmsg_get_payload(nlh);
	size_t off = sizeof(*nlh) + sizeof(*err);
	int error;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(error))
		return nlh->nlmsg_type == NLMSG_DONE ? 0 : -EBADMSG;
	memcpy(&error, err, sizeof(error));
	if (error >= 0)
		return 0;
	if (nlh->nlmsg_type == NLMSG_ERROR && nlh->nlmsg_len >= off) {
		/* Without NLM_F_CAPPED the request follows the head. */
		if (!(nlh->nlmsg_flags & NLM_F_CAPPED))
			off += align4(err->msg.nlmsg_len) - sizeof(*nlh);
		log_extack(nlh, off);
	}
	return error;
}

/* What has been read and not been told. */
struct reader {
	struct fw_ctnl *ctnl;
	fw_ctnl_fn fn;
	void *data;
	size_t n;
	enum fw_ct_msg msgs[FW_CTNL_BATCH];
	struct fw_ct cts[FW_CTNL_BATCH];
};

/* Its arrays are left as they are. */
static void reader_init(struct reader *reader, struct fw_ctnl *ctnl,
			fw_ctnl_fn fn, void *data)
{
	reader->ctnl = ctnl;
	reader->fn = fn;
	reader->data = data;
	reader->n = 0;
}

static void tell(struct reader *reader)
{
	if (reader->n)
		reader->fn(reader->data, reader->msgs, reader->cts, reader->n);
	reader->n = 0;
}

static void read_one(struct reader *reader, enum fw_ct_msg msg,
		     const struct nlmsghdr *nlh)
{
	struct fw_ct *ct = &reader->cts[reader->n];

	if (fw_ctnl_decode(nlh, ct) < 0)
		return;
	ct->mark = fw_mark_turn(ct->mark, reader->ctnl->shift);
	reader->msgs[reader->n++] = msg;
	if (reader->n == FW_CTNL_BATCH)
		tell(reader);
}

static int on_event(void *data, const struct nlmsghdr *nlh)
{
	struct reader *reader = data;
	enum fw_ct_msg msg;

	if (nlh->nlmsg_type == NLMSG_OVERRUN)
		return -ENOBUFS;
	if (is_ct_message(nlh, IPCTNL_MSG_CT_DELETE))
		msg = FW_CT_DESTROYED;
	else if (!is_ct_message(nlh, IPCTNL_MSG_CT_NEW))
		return 0;
	else if (nlh->nlmsg_flags & (NLM_F_CREATE | NLM_F_EXCL))
		msg = FW_CT_NEW;
	else
		msg = FW_CT_UPDATED;
	read_one(reader, msg, nlh);
	return 0;
}

/* Reads until nothing waits: as many datagrams, or a negative errno. */
static int read_events(struct reader *reader, unsigned int budget)
{
	struct fw_ctnl *ctnl = reader->ctnl;
	unsigned int i;
	ssize_t n;
	int r;

	for (i = 0; i < budget; i++) {
		n = receive(fd_of(ctnl->events), ctnl->buf, sizeof(ctnl->buf));
		if (n == -EAGAIN)
			break;
		if (n < 0)
			return (int)n;
		r = walk(ctnl->buf, (size_t)n, on_event, reader);
		if (r < 0)
			return r;
	}
	return (int)i;
}

int fw_ctnl_read_events(struct fw_ctnl *ctnl, unsigned int budget,
			fw_ctnl_fn fn, void *data)
{
	struct reader reader;
	int r;

	reader_init(&reader, ctnl, fn, data);
	r = read_events(&reader, budget);
	tell(&reader);
	return r;
}

/* ---- dumps -------------------------------------------------------------------- */

static struct nlmsghdr *put_head(struct fw_ctnl *ctnl, void *buf, int type,
				 unsigned int flags, uint8_t family)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg;

	nlh->nlmsg_type = (uint16_t)((NFNL_SUBSYS_CTNETLINK << 8) | type);
	nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	nlh->nlmsg_seq = ++ctnl->seq;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = family;
	nfg->version = NFNETLINK_V0;
	return nlh;
}

static int send_message(const struct mnl_socket *socket, const void *buf,
			size_t len)
{
	if (mnl_socket_sendto(socket, buf, len) < 0)
		return -errno;
	return 0;
}

int fw_ctnl_dump_start(struct fw_ctnl *ctnl)
{
	char buf[MESSAGE_MAX] __attribute__((aligned(8)));
	const struct nlmsghdr *nlh;

	nlh = put_head(ctnl, buf, IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC);
	ctnl->dump_seq = nlh->nlmsg_seq;
	ctnl->is_interrupted = false;
	ctnl->pieces = 0;
	return send_message(ctnl->dump, nlh, nlh->nlmsg_len);
}

/* What a dump has to say about itself: 0 to go on, 1 at its end, or -errno. */
static int dump_control(const struct mnl_socket *socket, uint32_t seq,
			const struct nlmsghdr *nlh, bool *is_interrupted)
{
	int r;

	if (nlh->nlmsg_type == NLMSG_OVERRUN)
		return -ENOBUFS;
	if (nlh->nlmsg_seq != seq ||
	    nlh->nlmsg_pid != mnl_socket_get_portid(socket))
		return 0;
	if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
		*is_interrupted = true;
	if (nlh->nlmsg_type == NLMSG_ERROR) {
		r = error_of(nlh);
		return r ? r : -EPROTO;
	}
	if (nlh->nlmsg_type == NLMSG_DONE) {
		r = error_of(nlh);
		if (r < 0)
			return r;
		return *is_interrupted ? -EINTR : 1;
	}
	return 0;
}

static int on_dumped(void *data, const struct nlmsghdr *nlh)
{
	struct reader *reader = data;
	struct fw_ctnl *ctnl = reader->ctnl;
	int r;

	r = dump_control(ctnl->dump, ctnl->dump_seq, nlh,
			 &ctnl->is_interrupted);
	if (r)
		return r;
	if (nlh->nlmsg_seq == ctnl->dump_seq &&
	    is_ct_message(nlh, IPCTNL_MSG_CT_NEW))
		read_one(reader, FW_CT_DUMPED, nlh);
	return 0;
}

static int read_dump(struct reader *reader, unsigned int budget)
{
	const void *piece;
	ssize_t n;
	int r = 0;

	for (unsigned int i = 0; i < budget && !r; i++) {
		n = read_piece(reader->ctnl, &piece);
		if (n < 0)
			return (int)n;
		r = walk(piece, (size_t)n, on_dumped, reader);
	}
	return r;
}

int fw_ctnl_dump_read(struct fw_ctnl *ctnl, unsigned int budget, fw_ctnl_fn fn,
		      void *data)
{
	struct reader reader;
	int r;

	reader_init(&reader, ctnl, fn, data);
	r = read_dump(&reader, budget);
	tell(&reader);
	if (r && r != -EAGAIN)
		read_no_more_ahead(ctnl);
	return r;
}

int fw_ctnl_dump_abort(struct fw_ctnl *ctnl)
{
	struct mnl_socket *socket = NULL;
	int r;

	/* Closing is the only way to make the kernel stop. */
	r = open_socket(0, DUMP_RCVBUF, &socket);
	if (r < 0)
		return r;
	read_no_more_ahead(ctnl);
	close_socket(&ctnl->dump);
	ctnl->dump = socket;
	return watch(ctnl, EPOLL_CTL_ADD, fd_of(socket));
}

/* A filtered dump on a socket of its own, read to its end at once. */
struct filtered {
	struct fw_ctnl *ctnl;
	struct mnl_socket *socket;
	uint32_t seq;
	uint32_t
		value; /* of the mark as the kernel has it, in the bits of `mask` */
	uint32_t mask;
	uint32_t any;	  /* instead: at least one of these bits */
	uint32_t other;	  /* what mark_one() makes of them */
	uint8_t from, to; /* of carry_one() */
	bool is_interrupted;
	int (*fn)(struct filtered *filtered, const struct nlmsghdr *nlh);
};

static int on_filtered(void *data, const struct nlmsghdr *nlh)
{
	struct filtered *filtered = data;
	int r;

	r = dump_control(filtered->socket, filtered->seq, nlh,
			 &filtered->is_interrupted);
	if (r)
		return r;
	if (nlh->nlmsg_seq == filtered->seq &&
	    is_ct_message(nlh, IPCTNL_MSG_CT_NEW) && filtered->fn)
		return filtered->fn(filtered, nlh);
	return 0;
}

/* Reads on to the end, which is never further than the kernel's work away. */
static int read_filtered(struct filtered *filtered)
{
	struct pollfd pfd = { .fd = fd_of(filtered->socket), .events = POLLIN };
	struct fw_ctnl *ctnl = filtered->ctnl;
	ssize_t n;
	int r;

	for (;;) {
		n = receive(fd_of(filtered->socket), ctnl->buf,
			    sizeof(ctnl->buf));
		if (n == -EAGAIN) {
			r = poll(&pfd, 1, SYNC_TIMEOUT_MS);
			if (r == 0)
				return -ETIMEDOUT;
			if (r < 0 && errno != EINTR)
				return -errno;
			continue;
		}
		if (n < 0)
			return (int)n;
		r = walk(ctnl->buf, (size_t)n, on_filtered, filtered);
		if (r)
			return r < 0 ? r : 0;
	}
}

static int dump_filtered(struct filtered *filtered)
{
	char buf[MESSAGE_MAX] __attribute__((aligned(8)));
	struct fw_ctnl *ctnl = filtered->ctnl;
	struct nlmsghdr *nlh;
	int r;

	r = open_socket(0, DUMP_RCVBUF, &filtered->socket);
	if (r < 0)
		return r;
	nlh = put_head(ctnl, buf, IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC);
	mnl_attr_put_u32(nlh, CTA_MARK, htonl(filtered->value));
	mnl_attr_put_u32(nlh, CTA_MARK_MASK, htonl(filtered->mask));
	filtered->seq = nlh->nlmsg_seq;
	filtered->is_interrupted = false;
	r = send_message(filtered->socket, nlh, nlh->nlmsg_len);
	if (r >= 0)
		r = read_filtered(filtered);
	close_socket(&filtered->socket);
	return r;
}

/* ---- changes ------------------------------------------------------------------- */

static void set_addrs(struct nf_conntrack *ct, const struct fw_tuple *tuple)
{
	if (tuple->family == FW_AF_IPV4) {
		nfct_set_attr_u8(ct, ATTR_L3PROTO, AF_INET);
		nfct_set_attr_u32(ct, ATTR_IPV4_SRC, tuple->saddr.w[3]);
		nfct_set_attr_u32(ct, ATTR_IPV4_DST, tuple->daddr.w[3]);
	} else {
		nfct_set_attr_u8(ct, ATTR_L3PROTO, AF_INET6);
		nfct_set_attr(ct, ATTR_IPV6_SRC, tuple->saddr.w);
		nfct_set_attr(ct, ATTR_IPV6_DST, tuple->daddr.w);
	}
}

static struct nf_conntrack *new_ct(const struct fw_tuple *tuple)
{
	struct nf_conntrack *ct = nfct_new();

	if (!ct)
		return NULL;
	set_addrs(ct, tuple);
	nfct_set_attr_u8(ct, ATTR_L4PROTO, tuple->proto);
	if (tuple->proto == IPPROTO_ICMP || tuple->proto == IPPROTO_ICMPV6) {
		nfct_set_attr_u8(ct, ATTR_ICMP_TYPE, tuple->icmp_type);
		nfct_set_attr_u8(ct, ATTR_ICMP_CODE, tuple->pad);
		nfct_set_attr_u16(ct, ATTR_ICMP_ID, tuple->sport);
	} else {
		nfct_set_attr_u16(ct, ATTR_PORT_SRC, tuple->sport);
		nfct_set_attr_u16(ct, ATTR_PORT_DST, tuple->dport);
	}
	return ct;
}

/* Without a tuple, a request to delete one entry would flush the whole table. */
static bool names_an_entry(const struct nlmsghdr *nlh)
{
	struct fw_ct ct;

	return fw_ctnl_decode(nlh, &ct) >= 0;
}

struct answers {
	const struct fw_ctnl *ctnl;
	uint32_t first_seq;
	int tolerated;
	int error; /* the first one that is not tolerated */
	unsigned int failed;
};

static int on_answer(void *data, const struct nlmsghdr *nlh)
{
	struct answers *answers = data;
	const struct fw_ctnl *ctnl = answers->ctnl;
	int r;

	if (nlh->nlmsg_type != NLMSG_ERROR ||
	    nlh->nlmsg_pid != mnl_socket_get_portid(ctnl->control) ||
	    nlh->nlmsg_seq - answers->first_seq >
		    ctnl->seq - answers->first_seq)
		return 0;
	r = error_of(nlh);
	answers->failed += r < 0;
	if (r < 0 && r != answers->tolerated && !answers->error)
		answers->error = r;
	return 0;
}

/* Takes the answers that wait: 0, or the first error that is not `tolerated`. */
static int take_answers(struct fw_ctnl *ctnl, uint32_t first_seq, int tolerated,
			unsigned int *ret_failed)
{
	struct answers answers = { .ctnl = ctnl,
				   .first_seq = first_seq,
				   .tolerated = tolerated };
	ssize_t n;
	int r;

	do {
		n = receive(fd_of(ctnl->control), ctnl->answers,
			    sizeof(ctnl->answers));
		r = n < 0 ? (int)n
			  : walk(ctnl->answers, (size_t)n, on_answer, &answers);
	} while (r >= 0);
	*ret_failed = answers.failed;
	return r == -EAGAIN ? answers.error : r;
}

/*
 * The kernel works the batch off while we send it and answers only what failed:
 * when the send returns all answers wait. A message without an answer is done.
 */
static void send_batch(struct fw_ctnl *ctnl)
{
	const unsigned int n = ctnl->batch_n;
	unsigned int failed = 0;
	int r;

	if (!n)
		return;
	r = send_message(ctnl->control, ctnl->batch, ctnl->batch_len);
	ctnl->batch_n = 0;
	ctnl->batch_len = 0;
	if (r >= 0) {
		r = take_answers(ctnl, ctnl->batch_seq, -ENOENT, &failed);
		ctnl->batch_done += failed < n ? n - failed : 0;
	}
	if (r < 0 && !ctnl->batch_error)
		ctnl->batch_error = r;
}

int fw_ctnl_flush(struct fw_ctnl *ctnl, uint64_t *ret_done)
{
	int r;

	send_batch(ctnl);
	if (ret_done)
		*ret_done += ctnl->batch_done;
	r = ctnl->batch_error;
	ctnl->batch_done = 0;
	ctnl->batch_error = 0;
	return r;
}

/* Starts the next message of the batch; there is room for MESSAGE_MAX bytes. */
static struct nlmsghdr *queue_head(struct fw_ctnl *ctnl, int type,
				   uint8_t family)
{
	struct nlmsghdr *nlh;

	if (ctnl->batch_len + MESSAGE_MAX > sizeof(ctnl->batch))
		send_batch(ctnl);
	nlh = put_head(ctnl, ctnl->batch + ctnl->batch_len, type, 0, family);
	if (!ctnl->batch_n)
		ctnl->batch_seq = nlh->nlmsg_seq;
	return nlh;
}

static void queue_add(struct fw_ctnl *ctnl, const struct nlmsghdr *nlh)
{
	ctnl->batch_len += align4(nlh->nlmsg_len);
	ctnl->batch_n++;
}

static uint8_t family_of(const struct fw_tuple *tuple)
{
	return tuple->family == FW_AF_IPV4 ? AF_INET : AF_INET6;
}

/* Queues a change of the entry that the attributes name; they are freed. */
static int queue_ct(struct fw_ctnl *ctnl, const struct fw_tuple *orig,
		    struct nf_conntrack *ct)
{
	struct nlmsghdr *nlh =
		queue_head(ctnl, IPCTNL_MSG_CT_NEW, family_of(orig));
	int r;

	r = nfct_nlmsg_build(nlh, ct);
	nfct_destroy(ct);
	if (r < 0 || !names_an_entry(nlh))
		return -EINVAL;
	queue_add(ctnl, nlh);
	return 0;
}

int fw_ctnl_queue_timeout(struct fw_ctnl *ctnl, const struct fw_tuple *orig,
			  uint32_t seconds)
{
	struct nf_conntrack *ct = new_ct(orig);

	if (!ct)
		return -ENOMEM;
	nfct_set_attr_u32(ct, ATTR_TIMEOUT, seconds);
	return queue_ct(ctnl, orig, ct);
}

int fw_ctnl_queue_tcp_state(struct fw_ctnl *ctnl, const struct fw_tuple *orig,
			    uint8_t state)
{
	struct nf_conntrack *ct = new_ct(orig);

	if (!ct)
		return -ENOMEM;
	nfct_set_attr_u8(ct, ATTR_TCP_STATE, state);
	nfct_set_attr_u8(ct, ATTR_TCP_FLAGS_ORIG, IP_CT_TCP_FLAG_BE_LIBERAL);
	nfct_set_attr_u8(ct, ATTR_TCP_MASK_ORIG, IP_CT_TCP_FLAG_BE_LIBERAL);
	nfct_set_attr_u8(ct, ATTR_TCP_FLAGS_REPL, IP_CT_TCP_FLAG_BE_LIBERAL);
	nfct_set_attr_u8(ct, ATTR_TCP_MASK_REPL, IP_CT_TCP_FLAG_BE_LIBERAL);
	return queue_ct(ctnl, orig, ct);
}

int fw_ctnl_delete(struct fw_ctnl *ctnl, const struct fw_tuple *orig,
		   uint32_t id)
{
	char buf[MESSAGE_MAX] __attribute__((aligned(8)));
	unsigned int failed = 0;
	struct nf_conntrack *ct;
	struct nlmsghdr *nlh;
	int r;

	ct = new_ct(orig);
	if (!ct)
		return -ENOMEM;
	nlh = put_head(ctnl, buf, IPCTNL_MSG_CT_DELETE, NLM_F_ACK,
		       family_of(orig));
	r = nfct_nlmsg_build(nlh, ct);
	nfct_destroy(ct);
	if (r < 0 || !names_an_entry(nlh))
		return -EINVAL;
	if (id)
		mnl_attr_put_u32(nlh, CTA_ID, htonl(id));
	r = send_message(ctnl->control, nlh, nlh->nlmsg_len);
	if (r < 0)
		return r;
	return take_answers(ctnl, nlh->nlmsg_seq, 0, &failed);
}

int fw_ctnl_queue_delete(struct fw_ctnl *ctnl, const struct fw_tuple *orig,
			 uint16_t zone, uint32_t id)
{
	struct nf_conntrack *ct;
	struct nlmsghdr *nlh;
	int r;

	ct = new_ct(orig);
	if (!ct)
		return -ENOMEM;
	nlh = queue_head(ctnl, IPCTNL_MSG_CT_DELETE, family_of(orig));
	r = nfct_nlmsg_build(nlh, ct);
	nfct_destroy(ct);
	if (r < 0 || !names_an_entry(nlh))
		return -EINVAL;
	if (zone)
		mnl_attr_put_u16(nlh, CTA_ZONE, htons(zone));
	if (id)
		mnl_attr_put_u32(nlh, CTA_ID, htonl(id));
	queue_add(ctnl, nlh);
	return 0;
}

static const struct nlattr *find_attr(const struct nlmsghdr *nlh, int type)
{
	const struct nlattr *cta[CTA_MAX + 1];

	if (nlh->nlmsg_len < FW_CTMSG_HEAD)
		return NULL;
	fw_ctmsg_index((const char *)nlh + FW_CTMSG_HEAD,
		       nlh->nlmsg_len - FW_CTMSG_HEAD, cta, ARRAY_SIZE(cta));
	return cta[type];
}

/* Names the entry with the attributes it was dumped with, whatever it is. */
static int copy_attr(struct nlmsghdr *to, const struct nlmsghdr *from, int type)
{
	const struct nlattr *attr = find_attr(from, type);

	if (!attr)
		return -ENOENT;
	if (!mnl_attr_put_check(to, MESSAGE_MAX - 64, attr->nla_type,
				mnl_attr_get_payload_len(attr),
				mnl_attr_get_payload(attr)))
		return -EMSGSIZE;
	return 0;
}

/* Queues a message about the entry of a dump, named as it was dumped. */
static struct nlmsghdr *queue_about(struct fw_ctnl *ctnl, int type,
				    const struct nlmsghdr *nlh)
{
	const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(nlh);
	struct nlmsghdr *message = queue_head(ctnl, type, nfg->nfgen_family);

	if (copy_attr(message, nlh, CTA_TUPLE_ORIG) < 0)
		return NULL;
	(void)copy_attr(message, nlh, CTA_ZONE);
	return message;
}

/* A kernel that does not know the filter sends everything. */
static bool is_wanted(const struct filtered *filtered,
		      const struct nlmsghdr *nlh)
{
	struct fw_ct ct;

	if (fw_ctnl_decode(nlh, &ct) < 0)
		return false;
	return filtered->any ? ct.mark & filtered->any
			     : (ct.mark & filtered->mask) == filtered->value;
}

/* Other bits of the mark than those of `mask` stay as they are. */
static void queue_mark(struct fw_ctnl *ctnl, const struct nlmsghdr *nlh,
		       uint32_t mark, uint32_t mask)
{
	struct nlmsghdr *update = queue_about(ctnl, IPCTNL_MSG_CT_NEW, nlh);

	if (!update)
		return;
	mnl_attr_put_u32(update, CTA_MARK, htonl(mark));
	mnl_attr_put_u32(update, CTA_MARK_MASK, htonl(mask));
	queue_add(ctnl, update);
}

static int mark_one(struct filtered *filtered, const struct nlmsghdr *nlh)
{
	if (is_wanted(filtered, nlh))
		queue_mark(filtered->ctnl, nlh, filtered->other,
			   filtered->any ? filtered->any : filtered->mask);
	return 0;
}

static int carry_one(struct filtered *filtered, const struct nlmsghdr *nlh)
{
	uint32_t mask = FW_MARK_HALF << filtered->from, half;
	struct fw_ct ct;

	if (!is_wanted(filtered, nlh) || fw_ctnl_decode(nlh, &ct) < 0)
		return 0;
	half = ct.mark >> filtered->from & FW_MARK_HALF;
	if (ct.mark >> filtered->to & FW_MARK_HALF)
		half = 0; /* it has been carried */
	else
		mask |= FW_MARK_HALF << filtered->to;
	queue_mark(filtered->ctnl, nlh, half << filtered->to, mask);
	return 0;
}

static int delete_one(struct filtered *filtered, const struct nlmsghdr *nlh)
{
	struct nlmsghdr *delete;

	if (!is_wanted(filtered, nlh))
		return 0;
	delete = queue_about(filtered->ctnl, IPCTNL_MSG_CT_DELETE, nlh);
	if (!delete || copy_attr(delete, nlh, CTA_ID) < 0)
		return 0;
	queue_add(filtered->ctnl, delete);
	return 0;
}

static int for_marks(struct filtered *filtered, uint64_t *ret_done)
{
	unsigned int i;
	int flushed;
	int r;

	for (i = 0; i < DUMP_ATTEMPTS; i++) {
		r = dump_filtered(filtered);
		flushed = fw_ctnl_flush(filtered->ctnl, ret_done);
		if (r != -EINTR)
			break;
	}
	return r < 0 ? r : flushed;
}

int fw_ctnl_set_mark(struct fw_ctnl *ctnl, uint32_t value, uint32_t mask,
		     uint32_t other, uint64_t *ret_done)
{
	struct filtered filtered = {
		.ctnl = ctnl,
		.value = fw_mark_turn_back(value & mask, ctnl->shift),
		.mask = fw_mark_turn_back(mask, ctnl->shift),
		.other = fw_mark_turn_back(other & mask, ctnl->shift),
		.fn = mark_one,
	};

	return for_marks(&filtered, ret_done);
}

int fw_ctnl_clear_marks(struct fw_ctnl *ctnl, uint32_t mask, uint64_t *ret_done)
{
	/* The kernel can only filter by a value: it sends everything. */
	struct filtered filtered = {
		.ctnl = ctnl,
		.any = fw_mark_turn_back(mask, ctnl->shift),
		.fn = mark_one,
	};

	return for_marks(&filtered, ret_done);
}

int fw_ctnl_claim_marks(struct fw_ctnl *ctnl, uint8_t shift, uint64_t *ret_done)
{
	struct filtered filtered = { .ctnl = ctnl,
				     .any = FW_MARK_HALF << shift,
				     .fn = mark_one };

	return for_marks(&filtered, ret_done);
}

int fw_ctnl_carry_marks(struct fw_ctnl *ctnl, uint8_t from, uint8_t to,
			uint64_t *ret_done)
{
	struct filtered filtered = { .ctnl = ctnl,
				     .any = FW_MARK_HALF << from,
				     .from = from,
				     .to = to,
				     .fn = carry_one };

	return for_marks(&filtered, ret_done);
}

int fw_ctnl_delete_mark(struct fw_ctnl *ctnl, uint32_t value, uint32_t mask,
			uint64_t *ret_done)
{
	struct filtered filtered = {
		.ctnl = ctnl,
		.value = fw_mark_turn_back(value & mask, ctnl->shift),
		.mask = fw_mark_turn_back(mask, ctnl->shift),
		.fn = delete_one,
	};

	return for_marks(&filtered, ret_done);
}

int fw_ctnl_reap(struct fw_ctnl *ctnl)
{
	/* No mark matches this, so that the kernel walks but sends nothing. */
	struct filtered filtered = { .ctnl = ctnl, .value = 1, .mask = 0 };

	return dump_filtered(&filtered);
}

/* SPDX-License-Identifier: GPL-2.0-only */

/* Asks netlink, reads what waits in a socket, or throws it away. */
#include "user/netlink.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define RECV_SIZE 32768

static int converse(struct mnl_socket *nl, const struct nlmsghdr *request,
		    mnl_cb_t fn, void *data)
{
	_Alignas(struct nlmsghdr) char buf[RECV_SIZE];
	size_t most = 0;
	ssize_t n;
	int r;

	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_sendto(nl, request, request->nlmsg_len) < 0)
		return -errno;
	do {
		do {
			n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		} while (n < 0 && errno == EINTR);
		if (n > 0 && (size_t)n > most)
			most = (size_t)n;
		r = n < 0 ? -1
			  : mnl_cb_run(buf, (size_t)n, 1,
				       mnl_socket_get_portid(nl), fn, data);
	} while (r > 0);
	r = r < 0 ? -errno : 0;
	explicit_bzero(buf, most); /* XFRM sends keys */
	return r;
}

int fw_netlink_ask(int bus, const struct nlmsghdr *request, mnl_cb_t fn,
		   void *data)
{
	struct mnl_socket *nl;
	int r;

	nl = mnl_socket_open2(bus, SOCK_CLOEXEC);
	if (!nl)
		return -errno;
	r = converse(nl, request, fn, data);
	(void)mnl_socket_close(nl);
	return r;
}

int fw_netlink_drain(struct mnl_socket *nl, mnl_cb_t fn, void *data)
{
	_Alignas(struct nlmsghdr) char buf[RECV_SIZE];
	ssize_t n;
	int r = 0;

	for (;;) {
		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (mnl_cb_run(buf, (size_t)n, 0, 0, fn, data) < 0)
			r = -errno;
		explicit_bzero(buf, (size_t)n); /* XFRM sends keys */
		if (r < 0)
			return r;
	}
}

void fw_netlink_discard(struct mnl_socket *nl)
{
	char buf[64];
	ssize_t n;

	do {
		n = recv(mnl_socket_get_fd(nl), buf, sizeof(buf), 0);
	} while (n >= 0 || errno == ENOBUFS || errno == EINTR);
}

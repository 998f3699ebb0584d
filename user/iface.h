/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What rtnetlink says of this network namespace: its interfaces, and its own
 * addresses, of which the programs have a table.
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fw_hosttab;
struct fw_ifaces;
struct fw_loop;

struct fw_link {
	uint32_t ifindex;
	uint32_t parent;     /* of a VLAN device; 0: none in this namespace */
	uint16_t vlan;	     /* VID of a VLAN device */
	uint16_t vlan_proto; /* its EtherType, in network order */
	bool vlan_qos;	     /* it gives packets priorities (egress-qos-map) */
	uint32_t bond;	     /* whose slave it is; 0: of none */
	bool is_port;	     /* of a bridge or the like; its master forwards */
	bool is_virtual; /* has a kind (veth, bridge, ...) or is the loopback */
	bool is_ipsec;	 /* it encrypts all that leaves by it, or drops that */
	bool is_up;
	uint32_t mtu;
	uint32_t xdp_id; /* XDP program there, whoever's; 0: none */
	uint8_t mac[6];	 /* of Ethernet; 0: it has no such address */
	char name[IF_NAMESIZE];
};

struct fw_ifaces_ops {
	/* The interface is gone; its number may soon belong to another one. */
	void (*gone)(void *data, uint32_t ifindex);
	/* Some struct fw_link is another now; once after a batch of messages. */
	void (*changed)(void *data);
};

/**
 * @brief Read interfaces and addresses, then watch both.
 *
 * The own addresses are in the map when this returns; stale ones are not.
 *
 * @param tables  where own addresses go, borrowed
 * @param ops        called from the loop and from fw_ifaces_sync()
 */
int fw_ifaces_new(struct fw_loop *loop, struct fw_hosttab *tables,
		  const struct fw_ifaces_ops *ops, void *data,
		  struct fw_ifaces **ret, char **reterr);
void fw_ifaces_free(struct fw_ifaces *ifaces);

/** @brief Work off what the kernel has told us so far, now. */
int fw_ifaces_sync(struct fw_ifaces *ifaces);

/** @brief An interface, borrowed until the next message; NULL: none. */
const struct fw_link *fw_ifaces_by_name(const struct fw_ifaces *ifaces,
					const char *name);
const struct fw_link *fw_ifaces_by_index(const struct fw_ifaces *ifaces,
					 uint32_t ifindex);

/** @brief The i-th interface, borrowed like the others; NULL: no more. */
const struct fw_link *fw_ifaces_at(const struct fw_ifaces *ifaces, size_t i);

/** @brief Number of own addresses in the map, broadcast addresses left out. */
size_t fw_ifaces_self_count(const struct fw_ifaces *ifaces);

/** @brief Ask the kernel about one interface; -ENODEV if there is none. */
int fw_link_query(uint32_t ifindex, struct fw_link *ret);

/** @brief 1 if some filter hangs on the interface's clsact qdisc, 0 if none. */
int fw_link_has_filters(uint32_t ifindex);

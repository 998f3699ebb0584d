/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The oracle: what the rules say of a packet, as plainly as it can be written.
 * The classifiers of kern/ are held against it.
 */
#include <arpa/inet.h>

#include "ir.h"
#include "ranges.h"

/* Host byte order; IPv4 in the low 32 bits. */
static struct fw_u128 address_of(const struct fw_addr *addr, uint8_t family)
{
	struct fw_u128 value = { .lo = ntohl(addr->w[3]) };

	if (family == FW_AF_IPV6) {
		value.lo |= (uint64_t)ntohl(addr->w[2]) << 32;
		value.hi =
			(uint64_t)ntohl(addr->w[0]) << 32 | ntohl(addr->w[1]);
	}
	return value;
}

static bool match_zones(uint64_t wanted, uint64_t zones, bool is_negated)
{
	return !wanted || ((wanted & zones) != 0) != is_negated;
}

static bool match_proto(const struct fw_ir_row *row, uint8_t proto)
{
	const uint64_t *p = row->protos;

	if (!(p[0] | p[1] | p[2] | p[3]))
		return true;
	return p[proto / 64] >> (proto % 64) & 1;
}

static bool match_address(const struct fw_program *program, int32_t set,
			  const struct fw_addr *addr, uint8_t family,
			  bool is_self, bool is_negated)
{
	const struct fw_ir_set *s;
	bool is_member;

	if (set < 0)
		return true;
	s = &program->sets[set];
	is_member = fw_ranges_has(family == FW_AF_IPV4 ? &s->v4 : &s->v6,
				  address_of(addr, family));
	is_member |= s->has_self && is_self;
	return is_member != is_negated;
}

static bool match_number(const struct fw_program *program, int32_t set,
			 uint16_t number, bool is_negated)
{
	const struct fw_ranges *ranges;

	if (set < 0)
		return true;
	ranges = &program->sets[set].port;
	return fw_ranges_has(ranges, (struct fw_u128){ .lo = number }) !=
	       is_negated;
}

/* A packet without ports matches no port term, negated or not. */
static bool match_ports(const struct fw_program *program,
			const struct fw_ir_row *row, const struct fw_key *key)
{
	if (row->l4a < 0 && row->l4b < 0)
		return true;
	return (key->flags & FW_KEY_PORTS) &&
	       match_number(program, row->l4a, key->sport,
			    row->flags & FW_ROW_NOT_SPORT) &&
	       match_number(program, row->l4b, key->dport,
			    row->flags & FW_ROW_NOT_DPORT);
}

static bool match_icmp(const struct fw_program *program,
		       const struct fw_ir_row *row, const struct fw_key *key)
{
	return (key->flags & FW_KEY_ICMP) &&
	       match_number(program,
			    key->family == FW_AF_IPV4 ? row->l4a : row->l4b,
			    key->icmp, false);
}

/* Everything but IPsec and the interface that the packet leaves by. */
static bool match_row(const struct fw_program *program,
		      const struct fw_ir_row *row, const struct fw_key *key)
{
	uint8_t family =
		key->family == FW_AF_IPV4 ? FW_FAMILY_IPV4 : FW_FAMILY_IPV6;

	return (row->dirs >> key->dir & 1) && (row->families & family) &&
	       match_zones(row->in_zones, key->in_zones,
			   row->flags & FW_ROW_NOT_IN) &&
	       match_proto(row, key->proto) &&
	       match_address(program, row->src, &key->saddr, key->family,
			     key->flags & FW_KEY_SRC_SELF,
			     row->flags & FW_ROW_NOT_SRC) &&
	       match_address(program, row->dst, &key->daddr, key->family,
			     key->flags & FW_KEY_DST_SELF,
			     row->flags & FW_ROW_NOT_DST) &&
	       (row->flags & FW_ROW_ICMP ? match_icmp(program, row, key)
					 : match_ports(program, row, key));
}

/* What a packet is to a row that asks for IPsec; to others it agrees. */
enum ipsec {
	IPSEC_AGREES,
	IPSEC_DIFFERS,
	IPSEC_UNKNOWN,
};

static enum ipsec match_ipsec(const struct fw_ir_row *row,
			      const struct fw_key *key)
{
	bool is_protected = key->flags & FW_KEY_IPSEC;

	if (!(row->flags & (FW_ROW_IPSEC | FW_ROW_NOT_IPSEC)))
		return IPSEC_AGREES;
	if (key->flags & FW_KEY_IPSEC_UNKNOWN)
		return IPSEC_UNKNOWN;
	if (row->flags & FW_ROW_NOT_IPSEC)
		return is_protected ? IPSEC_DIFFERS : IPSEC_AGREES;
	if (!is_protected || (row->reqid && row->reqid != key->reqid))
		return IPSEC_DIFFERS;
	return IPSEC_AGREES;
}

static void decide(const struct fw_ir_row *row, uint32_t number,
		   enum ipsec ipsec, struct fw_result *ret)
{
	ret->rule = number;
	ret->verdict = row->verdict;
	ret->flags |= fw_row_result_flags(row);
	ret->names_reqid = row->reqid != 0;
	if (ipsec == IPSEC_AGREES)
		return;
	/* It is a promise, and would be broken. */
	ret->verdict = FW_DROP;
	ret->flags |= FW_RESULT_CLEAR;
	ret->names_reqid = 0;
}

static void decide_default(const struct fw_program *program,
			   const struct fw_key *key, struct fw_result *ret)
{
	ret->rule = FW_RULE_DEFAULT + key->dir;
	ret->verdict = program->default_verdict[key->dir];
	ret->flags |= FW_RESULT_DEFAULT;
	if (ret->verdict != FW_ACCEPT && (key->flags & FW_KEY_ESSENTIAL)) {
		ret->verdict = FW_ACCEPT;
		ret->flags |= FW_RESULT_ESSENTIAL;
	} else {
		ret->flags |= fw_program_default_flags(program,
						       (enum fw_dir)key->dir);
	}
}

void fw_interpret(const struct fw_program *program, const struct fw_key *key,
		  bool stateless, struct fw_result *ret)
{
	size_t i;

	*ret = (struct fw_result){ .rule = FW_RULE_NONE, .verdict = FW_ACCEPT };
	for (i = 0; i < program->n_rows; i++) {
		const struct fw_ir_row *row = &program->rows[i];
		enum ipsec ipsec = match_ipsec(row, key);
		bool decides = ipsec == IPSEC_AGREES || fw_row_promises(row);

		if (!(row->flags & FW_ROW_STATELESS) == stateless ||
		    (key->flags & FW_KEY_ESSENTIAL && fw_row_spares(row)) ||
		    !match_row(program, row, key) ||
		    (!decides && ipsec == IPSEC_DIFFERS))
			continue;
		if (ipsec == IPSEC_UNKNOWN)
			ret->flags |= FW_RESULT_MAYBE;
		if (row->out_zones) {
			ret->flags |= FW_RESULT_MAYBE;
			if ((key->flags & FW_KEY_OUT_UNKNOWN) ||
			    !match_zones(row->out_zones, key->out_zones,
					 row->flags & FW_ROW_NOT_OUT))
				continue;
		}
		if (!decides)
			continue;
		decide(row, (uint32_t)i, ipsec, ret);
		return;
	}
	if (!stateless)
		decide_default(program, key, ret);
}

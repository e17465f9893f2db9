/* The helper's own checks, rule by rule. Fails closed: what no rule allows is refused. Pure. */
#include "pinhole/limits_capture.h"

#include <netinet/in.h>
#include <string.h>

const char *limits_text(enum limits_verdict verdict)
{
	static const char *const texts[LIMITS_VERDICTS] = {
		[LIMITS_OK] = "allowed",
		[LIMITS_SEALED] = "the limits are sealed",
		[LIMITS_FULL] = "too many own addresses",
		[LIMITS_OWN_KIND] = "an own address is not a host's",
		[LIMITS_OWN_PORTS] = "an own address has no range of ports",
		[LIMITS_SEAL_VALUES] = "a count or a lifetime of the seal is out of bounds",
		[LIMITS_NO_OWN] = "no own address",
		[LIMITS_CAPTURES_FULL] = "too many captures",
		[LIMITS_CAPTURE_REALM] = "a capture's realm has no address",
		[LIMITS_CAPTURE_SERVERS] = "a capture's servers are no hosts of a network",
		[LIMITS_CAPTURE_TO] = "a capture leads elsewhere than to a port from 1024 on loopback",
		[LIMITS_NOT_SEALED] = "the limits are not sealed",
		[LIMITS_LISTEN_ADDRESS] = "the listening address is not the realm's",
		[LIMITS_LISTEN_PORT] = "the listening port is outside the realm's media ports",
		[LIMITS_FROM_ADDRESS] = "the sending address is not the realm's",
		[LIMITS_FROM_PORT] = "the sending port is outside the realm's media ports",
		[LIMITS_FAMILIES] = "address families differ",
		[LIMITS_NO_TARGET] = "no target",
		[LIMITS_PEER_OWN] = "a peer's address is the gateway's own",
		[LIMITS_PEER_UNSPECIFIED] = "a peer's address is unspecified",
		[LIMITS_PEER_LOOPBACK] = "a peer's address is on loopback",
		[LIMITS_PEER_LINK_LOCAL] = "a peer's address is link-local",
		[LIMITS_PEER_MULTICAST] = "a peer's address is multicast",
		[LIMITS_PEER_BROADCAST] = "a peer's address is broadcast or reserved",
		[LIMITS_PEER_PORT] = "a peer's port is below the floor",
		[LIMITS_RATE] = "no rate limit, or one out of bounds",
		[LIMITS_LIFETIME] = "the lifetime is out of bounds",
		[LIMITS_RTP] = "RTP payload types, clock and protocol do not fit together",
		[LIMITS_FLAGS] = "flags do not fit the protocol",
		[LIMITS_NO_SOURCE] = "a pinhole between hosts that address each other needs its source",
		[LIMITS_NO_CAPTURE] = "no capture between these realms has a server at either end",
		[LIMITS_TARGET_ADDRESS] = "the target is no address of its realms",
		[LIMITS_TARGET_PORT] = "the target's port is outside the realm's media ports",
		[LIMITS_SOCKET_ADDRESS] = "a socket's address is not the realm's",
		[LIMITS_SOCKET_PORT] = "a socket's port is not listed",
		[LIMITS_SOCKET_TRANSPARENT] = "transparent sockets are not allowed",
		[LIMITS_TABLE_FULL] = "the table of pinholes is full",
		[LIMITS_TWICE] = "twice in a batch",
		[LIMITS_OTHER_ID] = "the id is in use with other addresses",
		[LIMITS_OTHER_FLOW] = "another pinhole has this source and listening port",
	};

	return texts[verdict];
}

enum addr_kind limits_kind(const struct wire_addr *wire)
{
	struct addr addr = wire_addr_get(wire);

	return addr_kind(&addr);
}

static bool is_same_ip(const struct wire_addr *a, const struct wire_addr *b)
{
	return a->family == b->family && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

enum limits_verdict limits_add(struct limits *limits, const struct wire_limit *own)
{
	enum addr_kind kind = limits_kind(&own->addr);

	if (limits->is_sealed)
		return LIMITS_SEALED;
	if (limits->n_own == WIRE_OWN_MAX)
		return LIMITS_FULL;
	if (own->addr.family == 0 || (kind != ADDR_UNICAST && kind != ADDR_LOOPBACK && kind != ADDR_LINK_LOCAL))
		return LIMITS_OWN_KIND;
	if (own->port_min < 1024 || own->port_min > own->port_max)
		return LIMITS_OWN_PORTS;
	limits->own[limits->n_own++] = *own;
	return LIMITS_OK;
}

enum limits_verdict limits_seal(struct limits *limits, const struct wire_seal *seal)
{
	if (limits->is_sealed)
		return LIMITS_SEALED;
	if (limits->n_own == 0)
		return LIMITS_NO_OWN;
	if (seal->pinholes_max == 0 || seal->pinholes_max > LIMITS_PINHOLES_MAX || seal->lifetime_max_s == 0 ||
	    seal->lifetime_max_s > LIMITS_LIFETIME_MAX_S || seal->port_floor == 0)
		return LIMITS_SEAL_VALUES;
	limits->seal = *seal;
	limits->is_sealed = true;
	return LIMITS_OK;
}

enum limits_verdict limits_check_own(const struct limits *limits, const struct wire_addr *addr, uint16_t realm,
				     enum limits_verdict bad_address, enum limits_verdict bad_port)
{
	enum limits_verdict verdict = bad_address;

	for (unsigned i = 0; i < limits->n_own; i++) {
		const struct wire_limit *own = &limits->own[i];

		if (own->realm != realm || !is_same_ip(&own->addr, addr))
			continue;
		if (addr->port >= own->port_min && addr->port <= own->port_max)
			return LIMITS_OK;
		verdict = bad_port;
	}
	return verdict;
}

bool limits_is_own(const struct limits *limits, const struct wire_addr *addr)
{
	for (unsigned i = 0; i < limits->n_own; i++)
		if (is_same_ip(&limits->own[i].addr, addr))
			return true;
	return false;
}

enum limits_verdict limits_host_kind(const struct wire_addr *host)
{
	switch (limits_kind(host)) {
	case ADDR_UNICAST:
		return LIMITS_OK;
	case ADDR_LOOPBACK:
		return LIMITS_PEER_LOOPBACK;
	case ADDR_LINK_LOCAL:
		return LIMITS_PEER_LINK_LOCAL;
	case ADDR_MULTICAST:
		return LIMITS_PEER_MULTICAST;
	case ADDR_UNSPECIFIED:
		return LIMITS_PEER_UNSPECIFIED;
	case ADDR_BROADCAST:
		break;
	}
	return LIMITS_PEER_BROADCAST;
}

/* What kind of host a peer may be, seen from the own address that faces it. */
static enum limits_verdict check_kind(const struct limits *limits, const struct wire_addr *peer, const struct wire_addr *own)
{
	enum limits_verdict verdict = limits_host_kind(peer);

	if (verdict == LIMITS_PEER_LOOPBACK && limits->seal.may_reach_loopback && limits_kind(own) == ADDR_LOOPBACK)
		return LIMITS_OK;
	if (verdict == LIMITS_PEER_LINK_LOCAL && limits_kind(own) == ADDR_LINK_LOCAL)
		return LIMITS_OK;
	return verdict;
}

static enum limits_verdict check_peer(const struct limits *limits, const struct wire_addr *peer, const struct wire_addr *own)
{
	if (peer->family != own->family)
		return LIMITS_FAMILIES;
	if (limits_is_own(limits, peer))
		return LIMITS_PEER_OWN;
	if (peer->port != 0 && peer->port < limits->seal.port_floor)
		return LIMITS_PEER_PORT;
	return check_kind(limits, peer, own);
}

static enum limits_verdict check_ends(const struct limits *limits, const struct wire_pinhole *pinhole)
{
	enum limits_verdict verdict;

	verdict = limits_check_own(limits, &pinhole->listen, pinhole->realm_in, LIMITS_LISTEN_ADDRESS, LIMITS_LISTEN_PORT);
	if (verdict == LIMITS_OK)
		verdict = limits_check_own(limits, &pinhole->from, pinhole->realm_out, LIMITS_FROM_ADDRESS, LIMITS_FROM_PORT);
	if (verdict != LIMITS_OK)
		return verdict;
	if (pinhole->listen.family != pinhole->from.family)
		return LIMITS_FAMILIES;
	if (pinhole->target.family == 0 || pinhole->target.port == 0)
		return LIMITS_NO_TARGET;
	verdict = check_peer(limits, &pinhole->target, &pinhole->from);
	if (verdict != LIMITS_OK)
		return verdict;
	if (pinhole->source.family == 0) /* any host: its port may still be given */
		return pinhole->source.port == 0 || pinhole->source.port >= limits->seal.port_floor ? LIMITS_OK : LIMITS_PEER_PORT;
	return check_peer(limits, &pinhole->source, &pinhole->listen);
}

/* Where RTCP shares the port (RFC 5761), its packets would look like the payload types 72 to 76, and it must reach the socket. */
static bool has_rtcp(const uint64_t payloads[2])
{
	return (payloads[1] & UINT64_C(0x1f) << (72 - 64)) != 0;
}

static enum limits_verdict check_flags(const struct wire_pinhole *pinhole)
{
	bool is_rtp = pinhole->flags & WIRE_RTP;
	bool has_payloads = pinhole->payloads[0] != 0 || pinhole->payloads[1] != 0;

	if ((pinhole->flags & WIRE_ONE_SHOT) && pinhole->proto != IPPROTO_TCP)
		return LIMITS_FLAGS;
	if ((pinhole->flags & WIRE_HANDED_OVER) && pinhole->proto != IPPROTO_UDP)
		return LIMITS_FLAGS;
	if (is_rtp != has_payloads || (is_rtp && pinhole->proto != IPPROTO_UDP) || has_rtcp(pinhole->payloads))
		return LIMITS_RTP;
	if (pinhole->clock_hz > LIMITS_CLOCK_MAX_HZ || (!is_rtp && pinhole->clock_hz != 0))
		return LIMITS_RTP;
	return LIMITS_OK;
}

enum limits_verdict limits_pinhole(const struct limits *limits, const struct wire_pinhole *pinhole)
{
	enum limits_verdict verdict;

	if (!limits->is_sealed)
		return LIMITS_NOT_SEALED;
	verdict = pinhole->flags & WIRE_FOREIGN ? limits_foreign_ends(limits, pinhole) : check_ends(limits, pinhole);
	if (verdict != LIMITS_OK)
		return verdict;
	if (pinhole->packets_per_s == 0 || pinhole->packets_per_s > LIMITS_PACKETS_MAX || pinhole->bytes_per_s == 0 ||
	    pinhole->bytes_per_s > LIMITS_BYTES_MAX)
		return LIMITS_RATE;
	if (pinhole->lifetime_s == 0 || pinhole->lifetime_s > limits->seal.lifetime_max_s)
		return LIMITS_LIFETIME;
	return check_flags(pinhole);
}

static bool is_low_port(const struct limits *limits, uint16_t port)
{
	for (unsigned i = 0; i < WIRE_LOW_PORTS_MAX && port != 0; i++)
		if (limits->seal.low_ports[i] == port)
			return true;
	return false;
}

static bool is_own_of(const struct limits *limits, const struct wire_addr *addr, uint16_t realm)
{
	for (unsigned i = 0; i < limits->n_own; i++)
		if (limits->own[i].realm == realm && is_same_ip(&limits->own[i].addr, addr))
			return true;
	return false;
}

enum limits_verdict limits_socket(const struct limits *limits, const struct wire_socket_request *request)
{
	if (!limits->is_sealed)
		return LIMITS_NOT_SEALED;
	if (request->is_transparent && !limits->seal.may_be_transparent)
		return LIMITS_SOCKET_TRANSPARENT;
	if (request->is_transparent)
		return limits_transparent_socket(limits, request);
	if (!is_own_of(limits, &request->addr, request->realm))
		return LIMITS_SOCKET_ADDRESS;
	return is_low_port(limits, request->addr.port) ? LIMITS_OK : LIMITS_SOCKET_PORT; /* others need no privilege */
}

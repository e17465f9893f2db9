/* Captures: control channels that are taken over, and what may be done in the name of others because of them. A pinhole between two
 * hosts that address each other needs a capture between its realms, and one of the two hosts among its servers. A socket with
 * a foreign address stands for a client towards servers, or for a server towards clients. */
#include "pinhole/limits_capture.h"

#include <netinet/in.h>

static bool is_realm(const struct limits *limits, uint16_t realm)
{
	for (unsigned i = 0; i < limits->n_own; i++)
		if (limits->own[i].realm == realm)
			return true;
	return false;
}

/* All hosts there are is fine, too: multicast and the machine itself are never captured. */
static bool is_network(const struct wire_capture *capture)
{
	enum addr_kind kind = limits_kind(&capture->servers);

	return kind == ADDR_UNICAST || (kind == ADDR_UNSPECIFIED && capture->bits < 8);
}

enum limits_verdict limits_add_capture(struct limits *limits, const struct wire_capture *capture)
{
	if (limits->is_sealed)
		return LIMITS_SEALED;
	if (limits->n_captures == WIRE_CAPTURES_MAX)
		return LIMITS_CAPTURES_FULL;
	if (!is_realm(limits, capture->realm) || !is_realm(limits, capture->realm_to))
		return LIMITS_CAPTURE_REALM;
	if (!is_network(capture))
		return LIMITS_CAPTURE_SERVERS;
	if (limits_kind(&capture->to) != ADDR_LOOPBACK || capture->to.port < 1024)
		return LIMITS_CAPTURE_TO;
	limits->captures[limits->n_captures++] = *capture;
	return LIMITS_OK;
}

/* Some other host, reached by its own address. port_min 0: any port, 0 included. */
static enum limits_verdict check_host(const struct limits *limits, const struct wire_addr *host, uint16_t port_min)
{
	enum limits_verdict verdict = limits_is_own(limits, host) ? LIMITS_PEER_OWN : limits_host_kind(host);

	return verdict == LIMITS_OK && host->port < port_min ? LIMITS_PEER_PORT : verdict;
}

static enum limits_verdict check_source(const struct limits *limits, const struct wire_addr *source)
{
	if (source->family == 0)
		return LIMITS_NO_SOURCE;
	return check_host(limits, source, source->port != 0 ? limits->seal.port_floor : 0);
}

/* A socket of the gateway, on either side. */
static enum limits_verdict check_self(const struct limits *limits, const struct wire_pinhole *pinhole)
{
	enum limits_verdict verdict = limits_check_own(limits, &pinhole->target, pinhole->realm_in, LIMITS_TARGET_ADDRESS,
						       LIMITS_TARGET_PORT);

	if (verdict == LIMITS_TARGET_ADDRESS)
		verdict = limits_check_own(limits, &pinhole->target, pinhole->realm_out, LIMITS_TARGET_ADDRESS, LIMITS_TARGET_PORT);
	return verdict;
}

static bool is_listen_foreign(const struct wire_pinhole *pinhole)
{
	return pinhole->flags & (WIRE_THROUGH | WIRE_TO_SELF);
}

static enum limits_verdict check_each_end(const struct limits *limits, const struct wire_pinhole *pinhole)
{
	const uint16_t floor = limits->seal.port_floor;
	enum limits_verdict verdict = check_source(limits, &pinhole->source);

	if (verdict == LIMITS_OK && is_listen_foreign(pinhole))
		verdict = check_host(limits, &pinhole->listen, floor);
	else if (verdict == LIMITS_OK)
		verdict = limits_check_own(limits, &pinhole->listen, pinhole->realm_in, LIMITS_LISTEN_ADDRESS, LIMITS_LISTEN_PORT);
	if (verdict == LIMITS_OK && (pinhole->flags & WIRE_TO_SELF))
		verdict = check_self(limits, pinhole);
	else if (verdict == LIMITS_OK)
		verdict = check_host(limits, &pinhole->target, floor);
	if (verdict == LIMITS_OK && !(pinhole->flags & (WIRE_AS_SOURCE | WIRE_TO_SELF)))
		verdict = limits_check_own(limits, &pinhole->from, pinhole->realm_out, LIMITS_FROM_ADDRESS, LIMITS_FROM_PORT);
	return verdict;
}

static bool has_one_family(const struct wire_pinhole *pinhole)
{
	const uint8_t family = pinhole->source.family;

	return pinhole->listen.family == family && pinhole->target.family == family &&
	       (pinhole->from.family == family || (pinhole->flags & (WIRE_AS_SOURCE | WIRE_TO_SELF)));
}

/* A client goes to a server, or a server to a client. */
static bool is_captured(const struct wire_capture *capture, const struct wire_pinhole *pinhole)
{
	const struct wire_addr *listener = is_listen_foreign(pinhole) ? &pinhole->listen : &pinhole->target;

	if (pinhole->realm_in == capture->realm && pinhole->realm_out == capture->realm_to && wire_capture_has(capture, listener))
		return true;
	return pinhole->realm_in == capture->realm_to && pinhole->realm_out == capture->realm &&
	       wire_capture_has(capture, &pinhole->source);
}

enum limits_verdict limits_foreign_ends(const struct limits *limits, const struct wire_pinhole *pinhole)
{
	enum limits_verdict verdict = check_each_end(limits, pinhole);

	if (verdict != LIMITS_OK)
		return verdict;
	if (!has_one_family(pinhole))
		return LIMITS_FAMILIES;
	/* What a socket of ours sends by UDP from a media port is not tracked, so the translation would go one way only. */
	if ((pinhole->flags & (WIRE_RTP | WIRE_HANDED_OVER)) || ((pinhole->flags & WIRE_TO_SELF) && pinhole->proto != IPPROTO_TCP))
		return LIMITS_FLAGS;
	for (unsigned i = 0; i < limits->n_captures; i++)
		if (is_captured(&limits->captures[i], pinhole))
			return LIMITS_OK;
	return LIMITS_NO_CAPTURE;
}

static bool is_captured_port(const struct wire_capture *capture, uint16_t port)
{
	for (unsigned i = 0; i < WIRE_CAPTURE_PORTS_MAX && port != 0; i++)
		if (capture->ports[i] == port)
			return true;
	return false;
}

/* Where what was taken over arrives. */
static bool is_end_of_capture(const struct wire_capture *capture, const struct wire_socket_request *request)
{
	return !request->is_connecting && request->realm == capture->realm && wire_addr_eq(&request->addr, &capture->to);
}

/* In the name of a client; or, with datagrams, in the name of a server. (A stream that was taken over has the server's address by
 * itself.) */
static bool is_stand_in(const struct limits *limits, const struct wire_capture *capture, const struct wire_socket_request *request)
{
	const uint16_t port = request->addr.port, floor = limits->seal.port_floor;

	if (!request->is_connecting || limits_is_own(limits, &request->addr) || limits_kind(&request->addr) != ADDR_UNICAST)
		return false;
	if (capture->is_as_client && request->realm == capture->realm_to && request->addr.family == capture->servers.family &&
	    (port == 0 || port >= floor))
		return true;
	return request->proto == IPPROTO_UDP && request->realm == capture->realm && wire_capture_has(capture, &request->addr) &&
	       (port >= floor || is_captured_port(capture, port));
}

enum limits_verdict limits_transparent_socket(const struct limits *limits, const struct wire_socket_request *request)
{
	for (unsigned i = 0; i < limits->n_captures; i++) {
		const struct wire_capture *capture = &limits->captures[i];

		if (request->proto == capture->proto &&
		    (is_end_of_capture(capture, request) || is_stand_in(limits, capture, request)))
			return LIMITS_OK;
	}
	return LIMITS_SOCKET_ADDRESS;
}

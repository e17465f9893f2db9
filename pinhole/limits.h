/* What the helper will never do, whatever it is asked. The limits come once, from a posternd that has not read anything from
 * a network yet, and are then sealed; every request is held against them.
 *
 * A pinhole joins a peer to a peer: its own two ends are addresses and media ports of the realms that it names, its foreign
 * two ends are hosts outside the gateway, never the gateway itself, loopback, link-local (unless the realm is), multicast,
 * broadcast or a port below the floor. Families do not change on the way.
 *
 * Where a capture joins two realms, a pinhole between them may also have a foreign address instead of an own one at either end (WIRE_FOREIGN),
 * if one of the two hosts is a server of that capture; and sockets may have foreign addresses (limits_capture.c). Without captures
 * nothing of the kind is possible.
 *
 * Pure: no clock, no memory, any thread. What only the interfaces know (other addresses of this machine, broadcast addresses of
 * its networks) is checked by links.h. */
#ifndef PINHOLE_LIMITS_H
#define PINHOLE_LIMITS_H

#include "pinhole/wire.h"

enum {
	LIMITS_PINHOLES_MAX = 1 << 20,
	LIMITS_LIFETIME_MAX_S = 86400,
	LIMITS_PACKETS_MAX = 10000000,  /* per second and pinhole */
	LIMITS_BYTES_MAX = 2000000000,
	LIMITS_CLOCK_MAX_HZ = 1000000,
};

struct limits {
	struct wire_limit own[WIRE_OWN_MAX];
	unsigned n_own;
	struct wire_capture captures[WIRE_CAPTURES_MAX];
	unsigned n_captures;
	struct wire_seal seal;
	bool is_sealed;
};

enum limits_verdict {
	LIMITS_OK,
	/* Of the limits themselves. */
	LIMITS_SEALED, LIMITS_FULL, LIMITS_OWN_KIND, LIMITS_OWN_PORTS, LIMITS_SEAL_VALUES, LIMITS_NO_OWN,
	LIMITS_CAPTURES_FULL, LIMITS_CAPTURE_REALM, LIMITS_CAPTURE_SERVERS, LIMITS_CAPTURE_TO,
	/* Of a pinhole. */
	LIMITS_NOT_SEALED, LIMITS_LISTEN_ADDRESS, LIMITS_LISTEN_PORT, LIMITS_FROM_ADDRESS, LIMITS_FROM_PORT,
	LIMITS_FAMILIES, LIMITS_NO_TARGET, LIMITS_PEER_OWN, LIMITS_PEER_UNSPECIFIED, LIMITS_PEER_LOOPBACK,
	LIMITS_PEER_LINK_LOCAL, LIMITS_PEER_MULTICAST, LIMITS_PEER_BROADCAST, LIMITS_PEER_PORT, LIMITS_RATE, LIMITS_LIFETIME,
	LIMITS_RTP, LIMITS_FLAGS, LIMITS_NO_SOURCE, LIMITS_NO_CAPTURE, LIMITS_TARGET_ADDRESS, LIMITS_TARGET_PORT,
	/* Of a socket. */
	LIMITS_SOCKET_ADDRESS, LIMITS_SOCKET_PORT, LIMITS_SOCKET_TRANSPARENT,
	/* Of the helper's table, see table.h and helper_batch.c. */
	LIMITS_TABLE_FULL, LIMITS_TWICE, LIMITS_OTHER_ID, LIMITS_OTHER_FLOW,
	LIMITS_VERDICTS
};
const char *limits_text(enum limits_verdict verdict); /* static; for logs and for the reason of a refusal */

enum limits_verdict limits_add(struct limits *limits, const struct wire_limit *own);
/* After the own addresses of its realms. */
enum limits_verdict limits_add_capture(struct limits *limits, const struct wire_capture *capture);
enum limits_verdict limits_seal(struct limits *limits, const struct wire_seal *seal);

enum limits_verdict limits_pinhole(const struct limits *limits, const struct wire_pinhole *pinhole);
enum limits_verdict limits_socket(const struct limits *limits, const struct wire_socket_request *request);

#endif

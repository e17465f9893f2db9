/* A scripted network behind the symbols of sbc/transport.h. Programs link fake_transport.c before the archives, so
 * that sbc/transport.c stays out. What is sent waits in a queue until the test takes it; what the test delivers is
 * handled at once. Nothing moves by itself: time is tests/mock/fake_loop.h. */
#ifndef TESTS_MOCK_FAKE_TRANSPORT_H
#define TESTS_MOCK_FAKE_TRANSPORT_H

#include "sbc/transport.h"

struct fake_packet {
	struct fake_packet *next;
	struct sip_flow flow; /* remote is where it goes */
	struct span bytes;    /* follows this struct in memory */
};

/* The transport made last, or NULL: code under test usually makes its own. */
struct transport *fake_transport(void);

/* A datagram arrives. `to` must be one of the configured listeners: else ERR_NOT_FOUND. */
int fake_transport_deliver(struct transport *net, const struct addr *from, const struct addr *to, struct span bytes);

/* The oldest packet sent to `to` (NULL: to anyone), which is now the caller's; NULL when there is none. */
struct fake_packet *fake_transport_take(struct transport *net, const struct addr *to);
const struct fake_packet *fake_transport_peek(const struct transport *net); /* the oldest, still queued */
void fake_packet_free(struct fake_packet *packet);

/* Faults. Each count is used up one packet at a time. */
void fake_transport_drop(struct transport *net, unsigned n);   /* the next n packets sent are lost without a trace */
void fake_transport_refuse(struct transport *net, unsigned n); /* the next n transport_send() return ERR_LIMIT */
void fake_transport_dup(struct transport *net, unsigned n);    /* the next n delivered arrive twice */
void fake_transport_swap(struct transport *net);               /* the next delivered waits for the one after it */

#endif

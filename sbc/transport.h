/* SIP sockets. UDP: recvmmsg and sendmmsg in batches, IP_PKTINFO so that an answer leaves from the address that was asked, IPv4 and
 * IPv6, DSCP of the realm, receive buffers set and checked, kernel drops counted (SO_RXQ_OVFL). Control thread. Scenario tests link
 * tests/mock/fake_transport.c, which has the same symbols and a scripted network. */
#ifndef SBC_TRANSPORT_H
#define SBC_TRANSPORT_H

#include "core/config.h"
#include "sbc/sip_msg.h"

struct loop;
struct transport;

/* bytes are borrowed for the call. */
typedef void transport_recv_fn(void *arg, const struct sip_flow *flow, struct span bytes);

/* Binds every listener of every realm; on failure says which in error_text. */
int transport_new(struct loop *loop, const struct config *config, transport_recv_fn *fn, void *arg, char *error_text,
		  size_t error_size, struct transport **ret);
void transport_free(struct transport *transport); /* the loop must not turn again after it */

/* Queues one message; it leaves with the batch at the end of the loop's turn. bytes are copied. 0, ERR_LIMIT when the
 * queue is full, -EMSGSIZE. What the kernel refuses later is counted and logged (rate-limited). */
int transport_send(struct transport *transport, const struct sip_flow *flow, struct span bytes);

/* Chooses listener and own address in `realm` for a message to `dest` (same family; -EAFNOSUPPORT when the realm has none). */
int transport_flow_to(struct transport *transport, const struct realm_conf *realm, enum sip_proto proto,
		      const struct addr *dest, struct sip_flow *ret);
/* True when the address is one of the gateway's own listeners. */
bool transport_is_own(const struct transport *transport, const struct addr *addr);

#endif

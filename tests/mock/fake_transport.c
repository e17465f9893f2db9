/* The scripted network: a queue of what was sent, direct calls for what arrives. Owns no sockets and no time. Faults
 * are counters that the next packets use up, so a script reads in the order in which things happen. */
#include "tests/mock/fake_transport.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/err.h"

enum { SOCKETS_MAX = 64, PACKET_MAX = 65507 };

struct transport {
	transport_recv_fn *fn;
	void *arg;
	struct sip_flow sockets[SOCKETS_MAX]; /* remote is empty */
	unsigned n_sockets;
	struct fake_packet *first;
	struct fake_packet **end;
	unsigned drop, refuse, dup;
	bool is_swapping;
	struct fake_packet *held; /* waits for its successor */
};

static struct transport *current;

struct transport *fake_transport(void)
{
	return current;
}

int transport_new(struct loop *loop, const struct config *config, transport_recv_fn *fn, void *arg, char *error_text,
		  size_t error_size, struct transport **ret)
{
	(void)loop;
	struct transport *net = calloc(1, sizeof(*net));
	if (!net)
		return -ENOMEM;
	net->fn = fn;
	net->arg = arg;
	net->end = &net->first;
	for (unsigned r = 0; r < config->n_realms; r++) {
		const struct realm_conf *realm = &config->realms[r];
		for (unsigned l = 0; l < realm->n_listens; l++) {
			if (net->n_sockets == SOCKETS_MAX) {
				snprintf(error_text, error_size, "too many listeners");
				free(net);
				return ERR_LIMIT;
			}
			net->sockets[net->n_sockets++] = (struct sip_flow){
				.realm = r, .listener = l, .proto = realm->listens[l].proto, .local = realm->listens[l].addr };
		}
	}
	current = net;
	*ret = net;
	return 0;
}

void transport_free(struct transport *net)
{
	if (!net)
		return;
	struct fake_packet *packet;
	while ((packet = fake_transport_take(net, NULL)))
		fake_packet_free(packet);
	fake_packet_free(net->held);
	if (current == net)
		current = NULL;
	free(net);
}

static struct fake_packet *packet_new(const struct sip_flow *flow, struct span bytes)
{
	struct fake_packet *packet = malloc(sizeof(*packet) + bytes.len + 1);
	if (!packet)
		return NULL;
	char *copy = (char *)(packet + 1);
	memcpy(copy, bytes.ptr, bytes.len);
	copy[bytes.len] = '\0';
	*packet = (struct fake_packet){ NULL, *flow, { copy, bytes.len } };
	return packet;
}

void fake_packet_free(struct fake_packet *packet)
{
	free(packet);
}

int transport_send(struct transport *net, const struct sip_flow *flow, struct span bytes)
{
	if (bytes.len > PACKET_MAX)
		return -EMSGSIZE;
	if (net->refuse > 0) {
		net->refuse--;
		return ERR_LIMIT;
	}
	if (net->drop > 0) {
		net->drop--;
		return 0;
	}
	struct fake_packet *packet = packet_new(flow, bytes);
	if (!packet)
		return -ENOMEM;
	*net->end = packet;
	net->end = &packet->next;
	return 0;
}

int transport_flow_to(struct transport *net, const struct realm_conf *realm, enum sip_proto proto,
		      const struct addr *dest, struct sip_flow *ret)
{
	for (unsigned i = 0; i < net->n_sockets; i++) {
		const struct sip_flow *s = &net->sockets[i];
		if (s->realm == realm->index && s->proto == proto && s->local.family == dest->family) {
			*ret = *s;
			ret->remote = *dest;
			return 0;
		}
	}
	return -EAFNOSUPPORT;
}

bool transport_is_own(const struct transport *net, const struct addr *addr)
{
	for (unsigned i = 0; i < net->n_sockets; i++)
		if (addr_eq(&net->sockets[i].local, addr))
			return true;
	return false;
}

static void deliver_now(struct transport *net, const struct sip_flow *flow, struct span bytes)
{
	unsigned copies = 1;
	if (net->dup > 0) {
		net->dup--;
		copies = 2;
	}
	while (copies-- > 0)
		net->fn(net->arg, flow, bytes);
}

int fake_transport_deliver(struct transport *net, const struct addr *from, const struct addr *to, struct span bytes)
{
	unsigned i = 0;
	while (i < net->n_sockets && !addr_eq(&net->sockets[i].local, to))
		i++;
	if (i == net->n_sockets)
		return ERR_NOT_FOUND;
	struct sip_flow flow = net->sockets[i];
	flow.remote = *from;
	/* A copy of exact size lets AddressSanitizer see reads past the datagram. */
	struct fake_packet *packet = packet_new(&flow, bytes);
	if (!packet)
		return -ENOMEM;
	if (net->is_swapping) {
		net->is_swapping = false;
		net->held = packet;
		return 0;
	}
	deliver_now(net, &packet->flow, packet->bytes);
	fake_packet_free(packet);
	packet = net->held;
	net->held = NULL;
	if (packet)
		deliver_now(net, &packet->flow, packet->bytes);
	fake_packet_free(packet);
	return 0;
}

struct fake_packet *fake_transport_take(struct transport *net, const struct addr *to)
{
	for (struct fake_packet **link = &net->first; *link; link = &(*link)->next) {
		struct fake_packet *packet = *link;
		if (to && !addr_eq(&packet->flow.remote, to))
			continue;
		*link = packet->next;
		if (!packet->next)
			net->end = link;
		packet->next = NULL;
		return packet;
	}
	return NULL;
}

const struct fake_packet *fake_transport_peek(const struct transport *net)
{
	return net->first;
}

void fake_transport_drop(struct transport *net, unsigned n)
{
	net->drop += n;
}

void fake_transport_refuse(struct transport *net, unsigned n)
{
	net->refuse += n;
}

void fake_transport_dup(struct transport *net, unsigned n)
{
	net->dup += n;
}

void fake_transport_swap(struct transport *net)
{
	net->is_swapping = true;
}

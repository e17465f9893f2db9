/* Pinholes in the kernel: what each kind of hole asks of pinhole.h, and what its events mean. */
#include "algs/hole.h"

#include "algs/session.h"
#include "core/err.h"

bool hole_kernel_is_possible(const struct hole *hole)
{
	const struct session *s = hole->session;
	const struct alg_host_engine *engine = s->engine;

	return engine->deps.pinholes != NULL && s->far[ALG_CLIENT].family == s->far[ALG_SERVER].family && engine->can_kernel[hole_realm(hole, ALG_CLIENT)->index] &&
	       engine->can_kernel[hole_realm(hole, ALG_SERVER)->index];
}

/* What all have in common, for what `sender` sends to `to`. */
static struct pinhole_spec spec_of(const struct hole *hole, enum alg_side sender, uint8_t proto, const struct addr *to)
{
	const struct session *s = hole->session;
	struct pinhole_spec spec = {
		.proto = proto, .realm_in = hole_realm(hole, sender)->index, .realm_out = hole_realm(hole, alg_other(sender))->index,
		.listen = *to, .target = *to, .source = s->far[sender], .is_one_shot = proto == IPPROTO_TCP,
		.packets_per_s = UINT32_MAX, .bytes_per_s = UINT32_MAX, .lifetime_s = s->engine->config->media.lifetime_s,
	};

	_Static_assert(sizeof(spec.owner) == sizeof(s->group.id), "an owner is a group");
	memcpy(spec.owner, s->group.id, sizeof(spec.owner));
	spec.source.port = 0;
	return spec;
}

/* ---- counts ------------------------------------------------------------------------------------------------------------------ */

enum { STAMPS = 12, SYN_EXTRA = 8 }; /* octets of TCP options: time stamps in every segment, and what a SYN has besides */

/* Connection tracking counts TCP options as payload. Both sides send time stamps or none does, and of a data connection one side sends
 * hardly anything else: so it shows. */
void hole_kernel_payload(struct slot_stats *stats)
{
	uint64_t forth = stats->packets * STAMPS + SYN_EXTRA, back = stats->packets_back * STAMPS + SYN_EXTRA;

	if (stats->bytes < forth || stats->bytes_back < back)
		return;
	stats->bytes -= forth;
	stats->bytes_back -= back;
}

static uint64_t count_one(struct hole *hole, unsigned index, uint64_t octets[ALG_SIDES])
{
	enum alg_side sender = hole->senders[index];
	struct slot_stats stats;
	uint64_t sum;

	pinhole_stats(hole->pinholes[index], &stats);
	if (hole->class->kind == ALG_HOLE_TCP)
		hole_kernel_payload(&stats);
	octets[sender] += stats.bytes;
	octets[alg_other(sender)] += stats.bytes_back;
	sum = stats.bytes + stats.bytes_back;
	if (sum != hole->counted[index])
		hole->moved_ms = loop_now_ms(hole->session->engine->loop);
	hole->counted[index] = sum;
	return stats.packets + stats.packets_back;
}

void hole_kernel_count(struct hole *hole)
{
	uint64_t octets[ALG_SIDES] = { hole->past[0], hole->past[1] };

	if (hole->n_pinholes == 0 || hole->is_to_self)
		return;
	for (unsigned i = 0; i < hole->n_pinholes; i++)
		if (hole->pinholes[i] != NULL)
			(void)count_one(hole, i, octets);
	memcpy(hole->octets, octets, sizeof(octets));
	if (octets[0] + octets[1] > 0)
		hole_opened(hole, NULL);
}

/* ---- events ------------------------------------------------------------------------------------------------------------------ */

static unsigned index_of(const struct hole *hole, const struct pinhole *pinhole)
{
	unsigned i = 0;

	while (i < hole->n_pinholes && hole->pinholes[i] != pinhole)
		i++;
	return i;
}

static bool has_pinholes(const struct hole *hole)
{
	for (unsigned i = 0; i < hole->n_pinholes; i++)
		if (hole->pinholes[i] != NULL)
			return true;
	return false;
}

static int open_again(struct hole *hole)
{
	return hole->is_to_self ? hole_kernel_to_self(hole) : hole_kernel_open(hole);
}

/* Perhaps by a session of the same client that is over, whose pinhole waits for nobody any more. */
static void on_refused(struct hole *hole, const char *reason)
{
	if (hole->is_committing && !hole->has_tried_again && hole->class->kind == ALG_HOLE_TCP && hole_end_yield_others(hole)) {
		hole->has_tried_again = true;
		if (open_again(hole) == 0)
			return;
	}
	hole_refused(hole, reason);
}

/* It is gone from the kernel by itself. */
static void on_gone(struct hole *hole, unsigned index, enum pinhole_event event)
{
	const char *reason = pinhole_reason(hole->pinholes[index]);
	uint64_t packets = hole->is_to_self ? 0 : count_one(hole, index, hole->past);

	hole->pinholes[index] = NULL;
	if (event == PINHOLE_EV_REFUSED) { /* the whole batch: the others have nothing to say any more */
		for (unsigned i = 0; i < hole->n_pinholes; i++)
			if (hole->pinholes[i] != NULL)
				pinhole_disown(hole->pinholes[i]);
		hole->n_pinholes = 0;
		on_refused(hole, reason);
		return;
	}
	if (hole->is_to_self && event != PINHOLE_EV_LOST) /* used up: the relay has the connection */
		return;
	hole_kernel_count(hole);
	if (packets > 0)
		hole_opened(hole, NULL);
	if (has_pinholes(hole))
		return;
	if (hole->is_lingering) {
		hole_close(hole);
		session_kick(hole->session); /* it may have been the last thing that its session waited for */
	} else if (hole->is_opened_told) {
		hole_ended(hole);
	} else {
		hole_refused(hole, event == PINHOLE_EV_LOST ? "the kernel has lost it" : "it was used up");
	}
}

static void on_pinhole(void *arg, struct pinhole *pinhole, enum pinhole_event event)
{
	struct hole *hole = arg;
	unsigned index = index_of(hole, pinhole);

	if (index == hole->n_pinholes)
		return;
	switch (event) {
	case PINHOLE_EV_ARMED:
		if (!hole->is_to_self) { /* which is why it is relayed, not how it gets here */
			hole->path = pinhole_path_text(pinhole_path(pinhole));
			hole->reason = pinhole_reason(pinhole);
		}
		if (++hole->n_armed == hole->n_pinholes)
			hole_committed(hole, 0);
		break;
	case PINHOLE_EV_BOUND:
		if (!hole->is_to_self)
			hole_opened(hole, NULL);
		break;
	case PINHOLE_EV_REFUSED:
	case PINHOLE_EV_LOST:
	case PINHOLE_EV_EXPIRED:
	case PINHOLE_EV_CLOSED:
		on_gone(hole, index, event);
		break;
	}
}

/* ---- opening and closing ----------------------------------------------------------------------------------------------------- */

static int open_all(struct hole *hole, const struct pinhole_spec *specs, unsigned n)
{
	int err = pinhole_open(hole->session->engine->deps.pinholes, specs, n, on_pinhole, hole, hole->pinholes);

	hole->n_pinholes = err == 0 ? n : 0;
	hole->n_armed = 0;
	return err;
}

int hole_kernel_open(struct hole *hole)
{
	enum config_alg_mode mode = hole->session->conf->mode;
	enum alg_side dialler = hole_dialler(hole);
	struct pinhole_spec spec = spec_of(hole, dialler, IPPROTO_TCP, &hole->target);

	hole->senders[0] = dialler;
	spec.listen = hole->listen;
	spec.is_through = addr_eq(&spec.listen, &spec.target);
	spec.is_as_source = mode == CONFIG_ALG_TRANSPARENT || (mode == CONFIG_ALG_NAT && dialler == ALG_SERVER);
	if (!spec.is_as_source)
		spec.from = hole_port_addr(&hole->own[1]);
	return open_all(hole, &spec, 1);
}

int hole_kernel_to_self(struct hole *hole)
{
	enum alg_side dialler = hole_dialler(hole);
	struct pinhole_spec spec = spec_of(hole, dialler, IPPROTO_TCP, &hole->target);

	if (hole->session->engine->deps.pinholes == NULL)
		return ERR_UNSUPPORTED;
	hole->senders[0] = dialler;
	hole->is_to_self = spec.is_to_self = true;
	spec.target = hole_port_addr(&hole->own[0]);
	return open_all(hole, &spec, 1);
}

static struct addr rtcp_of(const struct hole *hole, enum alg_side side)
{
	struct addr addr = hole->peers[side];

	addr.port = hole->peers_rtcp[side] != 0 ? hole->peers_rtcp[side] : (uint16_t)(addr.port + 1);
	return addr;
}

int hole_kernel_media(struct hole *hole)
{
	struct pinhole_spec specs[HOLE_PINHOLES_MAX];
	unsigned n = 0;

	for (enum alg_side side = ALG_CLIENT; side <= ALG_SERVER; side++) {
		struct addr ends[2] = { hole->peers[side], rtcp_of(hole, side) };

		for (unsigned i = 0; i < 2 && addr_is_set(&ends[0]) && ends[0].port != 0; i++) {
			if (i == 1 && addr_eq(&ends[0], &ends[1]))
				continue;
			specs[n] = spec_of(hole, alg_other(side), IPPROTO_UDP, &ends[i]);
			specs[n].is_through = specs[n].is_as_source = true;
			hole->senders[n++] = alg_other(side);
		}
	}
	if (n == 0)
		return ERR_STATE;
	if (hole->session->engine->deps.pinholes == NULL)
		return ERR_UNSUPPORTED;
	return open_all(hole, specs, n);
}

void hole_kernel_close(struct hole *hole)
{
	loop_timer_stop(&hole->look);
	for (unsigned i = 0; i < hole->n_pinholes; i++) {
		if (hole->pinholes[i] == NULL)
			continue;
		pinhole_disown(hole->pinholes[i]);
		pinhole_close(hole->pinholes[i]);
		hole->pinholes[i] = NULL;
	}
	hole->n_pinholes = 0;
}

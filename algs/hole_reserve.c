/* Reserving pinholes: whether there may be another one, of which kind it is, its addresses and ports. Nothing can be reached yet. */
#include "algs/hole.h"

#include <stdlib.h>

#include "algs/hole_rule.h"
#include "algs/session.h"

enum {
	ENDED_KEPT = 8,         /* whose octets the module may still ask about */
	LIVE_MAX = 64,          /* of one session, freed ones whose data is still on its way included */
};

static uint64_t now_of(const struct hole *hole)
{
	return loop_now_ms(hole->session->engine->loop);
}

/* Whether the other side has to be told an address of the gateway. */
bool hole_is_own(const struct hole *hole)
{
	enum config_alg_mode mode = hole->session->conf->mode;

	return mode == CONFIG_ALG_EXPLICIT || (mode == CONFIG_ALG_NAT && hole->listener == ALG_CLIENT);
}

static unsigned live_of_class(const struct session *s, const struct alg_class *class)
{
	unsigned n = 0;

	LIST_EACH(&s->holes, node) {
		const struct hole *hole = LIST_ENTRY(node, struct hole, node);

		n += hole->class == class && hole_is_live(hole) && !hole->is_forgotten && !hole->is_lingering;
	}
	return n;
}

static int reserve_tcp(struct hole *hole, const struct alg_want *want)
{
	struct session *s = hole->session;
	enum alg_side dialler = hole_dialler(hole);
	const char *no_kernel = want->is_protected ? "TLS ends here" :
				hole_kernel_is_possible(hole) ? NULL : "no pinholes for TCP in the kernel";
	int err = hole_end(&s->far[hole->listener], &want->at, &hole->target);

	if (err < 0)
		return err;
	if (want->is_dialled) {
		hole->way = HOLE_RELAY;
		hole->path = "relay";
		hole->reason = "the gateway connects to both ends";
		return s->conf->mode != CONFIG_ALG_TRANSPARENT ? 0 : ALG_ERR_STATE;
	}
	hole->way = hole_way_of(s->conf, ALG_HOLE_TCP, no_kernel, &hole->reason);
	hole->path = hole->way == HOLE_RELAY ? "relay" : "none";
	/* Also a pinhole in the kernel has its port here: nobody else may get it, and the relay may have to take over. */
	err = hole_port_take(hole, &hole->own[0], dialler, hole_is_own(hole) && want->is_same_port ? hole->target.port : 0);
	if (err < 0)
		return err;
	hole->listen = hole_is_own(hole) ? hole_port_addr(&hole->own[0]) : hole->target;
	return hole_is_own(hole) && dialler == ALG_SERVER ? hole_data_make(hole) : 0;
}

static int reserve_by_kind(struct hole *hole, const struct alg_want *want)
{
	switch (hole->class->kind) {
	case ALG_HOLE_TCP:
		return reserve_tcp(hole, want);
	case ALG_HOLE_UDP:
		if (hole->session->datagrams == NULL)
			return ALG_ERR_STATE;
		hole->way = HOLE_DATAGRAMS;
		hole->path = "relay";
		hole->target = hole->session->far[hole->listener];
		return 0;
	case ALG_HOLE_MEDIA:
		hole->way = HOLE_MEDIA;
		return hole_media_open(hole);
	}
	return ALG_ERR_STATE;
}

static void on_group_close(struct group_member *member)
{
	hole_close(LIST_ENTRY(member, struct hole, member));
}

static void discard(struct hole *hole)
{
	list_remove(&hole->node);
	hole_verdict_fini(&hole->verdict);
	free(hole->record.texts);
	free(hole);
}

/* Of those that are over, only the newest are remembered. */
static void trim(struct session *s)
{
	unsigned n = 0;

	for (struct list *node = s->holes.prev, *before; node != &s->holes; node = before) {
		struct hole *hole = LIST_ENTRY(node, struct hole, node);

		before = node->prev;
		if (!hole_is_live(hole) && hole->events == 0 && !hole->is_telling && (hole->is_forgotten || ++n > ENDED_KEPT))
			discard(hole);
	}
}

static struct hole *make(struct session *s, const struct alg_want *want)
{
	struct hole *hole = calloc(1, sizeof(*hole));

	if (hole == NULL)
		return NULL;
	hole->session = s;
	hole->class = &s->module->classes[want->class];
	hole->listener = want->listener;
	hole->is_raw = want->is_raw;
	hole->is_protected = want->is_protected;
	hole->is_dialled = want->is_dialled && hole->class->kind == ALG_HOLE_TCP;
	hole->own[0].fd = hole->own[1].fd = -1;
	hole->since_ms = loop_wall_ms(s->engine->loop);
	hole->path = "none";
	hole->reason = "";
	hole_end_init(hole);
	list_init(&hole->member.node);
	list_append(&s->holes, &hole->node);
	return hole;
}

int hole_reserve(struct session *s, const struct alg_want *want, uint32_t *ret_hole)
{
	struct hole *hole;
	int err;

	if (want->class >= s->module->n_classes || (unsigned)want->listener >= ALG_SIDES || s->state >= SESSION_DRAINING)
		return ALG_ERR_STATE;
	if (s->n_holes >= LIVE_MAX)
		hole_end_yield(s, NULL);
	trim(s);
	if (s->is_ending || live_of_class(s, &s->module->classes[want->class]) >= s->module->classes[want->class].max ||
	    s->n_holes >= LIVE_MAX || s->engine->n_holes >= ENGINE_HOLES_MAX)
		return ALG_ERR_LIMIT;
	hole = make(s, want);
	if (hole == NULL)
		return ALG_ERR_LIMIT;
	err = reserve_by_kind(hole, want);
	if (err < 0) {
		hole_data_drop(hole);
		hole_port_give(&hole->own[0], now_of(hole));
		discard(hole);
		return err;
	}
	hole->id = ++s->last_hole;
	hole->deadline_ms = now_of(hole) + hole->class->reserved_ms;
	group_add(&s->group, &hole->member, on_group_close);
	s->n_holes++;
	s->n_holes_total++;
	s->engine->n_holes++;
	if (s->pending.is_set)
		hole_allow(hole, &s->pending);
	*ret_hole = hole->id;
	return 0;
}

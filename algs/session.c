/* The life of a control channel, and the pump that moves its octets. What it does next is in the table below; octets and events are
 * moved in session_pump.c. Control thread.
 *
 * A control channel that ends in order (the protocol's own end was seen) leaves data that is on its way alone, as long as it moves; one
 * that broke off leaves TCP data a grace, and media until it falls silent. */
#include "algs/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "algs/hole_rule.h"
#include "algs/host_metrics.h"
#include "algs/listener.h"
#include "algs/mask.h"
#include "core/err.h"
#include "core/log.h"

enum {
	HALF_CLOSED_MS = 30000,  /* one side has ended, the other is silent */
	DRAIN_IDLE_MS = 60000,   /* orderly end: data that does not move */
	DRAIN_UNUSED_MS = 3000,  /* pinholes nobody has used: a connection that the kernel took may not have been noticed yet */
	DRAIN_ABNORMAL_MS = 30000,
	ARENA_TEXT = 256,
};

/* ---- what is shown ----------------------------------------------------------------------------------------------------------- */

const char *session_state_text(enum session_state state)
{
	static const char *const texts[SESSION_STATES] = {
		[SESSION_CONNECTING] = "connecting", [SESSION_OPEN] = "open", [SESSION_BYPASSED] = "bypassed",
		[SESSION_DRAINING] = "draining", [SESSION_ENDED] = "ended",
	};

	return texts[state];
}

void session_step(struct session *s, const char *rule, const char *format, ...)
{
	char text[ARENA_TEXT], masked[ARENA_TEXT];
	struct buf out = buf_of(masked, sizeof(masked));
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	mask_text(span_of(text), &out);
	journal_add(&s->steps, SESSION_STEPS_BYTES, &(struct journal_entry){ .at_ms = loop_wall_ms(s->engine->loop),
									      .first = span_of(rule), .second = buf_span(&out) });
}

void session_change(struct session *s, enum alg_side from, const char *verdict, struct span before, struct span after)
{
	SCRATCH char texts[2][JOURNAL_TEXT_MAX];
	struct buf out[2] = { buf_of(texts[0], sizeof(texts[0])), buf_of(texts[1], sizeof(texts[1])) };
	unsigned kind = (from == ALG_SERVER ? 1u : 0u) | (verdict[0] == 'd' ? 2u : verdict[0] == 'r' ? 4u : 0u);

	mask_text(before, &out[0]);
	mask_text(after, &out[1]);
	journal_add(&s->changes, SESSION_CHANGES_BYTES, &(struct journal_entry){ .at_ms = loop_wall_ms(s->engine->loop), .kind = kind,
										  .first = buf_span(&out[0]), .second = buf_span(&out[1]) });
}

/* ---- the end ----------------------------------------------------------------------------------------------------------------- */

static void stop_timers(struct session *s)
{
	loop_timer_stop(&s->kick);
	for (unsigned i = 0; i < SESSION_TIMERS; i++)
		loop_timer_stop(&s->timers[i].timer);
}

static void close_legs(struct session *s, bool is_reset)
{
	if (s->request != NULL)
		pinhole_socket_cancel(s->request);
	s->request = NULL;
	for (enum alg_side side = ALG_CLIENT; side <= ALG_SERVER; side++)
		tcp_leg_close(&s->legs[side], is_reset);
	datagram_close(s);
}

static void drop_holes(struct session *s)
{
	LIST_EACH(&s->holes, node) {
		struct hole *hole = LIST_ENTRY(node, struct hole, node);

		list_remove(&hole->node);
		hole_verdict_fini(&hole->verdict);
		free(hole->record.texts);
		free(hole);
	}
	hole_verdict_fini(&s->pending);
}

static void log_end(const struct session *s)
{
	char client[ADDR_TEXT_MAX], server[ADDR_TEXT_MAX];

	LOG_GATED(50, LOG_INFO, "alg", "session ended", LF_TEXT("session", s->group.id), LF_TEXT("alg", s->conf->name),
		  LF_TEXT("client", addr_text(&s->far[ALG_CLIENT], client)), LF_TEXT("server", addr_text(&s->far[ALG_SERVER], server)),
		  LF_TEXT("cause", s->cause), LF_UINT("transfers", s->n_transfers));
}

/* Data that is cut with its session has ended for the module, too: it may have a transfer to record. */
static void finish_data(struct session *s)
{
	if (s->flow == NULL)
		return;
	LIST_EACH(&s->holes, node) {
		struct hole *hole = LIST_ENTRY(node, struct hole, node);

		if (hole_has_data(hole) && !hole->is_over)
			hole_stop(hole);
	}
	session_tell_events(s);
}

/* The module goes first: what it says in close() belongs to pinholes that are still there. */
static void end(struct session *s)
{
	finish_data(s);
	session_meet_leave(s);
	s->is_in_flow = true;
	if (s->flow != NULL)
		flow_stats(s->flow, &s->counts);
	flow_free(s->flow);
	s->flow = s->joint.flow = NULL;
	s->is_in_flow = false;
	group_close(&s->group);
	close_legs(s, s->is_abnormal);
	session_tls_fini(s);
	stop_timers(s);
	drop_holes(s);
	free(s->verbs);
	s->verbs = NULL;
	s->ended_ms = loop_wall_ms(s->engine->loop);
	host_metrics_ended(s);
	log_end(s);
	engine_retire(s->engine, s);
}

/* ---- states ------------------------------------------------------------------------------------------------------------------ */

static void do_open(struct session *s)
{
	struct alg_about about = {
		.client = hole_alg_addr(&s->far[ALG_CLIENT]), .server = hole_alg_addr(&s->far[ALG_SERVER]),
		.client_sees = hole_alg_addr(&s->client_sees),
		.is_translated = s->conf->mode != CONFIG_ALG_TRANSPARENT,
		.tls = engine_tls_of(s->conf), .is_tls = s->conf->is_tls_implicit,
		.is_server_plain = s->tls[ALG_CLIENT] != NULL && s->tls[ALG_SERVER] == NULL,
		.tls_need = (enum alg_tls_need)s->conf->tls_need,
		.tls_port_min = s->conf->tls_port_min, .tls_port_max = s->conf->tls_port_max,
		.may_be_active = s->conf->may_be_active, .is_server_passive = s->conf->is_server_passive, .idle_ms = s->conf->idle_ms,
	};

	about.server_sees = s->conf->mode == CONFIG_ALG_TRANSPARENT ? about.client : hole_alg_addr(&s->near[ALG_SERVER]);
	s->is_in_flow = true;
	if (flow_new(s->module, &about, &session_owner, s, &s->flow) < 0)
		s->flow = NULL;
	s->is_in_flow = false;
	s->active_ms = loop_now_ms(s->engine->loop);
	s->joint.flow = s->flow;
	if (s->flow != NULL)
		session_kick(s);
	else
		session_step_event(s, SESSION_STOP, "out of memory");
}

static void do_refuse(struct session *s)
{
	s->is_abnormal = true; /* the client sees a reset, as when there were no gateway */
	end(s);
}

static void do_note_bypass(struct session *s)
{
	session_step(s, NULL, "passes unseen from here on");
}

static void do_drain(struct session *s)
{
	s->drain_ms = loop_now_ms(s->engine->loop);
	session_meet_leave(s);
	close_legs(s, s->is_abnormal);
	session_kick(s); /* there may be nothing to wait for */
}

static void do_cut(struct session *s)
{
	end(s);
}

static const struct row {
	bool is_valid;
	enum session_state next;
	void (*action)(struct session *session);
} table[SESSION_STATES][SESSION_EVENTS] = {
	[SESSION_CONNECTING] = {
		[SESSION_CONNECTED] = { true, SESSION_OPEN, do_open },
		[SESSION_UNREACHABLE] = { true, SESSION_ENDED, do_refuse },
		[SESSION_OVER] = { true, SESSION_ENDED, do_refuse },
		[SESSION_LOST] = { true, SESSION_ENDED, do_refuse },
		[SESSION_STOP] = { true, SESSION_ENDED, do_refuse },
	},
	[SESSION_OPEN] = {
		[SESSION_UNSEEN] = { true, SESSION_BYPASSED, do_note_bypass },
		[SESSION_OVER] = { true, SESSION_DRAINING, do_drain },
		[SESSION_LOST] = { true, SESSION_DRAINING, do_drain },
		[SESSION_STOP] = { true, SESSION_ENDED, do_cut },
	},
	[SESSION_BYPASSED] = {
		[SESSION_OVER] = { true, SESSION_DRAINING, do_drain },
		[SESSION_LOST] = { true, SESSION_DRAINING, do_drain },
		[SESSION_STOP] = { true, SESSION_ENDED, do_cut },
	},
	[SESSION_DRAINING] = {
		[SESSION_SETTLED] = { true, SESSION_ENDED, do_cut },
		[SESSION_STOP] = { true, SESSION_ENDED, do_cut },
	},
};

void session_step_event(struct session *s, enum session_event event, const char *cause)
{
	const struct row *row = &table[s->state][event];

	if (!row->is_valid)
		return;
	if (cause != NULL && s->cause == NULL)
		s->cause = cause;
	if (event == SESSION_LOST || event == SESSION_UNREACHABLE)
		s->is_abnormal = true;
	s->state = row->next;
	row->action(s);
}

/* ---- the beginning ----------------------------------------------------------------------------------------------------------- */

static void on_timer(struct loop_timer *timer, void *arg)
{
	struct session_timer *t = arg;
	struct session *s = t->session;

	(void)timer;
	if (s->flow == NULL)
		return;
	s->is_in_flow = true;
	flow_event(s->flow, &(struct alg_event){ .type = ALG_EV_TIMER, .cookie = t->cookie });
	s->is_in_flow = false;
	session_pump(s);
}

static unsigned count_verbs(const struct alg_module *module)
{
	unsigned n = 0;

	while (module->verbs != NULL && module->verbs[n].name != NULL)
		n++;
	return n;
}

struct session *session_new(struct listener *listener, struct engine_client *client, const struct addr *far_client,
			    const struct addr *client_sees)
{
	struct alg_host_engine *engine = listener->engine;
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->engine = engine;
	s->listener = listener;
	s->setup = alg_setup_ref(listener->alg->setup);
	s->conf = s->setup->conf;
	s->module = s->setup->module;
	snprintf(s->alg, sizeof(s->alg), "%s", s->conf->name);
	s->mode = s->conf->mode;
	s->realm = s->conf->realm->index;
	s->to = s->conf->to->index;
	s->client = client;
	s->started_ms = loop_wall_ms(engine->loop);
	s->active_ms = loop_now_ms(engine->loop);
	s->far[ALG_CLIENT] = *far_client;
	s->near[ALG_CLIENT] = s->client_sees = *client_sees;
	session_tls_init(s);
	s->far[ALG_SERVER] = s->conf->mode == CONFIG_ALG_EXPLICIT ? s->conf->server : *client_sees;
	s->joint.wake = session_on_wake;
	list_init(&s->holes);
	group_init(&s->group, 0, s->started_ms);
	s->n_verbs = count_verbs(s->module);
	s->verbs = calloc(s->n_verbs + 1, sizeof(*s->verbs));
	if (s->verbs == NULL || hash_table_add(engine->by_id, &s->by_id, hash_bytes(span_of(s->group.id))) != 0) {
		session_tls_fini(s);
		alg_setup_unref(s->setup);
		free(s->verbs);
		free(s);
		return NULL;
	}
	list_append(&client->list, &s->of_client);
	loop_timer_init(&s->kick, engine->loop, session_on_kick, s);
	for (unsigned i = 0; i < SESSION_TIMERS; i++) {
		s->timers[i] = (struct session_timer){ .session = s, .cookie = i };
		loop_timer_init(&s->timers[i].timer, engine->loop, on_timer, &s->timers[i]);
	}
	list_append(&engine->live, &s->node);
	engine->n_live++;
	engine->stats.sessions_total++;
	listener->n_sessions++;
	listener->sessions_total++;
	host_metrics_began(s);
	return s;
}

void session_begin(struct session *s)
{
	if (s->datagrams == NULL)
		s->near[ALG_SERVER] = tcp_leg_local(s->legs[ALG_SERVER].fd);
	session_step_event(s, SESSION_CONNECTED, NULL);
}

static void connect_on(struct session *s, int fd_take)
{
	const struct addr *own = engine_own_address(s->conf->to, s->far[ALG_SERVER].family);
	int err = ERR_UNSUPPORTED;

	if (fd_take >= 0 || own != NULL)
		err = tcp_leg_connect(&s->legs[ALG_SERVER], fd_take, own, &s->far[ALG_SERVER], ENGINE_CONNECT_MS);
	if (err < 0)
		session_step_event(s, SESSION_UNREACHABLE, "no way to the server");
}

static void on_socket(void *arg, int fd)
{
	struct session *s = arg;

	s->request = NULL;
	if (fd >= 0)
		connect_on(s, fd);
	else
		session_step_event(s, SESSION_UNREACHABLE, "no socket with the client's address");
}

static void connect_to_server(struct session *s)
{
	struct pinhole_socket wanted = { .realm = s->conf->to->index, .addr = s->far[ALG_CLIENT], .proto = IPPROTO_TCP,
					 .is_transparent = true, .is_connecting = true };

	if (s->conf->mode != CONFIG_ALG_TRANSPARENT) {
		connect_on(s, -1);
		return;
	}
	/* Not the client's port: the kernel tracks its own connection to the server by that already. */
	wanted.addr.port = 0;
	if (s->engine->deps.pinholes == NULL ||
	    pinhole_socket_open(s->engine->deps.pinholes, &wanted, on_socket, s, &s->request) < 0)
		session_step_event(s, SESSION_UNREACHABLE, "no socket with the client's address");
}

struct session *session_accept(struct listener *listener, struct engine_client *client, int fd_take, const struct addr ends[2])
{
	struct session *s = session_new(listener, client, &ends[0], &ends[1]);

	if (s == NULL) {
		close(fd_take);
		return NULL;
	}
	for (enum alg_side side = ALG_CLIENT; side <= ALG_SERVER; side++)
		tcp_leg_init(&s->legs[side], listener->engine->loop, session_on_leg, s);
	if (tcp_leg_adopt(&s->legs[ALG_CLIENT], fd_take) < 0)
		session_step_event(s, SESSION_UNREACHABLE, "out of memory");
	else
		connect_to_server(s);
	return s;
}

void session_free(struct session *s)
{
	hash_table_remove(s->engine->by_id, &s->by_id);
	list_remove(&s->node);
	journal_fini(&s->steps);
	journal_fini(&s->changes);
	free(s->past);
	free(s);
}

/* ---- once a second ----------------------------------------------------------------------------------------------------------- */

/* Whether the hole still has a reason to be while its session drains. */
static bool may_finish(const struct session *s, const struct hole *hole, uint64_t now_ms)
{
	uint64_t last_ms = hole->moved_ms > hole->opened_ms ? hole->moved_ms : hole->opened_ms;

	if (hole->class->kind == ALG_HOLE_MEDIA)
		return s->is_ending ? false : hole->state >= HOLE_ARMED; /* its own time-out ends it */
	if (!hole_has_data(hole))
		return now_ms - s->drain_ms < DRAIN_UNUSED_MS;
	if (!s->is_ending)
		return now_ms - s->drain_ms < DRAIN_ABNORMAL_MS;
	return now_ms - (last_ms > s->drain_ms ? last_ms : s->drain_ms) < DRAIN_IDLE_MS;
}

static void sweep_drain(struct session *s, uint64_t now_ms)
{
	LIST_EACH(&s->holes, node) {
		struct hole *hole = LIST_ENTRY(node, struct hole, node);

		if (hole_is_live(hole) && hole->events == 0 && !may_finish(s, hole, now_ms))
			hole_close(hole);
	}
	session_kick(s);
}

void session_sweep(struct session *s, uint64_t now_ms)
{
	LIST_EACH(&s->holes, node)
		hole_sweep(LIST_ENTRY(node, struct hole, node), now_ms);
	if (s->state == SESSION_DRAINING) {
		sweep_drain(s, now_ms);
		return;
	}
	if (s->datagrams != NULL) {
		datagram_sweep(s, now_ms);
		return;
	}
	if (s->state != SESSION_CONNECTING && now_ms - s->active_ms >= HALF_CLOSED_MS &&
	    (s->legs[ALG_CLIENT].has_ended || s->legs[ALG_SERVER].has_ended) && !session_has_data(s))
		session_step_event(s, SESSION_OVER, "closed by one side");
	else if (now_ms - session_active_ms(s) >= s->conf->idle_ms)
		session_step_event(s, SESSION_STOP, "idle");
}

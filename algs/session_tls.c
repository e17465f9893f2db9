/* TLS of a channel's legs: begins when the flow wants it and everything in clear has left, towards the server first, so that the client
 * is only answered when there is something behind it. A handshake that fails ends the session, which says why. Control thread. */
#include "algs/session.h"

#include "algs/host_metrics.h"
#include "algs/listener.h"
#include "core/err.h"
#include "core/log.h"

enum { LIMIT_MS = 15000 /* of one handshake */ };

static const char *name_of(enum alg_side side)
{
	return side == ALG_CLIENT ? "client" : "server";
}

void session_tls_init(struct session *s)
{
	for (unsigned side = 0; side < ALG_SIDES; side++)
		if (s->setup->tls[side] != NULL)
			s->tls[side] = tls_context_ref(s->setup->tls[side]);
}

void session_tls_fini(struct session *s)
{
	engine_tls_drop(s->tls);
}

static void fail(struct session *s, enum alg_side side, const char *why)
{
	host_metrics_tls(side, false);
	session_step(s, NULL, "TLS with the %s failed: %s", name_of(side), why);
	LOG_GATED(5, LOG_WARN, "alg", "TLS failed", LF_TEXT("session", s->group.id), LF_TEXT("alg", s->conf->name),
		  LF_TEXT("with", name_of(side)), LF_TEXT("reason", why));
	session_step_event(s, SESSION_STOP, side == ALG_CLIENT ? "TLS with the client failed" : "TLS with the server failed");
}

static void succeed(struct session *s, enum alg_side side)
{
	const struct tls *tls = s->legs[side].tls;
	struct alg_tls_view *secured = &s->secured[side];

	*secured = (struct alg_tls_view){ tls_version(tls), tls_cipher(tls), tls_is_resumed(tls) };
	host_metrics_tls(side, true);
	session_step(s, NULL, "TLS with the %s: %s %s%s%s%s", name_of(side), secured->version, secured->cipher,
		     secured->is_resumed ? ", resumed" : "", tls_peer(tls)[0] != '\0' ? ", " : "", tls_peer(tls));
}

/* The next leg that has to have TLS; when there is none left the flow goes on. */
static void go_on(struct session *s)
{
	static const enum alg_side order[] = { ALG_SERVER, ALG_CLIENT };

	for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		enum alg_side side = order[i];

		if (s->tls[side] == NULL || s->legs[side].tls != NULL)
			continue;
		if (tcp_leg_secure(&s->legs[side], s->tls[side], LIMIT_MS) < 0)
			fail(s, side, "out of memory");
		return;
	}
	s->is_securing = false;
	s->is_in_flow = true;
	flow_tls_begun(s->flow);
	s->is_in_flow = false;
	session_kick(s);
}

void session_tls_begin(struct session *s)
{
	s->is_securing = true;
	go_on(s);
}

bool session_tls_on_leg(struct session *s, struct tcp_leg *leg)
{
	enum alg_side side = leg == &s->legs[ALG_CLIENT] ? ALG_CLIENT : ALG_SERVER;

	if (!s->is_securing)
		return false;
	s->active_ms = loop_now_ms(s->engine->loop);
	if (leg->error != 0) {
		fail(s, side, leg->tls != NULL && tls_error(leg->tls)[0] != '\0' ? tls_error(leg->tls) : err_str(leg->error));
		return true;
	}
	if (s->secured[side].version == NULL) { /* not the one that waits for the other's */
		succeed(s, side);
		go_on(s);
	}
	return true;
}

void session_tls_tell_errors(struct session *s)
{
	for (enum alg_side side = ALG_CLIENT; side <= ALG_SERVER; side++) {
		const struct tcp_leg *leg = &s->legs[side];

		if (leg->error != 0 && leg->tls != NULL)
			session_step(s, NULL, "TLS with the %s: %s", name_of(side), tls_error(leg->tls));
	}
}

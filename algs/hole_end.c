/* The end of data that the kernel carries. A sweep notices it within a second, which is soon enough while nobody cares. When a message
 * ("226") or a record waits for it, the kernel is asked at once, and then at growing intervals: mostly the first answer is the last, for
 * servers close the data connection before they say so.
 *
 * Ended: who sends has finished, the connection is over, or nobody came. A server that says 226 and keeps the connection is believed
 * when no octet has moved for a while. What is left of the connection (the other side's FIN) is not cut, but lingers; so do sockets of
 * datagrams, for what has to be repeated because its last acknowledgement was lost. */
#include "algs/hole.h"

#include "algs/session.h"

enum {
	FIRST_MS = 5, LONGEST_MS = 250, /* between two looks */
	STILL_MS = 3000,                /* without an octet and without an end */
	LINGER_MS = 60000,              /* likewise, of what has ended for one side only */
	LINGER_DATAGRAMS_MS = 10000,
};

static uint64_t now_of(const struct hole *hole)
{
	return loop_now_ms(hole->session->engine->loop);
}

/* Whose end is the end of it all. */
static bool is_end_of_all(const struct hole *hole, enum pinhole_end end)
{
	const struct hole_verdict *v = &hole->verdict;
	enum alg_direction direction = v->is_set ? v->direction : hole->record.is_set ? hole->record.direction : ALG_NO_DATA;
	enum alg_side finished = end == PINHOLE_END_SOURCE ? hole->senders[0] : alg_other(hole->senders[0]);

	if (end == PINHOLE_END_BOTH)
		return true;
	if ((end != PINHOLE_END_SOURCE && end != PINHOLE_END_TARGET) || direction == ALG_NO_DATA)
		return false;
	return finished == (direction == ALG_UP ? ALG_CLIENT : ALG_SERVER);
}

static bool is_carried(const struct hole *hole)
{
	return hole->way == HOLE_KERNEL && hole->class->kind == ALG_HOLE_TCP && hole->n_pinholes > 0 && hole->pinholes[0] != NULL;
}

static bool may_linger(const struct hole *hole)
{
	return is_carried(hole) || (hole->way == HOLE_DATAGRAMS && hole->limit_text[0] == '\0');
}

static void stop_waiting(struct hole *hole)
{
	hole->look_ms = 0;
	loop_timer_stop(&hole->look);
}

static void on_end(void *arg, struct pinhole *pinhole, enum pinhole_end end)
{
	struct hole *hole = arg;

	(void)pinhole;
	if (hole->look_ms == 0 || hole->is_over)
		return;
	hole_kernel_count(hole);
	if (end == PINHOLE_END_NOBODY) {
		stop_waiting(hole);
		if (!hole->record.is_set || hole->record.is_ok) /* else the next transfer may use it */
			hole_ended(hole);
	} else if (is_end_of_all(hole, end)) {
		stop_waiting(hole);
		hole_ended(hole);
	}
}

static void look(struct hole *hole)
{
	pinhole_look(hole->pinholes[0], on_end);
	loop_timer_start(&hole->look, hole->look_ms);
	hole->look_ms = hole->look_ms < LONGEST_MS / 2 ? hole->look_ms * 2 : LONGEST_MS;
}

static void on_timer(struct loop_timer *timer, void *arg)
{
	struct hole *hole = arg;
	uint64_t since_ms = hole->moved_ms > hole->waited_ms ? hole->moved_ms : hole->waited_ms;

	(void)timer;
	if (hole->is_over || !is_carried(hole)) {
		stop_waiting(hole);
	} else if (now_of(hole) - since_ms >= STILL_MS) {
		stop_waiting(hole);
		session_step(hole->session, NULL, "data of pinhole %u is still, and its end is not waited for", hole->id);
		hole_ended(hole);
	} else {
		look(hole);
	}
}

void hole_end_init(struct hole *hole)
{
	loop_timer_init(&hole->look, hole->session->engine->loop, on_timer, hole);
}

bool hole_end_await(struct hole *hole)
{
	if (hole->is_over || !is_carried(hole) || (hole->state != HOLE_ARMED && !hole_has_data(hole)))
		return false;
	if (hole->look_ms != 0)
		return true;
	hole->look_ms = FIRST_MS;
	hole->waited_ms = now_of(hole);
	look(hole);
	return true;
}

void hole_end_told(struct hole *hole)
{
	if (!may_linger(hole)) {
		hole_close(hole);
		return;
	}
	hole->is_lingering = true;
	hole->state = HOLE_DRAINING;
	hole->deadline_ms = 0;
}

bool hole_end_lingers(const struct hole *hole, uint64_t now_ms)
{
	uint64_t last_ms = hole->moved_ms != 0 ? hole->moved_ms : hole->ended_ms;

	return hole->is_lingering && may_linger(hole) && now_ms - last_ms < (hole->way == HOLE_DATAGRAMS ? LINGER_DATAGRAMS_MS : LINGER_MS);
}

static bool may_go(const struct hole *hole)
{
	return hole->is_lingering && hole->events == 0;
}

/* The same, or a door that nobody has used, of a session that is over. */
static bool is_of_nobody(const struct hole *hole)
{
	if (hole->is_lingering)
		return may_go(hole);
	return hole->session->state == SESSION_DRAINING && !hole_has_data(hole) && hole->way == HOLE_KERNEL;
}

static bool give_way(struct session *s, const struct addr *listen, bool (*is_free)(const struct hole *hole))
{
	LIST_EACH(&s->holes, node) {
		struct hole *hole = LIST_ENTRY(node, struct hole, node);

		if (!hole_is_live(hole) || (listen != NULL && !addr_eq(&hole->listen, listen)) || !is_free(hole))
			continue;
		hole_close(hole);
		return true;
	}
	return false;
}

void hole_end_yield(struct session *s, const struct addr *listen)
{
	(void)give_way(s, listen, may_go);
}

bool hole_end_yield_others(const struct hole *hole)
{
	const struct engine_client *client = hole->session->client;

	if (client == NULL)
		return false;
	LIST_EACH(&client->list, node) {
		struct session *s = LIST_ENTRY(node, struct session, of_client);

		if (s == hole->session || !give_way(s, &hole->listen, is_of_nobody))
			continue;
		session_kick(s);
		return true;
	}
	return false;
}

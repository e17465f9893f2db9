/* The life of one pinhole as a table, its end, and the metrics that come from both. Knows nothing of messages: answers.c
 * turns them into inputs. Control thread. */
#include <errno.h>
#include <stdlib.h>

#include "core/err.h"
#include "pinhole/engine.h"

struct step {
	enum pinhole_state next;
	int event;
};

/* A pinhole that is there stays there when it is opened again (renewal), and when a renewal is refused: another third of
 * its lifetime is left. Refused after the helper may have lost it, it is lost: answers.c gives INPUT_LOST then. */
#define STAY(state) { state, STATE_NO_EVENT }
static const struct step steps[][STATE_INPUTS] = {
	[PINHOLE_RESERVED] = {
		[INPUT_OPENED] = { PINHOLE_ARMED, PINHOLE_EV_ARMED },
		[INPUT_REFUSED] = { PINHOLE_CLOSED, PINHOLE_EV_REFUSED },
		[INPUT_PACKET] = STAY(PINHOLE_RESERVED),
		[INPUT_CLOSE] = STAY(PINHOLE_DRAINING),
		[INPUT_CLOSED] = STAY(PINHOLE_RESERVED),
		[INPUT_EXPIRED] = STAY(PINHOLE_RESERVED), /* of an earlier process: it is being opened afresh */
		[INPUT_LOST] = STAY(PINHOLE_RESERVED),
		[INPUT_NO_HELPER] = { PINHOLE_CLOSED, PINHOLE_EV_REFUSED },
	},
	[PINHOLE_ARMED] = {
		[INPUT_OPENED] = STAY(PINHOLE_ARMED),
		[INPUT_REFUSED] = STAY(PINHOLE_ARMED),
		[INPUT_PACKET] = { PINHOLE_BOUND, PINHOLE_EV_BOUND },
		[INPUT_CLOSE] = STAY(PINHOLE_DRAINING),
		[INPUT_CLOSED] = STAY(PINHOLE_ARMED),
		[INPUT_EXPIRED] = { PINHOLE_CLOSED, PINHOLE_EV_EXPIRED },
		[INPUT_LOST] = { PINHOLE_CLOSED, PINHOLE_EV_LOST },
		[INPUT_NO_HELPER] = STAY(PINHOLE_ARMED), /* the kernel goes on by itself */
	},
	[PINHOLE_BOUND] = {
		[INPUT_OPENED] = STAY(PINHOLE_BOUND),
		[INPUT_REFUSED] = STAY(PINHOLE_BOUND),
		[INPUT_PACKET] = STAY(PINHOLE_BOUND),
		[INPUT_CLOSE] = STAY(PINHOLE_DRAINING),
		[INPUT_CLOSED] = STAY(PINHOLE_BOUND),
		[INPUT_EXPIRED] = { PINHOLE_CLOSED, PINHOLE_EV_EXPIRED },
		[INPUT_LOST] = { PINHOLE_CLOSED, PINHOLE_EV_LOST },
		[INPUT_NO_HELPER] = STAY(PINHOLE_BOUND),
	},
	[PINHOLE_DRAINING] = {
		[INPUT_OPENED] = STAY(PINHOLE_DRAINING), /* it was closed before the answer came; the close is on its way */
		[INPUT_REFUSED] = STAY(PINHOLE_DRAINING),
		[INPUT_PACKET] = STAY(PINHOLE_DRAINING),
		[INPUT_CLOSE] = STAY(PINHOLE_DRAINING),
		[INPUT_CLOSED] = { PINHOLE_CLOSED, PINHOLE_EV_CLOSED },
		[INPUT_EXPIRED] = STAY(PINHOLE_DRAINING),
		[INPUT_LOST] = STAY(PINHOLE_DRAINING),
		[INPUT_NO_HELPER] = { PINHOLE_CLOSED, PINHOLE_EV_CLOSED },
	},
	[PINHOLE_CLOSED] = {
		[INPUT_OPENED] = STAY(PINHOLE_CLOSED), [INPUT_REFUSED] = STAY(PINHOLE_CLOSED),
		[INPUT_PACKET] = STAY(PINHOLE_CLOSED), [INPUT_CLOSE] = STAY(PINHOLE_CLOSED),
		[INPUT_CLOSED] = STAY(PINHOLE_CLOSED), [INPUT_EXPIRED] = STAY(PINHOLE_CLOSED),
		[INPUT_LOST] = STAY(PINHOLE_CLOSED), [INPUT_NO_HELPER] = STAY(PINHOLE_CLOSED),
	},
};

#define EVENTS "postern_pinhole_events_total"
#define EVENTS_HELP "What happened to pinholes."
#define OPEN "postern_pinholes"
#define OPEN_HELP "Pinholes that are in the kernel, by path."
#define REFUSALS "postern_pinhole_refusals_total"
#define REFUSALS_HELP "Pinholes that the helper refused, renewals included, by kind of reason."
#define AUDIT "postern_pinhole_audit_total"
#define AUDIT_HELP "What audits found and put right: ours but not in the kernel, in the kernel but nobody's."

enum { M_OPEN /* a row for each path, from PINHOLE_XDP */, M_EVENTS = M_OPEN + PINHOLE_PATHS - PINHOLE_XDP,
       M_REFUSALS = M_EVENTS + PINHOLE_EV_CLOSED + 1,
       R_LIMIT = M_REFUSALS, R_DENIED, R_UNSUPPORTED, R_EXISTS, R_MEMORY, R_KERNEL, R_NO_HELPER, M_STARTS, M_UP, M_MISSING, M_ORPHANS,
       METRICS };

static struct metric metrics[METRICS] = {
	[M_OPEN + PINHOLE_XDP - PINHOLE_XDP] = { OPEN, "path=\"xdp\"", OPEN_HELP, METRIC_GAUGE, 0, 0 },
	[M_OPEN + PINHOLE_TC - PINHOLE_XDP] = { OPEN, "path=\"tc\"", OPEN_HELP, METRIC_GAUGE, 0, 0 },
	[M_OPEN + PINHOLE_CONNTRACK - PINHOLE_XDP] = { OPEN, "path=\"conntrack\"", OPEN_HELP, METRIC_GAUGE, 0, 0 },
	[M_OPEN + PINHOLE_NFT - PINHOLE_XDP] = { OPEN, "path=\"nft\"", OPEN_HELP, METRIC_GAUGE, 0, 0 },
	[M_EVENTS + PINHOLE_EV_ARMED] = { EVENTS, "event=\"armed\"", EVENTS_HELP, METRIC_COUNTER, 0, 0 },
	[M_EVENTS + PINHOLE_EV_BOUND] = { EVENTS, "event=\"bound\"", EVENTS_HELP, METRIC_COUNTER, 0, 0 },
	[M_EVENTS + PINHOLE_EV_REFUSED] = { EVENTS, "event=\"refused\"", EVENTS_HELP, METRIC_COUNTER, 0, 0 },
	[M_EVENTS + PINHOLE_EV_LOST] = { EVENTS, "event=\"lost\"", EVENTS_HELP, METRIC_COUNTER, 0, 0 },
	[M_EVENTS + PINHOLE_EV_EXPIRED] = { EVENTS, "event=\"expired\"", EVENTS_HELP, METRIC_COUNTER, 0, 0 },
	[M_EVENTS + PINHOLE_EV_CLOSED] = { EVENTS, "event=\"closed\"", EVENTS_HELP, METRIC_COUNTER, 0, 0 },
	[R_LIMIT] = { REFUSALS, "reason=\"limit\"", REFUSALS_HELP, METRIC_COUNTER, 0, 0 },
	[R_DENIED] = { REFUSALS, "reason=\"denied\"", REFUSALS_HELP, METRIC_COUNTER, 0, 0 },
	[R_UNSUPPORTED] = { REFUSALS, "reason=\"unsupported\"", REFUSALS_HELP, METRIC_COUNTER, 0, 0 },
	[R_EXISTS] = { REFUSALS, "reason=\"exists\"", REFUSALS_HELP, METRIC_COUNTER, 0, 0 },
	[R_MEMORY] = { REFUSALS, "reason=\"memory\"", REFUSALS_HELP, METRIC_COUNTER, 0, 0 },
	[R_KERNEL] = { REFUSALS, "reason=\"kernel\"", REFUSALS_HELP, METRIC_COUNTER, 0, 0 },
	[R_NO_HELPER] = { REFUSALS, "reason=\"no_helper\"", REFUSALS_HELP, METRIC_COUNTER, 0, 0 },
	[M_STARTS] = { "postern_pinhole_helper_starts_total", NULL, "Times that the privileged helper became ready.",
		       METRIC_COUNTER, 0, 0 },
	[M_UP] = { "postern_pinhole_helper_up", NULL, "1 while the privileged helper serves.", METRIC_GAUGE, 0, 0 },
	[M_MISSING] = { AUDIT, "found=\"missing\"", AUDIT_HELP, METRIC_COUNTER, 0, 0 },
	[M_ORPHANS] = { AUDIT, "found=\"orphan\"", AUDIT_HELP, METRIC_COUNTER, 0, 0 },
};
static struct metric_histogram setup = {
	.metric = { "postern_pinhole_setup_seconds", NULL, "From the request for a pinhole to its place in the kernel.",
		    METRIC_HISTOGRAM, 0.000001, 0 },
	.bounds = { 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000, 200000, 1000000, 10000000 }, .n_bounds = 13,
};

void state_register_metrics(void)
{
	static bool is_done;

	if (is_done)
		return;
	metrics_register(metrics, METRICS);
	metrics_register_histogram(&setup);
	is_done = true;
}

void state_count_refusal(struct pinholes *engine, int err)
{
	static const struct {
		int err;
		unsigned metric;
	} kinds[] = {
		{ ERR_LIMIT, R_LIMIT }, { ERR_DENIED, R_DENIED }, { ERR_UNSUPPORTED, R_UNSUPPORTED }, { ERR_EXISTS, R_EXISTS },
		{ -ENOMEM, R_MEMORY }, { -ENOSPC, R_LIMIT }, { -E2BIG, R_LIMIT }, { ERR_CLOSED, R_NO_HELPER },
	};
	unsigned metric = R_KERNEL;

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].err == err)
			metric = kinds[i].metric;
	metric_add(&metrics[metric], 1);
	engine->counts.refused++;
	if (metric == R_LIMIT)
		engine_note_room(engine, false);
}

void state_count_start(struct pinholes *engine, bool is_up)
{
	metric_set(&metrics[M_UP], is_up);
	if (is_up) {
		metric_add(&metrics[M_STARTS], 1);
		engine->counts.helper_starts++;
	}
}

void state_count_audit(struct pinholes *engine, unsigned missing, unsigned orphans)
{
	metric_add(&metrics[M_MISSING], missing);
	metric_add(&metrics[M_ORPHANS], orphans);
	engine->counts.missing += missing;
	engine->counts.orphans += orphans;
}

void state_observe_setup(const struct pinhole *pinhole)
{
	metric_observe(&setup, (int64_t)(loop_clock_us(pinhole->engine->loop) - pinhole->asked_us));
}

void state_set_path(struct pinhole *pinhole, enum pinhole_path path)
{
	if (pinhole->path != PINHOLE_NONE)
		metric_add(&metrics[M_OPEN + pinhole->path - PINHOLE_XDP], -1);
	if (path != PINHOLE_NONE)
		metric_add(&metrics[M_OPEN + path - PINHOLE_XDP], 1);
	pinhole->path = path;
}

bool state_is_live(const struct pinhole *pinhole)
{
	return pinhole->state <= PINHOLE_BOUND;
}

bool state_is_in_kernel(const struct pinhole *pinhole)
{
	return pinhole->state == PINHOLE_ARMED || pinhole->state == PINHOLE_BOUND;
}

int state_step(struct pinhole *pinhole, enum state_input input)
{
	const struct step *step = &steps[pinhole->state][input];

	pinhole->state = step->next;
	if (step->next != PINHOLE_ARMED)
		list_remove(&pinhole->unbound);
	else if (step->event == PINHOLE_EV_ARMED)
		list_append(&pinhole->engine->unbound, &pinhole->unbound);
	if (step->next == PINHOLE_CLOSED) {
		loop_timer_stop(&pinhole->renewal);
		list_remove(&pinhole->queue);
		pinhole->want = WANT_NOTHING;
	}
	return step->event;
}

void state_free(struct pinhole *pinhole)
{
	state_set_path(pinhole, PINHOLE_NONE);
	loop_timer_stop(&pinhole->renewal);
	hash_table_remove(pinhole->engine->by_id, &pinhole->node);
	list_remove(&pinhole->all);
	list_remove(&pinhole->queue);
	list_remove(&pinhole->unbound);
	list_remove(&pinhole->look);
	free(pinhole);
}

/* No request names it and its owner has been told of its end. */
static void free_if_over(struct pinhole *pinhole)
{
	if (pinhole->state == PINHOLE_CLOSED && pinhole->is_told && pinhole->n_requests == 0)
		state_free(pinhole);
}

void state_release(struct pinhole *pinhole)
{
	pinhole->n_requests--;
	free_if_over(pinhole);
}

void state_tell(struct pinhole *pinhole, int event)
{
	if (event == STATE_NO_EVENT)
		return;
	metric_add(&metrics[M_EVENTS + event], 1);
	if (event == PINHOLE_EV_LOST)
		pinhole->engine->counts.lost++;
	if (pinhole->fn != NULL)
		pinhole->fn(pinhole->arg, pinhole, (enum pinhole_event)event);
	pinhole->is_told = pinhole->state == PINHOLE_CLOSED;
	free_if_over(pinhole);
}

void state_input(struct pinhole *pinhole, enum state_input input)
{
	state_tell(pinhole, state_step(pinhole, input));
}

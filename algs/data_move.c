/* Octets of relayed data. A direction ("way", data_way.h) is read only while nothing is in it, so a slow receiver slows the sender, and
 * no turn of the loop moves more than DATA_TURN_MAX octets of it. Limits, and whoever looks at octets, see them without TLS.
 *
 * The end is said when the receiver's kernel has acknowledged everything: what the control channel says next ("226 complete") then
 * comes behind the data, whatever way each takes. */
#include <errno.h>

#include "algs/data_inside.h"
#include "core/err.h"

enum {
	FIRST_STEP_MS = 20, FIRST_STEPS = 25, /* for the first octets to become DATA_FIRST_MAX */
	PAUSE_MS = 20,          /* of a way whose rate is used up */
	SETTLE_MS = 5, SETTLE_MAX_MS = 50, /* between looks whether all was acknowledged */
	QUIET_MS = 100,         /* of the other way, when nobody said who sends */
	LINGER_MS = 60000,      /* after the end of one way, without octets */
	FREED_LINGER_MS = 3000, /* likewise, when nobody waits for it any more */
};

static void wait_for_first(struct data *data);

static uint64_t allowance(struct data *data)
{
	const uint64_t now_ms = loop_now_ms(data->conf.loop);
	const uint64_t rate = data->limits.bytes_per_s;
	uint64_t most = DATA_WAY_MAX;

	if (data->limits.max_bytes != 0 && data->limits.max_bytes - data->taken < most)
		most = data->limits.max_bytes - data->taken;
	if (rate == 0)
		return most;
	if (now_ms > data->tokens_ms) {
		uint64_t burst = rate / DATA_BURST_PER_S + 1;
		/* Longer than a burst takes cannot matter; so nothing overflows. */
		uint64_t passed_ms = now_ms - data->tokens_ms < 1000 ? now_ms - data->tokens_ms : 1000;
		uint64_t more = passed_ms * rate / 1000;

		if (more > 0) {
			data->tokens = data->tokens + more < burst ? data->tokens + more : burst;
			data->tokens_ms = now_ms;
		}
	}
	return data->tokens < most ? data->tokens : most;
}

static bool is_limit_reached(const struct data *data)
{
	return data->limits.max_bytes != 0 && data->taken >= data->limits.max_bytes;
}

/* A receiver that goes without close_notify has what it came for; whose octets these were must have said that they are all. */
static bool may_truncate(const struct data *data, int side)
{
	if (data->conf.security[side].may_truncate)
		return true;
	if (data->limits.has_sender)
		return (int)data->limits.sender != side;
	return data->ways[side].octets == 0 && data->ways[!side].octets > 0;
}

static void count(struct data *data, uint64_t n)
{
	data->taken += n;
	if (data->limits.bytes_per_s != 0)
		data->tokens -= n < data->tokens ? n : data->tokens;
}

/* 1: octets came or the end, 0: nothing now, negative: over. */
static int fill(struct data *data, int side)
{
	struct data_way *way = &data->ways[side];
	uint64_t most = allowance(data);
	char octet;
	int n;

	if (way->has_ended)
		return 0;
	if (most == 0 && !is_limit_reached(data)) { /* the rate is used up */
		if (!loop_timer_is_running(&data->pause))
			loop_timer_start(&data->pause, PAUSE_MS);
		return 0;
	}
	if (most > 0)
		n = data_way_fill(way, &data->ends[side], most);
	else /* the end may come, but nothing else */
		n = data_end_read(&data->ends[side], &octet, 1);
	if (n > 0 && most == 0)
		return ERR_LIMIT;
	if (n == ERR_CLOSED || (n == ERR_TRUNCATED && may_truncate(data, side))) {
		way->has_ended = true;
		return 1;
	}
	if (n <= 0)
		return n;
	count(data, (uint64_t)n);
	return 1;
}

static int drain(struct data *data, int side)
{
	struct data_way *way = &data->ways[side];
	int n = data_way_drain(way, &data->ends[!side]);

	if (n <= 0)
		return n;
	data->stats.octets[side] = way->octets;
	data->stats.moved_ms = loop_now_ms(data->conf.loop);
	return 1;
}

/* On failure *ret_at is whose end it was. */
static int move(struct data *data, int side, int *ret_at)
{
	struct data_way *way = &data->ways[side];
	uint64_t before = way->octets;

	while (way->octets - before < DATA_TURN_MAX) {
		int filled = way->fill == 0 ? fill(data, side) : 0;
		int drained = filled < 0 ? 0 : drain(data, side);

		if (filled < 0 || drained < 0) {
			*ret_at = filled < 0 ? side : !side;
			return filled < 0 ? filled : drained;
		}
		if (filled == 0 && drained == 0)
			break;
	}
	if (way->has_ended && way->fill == 0 && !way->is_shut)
		way->is_shut = data_end_shut(&data->ends[!side]) == 1;
	/* What TLS has taken from the kernel already does not wake us. */
	if (way->octets - before >= DATA_TURN_MAX && data_end_has_pending(&data->ends[side]) && !loop_timer_is_running(&data->pause))
		loop_timer_start(&data->pause, 0);
	return 0;
}

static void want(struct data *data)
{
	bool is_paused = loop_timer_is_running(&data->pause);

	for (int side = 0; side < DATA_SIDES; side++) {
		const struct data_way *from = &data->ways[side], *to = &data->ways[!side];
		bool may_read = !from->has_ended && from->fill == 0 && !is_paused;
		bool may_write = to->fill > 0 || (to->has_ended && !to->is_shut);

		data_end_want(&data->ends[side], (may_read ? LOOP_READ : 0) | (may_write ? LOOP_WRITE : 0) | data_end_wants(&data->ends[side]));
	}
}

/* ---- the end, said when it is one ------------------------------------------------------------------------------------------- */

static bool is_way_over(struct data *data, int side)
{
	bool has_moved = false;
	bool is_over = data->ways[side].is_shut && data_end_is_taken(&data->ends[!side], &has_moved);

	if (has_moved)
		data->stats.moved_ms = loop_now_ms(data->conf.loop);
	return is_over;
}

static bool is_all_over(struct data *data)
{
	uint64_t now_ms = loop_now_ms(data->conf.loop);
	bool is_over[2] = { is_way_over(data, 0), is_way_over(data, 1) };

	if (is_over[0] && is_over[1])
		return true;
	if (data->limits.has_sender)
		return is_over[data->limits.sender];
	return (is_over[0] || is_over[1]) && now_ms - data->stats.moved_ms >= QUIET_MS;
}

static void settle(struct data *data)
{
	uint64_t now_ms = loop_now_ms(data->conf.loop);

	if (!data->is_settling) {
		data->is_settling = true;
		data->settle_ms = SETTLE_MS;
		if (data->stats.moved_ms == 0)
			data->stats.moved_ms = now_ms;
	}
	if (!data->is_told && is_all_over(data))
		data_tell(data, DATA_ENDED);
	if ((data->ways[0].is_shut && data->ways[1].is_shut && data->is_told) ||
	    (data->is_freed && now_ms - data->stats.moved_ms > FREED_LINGER_MS)) {
		data_finish(data, false);
		return;
	}
	if (now_ms - data->stats.moved_ms > LINGER_MS) {
		data_break_off(data, "one side did not end it");
		return;
	}
	loop_timer_start(&data->timer, data->is_told ? SETTLE_MAX_MS * 10 : data->settle_ms);
	data->settle_ms = data->settle_ms * 2 < SETTLE_MAX_MS ? data->settle_ms * 2 : SETTLE_MAX_MS;
}

static void fail(struct data *data, int side, int err)
{
	const char *text = data_end_error(&data->ends[side]);

	if (err == -ECONNRESET || err == -EPIPE)
		data_break_off(data, "reset by one side");
	else if (text[0] != '\0')
		data_break_off_at(data, side, text);
	else
		data_break_off(data, err_str(err));
}

void data_flow(struct data *data)
{
	if (data->state != DATA_FLOWING)
		return;
	if (data->is_first_due) {
		wait_for_first(data);
		return;
	}
	for (int side = 0; side < 2; side++) {
		int at = side, err = move(data, side, &at);

		if (err == ERR_LIMIT) {
			data->sender = side;
			data_tell(data, DATA_LIMIT);
			data_refuse(data);
			data->stats.reason = "larger than the profile allows";
			return;
		}
		if (err < 0) {
			fail(data, at, err);
			return;
		}
	}
	want(data);
	if (data->ways[0].is_shut || data->ways[1].is_shut)
		settle(data);
}

void data_on_pause(struct loop_timer *timer, void *arg)
{
	(void)timer;
	data_flow(arg);
}

/* ---- the first octets ------------------------------------------------------------------------------------------------------- */

/* A sender that is known is looked at alone: what the other says must not pass for it. */
static bool is_looked_at(const struct data *data, int side)
{
	return !data->limits.has_sender || (int)data->limits.sender == side;
}

static void want_first(struct data *data, int events)
{
	for (int side = 0; side < DATA_SIDES; side++)
		data_end_want(&data->ends[side], is_looked_at(data, side) ? events : 0);
}

/* Where octets are in memory they come there until there are enough to look at. Negative: no more will. */
static int fill_first(struct data *data, int side)
{
	struct data_way *way = &data->ways[side];
	int n = 1;

	while (n > 0 && way->fill < DATA_FIRST_MAX && !way->has_ended && !is_limit_reached(data))
		n = fill(data, side);
	return way->has_ended || is_limit_reached(data) ? ERR_CLOSED : n;
}

/* True when no more of them will come. */
static bool look_at(struct data *data, int side)
{
	char first[DATA_FIRST_MAX];
	bool is_end = data->ways[side].is_in_memory && fill_first(data, side) < 0;
	int n = data_way_peek(&data->ways[side], &data->ends[side], first, sizeof(first));

	if (n > 0 && (size_t)n > data->n_first) {
		memcpy(data->first, first, (size_t)n);
		data->n_first = (size_t)n;
	}
	return is_end || n < 0;
}

static void wait_for_first(struct data *data)
{
	bool is_end = false;

	for (int side = 0; side < DATA_SIDES && data->n_first < DATA_FIRST_MAX; side++)
		is_end |= is_looked_at(data, side) && look_at(data, side);
	if (data->n_first == 0 && !is_end) { /* nothing at all may take its time */
		want_first(data, LOOP_READ);
		return;
	}
	want_first(data, 0); /* what is there must not wake us again and again */
	if (data->n_first < DATA_FIRST_MAX && !is_end && data->first_steps++ < FIRST_STEPS) {
		loop_timer_start(&data->timer, FIRST_STEP_MS);
		return;
	}
	data->state = DATA_HELD;
	data->is_held = true;
	data_tell(data, DATA_FIRST);
}

struct span data_first(const struct data *data)
{
	return (struct span){ data->first, data->n_first };
}

void data_begin(struct data *data)
{
	data->state = data->is_held ? DATA_HELD : DATA_FLOWING;
	if (data->is_held)
		want_first(data, 0);
	data_flow(data);
}

void data_go(struct data *data)
{
	data->is_held = data->is_first_due = false;
	if (data->state == DATA_HELD)
		data_begin(data);
}

void data_allow(struct data *data, const struct data_limits *limits)
{
	if (data->taken > 0 || data->state == DATA_OVER)
		return;
	data->limits = *limits;
	data->tokens = limits->bytes_per_s / DATA_BURST_PER_S + 1;
	data->tokens_ms = loop_now_ms(data->conf.loop);
	data->is_first_due = limits->wants_first;
	data->is_held = false;
	data->first_steps = 0;
	data_give_time(data);
	if (data->state == DATA_HELD)
		data_begin(data);
}

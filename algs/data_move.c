/* Octets of relayed data. Each direction ("way") has a pipe: octets go from socket to pipe to socket inside the kernel. A way is read only
 * while its pipe is empty, so a slow receiver slows the sender, and no turn of the loop moves more than DATA_TURN_MAX octets of one way.
 *
 * The end is said when the receiver's kernel has acknowledged everything: what the control channel says next ("226 complete") then
 * comes behind the data, whatever way each takes. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "algs/data_inside.h"
#include "core/err.h"

enum {
	FIRST_STEP_MS = 20, FIRST_STEPS = 25, /* for the first octets to become DATA_FIRST_MAX */
	PAUSE_MS = 20,          /* of a way whose rate is used up */
	SETTLE_MS = 5, SETTLE_MAX_MS = 50, /* between looks whether all was acknowledged */
	QUIET_MS = 100,         /* of the other way, when nobody said who sends */
	LINGER_MS = 60000,      /* after the end of one way, without octets */
};

static void wait_for_first(struct data *data);

static uint64_t allowance(struct data *data)
{
	const uint64_t now_ms = loop_now_ms(data->conf.loop);
	const uint64_t rate = data->limits.bytes_per_s;
	uint64_t most = DATA_PIPE_MAX;

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

static bool is_rate_used_up(const struct data *data)
{
	return data->limits.bytes_per_s != 0 && data->tokens == 0;
}

static bool has_pipe(struct way *way)
{
	if (way->pipe[0] >= 0)
		return true;
	if (pipe2(way->pipe, O_NONBLOCK | O_CLOEXEC) < 0) {
		way->pipe[0] = way->pipe[1] = -1;
		return false;
	}
	return true;
}

/* 1: octets came or the end, 0: nothing now, negative: over. */
static int fill(struct data *data, int side)
{
	struct way *way = &data->ways[side];
	uint64_t most = allowance(data);
	ssize_t n;
	char octet;

	if (way->has_ended)
		return 0;
	if (most == 0 && is_rate_used_up(data)) {
		if (!loop_timer_is_running(&data->pause))
			loop_timer_start(&data->pause, PAUSE_MS);
		return 0;
	}
	if (most == 0) { /* the limit is reached: the end may come, but nothing else */
		n = recv(data->fds[side], &octet, 1, MSG_PEEK | MSG_DONTWAIT);
		if (n > 0)
			return ERR_LIMIT;
	} else if (!has_pipe(way)) {
		return -EMFILE;
	} else {
		n = splice(data->fds[side], NULL, way->pipe[1], NULL, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	}
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		way->has_ended = true;
	way->fill += (size_t)n;
	data->taken += (uint64_t)n;
	if (data->limits.bytes_per_s != 0)
		data->tokens -= (uint64_t)n < data->tokens ? (uint64_t)n : data->tokens;
	return 1;
}

static int drain(struct data *data, int side)
{
	struct way *way = &data->ways[side];
	ssize_t n;

	way->is_blocked = false;
	if (way->fill == 0)
		return 0;
	n = splice(way->pipe[0], NULL, data->fds[!side], NULL, way->fill, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		way->is_blocked = true;
		return 0;
	}
	if (n <= 0)
		return n < 0 ? -errno : ERR_CLOSED;
	way->fill -= (size_t)n;
	way->octets += (uint64_t)n;
	data->stats.octets[side] = way->octets;
	data->stats.moved_ms = loop_now_ms(data->conf.loop);
	return 1;
}

static int move(struct data *data, int side)
{
	struct way *way = &data->ways[side];
	uint64_t before = way->octets;

	while (way->octets - before < DATA_TURN_MAX) {
		int filled = way->fill == 0 ? fill(data, side) : 0;
		int drained = filled < 0 ? 0 : drain(data, side);

		if (filled < 0 || drained < 0)
			return filled < 0 ? filled : drained;
		if (filled == 0 && drained == 0)
			break;
	}
	if (way->has_ended && way->fill == 0 && !way->is_shut) {
		way->is_shut = true;
		(void)shutdown(data->fds[!side], SHUT_WR);
	}
	return 0;
}

static void want(struct data *data)
{
	bool is_paused = loop_timer_is_running(&data->pause);

	for (int i = 0; i < 2; i++) {
		const struct way *from = &data->ways[i], *to = &data->ways[!i];
		int events = (!from->has_ended && from->fill == 0 && !is_paused ? LOOP_READ : 0) | (to->fill > 0 ? LOOP_WRITE : 0);

		if (data->watches[i] != NULL)
			(void)loop_fd_want(data->watches[i], events);
	}
}

/* ---- the end, said when it is one ------------------------------------------------------------------------------------------- */

static bool is_gone(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_state == TCP_CLOSE;
}

/* Whether everything that was sent to that side has been acknowledged. */
static bool is_taken(struct data *data, int side)
{
	int waiting = 0;

	if (ioctl(data->fds[side], SIOCOUTQ, &waiting) < 0 || waiting <= 0)
		return true;
	if (waiting != data->unacked[side]) /* slowly, but it goes on */
		data->stats.moved_ms = loop_now_ms(data->conf.loop);
	data->unacked[side] = waiting;
	return is_gone(data->fds[side]);
}

static bool is_way_over(struct data *data, int side)
{
	return data->ways[side].is_shut && is_taken(data, !side);
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
	if (data->ways[0].is_shut && data->ways[1].is_shut && data->is_told) {
		data_close_all(data, false);
		return;
	}
	if (now_ms - data->stats.moved_ms > LINGER_MS) {
		data_break_off(data, "one side did not end it");
		return;
	}
	loop_timer_start(&data->timer, data->is_told ? SETTLE_MAX_MS * 10 : data->settle_ms);
	data->settle_ms = data->settle_ms * 2 < SETTLE_MAX_MS ? data->settle_ms * 2 : SETTLE_MAX_MS;
}

static const char *text_of(int err)
{
	return err == -ECONNRESET || err == -EPIPE ? "reset by one side" : err_str(err);
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
		int err = move(data, side);

		if (err == ERR_LIMIT) {
			data->sender = side;
			data_tell(data, DATA_LIMIT);
			data_refuse(data);
			data->stats.reason = "larger than the profile allows";
			return;
		}
		if (err < 0) {
			data_break_off(data, text_of(err));
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

static void stop_waiting(struct data *data)
{
	for (int i = 0; i < 2; i++)
		if (data->watches[i] != NULL)
			(void)loop_fd_want(data->watches[i], 0);
}

static void wait_for_first(struct data *data)
{
	bool is_end = false;

	for (int side = 0; side < 2 && data->n_first < DATA_FIRST_MAX; side++) {
		ssize_t n = recv(data->fds[side], data->first, sizeof(data->first), MSG_PEEK | MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			is_end = true;
		if (n > (ssize_t)data->n_first)
			data->n_first = (size_t)n;
	}
	if (data->n_first == 0 && !is_end) { /* nothing at all may take its time */
		for (int i = 0; i < 2; i++)
			(void)loop_fd_want(data->watches[i], LOOP_READ);
		return;
	}
	stop_waiting(data); /* what is there must not wake us again and again */
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
		stop_waiting(data);
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
	if (data->state == DATA_HELD)
		data_begin(data);
}

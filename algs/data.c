/* Relayed data. Each direction ("way") has a pipe: octets go from socket to pipe to socket inside the kernel. A way is read only while
 * its pipe is empty, so a slow receiver slows the sender, and no turn of the loop moves more than TURN_MAX octets of one way.
 *
 * The end is said when the receiver's kernel has acknowledged everything: what the control channel says next ("226 complete") then
 * comes behind the data, whatever way each takes. */
#include "algs/data.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "algs/tcp_leg.h"
#include "core/err.h"
#include "core/log.h"
#include "core/loop.h"
#include "pinhole/pinhole.h"

enum {
	PIPE_MAX = 64 << 10,
	TURN_MAX = 1 << 20,
	ACCEPTS_PER_TURN = 16,
	CONNECT_MS = 10000,
	FIRST_STEP_MS = 20, FIRST_STEPS = 25, /* for the first octets to become DATA_FIRST_MAX */
	PAUSE_MS = 20,          /* of a way whose rate is used up */
	BURST_PER_S = 4,        /* what may be saved up: a quarter of a second's */
	SETTLE_MS = 5, SETTLE_MAX_MS = 50, /* between looks whether all was acknowledged */
	QUIET_MS = 100,         /* of the other way, when nobody said who sends */
	REFUSE_MS = 3000, REFUSE_MAX = 64 << 20, /* of what is thrown away */
	LINGER_MS = 60000,      /* after the end of one way, without octets */
};

enum data_state { DATA_BOUND, DATA_LISTENING, DATA_WAITING /* for data_arm() */, DATA_CONNECTING, DATA_HELD, DATA_FLOWING, DATA_REFUSED, DATA_OVER };

struct way {
	int pipe[2];
	size_t fill;
	bool has_ended, is_shut, is_blocked;
	uint64_t octets;
};

struct data {
	struct data_conf conf;
	data_event_fn *fn;
	void *arg;
	enum data_state state;
	int listen_fd;
	struct loop_fd *listen_watch;
	struct pinhole_socket_request *request;
	int fds[2];
	struct loop_fd *watches[2];
	struct way ways[2]; /* by who sends */
	struct loop_timer timer, pause;
	struct data_limits limits;
	struct list node; /* among the leavers */
	int sender;       /* whose data is refused */
	uint64_t refused;
	bool is_freed;
	bool is_held, is_early, is_first_due, is_settling, is_told;
	unsigned first_steps;
	uint32_t settle_ms;
	int unacked[2];
	uint64_t taken, tokens, tokens_ms;
	char first[DATA_FIRST_MAX];
	size_t n_first;
	struct data_stats stats;
};

static void flow(struct data *data);
static void wait_for_first(struct data *data);

static void tell(struct data *data, enum data_event event)
{
	if (event == DATA_LIMIT || event == DATA_ENDED) {
		if (data->is_told)
			return;
		data->is_told = true;
	}
	data->fn(data->arg, event);
}

/* ---- ends ------------------------------------------------------------------------------------------------------------------ */

static void stop_listening(struct data *data)
{
	loop_fd_close(data->listen_watch);
	data->listen_watch = NULL;
	if (data->listen_fd >= 0)
		close(data->listen_fd);
	data->listen_fd = -1;
}

static void close_all(struct data *data, bool is_reset)
{
	loop_timer_stop(&data->timer);
	loop_timer_stop(&data->pause);
	stop_listening(data);
	if (data->request != NULL)
		pinhole_socket_cancel(data->request);
	data->request = NULL;
	for (int i = 0; i < 2; i++) {
		loop_fd_close(data->watches[i]);
		data->watches[i] = NULL;
		if (data->fds[i] >= 0 && is_reset)
			tcp_leg_reset_on_close(data->fds[i]);
		if (data->fds[i] >= 0)
			close(data->fds[i]);
		data->fds[i] = -1;
		for (int j = 0; j < 2; j++) {
			if (data->ways[i].pipe[j] >= 0)
				close(data->ways[i].pipe[j]);
			data->ways[i].pipe[j] = -1;
		}
	}
	data->state = DATA_OVER;
}

static void break_off(struct data *data, const char *reason)
{
	data->stats.is_broken = true;
	data->stats.reason = reason;
	close_all(data, true);
	tell(data, DATA_ENDED);
}

/* Nobody is left who would know of it. */
static void leave(struct data *data)
{
	list_remove(&data->node);
	free(data);
}

static void throw_away(struct data *data)
{
	int fd = data->fds[data->sender];
	ssize_t n = 1;

	for (int i = 0; i < TURN_MAX / PIPE_MAX && n > 0; i++) {
		n = recv(fd, NULL, PIPE_MAX, MSG_TRUNC | MSG_DONTWAIT);
		data->refused += n > 0 ? (uint64_t)n : 0;
	}
	if (n > 0 && data->refused < REFUSE_MAX)
		return;
	if (n < 0 && (errno == EAGAIN || errno == EINTR) && data->refused < REFUSE_MAX)
		return;
	close_all(data, n != 0); /* its end is one that it may believe in */
	if (data->is_freed)
		leave(data);
}

void data_refuse(struct data *data)
{
	int receiver;

	data->is_told = true;
	if (data->state != DATA_FLOWING && data->state != DATA_HELD) {
		data_cut(data);
		return;
	}
	data->stats.is_broken = true;
	data->stats.reason = "refused by the profile";
	if (data->limits.has_sender)
		data->sender = (int)data->limits.sender;
	receiver = !data->sender;
	stop_listening(data);
	loop_timer_stop(&data->pause);
	loop_fd_close(data->watches[receiver]);
	data->watches[receiver] = NULL;
	tcp_leg_reset_on_close(data->fds[receiver]);
	close(data->fds[receiver]);
	data->fds[receiver] = -1;
	data->state = DATA_REFUSED;
	(void)loop_fd_want(data->watches[data->sender], LOOP_READ);
	loop_timer_start(&data->timer, REFUSE_MS);
}

void data_cut(struct data *data)
{
	data->is_told = true;
	if (data->state == DATA_OVER)
		return;
	data->stats.is_broken = true;
	data->stats.reason = "cut by the gateway";
	close_all(data, true);
}

/* ---- moving octets --------------------------------------------------------------------------------------------------------- */

static uint64_t allowance(struct data *data)
{
	const uint64_t now_ms = loop_now_ms(data->conf.loop);
	const uint64_t rate = data->limits.bytes_per_s;
	uint64_t most = PIPE_MAX;

	if (data->limits.max_bytes != 0 && data->limits.max_bytes - data->taken < most)
		most = data->limits.max_bytes - data->taken;
	if (rate == 0)
		return most;
	if (now_ms > data->tokens_ms) {
		uint64_t burst = rate / BURST_PER_S + 1;
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

	while (way->octets - before < TURN_MAX) {
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
		tell(data, DATA_ENDED);
	if (data->ways[0].is_shut && data->ways[1].is_shut && data->is_told) {
		close_all(data, false);
		return;
	}
	if (now_ms - data->stats.moved_ms > LINGER_MS) {
		break_off(data, "one side did not end it");
		return;
	}
	loop_timer_start(&data->timer, data->is_told ? SETTLE_MAX_MS * 10 : data->settle_ms);
	data->settle_ms = data->settle_ms * 2 < SETTLE_MAX_MS ? data->settle_ms * 2 : SETTLE_MAX_MS;
}

static const char *text_of(int err)
{
	return err == -ECONNRESET || err == -EPIPE ? "reset by one side" : err_str(err);
}

static void flow(struct data *data)
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
			tell(data, DATA_LIMIT);
			data_refuse(data);
			data->stats.reason = "larger than the profile allows";
			return;
		}
		if (err < 0) {
			break_off(data, text_of(err));
			return;
		}
	}
	want(data);
	if (data->ways[0].is_shut || data->ways[1].is_shut)
		settle(data);
}

static void on_pause(struct loop_timer *timer, void *arg)
{
	(void)timer;
	flow(arg);
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
	tell(data, DATA_FIRST);
}

struct span data_first(const struct data *data)
{
	return (struct span){ data->first, data->n_first };
}

static void begin(struct data *data)
{
	data->state = data->is_held ? DATA_HELD : DATA_FLOWING;
	if (data->is_held)
		stop_waiting(data);
	flow(data);
}

void data_go(struct data *data)
{
	data->is_held = data->is_first_due = false;
	if (data->state == DATA_HELD)
		begin(data);
}

void data_allow(struct data *data, const struct data_limits *limits)
{
	if (data->taken > 0 || data->state == DATA_OVER)
		return;
	data->limits = *limits;
	data->tokens = limits->bytes_per_s / BURST_PER_S + 1;
	data->tokens_ms = loop_now_ms(data->conf.loop);
	data->is_first_due = limits->wants_first;
	data->is_held = false;
	data->first_steps = 0;
	if (data->state == DATA_HELD)
		begin(data);
}

/* ---- connections ------------------------------------------------------------------------------------------------------------ */

static void on_timer(struct loop_timer *timer, void *arg)
{
	struct data *data = arg;

	(void)timer;
	if (data->state == DATA_REFUSED) {
		close_all(data, true);
		if (data->is_freed)
			leave(data);
		return;
	}
	if (data->state == DATA_CONNECTING)
		break_off(data, "the far end did not answer");
	else
		flow(data);
}

static void on_connected(struct data *data)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(data->fds[DATA_TARGET], SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error != 0) {
		break_off(data, "the far end refused the connection");
		return;
	}
	loop_timer_stop(&data->timer);
	data->stats.from = tcp_leg_local(data->fds[DATA_TARGET]);
	begin(data);
}

static void on_fd(void *arg, int fd, int events)
{
	struct data *data = arg;

	(void)events;
	if (data->state == DATA_REFUSED)
		throw_away(data);
	else if (data->state == DATA_CONNECTING && fd == data->fds[DATA_TARGET])
		on_connected(data);
	else
		flow(data);
}

/* fd_take: bound, or negative: the reason why there is none. */
static void connect_on(struct data *data, int fd_take)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&data->conf.target, &sa);
	int fd = fd_take, err = fd < 0 ? fd : 0;

	data->fds[DATA_TARGET] = fd;
	if (err == 0 && connect(fd, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS)
		err = -errno;
	if (err == 0)
		err = loop_fd_open(data->conf.loop, fd, LOOP_WRITE, on_fd, data, &data->watches[DATA_TARGET]);
	if (err < 0) {
		break_off(data, "the far end cannot be reached");
		return;
	}
	loop_timer_start(&data->timer, CONNECT_MS);
}

static void connect_from_own(struct data *data)
{
	int fd = -1;
	int err = tcp_leg_socket(&data->conf.from, &fd);

	connect_on(data, err < 0 ? err : fd);
}

static void on_socket(void *arg, int fd)
{
	struct data *data = arg;

	data->request = NULL;
	if (fd >= 0)
		connect_on(data, fd);
	else
		connect_from_own(data);
}

static void connect_to_target(struct data *data)
{
	struct pinhole_socket wanted = { .realm = data->conf.realm, .addr = data->stats.dialler, .proto = IPPROTO_TCP,
					 .is_transparent = true, .is_connecting = true };

	wanted.addr.port = 0;
	data->state = DATA_CONNECTING;
	loop_timer_start(&data->timer, CONNECT_MS);
	if (!data->conf.is_as_dialler || data->conf.pinholes == NULL ||
	    pinhole_socket_open(data->conf.pinholes, &wanted, on_socket, data, &data->request) < 0)
		connect_from_own(data);
}

static void go_on(struct data *data)
{
	tell(data, DATA_OPENED);
	connect_to_target(data);
}

static void refuse(struct data *data, int fd, const struct addr *source)
{
	char text[ADDR_TEXT_MAX];

	tcp_leg_reset_on_close(fd);
	close(fd);
	data->stats.foreign++;
	LOG_GATED(5, LOG_WARN, "alg", "data connection of a third host refused", LF_TEXT("source", addr_text(source, text)));
}

static void take(struct data *data, int fd, const struct addr *source)
{
	stop_listening(data);
	data->stats.dialler = *source;
	data->fds[DATA_DIALLER] = fd;
	if (loop_fd_open(data->conf.loop, fd, 0, on_fd, data, &data->watches[DATA_DIALLER]) < 0) {
		break_off(data, "out of memory");
		return;
	}
	data->state = DATA_WAITING;
	if (!data->is_early)
		go_on(data);
}

void data_arm(struct data *data)
{
	data->is_early = false;
	if (data->state == DATA_WAITING)
		go_on(data);
}

static void look_for_connections(struct data *data)
{
	for (int i = 0; i < ACCEPTS_PER_TURN && data->state == DATA_LISTENING; i++) {
		int fd = accept4(data->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct addr source;

		if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
			break_off(data, "out of descriptors");
			return;
		}
		if (fd < 0)
			return;
		source = tcp_leg_remote(fd);
		if (addr_eq_ip(&source, &data->conf.allowed))
			take(data, fd, &source);
		else
			refuse(data, fd, &source);
	}
}

static void on_listener(void *arg, int fd, int events)
{
	(void)fd;
	(void)events;
	look_for_connections(arg);
}

int data_listen(struct data *data)
{
	int err = 0;

	if (data->state != DATA_BOUND)
		return ERR_STATE;
	if (listen(data->listen_fd, ACCEPTS_PER_TURN) < 0)
		err = -errno;
	if (err == 0)
		err = loop_fd_open(data->conf.loop, data->listen_fd, LOOP_READ, on_listener, data, &data->listen_watch);
	if (err == 0)
		data->state = DATA_LISTENING;
	return err;
}

/* ---- life ------------------------------------------------------------------------------------------------------------------- */

int data_new(const struct data_conf *conf, int listen_fd_take, data_event_fn *fn, void *arg, struct data **ret)
{
	struct data *data = calloc(1, sizeof(*data));

	if (data == NULL) {
		close(listen_fd_take);
		return -ENOMEM;
	}
	data->conf = *conf;
	data->fn = fn;
	data->arg = arg;
	data->listen_fd = listen_fd_take;
	data->is_held = conf->is_held;
	data->is_early = conf->is_early;
	data->sender = DATA_DIALLER;
	list_init(&data->node);
	for (int i = 0; i < 2; i++)
		data->fds[i] = data->ways[i].pipe[0] = data->ways[i].pipe[1] = -1;
	loop_timer_init(&data->timer, conf->loop, on_timer, data);
	loop_timer_init(&data->pause, conf->loop, on_pause, data);
	*ret = data;
	return 0;
}

void data_free(struct data *data)
{
	if (data == NULL)
		return;
	data->is_told = data->is_freed = true;
	if (data->state == DATA_REFUSED && data->conf.leavers != NULL) {
		list_append(data->conf.leavers, &data->node);
		return;
	}
	close_all(data, data->state == DATA_WAITING || data->state == DATA_REFUSED); /* nobody wanted it */
	free(data);
}

void data_leavers_free(struct list *leavers)
{
	LIST_EACH(leavers, node) {
		struct data *data = LIST_ENTRY(node, struct data, node);

		close_all(data, true);
		leave(data);
	}
}

bool data_has_connection(struct data *data)
{
	if (data->state == DATA_LISTENING)
		look_for_connections(data);
	return data->state > DATA_LISTENING && data->state < DATA_REFUSED;
}

bool data_is_busy(struct data *data)
{
	if (data->state == DATA_LISTENING)
		look_for_connections(data);
	return data->state >= DATA_CONNECTING && data->state <= DATA_FLOWING && !data->is_told;
}

void data_stats(const struct data *data, struct data_stats *ret)
{
	*ret = data->stats;
}

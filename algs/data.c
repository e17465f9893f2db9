/* Relayed data: who connects, to whom, and how it ends. What flows in between is data_move.c's. */
#include "algs/data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "algs/data_inside.h"
#include "algs/tcp_leg.h"
#include "core/err.h"
#include "core/log.h"
#include "pinhole/pinhole.h"

enum {
	ACCEPTS_PER_TURN = 16,
	REFUSE_MS = 3000, REFUSE_MAX = 64 << 20, /* of what is thrown away */
};

void data_tell(struct data *data, enum data_event event)
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

void data_close_all(struct data *data, bool is_reset)
{
	loop_timer_stop(&data->timer);
	loop_timer_stop(&data->pause);
	stop_listening(data);
	if (data->request != NULL)
		pinhole_socket_cancel(data->request);
	data->request = NULL;
	for (int side = 0; side < DATA_SIDES; side++) {
		data->is_connecting[side] = false;
		data_end_close(&data->ends[side], is_reset);
		data_way_close(&data->ways[side]);
	}
	data->state = DATA_OVER;
}

void data_finish(struct data *data, bool is_reset)
{
	data_close_all(data, is_reset);
	if (!data->is_freed)
		return;
	list_remove(&data->node);
	free(data);
}

void data_break_off(struct data *data, const char *reason)
{
	data->stats.is_broken = true;
	data->stats.reason = reason;
	data_tell(data, DATA_ENDED);
	data_finish(data, true);
}

void data_break_off_at(struct data *data, int side, const char *reason)
{
	data->stats.at = side;
	snprintf(data->reason, sizeof(data->reason), "%s", reason);
	data_break_off(data, data->reason);
}

static void throw_away(struct data *data)
{
	struct data_end *end = &data->ends[data->sender];
	ssize_t n = 1;

	for (int i = 0; i < DATA_TURN_MAX / DATA_WAY_MAX && n > 0; i++) { /* under TLS, too: nobody wants to know what it is */
		n = recv(end->fd, NULL, DATA_WAY_MAX, MSG_TRUNC | MSG_DONTWAIT);
		data->refused += n > 0 ? (uint64_t)n : 0;
	}
	if (n > 0 && data->refused < REFUSE_MAX)
		return;
	if (n < 0 && (errno == EAGAIN || errno == EINTR) && data->refused < REFUSE_MAX)
		return;
	if (n == 0) /* its end is one that it may believe in */
		(void)data_end_shut(end);
	data_finish(data, n != 0);
}

void data_refuse(struct data *data)
{
	data->is_told = true;
	if (data->state != DATA_FLOWING && data->state != DATA_HELD) {
		data_cut(data);
		return;
	}
	data->stats.is_broken = true;
	data->stats.reason = "refused by the profile";
	if (data->limits.has_sender)
		data->sender = (int)data->limits.sender;
	stop_listening(data);
	loop_timer_stop(&data->pause);
	data_end_close(&data->ends[!data->sender], true);
	data->state = DATA_REFUSED;
	data_end_want(&data->ends[data->sender], LOOP_READ);
	loop_timer_start(&data->timer, REFUSE_MS);
}

void data_cut(struct data *data)
{
	data->is_told = true;
	if (data->state == DATA_OVER)
		return;
	data->stats.is_broken = true;
	data->stats.reason = "cut by the gateway";
	data_close_all(data, true);
}

/* ---- connections ------------------------------------------------------------------------------------------------------------ */

static void on_timer(struct loop_timer *timer, void *arg)
{
	struct data *data = arg;

	(void)timer;
	if (data->state == DATA_REFUSED) {
		data_finish(data, true);
		return;
	}
	if (data->is_connecting[DATA_DIALLER] || data->is_connecting[DATA_TARGET])
		data_on_silence(data);
	else if (data->state == DATA_SECURING || data->state == DATA_DIALLING)
		data_break_off(data, "no TLS handshake in time");
	else
		data_flow(data);
}

void data_on_fd(void *arg, int fd, int events)
{
	struct data *data = arg;
	enum data_side side = fd == data->ends[DATA_TARGET].fd ? DATA_TARGET : DATA_DIALLER;

	(void)events;
	if (data->state == DATA_REFUSED)
		throw_away(data);
	else if (data->is_connecting[side])
		data_on_connected(data, side);
	else if (data->state == DATA_SECURING || data->state == DATA_DIALLING)
		data_shake_hands(data);
	else
		data_flow(data);
}

static void go_on(struct data *data)
{
	data_tell(data, DATA_OPENED);
	data->state = DATA_CONNECTING;
	data_connect(data, DATA_TARGET);
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
	if (data_end_open(&data->ends[DATA_DIALLER], data->conf.loop, fd, 0, data_on_fd, data) < 0) {
		data_break_off(data, "out of memory");
		return;
	}
	data->is_connected[DATA_DIALLER] = true;
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
			data_break_off(data, "out of descriptors");
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
		if (listen_fd_take >= 0)
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
	data->stats.at = -1;
	if (conf->is_dialled)
		data->stats.dialler = conf->allowed;
	list_init(&data->node);
	for (int side = 0; side < DATA_SIDES; side++) {
		data_end_init(&data->ends[side]);
		data_way_init(&data->ways[side]);
	}
	loop_timer_init(&data->timer, conf->loop, on_timer, data);
	loop_timer_init(&data->pause, conf->loop, data_on_pause, data);
	*ret = data;
	return 0;
}

/* Somebody still has something to say: a sender that is refused its rest, a receiver its own end, which under TLS are octets that would
 * meet a closed socket. */
static bool may_linger(const struct data *data)
{
	bool is_at_end = data->state == DATA_FLOWING && data->is_told && (data->ways[0].is_shut || data->ways[1].is_shut);

	return (data->state == DATA_REFUSED || is_at_end) && data->conf.leavers != NULL;
}

void data_free(struct data *data)
{
	bool is_leaver;

	if (data == NULL)
		return;
	is_leaver = may_linger(data);
	data->is_told = data->is_freed = true;
	if (is_leaver) {
		data->stats.moved_ms = loop_now_ms(data->conf.loop);
		list_append(data->conf.leavers, &data->node);
		return;
	}
	/* Nobody wanted it. */
	data_close_all(data, data->state == DATA_WAITING || data->state == DATA_DIALLING || data->state == DATA_REFUSED);
	free(data);
}

void data_leavers_free(struct list *leavers)
{
	LIST_EACH(leavers, node) {
		struct data *data = LIST_ENTRY(node, struct data, node);

		data_finish(data, data->state == DATA_REFUSED);
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

/* Listening sockets: opening them with or without the helper, accepting within bounds. */
#include "algs/listener.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "algs/host_metrics.h"
#include "algs/session.h"
#include "core/bus.h"
#include "core/err.h"
#include "core/log.h"

enum {
	ACCEPTS_PER_TURN = 16,
	BACKLOG = 128,
	RETRY_MS = 2000,
	REST_MS = 1000,           /* without descriptors, accepting again at once would only turn in circles */
	ALARM_AFTER = 3,          /* failures in a row: the helper needs a moment at the start */
	OPENING_MS = 15000,       /* as long as the helper may take to become ready */
	PORT_FLOOR = 1024,
};

/* ---- where ------------------------------------------------------------------------------------------------------------------- */

static bool has_family(const struct alg_conf *conf, uint8_t family)
{
	for (unsigned i = 0; i < conf->n_servers; i++)
		if (conf->servers[i].addr.family == family)
			return true;
	return false;
}

unsigned listener_places(const struct alg_conf *conf, struct addr out[LISTENER_PLACES_MAX])
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	unsigned n = 0;

	for (unsigned i = 0; conf->mode == CONFIG_ALG_EXPLICIT && i < conf->realm->n_addresses; i++) {
		for (unsigned j = 0; j < conf->n_ports; j++) {
			out[n] = conf->realm->addresses[i];
			out[n++].port = conf->ports[j];
		}
	}
	for (unsigned i = 0; conf->mode != CONFIG_ALG_EXPLICIT && i < sizeof(families); i++)
		if (has_family(conf, families[i]))
			out[n++] = config_alg_capture(conf, families[i]);
	return n;
}

/* ---- accepting --------------------------------------------------------------------------------------------------------------- */

static bool is_wanted_server(const struct listener *l, const struct addr *server)
{
	const struct alg_conf *conf = l->alg->setup->conf;
	bool is_port = false, is_server = false;

	if (!l->is_captured)
		return true;
	for (unsigned i = 0; i < conf->n_ports; i++)
		is_port |= conf->ports[i] == server->port;
	for (unsigned i = 0; i < conf->n_servers; i++)
		is_server |= prefix_has(&conf->servers[i], server);
	return is_port && is_server;
}

int listener_admit(struct listener *l, const struct addr *client, const struct addr *server, struct engine_client **ret)
{
	char text[ADDR_TEXT_MAX];
	int err = l->engine->is_draining || !is_wanted_server(l, server) ? ERR_DENIED : engine_admit(l->engine, l->alg, client, ret);

	if (err == 0)
		return 0;
	l->refused_total++;
	host_metrics_refused(err);
	LOG_GATED(5, LOG_WARN, "alg", "session refused", LF_TEXT("alg", l->alg->name), LF_TEXT("client", addr_text(client, text)),
		  LF_TEXT("reason", err == ERR_LIMIT ? "too many sessions" : err == -EAGAIN ? "too many a second" :
			  "not for this server, or ending"));
	return err;
}

static void take(struct listener *l, int fd)
{
	struct addr ends[2] = { tcp_leg_remote(fd), l->is_captured ? tcp_leg_local(fd) : l->at };
	struct engine_client *client = NULL;

	if (!addr_is_set(&ends[0]) || listener_admit(l, &ends[0], &ends[1], &client) != 0) {
		tcp_leg_reset_on_close(fd);
		close(fd);
		return;
	}
	if (session_accept(l, client, fd, ends) == NULL)
		engine_dismiss(client);
}

static void rest(struct listener *l)
{
	(void)loop_fd_want(l->watch, 0);
	loop_timer_start(&l->retry, REST_MS);
}

static void on_readable(void *arg, int fd, int events)
{
	struct listener *l = arg;

	(void)events;
	if (l->is_datagram) {
		datagram_receive(l);
		return;
	}
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		int taken = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (taken >= 0) {
			take(l, taken);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			LOG_GATED(3, LOG_WARN, "alg", "no connection can be accepted", LF_TEXT("alg", l->alg->name),
				  LF_TEXT("error", err_str(-errno)));
			rest(l);
		}
		return;
	}
}

/* ---- opening ----------------------------------------------------------------------------------------------------------------- */

bool listener_is_open(const struct listener *l)
{
	return l->fd >= 0;
}

bool listener_is_opening(const struct listener *l)
{
	return l->fd < 0 && !l->is_alarmed && loop_now_ms(l->engine->loop) < l->begun_ms + OPENING_MS;
}

static void alarm_of(struct listener *l, bool is_raised)
{
	char name[96], text[256], at[ADDR_TEXT_MAX];

	if (l->is_alarmed == is_raised)
		return;
	l->is_alarmed = is_raised;
	snprintf(name, sizeof(name), "alg-listener-%s", l->alg->name);
	snprintf(text, sizeof(text), is_raised ? "%s: cannot listen on %s: %s" : l->fd >= 0 ? "%s: listens on %s%s" :
		 "%s: does not want to listen on %s any more%s", l->alg->name, addr_text(&l->at, at), is_raised ? l->reason : "");
	if (l->engine->deps.bus != NULL)
		bus_publish(l->engine->deps.bus, &(struct bus_event){ .type = is_raised ? BUS_ALARM : BUS_ALARM_CLEARED,
								       .id = span_of(name), .text = span_of(text) });
}

static void failed(struct listener *l, const char *why)
{
	snprintf(l->reason, sizeof(l->reason), "%s", why);
	if (++l->failures >= ALARM_AFTER)
		alarm_of(l, true);
	loop_timer_start(&l->retry, RETRY_MS);
}

static void opened(struct listener *l, int fd_take)
{
	char at[ADDR_TEXT_MAX];
	int err = loop_fd_open(l->engine->loop, fd_take, LOOP_READ, on_readable, l, &l->watch);

	if (err < 0) {
		close(fd_take);
		failed(l, err_str(err));
		return;
	}
	l->fd = fd_take;
	l->reason[0] = '\0';
	l->failures = 0;
	alarm_of(l, false);
	host_metrics_listeners(l->engine);
	log_info("alg", "listening", LF_TEXT("alg", l->alg->name), LF_TEXT("at", addr_text(&l->at, at)),
		 LF_TEXT("mode", l->is_captured ? "captured" : "explicit"));
}

static int prepare_datagrams(const struct listener *l, int fd)
{
	const int on = 1;
	int level = l->at.family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;

	if (l->is_captured)
		return setsockopt(fd, level, l->at.family == AF_INET ? IP_RECVORIGDSTADDR : IPV6_RECVORIGDSTADDR, &on, sizeof(on)) < 0 ? -errno : 0;
	return 0;
}

static void on_socket(void *arg, int fd)
{
	struct listener *l = arg;
	int err = fd < 0 ? fd : 0;

	l->request = NULL;
	if (err == 0 && l->is_datagram)
		err = prepare_datagrams(l, fd);
	if (err == 0)
		opened(l, fd);
	else
		failed(l, err == ERR_UNSUPPORTED && l->is_captured ? pinholes_capture_trouble(l->engine->deps.pinholes) : err_str(err));
	if (err < 0 && fd >= 0)
		close(fd);
}

static void ask_helper(struct listener *l)
{
	const struct pinhole_socket wanted = { .realm = l->alg->setup->conf->realm->index, .addr = l->at,
					       .proto = l->is_datagram ? IPPROTO_UDP : IPPROTO_TCP,
					       .is_transparent = l->is_captured };
	int err = l->engine->deps.pinholes == NULL ? ERR_UNSUPPORTED :
		  pinhole_socket_open(l->engine->deps.pinholes, &wanted, on_socket, l, &l->request);

	if (err == ERR_UNSUPPORTED)
		failed(l, l->is_captured ? "captured listeners need the privileged helper" : "a port below 1024 needs the privileged helper");
	else if (err < 0)
		failed(l, err_str(err));
}

static int open_plain(const struct listener *l, int *ret)
{
	const int on = 1;
	bool is_datagram = l->is_datagram;
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&l->at, &sa);
	int fd = socket(l->at.family, (is_datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), err = 0;

	if (fd < 0)
		return -errno;
	if ((!is_datagram && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0) ||
	    (l->at.family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
	    bind(fd, (struct sockaddr *)&sa, len) < 0 || (!is_datagram && listen(fd, BACKLOG) < 0))
		err = -errno;
	if (err < 0)
		close(fd);
	else
		*ret = fd;
	return err;
}

static void open_now(struct listener *l)
{
	int fd = -1, err;

	if (l->is_captured) {
		ask_helper(l);
		return;
	}
	err = open_plain(l, &fd);
	if (err == 0)
		opened(l, fd);
	else if (err == -EACCES && l->at.port < PORT_FLOOR)
		ask_helper(l);
	else
		failed(l, err_str(err));
}

static void on_retry(struct loop_timer *timer, void *arg)
{
	struct listener *l = arg;

	(void)timer;
	if (l->fd >= 0)
		(void)loop_fd_want(l->watch, LOOP_READ);
	else if (l->request == NULL)
		open_now(l);
}

struct listener *listener_new(struct alg_host_engine *engine, const struct alg_setup *setup, const struct addr *at)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	*l = (struct listener){ .engine = engine, .at = *at, .fd = -1, .claimed_fd = -1,
				.is_captured = setup->conf->mode != CONFIG_ALG_EXPLICIT, .is_datagram = setup->module->is_datagram };
	if (l->is_datagram && (l->datagrams = hash_table_new(ENGINE_SESSIONS_MAX)) == NULL) {
		free(l);
		return NULL;
	}
	loop_timer_init(&l->retry, engine->loop, on_retry, l);
	list_append(&engine->listeners, &l->node);
	return l;
}

void listener_free(struct listener *l)
{
	listener_close(l);
	list_remove(&l->node);
	hash_table_free(l->datagrams);
	free(l);
}

int listener_claim(struct listener *l)
{
	int err = open_plain(l, &l->claimed_fd);
	bool has_helper = l->engine->deps.pinholes != NULL && config_has_low_port(l->engine->deps.config, l->at.port);

	return err == -EACCES && l->at.port < PORT_FLOOR && has_helper ? 0 : err;
}

void listener_begin(struct listener *l, struct engine_alg *alg)
{
	int fd = l->claimed_fd;

	l->alg = alg;
	l->claimed_fd = -1;
	l->begun_ms = loop_now_ms(l->engine->loop);
	if (fd >= 0)
		opened(l, fd);
	else
		open_now(l);
}

void listener_give(struct listener *l, struct engine_alg *alg)
{
	if (alg != l->alg)
		alarm_of(l, false); /* it bears the name; the next failure raises the other one's */
	l->alg = alg;
}

void listener_close(struct listener *l)
{
	loop_timer_stop(&l->retry);
	if (l->request != NULL)
		pinhole_socket_cancel(l->request);
	l->request = NULL;
	loop_fd_close(l->watch);
	l->watch = NULL;
	if (l->fd >= 0)
		close(l->fd);
	if (l->claimed_fd >= 0)
		close(l->claimed_fd);
	l->fd = l->claimed_fd = -1;
}

static void drop(struct listener *l)
{
	if (l->is_retired && l->n_sessions == 0)
		listener_free(l);
}

void listener_retire(struct listener *l)
{
	char at[ADDR_TEXT_MAX];

	listener_close(l);
	alarm_of(l, false);
	log_info("alg", "no longer listening", LF_TEXT("alg", l->alg->name), LF_TEXT("at", addr_text(&l->at, at)));
	l->alg = NULL;
	l->is_retired = true;
	drop(l);
}

void listener_left(struct listener *l)
{
	l->n_sessions--;
	drop(l);
}

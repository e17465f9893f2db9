/* One poll() loop over the channel, rtnetlink and a one-second tick. A request is answered before the next is read; while an
 * answer waits for room no request is read, but ticks and news of interfaces go on.
 *
 * What does not parse, or is not a request, is counted, logged with a limit and otherwise ignored: it has no serial that could
 * be trusted. What parses and is outside the limits is refused in its answer. */
#include "pinhole/helper_worker.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/err.h"
#include "core/log.h"
#include "pinhole/helper_out.h"
#include "pinhole/helper_pinholes.h"
#include "pinhole/helper_socket.h"
#include "pinhole/links.h"
#include "pinhole/sandbox.h"

enum {
	TICK_MS = 1000,
	REFRESH_GAP_MS = 50, /* between two readings of the interfaces: news come in bunches */
	REQUESTS_PER_TURN = 64,
	REGIONS = 2,
};

struct worker {
	const struct helper_conf *conf;
	uint32_t starts;
	struct backend_conf backend_conf;
	struct links *links;
	struct helper_pinholes pinholes;
	struct helper_out out;
	struct wire_ability *abilities; /* as last sent; room for every path of every realm */
	unsigned n_abilities;
	struct wire_capturing capturing; /* as last sent */
	uint16_t *realms; /* each once */
	unsigned n_realms;
	uint64_t now_ms, tick_ms, refresh_ms;
	bool is_refresh_due;
	uint64_t malformed;
	struct wire_gone gone[WIRE_BATCH_MAX]; /* to be sent */
	unsigned n_gone;
	int err; /* of sending; ends the loop */
	_Alignas(8) uint8_t message[WIRE_MESSAGE_MAX];
	union {
		struct wire_opened opened[WIRE_BATCH_MAX];
		struct wire_closed closed[WIRE_BATCH_MAX];
		struct wire_looked looked[WIRE_BATCH_MAX];
	} answer;
};

uint64_t helper_worker_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void put_fds(struct worker *w, const struct wire_head *head, const void *records, const int *fds, unsigned n_fds)
{
	int err = helper_out_put(&w->out, head, records, fds, n_fds);

	if (w->err == 0)
		w->err = err;
}

static void put(struct worker *w, enum wire_op op, uint64_t serial, const void *records, uint32_t count)
{
	struct wire_head head = { .version = WIRE_VERSION, .op = (uint16_t)op, .count = count, .serial = serial };

	put_fds(w, &head, records, NULL, 0);
}

/* Records of any number, in as many messages as it takes. */
static void put_many(struct worker *w, enum wire_op op, uint64_t serial, const void *records, size_t n)
{
	const uint8_t *at = records;

	for (size_t done = 0; done < n; done += WIRE_BATCH_MAX) {
		size_t here = n - done < WIRE_BATCH_MAX ? n - done : WIRE_BATCH_MAX;

		put(w, op, serial, at + done * wire_record_size(op), (uint32_t)here);
	}
}

static bool is_wanted(const struct worker *w, enum pinhole_path path)
{
	return memchr(w->conf->limits->seal.order, path, sizeof(w->conf->limits->seal.order)) != NULL;
}

static void describe(struct worker *w, enum pinhole_path path, uint16_t realm, struct wire_ability *ret)
{
	struct helper_mechanism *m = helper_pinholes_mechanism(&w->pinholes, path);
	struct backend_report report = { .reason = "not part of this build, or did not open" };

	if (m != NULL)
		m->kind->ops->report(m->backend, path, realm, &report);
	memset(ret, 0, sizeof(*ret)); /* they are compared as bytes */
	ret->realm = realm;
	ret->path = (uint8_t)path;
	ret->is_usable = report.is_usable;
	ret->is_wanted = is_wanted(w, path);
	snprintf(ret->reason, sizeof(ret->reason), "%s", report.reason);
	for (unsigned i = 0; i < w->backend_conf.n_interfaces; i++)
		if (w->backend_conf.interfaces[i].realm == realm) {
			snprintf(ret->interface, sizeof(ret->interface), "%s", w->backend_conf.interfaces[i].name);
			break;
		}
}

static void log_ability(const struct wire_ability *ability)
{
	log_info("pinholed", ability->is_usable ? "path usable" : "path not usable",
		 LF_TEXT("path", pinhole_path_text((enum pinhole_path)ability->path)), LF_UINT("realm", ability->realm),
		 LF_TEXT("interface", ability->interface), LF_TEXT("reason", ability->reason));
}

/* Those that have changed. */
static void put_abilities(struct worker *w, uint64_t serial, bool is_all)
{
	struct wire_ability changed[WIRE_BATCH_MAX];
	unsigned n = 0, at = 0;

	for (unsigned i = 0; i < w->n_realms; i++) {
		for (int path = PINHOLE_XDP; path < PINHOLE_PATHS; path++, at++) {
			describe(w, (enum pinhole_path)path, w->realms[i], &changed[n]);
			if (!is_all && memcmp(&changed[n], &w->abilities[at], sizeof(changed[n])) == 0)
				continue;
			w->abilities[at] = changed[n];
			if (changed[n].is_wanted)
				log_ability(&changed[n]);
			if (++n == WIRE_BATCH_MAX) {
				put(w, WIRE_ABILITY, serial, changed, n);
				n = 0;
			}
		}
	}
	if (n > 0)
		put(w, WIRE_ABILITY, serial, changed, n);
}

/* Whether control channels are taken over, where they are to be; when that has changed. */
static void put_capturing(struct worker *w, bool is_first)
{
	const struct helper_mechanism *m = helper_pinholes_mechanism(&w->pinholes, PINHOLE_NONE);
	struct backend_report report = { .reason = "not part of this build, or did not open" };
	struct wire_capturing now = { .is_working = 0 };

	if (w->backend_conf.n_captures == 0)
		return;
	if (m != NULL)
		m->kind->ops->report(m->backend, PINHOLE_NONE, 0, &report);
	now.is_working = report.is_usable;
	snprintf(now.reason, sizeof(now.reason), "%s", report.reason);
	if (!is_first && memcmp(&now, &w->capturing, sizeof(now)) == 0)
		return;
	w->capturing = now;
	log_info("pinholed", now.is_working ? "control channels are taken over" : "control channels are not taken over",
		 LF_TEXT("reason", now.reason));
	put(w, WIRE_CAPTURING, 0, &now, 1);
}

static void say_hello(struct worker *w)
{
	struct wire_head head = { .version = WIRE_VERSION, .op = WIRE_HELLO, .count = 1 };
	struct wire_hello hello = { .slot_version = SLOT_VERSION, .slot_size = sizeof(struct slot), .starts = w->starts };
	int fds[REGIONS];
	unsigned n_fds = 0;

	for (unsigned region = 0; region < REGIONS; region++) {
		for (unsigned i = 0; i < w->pinholes.n_mechanisms && hello.slots[region] == 0; i++) {
			struct helper_mechanism *m = &w->pinholes.mechanisms[i];
			uint32_t n = 0;
			int fd;

			if (m->backend == NULL || m->kind->ops->region != region)
				continue;
			fd = m->kind->ops->slots(m->backend, &n);
			if (fd < 0 || n == 0)
				continue;
			hello.slots[region] = n;
			fds[n_fds++] = fd;
		}
	}
	put_fds(w, &head, &hello, fds, n_fds);
}

static void on_open(struct worker *w, const struct wire_head *head, const void *records)
{
	helper_pinholes_open(&w->pinholes, records, head->count, w->now_ms, w->answer.opened);
	put(w, WIRE_OPENED, head->serial, w->answer.opened, head->count);
}

static void on_close(struct worker *w, const struct wire_head *head, const void *records)
{
	const struct wire_key *keys = records;

	for (uint32_t i = 0; i < head->count; i++)
		helper_pinholes_close(&w->pinholes, &keys[i], &w->answer.closed[i]);
	put(w, WIRE_CLOSED, head->serial, w->answer.closed, head->count);
}

static void on_look(struct worker *w, const struct wire_head *head, const void *records)
{
	const struct wire_key *keys = records;

	for (uint32_t i = 0; i < head->count; i++)
		helper_pinholes_look(&w->pinholes, &keys[i], &w->answer.looked[i]);
	put(w, WIRE_LOOKED, head->serial, w->answer.looked, head->count);
}

/* A sweep that was on its way while this process began would remove what has not been opened again yet. */
static void on_sweep(struct worker *w, const struct wire_head *head, const void *records)
{
	const struct wire_count *since = records;
	struct wire_count swept = { .n = 0 };

	if (since->n == w->starts)
		swept.n = helper_pinholes_sweep(&w->pinholes, w->now_ms);
	log_info("pinholed", since->n == w->starts ? "swept" : "sweep of an earlier start ignored", LF_UINT("removed", swept.n));
	put(w, WIRE_SWEPT, head->serial, &swept, 1);
}

static void on_list(struct worker *w, const struct wire_head *head, const void *records)
{
	struct wire_listed *listed = NULL;
	size_t n = 0;

	(void)records;
	if (helper_pinholes_list(&w->pinholes, w->now_ms, &listed, &n) < 0) {
		w->err = -ENOMEM; /* half a list would look like pinholes that are missing */
		return;
	}
	put_many(w, WIRE_LISTED, head->serial, listed, n);
	put(w, WIRE_LISTED, head->serial, NULL, 0);
	free(listed);
}

static void on_socket(struct worker *w, const struct wire_head *request, const void *records)
{
	const struct wire_socket_request *wanted = records;
	struct wire_head head = { .version = WIRE_VERSION, .op = WIRE_SOCKET_READY, .count = 1, .serial = request->serial };
	enum limits_verdict verdict = limits_socket(w->conf->limits, wanted);
	struct wire_result result = { .err = ERR_DENIED };
	struct addr addr = wire_addr_get(&wanted->addr);
	char text[ADDR_TEXT_MAX];
	int fd = -1;

	if (verdict == LIMITS_OK)
		verdict = links_socket(w->links, wanted);
	w->pinholes.refusals[verdict] += verdict != LIMITS_OK;
	if (verdict == LIMITS_OK && wanted->is_transparent && !w->capturing.is_working) {
		result.err = ERR_UNSUPPORTED; /* nothing would ever arrive there */
	} else if (verdict == LIMITS_OK) {
		fd = helper_socket_open(wanted);
		result.err = fd < 0 ? fd : 0;
	}
	if (fd < 0)
		LOG_GATED(10, LOG_WARN, "pinholed", "socket refused", LF_TEXT("address", addr_text(&addr, text)),
			  LF_TEXT("reason", verdict != LIMITS_OK ? limits_text(verdict) : err_str(result.err)));
	put_fds(w, &head, &result, &fd, fd >= 0);
	if (fd >= 0)
		close(fd);
}

typedef void request_fn(struct worker *w, const struct wire_head *head, const void *records);
static request_fn *const requests[] = {
	[WIRE_OPEN] = on_open, [WIRE_CLOSE] = on_close, [WIRE_SWEEP] = on_sweep, [WIRE_LIST] = on_list, [WIRE_SOCKET] = on_socket,
	[WIRE_LOOK] = on_look,
};

static void count_malformed(struct worker *w, const char *why)
{
	w->malformed++;
	LOG_GATED(5, LOG_WARN, "pinholed", "message refused", LF_TEXT("reason", why), LF_UINT("refused_so_far", w->malformed));
}

static void handle(struct worker *w, size_t len)
{
	struct wire_head head;
	const void *records;
	const char *why;

	if (wire_parse(w->message, len, &head, &records, &why) < 0)
		count_malformed(w, why);
	else if (head.op == WIRE_LIMITS || head.op == WIRE_CAPTURE || head.op == WIRE_SEAL)
		count_malformed(w, limits_text(LIMITS_SEALED));
	else if (head.op >= sizeof(requests) / sizeof(requests[0]) || requests[head.op] == NULL)
		count_malformed(w, "not a request");
	else
		requests[head.op](w, &head, records);
}

static void read_requests(struct worker *w)
{
	for (int i = 0; i < REQUESTS_PER_TURN && w->err == 0 && helper_out_is_empty(&w->out); i++) {
		int n = wire_receive(w->conf->channel, w->message, sizeof(w->message), NULL, NULL);

		if (n == -EAGAIN)
			return;
		if (n == -EMSGSIZE)
			count_malformed(w, "longer than any message");
		else if (n < 0)
			w->err = n;
		else
			handle(w, (size_t)n);
	}
}

static void flush_gone(struct worker *w)
{
	if (w->n_gone > 0)
		put(w, WIRE_GONE, 0, w->gone, w->n_gone);
	w->n_gone = 0;
}

static void on_gone(void *arg, const struct wire_gone *gone)
{
	struct worker *w = arg;

	w->gone[w->n_gone++] = *gone;
	LOG_GATED(20, LOG_INFO, "pinholed", "pinhole ended by itself", LF_UINT("id", gone->id),
		  LF_TEXT("why", gone->why == WIRE_LOST ? "lost" : gone->why == WIRE_USED_UP ? "used up" : "expired"));
	if (w->n_gone == WIRE_BATCH_MAX)
		flush_gone(w);
}

static void tick(struct worker *w)
{
	w->tick_ms = w->now_ms + TICK_MS;
	helper_pinholes_tick(&w->pinholes, w->now_ms, on_gone, w);
	flush_gone(w);
	for (unsigned i = 0; i < w->pinholes.n_mechanisms && w->err == 0; i++) {
		struct helper_mechanism *m = &w->pinholes.mechanisms[i];

		if (m->backend == NULL || m->kind->ops->is_broken == NULL || !m->kind->ops->is_broken(m->backend))
			continue;
		log_warn("pinholed", "a back end has to be opened again", LF_TEXT("backend", m->kind->ops->name));
		w->err = ERR_STATE;
	}
	put_abilities(w, 0, false);
	put_capturing(w, false);
}

static void take_interfaces(struct worker *w)
{
	w->backend_conf.interfaces = links_interfaces(w->links, &w->backend_conf.n_interfaces);
}

static void refresh(struct worker *w)
{
	int err = links_refresh(w->links);

	w->refresh_ms = w->now_ms + REFRESH_GAP_MS;
	w->is_refresh_due = err < 0;
	if (err < 0)
		LOG_GATED(5, LOG_WARN, "pinholed", "interfaces could not be read", LF_TEXT("error", err_str(err)));
	take_interfaces(w);
	for (unsigned i = 0; i < w->pinholes.n_mechanisms; i++)
		if (w->pinholes.mechanisms[i].backend != NULL)
			w->pinholes.mechanisms[i].kind->ops->links_changed(w->pinholes.mechanisms[i].backend);
	put_abilities(w, 0, false);
}

static int wait_ms(const struct worker *w)
{
	uint64_t due = w->is_refresh_due && w->refresh_ms < w->tick_ms ? w->refresh_ms : w->tick_ms;

	return due > w->now_ms ? (int)(due - w->now_ms) : 0;
}

static void turn(struct worker *w)
{
	struct pollfd fds[] = {
		{ .fd = w->conf->channel, .events = helper_out_is_empty(&w->out) ? POLLIN : POLLOUT },
		{ .fd = links_fd(w->links), .events = POLLIN },
	};
	int n = poll(fds, 2, wait_ms(w));

	w->now_ms = helper_worker_now_ms();
	if (n < 0 && errno != EINTR) {
		w->err = -errno;
		return;
	}
	/* News first: requests are held against the addresses that there are now. */
	if (n > 0 && fds[1].revents != 0)
		w->is_refresh_due |= links_read(w->links);
	if (w->is_refresh_due && w->now_ms >= w->refresh_ms)
		refresh(w);
	if (n > 0 && fds[0].revents != 0 && w->err == 0)
		w->err = helper_out_flush(&w->out);
	if (n > 0 && fds[0].revents != 0)
		read_requests(w);
	if (w->now_ms >= w->tick_ms && w->err == 0)
		tick(w);
}

/* Every realm once; and room for what is said about each. */
static int collect_realms(struct worker *w)
{
	const struct limits *limits = w->conf->limits;

	w->realms = calloc(limits->n_own, sizeof(*w->realms));
	if (w->realms == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < limits->n_own; i++) {
		bool is_new = true;

		for (unsigned k = 0; k < w->n_realms && is_new; k++)
			is_new = w->realms[k] != limits->own[i].realm;
		if (is_new)
			w->realms[w->n_realms++] = limits->own[i].realm;
	}
	w->abilities = calloc((size_t)w->n_realms * PINHOLE_PATHS, sizeof(*w->abilities));
	return w->abilities != NULL ? 0 : -ENOMEM;
}

static void open_backends(struct worker *w)
{
	for (unsigned i = 0; i < helper_backends_n && i < HELPER_BACKENDS_MAX; i++) {
		struct helper_mechanism *m = &w->pinholes.mechanisms[w->pinholes.n_mechanisms++];
		int err;

		m->kind = &helper_backends[i];
		err = m->kind->ops->open(&w->backend_conf, &m->backend);
		if (err < 0) {
			m->backend = NULL;
			log_error("pinholed", "back end not opened", LF_TEXT("backend", m->kind->ops->name),
				  LF_TEXT("error", err_str(err)));
		}
	}
}

static int start(struct worker *w)
{
	const struct limits *limits = w->conf->limits;
	int err = collect_realms(w);

	if (err < 0)
		return err;
	helper_out_init(&w->out, w->conf->channel);
	w->pinholes.limits = limits;
	w->pinholes.table = table_new(limits->seal.pinholes_max);
	if (w->pinholes.table == NULL)
		return -ENOMEM;
	err = links_open(limits, &w->links);
	if (err < 0) {
		log_error("pinholed", "interfaces could not be read", LF_TEXT("error", err_str(err)));
		return err;
	}
	w->pinholes.links = w->links;
	w->backend_conf = (struct backend_conf){ .state_dir = w->conf->state_dir, .node_tag = w->conf->node_tag,
						 .own = limits->own, .n_own = limits->n_own, .seal = &limits->seal,
						 .captures = limits->captures, .n_captures = limits->n_captures };
	take_interfaces(w);
	open_backends(w);
	err = sandbox_worker();
	if (err < 0) {
		log_error("pinholed", "rights could not be given up", LF_TEXT("error", err_str(err)));
		return err;
	}
	w->now_ms = helper_worker_now_ms();
	helper_pinholes_adopt(&w->pinholes, w->now_ms);
	log_info("pinholed", "ready", LF_UINT("starts", w->starts), LF_UINT("found", table_count(w->pinholes.table)),
		 LF_TEXT("system_calls", sandbox_has_filter() ? "filtered" : "not filtered in this build"));
	say_hello(w);
	put_abilities(w, w->starts == 1 ? w->conf->seal_serial : 0, true);
	put_capturing(w, true);
	return w->err;
}

static void finish(struct worker *w)
{
	for (unsigned i = 0; i < w->pinholes.n_mechanisms; i++)
		if (w->pinholes.mechanisms[i].backend != NULL)
			w->pinholes.mechanisms[i].kind->ops->close(w->pinholes.mechanisms[i].backend);
	helper_out_fini(&w->out);
	table_free(w->pinholes.table);
	links_close(w->links);
	free(w->abilities);
	free(w->realms);
	free(w);
}

int helper_worker_run(const struct helper_conf *conf, uint32_t starts)
{
	struct worker *w = calloc(1, sizeof(*w));
	int err;

	if (w == NULL)
		return -ENOMEM;
	w->conf = conf;
	w->starts = starts;
	w->err = start(w);
	w->tick_ms = w->now_ms + TICK_MS;
	while (w->err == 0)
		turn(w);
	err = w->err;
	finish(w);
	if (err == ERR_CLOSED)
		return 0;
	log_error("pinholed", "ending", LF_TEXT("error", err_str(err)));
	return err;
}

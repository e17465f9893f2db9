/* pinhole.h for tests of whoever opens pinholes. See tests/mock/fake_pinhole.h. */
#include "tests/mock/fake_pinhole.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "core/err.h"
#include "core/list.h"

enum { LISTENERS_MAX = 4 };

struct pinholes {
	struct list all, sockets;
	uint64_t last_id;
	int socket_failure; /* 0: none */
	bool is_usable, is_full, is_reconciled, is_unwatched, is_starting;
	unsigned opened, failures;
	int failure;
	struct {
		void (*fn)(void *arg);
		void *arg;
	} listeners[LISTENERS_MAX];
	unsigned n_listeners;
};

struct pinhole {
	struct list node;
	struct pinhole_spec spec;
	uint64_t id;
	enum pinhole_state state;
	enum pinhole_path path;
	const char *reason;
	pinhole_event_fn *fn; /* NULL: disowned */
	pinhole_look_fn *look_fn; /* NULL: not asked */
	void *arg;
	struct slot_stats stats;
};

struct pinhole_socket_request {
	struct list node;
	struct pinhole_socket wanted;
	pinhole_socket_fn *fn;
	void *arg;
};

static pthread_mutex_t stats_lock = PTHREAD_MUTEX_INITIALIZER;

/* What tests do */

struct pinholes *fake_pinholes_new(void)
{
	struct pinholes *pinholes = calloc(1, sizeof(*pinholes));

	if (pinholes != NULL) {
		list_init(&pinholes->all);
		list_init(&pinholes->sockets);
		pinholes->is_usable = true;
	}
	return pinholes;
}

void fake_pinholes_set_usable(struct pinholes *pinholes, bool is_usable)
{
	pinholes->is_usable = is_usable;
	for (unsigned i = 0; i < pinholes->n_listeners; i++)
		pinholes->listeners[i].fn(pinholes->listeners[i].arg);
}

void fake_pinholes_set_full(struct pinholes *pinholes, bool is_full)
{
	pinholes->is_full = is_full;
	fake_pinholes_set_usable(pinholes, pinholes->is_usable); /* tells */
}

void fake_pinholes_set_starting(struct pinholes *pinholes, bool is_starting)
{
	pinholes->is_starting = is_starting;
}

void fake_pinholes_fail(struct pinholes *pinholes, unsigned n, int err)
{
	pinholes->failures = n;
	pinholes->failure = err;
}

unsigned fake_pinholes_opened(const struct pinholes *pinholes)
{
	return pinholes->opened;
}

bool fake_pinholes_is_reconciled(const struct pinholes *pinholes)
{
	return pinholes->is_reconciled;
}

unsigned fake_pinholes_count(const struct pinholes *pinholes)
{
	unsigned n = 0;

	LIST_EACH(&pinholes->all, node)
		n++;
	return n;
}

struct pinhole *fake_pinhole_at(struct pinholes *pinholes, unsigned index)
{
	LIST_EACH(&pinholes->all, node)
		if (index-- == 0)
			return LIST_ENTRY(node, struct pinhole, node);
	return NULL;
}

struct pinhole *fake_pinhole_on(struct pinholes *pinholes, const struct addr *listen)
{
	LIST_EACH(&pinholes->all, node) {
		struct pinhole *pinhole = LIST_ENTRY(node, struct pinhole, node);

		if (pinhole->state != PINHOLE_DRAINING && addr_eq(&pinhole->spec.listen, listen))
			return pinhole;
	}
	return NULL;
}

void fake_pinhole_fire(struct pinhole *pinhole, enum pinhole_event event)
{
	const bool is_final = event != PINHOLE_EV_ARMED && event != PINHOLE_EV_BOUND;

	pinhole->state = event == PINHOLE_EV_ARMED ? PINHOLE_ARMED : is_final ? PINHOLE_CLOSED : PINHOLE_BOUND;
	if (event == PINHOLE_EV_ARMED && pinhole->path == PINHOLE_NONE)
		pinhole->path = PINHOLE_XDP;
	if (is_final)
		list_remove(&pinhole->node);
	if (pinhole->fn != NULL)
		pinhole->fn(pinhole->arg, pinhole, event);
	if (is_final)
		free(pinhole);
}

/* The next one to settle, looked for afresh each time: a handler may have closed others. */
static struct pinhole *unsettled(struct pinholes *pinholes)
{
	LIST_EACH(&pinholes->all, node) {
		struct pinhole *pinhole = LIST_ENTRY(node, struct pinhole, node);

		if (pinhole->state == PINHOLE_RESERVED || pinhole->state == PINHOLE_DRAINING)
			return pinhole;
	}
	return NULL;
}

void fake_pinholes_settle(struct pinholes *pinholes)
{
	struct pinhole *pinhole;

	while ((pinhole = unsettled(pinholes)) != NULL)
		fake_pinhole_fire(pinhole, pinhole->state == PINHOLE_RESERVED ? PINHOLE_EV_ARMED : PINHOLE_EV_CLOSED);
}

void fake_pinhole_set_path(struct pinhole *pinhole, enum pinhole_path path, const char *reason)
{
	pinhole->path = path;
	pinhole->reason = reason;
}

void fake_pinhole_set_stats(struct pinhole *pinhole, const struct slot_stats *stats)
{
	pthread_mutex_lock(&stats_lock);
	pinhole->stats = *stats;
	pthread_mutex_unlock(&stats_lock);
}

bool fake_pinhole_looked(struct pinhole *pinhole, enum pinhole_end end)
{
	pinhole_look_fn *fn = pinhole->look_fn;

	pinhole->look_fn = NULL;
	if (fn != NULL && pinhole->fn != NULL)
		fn(pinhole->arg, pinhole, end);
	return fn != NULL;
}

bool fake_pinhole_is_disowned(const struct pinhole *pinhole)
{
	return pinhole->fn == NULL;
}

/* What owners do */

int pinholes_new(struct loop *loop, const struct pinholes_conf *conf, struct pinholes **ret)
{
	struct pinholes *pinholes = fake_pinholes_new();

	(void)loop;
	(void)conf;
	if (pinholes == NULL)
		return -ENOMEM;
	*ret = pinholes;
	return 0;
}

void pinholes_free(struct pinholes *pinholes)
{
	if (pinholes == NULL)
		return;
	LIST_EACH(&pinholes->all, node)
		free(LIST_ENTRY(node, struct pinhole, node));
	LIST_EACH(&pinholes->sockets, node)
		free(LIST_ENTRY(node, struct pinhole_socket_request, node));
	free(pinholes);
}

int pinhole_open(struct pinholes *pinholes, const struct pinhole_spec *specs, unsigned n, pinhole_event_fn *fn, void *arg,
		 struct pinhole **ret)
{
	struct pinhole *made[PINHOLE_BATCH_MAX] = { NULL };

	if (pinholes->failures > 0) {
		pinholes->failures--;
		return pinholes->failure;
	}
	if (!pinholes->is_usable)
		return ERR_UNSUPPORTED;
	if (n == 0 || n > PINHOLE_BATCH_MAX)
		return ERR_STATE;
	for (unsigned i = 0; i < n; i++) {
		made[i] = calloc(1, sizeof(*made[i]));
		if (made[i] == NULL)
			goto out;
	}
	for (unsigned i = 0; i < n; i++) {
		*made[i] = (struct pinhole){ .spec = specs[i], .id = ++pinholes->last_id, .state = PINHOLE_RESERVED,
					     .reason = "test", .fn = fn, .arg = arg };
		list_append(&pinholes->all, &made[i]->node);
		ret[i] = made[i];
	}
	pinholes->opened++;
	return 0;
out:
	for (unsigned i = 0; i < n; i++)
		free(made[i]);
	return -ENOMEM;
}

void pinhole_close(struct pinhole *pinhole)
{
	if (pinhole->state != PINHOLE_CLOSED)
		pinhole->state = PINHOLE_DRAINING;
}

void pinhole_look(struct pinhole *pinhole, pinhole_look_fn *fn)
{
	if (pinhole->state == PINHOLE_ARMED || pinhole->state == PINHOLE_BOUND)
		pinhole->look_fn = fn;
}

void pinhole_disown(struct pinhole *pinhole)
{
	pinhole->fn = NULL;
}

const struct pinhole_spec *pinhole_spec(const struct pinhole *pinhole)
{
	return &pinhole->spec;
}

enum pinhole_state pinhole_state(const struct pinhole *pinhole)
{
	return pinhole->state;
}

enum pinhole_path pinhole_path(const struct pinhole *pinhole)
{
	return pinhole->path;
}

const char *pinhole_reason(const struct pinhole *pinhole)
{
	return pinhole->reason;
}

void pinhole_stats(const struct pinhole *pinhole, struct slot_stats *ret)
{
	pthread_mutex_lock(&stats_lock);
	*ret = pinhole->stats;
	pthread_mutex_unlock(&stats_lock);
}

bool pinholes_is_usable(const struct pinholes *pinholes, unsigned realm_in, unsigned realm_out)
{
	(void)realm_in;
	(void)realm_out;
	return pinholes->is_usable;
}

const char *pinholes_refusal(const struct pinholes *pinholes, unsigned realm_in, unsigned realm_out)
{
	if (pinholes->is_full)
		return "no room";
	return pinholes_is_usable(pinholes, realm_in, realm_out) ? NULL : "no path";
}

void pinholes_reconciled(struct pinholes *pinholes)
{
	pinholes->is_reconciled = true;
}

void pinholes_unwatched(struct pinholes *pinholes)
{
	pinholes->is_unwatched = true;
	fake_pinholes_set_usable(pinholes, pinholes->is_usable); /* tells */
}

void pinholes_on_change(struct pinholes *pinholes, void (*fn)(void *arg), void *arg)
{
	if (pinholes->n_listeners == LISTENERS_MAX)
		return;
	pinholes->listeners[pinholes->n_listeners].fn = fn;
	pinholes->listeners[pinholes->n_listeners++].arg = arg;
}

unsigned pinholes_abilities(const struct pinholes *pinholes, struct pinhole_ability *out, unsigned max)
{
	if (max > 0)
		out[0] = (struct pinhole_ability){ .path = PINHOLE_XDP, .is_usable = pinholes->is_usable, .is_wanted = true,
						   .interface = "test0", .reason = "test" };
	return max > 0;
}

const char *pinholes_capture_trouble(const struct pinholes *pinholes)
{
	return pinholes->is_usable ? NULL : "not usable";
}

void pinholes_each(const struct pinholes *pinholes, pinhole_view_fn *fn, void *arg)
{
	LIST_EACH(&pinholes->all, node) {
		const struct pinhole *pinhole = LIST_ENTRY(node, struct pinhole, node);
		struct pinhole_view view = { .spec = pinhole->spec, .state = pinhole->state, .path = pinhole->path,
					     .reason = pinhole->reason, .idle_ms = UINT64_MAX, .id = pinhole->id,
					     .in_kernel = pinhole->state == PINHOLE_ARMED || pinhole->state == PINHOLE_BOUND };

		pinhole_stats(pinhole, &view.stats);
		fn(arg, &view);
	}
}

void pinholes_summary(const struct pinholes *pinholes, struct pinholes_summary *ret)
{
	*ret = (struct pinholes_summary){ .has_helper = pinholes->is_usable, .is_full = pinholes->is_full, .helper_starts = 1,
					   .is_starting = pinholes->is_starting,
					   .is_unwatched = pinholes->is_unwatched && pinholes->is_usable };
	LIST_EACH(&pinholes->all, node)
		ret->open[LIST_ENTRY(node, struct pinhole, node)->path]++;
}

/* Sockets */

int pinhole_socket_open(struct pinholes *pinholes, const struct pinhole_socket *wanted, pinhole_socket_fn *fn, void *arg,
			struct pinhole_socket_request **ret)
{
	struct pinhole_socket_request *request;

	if (!pinholes->is_usable)
		return ERR_UNSUPPORTED;
	if (pinholes->socket_failure != 0)
		return pinholes->socket_failure;
	request = calloc(1, sizeof(*request));
	if (request == NULL)
		return -ENOMEM;
	*request = (struct pinhole_socket_request){ .wanted = *wanted, .fn = fn, .arg = arg };
	list_append(&pinholes->sockets, &request->node);
	*ret = request;
	return 0;
}

void pinhole_socket_cancel(struct pinhole_socket_request *request)
{
	list_remove(&request->node);
	free(request);
}

struct pinhole_socket_request *fake_socket_at(struct pinholes *pinholes, unsigned index)
{
	LIST_EACH(&pinholes->sockets, node)
		if (index-- == 0)
			return LIST_ENTRY(node, struct pinhole_socket_request, node);
	return NULL;
}

const struct pinhole_socket *fake_socket_wanted(const struct pinhole_socket_request *request)
{
	return &request->wanted;
}

void fake_socket_answer(struct pinhole_socket_request *request, int fd)
{
	pinhole_socket_fn *fn = request->fn;
	void *arg = request->arg;

	pinhole_socket_cancel(request);
	fn(arg, fd);
}

void fake_sockets_fail(struct pinholes *pinholes, int err)
{
	pinholes->socket_failure = err;
}

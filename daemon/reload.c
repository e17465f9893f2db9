/* See reload.h. One attempt at a time: whoever has the turn is the only one that changes what is in force, and does it on the control
 * thread. What can fail without sockets (reading, checking, compiling, certificates) is done before, where it holds nobody up. */
#include "daemon/reload.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#include "algs/host.h"
#include "core/arena.h"
#include "core/conf.h"
#include "core/config.h"
#include "core/err.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "sbc/b2bua.h"
#include "sbc/route.h"

enum { COMMIT_MS = 2000, FAULTS_LOGGED = 20, STATUS_ARENA = 4 << 20 };

enum { RELOADS_OK, RELOADS_FAILED, LAST_OK, LOADED, METRICS };
#define RELOADS "postern_config_reloads_total"
#define RELOADS_HELP "Reloads of the configuration, by result."
static struct metric metrics[METRICS] = {
	[RELOADS_OK] = { RELOADS, "result=\"ok\"", RELOADS_HELP, METRIC_COUNTER, 1, 0 },
	[RELOADS_FAILED] = { RELOADS, "result=\"failed\"", RELOADS_HELP, METRIC_COUNTER, 1, 0 },
	[LAST_OK] = { "postern_config_last_reload_ok", NULL, "1 unless the last reload failed.", METRIC_GAUGE, 1, 1 },
	[LOADED] = { "postern_config_loaded_timestamp_seconds", NULL, "When the configuration in force was loaded.", METRIC_GAUGE, 1, 0 },
};

/* What is told: texts of a success and of a failure, each in an arena that the next one replaces. */
struct told {
	struct arena *arena; /* NULL: nothing yet */
	struct api_config config;
};

struct reload {
	struct reload_deps deps;
	const struct config *started;
	const struct config *running; /* changed on the control thread, by who has the turn */
	pthread_mutex_t turn;
	pthread_mutex_t lock; /* of what is told */
	struct told ok, failed;
	uint64_t n_ok, n_failed;
	bool is_last_failed;
	pthread_t thread;
	sem_t asked;
	_Atomic bool is_ending;
};

struct attempt {
	struct reload *reload;
	const char *by;
	bool is_check;
	const struct config *config; /* a reference */
	struct router *router;
	struct alg_setups *setups;
	struct conf_errors errors;
	struct told told;
	unsigned n_changes;
	int err;
	struct arena *arena; /* where to answer, or NULL */
	struct api_config *ret;
};

/* ---- what is told ------------------------------------------------------------------------------------------------------------ */

static const char *copy(struct arena *arena, const char *text)
{
	return text != NULL ? arena_strdup(arena, span_of(text)) : NULL;
}

static void count_change(void *arg, enum config_change change, const char *pointer)
{
	struct attempt *a = arg;

	(void)change;
	(void)pointer;
	a->n_changes++;
}

static void note_change(void *arg, enum config_change change, const char *pointer)
{
	struct attempt *a = arg;

	a->told.config.changes[a->told.config.n_changes++] = (struct api_change){ copy(a->told.arena, pointer), config_change_text(change) };
}

static void note_changes(struct attempt *a)
{
	config_diff(a->reload->running, a->config, count_change, a);
	a->told.config.changes = arena_alloc(a->told.arena, (a->n_changes + 1) * sizeof(struct api_change));
	if (a->told.config.changes != NULL)
		config_diff(a->reload->running, a->config, note_change, a);
}

static void note_faults(struct attempt *a)
{
	struct api_config *config = &a->told.config;

	config->faults = arena_alloc(a->told.arena, (a->errors.n + 1) * sizeof(struct api_fault));
	for (unsigned i = 0; config->faults != NULL && i < a->errors.n; i++) {
		const struct conf_error *e = &a->errors.items[i];

		config->faults[i] = (struct api_fault){ copy(a->told.arena, e->pointer), copy(a->told.arena, e->text),
							copy(a->told.arena, e->hint), e->line, e->column };
		config->n_faults = i + 1;
	}
}

static void replace(struct told *told, struct told *with)
{
	arena_free(told->arena);
	*told = *with;
	with->arena = NULL;
}

/* Without memory for the texts the counts still tell. */
static void tell(struct attempt *a)
{
	struct reload *r = a->reload;
	int64_t now_ms = loop_wall_ms(r->deps.loop);

	if (a->told.arena != NULL && arena_is_exhausted(a->told.arena))
		a->told.config.n_changes = a->told.config.n_faults = 0;
	if (a->is_check)
		return;
	pthread_mutex_lock(&r->lock);
	if (a->err == 0) {
		a->told.config.by = a->by;
		a->told.config.loaded_ms = now_ms;
		a->told.config.revision = a->config->revision;
		replace(&r->ok, &a->told);
		r->n_ok++;
	} else {
		a->told.config.failed_by = a->by;
		a->told.config.failed_ms = now_ms;
		replace(&r->failed, &a->told);
		r->n_failed++;
	}
	r->is_last_failed = a->err != 0;
	pthread_mutex_unlock(&r->lock);
	metric_add(&metrics[a->err == 0 ? RELOADS_OK : RELOADS_FAILED], 1);
	metric_set(&metrics[LAST_OK], a->err == 0);
	if (a->err == 0)
		metric_set(&metrics[LOADED], now_ms / 1000);
}

static void log_attempt(const struct attempt *a)
{
	const char *file = a->reload->deps.file;

	if (a->is_check)
		return;
	if (a->err == 0) {
		log_info("config", "reloaded", LF_TEXT("by", a->by), LF_TEXT("file", file), LF_UINT("revision", a->config->revision),
			 LF_UINT("changes", a->n_changes));
		return;
	}
	log_error("config", "reload failed: the configuration in force stays", LF_TEXT("by", a->by), LF_TEXT("file", file),
		  LF_UINT("revision", a->reload->running->revision), LF_UINT("faults", a->errors.n));
	for (unsigned i = 0; i < a->errors.n && i < FAULTS_LOGGED; i++) {
		const struct conf_error *e = &a->errors.items[i];

		log_error("config", "fault", LF_TEXT("file", file), LF_UINT("line", e->line), LF_UINT("column", e->column),
			  LF_TEXT("at", e->pointer), LF_TEXT("what", e->text), LF_TEXT("hint", e->hint));
	}
}

/* ---- the status ---------------------------------------------------------------------------------------------------------------- */

static void copy_changes(const struct told *told, struct arena *arena, struct api_config *ret)
{
	ret->changes = arena_alloc(arena, (told->config.n_changes + 1) * sizeof(*ret->changes));
	for (unsigned i = 0; ret->changes != NULL && i < told->config.n_changes; i++)
		ret->changes[ret->n_changes++] = (struct api_change){ copy(arena, told->config.changes[i].pointer),
								      told->config.changes[i].change };
}

static void copy_faults(const struct told *told, struct arena *arena, struct api_config *ret)
{
	ret->faults = arena_alloc(arena, (told->config.n_faults + 1) * sizeof(*ret->faults));
	for (unsigned i = 0; ret->faults != NULL && i < told->config.n_faults; i++) {
		const struct api_fault *f = &told->config.faults[i];

		ret->faults[ret->n_faults++] = (struct api_fault){ copy(arena, f->pointer), copy(arena, f->text), copy(arena, f->hint),
								   f->line, f->column };
	}
}

static int status(void *arg, struct arena *arena, struct api_config *ret)
{
	struct reload *r = arg;

	pthread_mutex_lock(&r->lock);
	*ret = (struct api_config){ .revision = r->ok.config.revision, .file = r->deps.file, .by = r->ok.config.by,
				    .loaded_ms = r->ok.config.loaded_ms, .reloads_ok = r->n_ok, .reloads_failed = r->n_failed,
				    .failed_by = r->failed.config.failed_by, .failed_ms = r->failed.config.failed_ms,
				    .is_last_failed = r->is_last_failed };
	copy_changes(&r->ok, arena, ret);
	copy_faults(&r->failed, arena, ret);
	pthread_mutex_unlock(&r->lock);
	return arena_is_exhausted(arena) ? ERR_LIMIT : 0;
}

/* ---- an attempt -------------------------------------------------------------------------------------------------------------- */

static void prepare(struct attempt *a)
{
	const struct reload *r = a->reload;
	const struct config_before before = { r->started, r->running };

	a->err = config_load_next(r->deps.file, &before, &a->errors, &a->config);
	if (a->err == 0)
		a->err = router_new(a->config, &a->router);
	if (a->err == 0)
		a->err = alg_setups_new(a->config, r->deps.loop, &a->errors, &a->setups);
}

static void commit(void *arg)
{
	struct attempt *a = arg;
	struct reload *r = a->reload;
	const struct config *old = r->running;

	a->err = alg_host_reload(r->deps.algs, a->setups, &a->errors); /* all that can still fail is there */
	a->setups = NULL;
	if (a->err != 0)
		return;
	b2bua_reload(r->deps.b2bua, a->config, a->router);
	a->router = NULL;
	r->running = config_ref(a->config);
	r->deps.changed(r->deps.arg, a->config);
	config_unref(old);
}

static void put_in_force(struct attempt *a)
{
	int err = loop_call(a->reload->deps.loop, commit, a, COMMIT_MS);

	if (err != 0) { /* commit() has not run, and will not */
		a->err = err;
		conf_errors_add(&a->errors, "", 0, 0, err == -ETIMEDOUT ? "try again" : NULL, "%s",
				err == -ETIMEDOUT ? "the gateway is too busy" : err_str(err));
	}
}

/* Of what was only checked nothing was told. */
static void answer(const struct attempt *a)
{
	(void)status(a->reload, a->arena, a->ret);
	if (!a->is_check)
		return;
	a->ret->n_changes = a->ret->n_faults = 0;
	copy_changes(&a->told, a->arena, a->ret);
	copy_faults(&a->told, a->arena, a->ret);
}

static void attempt(struct attempt *a)
{
	struct reload *r = a->reload;

	pthread_mutex_lock(&r->turn);
	a->told.arena = arena_new(STATUS_ARENA);
	prepare(a);
	if (a->err == 0 && a->told.arena != NULL)
		note_changes(a);
	if (a->err == 0 && !a->is_check)
		put_in_force(a);
	if (a->err != 0 && a->errors.n == 0)
		conf_errors_add(&a->errors, "", 0, 0, NULL, "%s", err_str(a->err));
	if (a->err != 0 && a->told.arena != NULL)
		note_faults(a);
	log_attempt(a);
	tell(a);
	if (a->arena != NULL)
		answer(a);
	pthread_mutex_unlock(&r->turn);
}

static void attempt_fini(struct attempt *a)
{
	arena_free(a->told.arena);
	alg_setups_free(a->setups);
	router_free(a->router);
	config_unref(a->config);
	conf_errors_free(&a->errors);
}

/* ---- for the API ------------------------------------------------------------------------------------------------------------- */

static int run(void *arg, bool is_check, struct arena *arena, struct api_config *ret)
{
	struct attempt a = { .reload = arg, .by = "api", .is_check = is_check, .arena = arena, .ret = ret };

	attempt(&a);
	attempt_fini(&a);
	return a.err == 0 && arena_is_exhausted(arena) ? ERR_LIMIT : a.err;
}

struct api_reload reload_for_api(struct reload *r)
{
	return (struct api_reload){ run, status, r };
}

/* ---- signals ----------------------------------------------------------------------------------------------------------------- */

void reload_ask(struct reload *r)
{
	(void)sem_post(&r->asked);
}

/* Signals that came while one was read ask for one more, however many they were. */
static void *serve(void *arg)
{
	struct reload *r = arg;

	for (;;) {
		struct attempt a = { .reload = r, .by = "SIGHUP" };

		while (sem_wait(&r->asked) != 0)
			;
		while (sem_trywait(&r->asked) == 0)
			;
		if (r->is_ending)
			return NULL;
		attempt(&a);
		attempt_fini(&a);
	}
}

/* ---- life -------------------------------------------------------------------------------------------------------------------- */

const struct config *reload_config(const struct reload *r)
{
	return config_ref(r->running);
}

int reload_new(const struct reload_deps *deps, const struct config *started, struct reload **ret)
{
	static bool is_registered;
	struct reload *r = calloc(1, sizeof(*r));
	int err;

	if (r == NULL)
		return -ENOMEM;
	r->deps = *deps;
	r->started = config_ref(started);
	r->running = config_ref(started);
	r->ok.config = (struct api_config){ .revision = started->revision, .by = "start", .loaded_ms = loop_wall_ms(deps->loop) };
	pthread_mutex_init(&r->turn, NULL);
	pthread_mutex_init(&r->lock, NULL);
	sem_init(&r->asked, 0, 0);
	err = -pthread_create(&r->thread, NULL, serve, r);
	if (err != 0) {
		config_unref(r->running);
		config_unref(r->started);
		free(r);
		return err;
	}
	metric_set(&metrics[LOADED], r->ok.config.loaded_ms / 1000);
	if (!is_registered)
		metrics_register(metrics, METRICS);
	is_registered = true;
	*ret = r;
	return 0;
}

void reload_free(struct reload *r)
{
	if (r == NULL)
		return;
	r->is_ending = true;
	(void)sem_post(&r->asked);
	pthread_join(r->thread, NULL);
	arena_free(r->ok.arena);
	arena_free(r->failed.arena);
	config_unref(r->running);
	config_unref(r->started);
	pthread_mutex_destroy(&r->turn);
	pthread_mutex_destroy(&r->lock);
	sem_destroy(&r->asked);
	free(r);
}

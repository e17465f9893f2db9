/* The gateway's main program: makes the parts in order, runs the control loop, and takes the parts down in reverse. No logic of
 * its own beyond that. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "algs/host.h"
#include "api/api.h"
#include "core/bus.h"
#include "core/conf.h"
#include "core/config.h"
#include "core/err.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "daemon/helper.h"
#include "daemon/options.h"
#include "daemon/privileges.h"
#include "daemon/observers.h"
#include "daemon/reload.h"
#include "daemon/spoofing.h"
#include "db/store.h"
#include "media-relay/media.h"
#include "sbc/b2bua.h"

enum {
	DRAIN_MS = 5000,
	RECONCILE_MS = 5000, /* until then resumed calls have asked for their pinholes again; the others' are removed */
	LEAVE_MS = 300, /* for what is said to those whose calls are not answered yet */
	FILES_PER_CALL = 4,
	FILES_WARM = 4, /* per call too: sockets kept bound for calls to come */
	FILES_PER_SESSION = 8, /* two legs; a data connection with its pipe */
	FILES_BASE = 1024,
};

struct gateway {
	const struct config *config; /* of the start */
	struct loop *loop;
	struct bus *bus;
	struct store *store;
	struct helper helper;
	struct pinholes *pinholes;
	struct media_engine *media;
	struct b2bua *b2bua;
	struct alg_host_engine *algs;
	struct reload *reload;
	struct api *api;
	struct loop_timer drain_limit, reconcile;
	unsigned n_draining;
	bool is_ending, is_leaving;
};

static const struct config *current_config(void *arg)
{
	const struct gateway *g = arg;

	return reload_config(g->reload);
}

static void set_up_log(const struct config *config)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	enum log_level level = LOG_INFO;

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(config->log.level, names[i]) == 0)
			level = (enum log_level)i;
	log_setup(STDERR_FILENO, config->log.json ? LOG_JSON : LOG_TEXT, level);
}

static void raise_files(const struct config *config)
{
	unsigned calls = config->limits.max_calls, sessions = 0, files;

	for (unsigned i = 0; i < config->n_algs; i++)
		sessions += config->algs[i].max_sessions;
	files = privileges_raise_files(calls * (FILES_PER_CALL + FILES_WARM) + sessions * FILES_PER_SESSION + FILES_BASE);
	if (files < calls * FILES_PER_CALL + FILES_BASE)
		log_warn("posternd", "too few descriptors for limits.max_calls", LF_UINT("descriptors", files),
			 LF_UINT("max_calls", calls), LF_UINT("enough_for", (files - files / 8) / FILES_PER_CALL),
			 LF_TEXT("hint", "raise LimitNOFILE or lower limits.max_calls"));
}

static int load(const char *path, const struct config **ret)
{
	struct conf_errors errors = { .file = path };
	int err = config_load(path, &errors, ret);

	if (err != 0)
		conf_errors_print(&errors, stderr);
	conf_errors_free(&errors);
	return err;
}

/* Those that the configuration names. */
static int check_files(const char *path, const struct config *config)
{
	struct conf_errors errors = { .file = path };
	struct alg_setups *setups = NULL;
	int err = alg_setups_new(config, NULL, &errors, &setups);

	conf_errors_print(&errors, stderr);
	conf_errors_free(&errors);
	alg_setups_free(setups);
	return err;
}

static void on_drained(void *arg)
{
	struct gateway *g = arg;

	if (--g->n_draining == 0)
		loop_stop(g->loop);
}

static void on_drain_limit(struct loop_timer *timer, void *arg)
{
	struct gateway *g = arg;

	(void)timer;
	if (!g->is_leaving)
		log_warn("posternd", "calls or transfers did not end in time", LF_INT("waited_ms", DRAIN_MS));
	loop_stop(g->loop);
}

static void on_end_signal(void *arg, int signum)
{
	struct gateway *g = arg;

	if (g->is_ending) { /* the second one means it */
		loop_stop(g->loop);
		return;
	}
	g->is_ending = true;
	log_info("posternd", "ending", LF_INT("signal", signum));
	loop_timer_start(&g->drain_limit, DRAIN_MS);
	g->n_draining = 2;
	b2bua_drain(g->b2bua, on_drained, g);
	alg_host_drain(g->algs, on_drained, g);
}

/* For an upgrade: calls stay up, and the next process goes on with them. */
static void on_leave_signal(void *arg, int signum)
{
	struct gateway *g = arg;

	if (g->is_ending)
		return;
	g->is_ending = g->is_leaving = true;
	log_info("posternd", "leaving the calls to the next process", LF_INT("signal", signum));
	b2bua_leave(g->b2bua);
	loop_timer_start(&g->drain_limit, LEAVE_MS);
}

static void on_hangup(void *arg, int signum)
{
	struct gateway *g = arg;

	log_info("posternd", "reading the configuration again", LF_INT("signal", signum));
	reload_ask(g->reload);
}

static void on_reconcile(struct loop_timer *timer, void *arg)
{
	struct gateway *g = arg;

	(void)timer;
	pinholes_reconciled(g->pinholes);
}

static void on_reload(void *arg, const struct config *config)
{
	(void)arg;
	set_up_log(config);
	raise_files(config);
	observers_reload(config);
}

static int open_media(struct gateway *g)
{
	struct conf_errors errors = { 0 };
	int err = media_engine_new(g->loop, g->config, g->pinholes, &errors, &g->media);

	for (unsigned i = 0; i < errors.n; i++)
		log_error("media", errors.items[i].text, LF_TEXT("at", errors.items[i].pointer), LF_TEXT("hint", errors.items[i].hint));
	conf_errors_free(&errors);
	return err;
}

static int watch_signals(struct gateway *g)
{
	static const struct {
		int signum;
		loop_signal_fn *fn;
	} signals[] = { { SIGTERM, on_end_signal }, { SIGINT, on_end_signal }, { SIGUSR2, on_leave_signal }, { SIGHUP, on_hangup } };
	int err = 0;

	for (unsigned i = 0; err == 0 && i < sizeof(signals) / sizeof(signals[0]); i++)
		err = loop_on_signal(g->loop, signals[i].signum, signals[i].fn, g);
	return err;
}

/* Everything that the gateway is made of, lowest first. On failure says what and why in text. */
static int start(struct gateway *g, const char *file, char *text, size_t size)
{
	struct b2bua_deps sip = { .config = g->config };
	struct alg_host_deps algs = { .config = g->config };
	struct b2bua_resumed resumed;
	struct reload_deps reload = { .file = file, .changed = on_reload, .arg = g };
	struct api_deps api = { .config = current_config, .config_arg = g, .store_path = g->config->database };
	int err = loop_new(&g->loop);

	if (err != 0) {
		snprintf(text, size, "event loop: %s", err_str(err));
		return err;
	}
	loop_timer_init(&g->drain_limit, g->loop, on_drain_limit, g);
	loop_timer_init(&g->reconcile, g->loop, on_reconcile, g);
	g->bus = bus_new();
	if (g->bus == NULL)
		return -ENOMEM;
	err = observers_attach(g->bus, g->config);
	if (err == 0)
		err = store_open(g->loop, g->bus, g->config->database, text, size, &g->store);
	if (err == 0) {
		observers_watch_store(g->store);
		err = helper_engine(&g->helper, g->loop, g->config, &g->pinholes);
	}
	if (err == 0) {
		observers_watch_pinholes(g->bus, g->config, g->pinholes);
		err = open_media(g);
	}
	sip.loop = algs.loop = reload.loop = api.loop = g->loop;
	sip.bus = algs.bus = g->bus;
	sip.media = algs.media = api.media = g->media;
	sip.store = algs.store = api.store = g->store;
	sip.pinholes = algs.pinholes = api.pinholes = g->pinholes;
	if (err == 0)
		err = b2bua_new(&sip, text, size, &g->b2bua);
	if (err == 0)
		b2bua_resume(g->b2bua, &resumed);
	if (err == 0)
		err = alg_host_new(&algs, text, size, &g->algs);
	if (err == 0)
		alg_host_resume(g->algs);
	reload.b2bua = api.b2bua = g->b2bua;
	reload.algs = api.algs = g->algs;
	if (err == 0)
		err = reload_new(&reload, g->config, &g->reload);
	api.reload = reload_for_api(g->reload);
	if (err == 0)
		err = api_start(&api, text, size, &g->api);
	if (err == 0)
		err = watch_signals(g);
	if (err == 0)
		loop_timer_start(&g->reconcile, RECONCILE_MS);
	return err;
}

static void stop(struct gateway *g)
{
	api_stop(g->api);
	alg_host_free(g->algs); /* has transfers to record */
	store_close(g->store); /* answers calls about their records, so those must still be there */
	b2bua_free(g->b2bua);
	media_engine_free(g->media);
	pinholes_free(g->pinholes);
	helper_wait(&g->helper);
	reload_free(g->reload); /* until here others look at what is in force */
	bus_free(g->bus);
	if (g->loop != NULL) {
		loop_timer_stop(&g->drain_limit);
		loop_timer_stop(&g->reconcile);
		loop_free(g->loop);
	}
	config_unref(g->config);
}

/* As after kill -9, but that all rows are as of now: nothing else is taken down, because that would end calls and their media. */
static _Noreturn void leave(struct gateway *g)
{
	api_stop(g->api);
	b2bua_save(g->b2bua);
	store_close(g->store);
	_exit(0);
}

static int give_up_root(const struct gateway *g, const char *user, char *text, size_t size)
{
	const char *paths[] = { g->config->database, g->config->api.socket };

	return privileges_drop(user, paths, sizeof(paths) / sizeof(paths[0]), text, size);
}

int main(int argc, char **argv)
{
	struct gateway gateway = { 0 };
	struct options options;
	char text[512] = "";
	int exit_code, err;

	if (options_parse(argc, argv, &options, &exit_code) != 0)
		return exit_code;
	config_set_verbs(alg_registry_verb);
	if (load(options.config, &gateway.config) != 0)
		return 1;
	if (options.is_check) {
		err = check_files(options.config, gateway.config);
		if (err == 0)
			printf("%s: the configuration is valid\n", options.config);
		config_unref(gateway.config);
		return err == 0 ? 0 : 1;
	}
	set_up_log(gateway.config);
	signal(SIGPIPE, SIG_IGN);
	raise_files(gateway.config);
	spoofing_warn(gateway.config);
	helper_start(gateway.config, options.helper, &gateway.helper);
	err = give_up_root(&gateway, options.user, text, sizeof(text));
	if (err == 0)
		err = start(&gateway, options.config, text, sizeof(text));
	if (err == 0) {
		log_info("posternd", "ready", LF_TEXT("version", PACKAGE_VERSION), LF_TEXT("node", gateway.config->node),
			 LF_UINT("realms", gateway.config->n_realms), LF_UINT("routes", gateway.config->n_routes));
		err = loop_run(gateway.loop);
		if (gateway.is_leaving)
			leave(&gateway);
	} else {
		log_error("posternd", "cannot start", LF_TEXT("reason", text[0] != '\0' ? text : err_str(err)));
	}
	stop(&gateway);
	return err == 0 ? 0 : 1;
}

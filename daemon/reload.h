/* The configuration of the gateway that runs, and its reload. Owns the snapshot in force and the one of the start. A reload reads and
 * checks the file on the thread that asks (or on one of its own, for signals), takes its turn on the control thread, and is as a whole
 * or not at all. */
#ifndef DAEMON_RELOAD_H
#define DAEMON_RELOAD_H

#include "api/api.h"

struct reload;

struct reload_deps {
	struct loop *loop;
	struct b2bua *b2bua;
	struct alg_host_engine *algs;
	const char *file;           /* borrowed for ever */
	/* On the control thread, once all else follows the snapshot; borrowed. */
	void (*changed)(void *arg, const struct config *config);
	void *arg;
};

/* `started` is what the parts in deps were made of. Starts a thread. */
int reload_new(const struct reload_deps *deps, const struct config *started, struct reload **ret);
/* When the loop has ended. Who runs api_reload.run() has to be gone. NULL is fine. */
void reload_free(struct reload *reload);

const struct config *reload_config(const struct reload *reload); /* in force, with a reference; control thread */
void reload_ask(struct reload *reload); /* soon; how it goes is in the log and in the status. Control thread */
struct api_reload reload_for_api(struct reload *reload);

#endif

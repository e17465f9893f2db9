/* The REST interface of a running gateway: what the daemon starts and stops. Requests are served on HTTP threads; what
 * they ask of calls, media and configuration runs on the control thread through loop_call(). */
#ifndef API_API_H
#define API_API_H

#include <stddef.h>

struct alg_host_engine;
struct api;
struct b2bua;
struct config;
struct loop;
struct media_engine;
struct pinholes;
struct store;

struct api_deps { /* the objects outlive the api; store_path is borrowed for the call */
	struct loop *loop;
	/* The snapshot in force, with a reference for the caller. Called on the control thread only. */
	const struct config *(*config)(void *arg);
	void *config_arg;
	struct b2bua *b2bua;
	struct media_engine *media;
	struct pinholes *pinholes; /* NULL: media never enters the kernel */
	struct alg_host_engine *algs; /* NULL: none */
	struct store *store;       /* NULL: runs without a database */
	const char *store_path;    /* read for call records; NULL: there are none to show */
};

/* Opens the listeners of the configuration in force (TCP, UNIX socket, or both). On failure says why in error_text.
 * Control thread. */
int api_start(const struct api_deps *deps, char *error_text, size_t error_size, struct api **ret);
/* Ends the HTTP threads and removes the socket. Best after loop_run() has returned: then no request waits for the loop;
 * before that it may take the two seconds that a request waits. NULL is fine. */
void api_stop(struct api *api);

#endif

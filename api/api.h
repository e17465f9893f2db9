/* The REST interface of a running gateway: what the daemon starts and stops. Requests are served on HTTP threads; what
 * they ask of calls, media and configuration runs on the control thread through loop_call(). */
#ifndef API_API_H
#define API_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct alg_host_engine;
struct api;
struct arena;
struct b2bua;
struct config;
struct loop;
struct media_engine;
struct pinholes;
struct store;

/* The configuration in force, and how the last attempts to change it went. Texts are in the arena of who asks. */
struct api_change {
	const char *pointer, *change; /* "/algs/office-ftp", "added" */
};
struct api_fault { /* as struct conf_error */
	const char *pointer, *text, *hint; /* hint may be NULL */
	unsigned line, column;
};
struct api_config {
	uint32_t revision;
	const char *file;
	const char *by;             /* "start", "SIGHUP", "api" */
	int64_t loaded_ms;
	uint64_t reloads_ok, reloads_failed;
	struct api_change *changes; /* by the reload that put it in force */
	unsigned n_changes;
	const char *failed_by;      /* of the last one that failed; NULL: none has */
	int64_t failed_ms;
	bool is_last_failed;        /* nothing succeeded since */
	struct api_fault *faults;
	unsigned n_faults;
};
struct api_reload {
	/* Reads the file again and puts it in force, or only checks that it could be. Waits until that is done; not on the control
	 * thread. 0 and what is in force then (is_check: what would be), or an error with its faults, and nothing has changed. */
	int (*run)(void *arg, bool is_check, struct arena *arena, struct api_config *ret);
	/* Any thread. 0, or ERR_LIMIT when the arena is too small. */
	int (*status)(void *arg, struct arena *arena, struct api_config *ret);
	void *arg;
};

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
	struct api_reload reload;
	const char *store_path;    /* read for call records; NULL: there are none to show */
};

/* Opens the listeners of the configuration in force (TCP, UNIX socket, or both). On failure says why in error_text.
 * Control thread. */
int api_start(const struct api_deps *deps, char *error_text, size_t error_size, struct api **ret);
/* Ends the HTTP threads and removes the socket. Best after loop_run() has returned: then no request waits for the loop;
 * before that it may take the two seconds that a request waits. NULL is fine. */
void api_stop(struct api *api);

#endif

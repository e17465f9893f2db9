/* What the API stands on, made up: a call that is up, one that ended, two call records, media pools, three pinholes, a
 * transfer; sessions of ALGs are those of fake_alg_host.h. Defines the symbols of sbc/b2bua.h, media-relay/media.h, db/store.h and core/loop.h that api/ uses, so a test links
 * neither of them; pinholes are those of fake_pinhole.h. */
#ifndef TESTS_MOCK_API_BACKEND_H
#define TESTS_MOCK_API_BACKEND_H

#include <stdbool.h>

#include "api/api.h"

#define BACKEND_CALL "0198c0de-0000-7000-8000-000000000001"  /* is up */
#define BACKEND_ENDED "0198c0de-0000-7000-8000-000000000002"
#define BACKEND_CDR "0198c0de-0000-7000-8000-000000000003"
#define BACKEND_TRANSFER "0198c0de-0000-7000-8000-000000000004"

struct backend {
	int loop_error;      /* what loop_call() says instead of running */
	bool is_draining;
	bool is_store_failing;
	bool needs_kernel;   /* as without relay in media.paths */
	int reload_error;    /* what a reload says; ERR_CONFIG has two faults, of which one has a place in the file */
	unsigned n_reloads, n_checks; /* that were asked for */
	unsigned n_hangups;  /* of BACKEND_CALL; after the first it is unknown */
	struct pinholes *pinholes; /* two of BACKEND_CALL, one of BACKEND_ENDED */
};
extern struct backend backend;

/* Dependencies that lead to the made-up state, with a configuration of two realms, two peers, two ALGs and two
 * profiles that has the UNIX socket
 * socket_path (NULL: none), a TCP listener on loopback port tcp_port, and token_file (NULL: none). */
const struct api_deps *backend_deps(const char *socket_path, unsigned tcp_port, const char *token_file);
void backend_fini(void);

#endif

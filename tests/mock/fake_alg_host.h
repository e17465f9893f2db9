/* algs/host.h as the API sees it, made up: an FTP session that is up with data on its way, an RTSP session with
 * media, one that ended, and listeners of which one may be closed. Defines the symbols that api/ uses, so a test
 * links no host; modules are the real ones. */
#ifndef TESTS_MOCK_FAKE_ALG_HOST_H
#define TESTS_MOCK_FAKE_ALG_HOST_H

#include "algs/host.h"

/* Newer than the calls of api_backend.h, and one that is older. */
#define FAKE_FTP "0198c0de-0000-7000-8000-000000000000"
#define FAKE_RTSP "0198c0de-0000-7000-8000-0000000000ff"
#define FAKE_ENDED "0198c0de-0000-7000-8000-0000000000fe"

struct fake_alg_host {
	const struct config *config; /* whose ALGs have a listener each */
	const char *closed;          /* why the first listener is not open; NULL: it is */
	bool is_opening;             /* that listener, and nothing is wrong so far */
	unsigned n_ended;            /* of FAKE_FTP by alg_session_end(); after the first it is unknown */
};
extern struct fake_alg_host fake_alg_host;
struct alg_host_engine *fake_alg_host_engine(void);

#endif

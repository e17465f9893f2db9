/* Parts of POST /v1/explain: what a profile says to a command and why, and what a module does with messages. */
#ifndef API_RES_EXPLAIN_H
#define API_RES_EXPLAIN_H

#include "api/body.h"
#include "api/res.h"
#include "core/policy.h"

struct alg_conf;
struct alg_module;
struct config;

struct explain_ask { /* the body */
	struct span alg, profile;
	struct span verb, target, user, transport, mime, magic;
	struct addr client, server;
	unsigned direction;        /* 1 up, 2 down */
	struct body_number size;
	struct span transcript;
};
struct explain { /* what is asked about; config is referenced while it is used */
	struct api *api;
	const struct route_request *request;
	struct explain_ask ask;
	const struct config *config;
	const struct alg_conf *alg;        /* NULL: only a profile */
	const struct policy *policy;       /* NULL: none, everything is allowed */
	const struct alg_module *module;   /* NULL: not built in */
	const char *no_kernel;             /* why data cannot go through the kernel; NULL: it can */
};

/* {"rule": ..., "verdict": ..., "considered": [...], "data": {...}} */
json_t *explain_question(const struct explain *explain);
/* Each rule up to the one that decides, and the first selector that kept it from matching. */
json_t *explain_considered(const struct policy *policy, const struct policy_question *question);
/* Runs the module over the transcript. 0, or a problem in *reply. */
void explain_transcript(const struct explain *explain, struct route_reply *reply);

#endif

/* For tests of resources: a made-up gateway (api_backend.h) that is asked through the router, and looks into its
 * answers. */
#ifndef TESTS_UNIT_API_RIG_H
#define TESTS_UNIT_API_RIG_H

#include "api/res.h"
#include "tests/mock/api_backend.h"
#include "tests/unit/unit.h"

struct api_rig {
	struct api *api;
	struct arena *arena;
	struct route_reply reply;
	char directory[64], socket_path[96];
};
extern struct api_rig rig;

/* As unit_main(), with the rig set up before and taken down after. */
int rig_main(int argc, char **argv, const char *suite, const struct unit_test *tests, size_t n_tests);
void rig_start(void);
void rig_start_with(const struct api_deps *deps);
void rig_stop(void);
/* As root over the UNIX socket. The status; the reply stays in rig.reply. */
int rig_ask(const char *method, const char *target);
int rig_post(const char *target, const char *body);
/* A part of the last reply: "items.0.id". */
const json_t *rig_at(const char *path);
const char *rig_text(const char *path);
json_int_t rig_number(const char *path);
/* GETs all of a list, `limit` to a page: "/v1/calls?", with filters "/v1/calls?state=ended&". How many there were; pages before the
 * last one must be full. */
size_t rig_walk(const char *list, unsigned limit, void (*each)(void *arg, size_t n, const json_t *item), void *arg);
/* The list says 400 to each of these cursors, and why. */
void rig_refuses_cursors(const char *list, const char *const *cursors, size_t n);
/* GETs each while the control loop does not turn, and while it ends: 503. */
void rig_stall(const char *const *targets, size_t n);
/* Every allocation of the request's arena fails in turn, up to the n-th: the answer must be one of our own. */
void rig_starve(const char *method, const char *target, const char *body, unsigned n);

#endif

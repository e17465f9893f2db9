/* A flow with a toy module and an owner that writes down what it is asked. */
#ifndef TESTS_UNIT_FLOW_RIG_H
#define TESTS_UNIT_FLOW_RIG_H

#include "algs/flow.h"
#include "tests/mock/toy_alg.h"

enum { RIG_HOLES = 1200, RIG_TEXT = 1 << 20 };

struct flow_rig {
	struct flow *flow;
	int arm_result;          /* of the next hole_arm(): 1 is "on its way" */
	int reserve_result;
	unsigned n_holes;        /* handles are 1 to n_holes */
	bool is_armed[RIG_HOLES], is_freed[RIG_HOLES], is_busy[RIG_HOLES];
	unsigned n_freed, n_armed, n_paused;
	char note[300];
	unsigned n_notes, n_transfers, n_endings, n_messages;
	uint32_t timer_cookie, timer_ms;
	enum alg_verdict verdict; /* of the last message */
	char original[400], edited[400];
	bool is_denying;
	bool is_protected;       /* the hole reserved last */
	uint64_t spent_us, call_us; /* processor time so far, and of each call to come */
};

struct flow_rig *rig_new(const struct alg_module *module); /* NULL: the flow could not be made, see rig_result */
extern int rig_result;
extern bool rig_is_tls; /* the next flow begins with TLS */
void rig_free(struct flow_rig *rig);

/* Sends a text from a side: "c", "s". Returns flow_input()'s result. */
int rig_send(struct flow_rig *rig, const char *side, const char *text);
/* All that is ready to go to that side; valid until the next call. */
const char *rig_take(struct flow_rig *rig, const char *side);
/* Expects that text there, and nothing more. */
#define RIG_EXPECT(rig, side, text) CU_ASSERT_STRING_EQUAL(rig_take(rig, side), text)
void rig_event(struct flow_rig *rig, enum alg_event_type type, uint32_t hole_or_cookie);
struct flow_stats rig_stats(const struct flow_rig *rig);

#endif

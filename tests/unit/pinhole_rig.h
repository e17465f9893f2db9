/* An engine of pinholes on a fake loop with a scripted helper, and an owner that writes down what it is told. */
#ifndef TESTS_UNIT_PINHOLE_RIG_H
#define TESTS_UNIT_PINHOLE_RIG_H

#include "pinhole/pinhole.h"
#include "tests/mock/fake_helper.h"
#include "tests/unit/unit.h"

enum { RIG_MAX = 1000, RIG_LIFETIME_S = 600 };

struct rig_owner { /* of pinholes opened with rig_open() */
	unsigned n[PINHOLE_EV_CLOSED + 1]; /* events of each kind */
	struct pinhole *last;              /* that told something; may be gone by now */
	char last_reason[WIRE_REASON_MAX];
	struct slot_stats last_stats;
	void (*then)(struct rig_owner *owner, struct pinhole *pinhole, enum pinhole_event event); /* or NULL */
	void *arg;
};

struct rig {
	struct loop *loop;
	struct fake_helper helper;
	struct pinholes *pinholes;
	struct rig_owner owner;
	unsigned changes; /* that were told by pinholes_on_change() */
};

/* With a helper that has said hello and can do XDP on realms 0 and 1. */
void rig_begin(struct rig *rig);
void rig_begin_silent(struct rig *rig); /* before its hello */
void rig_end(struct rig *rig);
/* Different for each number; RTP from 192.0.2.1 to 10.0.0.1. */
struct pinhole_spec rig_spec(unsigned number);
/* n pinholes with the numbers from `first`, as one batch. */
int rig_open(struct rig *rig, unsigned first, unsigned n, struct pinhole **ret);
struct pinhole *rig_open_one(struct rig *rig, unsigned number); /* and lets the helper answer */
uint64_t rig_id(struct rig *rig, const struct pinhole *pinhole);
/* Its slot, for tests to write: at the helper's end of the memory. */
struct slot *rig_slot(struct rig *rig, const struct pinhole *pinhole);
struct pinholes_summary rig_summary(const struct rig *rig);
/* The value of a line of /metrics, -1 when it is not there. */
double rig_metric(const char *name_and_labels);

#endif

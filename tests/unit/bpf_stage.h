/* What the tests of the BPF back end share: a gateway's configuration inside a rig (pinhole/rig.h), in a child process whose
 * mounts and namespaces end with it, and packets to send through it. */
#ifndef TESTS_UNIT_BPF_STAGE_H
#define TESTS_UNIT_BPF_STAGE_H

#include <stdio.h>

#include "pinhole/bpf_backend.h"
#include "pinhole/rig.h"

struct stage {
	struct rig *rig;
	char state_dir[64];
	struct wire_seal seal;                   /* XDP before tc */
	struct backend_interface interfaces[2];  /* realm 0: "left", realm 1: "right" */
	struct backend_conf conf;
	struct backend *backend;
	uint8_t host_macs[2][6], macs[2][6];     /* of the hosts, and of the gateway towards them */
	bool is_summed;                          /* tc sees packets whose whole sum the hardware knows (CHECKSUM_COMPLETE) */
	unsigned failures;
};

typedef void stage_fn(struct stage *s);

/* CUnit lives in the parent; what runs inside the rig tells its failures itself. */
#define CHECK(condition) stage_check(s, condition, __FILE__, __LINE__, #condition)
bool stage_check(struct stage *s, bool is_good, const char *file, int line, const char *condition);

/* Runs fn inside a rig; a failure of it fails the CUnit test. */
void stage_run(stage_fn *fn);
/* Exit code of a test program: says SKIP without root. */
struct unit_test;
int stage_main(int argc, char **argv, const char *suite, const struct unit_test *tests, size_t n_tests);

void stage_open(struct stage *s); /* s->backend, without the proof, which has a test of its own */
void stage_close(struct stage *s);

/* Whether the hosts can take what XDP redirects to them; on at first. */
int stage_switch_gro(struct stage *s, bool is_on);

/* Left host, port -> gateway left, port + 1; becomes gateway right, port + 2 -> right host, port + 3. PCMU, DSCP 46. */
struct wire_pinhole stage_pinhole(uint8_t family, uint16_t port);

enum { STAGE_PAYLOAD = 172, STAGE_FRAME_MAX = 2048 };
struct stage_frame {
	uint8_t data[STAGE_FRAME_MAX];
	size_t len;
};
/* A frame of the left host for that pinhole: RTP, payload type 0, sequence 1. */
struct stage_frame stage_frame(const struct stage *s, const struct wire_pinhole *pinhole);
void stage_checksums(struct stage_frame *frame); /* sets them after a change; lengths as in the headers */
bool stage_has_good_checksums(const struct stage_frame *frame);

enum stage_result { STAGE_UP, STAGE_DROP, STAGE_SENT, STAGE_ODD };
/* Runs the program on a frame as if it had come in from the left; the frame is what comes out. */
enum stage_result stage_pass(struct stage *s, enum pinhole_path path, struct stage_frame *frame);

#endif

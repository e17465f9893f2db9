/* A helper program with fake back ends, started as posternd starts the real one, and the test in posternd's place. */
#ifndef TESTS_UNIT_PINHOLED_RIG_H
#define TESTS_UNIT_PINHOLED_RIG_H

#include <sys/types.h>

#include "pinhole/wire.h"
#include "tests/mock/fake_backend.h"

enum { RIG_WAIT_MS = 20000, RIG_PINHOLES_MAX = 8 };

struct pinholed_rig {
	int channel;
	pid_t pid;          /* the supervisor's */
	char dir[64];       /* --state-dir */
	struct fake_kernel *fake, *nat, *capture;
	uint64_t serial;    /* of the last request */
	/* The message that was received last. */
	struct wire_head head;
	const void *records;
	int fds[WIRE_FDS_MAX];
	unsigned n_fds;
	struct { _Alignas(8) uint8_t bytes[WIRE_MESSAGE_MAX]; } message;
};

void pinholed_rig_start(struct pinholed_rig *rig);  /* the program runs, and has no limits yet */
/* Another one, by its path below the build's folder. Without fake back ends rig->fake and rig->nat mean nothing. */
void pinholed_rig_start_as(struct pinholed_rig *rig, const char *program);
void pinholed_rig_seal(struct pinholed_rig *rig);   /* limits, seal, hello and abilities */
void pinholed_rig_stop(struct pinholed_rig *rig);   /* closes the channel; it must end with 0 */
bool pinholed_rig_has_logged(const struct pinholed_rig *rig, const char *text);
int pinholed_rig_wait(struct pinholed_rig *rig);    /* for its end; the status of waitpid(), -1 when it does not end */
pid_t pinholed_rig_worker(const struct pinholed_rig *rig); /* 0 when there is none */

int pinholed_rig_send(struct pinholed_rig *rig, enum wire_op op, const void *records, uint32_t count);
/* The next message, at most RIG_WAIT_MS later: true when it is of this op. Descriptors of the one before are closed. */
bool pinholed_rig_expect(struct pinholed_rig *rig, enum wire_op op);
/* As that, but lets abilities and messages about pinholes that are gone pass by. */
bool pinholed_rig_skip_to(struct pinholed_rig *rig, enum wire_op op);
/* A request and its answer. */
bool pinholed_rig_ask(struct pinholed_rig *rig, enum wire_op op, const void *records, uint32_t count, enum wire_op answer);

/* For tests that need network namespaces: prints that they are skipped, and returns false, where none may be made. */
bool pinholed_rig_may_unshare(void);

/* The limits: realm 0 is 192.0.2.10 and 2001:db8::a, realm 1 is 198.51.100.10, realm 2 an address of its own on loopback; ports
 * 20000 to 29999 everywhere. */
struct wire_addr pinholed_rig_addr(const char *text); /* "192.0.2.1:5004"; "-" is none */
struct wire_addr pinholed_rig_loopback(uint16_t port);
struct wire_seal pinholed_rig_limits(struct wire_limit ret[4]);
/* Captures: clients of realm 0 to TCP port 21 of 198.51.100.64/26 and 2001:db8:5::/64 in realm 1, as themselves; and to UDP port 69 of
 * 198.51.100.64/26, with the gateway's address. Brought to 127.0.0.1 and ::1, ports 18500 and 18501. */
enum { RIG_CAPTURES = 3 };
void pinholed_rig_captures(struct wire_capture ret[RIG_CAPTURES]);
/* An ordinary pinhole from realm 0 to realm 1, of its own flow for each id. */
struct wire_pinhole pinholed_rig_pinhole(uint64_t id);

#endif

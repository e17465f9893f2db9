/* postern-pinholed for tests of the engine: the other end of its socket, without privileges and without a kernel. It can
 * answer as the real one would, from a table of what was opened, or say whatever a test makes up. Needs the loop of
 * tests/mock/fake_loop.h. */
#ifndef TESTS_MOCK_FAKE_HELPER_H
#define TESTS_MOCK_FAKE_HELPER_H

#include "pinhole/pinhole.h"
#include "pinhole/wire.h"
#include "tests/mock/fake_loop.h"

enum { FAKE_HELPER_SLOTS = 8192 };

struct fake_hole {
	struct wire_pinhole spec; /* id 0: free */
	uint32_t slot;
	uint32_t starts;          /* of the hello after which it was opened last */
	uint8_t region, path;
};

struct fake_helper {
	struct loop *loop;
	int fd, channel;          /* this end, -1 when closed; posternd's end, for pinholes_new() */
	struct slot *slots[2];    /* writable */
	int slots_fd[2];          /* sealed */
	struct fake_hole holes[FAKE_HELPER_SLOTS]; /* the kernel; the index is the slot's */
	uint32_t starts;
	/* Orders for what it answers: */
	uint8_t path, region;     /* of what is opened from now on */
	uint64_t refused[8];      /* ids, 0: none */
	int refusal;              /* the error then */
	int socket_err;           /* of sockets; 0: a descriptor */
	enum pinhole_end end;     /* how far connections have come */
	unsigned space;           /* opens beyond are refused with ERR_LIMIT */
	struct wire_socket_request socket; /* the last one asked for */
	/* What it was asked, since the test last set it to 0: */
	unsigned n_messages[WIRE_LOOKED + 1], n_records[WIRE_LOOKED + 1];
};

struct fake_helper_message {
	struct wire_head head;
	uint64_t data[WIRE_MESSAGE_MAX / sizeof(uint64_t)];
	const void *records;
};

void fake_helper_init(struct fake_helper *helper, struct loop *loop);
void fake_helper_fini(struct fake_helper *helper);

/* A new process: one more start, the same table and counters. */
void fake_helper_hello(struct fake_helper *helper);
void fake_helper_able(struct fake_helper *helper, unsigned realm, unsigned path, bool is_usable, const char *reason);
void fake_helper_gone(struct fake_helper *helper, uint64_t id, enum wire_gone_why why); /* with the slot's counters; frees it */
void fake_helper_send(struct fake_helper *helper, enum wire_op op, uint64_t serial, const void *records, uint32_t count);
/* The next request, not answered; false when there is none. */
bool fake_helper_receive(struct fake_helper *helper, struct fake_helper_message *ret);
void fake_helper_answer(struct fake_helper *helper, const struct fake_helper_message *message);
/* Turns of the loop, with answers to every request, until neither side has more to say. */
void fake_helper_run(struct fake_helper *helper);
/* A turn of the loop in which the engine reads what was sent, without answers. */
void fake_helper_deliver(struct fake_helper *helper);
void fake_helper_hang_up(struct fake_helper *helper);

struct fake_hole *fake_helper_find(struct fake_helper *helper, uint64_t id); /* or NULL */
unsigned fake_helper_count(const struct fake_helper *helper);
/* Memory for n slots as the helper hands it over; the caller closes the descriptor. */
int fake_helper_memory(uint32_t n, bool is_sealed, struct slot **ret_slots);

#endif

/* The scripted helper. See tests/mock/fake_helper.h. */
#include "tests/mock/fake_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/err.h"
#include "pinhole/pinhole.h"

enum { ROUNDS_MAX = 1000, PER_ROUND = 8 /* the answers to more may not fit into the socket */ };

static void must(bool is_so, const char *what)
{
	if (is_so)
		return;
	fprintf(stderr, "fake_helper: %s: %s\n", what, strerror(errno));
	abort();
}

int fake_helper_memory(uint32_t n, bool is_sealed, struct slot **ret_slots)
{
	const size_t len = n * sizeof(struct slot);
	int fd = memfd_create("slots", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	must(fd >= 0 && ftruncate(fd, (off_t)len) == 0, "memory");
	*ret_slots = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(*ret_slots != MAP_FAILED, "mapping");
	must(!is_sealed || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0, "seal");
	return fd;
}

void fake_helper_init(struct fake_helper *helper, struct loop *loop)
{
	int pair[2];

	*helper = (struct fake_helper){ .loop = loop, .path = PINHOLE_XDP, .refusal = -EPERM, .space = FAKE_HELPER_SLOTS };
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
	helper->fd = pair[0];
	helper->channel = pair[1];
	must(fcntl(helper->fd, F_SETFL, O_NONBLOCK) == 0, "fcntl");
	for (unsigned i = 0; i < 2; i++)
		helper->slots_fd[i] = fake_helper_memory(FAKE_HELPER_SLOTS, true, &helper->slots[i]);
}

void fake_helper_fini(struct fake_helper *helper)
{
	fake_helper_hang_up(helper);
	for (unsigned i = 0; i < 2; i++) {
		munmap(helper->slots[i], FAKE_HELPER_SLOTS * sizeof(struct slot));
		close(helper->slots_fd[i]);
	}
}

void fake_helper_hang_up(struct fake_helper *helper)
{
	if (helper->fd >= 0)
		close(helper->fd);
	helper->fd = -1;
}

struct fake_hole *fake_helper_find(struct fake_helper *helper, uint64_t id)
{
	for (unsigned i = 0; i < FAKE_HELPER_SLOTS; i++)
		if (helper->holes[i].spec.id == id)
			return &helper->holes[i];
	return NULL;
}

unsigned fake_helper_count(const struct fake_helper *helper)
{
	unsigned n = 0;

	for (unsigned i = 0; i < FAKE_HELPER_SLOTS; i++)
		n += helper->holes[i].spec.id != 0;
	return n;
}

/* What it says */

void fake_helper_send(struct fake_helper *helper, enum wire_op op, uint64_t serial, const void *records, uint32_t count)
{
	must(wire_send(helper->fd, op, serial, records, count, NULL, 0) == 0, "send");
}

void fake_helper_hello(struct fake_helper *helper)
{
	const struct wire_hello hello = { .slot_version = SLOT_VERSION, .slot_size = sizeof(struct slot),
					  .starts = ++helper->starts, .slots = { FAKE_HELPER_SLOTS, FAKE_HELPER_SLOTS } };

	must(wire_send(helper->fd, WIRE_HELLO, 0, &hello, 1, helper->slots_fd, 2) == 0, "hello");
}

void fake_helper_able(struct fake_helper *helper, unsigned realm, unsigned path, bool is_usable, const char *reason)
{
	struct wire_ability ability = { .realm = (uint16_t)realm, .path = (uint8_t)path, .is_usable = is_usable, .is_wanted = 1 };

	snprintf(ability.interface, sizeof(ability.interface), "if%u", realm);
	snprintf(ability.reason, sizeof(ability.reason), "%s", reason);
	fake_helper_send(helper, WIRE_ABILITY, 0, &ability, 1);
}

void fake_helper_gone(struct fake_helper *helper, uint64_t id, enum wire_gone_why why)
{
	struct fake_hole *hole = fake_helper_find(helper, id);
	struct wire_gone gone = { .id = id, .why = why };

	if (hole != NULL) {
		gone.last = helper->slots[hole->region][hole->slot];
		hole->spec.id = 0;
	}
	fake_helper_send(helper, WIRE_GONE, 0, &gone, 1);
}

/* What it is asked */

bool fake_helper_receive(struct fake_helper *helper, struct fake_helper_message *ret)
{
	const char *why = "";
	int len;

	if (helper->fd < 0)
		return false;
	len = wire_receive(helper->fd, ret->data, sizeof(ret->data), NULL, NULL);
	if (len < 0)
		return false;
	if (wire_parse(ret->data, (size_t)len, &ret->head, &ret->records, &why) < 0) {
		fprintf(stderr, "fake_helper: a request that is not well-formed: %s\n", why);
		abort();
	}
	helper->n_messages[ret->head.op]++;
	helper->n_records[ret->head.op] += ret->head.count;
	return true;
}

static bool is_refused(const struct fake_helper *helper, uint64_t id)
{
	for (unsigned i = 0; i < sizeof(helper->refused) / sizeof(helper->refused[0]); i++)
		if (helper->refused[i] == id)
			return true;
	return false;
}

static void open_one(struct fake_helper *helper, const struct wire_pinhole *wanted, struct wire_opened *ret)
{
	struct fake_hole *hole = fake_helper_find(helper, wanted->id);

	ret->was_there = hole != NULL;
	if (hole == NULL) {
		hole = fake_helper_find(helper, 0);
		must(hole != NULL, "too many pinholes");
		hole->slot = (uint32_t)(hole - helper->holes);
		hole->region = helper->region;
		hole->path = helper->path;
		helper->slots[hole->region][hole->slot] = (struct slot){ .state = SLOT_ACTIVE };
	}
	hole->spec = *wanted;
	hole->starts = helper->starts;
	ret->slot = hole->slot;
	ret->region = hole->region;
	ret->path = hole->path;
	snprintf(ret->reason, sizeof(ret->reason), "first choice");
}

static void answer_open(struct fake_helper *helper, const struct fake_helper_message *message)
{
	struct wire_opened opened[WIRE_BATCH_MAX] = { 0 };
	const struct wire_pinhole *wanted = message->records;
	unsigned space = helper->space > fake_helper_count(helper) ? helper->space - fake_helper_count(helper) : 0;
	bool is_ok = true;

	for (unsigned i = 0; i < message->head.count; i++) {
		opened[i].id = wanted[i].id;
		opened[i].err = ERR_STATE;
		if (is_refused(helper, wanted[i].id))
			opened[i].err = helper->refusal;
		else if (fake_helper_find(helper, wanted[i].id) == NULL && space-- == 0)
			opened[i].err = ERR_LIMIT, space = 0;
		if (opened[i].err == ERR_STATE)
			continue;
		is_ok = false;
		snprintf(opened[i].reason, sizeof(opened[i].reason), "refused as told");
	}
	for (unsigned i = 0; is_ok && i < message->head.count; i++) {
		opened[i].err = 0;
		open_one(helper, &wanted[i], &opened[i]);
	}
	fake_helper_send(helper, WIRE_OPENED, message->head.serial, opened, message->head.count);
}

static void answer_close(struct fake_helper *helper, const struct fake_helper_message *message)
{
	struct wire_closed closed[WIRE_BATCH_MAX] = { 0 };
	const struct wire_key *keys = message->records;

	for (unsigned i = 0; i < message->head.count; i++) {
		struct fake_hole *hole = fake_helper_find(helper, keys[i].id);

		closed[i].id = keys[i].id;
		closed[i].err = hole != NULL ? 0 : ERR_NOT_FOUND;
		if (hole != NULL) {
			closed[i].last = helper->slots[hole->region][hole->slot];
			hole->spec.id = 0;
		}
	}
	fake_helper_send(helper, WIRE_CLOSED, message->head.serial, closed, message->head.count);
}

static void answer_list(struct fake_helper *helper, const struct fake_helper_message *message)
{
	struct wire_listed listed[WIRE_BATCH_MAX] = { 0 };
	uint32_t n = 0;

	for (unsigned i = 0; i < FAKE_HELPER_SLOTS; i++) {
		if (helper->holes[i].spec.id == 0)
			continue;
		listed[n++] = (struct wire_listed){ .id = helper->holes[i].spec.id, .path = helper->holes[i].path };
		if (n < WIRE_BATCH_MAX)
			continue;
		fake_helper_send(helper, WIRE_LISTED, message->head.serial, listed, n);
		n = 0;
	}
	if (n > 0)
		fake_helper_send(helper, WIRE_LISTED, message->head.serial, listed, n);
	fake_helper_send(helper, WIRE_LISTED, message->head.serial, NULL, 0);
}

static void answer_sweep(struct fake_helper *helper, const struct fake_helper_message *message)
{
	const struct wire_count *since = message->records;
	struct wire_count swept = { 0 };

	for (unsigned i = 0; since->n == helper->starts && i < FAKE_HELPER_SLOTS; i++) {
		if (helper->holes[i].spec.id == 0 || helper->holes[i].starts == helper->starts)
			continue;
		helper->holes[i].spec.id = 0;
		swept.n++;
	}
	fake_helper_send(helper, WIRE_SWEPT, message->head.serial, &swept, 1);
}

static void answer_socket(struct fake_helper *helper, const struct fake_helper_message *message)
{
	const struct wire_result result = { .err = helper->socket_err };
	int fd = memfd_create("socket", MFD_CLOEXEC);

	must(fd >= 0, "descriptor");
	memcpy(&helper->socket, message->records, sizeof(helper->socket));
	must(wire_send(helper->fd, WIRE_SOCKET_READY, message->head.serial, &result, 1, &fd, result.err == 0) == 0, "send");
	close(fd);
}

static void answer_look(struct fake_helper *helper, const struct fake_helper_message *message)
{
	struct wire_looked looked[WIRE_BATCH_MAX] = { 0 };
	const struct wire_key *keys = message->records;

	for (unsigned i = 0; i < message->head.count; i++)
		looked[i] = (struct wire_looked){ .id = keys[i].id, .end = (uint8_t)helper->end };
	fake_helper_send(helper, WIRE_LOOKED, message->head.serial, looked, message->head.count);
}

void fake_helper_answer(struct fake_helper *helper, const struct fake_helper_message *message)
{
	switch ((enum wire_op)message->head.op) {
	case WIRE_OPEN:
		answer_open(helper, message);
		break;
	case WIRE_CLOSE:
		answer_close(helper, message);
		break;
	case WIRE_SWEEP:
		answer_sweep(helper, message);
		break;
	case WIRE_SOCKET:
		answer_socket(helper, message);
		break;
	case WIRE_LOOK:
		answer_look(helper, message);
		break;
	case WIRE_LIST:
		answer_list(helper, message);
		break;
	default:
		break;
	}
}

void fake_helper_deliver(struct fake_helper *helper)
{
	fake_loop_turn(helper->loop);
	(void)fake_loop_fire_fd(helper->loop, helper->channel, LOOP_READ | LOOP_WRITE);
}

void fake_helper_run(struct fake_helper *helper)
{
	static struct fake_helper_message message; /* large; one test at a time */
	unsigned n_quiet = 0;

	for (unsigned i = 0; i < ROUNDS_MAX && n_quiet < 2; i++) {
		n_quiet++;
		fake_helper_deliver(helper);
		for (unsigned n = 0; n < PER_ROUND && fake_helper_receive(helper, &message); n++) {
			fake_helper_answer(helper, &message);
			n_quiet = 0;
		}
	}
}

/* pinhole_socket_open() with a scripted helper: answers, refusals, requests that are given up, restarts and the end of the helper,
 * and answers that do not fit. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/err.h"
#include "tests/unit/pinhole_rig.h"

enum { LIMIT = 1024, NOT_TOLD = 1 };

static struct rig rig;
static struct fake_helper_message message;

struct owner {
	unsigned n_told;
	int fd; /* of the last answer */
	struct pinhole_socket_request *request; /* asked for when told */
	bool asks_again;
};
static struct owner owner;

static int ask(struct pinhole_socket_request **ret);

static void on_socket(void *arg, int fd)
{
	struct owner *o = arg;

	o->n_told++;
	o->fd = fd;
	if (o->asks_again) {
		o->asks_again = false;
		CU_ASSERT_EQUAL(ask(&o->request), 0);
	}
}

static int ask(struct pinhole_socket_request **ret)
{
	struct pinhole_socket wanted = { .realm = 1, .proto = IPPROTO_TCP, .is_transparent = true, .is_connecting = true };

	CU_ASSERT_EQUAL_FATAL(addr_parse(span_of("203.0.113.5:4000"), &wanted.addr), 0);
	return pinhole_socket_open(rig.pinholes, &wanted, on_socket, &owner, ret);
}

static void begin(void)
{
	owner = (struct owner){ .fd = NOT_TOLD };
	rig_begin(&rig);
}

static int count_open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void answered(void)
{
	struct pinhole_socket_request *request;
	struct addr addr;
	int n_fds;

	begin();
	n_fds = count_open_fds();
	CU_ASSERT_EQUAL_FATAL(ask(&request), 0);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_SOCKET], 0); /* nothing happens within the call */
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(owner.n_told, 1);
	CU_ASSERT_EQUAL_FATAL(fcntl(owner.fd, F_GETFD), FD_CLOEXEC);
	CU_ASSERT_EQUAL(close(owner.fd), 0);
	CU_ASSERT_EQUAL(count_open_fds(), n_fds);
	addr = wire_addr_get(&rig.helper.socket.addr);
	CU_ASSERT_EQUAL(addr.port, 4000);
	CU_ASSERT_EQUAL(rig.helper.socket.realm, 1);
	CU_ASSERT_EQUAL(rig.helper.socket.proto, IPPROTO_TCP);
	CU_ASSERT(rig.helper.socket.is_transparent && rig.helper.socket.is_connecting);
	rig.helper.socket_err = ERR_DENIED;
	CU_ASSERT_EQUAL_FATAL(ask(&request), 0);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(owner.n_told, 2);
	CU_ASSERT_EQUAL(owner.fd, ERR_DENIED);
	rig_end(&rig);
}

static void given_up(void)
{
	struct pinhole_socket_request *request;
	int n_fds;

	begin();
	n_fds = count_open_fds();
	CU_ASSERT_EQUAL_FATAL(ask(&request), 0);
	pinhole_socket_cancel(request); /* before it is sent */
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_SOCKET], 0);
	CU_ASSERT_EQUAL_FATAL(ask(&request), 0);
	fake_helper_deliver(&rig.helper);
	CU_ASSERT_FATAL(fake_helper_receive(&rig.helper, &message));
	pinhole_socket_cancel(request); /* while the answer is on its way */
	fake_helper_answer(&rig.helper, &message);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(owner.n_told, 0);
	CU_ASSERT_EQUAL(count_open_fds(), n_fds);
	CU_ASSERT_EQUAL_FATAL(ask(&request), 0);
	fake_helper_deliver(&rig.helper);
	fake_helper_hello(&rig.helper);
	fake_helper_deliver(&rig.helper); /* it has failed, and that was not told yet */
	rig_end(&rig);
}

static void the_helper_is_replaced(void)
{
	struct pinhole_socket_request *sent;
	int n_fds;

	begin();
	n_fds = count_open_fds();
	CU_ASSERT_EQUAL_FATAL(ask(&sent), 0);
	fake_helper_deliver(&rig.helper);
	CU_ASSERT_FATAL(fake_helper_receive(&rig.helper, &message));
	owner.asks_again = true;
	fake_helper_hello(&rig.helper);
	fake_helper_answer(&rig.helper, &message); /* by the new one, which found it in the socket: nobody waits for it any more */
	fake_helper_deliver(&rig.helper);
	fake_helper_deliver(&rig.helper);
	CU_ASSERT_EQUAL(owner.n_told, 1);
	CU_ASSERT_EQUAL(owner.fd, ERR_CLOSED);
	CU_ASSERT_EQUAL(count_open_fds(), n_fds);
	fake_helper_run(&rig.helper); /* the one that was asked for anew */
	CU_ASSERT_EQUAL(owner.n_told, 2);
	CU_ASSERT_EQUAL(count_open_fds(), n_fds + 1);
	CU_ASSERT_EQUAL(close(owner.fd), 0);
	rig_end(&rig);
}

static void the_helper_is_not_ready(void)
{
	struct pinhole_socket_request *request;

	owner = (struct owner){ .fd = NOT_TOLD };
	rig_begin_silent(&rig);
	CU_ASSERT_EQUAL_FATAL(ask(&request), 0);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_SOCKET], 0);
	fake_helper_hello(&rig.helper);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(owner.n_told, 1);
	CU_ASSERT_EQUAL(close(owner.fd), 0);
	rig_end(&rig);
}

static void the_helper_is_lost(void)
{
	struct pinhole_socket_request *request;

	begin();
	CU_ASSERT_EQUAL_FATAL(ask(&request), 0);
	fake_helper_deliver(&rig.helper);
	CU_ASSERT_EQUAL_FATAL(ask(&request), 0);
	fake_helper_hang_up(&rig.helper);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(owner.n_told, 2);
	CU_ASSERT_EQUAL(owner.fd, ERR_CLOSED);
	CU_ASSERT_EQUAL(ask(&request), ERR_UNSUPPORTED);
	rig_end(&rig);
}

static void at_the_limit(void)
{
	static struct pinhole_socket_request *requests[LIMIT];
	struct pinhole_socket_request *more;
	struct pinhole *pinholes[50];

	begin();
	rig.helper.socket_err = ERR_DENIED;
	for (unsigned i = 0; i < LIMIT; i++)
		CU_ASSERT_EQUAL_FATAL(ask(&requests[i]), 0);
	CU_ASSERT_EQUAL(ask(&more), ERR_LIMIT);
	pinhole_socket_cancel(requests[7]);
	CU_ASSERT_EQUAL(ask(&more), 0);
	/* Pinholes have their turn all the same. */
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 50, pinholes), 0);
	fake_helper_deliver(&rig.helper);
	CU_ASSERT_FATAL(fake_helper_receive(&rig.helper, &message));
	fake_helper_answer(&rig.helper, &message);
	CU_ASSERT_FATAL(fake_helper_receive(&rig.helper, &message));
	CU_ASSERT_EQUAL(message.head.op, WIRE_OPEN);
	fake_helper_answer(&rig.helper, &message);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(owner.n_told, LIMIT);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], 50);
	CU_ASSERT_EQUAL_FATAL(ask(&more), 0); /* left behind: freed with the engine */
	rig_end(&rig);
}

static void without_sense(void)
{
	struct pinhole_socket wanted = { .proto = IPPROTO_TCP };
	struct pinhole_socket_request *request;

	begin();
	CU_ASSERT_EQUAL(pinhole_socket_open(rig.pinholes, &wanted, on_socket, &owner, &request), ERR_STATE);
	CU_ASSERT_EQUAL_FATAL(addr_parse(span_of("203.0.113.5:4000"), &wanted.addr), 0);
	wanted.proto = IPPROTO_ICMP;
	CU_ASSERT_EQUAL(pinhole_socket_open(rig.pinholes, &wanted, on_socket, &owner, &request), ERR_STATE);
	wanted.proto = IPPROTO_UDP;
	wanted.realm = UINT16_MAX + 1;
	CU_ASSERT_EQUAL(pinhole_socket_open(rig.pinholes, &wanted, on_socket, &owner, &request), ERR_STATE);
	rig_end(&rig);
}

/* Each ends the conversation; the owner is told that there is no socket. */
static void answers_that_do_not_fit(void)
{
	static const struct {
		int err;
		unsigned n_fds;
	} rows[] = { { 0, 0 }, { 0, 2 }, { ERR_DENIED, 1 } };

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct wire_result result = { .err = rows[i].err };
		struct pinhole_socket_request *request;
		int fds[2] = { STDIN_FILENO, STDOUT_FILENO }, n_fds;

		begin();
		CU_ASSERT_EQUAL_FATAL(ask(&request), 0);
		fake_helper_deliver(&rig.helper);
		CU_ASSERT_FATAL(fake_helper_receive(&rig.helper, &message));
		n_fds = count_open_fds();
		CU_ASSERT_EQUAL(wire_send(rig.helper.fd, WIRE_SOCKET_READY, message.head.serial, &result, 1, fds, rows[i].n_fds), 0);
		fake_helper_deliver(&rig.helper);
		CU_ASSERT_EQUAL(owner.n_told, 1);
		CU_ASSERT_EQUAL(owner.fd, ERR_CLOSED);
		CU_ASSERT_FALSE(rig_summary(&rig).has_helper);
		CU_ASSERT_EQUAL(count_open_fds(), n_fds - 1); /* the channel */
		rig_end(&rig);
	}
}

static const struct unit_test tests[] = {
	{ "answered", answered },
	{ "given up", given_up },
	{ "the helper is replaced", the_helper_is_replaced },
	{ "the helper is not ready", the_helper_is_not_ready },
	{ "the helper is lost", the_helper_is_lost },
	{ "at the limit", at_the_limit },
	{ "without sense", without_sense },
	{ "answers that do not fit", answers_that_do_not_fit },
};

UNIT_MAIN("pinhole_socket", tests)

/* The engine of pinholes when memory runs out: linked with wrappers of the allocator that fail from the n-th allocation on. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/err.h"
#include "tests/unit/pinhole_rig.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);

static long budget = -1; /* allocations until all fail; negative: no limit */

static bool may_allocate(void)
{
	if (budget > 0)
		budget--;
	return budget != 0;
}

void *__wrap_malloc(size_t size)
{
	return may_allocate() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
	return may_allocate() ? __real_calloc(n, size) : NULL;
}

void *__wrap_realloc(void *old, size_t size)
{
	return may_allocate() ? __real_realloc(old, size) : NULL;
}

static struct rig rig;

static void an_engine_or_nothing(void)
{
	unsigned n = 0;
	int err;

	memset(&rig, 0, sizeof(rig));
	CU_ASSERT_EQUAL_FATAL(loop_new(&rig.loop), 0);
	do {
		struct pinholes_conf conf = { .order = { PINHOLE_XDP }, .max = 10, .n_realms = 1 };

		fake_helper_init(&rig.helper, rig.loop);
		conf.channel = rig.helper.channel;
		budget = (long)n++;
		err = pinholes_new(rig.loop, &conf, &rig.pinholes);
		budget = -1;
		if (err != 0)
			CU_ASSERT_EQUAL(err, -ENOMEM);
		if (err == 0)
			pinholes_free(rig.pinholes);
		CU_ASSERT_EQUAL(fake_loop_open_handles(rig.loop), 0);
		fake_helper_fini(&rig.helper);
	} while (err != 0 && n < 100);
	CU_ASSERT(n > 5);
	CU_ASSERT_EQUAL(err, 0);
	loop_free(rig.loop);
}

static void all_of_a_batch_or_none(void)
{
	struct pinhole *p[8];
	unsigned n = 0;
	int err;

	rig_begin(&rig);
	do {
		budget = (long)n++;
		err = rig_open(&rig, 0, 8, p);
		budget = -1;
		if (err == 0)
			break;
		CU_ASSERT_EQUAL(err, -ENOMEM);
		CU_ASSERT_EQUAL(rig_summary(&rig).open[PINHOLE_NONE], 0);
		fake_helper_run(&rig.helper);
		CU_ASSERT_EQUAL(rig.helper.n_messages[WIRE_OPEN], 0);
	} while (n < 100);
	CU_ASSERT(n >= 8);
	CU_ASSERT_EQUAL_FATAL(err, 0);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], 8);
	rig_end(&rig);
}

/* Everything that happens to pinholes that are there needs no memory, but for texts. */
static void what_is_there_goes_on(void)
{
	struct pinhole *p[8];

	rig_begin(&rig);
	CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, 8, p), 0);
	budget = 0;
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_ARMED], 8);
	CU_ASSERT_STRING_EQUAL(pinhole_reason(p[0]), "not known: out of memory");
	fake_helper_hello(&rig.helper);
	fake_helper_run(&rig.helper);
	pinholes_reconciled(rig.pinholes);
	fake_loop_advance(rig.loop, RIG_LIFETIME_S * 1000 / 3);
	fake_helper_run(&rig.helper);
	for (unsigned i = 0; i < 8; i++)
		pinhole_close(p[i]);
	fake_helper_run(&rig.helper);
	CU_ASSERT_EQUAL(rig.owner.n[PINHOLE_EV_CLOSED], 8);
	CU_ASSERT_EQUAL(fake_helper_count(&rig.helper), 0);
	budget = -1;
	rig_end(&rig);
}

static void on_socket(void *arg, int fd)
{
	*(int *)arg = fd;
}

static void no_socket_without_memory(void)
{
	struct pinhole_socket wanted = { .realm = 1, .proto = IPPROTO_TCP, .is_transparent = true };
	struct pinhole_socket_request *request;
	int fd = -1;

	rig_begin(&rig);
	CU_ASSERT_EQUAL_FATAL(addr_parse(span_of("127.0.0.1:18500"), &wanted.addr), 0);
	budget = 0;
	CU_ASSERT_EQUAL(pinhole_socket_open(rig.pinholes, &wanted, on_socket, &fd, &request), -ENOMEM);
	budget = -1;
	CU_ASSERT_EQUAL_FATAL(pinhole_socket_open(rig.pinholes, &wanted, on_socket, &fd, &request), 0);
	budget = 0; /* the answer needs none */
	fake_helper_run(&rig.helper);
	budget = -1;
	CU_ASSERT_EQUAL(close(fd), 0);
	rig_end(&rig);
}

static const struct unit_test tests[] = {
	{ "an engine or nothing", an_engine_or_nothing },
	{ "all of a batch or none", all_of_a_batch_or_none },
	{ "what is there goes on", what_is_there_goes_on },
	{ "no socket without memory", no_socket_without_memory },
};

UNIT_MAIN("pinhole_memory", tests)

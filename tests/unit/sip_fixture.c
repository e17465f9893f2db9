/* Parsed messages for tests, see the header. */
#include "tests/unit/sip_fixture.h"

#include <stdio.h>

#include "tests/unit/unit.h"

struct sip_msg *sip_fixture(struct arena *arena, struct span bytes, const char *source)
{
	static struct guard_message guarded;
	struct guard_fault fault = { 0 };
	struct sip_flow flow = { .realm = 0 };
	static bool is_ready;
	const char *own = source[0] == '[' ? "[2001:db8::10]:5060" : "10.0.0.10:5060";
	struct sip_msg *msg = NULL;

	if (!is_ready)
		CU_ASSERT_EQUAL_FATAL(sip_msg_init(), 0);
	is_ready = true;
	CU_ASSERT_EQUAL_FATAL(addr_parse(span_of(source), &flow.remote), 0);
	CU_ASSERT_EQUAL_FATAL(addr_parse(span_of(own), &flow.local), 0);
	CU_ASSERT_EQUAL_FATAL(guard_scan(bytes, &guarded, &fault), GUARD_OK);
	if (sip_msg_parse(arena, &guarded, &flow, &msg, &fault) != 0)
		printf("# %d %s in:\n# %.*s\n", fault.code, fault.counter, SPAN_ARG(bytes));
	CU_ASSERT_PTR_NOT_NULL_FATAL(msg);
	return msg;
}

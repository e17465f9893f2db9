/* pinhole/rig.h: the topology that back ends prove themselves in. Needs the right to make network namespaces. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "pinhole/rig.h"
#include "tests/unit/unit.h"

/* Plain forwarding: what arrives keeps the sender's address. */
static int forwards(struct rig *rig, void *arg, char *reason, size_t size)
{
	uint8_t family = *(uint8_t *)arg;
	struct addr left = rig_host(RIG_LEFT, family, 5000), right = rig_host(RIG_RIGHT, family, 6000);
	struct rig_pass there = { 0 }, back = { 0 };
	int err;

	if (family == AF_INET6 && !rig->has_ipv6)
		return 0;
	there.fd = back.far = rig_socket(rig, RIG_LEFT, SOCK_DGRAM, &left);
	there.far = back.fd = rig_socket(rig, RIG_RIGHT, SOCK_DGRAM, &right);
	there.to = back.as = right;
	there.as = back.to = left;
	err = rig_pass(&there, reason, size);
	return err == 0 ? rig_pass(&back, reason, size) : err;
}

static int fails(struct rig *rig, void *arg, char *reason, size_t size)
{
	(void)rig;
	(void)arg;
	snprintf(reason, size, "as asked");
	return -EXDEV;
}

static int dies(struct rig *rig, void *arg, char *reason, size_t size)
{
	(void)rig;
	(void)arg;
	(void)reason;
	(void)size;
	_exit(3);
}

static bool may_run(void)
{
	char reason[100];
	uint8_t family = AF_INET;
	int err = rig_run(forwards, &family, reason, sizeof(reason));

	return err != -EPERM;
}

static void packets_pass_between_the_hosts(void)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	char reason[100] = "";

	for (unsigned i = 0; i < 2; i++) {
		uint8_t family = families[i];
		int err = rig_run(forwards, &family, reason, sizeof(reason));

		CU_ASSERT_EQUAL(err, 0);
		if (err)
			printf("# %s\n", reason);
	}
}

static void a_failure_comes_with_its_reason(void)
{
	char reason[100] = "";

	CU_ASSERT_EQUAL(rig_run(fails, NULL, reason, sizeof(reason)), -EXDEV);
	CU_ASSERT_STRING_EQUAL(reason, "as asked");
	CU_ASSERT_TRUE(rig_run(dies, NULL, reason, sizeof(reason)) < 0);
	CU_ASSERT_STRING_EQUAL(reason, "the test ended without an answer");
}

static void nothing_is_left_in_the_callers_namespace(void)
{
	char before[64] = "", after[64] = "", reason[100];

	CU_ASSERT_TRUE(readlink("/proc/self/ns/net", before, sizeof(before) - 1) > 0);
	rig_run(fails, NULL, reason, sizeof(reason));
	CU_ASSERT_TRUE(readlink("/proc/self/ns/net", after, sizeof(after) - 1) > 0);
	CU_ASSERT_STRING_EQUAL(before, after);
}

static const struct unit_test tests[] = {
	{ "packets pass between the hosts", packets_pass_between_the_hosts },
	{ "a failure comes with its reason", a_failure_comes_with_its_reason },
	{ "nothing is left in the caller's namespace", nothing_is_left_in_the_callers_namespace },
};

int main(int argc, char **argv)
{
	if (!may_run()) {
		printf("1..0 # SKIP no right to make network namespaces\n");
		return 0;
	}
	return unit_main(argc, argv, "rig", tests, sizeof(tests) / sizeof(tests[0]));
}

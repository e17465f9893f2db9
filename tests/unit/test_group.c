/* Session groups: members close in reverse order, once. */
#include "media-relay/group.h"
#include "tests/unit/unit.h"

struct thing {
	struct group_member member;
	int number;
	struct group *reopens; /* adds `extra` to this group while closing */
	struct thing *extra;
};

static int order[8];
static int n_closed;

static void on_close(struct group_member *member)
{
	struct thing *thing = LIST_ENTRY(member, struct thing, member);

	order[n_closed++] = thing->number;
	if (thing->reopens != NULL)
		group_add(thing->reopens, &thing->extra->member, on_close);
}

static void test_newest_first(void)
{
	struct thing things[3] = { { .number = 0 }, { .number = 1 }, { .number = 2 } };
	struct group group;

	n_closed = 0;
	group_init(&group, 7, 1767225600000);
	CU_ASSERT_EQUAL(strlen(group.id), 36);
	for (int i = 0; i < 3; i++)
		group_add(&group, &things[i].member, on_close);
	group_close(&group);
	CU_ASSERT_EQUAL(n_closed, 3);
	CU_ASSERT_EQUAL(order[0], 2);
	CU_ASSERT_EQUAL(order[1], 1);
	CU_ASSERT_EQUAL(order[2], 0);
	group_close(&group);
	CU_ASSERT_EQUAL(n_closed, 3);
}

static void test_removed_is_not_closed(void)
{
	struct thing things[2] = { { .number = 0 }, { .number = 1 } };
	struct group group;

	n_closed = 0;
	group_init(&group, 0, 0);
	group_add(&group, &things[0].member, on_close);
	group_add(&group, &things[1].member, on_close);
	group_remove(&things[0].member);
	group_remove(&things[0].member);
	group_close(&group);
	CU_ASSERT_EQUAL(n_closed, 1);
	CU_ASSERT_EQUAL(order[0], 1);
}

static void test_added_while_closing(void)
{
	struct thing extra = { .number = 9 };
	struct group group;
	struct thing thing = { .number = 0, .reopens = &group, .extra = &extra };

	n_closed = 0;
	group_init(&group, 0, 0);
	group_add(&group, &thing.member, on_close);
	group_close(&group);
	CU_ASSERT_EQUAL(n_closed, 2);
	CU_ASSERT(list_is_empty(&group.members));
}

static const struct unit_test tests[] = {
	{ "members close newest first, once", test_newest_first },
	{ "a removed member is not closed", test_removed_is_not_closed },
	{ "a member added while closing is closed too", test_added_while_closing },
};

UNIT_MAIN("group", tests)

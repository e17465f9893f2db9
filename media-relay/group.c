/* Session groups: one list of members, closed from the newest to the oldest, so that what was built on something
 * else goes first. Control thread. */
#include "media-relay/group.h"

void group_init(struct group *group, uint8_t shard, int64_t wall_ms)
{
	id_uuid(shard, wall_ms, group->id);
	list_init(&group->members);
}

void group_add(struct group *group, struct group_member *member, group_close_fn *close)
{
	member->close = close;
	list_append(&group->members, &member->node);
}

void group_remove(struct group_member *member)
{
	list_remove(&member->node);
}

void group_close(struct group *group)
{
	while (!list_is_empty(&group->members)) {
		struct group_member *last = LIST_ENTRY(group->members.prev, struct group_member, node);

		list_remove(&last->node);
		last->close(last);
	}
}

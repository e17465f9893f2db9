/* A session group: everything one session holds open (media, ports; later pinholes, control legs, timers, quota). SIP
 * calls and ALG sessions are both groups. Closing the group closes every member, last opened first. Control thread. */
#ifndef MEDIA_RELAY_GROUP_H
#define MEDIA_RELAY_GROUP_H

#include "core/id.h"
#include "core/list.h"

struct group_member;
typedef void group_close_fn(struct group_member *member);
struct group_member { /* embedded in what the group holds */
	struct list node;
	group_close_fn *close; /* releases the member; called once, the node is already out of the group */
};

struct group {
	char id[ID_TEXT_MAX]; /* UUIDv7, the session's id everywhere: log, API, CDR, trace */
	struct list members;
};

/* wall_ms stamps the id. */
void group_init(struct group *group, uint8_t shard, int64_t wall_ms);
void group_add(struct group *group, struct group_member *member, group_close_fn *close);
void group_remove(struct group_member *member); /* the member closes by itself, without its close function */
void group_close(struct group *group);          /* may be called twice */

#endif

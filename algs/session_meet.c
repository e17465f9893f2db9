/* Sessions that meet by a name (struct alg_host, meet_open() and meet_join()), only where ALG, client's address and server are the
 * same. A name is the session's until it ends; the table of them is the engine's. Control thread. */
#include "algs/session.h"

#include <stdlib.h>

struct meeting { /* what has to be the same */
	const struct session *session; /* any with that ALG, client and server */
	struct span name;
};

static struct session *session_of(struct joint *joint)
{
	return LIST_ENTRY(joint, struct session, joint);
}

static struct span ip_of(const struct session *s)
{
	return (struct span){ (const char *)s->far[ALG_CLIENT].ip, sizeof(s->far[ALG_CLIENT].ip) };
}

static uint64_t hash_of(const struct meeting *meeting)
{
	return hash_bytes_seeded(meeting->name, hash_bytes(ip_of(meeting->session)));
}

static bool is_same(const struct hash_node *node, const void *key)
{
	const struct session *s = HASH_ENTRY(node, struct session, by_name);
	const struct meeting *wanted = key;

	/* Of the ALG, not of its configuration, which may have changed between the two. */
	return s->client->alg == wanted->session->client->alg && addr_eq_ip(&s->far[ALG_CLIENT], &wanted->session->far[ALG_CLIENT]) &&
	       addr_eq(&s->far[ALG_SERVER], &wanted->session->far[ALG_SERVER]) &&
	       span_eq(wanted->name, (struct span){ s->name, s->name_len });
}

static struct session *find(const struct meeting *meeting)
{
	struct hash_node *node = hash_table_find(meeting->session->engine->by_name, hash_of(meeting), is_same, meeting);

	return node != NULL ? HASH_ENTRY(node, struct session, by_name) : NULL;
}

/* Not in the module's open() and close(). */
static bool may_meet(const struct session *s)
{
	return s->joint.flow != NULL && s->state == SESSION_OPEN;
}

int session_meet_open(struct session *s, struct span name)
{
	struct meeting meeting = { s, name };

	if (!may_meet(s) || s->name != NULL || find(&meeting) != NULL)
		return ALG_ERR_STATE;
	if (s->client == NULL || s->client->names == ENGINE_NAMES_PER_CLIENT)
		return ALG_ERR_LIMIT;
	s->name = malloc(name.len);
	if (s->name == NULL || hash_table_add(s->engine->by_name, &s->by_name, hash_of(&meeting)) != 0) {
		free(s->name);
		s->name = NULL;
		return ALG_ERR_LIMIT;
	}
	memcpy(s->name, name.ptr, name.len);
	s->name_len = name.len;
	s->client->names++;
	return 0;
}

int session_meet_join(struct session *s, struct span name)
{
	struct meeting meeting = { s, name };
	struct session *other = may_meet(s) ? find(&meeting) : NULL;
	int err = other != NULL ? joint_join(&s->joint, &other->joint) : ALG_ERR_STATE;

	if (err < 0)
		return err;
	memcpy(s->partner, other->group.id, sizeof(s->partner));
	memcpy(other->partner, s->group.id, sizeof(other->partner));
	session_step(s, NULL, "speaks for the client of session %s", other->group.id);
	session_step(other, NULL, "session %s speaks for its client", s->group.id);
	return 0;
}

void session_meet_leave(struct session *s)
{
	joint_leave(&s->joint);
	if (s->name == NULL)
		return;
	hash_table_remove(s->engine->by_name, &s->by_name);
	s->client->names--;
	free(s->name);
	s->name = NULL;
}

void session_on_wake(struct joint *joint)
{
	session_kick(session_of(joint));
}

bool session_meet_move(struct session *s)
{
	struct session *other = s->joint.listener != NULL ? session_of(s->joint.listener) : NULL;
	struct session *all[] = { s, other, NULL, NULL };
	const struct joint *listener = other != NULL ? &other->joint : &s->joint;
	bool has_moved;

	all[2] = listener->speaker != NULL ? session_of(listener->speaker) : NULL;
	all[3] = listener->next != NULL ? session_of(listener->next) : NULL;
	if (all[1] == NULL && all[2] == NULL && all[3] == NULL)
		return false;
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i] != NULL)
			all[i]->is_in_flow = true;
	has_moved = joint_move(&s->joint);
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i] != NULL)
			all[i]->is_in_flow = false;
	return has_moved;
}

/* A speaker may be silent for as long as the listener hears. */
uint64_t session_active_ms(const struct session *s)
{
	uint64_t other_ms = s->joint.listener != NULL ? session_of(s->joint.listener)->active_ms : 0;

	return other_ms > s->active_ms ? other_ms : s->active_ms;
}

/* Media sessions, control side: the engine, its sessions, and the sweep that finds those that fell silent. Streams are in
 * media_stream.c. Packets are the relay threads' (relay.c, forward.c) and the kernel's (offload.c). Control thread. */
#include "media-relay/media_inside.h"

#include <errno.h>
#include <stdlib.h>

#include "core/err.h"

enum { SWEEP_MS = 1000 };

static void on_sweep(struct loop_timer *timer, void *arg);

int media_engine_new(struct loop *loop, const struct config *config, struct pinholes *pinholes,
		     struct conf_errors *errors, struct media_engine **ret)
{
	unsigned threads = config->limits.relay_threads > 0 ? config->limits.relay_threads : 1;
	struct media_engine *engine = calloc(1, sizeof(*engine));
	int err;

	if (engine == NULL)
		return -ENOMEM;
	engine->loop = loop;
	engine->pinholes = pinholes;
	engine->pinhole_lifetime_s = config->media.lifetime_s;
	list_init(&engine->sessions);
	loop_timer_init(&engine->sweep, loop, on_sweep, engine);
	err = pools_init(&engine->pools, config, errors);
	if (err == 0)
		err = relay_new(loop, threads, pools_pairs(&engine->pools) / 2 + 1, media_stream_event, engine, &engine->relay);
	if (err < 0)
		goto out;
	media_stats_register();
	loop_timer_start(&engine->sweep, SWEEP_MS);
	*ret = engine;
	engine = NULL;
out:
	media_engine_free(engine);
	return err;
}

void media_engine_free(struct media_engine *engine)
{
	if (engine == NULL)
		return;
	loop_timer_stop(&engine->sweep);
	relay_free(engine->relay);
	pools_fini(&engine->pools);
	free(engine);
}

/* Sessions */

static int set_side(struct media *media, enum media_side side, const struct realm_conf *realm)
{
	const struct pools_realm *mine = pools_find(&media->engine->pools, realm);

	if (mine == NULL)
		return ERR_NOT_FOUND;
	media->sides[side] = (struct side_policy){
		.realm = mine, .index = (unsigned)(mine - media->engine->pools.realms), .trust = realm->trust,
		.nat = realm->nat, .window_ms = realm->latch_window_ms,
	};
	return 0;
}

static void on_group_close(struct group_member *member)
{
	struct media *media = LIST_ENTRY(member, struct media, member);
	struct media_engine *engine = media->engine;

	for (unsigned i = 0; i < MEDIA_STREAMS_MAX; i++)
		media_stream_close(media, i);
	if (engine->sweep_next == &media->node)
		engine->sweep_next = media->node.next;
	list_remove(&media->node);
	engine->n_sessions--;
	media_metric_add(MEDIA_M_SESSIONS, -1);
	free(media);
}

int media_open(struct media_engine *engine, struct group *group, const struct realm_conf *realm_a,
	       const struct realm_conf *realm_b, uint32_t timeout_ms, media_event_fn *fn, void *arg,
	       struct media **ret)
{
	struct media *media = calloc(1, sizeof(*media));
	int err = -ENOMEM;

	if (media == NULL)
		return err;
	media->engine = engine;
	media->owner = group->id;
	media->timeout_ms = timeout_ms;
	media->fn = fn;
	media->arg = arg;
	err = set_side(media, MEDIA_A, realm_a);
	if (err == 0)
		err = set_side(media, MEDIA_B, realm_b);
	if (err < 0) {
		free(media);
		return err;
	}
	list_append(&engine->sessions, &media->node);
	engine->n_sessions++;
	media_metric_add(MEDIA_M_SESSIONS, 1);
	group_add(group, &media->member, on_group_close);
	*ret = media;
	return 0;
}

int media_set_realm_b(struct media *media, const struct realm_conf *realm_b)
{
	for (unsigned i = 0; i < MEDIA_STREAMS_MAX; i++)
		if (media->streams[i] != NULL)
			return ERR_STATE;
	return set_side(media, MEDIA_B, realm_b);
}

void media_hold(struct media *media, bool is_held)
{
	media->is_held = is_held;
	media->has_timed_out = false;
	media->quiet_since_ms = loop_now_ms(media->engine->loop);
}

void media_answered(struct media *media)
{
	media->is_answered = true;
	for (unsigned i = 0; i < MEDIA_STREAMS_MAX; i++) {
		if (media->streams[i] == NULL)
			continue;
		media->streams[i]->offload.is_answered = true;
		offload_look(&media->streams[i]->offload);
	}
}

unsigned media_sessions(const struct media_engine *engine)
{
	return engine->n_sessions;
}

/* Time-outs */

static bool is_active(const struct stream *stream, enum media_side side)
{
	return addr_is_set(&stream->setup.sides[0].remote.rtp) && addr_is_set(&stream->setup.sides[1].remote.rtp) &&
	       stream->setup.sides[side].remote.may_send;
}

/* Counts up the session's packets and finds the first side that should be sending. */
static bool look_at_streams(struct media *media, uint64_t *ret_packets, unsigned *ret_stream, enum media_side *ret_side)
{
	bool is_any_active = false;
	uint64_t packets = 0;

	for (unsigned i = 0; i < MEDIA_STREAMS_MAX; i++) {
		struct stream *stream = media->streams[i];

		if (stream == NULL)
			continue;
		offload_tick(&stream->offload);
		packets += media_stats_collect(stream);
		for (enum media_side side = MEDIA_A; side <= MEDIA_B && !is_any_active; side++) {
			if (!is_active(stream, side))
				continue;
			is_any_active = true;
			*ret_stream = i;
			*ret_side = side;
		}
	}
	*ret_packets = packets;
	return is_any_active;
}

static void check_timeout(struct media *media, uint64_t now_ms)
{
	unsigned stream = 0;
	enum media_side side = MEDIA_A;
	uint64_t packets;
	bool is_expected = look_at_streams(media, &packets, &stream, &side) && !media->is_held;

	if (packets != media->packets_seen || !is_expected) {
		media->packets_seen = packets;
		media->quiet_since_ms = now_ms;
		media->has_timed_out = false;
		return;
	}
	if (media->timeout_ms == 0 || media->has_timed_out || now_ms - media->quiet_since_ms < media->timeout_ms)
		return;
	media->has_timed_out = true;
	media_metric_add(MEDIA_M_TIMEOUTS, 1);
	if (media->fn != NULL)
		media->fn(media->arg, media, MEDIA_TIMEOUT, stream, side);
}

static void on_sweep(struct loop_timer *timer, void *arg)
{
	struct media_engine *engine = arg;
	uint64_t now_ms = loop_now_ms(engine->loop);

	loop_timer_start(timer, SWEEP_MS);
	for (struct list *node = engine->sessions.next; node != &engine->sessions; node = engine->sweep_next) {
		engine->sweep_next = node->next;
		check_timeout(LIST_ENTRY(node, struct media, node), now_ms);
	}
	engine->sweep_next = NULL;
	pools_tick(&engine->pools, now_ms);
}

/* media.h for scenario tests. */
#include "tests/mock/fake_media.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/err.h"
#include "media-relay/media_restore.h"

struct media_engine {
	fake_media_report_fn *report;
	void *arg;
	struct media *last;
	unsigned n_sessions, refuse;
	uint16_t next_pair; /* counts up over all sessions, so that ports in scripts are predictable */
};

struct stream {
	bool is_open;
	struct media_local local[2];
	struct media_remote remote[2];
	enum media_path path[2];
	const char *path_reason[2];
};

struct media {
	struct group_member member; /* first */
	struct media_engine *engine;
	const struct realm_conf *realm[2];
	struct stream streams[MEDIA_STREAMS_MAX];
	bool is_held, is_answered;
	media_event_fn *fn;
	void *arg;
};

static void __attribute__((format(printf, 2, 3))) report(struct media_engine *engine, const char *format, ...)
{
	char text[160];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	engine->report(engine->arg, text);
}

struct media_engine *fake_media_new(fake_media_report_fn *fn, void *arg)
{
	struct media_engine *engine = calloc(1, sizeof(*engine));

	if (engine != NULL) {
		engine->report = fn;
		engine->arg = arg;
	}
	return engine;
}

void fake_media_free(struct media_engine *engine)
{
	free(engine);
}

struct media *fake_media_last(struct media_engine *engine)
{
	return engine->last;
}

void fake_media_raise(struct media *media, enum media_event event, unsigned stream, enum media_side side)
{
	media->fn(media->arg, media, event, stream, side);
}

int fake_media_move(struct media *media, unsigned stream, enum media_side side, enum media_path path, const char *reason)
{
	if (!media->is_answered || !media->streams[stream].is_open)
		return ERR_STATE;
	media->streams[stream].path[side] = path;
	media->streams[stream].path_reason[side] = reason;
	fake_media_raise(media, MEDIA_PATH, stream, side);
	return 0;
}

void fake_media_refuse(struct media_engine *engine, unsigned n)
{
	engine->refuse = n;
}

static void close_member(struct group_member *member)
{
	struct media *media = (struct media *)(void *)member;

	report(media->engine, "close");
	media->engine->n_sessions--;
	if (media->engine->last == media)
		media->engine->last = NULL;
	free(media);
}

int media_open(struct media_engine *engine, struct group *group, const struct realm_conf *realm_a,
	       const struct realm_conf *realm_b, uint32_t timeout_ms, media_event_fn *fn, void *arg, struct media **ret)
{
	struct media *media = calloc(1, sizeof(*media));

	(void)timeout_ms;
	if (media == NULL)
		return ERR_LIMIT;
	media->engine = engine;
	media->realm[MEDIA_A] = realm_a;
	media->realm[MEDIA_B] = realm_b;
	media->fn = fn;
	media->arg = arg;
	group_add(group, &media->member, close_member);
	engine->last = media;
	engine->n_sessions++;
	*ret = media;
	return 0;
}

int media_set_realm_b(struct media *media, const struct realm_conf *realm_b)
{
	media->realm[MEDIA_B] = realm_b;
	return 0;
}

static struct addr pick(const struct realm_conf *realm, uint8_t family, uint16_t offset)
{
	struct addr addr = realm->addresses[0];

	for (unsigned i = 0; family != 0 && i < realm->n_addresses; i++)
		if (realm->addresses[i].family == family) {
			addr = realm->addresses[i];
			break;
		}
	addr.port = (uint16_t)(realm->media_port_min + offset);
	return addr;
}

int media_stream_open(struct media *media, unsigned index, uint8_t family_a, uint8_t family_b)
{
	struct stream *stream = &media->streams[index];
	uint8_t families[2] = { family_a, family_b };

	if (stream->is_open)
		return 0;
	if (media->engine->refuse > 0) {
		media->engine->refuse--;
		return ERR_LIMIT;
	}
	for (int side = 0; side < 2; side++) {
		stream->local[side].rtp = pick(media->realm[side], families[side], media->engine->next_pair);
		stream->local[side].rtcp = stream->local[side].rtp;
		stream->local[side].rtcp.port++;
	}
	media->engine->next_pair = (uint16_t)(media->engine->next_pair + 2);
	for (int side = 0; side < 2; side++) {
		stream->path[side] = MEDIA_PATH_RELAY;
		stream->path_reason[side] = "test";
	}
	stream->is_open = true;
	report(media->engine, "open %u", index);
	return 0;
}

int media_stream_save(const struct media *media, unsigned index, struct media_saved *ret)
{
	if (!media->streams[index].is_open)
		return ERR_NOT_FOUND;
	for (int side = 0; side < 2; side++)
		ret->sides[side] = (struct media_saved_side){ .local = media->streams[index].local[side].rtp,
							      .remote = media->streams[index].remote[side] };
	return 0;
}

int media_stream_restore(struct media *media, unsigned index, const struct media_saved *saved)
{
	struct stream *stream = &media->streams[index];

	if (media->engine->refuse > 0) {
		media->engine->refuse--;
		return ERR_EXISTS;
	}
	stream->is_open = true;
	report(media->engine, "restore %u", index);
	for (int side = 0; side < 2; side++) {
		stream->local[side].rtp = stream->local[side].rtcp = saved->sides[side].local;
		stream->local[side].rtcp.port++;
		media_stream_remote(media, index, (enum media_side)side, &saved->sides[side].remote, false);
	}
	return 0;
}

void media_stream_close(struct media *media, unsigned index)
{
	if (media->streams[index].is_open)
		report(media->engine, "close %u", index);
	media->streams[index] = (struct stream){ 0 };
}

bool media_stream_is_open(const struct media *media, unsigned index)
{
	return media->streams[index].is_open;
}

void media_stream_local(const struct media *media, unsigned index, enum media_side side, struct media_local *ret)
{
	*ret = media->streams[index].local[side];
}

void media_stream_remote(struct media *media, unsigned index, enum media_side side, const struct media_remote *remote,
			 bool relatch)
{
	struct media_remote *old = &media->streams[index].remote[side];
	char text[ADDR_TEXT_MAX];

	if (!addr_eq(&old->rtp, &remote->rtp) || relatch)
		report(media->engine, "remote %c %u %s%s", side == MEDIA_A ? 'a' : 'b', index,
		       addr_is_set(&remote->rtp) ? addr_text(&remote->rtp, text) : "none", remote->rtcp_mux ? " mux" : "");
	*old = *remote;
}

void media_hold(struct media *media, bool is_held)
{
	if (media->is_held != is_held)
		report(media->engine, is_held ? "hold" : "resume");
	media->is_held = is_held;
}

void media_answered(struct media *media)
{
	media->is_answered = true;
}

int media_stats(const struct media *media, unsigned index, enum media_side side, struct media_stats *ret)
{
	const struct stream *stream = &media->streams[index];

	if (!stream->is_open)
		return ERR_NOT_FOUND;
	*ret = (struct media_stats){ .local = stream->local[side].rtp, .signalled = stream->remote[side].rtp,
				     .path = stream->path[side], .path_reason = stream->path_reason[side],
				     .last_packet_age_ms = UINT64_MAX };
	return 0;
}

const char *media_path_text(enum media_path path)
{
	static const char *const texts[MEDIA_PATHS] = {
		[MEDIA_PATH_NONE] = "none", [MEDIA_PATH_RELAY] = "relay", [MEDIA_PATH_XDP] = "xdp", [MEDIA_PATH_TC] = "tc",
		[MEDIA_PATH_CONNTRACK] = "conntrack", [MEDIA_PATH_NFT] = "nft",
	};

	return texts[path];
}

const char *latch_state_text(enum latch_state state)
{
	(void)state;
	return "closed";
}

unsigned media_sessions(const struct media_engine *engine)
{
	return engine->n_sessions;
}

/* Streams of media sessions: their ports, what signalling says about far ends, and what the relay threads tell.
 *
 * Closing is immediate for the caller; a stream's memory and ports live on until its relay thread has let go of them
 * (RELAY_CLOSED). Control thread. */
#include "media-relay/media_inside.h"

#include <errno.h>
#include <stdlib.h>

#include "core/err.h"
#include "core/log.h"

struct stream *media_stream_new(struct media *media, unsigned index)
{
	struct stream *stream = calloc(1, sizeof(*stream));

	if (stream == NULL)
		return NULL;
	stream->engine = media->engine;
	stream->media = media;
	stream->index = index;
	for (unsigned i = 0; i < 2; i++) {
		stream->targets[i] = TARGET_UNSET;
		stream->setup.sides[i].rate = relay_rate_of(0);
		stream->kernel_path[i] = PINHOLE_XDP;
	}
	return stream;
}

static void on_moved(void *arg, enum media_side side)
{
	struct stream *stream = arg;
	struct media *media = stream->media;

	if (media != NULL && media->fn != NULL)
		media->fn(media->arg, media, MEDIA_PATH, stream->index, side);
}

static void prepare_offload(struct media *media, struct stream *stream)
{
	stream->offload = (struct offload){
		.loop = media->engine->loop, .pinholes = media->engine->pinholes, .owner = media->owner, .relay = &stream->relay,
		.setup = &stream->setup, .moved = on_moved, .arg = stream, .is_answered = media->is_answered,
		.dscp = { ports_conf(stream->pools[0])->dscp, ports_conf(stream->pools[1])->dscp },
		.lifetime_s = media->engine->pinhole_lifetime_s,
	};
	offload_init(&stream->offload);
	stream->setup.wants_steady = media->engine->pinholes != NULL;
}

struct addr media_stream_addr(const struct stream *stream, unsigned side)
{
	struct addr addr = ports_conf(stream->pools[side])->address;

	addr.port = stream->pairs[side].rtp_port;
	return addr;
}

void media_stream_prepare(struct media *media, struct stream *stream)
{
	for (unsigned i = 0; i < 2; i++) {
		struct relay_side *side = &stream->relay.sides[i];

		for (unsigned port = 0; port < RELAY_PORTS; port++) {
			side->sockets[port].fd = stream->pairs[i].fds[port];
			side->sockets[port].is_recycled = stream->pairs[i].is_recycled;
		}
		side->scope = (struct target_scope){
			.local = media_stream_addr(stream, i), .realm = media->sides[i].index, .trust = media->sides[i].trust,
			.nat = media->sides[i].nat, .own = media->engine->pools.own,
			.n_own = media->engine->pools.n_own,
		};
	}
	prepare_offload(media, stream);
}

int media_stream_open(struct media *media, unsigned index, uint8_t family_a, uint8_t family_b)
{
	uint64_t now_ms = loop_now_ms(media->engine->loop);
	struct stream *stream;
	int err;

	if (index >= MEDIA_STREAMS_MAX)
		return ERR_LIMIT;
	if (media->streams[index] != NULL)
		return 0;
	stream = media_stream_new(media, index);
	if (stream == NULL)
		return -ENOMEM;
	err = pools_take(media->sides[MEDIA_A].realm, family_a, now_ms, &stream->pools[0], &stream->pairs[0]);
	if (err < 0)
		goto fail;
	err = pools_take(media->sides[MEDIA_B].realm, family_b, now_ms, &stream->pools[1], &stream->pairs[1]);
	if (err < 0) {
		ports_give(stream->pools[0], &stream->pairs[0], now_ms);
		goto fail;
	}
	media_stream_prepare(media, stream);
	relay_open(media->engine->relay, &stream->relay, &stream->setup);
	media->streams[index] = stream;
	media_metric_add(MEDIA_M_STREAMS, 1);
	return 0;
fail:
	if (err == ERR_LIMIT)
		media_metric_add(MEDIA_M_EXHAUSTED, 1);
	free(stream);
	return err;
}

void media_stream_close(struct media *media, unsigned index)
{
	struct stream *stream = index < MEDIA_STREAMS_MAX ? media->streams[index] : NULL;

	if (stream == NULL)
		return;
	media->streams[index] = NULL;
	stream->media = NULL;
	media_stats_collect(stream);
	offload_close(&stream->offload);
	for (unsigned i = 0; i < 2; i++)
		stream->setup.keep_sockets[i] = ports_may_keep(stream->pools[i]);
	relay_close(&stream->relay, &stream->setup);
}

static void finish_close(struct stream *stream)
{
	uint64_t now_ms = loop_now_ms(stream->engine->loop);

	media_stats_collect(stream);
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned port = 0; port < RELAY_PORTS; port++)
			stream->pairs[i].fds[port] = stream->relay.sides[i].sockets[port].fd;
		ports_give(stream->pools[i], &stream->pairs[i], now_ms);
	}
	media_metric_add(MEDIA_M_STREAMS, -1);
	free(stream);
}

void media_stream_event(void *arg, struct relay_stream *relay, uint32_t events)
{
	struct stream *stream = LIST_ENTRY(relay, struct stream, relay);
	unsigned index = stream->index;

	(void)arg;
	if (events & RELAY_CLOSED) {
		finish_close(stream);
		return;
	}
	/* The callback may close the stream: it then lives on, without its session, until RELAY_CLOSED. */
	for (unsigned side = 0; side < 2; side++)
		if ((events & (side == MEDIA_A ? RELAY_LATCHED_A : RELAY_LATCHED_B)) && stream->media != NULL &&
		    stream->media->fn != NULL)
			stream->media->fn(stream->media->arg, stream->media, MEDIA_LATCHED, index, (enum media_side)side);
	if (stream->media != NULL)
		offload_look(&stream->offload);
}

bool media_stream_is_open(const struct media *media, unsigned index)
{
	return index < MEDIA_STREAMS_MAX && media->streams[index] != NULL;
}

void media_stream_local(const struct media *media, unsigned index, enum media_side side, struct media_local *ret)
{
	*ret = (struct media_local){ 0 };
	if (!media_stream_is_open(media, index))
		return;
	ret->rtp = ret->rtcp = media_stream_addr(media->streams[index], side);
	ret->rtcp.port++;
}

/* RTCP's address as it is when signalling does not say (RFC 3605): the port above, or RTP's own with rtcp-mux. */
static void fill_in_rtcp(struct media_remote *remote)
{
	if (addr_is_set(&remote->rtcp) || !addr_is_set(&remote->rtp) || remote->is_port_open)
		return;
	remote->rtcp = remote->rtp;
	if (!remote->rtcp_mux)
		remote->rtcp.port++; /* from 65535: 0, which is refused below */
}

static void log_refused(const struct pools_realm *realm, const struct addr *addr, enum target target)
{
	char text[ADDR_TEXT_MAX];

	media_metric_add(MEDIA_M_REFUSED, 1);
	LOG_GATED(5, LOG_WARN, "media", "signalled media address refused", LF_TEXT("address", addr_text(addr, text)),
		  LF_TEXT("reason", target_text(target)), LF_TEXT("realm", realm->name));
}

static enum target check_rtp(const struct target_scope *scope, const struct media_remote *remote)
{
	struct addr any = remote->rtp;
	enum target target;

	if (!remote->is_port_open || !addr_is_set(&any))
		return target_check(scope, &remote->rtp);
	any.port = 1; /* no port of ours: what is asked about is the address */
	target = target_check(scope, &any);
	return target == TARGET_OK ? TARGET_LEARN : target;
}

void media_stream_set_remote(struct stream *stream, enum media_side side, const struct media_remote *remote, bool relatch)
{
	const struct side_policy *policy = &stream->media->sides[side];
	struct relay_side_setup setup = stream->setup.sides[side];
	struct media_remote next = *remote;
	enum target rtp, rtcp;

	fill_in_rtcp(&next);
	stream->signalled[side] = next.rtp;
	rtp = check_rtp(&stream->relay.sides[side].scope, &next);
	rtcp = target_check(&stream->relay.sides[side].scope, &next.rtcp);
	stream->targets[side] = rtp;
	if (target_is_refused(rtp) && addr_is_set(&next.rtp))
		log_refused(policy->realm, &next.rtp, rtp);
	if (target_is_refused(rtp))
		next.rtp = (struct addr){ 0 };
	if (target_is_refused(rtcp))
		next.rtcp = (struct addr){ 0 };
	if (relatch || !addr_eq(&next.rtp, &setup.remote.rtp) || !addr_eq(&next.rtcp, &setup.remote.rtcp))
		setup.window++;
	setup.remote = next;
	setup.may_send_to[RELAY_RTP] = rtp == TARGET_OK;
	setup.may_send_to[RELAY_RTCP] = rtcp == TARGET_OK;
	setup.rule = (struct latch_rule){
		.reach = next.is_port_open ? LATCH_SAME_IP : latch_reach_of(policy->nat, policy->trust), .is_unreachable = rtp == TARGET_LEARN,
		.window_ms = policy->window_ms,
	};
	offload_signalled(&stream->offload, side, &setup);
	stream->setup.sides[side] = setup;
	stream->setup.sides[!side].rate = relay_rate_of(next.bandwidth_bps); /* the receiver says how much */
	stream->setup.signalled++;
}

void media_stream_remote(struct media *media, unsigned index, enum media_side side, const struct media_remote *remote,
			 bool relatch)
{
	struct stream *stream = media_stream_is_open(media, index) ? media->streams[index] : NULL;

	if (stream == NULL)
		return;
	media_stream_set_remote(stream, side, remote, relatch);
	relay_update(&stream->relay, &stream->setup);
}

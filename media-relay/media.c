/* Media sessions, control side: sessions and their streams, what signalling says about far ends,
 * the time-out sweep, statistics. Packets are the relay threads' (relay.c, forward.c) and the kernel's (offload.c).
 *
 * Closing is immediate for the caller; a stream's memory and ports live on until its relay thread has let go of them
 * (RELAY_CLOSED). Control thread. */
#include "media-relay/media.h"

#include <errno.h>
#include <stdlib.h>

#include "core/err.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "media-relay/media_restore.h"
#include "media-relay/offload.h"
#include "media-relay/pools.h"
#include "media-relay/relay.h"

enum { SWEEP_MS = 1000 };

struct media_engine {
	struct loop *loop;
	struct relay *relay;
	struct pinholes *pinholes; /* or NULL */
	uint32_t pinhole_lifetime_s;
	struct pools pools;
	struct list sessions;
	struct list *sweep_next; /* moved on when that session closes inside a callback */
	unsigned n_sessions;
	struct loop_timer sweep;
};

struct side_policy { /* of the realm, as it was when the session began */
	const struct pools_realm *realm;
	unsigned index;
	enum realm_trust trust;
	enum realm_nat nat;
	uint32_t window_ms;
};

enum { TOTAL_PACKETS, TOTAL_BYTES, TOTAL_SENT, TOTAL_RTCP, TOTAL_SOURCE, TOTAL_FORMAT, TOTAL_PAYLOAD, TOTAL_EARLY,
       TOTAL_OVERLOAD, TOTAL_QUEUE, TOTALS };

struct stream {
	struct relay_stream relay;
	struct media_engine *engine;
	struct media *media; /* NULL while closing */
	unsigned index;
	struct ports *pools[2];
	struct ports_pair pairs[2];
	struct relay_setup setup;       /* newest, as posted */
	struct offload offload;
	struct addr signalled[2];
	enum target targets[2];         /* of the signalled RTP address */
	uint64_t collected[TOTALS], collected_kernel[2]; /* what the metrics already contain */
	enum pinhole_path kernel_path[2]; /* of the last packets in the kernel */
};

struct media {
	struct group_member member;
	struct list node;
	struct media_engine *engine;
	const char *owner;           /* id of the group */
	struct side_policy sides[2];
	uint32_t timeout_ms;
	bool is_held, is_answered, has_timed_out;
	uint64_t quiet_since_ms, packets_seen;
	media_event_fn *fn;
	void *arg;
	struct stream *streams[MEDIA_STREAMS_MAX];
};

enum { M_SESSIONS, M_STREAMS, M_TIMEOUTS, M_REFUSED, M_EXHAUSTED, M_PACKETS, M_BYTES, M_SENT, M_RTCP, M_DROPPED,
       M_KERNEL = M_DROPPED + 6 /* and in the order of enum pinhole_path, from PINHOLE_XDP */ };

static struct metric metrics[] = {
	[M_SESSIONS] = { "postern_media_sessions", NULL, "Media sessions that are open.", METRIC_GAUGE, 0, 0 },
	[M_STREAMS] = { "postern_media_streams", NULL, "Streams that are open or closing.", METRIC_GAUGE, 0, 0 },
	[M_TIMEOUTS] = { "postern_media_timeouts_total", NULL, "Sessions that fell silent for their time-out.",
			 METRIC_COUNTER, 0, 0 },
	[M_REFUSED] = { "postern_media_targets_refused_total", NULL,
			"Signalled addresses that media must not be sent to.", METRIC_COUNTER, 0, 0 },
	[M_EXHAUSTED] = { "postern_media_ports_exhausted_total", NULL, "Streams refused because a port pool was empty.",
			  METRIC_COUNTER, 0, 0 },
	/* From here in the order of TOTAL_*. */
	[M_PACKETS] = { "postern_media_packets_total", "path=\"relay\"", "RTP packets and plain datagrams accepted, by path.",
			METRIC_COUNTER, 0, 0 },
	[M_BYTES] = { "postern_media_bytes_total", NULL, "UDP payload of the accepted packets.", METRIC_COUNTER, 0, 0 },
	[M_SENT] = { "postern_media_sent_total", NULL, "Accepted packets that were sent on.", METRIC_COUNTER, 0, 0 },
	[M_RTCP] = { "postern_media_rtcp_packets_total", NULL, "RTCP packets accepted.", METRIC_COUNTER, 0, 0 },
	[M_DROPPED] = { "postern_media_dropped_total", "reason=\"source\"", "Packets dropped, by reason.",
			METRIC_COUNTER, 0, 0 },
	{ "postern_media_dropped_total", "reason=\"format\"", "Packets dropped, by reason.", METRIC_COUNTER, 0, 0 },
	{ "postern_media_dropped_total", "reason=\"payload\"", "Packets dropped, by reason.", METRIC_COUNTER, 0, 0 },
	{ "postern_media_dropped_total", "reason=\"early\"", "Packets dropped, by reason.", METRIC_COUNTER, 0, 0 },
	{ "postern_media_dropped_total", "reason=\"overload\"", "Packets dropped, by reason.", METRIC_COUNTER, 0, 0 },
	{ "postern_media_dropped_total", "reason=\"queue\"", "Packets dropped, by reason.", METRIC_COUNTER, 0, 0 },
	[M_KERNEL] = { "postern_media_packets_total", "path=\"xdp\"", "RTP packets and plain datagrams accepted, by path.",
		       METRIC_COUNTER, 0, 0 },
	{ "postern_media_packets_total", "path=\"tc\"", "RTP packets and plain datagrams accepted, by path.",
	  METRIC_COUNTER, 0, 0 },
	{ "postern_media_packets_total", "path=\"conntrack\"", "RTP packets and plain datagrams accepted, by path.",
	  METRIC_COUNTER, 0, 0 },
	{ "postern_media_packets_total", "path=\"nft\"", "RTP packets and plain datagrams accepted, by path.",
	  METRIC_COUNTER, 0, 0 },
};

static uint64_t get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Adds what the kernel forwarded to `now`, but for the packets, which are counted by path. Returns those. */
static uint64_t collect_kernel(struct stream *stream, uint64_t now[TOTALS])
{
	uint64_t packets = 0;

	for (enum media_side side = MEDIA_A; side <= MEDIA_B; side++) {
		struct slot_stats slot;
		const char *reason;
		enum pinhole_path path;

		offload_stats(&stream->offload, side, &slot);
		now[TOTAL_BYTES] += slot.bytes;
		now[TOTAL_SENT] += slot.packets;
		now[TOTAL_FORMAT] += slot.dropped_format;
		now[TOTAL_OVERLOAD] += slot.dropped_rate;
		packets += slot.packets;
		if (slot.packets == stream->collected_kernel[side])
			continue;
		path = offload_path(&stream->offload, side, &reason);
		if (path != PINHOLE_NONE)
			stream->kernel_path[side] = path;
		metric_add(&metrics[M_KERNEL + stream->kernel_path[side] - PINHOLE_XDP],
			   (int64_t)(slot.packets - stream->collected_kernel[side]));
		stream->collected_kernel[side] = slot.packets;
	}
	return packets;
}

static void sum_up(const struct stream *stream, uint64_t now[TOTALS])
{
	memset(now, 0, TOTALS * sizeof(now[0]));
	for (unsigned i = 0; i < 2; i++) {
		const struct relay_counts *c = &stream->relay.sides[i].counts;
		const _Atomic uint64_t *const sources[TOTALS] = {
			[TOTAL_PACKETS] = &c->packets, [TOTAL_BYTES] = &c->bytes, [TOTAL_SENT] = &c->sent,
			[TOTAL_RTCP] = &c->rtcp_packets, [TOTAL_SOURCE] = &c->dropped_source,
			[TOTAL_FORMAT] = &c->dropped_format, [TOTAL_PAYLOAD] = &c->dropped_payload,
			[TOTAL_EARLY] = &c->dropped_early, [TOTAL_OVERLOAD] = &c->dropped_overload,
			[TOTAL_QUEUE] = &c->dropped_queue,
		};

		for (unsigned j = 0; j < TOTALS; j++)
			now[j] += get(sources[j]);
	}
}

/* Adds what came since the last time to the metrics. Returns the packets of any accepted kind so far. */
static uint64_t collect(struct stream *stream)
{
	uint64_t now[TOTALS], kernel_packets;

	sum_up(stream, now);
	kernel_packets = collect_kernel(stream, now);
	for (unsigned j = 0; j < TOTALS; j++) {
		if (now[j] != stream->collected[j])
			metric_add(&metrics[M_PACKETS + j], (int64_t)(now[j] - stream->collected[j]));
		stream->collected[j] = now[j];
	}
	return now[TOTAL_PACKETS] + now[TOTAL_RTCP] + kernel_packets;
}

static void register_metrics(void)
{
	static bool is_done;

	if (!is_done)
		metrics_register(metrics, sizeof(metrics) / sizeof(metrics[0]));
	is_done = true;
}

static void on_relay_event(void *arg, struct relay_stream *relay, uint32_t events);
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
		err = relay_new(loop, threads, pools_pairs(&engine->pools) / 2 + 1, on_relay_event, engine, &engine->relay);
	if (err < 0)
		goto out;
	register_metrics();
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
	metric_add(&metrics[M_SESSIONS], -1);
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
	metric_add(&metrics[M_SESSIONS], 1);
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

/* Streams */

static struct stream *new_stream(struct media *media, unsigned index)
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

static struct addr local_addr(const struct stream *stream, unsigned side)
{
	struct addr addr = ports_conf(stream->pools[side])->address;

	addr.port = stream->pairs[side].rtp_port;
	return addr;
}

static void prepare(struct media *media, struct stream *stream)
{
	for (unsigned i = 0; i < 2; i++) {
		struct relay_side *side = &stream->relay.sides[i];

		for (unsigned port = 0; port < RELAY_PORTS; port++) {
			side->sockets[port].fd = stream->pairs[i].fds[port];
			side->sockets[port].is_recycled = stream->pairs[i].is_recycled;
		}
		side->scope = (struct target_scope){
			.local = local_addr(stream, i), .realm = media->sides[i].index, .trust = media->sides[i].trust,
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
	stream = new_stream(media, index);
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
	prepare(media, stream);
	relay_open(media->engine->relay, &stream->relay, &stream->setup);
	media->streams[index] = stream;
	metric_add(&metrics[M_STREAMS], 1);
	return 0;
fail:
	if (err == ERR_LIMIT)
		metric_add(&metrics[M_EXHAUSTED], 1);
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
	collect(stream);
	offload_close(&stream->offload);
	for (unsigned i = 0; i < 2; i++)
		stream->setup.keep_sockets[i] = ports_may_keep(stream->pools[i]);
	relay_close(&stream->relay, &stream->setup);
}

static void finish_close(struct stream *stream)
{
	uint64_t now_ms = loop_now_ms(stream->engine->loop);

	collect(stream);
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned port = 0; port < RELAY_PORTS; port++)
			stream->pairs[i].fds[port] = stream->relay.sides[i].sockets[port].fd;
		ports_give(stream->pools[i], &stream->pairs[i], now_ms);
	}
	metric_add(&metrics[M_STREAMS], -1);
	free(stream);
}

static void on_relay_event(void *arg, struct relay_stream *relay, uint32_t events)
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
	ret->rtp = ret->rtcp = local_addr(media->streams[index], side);
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

	metric_add(&metrics[M_REFUSED], 1);
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

static void set_remote(struct stream *stream, enum media_side side, const struct media_remote *remote, bool relatch)
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
	set_remote(stream, side, remote, relatch);
	relay_update(&stream->relay, &stream->setup);
}

/* Restart: see media_restore.h. */

/* What pinholes that are gone have forwarded is in no kernel any more. */
static void add_past(const struct slot_stats *past, struct media_saved_counts *ret)
{
	ret->packets += past->packets;
	ret->bytes += past->bytes;
	ret->sent += past->packets;
	ret->lost += past->lost;
	ret->reordered += past->reordered;
	ret->dropped_format += past->dropped_format;
	ret->dropped_overload += past->dropped_rate;
}

int media_stream_save(const struct media *media, unsigned index, struct media_saved *ret)
{
	if (!media_stream_is_open(media, index))
		return ERR_NOT_FOUND;
	for (enum media_side side = MEDIA_A; side <= MEDIA_B; side++) {
		const struct stream *stream = media->streams[index];
		struct media_saved_side *saved = &ret->sides[side];

		saved->local = local_addr(stream, side);
		saved->remote = stream->setup.sides[side].remote;
		saved->remote.rtp = stream->signalled[side]; /* also one that was refused */
		memcpy(saved->remote.payloads, stream->offload.directions[side].payloads, sizeof(saved->remote.payloads));
		media_restore_take(&stream->relay.sides[side].counts, saved);
		add_past(&stream->offload.directions[side].past, &saved->counts);
	}
	return 0;
}

static int claim_ports(struct stream *stream, const struct media_saved *saved)
{
	uint64_t now_ms = loop_now_ms(stream->engine->loop);
	int err = 0;

	for (enum media_side side = MEDIA_A; err == 0 && side <= MEDIA_B; side++)
		err = pools_claim(stream->media->sides[side].realm, &saved->sides[side].local, now_ms, &stream->pools[side],
				  &stream->pairs[side]);
	return err;
}

static int check_latched(const struct stream *stream, const struct media_saved *saved)
{
	for (unsigned i = 0; i < 2; i++)
		if (addr_is_set(&saved->sides[i].latched) &&
		    target_is_refused(target_check(&stream->relay.sides[i].scope, &saved->sides[i].latched)))
			return ERR_DENIED;
	return 0;
}

static void discard(struct stream *stream)
{
	for (unsigned i = 0; i < 2; i++)
		if (stream->pools[i] != NULL)
			ports_give(stream->pools[i], &stream->pairs[i], loop_now_ms(stream->engine->loop));
	free(stream);
}

int media_stream_restore(struct media *media, unsigned index, const struct media_saved *saved)
{
	struct stream *stream;
	int err;

	if (index >= MEDIA_STREAMS_MAX || media->streams[index] != NULL)
		return ERR_STATE;
	stream = new_stream(media, index);
	if (stream == NULL)
		return -ENOMEM;
	err = claim_ports(stream, saved);
	if (err == 0) {
		prepare(media, stream);
		err = check_latched(stream, saved);
	}
	if (err < 0) {
		discard(stream);
		return err;
	}
	for (enum media_side side = MEDIA_A; side <= MEDIA_B; side++) {
		set_remote(stream, side, &saved->sides[side].remote, false);
		media_restore_seed(&stream->relay.sides[side], &saved->sides[side], &stream->setup.sides[side].rule);
		/* Not news for the relay thread: what is locked stays locked. */
		stream->relay.setup.sides[side].window = stream->setup.sides[side].window;
	}
	sum_up(stream, stream->collected);
	relay_apply(&stream->relay, &stream->setup, relay_now_ms()); /* so that what it publishes is there at once */
	offload_resume(&stream->offload);
	media->streams[index] = stream;
	relay_open(media->engine->relay, &stream->relay, &stream->setup);
	metric_add(&metrics[M_STREAMS], 1);
	return 0;
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
		packets += collect(stream);
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
	metric_add(&metrics[M_TIMEOUTS], 1);
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

/* Statistics */

const char *media_path_text(enum media_path path)
{
	static const char *const texts[MEDIA_PATHS] = {
		[MEDIA_PATH_NONE] = "none", [MEDIA_PATH_RELAY] = "relay", [MEDIA_PATH_XDP] = "xdp", [MEDIA_PATH_TC] = "tc",
		[MEDIA_PATH_CONNTRACK] = "conntrack", [MEDIA_PATH_NFT] = "nft",
	};

	return (unsigned)path < MEDIA_PATHS ? texts[path] : "unknown";
}

static void fill_in_path(const struct stream *stream, enum media_side side, struct media_stats *ret)
{
	static const enum media_path paths[PINHOLE_PATHS] = {
		[PINHOLE_NONE] = MEDIA_PATH_RELAY, [PINHOLE_XDP] = MEDIA_PATH_XDP, [PINHOLE_TC] = MEDIA_PATH_TC,
		[PINHOLE_CONNTRACK] = MEDIA_PATH_CONNTRACK, [PINHOLE_NFT] = MEDIA_PATH_NFT,
	};
	enum target target = stream->targets[0] != TARGET_OK ? stream->targets[0] : stream->targets[1];

	if (target_is_refused(target)) {
		ret->path = MEDIA_PATH_NONE;
		ret->path_reason = target_text(target);
		return;
	}
	ret->path = paths[offload_path(&stream->offload, side, &ret->path_reason)];
	ret->has_quality = ret->path == MEDIA_PATH_RELAY || ret->path == MEDIA_PATH_XDP || ret->path == MEDIA_PATH_TC;
}

/* What the kernel forwarded, on top of what the relay did. */
static void add_kernel(const struct stream *stream, enum media_side side, uint64_t now_ms, struct media_stats *ret)
{
	struct slot_stats slot;
	uint64_t last_ms;

	offload_stats(&stream->offload, side, &slot);
	ret->packets += slot.packets;
	ret->bytes += slot.bytes;
	ret->sent += slot.packets;
	ret->lost += slot.lost;
	ret->reordered += slot.reordered;
	ret->dropped_format += slot.dropped_format;
	ret->dropped_overload += slot.dropped_rate;
	if (ret->path > MEDIA_PATH_RELAY)
		ret->jitter_us = slot.jitter_us;
	last_ms = slot.last_ns / 1000000;
	if (last_ms != 0 && (now_ms < last_ms || now_ms - last_ms < ret->last_packet_age_ms))
		ret->last_packet_age_ms = now_ms > last_ms ? now_ms - last_ms : 0;
}

static void fill_in_latch(const struct relay_counts *c, uint64_t now_ms, struct media_stats *ret)
{
	ret->latched = relay_addr_get(&c->latched);
	ret->latch = (enum latch_state)atomic_load_explicit(&c->latch, memory_order_relaxed);
	if (ret->latch == LATCH_OPEN && now_ms >= get(&c->window_end_ms))
		ret->latch = LATCH_CLOSED;
}

int media_stats(const struct media *media, unsigned index, enum media_side side, struct media_stats *ret)
{
	uint64_t now_ms = relay_now_ms(), last_ms;
	const struct relay_counts *c;
	const struct stream *stream;

	if (!media_stream_is_open(media, index))
		return ERR_NOT_FOUND;
	stream = media->streams[index];
	c = &stream->relay.sides[side].counts;
	last_ms = get(&c->last_packet_ms);
	*ret = (struct media_stats){
		.packets = get(&c->packets), .bytes = get(&c->bytes), .sent = get(&c->sent),
		.rtcp_packets = get(&c->rtcp_packets), .lost = get(&c->lost), .reordered = get(&c->reordered),
		.jitter_us = (uint32_t)get(&c->jitter_us),
		.dropped_source = get(&c->dropped_source), .dropped_format = get(&c->dropped_format),
		.dropped_payload = get(&c->dropped_payload), .dropped_early = get(&c->dropped_early),
		.dropped_overload = get(&c->dropped_overload) + get(&c->dropped_queue),
		.last_packet_age_ms = last_ms == 0 ? UINT64_MAX : now_ms > last_ms ? now_ms - last_ms : 0,
		.local = local_addr(stream, side), .signalled = stream->signalled[side],
	};
	fill_in_latch(c, now_ms, ret);
	fill_in_path(stream, side, ret);
	add_kernel(stream, side, now_ms, ret);
	return 0;
}

unsigned media_pool_stats(const struct media_engine *engine, const struct realm_conf *realm, struct media_pool_stats *out,
			  unsigned max)
{
	const struct pools_realm *mine = pools_find(&engine->pools, realm);
	unsigned n = 0;

	for (; mine != NULL && n < mine->n_pools && n < max; n++) {
		const struct ports_conf *conf = ports_conf(mine->pools[n]);
		struct ports_stats stats;

		ports_stats(mine->pools[n], &stats);
		out[n] = (struct media_pool_stats){
			.address = conf->address, .port_min = conf->port_min, .port_max = conf->port_max,
			.pairs_total = stats.total, .pairs_used = stats.used, .pairs_quarantined = stats.quarantined,
		};
	}
	return n;
}

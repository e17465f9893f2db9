/* RTP and RTCP of a session: anchored by the media engine, one media session per hole with the client on side A and the server on
 * side B; or, when the gateway is transparent, let through as they are by pinholes in the kernel. */
#include "algs/hole.h"

#include <errno.h>

#include "algs/session.h"
#include "core/err.h"
#include "media-relay/media.h"

enum { STREAM = 0 };

static bool is_transparent(const struct hole *hole)
{
	return hole->session->conf->mode == CONFIG_ALG_TRANSPARENT;
}

static enum media_side media_side(enum alg_side side)
{
	return side == ALG_CLIENT ? MEDIA_A : MEDIA_B;
}

static void on_media(void *arg, struct media *media, enum media_event event, unsigned stream, enum media_side side)
{
	struct hole *hole = arg;

	(void)media;
	(void)stream;
	(void)side;
	if (event == MEDIA_LATCHED) {
		hole_opened(hole, NULL);
	} else if (event == MEDIA_TIMEOUT) {
		session_step(hole->session, NULL, "media of pinhole %u fell silent", hole->id);
		hole_ended(hole);
	}
}

int hole_media_open(struct hole *hole)
{
	struct session *s = hole->session;
	const struct realm_conf *a = s->conf->realm;
	int err;

	if (is_transparent(hole))
		return 0;
	if (s->engine->deps.media == NULL)
		return ALG_ERR_STATE;
	memcpy(hole->media_group.id, s->group.id, sizeof(s->group.id));
	list_init(&hole->media_group.members);
	err = media_open(s->engine->deps.media, &hole->media_group, a, s->conf->to, a->media_timeout_s * 1000, on_media, hole, &hole->media);
	if (err == 0)
		err = media_stream_open(hole->media, STREAM, s->far[ALG_CLIENT].family, s->far[ALG_SERVER].family);
	if (err < 0)
		hole_media_close(hole);
	return err == 0 ? 0 : err == -EAFNOSUPPORT ? ALG_ERR_FAMILY : ALG_ERR_LIMIT;
}

void hole_media_peer(struct hole *hole, enum alg_side side)
{
	struct media_remote remote = { .rtp = hole->peers[side], .is_rtp = !hole->is_raw, .may_send = true,
				       .is_port_open = hole->peers[side].port == 0 };

	if (hole->media == NULL || !addr_is_set(&remote.rtp))
		return;
	if (hole->peers_rtcp[side] != 0) {
		remote.rtcp = remote.rtp;
		remote.rtcp.port = hole->peers_rtcp[side];
		remote.rtcp_mux = remote.rtcp.port == remote.rtp.port;
	}
	media_stream_remote(hole->media, STREAM, media_side(side), &remote, false);
}

int hole_media_arm(struct hole *hole)
{
	int err;

	if (!is_transparent(hole)) {
		hole_media_peer(hole, ALG_CLIENT);
		hole_media_peer(hole, ALG_SERVER);
		media_answered(hole->media);
		return 0;
	}
	err = hole_kernel_media(hole);
	if (err == 0)
		return 1;
	hole->path = "none";
	hole->reason = "without pinholes, forwarded because the firewall is open";
	return err == ERR_STATE || hole->session->engine->config->media.is_firewall_closed ? ALG_ERR_STATE : 0;
}

int hole_media_public(const struct hole *hole, enum alg_side reader, struct addr *ret, uint16_t *ret_rtcp)
{
	enum alg_side other = alg_other(reader);
	struct media_local local;

	if (is_transparent(hole)) {
		if (!addr_is_set(&hole->peers[other]))
			return ALG_ERR_STATE;
		*ret = hole->peers[other];
		if (ret_rtcp != NULL)
			*ret_rtcp = hole->peers_rtcp[other] != 0 ? hole->peers_rtcp[other] : (uint16_t)(ret->port + 1);
		return 0;
	}
	if (hole->media == NULL)
		return ALG_ERR_STATE;
	media_stream_local(hole->media, STREAM, media_side(reader), &local);
	*ret = local.rtp;
	if (ret_rtcp != NULL)
		*ret_rtcp = local.rtcp.port;
	return 0;
}

void hole_media_pause(struct hole *hole, bool is_paused)
{
	if (hole->media == NULL)
		return;
	media_hold(hole->media, is_paused);
	if (is_paused)
		return;
	/* A side that did not lock so far gets a fresh window. */
	hole_media_peer(hole, ALG_CLIENT);
	hole_media_peer(hole, ALG_SERVER);
}

void hole_media_count(struct hole *hole)
{
	bool has_moved = false;

	if (hole->media == NULL)
		return;
	for (enum alg_side side = ALG_CLIENT; side <= ALG_SERVER; side++) {
		struct media_stats stats;

		if (media_stats(hole->media, STREAM, media_side(side), &stats) != 0)
			continue;
		has_moved |= stats.bytes != hole->octets[side] || stats.rtcp_packets != hole->counted[side];
		hole->octets[side] = stats.bytes;
		hole->counted[side] = stats.rtcp_packets;
		hole->path = media_path_text(stats.path);
		hole->reason = stats.path_reason != NULL ? stats.path_reason : "";
	}
	if (has_moved)
		hole->moved_ms = loop_now_ms(hole->session->engine->loop);
	if (hole->octets[0] + hole->octets[1] > 0)
		hole_opened(hole, NULL);
}

void hole_media_close(struct hole *hole)
{
	if (hole->media == NULL)
		return;
	hole->media = NULL;
	group_close(&hole->media_group);
}

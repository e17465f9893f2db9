/* The session descriptions of a call and the media streams they negotiate. RFC 3264 (offer/answer), 3605 (a=rtcp), 5761 (rtcp-mux).
 * Stream n of the media session is m-line n of both legs. Nothing changes for packets until an answer says so. */
#include "sbc/call.h"

#include <stdlib.h>

#include "core/buf.h"
#include "core/err.h"
#include "sbc/call_live.h"

static enum media_side other(enum media_side side)
{
	return side == MEDIA_A ? MEDIA_B : MEDIA_A;
}

static int keep(struct span *slot, struct span bytes)
{
	char *copy = malloc(bytes.len + 1);

	if (copy == NULL)
		return ERR_LIMIT;
	memcpy(copy, bytes.ptr, bytes.len);
	copy[bytes.len] = '\0';
	free((char *)slot->ptr);
	*slot = (struct span){ copy, bytes.len };
	return 0;
}

static int find_sdp(const struct sip_msg *msg, struct mime_part *part)
{
	if (span_is_empty(msg->body)) {
		*part = (struct mime_part){ 0 };
		return 0;
	}
	return mime_find_sdp(msg->content_type, msg->body, part) == 0 ? 0 : 400;
}

bool call_has_sdp(const struct sip_msg *msg)
{
	struct mime_part part;

	return find_sdp(msg, &part) == 0 && part.sdp.ptr != NULL;
}

bool call_is_body_whole(const struct sip_msg *msg)
{
	struct mime_part part;

	return find_sdp(msg, &part) == 0;
}

static int parse(struct call *call, struct span sdp, struct offer *ret)
{
	struct offer_error error = { "", 0 };

	if (offer_parse(sdp, ret, &error) == 0)
		return 0;
	call_step(call, "", "session description refused: %s (line %u)", error.text, error.line);
	return 488;
}

/* Where the side's far end gets its media from: our ports on that side, port 0 where the stream is not open. */
static void fill_patch(const struct call *call, enum media_side side, const struct offer *in, struct offer_patch *patch)
{
	const struct leg *leg = &call->leg[side];
	struct media_local local;

	*patch = (struct offer_patch){ .session_id = leg->sdp_id, .version = leg->sdp_version };
	for (unsigned i = 0; i < in->n_media; i++) {
		if (in->media[i].port == 0 || !media_stream_is_open(call->media, i))
			continue;
		media_stream_local(call->media, i, side, &local);
		patch->media[i].rtp = local.rtp;
		patch->media[i].rtcp = local.rtcp;
		if (!addr_is_set(&patch->address))
			patch->address = local.rtp;
	}
	if (!addr_is_set(&patch->address))
		patch->address = leg->dialog.flow.local;
}

static int write_sdp(const struct offer *in, const struct offer_patch *patch, struct span before, struct buf *out)
{
	out->len = 0;
	buf_put(out, before);
	return offer_rewrite(in, patch, out);
}

/* Whether it differs from the description sent before, which maybe only the process before this one knew. */
static bool is_news(const struct leg *leg, struct span sdp)
{
	if (leg->sdp_sent.ptr != NULL)
		return !span_eq(sdp, leg->sdp_sent);
	return leg->sdp_mark != 0 && call_sdp_mark(sdp) != leg->sdp_mark;
}

/* Writes `in` for the far end of `side`. The o= version rises exactly when the description differs from the last one sent
 * (RFC 3264 section 8), so a refresh is the same to the byte. */
static int emit(struct call *call, enum media_side side, const struct offer *in, const struct mime_part *part,
		struct body_out *ret)
{
	struct leg *leg = &call->leg[side];
	struct buf out = buf_of(call->b2bua->body, sizeof(call->b2bua->body));
	struct offer_patch patch;
	struct span sdp;
	int err;

	fill_patch(call, side, in, &patch);
	err = write_sdp(in, &patch, part->before, &out);
	sdp = span_sub(buf_span(&out), part->before.len, out.len);
	if (err == 0 && is_news(leg, sdp)) {
		patch.version = ++leg->sdp_version;
		err = write_sdp(in, &patch, part->before, &out);
		sdp = span_sub(buf_span(&out), part->before.len, out.len);
	}
	if (err == 0)
		err = keep(&leg->sdp_sent, sdp);
	buf_put(&out, part->after);
	if (err != 0 || out.is_full)
		return 500;
	ret->bytes = buf_span(&out);
	return 0;
}

static void describe(struct call *call, const struct offer *in)
{
	for (unsigned i = 0; i < in->n_media; i++) {
		struct call_stream *stream = &call->streams[i];
		struct buf kind = buf_of(stream->kind, sizeof(stream->kind) - 1);
		struct buf format = buf_of(stream->format, sizeof(stream->format) - 1);

		if (in->media[i].port == 0 && stream->kind[0] != '\0')
			continue;
		memset(stream->kind, 0, sizeof(stream->kind));
		memset(stream->format, 0, sizeof(stream->format));
		buf_put(&kind, span_sub(in->media[i].kind, 0, sizeof(stream->kind) - 1));
		buf_put(&format, span_sub(in->media[i].proto, 0, 24));
		buf_putc(&format, ' ');
		buf_put(&format, span_sub(in->media[i].formats, 0, 36));
	}
	if (in->n_media > call->n_streams)
		call->n_streams = in->n_media;
}

static void close_opened(struct exchange *x)
{
	for (unsigned i = 0; i < MEDIA_STREAMS_MAX; i++)
		if (x->opened & 1u << i)
			media_stream_close(x->call->media, i);
	x->opened = 0;
}

static int open_streams(struct exchange *x, const struct offer *in)
{
	struct call *call = x->call;

	for (unsigned i = 0; i < in->n_media; i++) {
		int err;

		if (in->media[i].port == 0 || media_stream_is_open(call->media, i))
			continue;
		err = media_stream_open(call->media, i, call->leg[MEDIA_A].dialog.flow.local.family,
					call->leg[MEDIA_B].dialog.flow.local.family);
		if (err != 0) {
			call_step(call, "", "no media port for stream %u: %s", i, err_str(err));
			return 503;
		}
		x->opened |= (uint8_t)(1u << i);
		call->streams[i].was_open = true;
	}
	return 0;
}

int call_offer(struct exchange *x, enum media_side from, const struct sip_msg *msg, struct body_out *out)
{
	struct call *call = x->call;
	struct mime_part part;
	struct offer offer;
	int status = find_sdp(msg, &part);

	out->type = msg->content_type;
	out->bytes = SPAN_NONE;
	if (status != 0 || part.sdp.ptr == NULL)
		return status;
	status = parse(call, part.sdp, &offer);
	if (status == 0 && offer.n_media < call->n_streams && x != &call->invite)
		status = 488; /* RFC 3264 section 8: m-lines never go away */
	if (status != 0)
		return status;
	if (keep(&x->offer, part.sdp) != 0 || keep(&call->leg[from].sdp_received, part.sdp) != 0)
		return 500;
	status = open_streams(x, &offer);
	if (status == 0)
		status = emit(call, other(from), &offer, &part, out);
	if (status != 0) {
		close_opened(x);
		return status;
	}
	if (x == &call->invite)
		describe(call, &offer); /* a later one may be refused, and then changes nothing */
	x->is_reversed = from != x->near;
	x->offer_phase = x->is_reversed ? OFFER_REVERSED : OFFER_FORWARDED;
	return 0;
}

static bool sends(const struct offer_media *m)
{
	return !m->is_held && (m->direction == OFFER_SENDRECV || m->direction == OFFER_SENDONLY);
}

static bool receives(const struct offer_media *m)
{
	return !m->is_held && (m->direction == OFFER_SENDRECV || m->direction == OFFER_RECVONLY);
}

static void set_remote(struct call *call, unsigned i, enum media_side side, const struct offer_media *own,
		       const struct offer_media *peer)
{
	struct media_remote remote = {
		.rtp = own->rtp,
		.rtcp = own->rtcp,
		.rtcp_mux = own->has_rtcp_mux && peer->has_rtcp_mux,
		.is_rtp = own->is_rtp,
		.payloads = { own->payloads[0] | peer->payloads[0], own->payloads[1] | peer->payloads[1] },
		.may_send = sends(own) && receives(peer),
		.bandwidth_bps = own->bandwidth_bps,
	};

	if (own->is_held)
		remote.rtp = remote.rtcp = (struct addr){ 0 };
	media_stream_remote(call->media, i, side, &remote, false);
}

/* Both descriptions are known: tell the media what to expect from whom. */
static void apply(struct call *call, enum media_side from, const struct offer *answer, const struct offer *offer,
		  bool is_preview)
{
	unsigned active = 0, flowing = 0;

	for (unsigned i = 0; i < answer->n_media; i++) {
		const struct offer_media *own = &answer->media[i], *peer = &offer->media[i];

		if (!media_stream_is_open(call->media, i))
			continue;
		if (own->port == 0 || peer->port == 0) {
			if (!is_preview)
				media_stream_close(call->media, i);
			continue;
		}
		set_remote(call, i, from, own, peer);
		set_remote(call, i, other(from), peer, own);
		active++;
		flowing += sends(own) && receives(peer) && sends(peer) && receives(own);
	}
	call->is_held = active > 0 && flowing == 0;
	media_hold(call->media, call->is_held);
}

/* A final answer must have come by now. When that was in an unreliable provisional response, which may have been lost on the other
 * leg, the 2xx has to have it again (RFC 3261 13.2.1). */
static int repeat_preview(const struct exchange *x, enum media_side to, struct body_out *out)
{
	if (x->offer_phase != OFFER_SETTLED)
		return 488;
	out->type = SPAN_LIT("application/sdp");
	out->bytes = x->call->leg[to].sdp_sent;
	return 0;
}

int call_answer(struct exchange *x, enum media_side from, const struct sip_msg *msg, bool is_preview, struct body_out *out)
{
	struct call *call = x->call;
	struct mime_part part;
	struct offer offer, answer;
	int status = find_sdp(msg, &part);

	out->type = msg->content_type;
	out->bytes = SPAN_NONE;
	if (status != 0)
		return status;
	if (part.sdp.ptr == NULL) {
		if (is_preview || x->offer_phase == OFFER_IDLE)
			return 0;
		return repeat_preview(x, other(from), out);
	}
	if (x->offer.ptr == NULL || parse(call, x->offer, &offer) != 0)
		return 488;
	status = parse(call, part.sdp, &answer);
	if (status == 0 && answer.n_media != offer.n_media) {
		call_step(call, "", "the answer has %u m-lines, the offer %u", answer.n_media, offer.n_media);
		status = 488;
	}
	if (status != 0)
		return status;
	apply(call, from, &answer, &offer, is_preview);
	status = emit(call, other(from), &answer, &part, out);
	if (status != 0 || keep(&call->leg[from].sdp_received, part.sdp) != 0)
		return status != 0 ? status : 500;
	if (!is_preview) {
		x->opened = 0;
		describe(call, &offer);
	}
	x->offer_phase = OFFER_SETTLED;
	return 0;
}

void call_offer_failed(struct exchange *x)
{
	if (x->call->media != NULL)
		close_opened(x);
	x->offer_phase = OFFER_IDLE;
}

/* RTSP sessions of one control connection and the streams in them. A pinhole lives as long as its stream: until
 * TEARDOWN of the stream or its session was answered, a new SETUP took its place, the server knows the session no more
 * (454), or nothing was heard of it for twice its timeout, neither requests nor media. Several sessions share a
 * connection and end apart. RFC 2326 12.37, A.2; RFC 7826 4.3. */
#include "algs/rtsp/rtsp.h"

/* ---- streams ----------------------------------------------------------------------------------------------------- */

static void record(struct rtsp *s, const struct rtsp_stream *stream)
{
	struct alg_transfer transfer = {
		.hole = stream->hole,
		.user = rtsp_bytes_of(span_of(stream->user)),
		.verb = rtsp_bytes_of(stream->is_record ? SPAN_LIT("RECORD") : SPAN_LIT("PLAY")),
		.path = rtsp_bytes_of(span_of(stream->path)),
		.direction = stream->is_record ? ALG_UP : ALG_DOWN,
		.code = stream->code,
		.is_ok = stream->code < 300 && (stream->is_open || stream->hole == 0),
		.octets = { stream->octets[ALG_CLIENT], stream->octets[ALG_SERVER] },
	};

	s->host->transfer(s->session, &transfer);
}

static void end_stream(struct rtsp *s, struct rtsp_stream *stream)
{
	bool has_more = false;

	record(s, stream);
	if (stream->hole != 0)
		s->host->hole_free(s->session, stream->hole);
	stream->is_used = false;
	for (unsigned i = 0; i < RTSP_STREAMS_MAX; i++)
		has_more |= s->streams[i].is_used && s->streams[i].session == stream->session;
	s->sessions[stream->session].is_used = has_more;
}

static struct rtsp_session *find_session(struct rtsp *s, uint64_t id)
{
	for (unsigned i = 0; i < RTSP_SESSIONS_MAX; i++)
		if (s->sessions[i].is_used && s->sessions[i].id == id)
			return &s->sessions[i];
	return NULL;
}

/* ---- the session timer ------------------------------------------------------------------------------------------- */

static uint64_t due_ms(const struct rtsp_session *session)
{
	return session->touched_ms + UINT64_C(2000) * session->timeout_s;
}

/* Interleaved streams live with the connection. */
static bool has_holes(const struct rtsp *s, unsigned session)
{
	for (unsigned i = 0; i < RTSP_STREAMS_MAX; i++)
		if (s->streams[i].is_used && s->streams[i].session == session && s->streams[i].hole != 0)
			return true;
	return false;
}

void rtsp_session_start_timer(struct rtsp *s)
{
	uint64_t first = UINT64_MAX, now = s->host->now_ms(s->session);

	for (unsigned i = 0; i < RTSP_SESSIONS_MAX; i++)
		if (s->sessions[i].is_used && has_holes(s, i) && due_ms(&s->sessions[i]) < first)
			first = due_ms(&s->sessions[i]);
	if (first == UINT64_MAX)
		s->host->timer(s->session, RTSP_TIMER_SESSIONS, 0);
	else
		s->host->timer(s->session, RTSP_TIMER_SESSIONS, first > now ? (uint32_t)(first - now) : 1);
}

/* What never carried a packet goes. Of the rest nobody here knows whether it lives: from now on silence ends it, and
 * RTCP is enough to stay. */
static void doubt(struct rtsp *s, unsigned session)
{
	for (unsigned i = 0; i < RTSP_STREAMS_MAX; i++) {
		struct rtsp_stream *stream = &s->streams[i];

		if (!stream->is_used || stream->session != session || stream->hole == 0)
			continue;
		if (stream->is_open) {
			s->host->hole_pause(s->session, stream->hole, false);
			continue;
		}
		s->host->note(s->session, NULL, "session timed out: pinhole closed");
		stream->code = 408;
		end_stream(s, stream);
	}
}

void rtsp_session_timer(struct rtsp *s)
{
	uint64_t now = s->host->now_ms(s->session);

	for (unsigned i = 0; i < RTSP_SESSIONS_MAX; i++) {
		if (!s->sessions[i].is_used || due_ms(&s->sessions[i]) > now)
			continue;
		s->sessions[i].touched_ms = now;
		doubt(s, i);
	}
	rtsp_session_start_timer(s);
}

/* A request that names no session keeps all of the connection alive: some clients send plain OPTIONS for that. */
void rtsp_session_touch(struct rtsp *s, uint64_t id, bool has_id)
{
	uint64_t now = s->host->now_ms(s->session);

	for (unsigned i = 0; i < RTSP_SESSIONS_MAX; i++)
		if (s->sessions[i].is_used && (!has_id || s->sessions[i].id == id))
			s->sessions[i].touched_ms = now;
}

/* ---- set up ------------------------------------------------------------------------------------------------------ */

bool rtsp_session_has_room(const struct rtsp *s, uint64_t id)
{
	unsigned n_streams = 0, n_sessions = 0;
	bool is_known = false;

	for (unsigned i = 0; i < RTSP_STREAMS_MAX; i++)
		n_streams += s->streams[i].is_used;
	for (unsigned i = 0; i < RTSP_SESSIONS_MAX; i++) {
		n_sessions += s->sessions[i].is_used;
		is_known |= s->sessions[i].is_used && id != 0 && s->sessions[i].id == id;
	}
	for (unsigned i = 0; i < RTSP_SETUPS_MAX; i++) {
		n_streams += s->setups[i].is_used;
		n_sessions += s->setups[i].is_used;
	}
	return n_streams < RTSP_STREAMS_MAX && (is_known || n_sessions < RTSP_SESSIONS_MAX);
}

static struct rtsp_session *open_session(struct rtsp *s, const struct rtsp_added *added)
{
	struct rtsp_session *session = find_session(s, added->session);
	unsigned i = 0;

	if (session == NULL) {
		while (i < RTSP_SESSIONS_MAX && s->sessions[i].is_used)
			i++;
		if (i == RTSP_SESSIONS_MAX)
			return NULL;
		session = &s->sessions[i];
		*session = (struct rtsp_session){ .id = added->session, .timeout_s = RTSP_TIMEOUT_S };
	}
	session->is_used = true;
	session->touched_ms = s->host->now_ms(s->session);
	if (added->timeout_s != 0)
		session->timeout_s = added->timeout_s;
	return session;
}

struct rtsp_stream *rtsp_session_add(struct rtsp *s, const struct rtsp_added *added)
{
	struct rtsp_session *session = open_session(s, added);
	struct rtsp_stream *stream = NULL;

	if (session == NULL)
		return NULL;
	for (unsigned i = 0; i < RTSP_STREAMS_MAX; i++) {
		struct rtsp_stream *other = &s->streams[i];

		if (other->is_used && other->session == session - s->sessions && other->url == added->url)
			end_stream(s, other); /* set up anew, with another transport */
		if (stream == NULL && !other->is_used)
			stream = other;
	}
	session->is_used = true;
	if (stream == NULL)
		return NULL;
	*stream = (struct rtsp_stream){ .is_used = true, .session = (uint8_t)(session - s->sessions), .url = added->url };
	return stream;
}

/* ---- what answers and events mean -------------------------------------------------------------------------------- */

static void play(struct rtsp *s, struct rtsp_stream *stream, enum rtsp_verb verb)
{
	if (verb == RTSP_RECORD)
		stream->is_record = true;
	if (stream->hole != 0)
		s->host->hole_pause(s->session, stream->hole, verb == RTSP_PAUSE);
}

void rtsp_session_answer(struct rtsp *s, const struct rtsp_pending *pending, unsigned status)
{
	const struct rtsp_session *session = find_session(s, pending->session);
	bool is_ok = status >= 200 && status < 300, is_of_stream = false;
	bool is_gone = status == 454 || (is_ok && pending->verb == RTSP_TEARDOWN);
	bool is_play = pending->verb == RTSP_PLAY || pending->verb == RTSP_RECORD || pending->verb == RTSP_PAUSE;

	if (session == NULL || !(is_gone || is_play))
		return;
	/* One stream, when its URL was named; else the presentation with all of them. */
	for (unsigned i = 0; i < RTSP_STREAMS_MAX; i++)
		is_of_stream |= s->streams[i].is_used && session == &s->sessions[s->streams[i].session] &&
				s->streams[i].url == pending->url;
	if (status == 454)
		is_of_stream = false;
	for (unsigned i = 0; i < RTSP_STREAMS_MAX; i++) {
		struct rtsp_stream *stream = &s->streams[i];

		if (!stream->is_used || session != &s->sessions[stream->session] || (is_of_stream && stream->url != pending->url))
			continue;
		if (is_gone)
			end_stream(s, stream);
		else if (is_ok)
			play(s, stream, pending->verb);
		else
			stream->code = (uint16_t)status;
	}
}

static void lose_setup(struct rtsp *s, uint32_t hole)
{
	for (unsigned i = 0; i < RTSP_SETUPS_MAX; i++) {
		if (!s->setups[i].is_used || s->setups[i].hole != hole)
			continue;
		s->setups[i].hole = 0;
		s->setups[i].is_lost = true;
	}
}

void rtsp_session_event(struct rtsp *s, const struct alg_event *event)
{
	if (event->hole == 0)
		return;
	if (event->type == ALG_EV_EXPIRED)
		lose_setup(s, event->hole);
	for (unsigned i = 0; i < RTSP_STREAMS_MAX; i++) {
		struct rtsp_stream *stream = &s->streams[i];

		if (!stream->is_used || stream->hole != event->hole)
			continue;
		if (event->type == ALG_EV_OPENED)
			stream->is_open = true;
		else if (event->type == ALG_EV_ENDED || event->type == ALG_EV_EXPIRED)
			end_stream(s, stream);
	}
}

/* A channel that two streams have (which no server gives) counts for the first. */
static struct rtsp_stream *find_channel(struct rtsp *s, uint8_t channel)
{
	for (unsigned i = 0; i < RTSP_STREAMS_MAX; i++) {
		struct rtsp_stream *stream = &s->streams[i];

		if (stream->is_used && stream->has_channels && (stream->channels[0] == channel || stream->channels[1] == channel))
			return stream;
	}
	return NULL;
}

void rtsp_session_count(struct rtsp *s, enum alg_side from, struct span frames)
{
	while (frames.len >= 4) {
		size_t len = (size_t)(uint8_t)frames.ptr[2] << 8 | (uint8_t)frames.ptr[3];
		struct rtsp_stream *stream = find_channel(s, (uint8_t)frames.ptr[1]);

		if (stream != NULL)
			stream->octets[from] += len;
		frames = span_sub(frames, 4 + len, frames.len);
	}
}

void rtsp_session_close(struct rtsp *s)
{
	for (unsigned i = 0; i < RTSP_STREAMS_MAX; i++) {
		if (s->streams[i].is_used)
			record(s, &s->streams[i]);
		s->streams[i].is_used = false;
	}
}

bool rtsp_session_is_idle(const struct rtsp *s)
{
	for (unsigned i = 0; i < RTSP_STREAMS_MAX; i++)
		if (s->streams[i].is_used)
			return false;
	return s->lanes[ALG_CLIENT].n_pending == 0;
}

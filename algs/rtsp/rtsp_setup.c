/* SETUP: one pinhole for a stream, reserved when the client asks, armed when the server agrees. The client's own
 * numbers go to the server as ours and come back as the client wrote them; the server's become ours on the way to the
 * client. Media of both directions (PLAY and RECORD) uses the same pinhole. RFC 2326 10.4 and 12.39, RFC 7826 13.3 and
 * 18.54. */
#include "algs/rtsp/rtsp.h"

enum { CLASS_MEDIA, PORT_FLOOR = 1024, TEXT_MAX = 80 };

/* ---- writing addresses and ports --------------------------------------------------------------------------------- */

struct target {                /* what has to stand in a message */
	struct alg_addr rtp;
	uint16_t rtcp;
	bool must_have_host;   /* it is not where the reader's control channel ends */
};

static void write_ports(struct rtsp_job *job, const struct rtsp_ports *ports, const struct target *target)
{
	char text[TEXT_MAX];
	struct buf b = buf_of(text, sizeof(text));

	if (ports->form == RTSP_NO_PORTS)
		return;
	buf_u64(&b, target->rtp.port);
	if (ports->form != RTSP_ONE_PORT) {
		buf_putc(&b, ports->form == RTSP_SLASH ? '/' : '-');
		buf_u64(&b, target->rtcp);
	}
	rtsp_edit(&job->edits, ports->text, buf_span(&b));
}

/* Keeps the form: host or none, port or none. */
static void write_place(struct rtsp_job *job, const struct rtsp_place *place, const struct target *target, uint16_t port)
{
	bool has_port = place->addr.port != 0;
	char text[TEXT_MAX];
	struct buf b = buf_of(text, sizeof(text));

	if (place->text.len == 0)
		return;
	if (place->addr.family != 0 || place->has_name || target->must_have_host)
		rtsp_put_ip(&b, &target->rtp, has_port || place->has_brackets);
	if (has_port) {
		buf_putc(&b, ':');
		buf_u64(&b, port);
	}
	rtsp_edit(&job->edits, place->text, buf_span(&b));
}

static void write_places(struct rtsp_job *job, const struct rtsp_place *places, unsigned n, const struct target *target)
{
	for (unsigned i = 0; i < n; i++)
		write_place(job, &places[i], target, i == 0 ? target->rtp.port : target->rtcp);
}

static bool find_public(struct rtsp *s, uint32_t hole, enum alg_side reader, struct target *ret)
{
	const struct alg_addr *seen = reader == ALG_CLIENT ? &s->about->client_sees : &s->about->server_sees;

	if (s->host->hole_public(s->session, hole, reader, &ret->rtp, &ret->rtcp) < 0)
		return false;
	ret->must_have_host = !rtsp_ip_eq(&ret->rtp, seen);
	return true;
}

/* ---- the request ------------------------------------------------------------------------------------------------- */

static unsigned code_of(int err)
{
	switch (err) {
	case ALG_ERR_DENIED:
		return 403;
	case ALG_ERR_FAMILY: /* inside the control channel it works */
		return 461;
	default:
		return 503;
	}
}

static bool is_low(uint16_t port)
{
	return port != 0 && port < PORT_FLOOR;
}

/* Whether a stream may be sent there: to the one who asks, or to a group of listeners. Our own address is what a client
 * writes that finds its way through address translation by itself. */
static bool may_be_sent_to(const struct rtsp *s, const struct rtsp_transport *t, const struct rtsp_place *place)
{
	if (place->has_name)
		return false;
	if (place->addr.family == 0)
		return true;
	if (t->carrier == RTSP_MULTICAST)
		return rtsp_ip_is_multicast(&place->addr);
	return rtsp_ip_eq(&place->addr, &s->about->client) || rtsp_ip_eq(&place->addr, &s->about->server_sees);
}

/* 0, or the code for a list that asks for what nobody may have. */
static unsigned guard(const struct rtsp *s, const struct rtsp_transports *list)
{
	for (unsigned i = 0; i < list->n; i++) {
		const struct rtsp_transport *t = &list->list[i];

		if (t->is_double || (t->is_odd && t->has_destination))
			return 400;
		if (!may_be_sent_to(s, t, &t->destination))
			return 403;
		for (unsigned k = 0; k < t->n_dest; k++)
			if (!may_be_sent_to(s, t, &t->dest[k]) || is_low(t->dest[k].addr.port))
				return 403;
		if (is_low(t->client_port.rtp) || is_low(t->client_port.rtcp) || is_low(t->destination.addr.port))
			return 403;
	}
	return 0;
}

static uint64_t hash_spec(struct span spec)
{
	static const struct span udp = SPAN_LIT("/UDP");
	char lower[TEXT_MAX];
	size_t len = spec.len < sizeof(lower) ? spec.len : sizeof(lower);

	if (len >= udp.len && span_ieq(span_sub(spec, len - udp.len, len), udp))
		len -= udp.len;
	for (size_t i = 0; i < len; i++)
		lower[i] = (char)(spec.ptr[i] | 0x20);
	return rtsp_hash((struct span){ lower, len });
}

/* Whether that alternative needs a pinhole; then it is noted, for the answer. */
static bool add_offer(const struct rtsp *s, struct rtsp_setup *setup, const struct rtsp_transport *t)
{
	struct rtsp_offer offer = { .spec = hash_spec(t->spec) };
	struct span ports = t->client_port.text;

	if (t->carrier != RTSP_UDP || t->is_odd || !rtsp_transport_end(t, ALG_CLIENT, &offer.end))
		return false;
	if (offer.end.rtp.family != 0 && !rtsp_ip_eq(&offer.end.rtp, &s->about->client)) /* our own: see may_be_sent_to() */
		return false;
	if (ports.len >= sizeof(offer.ports))
		return false;
	if (ports.len > 0)
		memcpy(offer.ports, ports.ptr, ports.len);
	setup->offers[setup->n_offers++] = offer;
	return true;
}

static int reserve(struct rtsp *s, struct rtsp_setup *setup, bool is_raw, struct target *ret)
{
	const struct rtsp_end *end = &setup->offers[0].end;
	struct alg_want want = {
		.class = CLASS_MEDIA, .listener = ALG_CLIENT, .is_even = end->rtp.port % 2 == 0, .is_raw = is_raw,
	};
	int err = s->host->hole_reserve(s->session, &want, &setup->hole);

	if (err < 0) {
		setup->hole = 0;
		return err;
	}
	err = s->host->hole_peer(s->session, setup->hole, ALG_CLIENT, &end->rtp, end->rtcp);
	if (err < 0)
		return err;
	return find_public(s, setup->hole, ALG_SERVER, ret) ? 0 : ALG_ERR_STATE;
}

/* One pinhole, whichever alternative the server takes. 0, or the code to refuse with. */
static unsigned offer_all(struct rtsp_job *job, struct rtsp_setup *setup, const struct rtsp_transports *list)
{
	struct rtsp *s = job->s;
	bool is_offered[RTSP_TRANSPORTS_MAX] = { false }, is_raw = false;
	struct target target;
	int err;

	for (unsigned i = 0; i < list->n; i++) {
		is_offered[i] = add_offer(s, setup, &list->list[i]);
		is_raw |= is_offered[i] && list->list[i].is_raw;
	}
	if (setup->n_offers == 0)
		return 0;
	err = reserve(s, setup, is_raw, &target);
	if (err < 0) {
		s->host->note(s->session, NULL, "SETUP: no pinhole (%d)", err);
		return code_of(err);
	}
	for (unsigned i = 0; s->about->is_translated && i < list->n; i++) {
		const struct rtsp_transport *t = &list->list[i];

		if (!is_offered[i])
			continue;
		write_ports(job, &t->client_port, &target);
		write_place(job, &t->destination, &target, target.rtp.port);
		write_places(job, t->dest, t->n_dest, &target);
	}
	return job->edits.is_full ? 503 : 0;
}

static void keep_channels(struct rtsp_setup *setup, const struct rtsp_transport *t)
{
	setup->has_channels = t->has_channels;
	memcpy(setup->channels, t->channels, sizeof(setup->channels));
}

static enum alg_verdict pass_request(struct rtsp_job *job, const struct rtsp_transports *list)
{
	struct rtsp *s = job->s;
	struct rtsp_pending *pending = rtsp_pending_add(job, RTSP_SETUP);
	struct rtsp_setup *setup = &s->setups[pending->setup - 1];
	struct span path = span_sub(job->message.url, 0, sizeof(setup->path) - 1);
	unsigned code;

	memcpy(setup->path, path.ptr, path.len);
	rtsp_policy_user(&job->message, setup->user, sizeof(setup->user));
	setup->n_alternatives = list->n;
	setup->is_record = list->n > 0 && list->list[0].is_record;
	code = offer_all(job, setup, list);
	if (code != 0) {
		rtsp_pending_done(s, job->from, pending);
		return rtsp_refuse(job, code, "");
	}
	s->may_interleave |= list->n == 0;
	for (unsigned i = 0; i < list->n; i++) {
		s->may_interleave |= list->list[i].carrier == RTSP_INTERLEAVED || list->list[i].carrier == RTSP_OTHER;
		if (!setup->has_channels)
			keep_channels(setup, &list->list[i]);
	}
	return ALG_PASS;
}

enum alg_verdict rtsp_setup_request(struct rtsp_job *job)
{
	struct rtsp_transports list;
	struct alg_answer answer = { .text = "" };
	unsigned code;

	if (job->message.is_odd || rtsp_transport_read(&job->message, &list) < 0)
		return rtsp_refuse(job, 400, "");
	code = guard(job->s, &list);
	if (code != 0) {
		job->s->host->note(job->s->session, NULL, "SETUP: destination or port is not the client's to name");
		return rtsp_refuse(job, code, "");
	}
	code = rtsp_policy_transports(job, &list, &answer);
	if (code != 0)
		return rtsp_refuse(job, code, answer.text);
	if (!rtsp_session_has_room(job->s, rtsp_session_id(&job->message)))
		return rtsp_refuse(job, 503, "");
	return pass_request(job, &list);
}

/* ---- the answer -------------------------------------------------------------------------------------------------- */

/* Which alternative was taken: by its protocol, then by the client's port when that went to the server as it is. */
static const struct rtsp_offer *find_offer(const struct rtsp_setup *setup, const struct rtsp_transport *t)
{
	uint64_t spec = hash_spec(t->spec);
	const struct rtsp_offer *found = NULL;
	struct rtsp_end end;
	bool has_end = rtsp_transport_end(t, ALG_CLIENT, &end);

	for (unsigned i = 0; i < setup->n_offers; i++) {
		const struct rtsp_offer *offer = &setup->offers[i];

		if (offer->spec != spec)
			continue;
		if (has_end && offer->end.rtp.port == end.rtp.port)
			return offer;
		if (found == NULL)
			found = offer;
	}
	return found != NULL ? found : &setup->offers[0];
}

/* An address that is not the one the server speaks from is not believed, the ports are. */
static int set_server(struct rtsp *s, uint32_t hole, const struct rtsp_end *end)
{
	int err = s->host->hole_peer(s->session, hole, ALG_SERVER, &end->rtp, end->rtcp);
	struct alg_addr port_only = { .port = end->rtp.port };

	if (err != ALG_ERR_DENIED || end->rtp.family == 0)
		return err;
	s->host->note(s->session, NULL, "SETUP: source is not the server's address");
	return s->host->hole_peer(s->session, hole, ALG_SERVER, &port_only, end->rtcp);
}

static int set_peers(struct rtsp *s, const struct rtsp_setup *setup, const struct rtsp_offer *offer,
		     const struct rtsp_transport *t)
{
	struct rtsp_end client = offer->end, server = { .rtcp = 0 };
	int err;

	if (t != NULL) {
		rtsp_transport_end(t, ALG_SERVER, &server);
		if (t->has_mux) { /* until here it was only an offer, and the pair had to work */
			client.rtcp = client.rtp.port;
			server.rtcp = server.rtp.port;
		}
	}
	if (is_low(server.rtp.port) || is_low(server.rtcp))
		return ALG_ERR_DENIED;
	err = s->host->hole_peer(s->session, setup->hole, ALG_CLIENT, &client.rtp, client.rtcp);
	return err < 0 ? err : set_server(s, setup->hole, &server);
}

/* What the client wrote about itself comes back as it wrote it. */
static void restore_client(struct rtsp_job *job, const struct rtsp_offer *offer, const struct rtsp_transport *t)
{
	struct target client = { .rtp = job->s->about->client, .rtcp = offer->end.rtcp };

	client.rtp.port = offer->end.rtp.port;
	if (client.rtcp == 0)
		client.rtcp = (uint16_t)(client.rtp.port + 1);
	if (offer->ports[0] != '\0' && t->client_port.form != RTSP_NO_PORTS)
		rtsp_edit(&job->edits, t->client_port.text, span_of(offer->ports));
	else
		write_ports(job, &t->client_port, &client);
	write_place(job, &t->destination, &client, client.rtp.port);
	write_places(job, t->dest, t->n_dest, &client);
}

static void show_server(struct rtsp_job *job, const struct rtsp_transport *t, const struct target *target)
{
	char text[TEXT_MAX];
	struct buf b = buf_of(text, sizeof(text));
	struct span behind = t->server_port.form != RTSP_NO_PORTS ? t->server_port.text : t->text;

	write_ports(job, &t->server_port, target);
	write_place(job, &t->source, target, target->rtp.port);
	write_places(job, t->src, t->n_src, target);
	if (!target->must_have_host || t->source.text.len > 0 || t->n_src > 0)
		return;
	/* Without it the client takes media for the control channel's, and sends its own there. */
	if (behind.ptr[behind.len] == '"')
		behind.len++;
	buf_puts(&b, ";source=");
	rtsp_put_ip(&b, &target->rtp, false);
	rtsp_edit(&job->edits, (struct span){ behind.ptr + behind.len, 0 }, buf_span(&b));
}

/* 0, or the code that the client gets instead. t NULL: the answer does not say what was set up. */
static unsigned open_pinhole(struct rtsp_job *job, struct rtsp_setup *setup, const struct rtsp_transport *t)
{
	struct rtsp *s = job->s;
	const struct rtsp_offer *offer = t != NULL ? find_offer(setup, t) : &setup->offers[0];
	struct target target;
	int err = set_peers(s, setup, offer, t);

	if (err < 0)
		return err == ALG_ERR_DENIED ? 502 : 503;
	if (!find_public(s, setup->hole, ALG_CLIENT, &target))
		return 503;
	if (t != NULL && s->about->is_translated) {
		restore_client(job, offer, t);
		show_server(job, t, &target);
	}
	if (job->edits.is_full || s->host->hole_arm(s->session, setup->hole) < 0)
		return 503;
	s->host->hole_pause(s->session, setup->hole, true); /* until PLAY or RECORD nothing need come */
	return 0;
}

/* "12345678;timeout=60"; 0: not said. */
static uint32_t timeout_of(const struct rtsp_message *m)
{
	struct span rest = rtsp_header_value(m, "Session"), element;
	uint32_t timeout_s = 0;

	while (rtsp_list_next(&rest, ';', &element)) {
		struct span value = element;

		if (span_ieq(span_trim(span_cut(&value, '=')), SPAN_LIT("timeout")))
			span_to_u32(span_trim(value), UINT32_MAX, &timeout_s);
	}
	if (timeout_s > RTSP_TIMEOUT_MAX_S)
		return RTSP_TIMEOUT_MAX_S;
	return timeout_s == 0 || timeout_s > RTSP_TIMEOUT_MIN_S ? timeout_s : RTSP_TIMEOUT_MIN_S;
}

/* False: the server named a session that there is no room for. */
static bool keep_stream(struct rtsp_job *job, const struct rtsp_pending *pending, struct rtsp_setup *setup, bool is_open)
{
	uint64_t session = rtsp_session_id(&job->message);
	struct rtsp_added added = {
		.session = session != 0 ? session : pending->session,
		.url = pending->url,
		.timeout_s = timeout_of(&job->message),
	};
	struct rtsp_stream *stream = rtsp_session_add(job->s, &added);

	if (stream == NULL)
		return false;
	stream->code = (uint16_t)job->message.status;
	stream->is_record = setup->is_record;
	memcpy(stream->path, setup->path, sizeof(stream->path));
	memcpy(stream->user, setup->user, sizeof(stream->user));
	stream->has_channels = setup->has_channels && !is_open;
	memcpy(stream->channels, setup->channels, sizeof(stream->channels));
	if (is_open) {
		stream->hole = setup->hole;
		setup->hole = 0;
	}
	rtsp_session_start_timer(job->s);
	return true;
}

enum alg_verdict rtsp_setup_response(struct rtsp_job *job, struct rtsp_pending *pending)
{
	struct rtsp_setup *setup = &job->s->setups[pending->setup - 1];
	struct rtsp_transports list;
	const struct rtsp_transport *t = NULL;
	bool is_readable, is_udp;
	unsigned code = 0;

	if (job->message.status >= 300)
		return ALG_PASS;
	if (setup->is_lost)
		return rtsp_replace_response(job, pending, 503);
	is_readable = !job->message.is_odd && rtsp_transport_read(&job->message, &list) == 0;
	if (is_readable && list.n > 0)
		t = &list.list[0];
	/* No Transport in the answer: there is no doubt when only one was asked for. */
	is_udp = t != NULL ? t->carrier == RTSP_UDP && !t->is_odd && !t->is_double : is_readable && setup->n_alternatives == 1;
	is_udp &= setup->hole != 0;
	if (t != NULL) /* what was asked for is not what there is */
		keep_channels(setup, t);
	if (is_udp)
		code = open_pinhole(job, setup, t);
	if (code == 0 && !keep_stream(job, pending, setup, is_udp))
		code = 503;
	if (code != 0) {
		job->s->host->note(job->s->session, NULL, "SETUP: answered, and no pinhole (%u)", code);
		return rtsp_replace_response(job, pending, code);
	}
	job->s->may_interleave |= t != NULL && t->carrier == RTSP_INTERLEAVED;
	return ALG_PASS;
}

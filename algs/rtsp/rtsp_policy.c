/* What the profile says about requests, transports and lists of methods, and the limits that hold without one. Rules
 * refuse; nothing here opens anything. */
#include "algs/rtsp/rtsp.h"

enum { LIST_MAX = 40 };

const struct alg_verb rtsp_verbs[] = {
	[RTSP_OPTIONS] = { "OPTIONS", "session" },
	[RTSP_DESCRIBE] = { "DESCRIBE", "read" },
	[RTSP_ANNOUNCE] = { "ANNOUNCE", "write" },
	[RTSP_SETUP] = { "SETUP", "session" },
	[RTSP_PLAY] = { "PLAY", "read" },
	[RTSP_PAUSE] = { "PAUSE", "session" },
	[RTSP_TEARDOWN] = { "TEARDOWN", "session" },
	[RTSP_GET_PARAMETER] = { "GET_PARAMETER", "session" },
	[RTSP_SET_PARAMETER] = { "SET_PARAMETER", "admin" },
	[RTSP_REDIRECT] = { "REDIRECT", "session" },
	[RTSP_RECORD] = { "RECORD", "write" },
	[RTSP_PLAY_NOTIFY] = { "PLAY_NOTIFY", "session" },
	[RTSP_VERBS] = { NULL, NULL },
};

enum rtsp_verb rtsp_verb_find(struct span method)
{
	unsigned i = 0;

	while (i < RTSP_VERBS && !span_ieq(method, span_of(rtsp_verbs[i].name)))
		i++;
	return i;
}

/* ---- who asks ---------------------------------------------------------------------------------------------------- */

/* The name in front of the colon of "name:password". */
static void read_basic(struct span text, struct buf *out)
{
	enum { SEEN_MAX = RTSP_USER_MAX * 2 };
	char octets[RTSP_BASE64_DECODED_MAX(SEEN_MAX)];
	struct rtsp_base64 decoder = { 0 };
	size_t len;

	(void)rtsp_base64_decode(&decoder, span_sub(span_trim(text), 0, SEEN_MAX), octets, &len);
	buf_put(out, span_sub((struct span){ octets, len }, 0, span_find((struct span){ octets, len }, ':')));
}

static void read_digest(struct span text, struct buf *out)
{
	struct span element;

	while (rtsp_list_next(&text, ',', &element)) {
		struct span value = element;

		if (span_ieq(span_trim(span_cut(&value, '=')), SPAN_LIT("username"))) {
			buf_put(out, rtsp_unquote(value));
			return;
		}
	}
}

void rtsp_policy_user(const struct rtsp_message *message, char *out, size_t size)
{
	struct span rest = rtsp_header_value(message, "Authorization");
	struct span scheme = span_cut(&rest, ' ');
	struct buf b = buf_of(out, size - 1);

	if (span_ieq(scheme, SPAN_LIT("Basic")))
		read_basic(rest, &b);
	else if (span_ieq(scheme, SPAN_LIT("Digest")))
		read_digest(rest, &b);
	if (b.is_full || memchr(out, '\0', b.len) != NULL) /* cut, it could be somebody else's */
		b.len = 0;
	out[b.len] = '\0';
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

static void ask(const struct rtsp_job *job, struct alg_question *question, struct span verb, struct alg_answer *ret)
{
	char upper[RTSP_VERB_MAX];

	if (verb.len > sizeof(upper))
		verb.len = sizeof(upper);
	for (size_t i = 0; i < verb.len; i++)
		upper[i] = verb.ptr[i] >= 'a' && verb.ptr[i] <= 'z' ? (char)(verb.ptr[i] - 'a' + 'A') : verb.ptr[i];
	question->verb = (struct alg_bytes){ upper, verb.len };
	job->s->host->policy(job->s->session, question, ret);
}

static enum alg_direction direction_of(enum rtsp_verb verb)
{
	switch (verb) {
	case RTSP_ANNOUNCE:
	case RTSP_RECORD:
		return ALG_UP;
	case RTSP_DESCRIBE:
	case RTSP_PLAY:
		return ALG_DOWN;
	default:
		return ALG_NO_DATA;
	}
}

bool rtsp_policy_ask(const struct rtsp_job *job, const struct rtsp_asking *asking, struct alg_answer *ret)
{
	const struct rtsp_message *m = &job->message;
	struct span mime = rtsp_header_value(m, "Content-Type");
	char user[RTSP_USER_MAX];
	struct alg_question question = {
		.target = rtsp_bytes_of(m->url),
		.transport = rtsp_bytes_of(span_of(asking->transport)),
		.mime = rtsp_bytes_of(span_trim(span_sub(mime, 0, span_find(mime, ';')))),
		.direction = asking->direction,
		.has_size = m->n_lengths > 0,
		.size = m->length,
		.is_trial = asking->is_trial,
	};

	rtsp_policy_user(m, user, sizeof(user));
	question.user = rtsp_bytes_of(span_of(user));
	ask(job, &question, m->method, ret);
	return ret->is_allowed;
}

/* While answers are outstanding a refusal would have to wait, and the question be asked again: it is to count only
 * once. */
static bool ask_once(const struct rtsp_job *job, struct rtsp_asking *asking, struct alg_answer *ret)
{
	asking->is_trial = true;
	if (job->s->lanes[job->from].n_pending > 0 && !rtsp_policy_ask(job, asking, ret))
		return false;
	asking->is_trial = false;
	return rtsp_policy_ask(job, asking, ret);
}

/* Whether a verb could be allowed at all, as far as can be known without the request. */
static bool is_possible(const struct rtsp_job *job, struct span verb, struct span url, const char *transport)
{
	static const char *const carriers[] = { "udp", "interleaved", "multicast" };
	bool is_setup = rtsp_verb_find(verb) == RTSP_SETUP && transport == NULL;

	for (unsigned i = 0; i < (is_setup ? sizeof(carriers) / sizeof(carriers[0]) : 1); i++) {
		struct alg_question question = {
			.target = rtsp_bytes_of(url),
			.transport = rtsp_bytes_of(span_of(is_setup ? carriers[i] : transport)),
			.direction = direction_of(rtsp_verb_find(verb)),
			.is_trial = true,
		};
		struct alg_answer answer;

		ask(job, &question, verb, &answer);
		if (answer.is_allowed)
			return true;
	}
	return false;
}

unsigned rtsp_policy_request(struct rtsp_job *job, enum rtsp_verb verb, struct alg_answer *ret)
{
	const struct rtsp_message *m = &job->message;
	struct rtsp_asking asking = { .direction = direction_of(verb) };

	ret->text[0] = '\0';
	if (m->has_too_many || m->method.len > RTSP_VERB_MAX)
		return 400;
	if (m->url.len > RTSP_URL_MAX)
		return 414;
	if (m->length > RTSP_MESSAGE_MAX - m->head.len)
		return 413;
	if (verb == RTSP_SETUP && job->from == ALG_CLIENT) /* its transports decide */
		return 0;
	if (ask_once(job, &asking, ret))
		return 0;
	if (ret->code != 0)
		return ret->code;
	return is_possible(job, m->method, SPAN_NONE, NULL) ? 403 : 405;
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */

struct element {
	struct span text;
	bool is_dropped;
};

/* Takes what is dropped out of a header field, with the commas that belong to it; all of it, and the field goes. */
static void cut_elements(struct rtsp_edits *edits, const struct rtsp_header *header, const struct element *list, unsigned n)
{
	unsigned n_kept = 0;

	for (unsigned i = 0; i < n; i++)
		n_kept += !list[i].is_dropped;
	if (n_kept == 0) {
		rtsp_edit(edits, header->line, SPAN_NONE);
		return;
	}
	for (unsigned first = 0; first < n; first++) {
		unsigned end = first;
		const char *from, *to;

		while (end < n && list[end].is_dropped)
			end++;
		if (end == first)
			continue;
		from = end < n || first == 0 ? list[first].text.ptr : list[first - 1].text.ptr + list[first - 1].text.len;
		to = end < n ? list[end].text.ptr : list[end - 1].text.ptr + list[end - 1].text.len;
		rtsp_edit(edits, (struct span){ from, (size_t)(to - from) }, SPAN_NONE);
		first = end;
	}
}

/* What 405 has to tell (RFC 2326 11.3.3). */
static void keep_allowed(struct rtsp *s, const struct element *list, unsigned n)
{
	struct buf out = buf_of(s->allowed, sizeof(s->allowed) - 1);

	for (unsigned i = 0; i < n; i++) {
		if (list[i].is_dropped)
			continue;
		buf_puts(&out, out.len > 0 ? ", " : "");
		buf_put(&out, list[i].text);
	}
	s->allowed[out.is_full ? 0 : out.len] = '\0';
}

static void trim_field(struct rtsp_job *job, const struct rtsp_header *header, struct span url)
{
	struct element list[LIST_MAX];
	struct span rest = header->value, element;
	unsigned n = 0;
	bool has_dropped = false;

	while (n < LIST_MAX && rtsp_list_next(&rest, ',', &element)) {
		if (!rtsp_is_token(element))
			continue;
		list[n] = (struct element){ element, !is_possible(job, element, url, NULL) };
		has_dropped |= list[n++].is_dropped;
	}
	if (has_dropped)
		cut_elements(&job->edits, header, list, n);
	if (span_ieq(header->name, SPAN_LIT("Public")))
		keep_allowed(job->s, list, n);
}

void rtsp_policy_trim(struct rtsp_job *job, struct span url)
{
	static const char *const names[] = { "Public", "Allow" };

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct rtsp_header *header;
		unsigned at = 0;

		while ((header = rtsp_header_next(&job->message, names[i], &at)) != NULL)
			trim_field(job, header, url);
	}
}

/* ---- transports -------------------------------------------------------------------------------------------------- */

static void cut_transports(struct rtsp_job *job, struct rtsp_transports *transports, const bool *is_allowed)
{
	struct element list[RTSP_TRANSPORTS_MAX];
	unsigned n_kept = 0;

	for (unsigned i = 0; i < transports->n;) {
		unsigned n = 0, header = transports->list[i].header;
		bool has_dropped = false;

		for (; i < transports->n && transports->list[i].header == header; i++) {
			list[n] = (struct element){ transports->list[i].text, !is_allowed[transports->list[i].carrier] };
			has_dropped |= list[n++].is_dropped;
		}
		if (has_dropped)
			cut_elements(&job->edits, &job->message.headers[header], list, n);
	}
	for (unsigned i = 0; i < transports->n; i++)
		if (is_allowed[transports->list[i].carrier])
			transports->list[n_kept++] = transports->list[i];
	transports->n = n_kept;
}

/* Another transport, another answer: then it is the transport that is refused, and a client may try the next. */
static unsigned code_of_transports(const struct rtsp_job *job, const struct rtsp_asking *asked, const struct alg_answer *answer)
{
	struct rtsp_asking asking = { .direction = asked->direction, .is_trial = true };
	struct alg_answer other;

	if (answer->code != 0)
		return answer->code;
	for (unsigned carrier = 0; carrier < RTSP_OTHER; carrier++) {
		asking.transport = rtsp_carrier_text(carrier);
		if (rtsp_policy_ask(job, &asking, &other))
			return 461;
	}
	return 403;
}

static bool has_carrier(const struct rtsp_transports *transports, enum rtsp_carrier carrier)
{
	for (unsigned i = 0; i < transports->n; i++)
		if (transports->list[i].carrier == carrier)
			return true;
	return false;
}

unsigned rtsp_policy_transports(struct rtsp_job *job, struct rtsp_transports *transports, struct alg_answer *ret)
{
	bool is_allowed[RTSP_CARRIERS] = { false };
	bool is_record = transports->n > 0 && transports->list[0].is_record;
	struct rtsp_asking asking = { .direction = is_record ? ALG_UP : ALG_DOWN };

	if (rtsp_is_tunnelled(job->s) && transports->n > 0 && !has_carrier(transports, RTSP_INTERLEAVED))
		return 461; /* nothing else comes through a tunnel */
	if (transports->n == 0)
		return ask_once(job, &asking, ret) ? 0 : code_of_transports(job, &asking, ret);
	/* UDP comes last, so that the limits of its rule are those of the pinhole that is reserved next. */
	for (unsigned carrier = RTSP_CARRIERS; carrier-- > 0;) {
		if (!has_carrier(transports, carrier) || (rtsp_is_tunnelled(job->s) && carrier != RTSP_INTERLEAVED))
			continue;
		asking.transport = rtsp_carrier_text(carrier);
		is_allowed[carrier] = ask_once(job, &asking, ret);
	}
	cut_transports(job, transports, is_allowed);
	return transports->n > 0 ? 0 : code_of_transports(job, &asking, ret);
}

bool rtsp_policy_unseen(struct rtsp_job *job, const char *transport, struct alg_answer *ret)
{
	struct rtsp_asking asking = { .transport = transport };

	ret->text[0] = '\0';
	ret->code = 0;
	if (!rtsp_policy_ask(job, &asking, ret))
		return false;
	for (unsigned i = 0; i < RTSP_VERBS; i++)
		if (!is_possible(job, span_of(rtsp_verbs[i].name), job->message.url, transport))
			return false;
	return true;
}

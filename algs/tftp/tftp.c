/* TFTP (RFC 1350, 2347, 2348, 2349): the client asks at port 69, and the server answers from a new port. So each request
 * that is allowed gets one pinhole: from the server, any port, to the client's own port. Nothing is rewritten. It
 * is also the example of docs/adding-an-alg.md: complete, and as small as an ALG can be. */
#include "algs/tftp/tftp.h"

#include <string.h>

enum { RRQ = 1, WRQ = 2, DATA = 3, ACK = 4, ERROR = 5, OACK = 6 }; /* operations */
enum { UNDEFINED = 0, ACCESS_VIOLATION = 2 }; /* codes of errors */
enum { MESSAGE_MAX = 1024, PATH_MAX_LEN = 511, BLOCK = 512 /* octets, unless another size is agreed upon */, HEAD = 4 };

struct tftp {
	const struct alg_host *host;
	struct alg_session *session;
	uint32_t hole;           /* 0: none */
	bool is_flowing;         /* the server has answered */
	bool is_write;           /* of the last request that was passed on */
	uint64_t block_size;
	bool has_last, is_done;  /* a short block has passed; and its acknowledgement, or an error */
	uint16_t last;           /* its number */
	unsigned error;          /* code of the error that ended it */
	bool has_failed;
	char path[PATH_MAX_LEN];
	size_t path_len;
};

struct request {
	bool is_whole;           /* else rules are asked about it, and nothing is opened */
	bool is_write;
	struct alg_bytes path, mode;
	bool has_size;           /* of a file that the client will send */
	uint64_t size;
};

/* Grammar */

/* One text of the request, up to its NUL. */
static bool cut_text(struct alg_bytes *rest, struct alg_bytes *ret)
{
	const char *end = rest->len > 0 ? memchr(rest->ptr, '\0', rest->len) : NULL;

	if (end == NULL)
		return false;
	*ret = (struct alg_bytes){ rest->ptr, (size_t)(end - rest->ptr) };
	rest->ptr = end + 1;
	rest->len -= ret->len + 1;
	return true;
}

static bool is_word(struct alg_bytes text, const char *lower_case)
{
	size_t len = strlen(lower_case);

	if (text.len != len)
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = text.ptr[i];

		if ((c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c) != lower_case[i])
			return false;
	}
	return true;
}

/* What is too large to count is the largest there is, and no way past a rule. */
static bool to_number(struct alg_bytes text, uint64_t *ret)
{
	uint64_t n = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return false;
		n = n > UINT64_MAX / 10 - 1 ? UINT64_MAX : n * 10 + (uint64_t)(text.ptr[i] - '0');
	}
	*ret = n;
	return text.len > 0;
}

/* What stands behind the path; false when a server might read it in another way. */
static bool parse_rest(struct alg_bytes rest, struct request *ret)
{
	struct alg_bytes option, value;
	uint64_t size;

	if (!cut_text(&rest, &ret->mode) || (!is_word(ret->mode, "octet") && !is_word(ret->mode, "netascii") &&
					     !is_word(ret->mode, "mail")))
		return false;
	while (rest.len > 0) {
		if (!cut_text(&rest, &option) || !cut_text(&rest, &value) || option.len == 0)
			return false;
		/* In a read request the client asks for the size and says 0. Of several sizes the largest counts. */
		if (!ret->is_write || !is_word(option, "tsize") || !to_number(value, &size))
			continue;
		ret->has_size = true;
		ret->size = size > ret->size ? size : ret->size;
	}
	return true;
}

/* False: no request at all. */
static bool parse(struct alg_bytes bytes, struct request *ret)
{
	if (bytes.len < 2 || bytes.ptr[0] != 0 || (bytes.ptr[1] != RRQ && bytes.ptr[1] != WRQ))
		return false;
	*ret = (struct request){ .is_write = bytes.ptr[1] == WRQ };
	bytes = (struct alg_bytes){ bytes.ptr + 2, bytes.len - 2 };
	if (!cut_text(&bytes, &ret->path) || ret->path.len == 0)
		return false;
	ret->is_whole = parse_rest(bytes, ret) && ret->path.len <= PATH_MAX_LEN;
	return true;
}

/* Requests */

static void refuse(struct tftp *t, unsigned code, const char *text)
{
	char packet[4 + ALG_TEXT_MAX] = { 0, ERROR, 0, (char)code };
	size_t len = strlen(text);

	memcpy(packet + 4, text, len + 1);
	t->host->reply(t->session, ALG_CLIENT, (struct alg_bytes){ packet, 4 + len + 1 });
}

static bool is_allowed(struct tftp *t, const struct request *request)
{
	struct alg_question question = { .target = request->path, .has_size = request->has_size, .size = request->size };
	struct alg_answer answer;

	question.verb = (struct alg_bytes){ request->is_write ? "WRQ" : "RRQ", 3 };
	question.direction = request->is_write ? ALG_UP : ALG_DOWN;
	t->host->policy(t->session, &question, &answer);
	if (!answer.is_allowed)
		refuse(t, answer.code != 0 ? answer.code : ACCESS_VIOLATION,
		       answer.text[0] != '\0' ? answer.text : "Access violation");
	return answer.is_allowed;
}

/* The client waits at its own port for a server whose port nobody knows yet. */
static bool open_hole(struct tftp *t)
{
	struct alg_want want = { .class = 0, .listener = ALG_CLIENT };

	if (t->hole != 0)
		return true; /* the client repeats itself, or the transfer runs already */
	if (t->host->hole_reserve(t->session, &want, &t->hole) < 0)
		return false;
	if (t->host->hole_arm(t->session, t->hole) < 0) {
		t->host->hole_free(t->session, t->hole);
		t->hole = 0;
		return false;
	}
	return true;
}

static struct alg_result tftp_bytes(void *state, enum alg_side from, struct alg_bytes bytes, bool is_end)
{
	struct tftp *t = state;
	struct request request;

	(void)is_end;
	if (from == ALG_SERVER || !parse(bytes, &request))
		return (struct alg_result){ ALG_PASS, bytes.len, 0 };
	if (!is_allowed(t, &request))
		return (struct alg_result){ ALG_DROP, bytes.len, 0 };
	if (!request.is_whole)
		return (struct alg_result){ ALG_PASS, bytes.len, 0 };
	if (!open_hole(t)) {
		refuse(t, UNDEFINED, "No more transfers at a time");
		return (struct alg_result){ ALG_DROP, bytes.len, 0 };
	}
	if (!t->is_flowing) {
		t->is_write = request.is_write;
		t->block_size = BLOCK;
		t->has_last = t->is_done = t->has_failed = false;
		t->error = 0;
		t->path_len = request.path.len;
		memcpy(t->path, request.path.ptr, request.path.len);
	}
	return (struct alg_result){ ALG_PASS, bytes.len, 0 };
}

/* Data */

/* What the server agrees to (RFC 2348). One that makes no sense is the ends' own trouble. */
static void read_options(struct tftp *t, struct alg_bytes rest)
{
	struct alg_bytes option, value;
	uint64_t size;

	while (cut_text(&rest, &option) && cut_text(&rest, &value))
		if (is_word(option, "blksize") && to_number(value, &size) && size > 0)
			t->block_size = size;
}

/* The last block is the one that is not full, and then it has to be acknowledged. When that is lost both are repeated. */
static enum alg_datum tftp_datum(void *state, uint32_t hole, enum alg_side from, struct alg_bytes bytes)
{
	struct tftp *t = state;
	bool is_sender = from == (t->is_write ? ALG_CLIENT : ALG_SERVER), is_first_time = !t->is_done;
	unsigned operation = bytes.len >= HEAD && bytes.ptr[0] == 0 ? (unsigned char)bytes.ptr[1] : 0;
	uint16_t number = operation != 0 ? (uint16_t)((unsigned char)bytes.ptr[2] << 8 | (unsigned char)bytes.ptr[3]) : 0;

	(void)hole;
	if (operation == ERROR) {
		t->has_failed |= is_first_time;
		t->error = is_first_time ? number : t->error;
		t->is_done = true;
	} else if (operation == OACK && from == ALG_SERVER && is_first_time) {
		read_options(t, (struct alg_bytes){ bytes.ptr + 2, bytes.len - 2 });
	} else if (operation == DATA && is_sender && is_first_time && bytes.len - HEAD < t->block_size) {
		t->has_last = true;
		t->last = number;
	} else if (operation == ACK && !is_sender && t->has_last && number == t->last) {
		t->is_done = true;
	} else if (!is_first_time && !(operation == DATA && is_sender && t->has_last && number == t->last &&
				       bytes.len - HEAD < t->block_size)) {
		return ALG_DATUM_STRAY;
	}
	return t->is_done ? ALG_DATUM_LAST : ALG_DATUM_MORE;
}

static void tftp_event(void *state, const struct alg_event *event)
{
	struct tftp *t = state;
	struct alg_transfer transfer = { .hole = t->hole, .path = { t->path, t->path_len } };

	if (t->hole == 0 || event->hole != t->hole)
		return;
	if (event->type == ALG_EV_OPENED)
		t->is_flowing = true;
	if (event->type == ALG_EV_LIMIT)
		t->has_failed = true;
	if (event->type == ALG_EV_ENDED) {
		transfer.verb = (struct alg_bytes){ t->is_write ? "WRQ" : "RRQ", 3 };
		transfer.direction = t->is_write ? ALG_UP : ALG_DOWN;
		transfer.is_ok = t->is_done && !t->has_failed;
		transfer.code = t->error;
		t->host->transfer(t->session, &transfer);
		t->host->ending(t->session);
	}
	if (event->type == ALG_EV_ENDED || event->type == ALG_EV_EXPIRED) {
		t->hole = 0;
		t->is_flowing = false;
	}
}

static void tftp_open(void *state, const struct alg_about *about, const struct alg_host *host, struct alg_session *session)
{
	struct tftp *t = state;

	(void)about;
	t->host = host;
	t->session = session;
}

static const struct alg_class classes[] = {
	{ "data", ALG_HOLE_UDP, 1, 5000, 30000 },
};
static const struct alg_verb verbs[] = {
	{ "RRQ", "read" },
	{ "WRQ", "write" },
	{ NULL, NULL },
};

const struct alg_module tftp_module = {
	.magic = ALG_MAGIC,
	.abi_major = ALG_ABI_MAJOR,
	.abi_minor = ALG_ABI_MINOR,
	.size = sizeof(struct alg_module),
	.name = "tftp",
	.version = "1",
	.is_datagram = true,
	.default_port = 69,
	.classes = classes,
	.n_classes = sizeof(classes) / sizeof(classes[0]),
	.verbs = verbs,
	.message_max = MESSAGE_MAX,
	.state_size = sizeof(struct tftp),
	.open = tftp_open,
	.bytes = tftp_bytes,
	.event = tftp_event,
	.datum = tftp_datum,
};

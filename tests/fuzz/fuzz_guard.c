/* What guard_scan() passes is indexed inside the message, holds line ends only as folds, and passes again; a refusal
 * is never twice as long as its request and cannot be split by what the request held. */
#include "sbc/guard.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct guard_message first, second;

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static void check_inside(const struct guard_message *msg, struct span s)
{
	must(s.ptr == NULL || (s.ptr >= msg->raw.ptr && s.ptr + s.len <= msg->raw.ptr + msg->raw.len));
}

/* Line ends come as CRLF and white space follows them. */
static void check_value(struct span value)
{
	for (size_t i = 0; i < value.len; i++) {
		char c = value.ptr[i];

		must(c != '\n' || (i > 0 && value.ptr[i - 1] == '\r' && i + 1 < value.len));
		must(c != '\r' || (i + 2 < value.len && value.ptr[i + 1] == '\n' &&
				   (value.ptr[i + 2] == ' ' || value.ptr[i + 2] == '\t')));
	}
}

static void check_passed(const struct guard_message *msg)
{
	struct guard_fault fault;

	must(msg->via.len > 0 && msg->from.len > 0 && msg->to.len > 0 && msg->call_id.len > 0 && msg->cseq.len > 0);
	must(msg->is_request ? msg->request_uri.len > 0 : msg->status >= 100 && msg->status <= 699);
	must(msg->n_headers <= GUARD_HEADERS_MAX && msg->max_forwards <= 255);
	must(msg->body.ptr + msg->body.len == msg->raw.ptr + msg->raw.len);
	for (unsigned i = 0; i < msg->n_headers; i++) {
		check_inside(msg, msg->headers[i].name);
		check_inside(msg, msg->headers[i].value);
		check_value(msg->headers[i].value);
	}
	must(guard_scan(msg->raw, &second, &fault) == GUARD_OK);
	must(second.n_headers == msg->n_headers && span_eq(second.body, msg->body));
}

static void check_refusal(const struct guard_message *msg, const struct guard_fault *fault)
{
	static char out[2 * 65536];
	struct addr source;
	size_t len;

	must(addr_parse(SPAN_LIT("[2001:db8::1]:5060"), &source) == 0);
	len = guard_refuse(msg, fault, &source, out, sizeof(out));
	must(len <= 2 * msg->raw.len);
	if (len == 0)
		return;
	must((const char *)memmem(out, len, "\r\n\r\n", 4) == out + len - 4);
	for (size_t i = 0; i < len; i++)
		must(out[i] != '\n' || (i > 0 && out[i - 1] == '\r'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct guard_fault fault = { 0 };

	switch (guard_scan((struct span){ (const char *)data, size }, &first, &fault)) {
	case GUARD_OK:
		check_passed(&first);
		fault = (struct guard_fault){ 400, "Bad Request", "fuzz" };
		check_refusal(&first, &fault);
		break;
	case GUARD_REPLY:
		must(fault.code >= 400 && fault.code < 700 && fault.reason != NULL && fault.counter != NULL);
		check_refusal(&first, &fault);
		break;
	case GUARD_DROP:
		must(fault.counter != NULL);
		break;
	case GUARD_IGNORE:
		break;
	}
	return 0;
}

/* What every SIP message passes before libosip2 sees it, and before it leaves: one pass, no allocation. Checks
 * framing, the start line, limits of size and count, and the mandatory headers (reference: RFC 3261 7, 18.3, 20,
 * 25). Pure; any thread.
 *
 * On success the result indexes all headers of the message, so nothing after the guard scans for line ends again. */
#ifndef SBC_GUARD_H
#define SBC_GUARD_H

#include "core/addr.h"
#include "core/buf.h"
#include "sbc/sip_name.h"

enum { /* limits */
	GUARD_MESSAGE_MAX = 16384, GUARD_HEADERS_MAX = 128, GUARD_LINE_MAX = 2048, GUARD_FOLDS_MAX = 64, GUARD_VIA_MAX = 32,
	GUARD_ROUTES_MAX = 16, GUARD_CONTACTS_MAX = 10, GUARD_COMMAS_MAX = 32, GUARD_PARAMS_MAX = 32, GUARD_URI_MAX = 256,
	GUARD_TAG_MAX = 128, GUARD_BRANCH_MAX = 128, GUARD_CALL_ID_MAX = 256, GUARD_METHOD_MAX = 32, GUARD_BODY_MAX = 8192,
};

enum guard_verdict {
	GUARD_OK,
	GUARD_IGNORE, /* keep-alive: nothing to do */
	GUARD_DROP,   /* not worth an answer, or a response that is wrong */
	GUARD_REPLY,  /* a request to be refused with `code` */
};

struct guard_header {
	enum sip_header_id id;
	struct span name;
	struct span value; /* raw, trimmed; may contain folds (CRLF + white space) */
};

struct guard_message {
	struct span raw;           /* the message proper: bytes after the body (RFC 3261 18.3) are cut off */
	bool is_request;
	enum sip_method method;     /* SIP_UNKNOWN for others; of the CSeq for responses */
	struct span method_name;
	struct span request_uri;    /* requests */
	int status;                /* responses */
	struct span reason_phrase;
	struct guard_header headers[GUARD_HEADERS_MAX]; /* in order of appearance */
	unsigned n_headers;
	/* First value of each, valid also on GUARD_REPLY as far as the scan came (else empty): a refusal is built from them. */
	struct span via, from, to, call_id, cseq;
	uint32_t cseq_number;
	int max_forwards;           /* -1: absent */
	struct span body;
};

struct guard_fault {
	int code;                  /* 400, 413, 414, 416, 483, 501, 505, 513 */
	const char *reason;        /* static phrase for the status line and the log: "Bad Content-Length" */
	const char *counter;       /* static label for metrics: "content-length" */
};

/* A datagram. msg is filled in; fault when the verdict is GUARD_REPLY or GUARD_DROP. */
enum guard_verdict guard_scan(struct span datagram, struct guard_message *msg, struct guard_fault *fault);

/* A stateless refusal of a request from what the scan saw: copies Via (adding received/rport of `source`), From, To
 * (adding a tag that is the same for retransmissions), Call-ID, CSeq. Never longer than twice the request. Length
 * written, or 0 when there is too little to answer. */
size_t guard_refuse(const struct guard_message *msg, const struct guard_fault *fault, const struct addr *source, char *out,
		    size_t out_size);
/* The value of a request's first Via header as a response carries it: `received` and `rport` of the first element
 * say where the request came from (RFC 3261 18.2.1, RFC 3581 4), whatever they said before; further elements are
 * kept. Folds become spaces. */
void guard_put_via(struct buf *out, struct span value, const struct addr *source);

#endif

/* Cuts what one side of an RTSP connection sends into messages: interleaved frames, requests, responses (RFC 2326
 * sections 4 to 7, 10.12; RFC 7826 sections 5 and 14). Finds where a message ends and what its header fields are; what
 * they mean is for others. Framing that two readers could understand in two ways is refused, everything else is let
 * through and told. Pure. */
#ifndef ALGS_RTSP_RTSP_MESSAGE_H
#define ALGS_RTSP_RTSP_MESSAGE_H

#include "core/span.h"

enum {
	RTSP_MESSAGE_MAX = 4 + 65535,  /* the longest interleaved frame; text with its body too */
	RTSP_HEAD_MAX = 16384,
	RTSP_HEADERS_MAX = 64,
};

enum rtsp_kind {
	RTSP_FRAMES,   /* one or more whole frames "$", channel, length, octets */
	RTSP_BLANK,    /* empty lines between messages */
	RTSP_REQUEST,
	RTSP_RESPONSE,
	RTSP_HTTP,     /* of HTTP/1, a request or (with status) a response: the start of a tunnel, or not for us */
};

struct rtsp_header {
	struct span name;
	struct span value; /* without blanks around it; a folded one has its line ends inside */
	struct span line;  /* all of it, line ends included */
};

struct rtsp_message {
	enum rtsp_kind kind;
	struct span head;              /* frames and empty lines: everything */
	struct span body;              /* as much of it as is there */
	uint64_t length;               /* of the whole body, as announced; HTTP: UINT64_MAX when it ends with the connection */
	struct span method, url;       /* of a request */
	unsigned major;                /* version, 1 or 2; others are told as they stand */
	unsigned status;               /* of a response */
	struct rtsp_header headers[RTSP_HEADERS_MAX];
	unsigned n_headers;
	bool has_too_many;             /* header fields: those beyond the limit are missing above */
	bool is_odd;                   /* that, or a line that is no header field: nothing may follow from what is above */
	unsigned n_lengths;            /* fields Content-Length, all alike */
	struct span length_text;       /* the first one's digits */
};

/* 1: `in` begins with a message, ret is filled; the body may be missing in part. 0: more octets are needed, *ret_need
 * at least (0: some). ERR_PARSE: nobody can say where a message would end (or it is too long to be one). */
int rtsp_message_read(struct span in, struct rtsp_message *ret, size_t *ret_need);

/* The next field of that name (any case) from index *at on, which moves behind it; NULL: no more. */
const struct rtsp_header *rtsp_header_next(const struct rtsp_message *message, const char *name, unsigned *at);
/* The first one's value; ptr NULL when there is none. */
struct span rtsp_header_value(const struct rtsp_message *message, const char *name);

bool rtsp_is_token(struct span text); /* RFC 2326 15.1: what a method is made of; not empty */
/* Cuts the next element of a list at `separator` outside quotation marks, without blanks around it. False at the end.
 * */
bool rtsp_list_next(struct span *list, char separator, struct span *ret);
/* Without blanks and without one pair of quotation marks around it. */
struct span rtsp_unquote(struct span text);

#endif

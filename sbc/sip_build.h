/* Writes SIP messages as text. Every message is put into a fixed buffer and then read back by the guard: what we send
 * is held to the same rules as what we accept. Control thread. */
#ifndef SBC_SIP_BUILD_H
#define SBC_SIP_BUILD_H

#include "core/buf.h"
#include "core/id.h"
#include "sbc/sip_stack.h"

enum { SIP_BRANCH_MAX = ID_TEXT_MAX + 20 }; /* "z9hG4bK", an id, our mark and NUL */

/* What a reply repeats of its request (RFC 3261 8.2.6.2), byte for byte but for folds; one piece of memory. */
struct sip_echo {
	struct span via_from;
	struct span call_id_cseq;
	struct span to;            /* the value */
	struct span record_routes; /* lines; may be empty */
	bool has_to_tag;
	char text[];
};
/* The topmost Via gets received and rport of the message's source (RFC 3261 18.2.1, RFC 3581). In `arena`, or from
 * malloc when it is NULL. NULL when memory is short. */
struct sip_echo *sip_echo_new(const struct sip_msg *request, struct arena *arena);

/* to_tag is ignored when the request had one. */
void sip_build_reply(const struct sip_echo *echo, const struct sip_reply *reply, struct span to_tag, struct buf *out);

/* Where in a built request its parts are, for ACK and CANCEL. */
struct sip_layout {
	uint16_t uri_at, uri_len;   /* Request-URI */
	uint16_t head_at, to_at;    /* Via, Max-Forwards, Route and From lines | To line */
	uint16_t call_id_at;        /* Call-ID line, behind the To line */
	uint16_t end;               /* behind the CSeq line */
};
void sip_build_request(const struct sip_request *request, struct span branch, struct buf *out,
		       struct sip_layout *ret_layout);
/* ACK for a non-2xx final (17.1.1.3) or CANCEL (9.1) of the request whose bytes and layout are given. `to` is the To
 * value to use; empty: the request's own. headers: ready lines or empty. */
struct sip_derived {
	const char *bytes;
	const struct sip_layout *layout;
	enum sip_method method;
	uint32_t cseq;
	struct span to;
	struct span headers;
};
void sip_build_derived(const struct sip_derived *from, struct buf *out);

#endif

/* A parsed SIP message: what the guard indexed, read strictly (sip_uri.h, sip_via_parse), with libosip2 as second
 * opinion (sip_osip.h; no other file uses it). All spans point into the message's arena; the message lives until the
 * handler that received it returns, so whoever keeps something copies it. Control thread. */
#ifndef SBC_SIP_MSG_H
#define SBC_SIP_MSG_H

#include "core/addr.h"
#include "core/config.h"
#include "sbc/guard.h"
#include "sbc/sip_uri.h"

/* Where a message came from or goes to: the socket (realm, listener), our address on it and the far end's. Plain
 * data. */
struct sip_flow {
	uint16_t realm;    /* index in the configuration */
	uint16_t listener; /* index in the realm's listens */
	enum sip_proto proto;
	struct addr local;
	struct addr remote;
};

struct sip_header {
	enum sip_header_id id;
	struct span name;
	struct span value; /* unfolded, trimmed */
};

struct sip_via {
	struct span transport; /* "UDP" */
	struct span host;
	uint16_t port;         /* 0: absent */
	struct span branch;    /* empty: absent */
	bool has_magic_cookie; /* branch begins with z9hG4bK (RFC 3261 8.1.1.7) */
	bool has_rport;
	struct span sent_by;   /* host[:port] as it stands */
};

struct sip_msg {
	struct arena *arena;
	struct sip_flow flow;
	struct span raw;         /* a copy, in which spaces stand for the line ends of folds */
	bool is_request;
	enum sip_method method;  /* of the request, or of the CSeq */
	struct span method_name;
	struct span request_uri_text;
	struct sip_uri request_uri; /* parsed strictly; scheme OTHER when it is none of ours */
	int status;
	struct span reason_phrase;
	const struct sip_header *headers;
	unsigned n_headers;
	struct sip_via via;       /* topmost */
	unsigned n_vias;
	struct sip_name_addr from, to;
	struct span call_id;
	uint32_t cseq;
	int max_forwards;         /* -1: absent */
	struct sip_name_addr contact; /* first; uri empty when absent, text "*" for the star form */
	unsigned n_contacts;
	struct sip_name_addr record_routes[GUARD_ROUTES_MAX]; /* in order of appearance */
	unsigned n_record_routes;
	struct sip_name_addr routes[GUARD_ROUTES_MAX];
	unsigned n_routes;
	struct span content_type; /* whole value, or empty */
	struct span body;
};

/* Once, before the first message and before any thread starts. */
int sip_msg_init(void);

/* One element of a Via header. 0 or ERR_PARSE: also when branch is there twice, is longer than GUARD_BRANCH_MAX or
 * is nothing but the magic cookie. */
int sip_via_parse(struct span element, struct sip_via *ret);

/* Parses what the guard has passed. The message and all it needs live in `arena`. 0, or an error and a fault to
 * refuse it with (code 400, 415, 416, 501, 513; for a response the fault only names the counter). Memory at its cap
 * gives ERR_LIMIT and code 513. Not refused here, because it takes state or policy: a From without tag, Max-Forwards
 * 0, unknown methods and extensions, unsafe escapes in users, URIs of other schemes elsewhere than in the
 * Request-URI. */
int sip_msg_parse(struct arena *arena, const struct guard_message *guarded, const struct sip_flow *flow,
		  struct sip_msg **ret, struct guard_fault *ret_fault);

/* First header of that id, or NULL. */
const struct sip_header *sip_msg_header(const struct sip_msg *msg, enum sip_header_id id);
/* True when any header of that id lists the token (case-insensitive): Supported, Require, Allow. */
bool sip_msg_has_token(const struct sip_msg *msg, enum sip_header_id id, const char *token);

#endif

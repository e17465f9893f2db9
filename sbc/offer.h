/* Session descriptions (RFC 8866, 3264) for a gateway that anchors media: reads what it must understand and rewrites only
 * addresses, ports, o= and a=rtcp; ICE attributes (RFC 8839) go as a set, and so do a=altc and a=source-filter, which name
 * addresses of the far side; u=, e= and p= go, s= and i= that name a host too; every other byte stays. Tolerant of LF-only
 * lines and a missing final line end. Pure. */
#ifndef SBC_OFFER_H
#define SBC_OFFER_H

#include "core/addr.h"
#include "sbc/mime.h"

enum { OFFER_MEDIA_MAX = 8, OFFER_FORMATS_MAX = 32, OFFER_LINES_MAX = 64 /* a= per m= */, OFFER_BYTES_MAX = 8192 };

enum offer_direction { OFFER_SENDRECV, OFFER_SENDONLY, OFFER_RECVONLY, OFFER_INACTIVE };

struct offer_media {
	struct span lines;         /* from "m=" up to the next m= or the end */
	struct span kind;          /* "audio" */
	struct span proto;         /* "RTP/AVP" */
	uint16_t port;             /* 0: disabled or rejected */
	struct span formats;       /* as they stand, without the leading space */
	struct addr rtp;           /* effective c= and port; family 0 when port is 0 */
	struct addr rtcp;          /* a=rtcp, or RTP port + 1; family 0 when port is 0, 65535 or not RTP */
	bool has_rtcp_attr;
	bool is_rtp;               /* proto contains RTP/ */
	bool has_rtcp_mux;
	uint32_t bandwidth_bps;    /* b=AS or b=TIAS, the larger; media, else session; 0: not said */
	uint64_t payloads[2];      /* of numeric formats when is_rtp */
	enum offer_direction direction; /* effective: media, else session, else sendrecv */
	bool is_held;              /* c= is 0.0.0.0 or :: */
	bool has_own_connection;   /* c= at media level */
};

struct offer {
	struct span body;
	struct span session;       /* everything before the first m= */
	struct span origin;        /* value of o= */
	struct offer_media media[OFFER_MEDIA_MAX];
	unsigned n_media;
};

struct offer_error {
	const char *text;  /* static: "c= is not an address" */
	unsigned line;     /* from 1 */
};
/* 0 or ERR_PARSE (answer 488 or 400), ERR_LIMIT over the limits above, ERR_UNSUPPORTED for what is well-formed but not
 * relayable (host names, port counts above 1, multicast). Port -1, 65536, formats over 127 for RTP/AVP are ERR_PARSE.
 * Private and loopback addresses pass: whether the far side may name them is the realm's policy. */
int offer_parse(struct span body, struct offer *ret, struct offer_error *ret_error);

/* How the other leg shall see it. */
struct offer_patch_media {
	struct addr rtp;           /* our address and port; family 0: the line is rejected or disabled (port 0) */
	struct addr rtcp;
};
struct offer_patch {
	uint64_t session_id;       /* of this leg, constant */
	uint64_t version;          /* the caller raises it when the rest of the body changed */
	struct addr address;       /* for o= and the session-level c= */
	struct offer_patch_media media[OFFER_MEDIA_MAX];
};
struct buf;
/* o= becomes "- <id> <version> IN IP4|IP6 <address>"; s= becomes "-" when it named a host. Held lines stay held (0.0.0.0 or ::
 * in the other family's form). A line whose address differs from the session's gets an own c=. A line that is disabled in `in`
 * stays so. 0 or ERR_LIMIT when `out` is full. */
int offer_rewrite(const struct offer *in, const struct offer_patch *patch, struct buf *out);

#endif

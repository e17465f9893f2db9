/* The row from which a call goes on after a restart: what it holds, as JSON text and back. Pure.
 *
 * A row has a format number; another one is refused, as is every member that is unknown, missing, too long, or of which no call
 * could have come: the database may be damaged, of another version, or edited by hand. What a row cannot show (that an address is
 * ours, that a port is free) is for call_resume.c.
 *
 * Left out, because it can be had again or is not worth a write per call: session descriptions (a mark tells whether a new one
 * differs), the message ladder, who is trusted. */
#ifndef SBC_CALL_ROW_H
#define SBC_CALL_ROW_H

#include "core/arena.h"
#include "core/buf.h"
#include "media-relay/media_restore.h"

enum {
	CALL_ROW_FORMAT = 2,
	CALL_ROW_BYTES_MAX = 49152, /* one does not come near */
	CALL_ROW_STEPS_MAX = 8,     /* of the routing decision: the first ones tell most */
};

struct call_row_leg {
	struct span realm, peer;
	struct span call_id, local_tag, remote_tag;
	struct span local, remote;  /* as in struct dialog */
	struct span request_uri, target, strict_target;
	struct span routes;         /* ready Route lines */
	struct span user_agent;
	struct addr at, to, source; /* our listener, the next hop, struct dialog's source */
	uint64_t local_cseq;
	uint64_t next_cseq;         /* lowest that the far end may use; 0: any */
	uint64_t sdp_id, sdp_version;
	uint64_t sdp_mark;          /* of the description sent last; 0: none */
};

struct call_row_stream {
	struct span kind, format;
	uint64_t was_open, is_open;
	struct media_saved media;   /* when open */
};

struct call_row_step {
	uint64_t after_ms;          /* the start of the call */
	struct span rule, text;
};

struct call_row {
	uint64_t revision;
	uint64_t started_ms, ringing_ms, answered_ms;
	uint64_t status;
	uint64_t is_held;
	uint64_t uas_cseq, uac_cseq; /* of the first INVITE */
	struct span from_uri, to_uri;
	struct call_row_leg leg[2];
	struct call_row_stream streams[MEDIA_STREAMS_MAX];
	unsigned n_streams;
	struct call_row_step steps[CALL_ROW_STEPS_MAX];
	unsigned n_steps;
};

void call_row_write(const struct call_row *row, struct buf *out);
/* Texts are copied into the arena. 0, ERR_UNSUPPORTED for another format, ERR_PARSE, or ERR_LIMIT when the arena is full; then
 * *ret_why (never NULL) says what is wrong, in static words. */
int call_row_read(struct span json, struct arena *arena, struct call_row *ret, const char **ret_why);

#endif

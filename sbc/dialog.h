/* One SIP dialog (RFC 3261 section 12), confirmed or early, as seen by the gateway: identity, CSeq both ways, route set, remote
 * target, and the flow its requests take. Strings live in the owner's arena. Control thread; no input or output. */
#ifndef SBC_DIALOG_H
#define SBC_DIALOG_H

#include "core/arena.h"
#include "core/hash.h"
#include "core/id.h"
#include "sbc/sip_stack.h"

struct dialog {
	struct hash_node node;       /* in the table of dialogs by local tag, owned by b2bua.c */
	void *owner;                 /* who gets its requests */
	struct arena *arena;
	char local_tag[ID_TEXT_MAX]; /* ours, unique */
	struct span remote_tag;      /* empty until the far end chose one */
	struct span call_id;
	struct span local, remote;   /* From/To values without tags, in the form we send: "<sip:alice@192.0.2.10>" */
	struct span remote_target;   /* URI of the far end's Contact, in target_text */
	char target_text[GUARD_URI_MAX]; /* a buffer of its own: refreshes must not eat the arena */
	struct span routes;          /* ready Route lines, without a strict first one and its end, or empty */
	struct span strict_target;   /* Request-URI when the first route is a strict router (no ;lr), else empty */
	uint32_t local_cseq;
	uint32_t remote_cseq;
	bool has_remote_cseq;
	bool is_symmetric;           /* always answer to where requests come from (NAT) */
	struct sip_flow flow;        /* remote: where the next request goes */
	struct addr source;          /* where the message came from that made the dialog */
};

/* As UAS, from the INVITE: our tag is minted; Contact and Record-Route are taken. 0 or ERR_LIMIT. */
int dialog_init_uas(struct dialog *dialog, struct arena *arena, const struct sip_msg *invite, bool is_symmetric);
/* As UAC, before the INVITE is sent: Call-ID and tag are minted. local and remote are header values without tags, target the
 * Request-URI. 0 or ERR_LIMIT. */
struct dialog_parties {
	struct span local, remote, target;
	bool is_symmetric;
};
int dialog_init_uac(struct dialog *dialog, struct arena *arena, const struct sip_flow *flow,
		    const struct dialog_parties *parties);
/* From a 2xx to an INVITE of ours that no call wants: enough of a dialog to acknowledge and end it. 0 or ERR_LIMIT. */
int dialog_init_unwanted(struct dialog *dialog, struct arena *arena, const struct sip_msg *response);
/* An 18x with a To tag came, or a 2xx, without one from peers of RFC 2543: sets remote tag, target and route set (RFC 3261
 * 12.1.2, 13.2.2.4). 0 or ERR_LIMIT. */
int dialog_learn(struct dialog *dialog, const struct sip_msg *response);
/* A target refresh (re-INVITE, UPDATE, or their 2xx) may bring a new Contact; routes stay (RFC 3261 12.2). */
int dialog_refresh(struct dialog *dialog, const struct sip_msg *msg);
/* True when the request is of this dialog: Call-ID and remote tag agree. */
bool dialog_owns(const struct dialog *dialog, const struct sip_msg *request);
/* True when messages of this dialog may come from that address: it began there, or our requests go there. */
bool dialog_knows(const struct dialog *dialog, const struct addr *source);
/* Checks and takes the CSeq of a request from the far end. 0, or ERR_STATE when it is not above the last (500). */
int dialog_accept_cseq(struct dialog *dialog, const struct sip_msg *request);

enum { DIALOG_ROUTES_MAX = 4096 };

/* Fills in what a request inside the dialog needs; CSeq is the next one, or `cseq` when not 0 (ACK). text gives room for From
 * and To with their tags, and for the routes behind a strict router. 0 or ERR_LIMIT. */
struct dialog_text {
	char from[512], to[512];
	char routes[DIALOG_ROUTES_MAX + GUARD_URI_MAX + 16];
};
int dialog_request(struct dialog *dialog, enum sip_method method, uint32_t cseq, struct dialog_text *text,
		   struct sip_request *ret);

#endif

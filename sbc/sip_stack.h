/* The SIP transaction layer: RFC 3261 section 17 with RFC 6026, over transport.h. Receives, guards, parses, matches; keeps the
 * four transaction machines with timers A to M; retransmits, absorbs duplicates, refuses merged requests (482), answers CANCEL, sends
 * 100 Trying, ACKs non-2xx finals, retransmits 2xx until ACK. Above it sits the transaction user (b2bua.c). Control thread.
 *
 * No libosip2 type crosses this header. Messages handed to handlers live until the handler returns. */
#ifndef SBC_SIP_STACK_H
#define SBC_SIP_STACK_H

#include "core/config.h"
#include "sbc/sip_msg.h"

struct loop;
struct transport;
struct sip_stack;
struct server_txn;
struct client_txn;

enum { SIP_MSG_OUT_MAX = 16384 }; /* bytes of a message we send */

/* What sip_stack tells its user. */
struct sip_user {
	void *arg;
	/* A new request other than ACK and CANCEL. The user must reply to it, now or later; who replies later must bind itself
	 * with server_txn_bind(), to learn when the transaction ends. INVITE has been answered 100 already. A non-INVITE request
	 * that stays without a reply is dropped after 128*T1, when nobody waits any more (RFC 4320 forbids a late 408). */
	void (*on_request)(void *arg, struct server_txn *txn, const struct sip_msg *request);
	/* An ACK that matches no transaction's non-2xx final: for a 2xx, or stray. Never answer it. */
	void (*on_ack)(void *arg, const struct sip_msg *ack);
	/* A 2xx to INVITE that matches no transaction (late copy), or one that was unbound: ACK it by dialog. Other stray
	 * responses are dropped. is_answer: its Via shows that this process sent a request; without that it may be to one of
	 * the process before, or to none. */
	void (*on_stray_2xx)(void *arg, const struct sip_msg *response, bool is_answer);
	/* Every message in and out that belongs to a transaction or dialog, for the message ladder; may be NULL.
	 * call_id as on the wire. */
	void (*on_trace)(void *arg, bool is_out, const struct sip_flow *flow, struct span call_id, struct span bytes);
};

int sip_stack_new(struct loop *loop, const struct config *config, const struct sip_user *user, char *error_text,
		  size_t error_size, struct sip_stack **ret); /* makes the transport */
/* Its timers and limits, and what is known of realms and peers. Sockets stay as they are. */
void sip_stack_reload(struct sip_stack *stack, const struct config *config);
void sip_stack_free(struct sip_stack *stack); /* drops every transaction without telling its user */
struct transport *sip_stack_transport(struct sip_stack *stack);
unsigned sip_stack_transactions(const struct sip_stack *stack);
/* True when one of the request's Via branches was made by this process: the request has been here before. */
bool sip_stack_has_looped(const struct sip_stack *stack, const struct sip_msg *request);

/* ---- server transactions ------------------------------------------------------------------------------------------------- */

enum server_event {
	SERVER_CANCELLED, /* INVITE: a matching CANCEL came and was answered 200; `msg` is the CANCEL; reply 487 */
	SERVER_NO_ACK,    /* INVITE: no ACK within 64*T1 after the final response (Timer H, or RFC 3261 13.3.1.4) */
	SERVER_ENDED,     /* the transaction is gone after this call; msg is NULL */
};
typedef void server_event_fn(void *arg, struct server_txn *txn, enum server_event event, const struct sip_msg *msg);
/* fn NULL unbinds: no further events, no further replies; the machine runs to its end. */
void server_txn_bind(struct server_txn *txn, server_event_fn *fn, void *arg);

struct sip_reply {
	int status;
	struct span reason;       /* empty: the standard phrase */
	struct span to_tag;       /* for statuses over 100; empty: a tag is minted once per transaction */
	struct span contact;      /* URI text without <>; empty: no Contact */
	bool echo_record_route;   /* copy the request's Record-Route (dialog-forming responses) */
	struct span headers;      /* ready header lines, each with CRLF; or empty */
	struct span content_type; /* with body */
	struct span body;
};
/* Provisional or final. Via, From, To, Call-ID, CSeq are the request's own bytes. A 2xx to INVITE is retransmitted until
 * server_txn_acked(). ERR_STATE after a final, ERR_LIMIT when it does not fit, ERR_PARSE when it fails our own guard. */
int server_txn_reply(struct server_txn *txn, const struct sip_reply *reply);
int server_txn_reply_simple(struct server_txn *txn, int status);
/* The To tag of every reply over 100 that names none, and of the answer to a CANCEL (RFC 3261 9.2: the same). Without this call
 * one is minted. 0 or ERR_LIMIT. */
int server_txn_set_tag(struct server_txn *txn, struct span to_tag);
/* The user saw the ACK of its 2xx. */
void server_txn_acked(struct server_txn *txn);
bool server_txn_has_final(const struct server_txn *txn);
enum sip_method server_txn_method(const struct server_txn *txn);

/* ---- client transactions ------------------------------------------------------------------------------------------------- */

struct sip_request {           /* spans are borrowed for the call */
	struct span method;
	struct span request_uri;
	struct sip_flow flow;
	struct span from, to;      /* complete header values, tags included */
	struct span call_id;
	uint32_t cseq;
	struct span contact;       /* URI text without <>; empty: none */
	unsigned max_forwards;
	struct span routes;        /* complete Route header lines with CRLF, or empty */
	struct span headers;       /* other ready lines with CRLF, or empty */
	struct span content_type;
	struct span body;
};

enum client_event {
	CLIENT_RESPONSE, /* msg: provisional (not 100), final, and for INVITE every copy of a 2xx and every further 2xx */
	CLIENT_TIMEOUT,  /* Timer B or F, msg NULL: treat as 408; no further event but CLIENT_ENDED */
	CLIENT_TRANSPORT_ERROR, /* could not be sent, msg NULL: treat as 503 */
	CLIENT_ENDED,    /* the transaction is gone after this call, msg NULL */
};
typedef void client_event_fn(void *arg, struct client_txn *txn, enum client_event event, const struct sip_msg *msg);

/* Sends the request (Via with a fresh branch is added) and calls fn until CLIENT_ENDED; never from inside this call. */
int client_txn_new(struct sip_stack *stack, const struct sip_request *request, client_event_fn *fn, void *arg,
		   struct client_txn **ret);
/* Cancels a pending INVITE (RFC 3261 9.1): at once when a provisional came, else as soon as one comes. headers: ready lines
 * such as Reason, or empty. The final response still arrives; when none does within 64*T1 the user gets CLIENT_TIMEOUT. */
void client_txn_cancel(struct client_txn *txn, struct span headers);
/* No further events; the machine runs to its end, which for an INVITE without a final response begins with CANCEL. */
void client_txn_unbind(struct client_txn *txn);
/* ACK for a 2xx, outside any transaction (a new branch each time). */
int sip_stack_ack(struct sip_stack *stack, const struct sip_request *ack);

#endif

/* Requests inside the dialogs of a call, handed from one leg to the other; see exchange.c. The first INVITE is one, too. Control
 * thread. */
#ifndef SBC_EXCHANGE_H
#define SBC_EXCHANGE_H

#include "core/list.h"
#include "media-relay/media.h"
#include "sbc/sip_stack.h"

struct call;

enum offer_phase {
	OFFER_IDLE,
	OFFER_FORWARDED, /* the offer of the exchange's near side is with the far side */
	OFFER_REVERSED,  /* the far side's 2xx brought the offer; the near side's ACK brings the answer */
	OFFER_SETTLED,
};

/* One request handed across: server transaction on the near side, client transaction on the far side. */
struct exchange {
	struct list node;
	struct call *call;
	enum media_side near;
	enum sip_method method;
	struct server_txn *uas;
	struct client_txn *uac;
	uint32_t uas_cseq, uac_cseq;
	bool is_answered;        /* a final response went to the near side */
	bool awaits_ack;         /* INVITE: 2xx sent, ACK of the near side missing */
	bool is_acked_far;       /* INVITE: the far side's 2xx was acknowledged, so copies of it are too */
	bool is_reversed;        /* the far side made the offer: our ACK to it carries the answer */
	enum offer_phase offer_phase;
	struct span offer;       /* heap: the pending offer, as received */
	uint8_t opened;          /* bit per stream that this offer opened */
};

void exchange_request(struct call *call, enum media_side near, struct server_txn *txn, const struct sip_msg *request);
/* An ACK on the near side; true when it was for this exchange. */
bool exchange_ack(struct exchange *x, const struct sip_msg *ack);
/* ACK for the far side's 2xx, also for copies of it. After a reversed offer it carries the answer, so the first one waits for the near
 * side's ACK. */
void exchange_ack_far(struct exchange *x);
/* Before a BYE to `side`: its 2xx whose ACK waits for an answer that will not come any more are acknowledged without one. */
void exchange_ack_waiting(struct call *call, enum media_side side);
void exchange_abort_all(struct call *call); /* 487 to whoever waits; the call is ending */
void exchange_clear(struct exchange *x);    /* frees what it holds */

#endif

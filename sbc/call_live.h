/* Calls over a restart: the live row that is written (call_live.c), its form (call_row.h), and the way back (call_resume.c, called by
 * b2bua_resume()). Control thread. */
#ifndef SBC_CALL_LIVE_H
#define SBC_CALL_LIVE_H

#include "core/span.h"

struct b2bua;
struct call;
struct leg;
struct sip_msg;

enum { CALL_CSEQ_GAP = 1000 }; /* that a restart leaves in our CSeq */

void call_live_init(struct call *call);
void call_save_live(struct call *call); /* now; nothing before the answer and after the end */
void call_save_soon(struct call *call); /* within half a second, with what else changes until then */
void call_note_cseq(struct call *call, const struct leg *leg); /* a request went out on that leg */
uint64_t call_sdp_mark(struct span sdp); /* never 0 */

/* Before an INVITE from nothing becomes a call: ends a resumed call whose answer it shows to be lost. */
void call_resume_repeated(struct b2bua *b2bua, const struct sip_msg *invite);

#endif

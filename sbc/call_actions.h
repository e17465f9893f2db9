/* What the rows of call.c do: call_answer.c until the call is up, call_ending.c to end it. Nobody else includes this. An action returns
 * the further event that its outcome causes, or CALL_NOTHING. */
#ifndef SBC_CALL_ACTIONS_H
#define SBC_CALL_ACTIONS_H

#include "core/bus.h"
#include "sbc/call.h"

typedef enum call_event_type call_action_fn(struct call *call, const struct call_event *event);

/* call_answer.c */
call_action_fn call_do_progress, call_do_answer, call_do_reject, call_do_retry, call_do_up, call_do_cancel_b, call_do_refuse_487,
	call_do_refuse_408, call_do_refuse_480, call_do_refuse_sdp;
/* B's 2xx makes its dialog one that needs a BYE. 0 or a negative error. */
int call_confirm_b(struct call *call, const struct sip_msg *response);

/* call_ending.c */
call_action_fn call_do_bye_a, call_do_bye_b, call_do_bye_other, call_do_answer_bye, call_do_crossing_bye, call_do_refuse_bye,
	call_do_release_late, call_do_ack_ended, call_do_check, call_do_finish_cancel, call_do_finish_ring, call_do_finish_hangup,
	call_do_finish_bye, call_do_finish_no_ack, call_do_finish_sdp, call_do_finish_media, call_do_finish_duration,
	call_do_finish_lost, call_do_finish_restart;

/* call.c */
void call_publish(struct call *call, enum bus_type type, uint32_t duration_ms);

#endif

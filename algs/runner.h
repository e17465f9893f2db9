/* Runs a module over a text transcript, without network: what `postern alg run` and the tests of every ALG do. The same transcript is
 * run as written, once more split at every octet, and once more with everything that may be coalesced; all must agree.
 *
 * A transcript is lines; what a line begins with says what it is:
 *
 *   # comment
 *   set client 192.0.2.10:40000        before the first message: about the session. Also: server ADDR, gateway-client ADDR and
 *                                      gateway-server ADDR (translated), tls pass|refuse, tls-ports A-B, active yes|no, port N (the next
 *                                      own port that is handed out; rises by 2)
 *   rule deny verb=STOR code=550       a rule of the profile, in order: allow|deny, selector=value..., code=, text="...", name=,
 *                                      max-bytes=
 *   C: PORT 192,0,2,10,200,10          the client sends this, and CR LF; escapes \\r \\n \\t \\xHH \\\\, and \\ at the end: no CR LF
 *   S: 200 ok                          the server likewise
 *   C<<EOT ... EOT                     several lines as they stand, with CR LF each, or `C<<-EOT` with LF
 *   >S PORT 198,51,100,1,80,0          expected at the server next; >C at the client. Without: whatever was sent must have come unchanged
 *                                      at the other side
 *   drop                               the message just sent must not arrive
 *   hole 1 reserved|armed|freed        expected state of the n-th hole of the session, with `at ADDR` and `public C|S ADDR` if given
 *   holes 0                            expected number of holes that are reserved or armed
 *   opened 1 / ended 1 [bytes C S] / expired 1 / timer N / committed 1     events from outside
 *   sleep 1500                         milliseconds pass
 *   verdict deny STOR rule-1           the last question to the policy
 *   transfer user=... verb=... path=... the last record
 *   bypass                             expected: the session is bypassed
 *   C! / S!                            that side ends
 */
#ifndef ALGS_RUNNER_H
#define ALGS_RUNNER_H

#include "algs/alg.h"
#include "core/span.h"

struct runner_report {
	unsigned line;       /* of the first thing that is not as expected; 0: all is well */
	const char *pass;    /* "as written", "split at 17", "coalesced" */
	char text[400];
	unsigned n_checks;   /* expectations that held, all passes together */
};
/* 0 when all is as expected; ERR_PARSE for a faulty transcript, ERR_STATE for a failed expectation; ret is filled in both. */
int runner_run(const struct alg_module *module, struct span transcript, struct runner_report *ret);
/* Mutates the transcript's messages for so many rounds from that seed: only faults that the sanitizers or the flow's own checks see
 * matter. 0, or ERR_STATE with the round in ret->text. */
int runner_fuzz(const struct alg_module *module, struct span transcript, uint64_t seed, unsigned rounds, struct runner_report *ret);

#endif

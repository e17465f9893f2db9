/* Runs a module over a text transcript, without network: what `postern alg run` and the tests of every ALG do. The same transcript is
 * run as written, with pinholes that the kernel confirms late, with every message cut in two at each of its octets, octet by octet, and
 * with messages of the same side in one piece; all must agree. Datagrams are neither cut nor joined.
 *
 * A transcript is lines; the first word says what a line is. ADDR is an address with port, N a hole of the session from 1 on.
 *
 *   # comment
 *
 * About the session, before the first message:
 *   set client ADDR | set server ADDR              192.0.2.10:40000 and 10.0.0.5 with the protocol's port by default
 *   set gateway-client ADDR                        whom the client talks to, when that is the gateway; gateway-server ADDR likewise
 *   set media-client ADDR                          own address for media of the client (its port does not matter), when it is not
 *                                                  gateway-client; media-server ADDR likewise
 *   set port N                                     next own port that is handed out, 40000 by default; rises by 2
 *   set tls refuse|pass|terminate|implicit | set tls-ports A-B | set tls-server yes|no | set tls-required nothing|control|data
 *   set active yes|no | set server-data as-client|passive | set idle MS
 *   set commits later                              pinholes are there only after `committed N`
 *   rule allow|deny [verb=A,B class=.. transport=.. user=.. mime=.. target=REGEX client=PREFIX.. server=PREFIX.. magic=HEX
 *        direction=up|down size-above=N size-below=N] [name=.. code=N text="..." max-bytes=N bytes-per-s=N max-per-minute=N observe=yes]
 *                                                  rules of the profile in their order; `rule default allow|deny` (allow when absent)
 *
 * What happens:
 *   C: PORT 192,0,2,10,200,10      the client sends this and CR LF (a datagram: only this). Escapes: \r \n \t \\ \xHH, and \ at the end:
 *                                  no CR LF
 *   S: 200 ok                      the server likewise
 *   C<<EOT ... EOT                 the lines between as they stand, without escapes, CR LF after each; C<<-EOT: LF
 *   C! | S!                        that side ends
 *   C2: S2: C2<<EOT C2! S2!        the same on a second channel, C3: and so on on a third; of the same client (from other ports) unless
 *                                  `set client-2 ADDR`, `set client-3 ADDR`
 *   opened N                       the pinhole's first connection or packet; it has to be armed
 *   ended N [bytes C S]            its data has ended, with so many octets from the client and from the server
 *   expired N | limit N REASON (insecure and unreachable are words of alg.h) | committed N [failed]
 *   timer N                        timer N of the module runs out, which has to run
 *   datum N C|S more|last|stray OCTETS   a datagram of that side in the hole of datagrams, and what the module has to say to it
 *   sleep MS                       time passes: timers run out, and pinholes that nobody used expire
 *
 * What is expected, after what it follows from; about the channel of the last message or end:
 *   >S PORT 198,51,100,1,80,0      this comes out at the server, written as for C:, or >S<<EOT. >C: at the client. Without any for a message's
 *                                  direction the message comes out as it was; what is not expected must not come. >C2, >S2 at
 *                                  another channel's
 *   drop                           the message just sent does not come out
 *   waits                          nor does this one, yet
 *   hole N reserved|armed|opened|ended|expired|freed [at ADDR] [public C|S ADDR] [rtcp C|S PORT] [class NAME] [paused yes|no]
 *        [raw yes|no] [protected yes|no] [peer ADDR] [dialled no|none|C|S|CS]
 *                                  peer: the other end of one that is dialled; no: others are to connect, none: not yet
 *   holes N                        so many are reserved, armed or opened
 *   verdict allow|deny VERB RULE   the last question to the policy
 *   transfer [user=.. verb=.. path=.. direction=up|down|none code=N ok=yes|no hole=N octets=C,S]    the last record
 *   transfers N                    so many records up to here
 *   note TEXT                      the last note has this text in it
 *   tls                            TLS has begun on the channels. It does so by itself, once all that was said in clear has left, and only
 *                                  where it is expected
 *   ending | bypass | reset        the protocol's end was seen; the session is bypassed; it ends at once (the other channel's end may
 *                                  be why). Neither of the latter two may
 *                                  happen without being expected
 */
#ifndef ALGS_RUNNER_H
#define ALGS_RUNNER_H

#include "algs/alg.h"
#include "core/span.h"

struct runner_report {
	unsigned line;       /* of the first thing that is not as expected; 0: all is well */
	char pass[40];       /* "as written", "cut at 17", "octet by octet", "joined", "late commits" */
	char text[400];
	unsigned n_checks;   /* expectations that held, all passes together */
	unsigned n_passes;
};
/* 0 when all is as expected; ERR_PARSE for a faulty transcript, ERR_STATE for a failed expectation, -ENOMEM, ERR_UNSUPPORTED for a module
 * of another version; ret is filled always. */
int runner_run(const struct alg_module *module, struct span transcript, struct runner_report *ret);
/* Changes the transcript's messages and events at random for so many rounds: only faults that the sanitizers or the flow's own checks
 * see matter. The same seed does the same. 0, or ERR_STATE with the round in ret->text, or as above. */
int runner_fuzz(const struct alg_module *module, struct span transcript, uint64_t seed, unsigned rounds, struct runner_report *ret);

#endif

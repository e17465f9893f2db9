/* Modules that do what they are told by the messages themselves: a line is a list of commands between semicolons,
 * and the message. So tests say in their input what the module does with it, good and bad. toy_alg.c has the
 * commands. */
#ifndef TESTS_MOCK_TOY_ALG_H
#define TESTS_MOCK_TOY_ALG_H

#include "algs/alg.h"

enum { TOY_MESSAGE_MAX = 256, TOY_HOLES_MAX = 8 /* of class 0 */ };

extern const struct alg_module postern_alg_v1;      /* lines; also the symbol of a shared object */
extern const struct alg_module toy_datagram_module; /* a datagram is a line without its end */
extern const struct alg_module toy_probed_module;   /* the first side to speak must begin with "toy" */

/* Of the session opened last. */
extern const struct alg_host *toy_host;
extern struct alg_session *toy_session;
extern unsigned toy_n_calls, toy_n_ends, toy_n_open; /* of bytes(); of those with is_end; sessions that were opened and not closed */

#endif

/* Inside the host: data that the kernel carries, over a restart of this process. A row is stored while it may flow; the next process
 * opens the same pinholes again, which the kernel still has, watches them to their end and records the transfers. Control channels
 * have ended with their process, so nobody else will ask about it. */
#ifndef ALGS_RESUME_H
#define ALGS_RESUME_H

#include "algs/engine.h"

struct hole;

void resume_put(struct hole *hole);       /* the kernel has it, or more is known of it: stores the row under hole->record_id */
void resume_forget(struct hole *hole);    /* it has ended, and there is no record that would take the row with it */
void resume_sweep(struct alg_host_engine *engine, uint64_t now_ms);
void resume_end(struct alg_host_engine *engine); /* closes what is left */

#endif

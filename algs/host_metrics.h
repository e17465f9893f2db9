/* Metrics of the ALG host. Control thread updates, any thread reads. */
#ifndef ALGS_HOST_METRICS_H
#define ALGS_HOST_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "algs/alg.h"

struct alg_host_engine;
struct session;

void host_metrics_register(void); /* once per process; later calls do nothing */
/* Where the counts of the ALG of that name are; they are shown from the first call on, to the end of the process. */
unsigned host_metrics_alg(const char *name);
void host_metrics_began(const struct session *session);
void host_metrics_ended(const struct session *session);
void host_metrics_refused(int err); /* a session, with ERR_DENIED or ERR_LIMIT */
void host_metrics_hole_refused(int err); /* ALG_ERR_* */
void host_metrics_not_met(int err); /* ALG_ERR_*, of two sessions */
void host_metrics_listeners(const struct alg_host_engine *engine);
void host_metrics_transfer(uint64_t bytes, const char *path, bool is_ok);
void host_metrics_tls(enum alg_side side, bool is_ok); /* a handshake with that side */
void host_metrics_sweep(const struct alg_host_engine *engine); /* gauges */

#endif

/* The process that keeps a worker running as long as posternd is there. */
#ifndef PINHOLE_HELPER_SUPERVISOR_H
#define PINHOLE_HELPER_SUPERVISOR_H

#include "pinhole/helper_worker.h"

/* Receives the limits into conf->limits, up to the seal. 0, ERR_CLOSED, or another error: what is not limits, or not allowed
 * ones, is not forgiven here, since it comes from a gateway that has just been started. */
int helper_supervisor_receive(struct helper_conf *conf);
/* Starts workers until posternd is gone (0) or the last one could not be started (an error). */
int helper_supervisor_run(const struct helper_conf *conf);

#endif

/* What the helper's two processes give up. The supervisor keeps what a new worker needs to load programs and mount a bpffs;
 * the worker, once its back ends are open, keeps what changes packet paths and low ports, and can no longer start programs,
 * write files or gain anything back. Linux capabilities, no_new_privs, seccomp. */
#ifndef PINHOLE_SANDBOX_H
#define PINHOLE_SANDBOX_H

#include <stdbool.h>

/* At the start of the program: resource limits, a clean environment, unlikely to be chosen when memory runs out, no more
 * capabilities than opening the back ends takes. 0 or a negative errno; being without privileges is no error. */
int sandbox_supervisor(void);
/* From here on the process keeps the worker's capabilities and system calls only; any other call ends it with SIGSYS. 0 or a
 * negative errno: then the process must end. */
int sandbox_worker(void);
/* False in builds with sanitizers: their run-times make calls of their own, so these do without the filter of system calls. */
bool sandbox_has_filter(void);

#endif

/* Starting postern-pinholed while posternd is still root, and telling it its limits. */
#ifndef DAEMON_HELPER_H
#define DAEMON_HELPER_H

#include <sys/types.h>

#include "pinhole/pinhole.h"
#include "pinhole/wire.h"

struct config;

enum { HELPER_PINHOLES_MAX = 1 << 18 };

struct helper {
	pid_t pid;          /* 0: none, or ended */
	int channel;        /* for pinholes_new(); -1: none */
	const char *reason; /* static; why there is none */
	struct pinholes *pinholes; /* the engine that is told of its end, or NULL */
};

/* Starts `program`, or with NULL the postern-pinholed that lies beside this program or was installed with it; "none" starts
 * nothing. Sends the limits that follow from the configuration. Without a helper everything works, with the relay. */
void helper_start(const struct config *config, const char *program, struct helper *ret);
/* The engine over its channel, or without one; from here on the end of the process is noticed. */
int helper_engine(struct helper *helper, struct loop *loop, const struct config *config, struct pinholes **ret);
/* At the end, when whoever took the channel has closed it: waits for it, but not for long. */
void helper_wait(struct helper *helper);

/* What it is told. ret has room for WIRE_OWN_MAX; returns how many there are. */
unsigned helper_limits(const struct config *config, struct wire_limit *ret);
/* ret has room for WIRE_CAPTURES_MAX. */
unsigned helper_captures(const struct config *config, struct wire_capture *ret);
void helper_seal(const struct config *config, struct wire_seal *ret);
/* The paths of the configuration as the engine has them, and behind them what ALGs need; PINHOLE_NONE at the end. */
void helper_order(const struct config *config, enum pinhole_path ret[PINHOLE_PATHS]);

#endif

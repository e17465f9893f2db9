/* The back ends of this program, in the order in which they are opened. Tests link a list of their own. */
#ifndef PINHOLE_HELPER_BACKENDS_H
#define PINHOLE_HELPER_BACKENDS_H

#include "pinhole/backend.h"

enum { HELPER_BACKENDS_MAX = 4 };

enum { HELPER_CAPTURE = 1U << PINHOLE_NONE /* provides no path: takes control channels over, and reports whether that works */ };
struct helper_backend {
	const struct backend_ops *ops;
	uint32_t paths; /* bit n: provides the path n of enum pinhole_path; or HELPER_CAPTURE */
};
extern const struct helper_backend helper_backends[];
extern const unsigned helper_backends_n;

#endif

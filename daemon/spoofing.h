/* Packets that lie about where they come from: what the machine does about them. */
#ifndef DAEMON_SPOOFING_H
#define DAEMON_SPOOFING_H

#include "core/config.h"

/* Logs each interface with an IPv4 address of an ALG's realm on which rp_filter is off. Reads files: before the loop. */
void spoofing_warn(const struct config *config);

#endif

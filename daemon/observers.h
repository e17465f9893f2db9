/* What watches the bus: call counters for /metrics, alarms for the log. */
#ifndef DAEMON_OBSERVERS_H
#define DAEMON_OBSERVERS_H

struct bus;

int observers_attach(struct bus *bus); /* once, before threads start; 0 or ERR_LIMIT */

#endif

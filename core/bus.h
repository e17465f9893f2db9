/* Typed events for observers (metrics, event stream, alarms). Control thread only. Payloads are borrowed for the
 * call; observers cannot veto or steer. What is published inside a handler is delivered after it returns. */
#ifndef CORE_BUS_H
#define CORE_BUS_H

#include <stdint.h>

#include "core/span.h"

enum bus_type {
	BUS_CALL_STARTED,  /* an INVITE was accepted for processing */
	BUS_CALL_RESUMED,  /* it was up before this process began: neither started nor answered in it, but it will end */
	BUS_CALL_ANSWERED,
	BUS_CALL_ENDED,    /* also for attempts that failed */
	BUS_ALARM,         /* an operator should look: disk full, ports exhausted, ... */
	BUS_ALARM_CLEARED,
	BUS_TYPES
};

struct bus_event {
	enum bus_type type;
	struct span id;      /* session id, or the alarm's name */
	unsigned realm;      /* index of the caller's realm */
	int code;            /* SIP status of the end, or 0 */
	uint32_t duration_ms; /* set-up time (answered), connected time (ended) */
	struct span text;    /* what happened, for people */
};

struct bus;
typedef void bus_fn(void *arg, const struct bus_event *event);

struct bus *bus_new(void);
void bus_free(struct bus *bus);
int bus_subscribe(struct bus *bus, enum bus_type type, bus_fn *fn, void *arg); /* 0 or ERR_LIMIT */
void bus_publish(struct bus *bus, const struct bus_event *event);
/* Events dropped because too many were published inside one handler, or memory ran out. */
uint64_t bus_lost(const struct bus *bus);

#endif

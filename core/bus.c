/* Event bus: lists of observers per type, and a short queue for what is published while a handler runs. Owns copies
 * of queued events for as long as they wait. Control thread only. */
#include "core/bus.h"

#include <stdlib.h>

#include "core/err.h"

enum {
	OBSERVERS_MAX = 16, /* per type; observers are modules, known at start */
	QUEUE_MAX = 1024,   /* a handler that always publishes must not take all memory */
};

struct observer {
	bus_fn *fn;
	void *arg;
};

struct queued {
	struct queued *next;
	struct bus_event event;
	char bytes[]; /* of id and text */
};

struct bus {
	struct observer observers[BUS_TYPES][OBSERVERS_MAX];
	unsigned n_observers[BUS_TYPES];
	struct queued *queue;
	struct queued **queue_end;
	unsigned n_queued;
	uint64_t n_lost;
	bool is_delivering;
};

struct bus *bus_new(void)
{
	struct bus *bus = calloc(1, sizeof(*bus));

	if (bus != NULL)
		bus->queue_end = &bus->queue;
	return bus;
}

void bus_free(struct bus *bus)
{
	if (bus == NULL)
		return;
	while (bus->queue != NULL) {
		struct queued *next = bus->queue->next;

		free(bus->queue);
		bus->queue = next;
	}
	free(bus);
}

int bus_subscribe(struct bus *bus, enum bus_type type, bus_fn *fn, void *arg)
{
	unsigned n = bus->n_observers[type];

	if (n == OBSERVERS_MAX)
		return ERR_LIMIT;
	bus->observers[type][n] = (struct observer){ fn, arg };
	bus->n_observers[type]++;
	return 0;
}

static void deliver(struct bus *bus, const struct bus_event *event)
{
	/* An observer that subscribes here is asked from the next event on. */
	unsigned n = bus->n_observers[event->type];

	for (unsigned i = 0; i < n; i++)
		bus->observers[event->type][i].fn(bus->observers[event->type][i].arg, event);
}

static void enqueue(struct bus *bus, const struct bus_event *event)
{
	size_t id_len = event->id.len;
	struct queued *q;

	if (bus->n_queued == QUEUE_MAX)
		goto lost;
	q = malloc(sizeof(*q) + id_len + event->text.len);
	if (q == NULL)
		goto lost;
	q->next = NULL;
	q->event = *event;
	if (id_len > 0)
		memcpy(q->bytes, event->id.ptr, id_len);
	if (event->text.len > 0)
		memcpy(q->bytes + id_len, event->text.ptr, event->text.len);
	q->event.id.ptr = q->bytes;
	q->event.text.ptr = q->bytes + id_len;
	*bus->queue_end = q;
	bus->queue_end = &q->next;
	bus->n_queued++;
	return;
lost:
	bus->n_lost++;
}

void bus_publish(struct bus *bus, const struct bus_event *event)
{
	if (bus->is_delivering) {
		enqueue(bus, event);
		return;
	}
	bus->is_delivering = true;
	deliver(bus, event);
	while (bus->queue != NULL) {
		struct queued *q = bus->queue;

		bus->queue = q->next;
		if (bus->queue == NULL)
			bus->queue_end = &bus->queue;
		bus->n_queued--;
		deliver(bus, &q->event);
		free(q);
	}
	bus->is_delivering = false;
}

uint64_t bus_lost(const struct bus *bus)
{
	return bus->n_lost;
}

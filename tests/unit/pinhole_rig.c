/* See tests/unit/pinhole_rig.h. */
#include "tests/unit/pinhole_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/metrics.h"

static void on_change(void *arg)
{
	struct rig *rig = arg;

	rig->changes++;
}

void rig_begin_silent(struct rig *rig)
{
	struct pinholes_conf conf = { .order = { PINHOLE_XDP, PINHOLE_TC, PINHOLE_CONNTRACK }, .max = RIG_MAX, .n_realms = 3 };

	memset(rig, 0, sizeof(*rig));
	CU_ASSERT_EQUAL_FATAL(loop_new(&rig->loop), 0);
	fake_helper_init(&rig->helper, rig->loop);
	conf.channel = rig->helper.channel;
	CU_ASSERT_EQUAL_FATAL(pinholes_new(rig->loop, &conf, &rig->pinholes), 0);
	pinholes_on_change(rig->pinholes, on_change, rig);
}

void rig_begin(struct rig *rig)
{
	rig_begin_silent(rig);
	fake_helper_hello(&rig->helper);
	fake_helper_able(&rig->helper, 0, PINHOLE_XDP, true, "proved");
	fake_helper_able(&rig->helper, 1, PINHOLE_XDP, true, "proved");
	fake_helper_run(&rig->helper);
}

void rig_end(struct rig *rig)
{
	pinholes_free(rig->pinholes);
	fake_helper_fini(&rig->helper);
	CU_ASSERT_EQUAL(fake_loop_open_handles(rig->loop), 0);
	loop_free(rig->loop);
}

static struct addr ip(const char *text, unsigned port)
{
	struct addr addr = { 0 };

	CU_ASSERT_EQUAL_FATAL(addr_parse_ip(span_of(text), &addr), 0);
	addr.port = (uint16_t)port;
	return addr;
}

struct pinhole_spec rig_spec(unsigned number)
{
	struct pinhole_spec spec = {
		.owner = "0192f1d0-0000-7000-8000-00000000abcd", .proto = IPPROTO_UDP, .realm_in = 0, .realm_out = 1,
		.listen = ip("192.0.2.10", 20000 + number * 2), .from = ip("10.0.0.10", 20000 + number * 2),
		.source = ip("192.0.2.1", 4000), .target = ip("10.0.0.1", 6000), .is_rtp = true, .is_handed_over = true,
		.payloads = { 1, 0 }, .clock_hz = 8000, .dscp = 46, .packets_per_s = 200, .bytes_per_s = 50000,
		.lifetime_s = RIG_LIFETIME_S,
	};

	return spec;
}

static void on_event(void *arg, struct pinhole *pinhole, enum pinhole_event event)
{
	struct rig_owner *owner = arg;

	owner->n[event]++;
	owner->last = pinhole;
	snprintf(owner->last_reason, sizeof(owner->last_reason), "%s", pinhole_reason(pinhole));
	pinhole_stats(pinhole, &owner->last_stats);
	if (owner->then != NULL)
		owner->then(owner, pinhole, event);
}

int rig_open(struct rig *rig, unsigned first, unsigned n, struct pinhole **ret)
{
	struct pinhole_spec specs[PINHOLE_BATCH_MAX + 1];

	for (unsigned i = 0; i < n; i++)
		specs[i] = rig_spec(first + i);
	return pinhole_open(rig->pinholes, specs, n, on_event, &rig->owner, ret);
}

struct pinhole *rig_open_one(struct rig *rig, unsigned number)
{
	struct pinhole *pinhole = NULL;

	CU_ASSERT_EQUAL_FATAL(rig_open(rig, number, 1, &pinhole), 0);
	fake_helper_run(&rig->helper);
	return pinhole;
}

struct search {
	struct addr listen;
	uint64_t id;
};

static void look(void *arg, const struct pinhole_view *view)
{
	struct search *search = arg;

	if (addr_eq(&view->spec.listen, &search->listen))
		search->id = view->id;
}

uint64_t rig_id(struct rig *rig, const struct pinhole *pinhole)
{
	struct search search = { .listen = pinhole_spec(pinhole)->listen };

	pinholes_each(rig->pinholes, look, &search);
	return search.id;
}

struct slot *rig_slot(struct rig *rig, const struct pinhole *pinhole)
{
	struct fake_hole *hole = fake_helper_find(&rig->helper, rig_id(rig, pinhole));

	CU_ASSERT_PTR_NOT_NULL_FATAL(hole);
	return &rig->helper.slots[hole->region][hole->slot];
}

struct pinholes_summary rig_summary(const struct rig *rig)
{
	struct pinholes_summary summary;

	pinholes_summary(rig->pinholes, &summary);
	return summary;
}

double rig_metric(const char *name_and_labels)
{
	char *text = metrics_text();
	char line[160];
	double value = -1;
	const char *at;

	snprintf(line, sizeof(line), "\n%s ", name_and_labels);
	at = text != NULL ? strstr(text, line) : NULL;
	if (at != NULL)
		value = strtod(at + strlen(line), NULL);
	free(text);
	return value;
}

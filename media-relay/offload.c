/* The table of offload.h, what its events mean, and how a direction is judged.
 *
 * Everything that is known of a direction is in three places: what was posted to the relay (struct relay_setup), what the
 * relay publishes (struct relay_counts), and what the pinhole was opened with (pinhole_spec()). They are compared, and
 * nothing is remembered twice. What the relay publishes counts only once it has applied the setup at hand. */
#include "media-relay/offload.h"

#include "core/crash.h"
#include "core/err.h"
#include "core/loop.h"

enum event { EV_FITS, EV_ARMED, EV_BOUND, EV_FAILED, EV_WITHDRAW, EV_CLOSED };

typedef void action_fn(struct offload_direction *d);
static action_fn ask, armed, bound, fail, leave, arrive, look_at;

static const struct row {
	enum offload_state state;
	enum event event;
	enum offload_state next;
	action_fn *action;
} table[] = {
	{ OFFLOAD_RELAY, EV_FITS, OFFLOAD_ASKED, ask },
	{ OFFLOAD_ASKED, EV_ARMED, OFFLOAD_KERNEL, armed },
	{ OFFLOAD_ASKED, EV_WITHDRAW, OFFLOAD_LEAVING, leave },
	{ OFFLOAD_ASKED, EV_FAILED, OFFLOAD_RELAY, fail },
	{ OFFLOAD_KERNEL, EV_BOUND, OFFLOAD_KERNEL, bound },
	{ OFFLOAD_KERNEL, EV_WITHDRAW, OFFLOAD_LEAVING, leave },
	{ OFFLOAD_KERNEL, EV_FAILED, OFFLOAD_RELAY, fail },
	{ OFFLOAD_LEAVING, EV_CLOSED, OFFLOAD_RELAY, arrive },
	{ OFFLOAD_LEAVING, EV_FAILED, OFFLOAD_RELAY, arrive },
};

static void step(struct offload_direction *d, enum event event)
{
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (table[i].state != d->state || table[i].event != event)
			continue;
		d->state = (uint8_t)table[i].next;
		table[i].action(d);
		return;
	}
}

void offload_init(struct offload *o)
{
	for (unsigned i = 0; i < 2; i++) {
		o->directions[i].offload = o;
		o->directions[i].from = (uint8_t)i;
	}
}

void offload_resume(struct offload *o)
{
	for (unsigned i = 0; i < 2; i++)
		o->directions[i].is_resumed = true;
}

/* ---- what is known ---- */

static const struct relay_counts *counts_of(const struct offload *o, unsigned side)
{
	return &o->relay->sides[side].counts;
}

static bool is_applied(const struct offload *o, unsigned side)
{
	return atomic_load_explicit(&counts_of(o, side)->window, memory_order_acquire) == o->setup->sides[side].window;
}

/* Where this side's packets come from; false while the relay has not latched it. */
static bool source_of(const struct offload *o, unsigned side, struct addr *ret)
{
	const struct relay_counts *c = counts_of(o, side);

	if (!is_applied(o, side) || atomic_load_explicit(&c->latch, memory_order_acquire) != LATCH_LOCKED)
		return false;
	*ret = relay_addr_get(&c->latched);
	return addr_is_set(ret);
}

/* An entry of connection tracking is two-way: what its target sends back takes it, and the relay gets to see none of that. So the
 * other direction follows, and its source is known. NULL: the other direction is not carried like that. */
static const struct pinhole_spec *reverse_of(const struct offload_direction *d)
{
	const struct offload_direction *other = &d->offload->directions[!d->from];
	enum pinhole_path path = other->state == OFFLOAD_KERNEL ? pinhole_path(other->pinhole) : PINHOLE_NONE;

	return path == PINHOLE_CONNTRACK || path == PINHOLE_NFT ? pinhole_spec(other->pinhole) : NULL;
}

static bool is_steady(const struct offload_direction *d)
{
	return reverse_of(d) != NULL ||
	       atomic_load_explicit(&counts_of(d->offload, d->from)->since_lock, memory_order_acquire) >= RELAY_STEADY;
}

static bool is_ready(const struct offload *o)
{
	return addr_is_set(&o->setup->sides[0].remote.rtp) && addr_is_set(&o->setup->sides[1].remote.rtp);
}

/* XDP and tc see what arrives on an interface: nothing that this host sends to itself does. */
static bool is_this_host(const struct offload *o, const struct addr *addr)
{
	const struct target_scope *scope = &o->relay->sides[0].scope;

	for (unsigned i = 0; i < scope->n_own; i++)
		if (addr_eq_ip(&scope->own[i].addr, addr))
			return true;
	return false;
}

/* RTCP that shares the port has "payload types" of its own, which go to the relay (RFC 5761 section 4). */
static void set_payloads(const struct offload_direction *d, const struct media_remote *remote, struct pinhole_spec *spec)
{
	bool is_any = (d->payloads[0] | d->payloads[1]) == 0;

	spec->is_rtp = remote->is_rtp;
	for (unsigned i = 0; remote->is_rtp && i < 2; i++)
		spec->payloads[i] = is_any ? UINT64_MAX : d->payloads[i];
	if (is_any || remote->rtcp_mux)
		spec->payloads[1] &= ~(uint64_t)UINT32_MAX;
}

static struct pinhole_spec make_spec(const struct offload_direction *d)
{
	const struct offload *o = d->offload;
	unsigned from = d->from, to = !d->from;
	const struct target_scope *in = &o->relay->sides[from].scope, *out = &o->relay->sides[to].scope;
	struct pinhole_spec spec = {
		.proto = IPPROTO_UDP, .realm_in = in->realm, .realm_out = out->realm, .listen = in->local, .from = out->local,
		.target = relay_addr_get(&counts_of(o, to)->target), .is_handed_over = true, .dscp = o->dscp[to],
		.clock_hz = atomic_load_explicit(&counts_of(o, from)->clock_hz, memory_order_relaxed),
		.packets_per_s = o->setup->sides[from].rate.packets_per_s,
		.bytes_per_s = o->setup->sides[from].rate.bytes_per_s, .lifetime_s = o->lifetime_s,
	};
	size_t len = strnlen(o->owner, sizeof(spec.owner) - 1);

	memcpy(spec.owner, o->owner, len);
	if (!source_of(o, from, &spec.source) && reverse_of(d) != NULL)
		spec.source = reverse_of(d)->target;
	set_payloads(d, &o->setup->sides[from].remote, &spec);
	return spec;
}

/* Why this direction has to stay on the relay; NULL: it may go, as in *ret. */
static const char *why_not(const struct offload_direction *d, struct pinhole_spec *ret)
{
	static const char *const waiting[] = { "waiting for packets from the caller", "waiting for packets from the callee" };
	const struct offload *o = d->offload;
	uint64_t now_ms = loop_now_ms(o->loop);

	if (o->pinholes == NULL)
		return "userspace relay";
	if (!o->is_answered)
		return "early media";
	if (!is_ready(o))
		return "an address is not known yet, or on hold";
	*ret = make_spec(d);
	if (ret->listen.family != ret->from.family)
		return "address families differ";
	if (!addr_is_set(&ret->source) || !is_steady(d))
		return waiting[d->from];
	if (!is_applied(o, !d->from) || !addr_is_set(&ret->target))
		return waiting[!d->from];
	if (is_this_host(o, &ret->source) || is_this_host(o, &ret->target))
		return "the far end has an address of the gateway";
	if (d->back_off_ms != 0 && now_ms < d->retry_ms)
		return d->trouble;
	if (!d->is_resumed && !pinholes_is_usable(o->pinholes, ret->realm_in, ret->realm_out))
		return "no kernel path is usable between these realms";
	return NULL;
}

/* Why the pinhole that there is must go; NULL: it may stay. */
static const char *why_leave(const struct offload_direction *d)
{
	const struct pinhole_spec *has = pinhole_spec(d->pinhole);
	struct pinhole_spec wants;

	if (!is_ready(d->offload))
		return "an address is not known any more, or on hold";
	wants = make_spec(d);
	if (is_applied(d->offload, !d->from) && !addr_eq(&wants.target, &has->target))
		return "where to send has changed";
	if (addr_is_set(&wants.source) && !addr_eq(&wants.source, &has->source))
		return "the source has changed";
	if (!addr_is_set(&wants.source) && d->grace_ends_ms == 0)
		return "the source is to be learnt again";
	if (wants.is_rtp != has->is_rtp || wants.payloads[0] != has->payloads[0] || wants.payloads[1] != has->payloads[1])
		return "the codecs have changed";
	return wants.bytes_per_s != has->bytes_per_s ? "the bandwidth has changed" : NULL;
}

/* ---- what is made of it ---- */

/* Packets that the kernel forwards are no loss to the relay's statistics; and people want to know the way. */
static void show(struct offload_direction *d)
{
	struct offload *o = d->offload;
	struct relay_side_setup *setup = &o->setup->sides[d->from];
	bool is_elsewhere = d->is_bound && !d->is_passing;
	bool is_in_kernel = is_elsewhere && d->state == OFFLOAD_KERNEL;
	bool is_news = is_in_kernel != d->was_in_kernel || (d->trouble != NULL && d->trouble != d->told);

	if (setup->is_elsewhere != is_elsewhere) {
		setup->is_elsewhere = is_elsewhere;
		relay_update(o->relay, o->setup);
	}
	d->was_in_kernel = is_in_kernel;
	d->told = d->trouble;
	if (is_news && o->moved != NULL)
		o->moved(o->arg, (enum media_side)d->from);
}

static void failed(struct offload_direction *d, const char *trouble)
{
	if (d->state != OFFLOAD_LEAVING)
		d->trouble = trouble;
	step(d, EV_FAILED);
}

static void on_pinhole(void *arg, struct pinhole *pinhole, enum pinhole_event event)
{
	struct offload_direction *d = arg;

	switch (event) {
	case PINHOLE_EV_ARMED:
		step(d, EV_ARMED);
		break;
	case PINHOLE_EV_BOUND:
		step(d, EV_BOUND);
		break;
	case PINHOLE_EV_REFUSED:
		failed(d, pinhole_reason(pinhole));
		break;
	case PINHOLE_EV_LOST:
		failed(d, "lost from the kernel");
		break;
	case PINHOLE_EV_EXPIRED:
		failed(d, "expired in the kernel");
		break;
	case PINHOLE_EV_CLOSED:
		step(d, EV_CLOSED);
		break;
	}
}

static void ask(struct offload_direction *d)
{
	struct pinhole_spec spec = make_spec(d);
	int err = pinhole_open(d->offload->pinholes, &spec, 1, on_pinhole, d, &d->pinhole);

	CRASH_POINT("pinhole-asked");
	d->is_resumed = false;
	if (err == 0)
		return;
	d->pinhole = NULL;
	d->trouble = err_str(err);
	if (err == ERR_UNSUPPORTED) /* nobody has promised anything */
		d->told = d->trouble;
	step(d, EV_FAILED);
}

/* Its way back may be open with it: see reverse_of(). */
static void armed(struct offload_direction *d)
{
	look_at(&d->offload->directions[!d->from]);
}

static void bound(struct offload_direction *d)
{
	d->is_bound = true;
	d->back_off_ms = 0;
	d->trouble = d->told = NULL;
	show(d);
}

static void leave(struct offload_direction *d)
{
	pinhole_close(d->pinhole);
	show(d);
}

/* The handle is gone when its event returns; its counters are final. */
static void arrive(struct offload_direction *d)
{
	struct slot_stats last;

	if (d->pinhole != NULL) {
		pinhole_stats(d->pinhole, &last);
		slot_stats_add(&d->past, &last);
	}
	d->pinhole = NULL;
	d->is_bound = d->is_passing = false;
	d->clock_ends_ms = d->seen_packets = d->seen_passed = 0;
	show(d);
	look_at(d);
}

static void fail(struct offload_direction *d)
{
	d->back_off_ms = d->back_off_ms == 0 ? OFFLOAD_RETRY_MS : 2 * d->back_off_ms;
	if (d->back_off_ms > OFFLOAD_RETRY_MAX_MS)
		d->back_off_ms = OFFLOAD_RETRY_MAX_MS;
	d->retry_ms = loop_now_ms(d->offload->loop) + d->back_off_ms;
	arrive(d);
}

static void withdraw(struct offload_direction *d, const char *why)
{
	d->why = why;
	step(d, EV_WITHDRAW);
}

/* A dynamic payload type says nothing about its clock; without it the kernel cannot measure jitter. */
static bool awaits_clock(struct offload_direction *d, const struct pinhole_spec *spec)
{
	uint64_t now_ms = loop_now_ms(d->offload->loop);

	if (!spec->is_rtp || spec->clock_hz != 0 || d->is_resumed || reverse_of(d) != NULL)
		return false;
	if (d->clock_ends_ms == 0)
		d->clock_ends_ms = now_ms + OFFLOAD_CLOCK_MS;
	return now_ms < d->clock_ends_ms;
}

static void look_at(struct offload_direction *d)
{
	struct pinhole_spec spec;
	const char *why;

	if (d->offload->pinholes == NULL || !d->offload->is_answered)
		return;
	if (d->state == OFFLOAD_ASKED || d->state == OFFLOAD_KERNEL) {
		why = why_leave(d);
		if (why != NULL)
			withdraw(d, why);
	} else if (d->state == OFFLOAD_RELAY && is_steady(d)) {
		if (why_not(d, &spec) == NULL && !awaits_clock(d, &spec))
			step(d, EV_FITS);
	}
}

void offload_look(struct offload *o)
{
	for (unsigned i = 0; i < 2; i++)
		look_at(&o->directions[i]);
}

static void end_grace(struct offload_direction *d)
{
	struct offload *o = d->offload;
	uint64_t *accepted = o->setup->sides[d->from].remote.payloads;

	if (d->grace_ends_ms == 0 || loop_now_ms(o->loop) < d->grace_ends_ms)
		return;
	d->grace_ends_ms = 0;
	if (accepted[0] == d->payloads[0] && accepted[1] == d->payloads[1])
		return;
	memcpy(accepted, d->payloads, sizeof(d->payloads));
	relay_update(o->relay, o->setup);
}

/* Packets that all come up again show a reason that only the kernel knows: no route, too long, another payload type. */
static void watch(struct offload_direction *d)
{
	struct slot_stats now;

	if (d->state != OFFLOAD_KERNEL)
		return;
	pinhole_stats(d->pinhole, &now);
	if (now.packets != d->seen_packets)
		d->is_passing = false;
	else if (now.passed != d->seen_passed)
		d->is_passing = true;
	d->seen_packets = now.packets;
	d->seen_passed = now.passed;
	show(d);
}

void offload_tick(struct offload *o)
{
	for (unsigned i = 0; i < 2; i++) {
		end_grace(&o->directions[i]);
		watch(&o->directions[i]);
	}
	offload_look(o);
}

void offload_signalled(struct offload *o, enum media_side side, struct relay_side_setup *next)
{
	const struct relay_side_setup *before = &o->setup->sides[side];
	struct offload_direction *from = &o->directions[side], *to = &o->directions[!side];
	uint64_t grace_ends_ms = loop_now_ms(o->loop) + OFFLOAD_GRACE_MS;
	bool has_moved = !addr_eq(&next->remote.rtp, &before->remote.rtp);
	uint64_t had[2] = { from->payloads[0], from->payloads[1] };
	bool is_same_set = had[0] == next->remote.payloads[0] && had[1] == next->remote.payloads[1];

	if (has_moved)
		withdraw(to, "the address to send to has changed");
	if (next->window != before->window && has_moved && next->may_send_to[RELAY_RTP] && from->pinhole != NULL)
		from->grace_ends_ms = grace_ends_ms;
	else if (next->window != before->window)
		withdraw(from, "the source is to be learnt again");
	memcpy(from->payloads, next->remote.payloads, sizeof(from->payloads));
	if (is_same_set) {
		memcpy(next->remote.payloads, before->remote.payloads, sizeof(before->remote.payloads));
	} else if (o->is_answered && (had[0] | had[1]) != 0 && (from->payloads[0] | from->payloads[1]) != 0) {
		next->remote.payloads[0] |= had[0];
		next->remote.payloads[1] |= had[1];
		from->grace_ends_ms = grace_ends_ms;
		withdraw(from, "the codecs have changed");
	}
}

void offload_close(struct offload *o)
{
	for (unsigned i = 0; i < 2; i++) {
		struct offload_direction *d = &o->directions[i];

		if (d->pinhole != NULL) {
			pinhole_disown(d->pinhole);
			pinhole_close(d->pinhole);
		}
		d->pinhole = NULL;
		d->state = OFFLOAD_RELAY;
	}
	o->is_answered = false;
}

/* ---- what is shown ---- */

void offload_stats(const struct offload *o, enum media_side side, struct slot_stats *ret)
{
	const struct offload_direction *d = &o->directions[side];
	struct slot_stats now = { 0 };

	if (d->pinhole != NULL)
		pinhole_stats(d->pinhole, &now);
	*ret = d->past;
	slot_stats_add(ret, &now);
	ret->is_active = now.is_active;
	ret->has_rtp = now.has_rtp;
	ret->no_xdp = now.no_xdp;
	ret->jitter_us = now.jitter_us;
}

static enum pinhole_path path_in_kernel(const struct offload_direction *d, const char **ret_reason)
{
	enum pinhole_path path = pinhole_path(d->pinhole);
	struct slot_stats now;

	*ret_reason = pinhole_reason(d->pinhole);
	if (path == PINHOLE_CONNTRACK || path == PINHOLE_NFT)
		*ret_reason = "loss and jitter are not measured on this path";
	if (path != PINHOLE_XDP)
		return path;
	pinhole_stats(d->pinhole, &now);
	if (!now.no_xdp)
		return path;
	*ret_reason = "checksums are not complete when XDP sees the packets";
	return PINHOLE_TC;
}

enum pinhole_path offload_path(const struct offload *o, enum media_side side, const char **ret_reason)
{
	const struct offload_direction *d = &o->directions[side];
	struct pinhole_spec spec;
	const char *reason = NULL;

	switch ((enum offload_state)d->state) {
	case OFFLOAD_RELAY:
		reason = why_not(d, &spec);
		if (reason == NULL)
			reason = "about to go to the kernel";
		break;
	case OFFLOAD_ASKED:
		reason = "a pinhole is being opened";
		break;
	case OFFLOAD_KERNEL:
		if (d->is_bound && !d->is_passing)
			return path_in_kernel(d, ret_reason);
		reason = d->is_passing ? "the kernel leaves its packets to the relay: payload type, length or route" :
			 "a pinhole is open and waits for packets, or a pause between them";
		break;
	case OFFLOAD_LEAVING:
		reason = d->why;
		break;
	}
	*ret_reason = reason;
	return PINHOLE_NONE;
}

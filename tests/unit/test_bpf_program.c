/* The BPF programs themselves, in the kernel, packet by packet (BPF_PROG_TEST_RUN): which packets are sent on and how they are
 * rewritten, which go up the stack, and what is counted; the same for XDP and for tc. As root only. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "media-relay/rtp.h"
#include "tests/unit/bpf_stage.h"
#include "tests/unit/unit.h"

enum { AT_TYPE = 12, AT_IP = 14, AT_UDP4 = 34, AT_RTP4 = 42, AT_UDP6 = 54, AT_RTP6 = 62, PORT = 30000, LONG = 1600 };

static const enum pinhole_path paths[] = { PINHOLE_XDP, PINHOLE_TC };

static void begin(struct stage *s, enum pinhole_path path)
{
	s->seal.order[0] = (uint8_t)path;
	s->seal.order[1] = 0;
	stage_open(s);
}

static struct slot *add(struct stage *s, enum pinhole_path path, const struct wire_pinhole *p)
{
	struct backend_entry entry = { 0 };

	CHECK(backend_bpf.apply(s->backend, p, &entry) == 0);
	CHECK(entry.path == path);
	return &s->backend->engine.slot_memory[entry.slot];
}

static void end(struct stage *s)
{
	backend_bpf.remove_all(s->backend);
	stage_close(s);
}

/* One change of a packet: where, and the octets. */
struct patch {
	uint16_t at;
	uint8_t len;
	uint8_t to[16];
};

struct packet_row {
	const char *name;
	uint8_t family;
	struct patch patches[4];
	uint16_t len;           /* of the frame; 0: as it is */
	bool keep_checksums;    /* as they are after the change, not set again */
	enum stage_result result;
	bool is_passed;         /* and counted as passed */
	bool has_any;           /* the pinhole lets every payload type pass */
};

#define V4(name, ...) { name, AF_INET, { __VA_ARGS__ }, .result = STAGE_UP }
#define V6(name, ...) { name, AF_INET6, { __VA_ARGS__ }, .result = STAGE_UP }

static const struct packet_row packets[] = {
	{ "as negotiated", AF_INET, .result = STAGE_SENT },
	{ "marker bit", AF_INET, { { AT_RTP4 + 1, 1, { 0x80 } } }, .result = STAGE_SENT },
	{ "second word of the payload types", AF_INET, { { AT_RTP4 + 1, 1, { 101 } } }, .result = STAGE_SENT },
	{ "don't fragment is kept", AF_INET, { { AT_IP + 6, 2, { 0x40, 0 } } }, .result = STAGE_SENT },
	{ "TTL 2", AF_INET, { { AT_IP + 8, 1, { 2 } } }, .result = STAGE_SENT },
	{ "TTL 255", AF_INET, { { AT_IP + 8, 1, { 255 } } }, .result = STAGE_SENT },
	{ "Ethernet padding", AF_INET, .len = 240, .result = STAGE_SENT },
	{ "no checksum", AF_INET, { { AT_UDP4 + 6, 2, { 0, 0 } } }, .keep_checksums = true, .result = STAGE_SENT },
	{ "CSRC list", AF_INET, { { AT_RTP4, 1, { 0x8f } } }, .result = STAGE_SENT },
	{ "header extension", AF_INET, { { AT_RTP4, 1, { 0x90 } }, { AT_RTP4 + 12, 4, { 0xbe, 0xde, 0, 3 } } }, .result = STAGE_SENT },
	{ "extension up to the end", AF_INET, { { AT_RTP4, 1, { 0x90 } }, { AT_RTP4 + 12, 4, { 0xbe, 0xde, 0, 39 } } },
	  .result = STAGE_SENT },
	{ "padding", AF_INET, { { AT_RTP4, 1, { 0xa0 } }, { AT_RTP4 + STAGE_PAYLOAD - 1, 1, { 160 } } }, .result = STAGE_SENT },

	V4("VLAN tag", { AT_TYPE, 4, { 0x81, 0, 0, 5 } }),
	V4("ARP", { AT_TYPE, 2, { 8, 6 } }),
	V4("frame for another station", { 0, 6, { 2, 1, 1, 1, 1, 1 } }),
	V4("broadcast frame", { 0, 6, { 255, 255, 255, 255, 255, 255 } }),
	V4("IP version 5", { AT_IP, 1, { 0x55 } }),
	V4("IP options", { AT_IP, 1, { 0x46 } }),
	V4("first fragment", { AT_IP + 6, 2, { 0x20, 0 } }),
	V4("later fragment", { AT_IP + 6, 2, { 0, 2 } }),
	V4("TTL 1", { AT_IP + 8, 1, { 1 } }),
	V4("TTL 0", { AT_IP + 8, 1, { 0 } }),
	V4("TCP", { AT_IP + 9, 1, { 6 } }),
	V4("IP length beyond the frame", { AT_IP + 2, 2, { 3, 0 } }, { AT_UDP4 + 4, 2, { 2, 0xec } }),
	V4("IP length below the headers", { AT_IP + 2, 2, { 0, 27 } }),
	V4("UDP shorter than IP", { AT_UDP4 + 4, 2, { 0, 100 } }),
	V4("UDP longer than IP", { AT_UDP4 + 4, 2, { 0, 181 } }),
	V4("other source", { AT_IP + 15, 1, { 99 } }),
	V4("other destination", { AT_IP + 19, 1, { 99 } }),
	V4("other source port", { AT_UDP4, 2, { 1, 1 } }),
	V4("other destination port", { AT_UDP4 + 2, 2, { 1, 1 } }),
	{ "RTP version 1", AF_INET, { { AT_RTP4, 1, { 0x40 } } }, .result = STAGE_UP, .is_passed = true },
	{ "RTP version 3", AF_INET, { { AT_RTP4, 1, { 0xc0 } } }, .result = STAGE_UP, .is_passed = true },
	{ "STUN", AF_INET, { { AT_RTP4, 8, { 0, 1, 0, 152, 0x21, 0x12, 0xa4, 0x42 } } }, .result = STAGE_UP, .is_passed = true },
	{ "DTLS", AF_INET, { { AT_RTP4, 3, { 22, 254, 253 } } }, .result = STAGE_UP, .is_passed = true },
	{ "payload type 1", AF_INET, { { AT_RTP4 + 1, 1, { 1 } } }, .result = STAGE_UP, .is_passed = true },
	{ "payload type 64", AF_INET, { { AT_RTP4 + 1, 1, { 64 } } }, .result = STAGE_UP, .is_passed = true },
	{ "RTCP sender report", AF_INET, { { AT_RTP4 + 1, 1, { 200 } } }, .result = STAGE_UP, .is_passed = true },
	{ "any payload type", AF_INET, { { AT_RTP4 + 1, 1, { 1 } } }, .result = STAGE_SENT, .has_any = true },
	{ "RTCP among any payload types", AF_INET, { { AT_RTP4 + 1, 1, { 200 } } }, .result = STAGE_UP, .is_passed = true,
	  .has_any = true },
	{ "too short for RTP", AF_INET, { { AT_IP + 2, 2, { 0, 39 } }, { AT_UDP4 + 4, 2, { 0, 19 } } }, .len = 53,
	  .result = STAGE_UP, .is_passed = true },
	{ "CSRC list beyond the end", AF_INET, { { AT_RTP4, 1, { 0x8f } }, { AT_IP + 2, 2, { 0, 99 } }, { AT_UDP4 + 4, 2, { 0, 79 } } },
	  .len = 113, .result = STAGE_UP, .is_passed = true },
	{ "extension beyond the end", AF_INET, { { AT_RTP4, 1, { 0x90 } }, { AT_RTP4 + 12, 4, { 0xbe, 0xde, 0, 40 } } },
	  .result = STAGE_UP, .is_passed = true },
	{ "padding of 0", AF_INET, { { AT_RTP4, 1, { 0xa0 } }, { AT_RTP4 + STAGE_PAYLOAD - 1, 1, { 0 } } }, .result = STAGE_UP,
	  .is_passed = true },
	{ "padding beyond the header", AF_INET, { { AT_RTP4, 1, { 0xa0 } }, { AT_RTP4 + STAGE_PAYLOAD - 1, 1, { 161 } } },
	  .result = STAGE_UP, .is_passed = true },
	{ "too long for the route", AF_INET, { { AT_IP + 2, 2, { 6, 50 } }, { AT_UDP4 + 4, 2, { 6, 30 } } }, .len = LONG,
	  .result = STAGE_UP, .is_passed = true },

	{ "IPv6 as negotiated", AF_INET6, .result = STAGE_SENT },
	{ "IPv6 hop limit 2", AF_INET6, { { AT_IP + 7, 1, { 2 } } }, .result = STAGE_SENT },
	{ "IPv6 hop limit 255", AF_INET6, { { AT_IP + 7, 1, { 255 } } }, .result = STAGE_SENT },
	{ "IPv6 RTP padding", AF_INET6, { { AT_RTP6, 1, { 0xa0 } }, { AT_RTP6 + STAGE_PAYLOAD - 1, 1, { 4 } } }, .result = STAGE_SENT },
	V6("IPv6 hop limit 1", { AT_IP + 7, 1, { 1 } }),
	V6("IPv6 hop-by-hop options", { AT_IP + 6, 1, { 0 } }),
	V6("IPv6 fragment", { AT_IP + 6, 1, { 44 } }),
	V6("IPv6 version 4", { AT_IP, 1, { 0x40 } }),
	V6("IPv6 length beyond the frame", { AT_IP + 4, 2, { 3, 0 } }, { AT_UDP6 + 4, 2, { 3, 0 } }),
	V6("IPv6 lengths that differ", { AT_UDP6 + 4, 2, { 0, 100 } }),
	V6("IPv6 other source", { AT_IP + 23, 1, { 99 } }),
	{ "IPv6 without checksum", AF_INET6, { { AT_UDP6 + 6, 2, { 0, 0 } } }, .keep_checksums = true, .result = STAGE_UP },
	{ "IPv6 other payload type", AF_INET6, { { AT_RTP6 + 1, 1, { 8 } } }, .result = STAGE_UP, .is_passed = true },
};

static void patch(struct stage_frame *f, const struct packet_row *row)
{
	for (unsigned i = 0; i < 4; i++)
		memcpy(f->data + row->patches[i].at, row->patches[i].to, row->patches[i].len);
	if (row->len != 0)
		f->len = row->len;
	if (!row->keep_checksums)
		stage_checksums(f);
}

/* What has to come out, made by hand from what went in. */
static struct stage_frame rewritten(const struct stage *s, const struct stage_frame *in, const struct wire_pinhole *p)
{
	struct stage_frame f = *in;
	bool is_v6 = p->listen.family == AF_INET6;
	uint8_t *ip = f.data + AT_IP, *udp = f.data + (is_v6 ? AT_UDP6 : AT_UDP4), *ttl = &ip[is_v6 ? 7 : 8];
	size_t len = is_v6 ? 16 : 4;
	bool has_check = udp[6] != 0 || udp[7] != 0;

	memcpy(f.data, s->host_macs[1], 6);
	memcpy(f.data + 6, s->macs[1], 6);
	if (is_v6) { /* ECN 3 is kept, the flow label is not */
		ip[0] = 0x60 | (46 << 2) >> 4;
		ip[1] = ((46 << 2 | 3) & 15) << 4;
		ip[2] = ip[3] = 0;
	} else {
		ip[1] = 46 << 2 | 3;
	}
	*ttl = *ttl - 1 < 64 ? *ttl - 1 : 64;
	memcpy(udp - 2 * len, p->from.ip, len);
	memcpy(udp - len, p->target.ip, len);
	udp[0] = (uint8_t)(p->from.port >> 8);
	udp[1] = (uint8_t)p->from.port;
	udp[2] = (uint8_t)(p->target.port >> 8);
	udp[3] = (uint8_t)p->target.port;
	stage_checksums(&f);
	if (!has_check)
		udp[6] = udp[7] = 0;
	return f;
}

static void run_packet(struct stage *s, enum pinhole_path path, const struct packet_row *row)
{
	struct wire_pinhole p = stage_pinhole(row->family, PORT);
	struct slot *slot, before;
	struct stage_frame f, in, wanted;
	enum stage_result result;
	unsigned failures = s->failures;

	p.payloads[0] = !row->has_any;
	p.payloads[1] = row->has_any ? 0 : 1ull << (101 - 64);
	slot = add(s, path, &p);
	before = *slot;
	f = stage_frame(s, &p);
	patch(&f, row);
	in = f;
	result = stage_pass(s, path, &f);
	CHECK(result == row->result);
	wanted = row->result == STAGE_SENT ? rewritten(s, &in, &p) : in;
	CHECK(f.len == in.len && memcmp(f.data, wanted.data, f.len) == 0);
	CHECK(slot->packets - before.packets == (row->result == STAGE_SENT));
	CHECK(slot->passed - before.passed == row->is_passed);
	CHECK(row->result != STAGE_SENT || slot->bytes == (row->family == AF_INET6 ? in.data[AT_UDP6 + 5] : in.data[AT_UDP4 + 5]) - 8u);
	if (s->failures != failures)
		printf("# ... in \"%s\", %s: result %d\n", row->name, pinhole_path_text(path), (int)result);
	CHECK(backend_bpf.remove(s->backend, &p, &before) == 0);
}

static void packets_by(struct stage *s, enum pinhole_path path)
{
	begin(s, path);
	for (size_t i = 0; i < sizeof(packets) / sizeof(packets[0]); i++)
		run_packet(s, path, &packets[i]);
	end(s);
}

static void packets_xdp(struct stage *s)
{
	packets_by(s, PINHOLE_XDP);
}

static void packets_tc(struct stage *s)
{
	packets_by(s, PINHOLE_TC);
}

static void packets_summed(struct stage *s)
{
	s->is_summed = true;
	packets_by(s, PINHOLE_TC);
}

static void test_packets_summed(void)
{
	stage_run(packets_summed);
}

static void test_packets_xdp(void)
{
	stage_run(packets_xdp);
}

static void test_packets_tc(void)
{
	stage_run(packets_tc);
}

/* Every value of both fields that one's complement arithmetic could trip over. */
static void checksums(struct stage *s)
{
	struct wire_pinhole p = stage_pinhole(AF_INET, PORT), q = stage_pinhole(AF_INET6, PORT);

	for (unsigned k = 0; k < 2; k++) {
		begin(s, paths[k]);
		add(s, paths[k], &p);
		add(s, paths[k], &q);
		for (unsigned i = 0; i < 2 * 3000; i++) {
			const struct wire_pinhole *one = i % 2 == 0 ? &p : &q;
			struct stage_frame f = stage_frame(s, one);
			uint8_t *rtp = f.data + (i % 2 == 0 ? AT_RTP4 : AT_RTP6);

			f.data[18] = (uint8_t)(i % 2 == 0 ? i >> 3 : f.data[18]); /* IPv4 identification */
			rtp[4] = (uint8_t)(i * 22);
			rtp[5] = (uint8_t)(i * 7);
			stage_checksums(&f);
			if (!CHECK(stage_pass(s, paths[k], &f) == STAGE_SENT && stage_has_good_checksums(&f)))
				break;
		}
		end(s);
	}
}

static void test_checksums(void)
{
	stage_run(checksums);
}

static enum stage_result pass_rtp(struct stage *s, enum pinhole_path path, const struct wire_pinhole *p,
				  const struct rtp_header *header)
{
	struct stage_frame f = stage_frame(s, p);
	uint16_t sequence = htons(header->sequence);
	uint32_t timestamp = htonl(header->timestamp), ssrc = htonl(header->ssrc);

	f.data[AT_RTP4 + 1] = header->payload_type;
	memcpy(f.data + AT_RTP4 + 2, &sequence, 2);
	memcpy(f.data + AT_RTP4 + 4, &timestamp, 4);
	memcpy(f.data + AT_RTP4 + 8, &ssrc, 4);
	stage_checksums(&f);
	return stage_pass(s, path, &f);
}

/* Below 0 when more packets came twice than got lost; readers take that for 0. */
static int64_t lost(const struct slot *slot)
{
	return (int64_t)(slot->max_seq - slot->first_seq + 1 - slot->rtp_packets);
}

static int64_t lost_by(const struct rtp_track *t)
{
	return (int64_t)t->lost_before + (int64_t)(t->highest - t->base + 1) - (int64_t)t->received;
}

/* What a bad network and a restless sender make of a stream. */
static struct rtp_header next_header(struct rtp_header h, unsigned n)
{
	int luck = rand() % 1000;

	if (luck < 20)
		h.sequence = (uint16_t)(h.sequence - 1 - rand() % 150); /* late, or so it seems */
	else if (luck < 25)
		h.sequence = (uint16_t)rand();
	else if (luck < 30)
		h.ssrc = (uint32_t)(rand() % 3);
	else if (luck < 60)
		h.sequence = (uint16_t)(h.sequence + 2 + rand() % 10);
	else if (luck > 980)
		return h; /* twice */
	else
		h.sequence++;
	h.timestamp += 160 * (1 + (n % 97 == 0));
	h.payload_type = n % 50 < 3 ? 101 : 0;
	return h;
}

static void sequences(struct stage *s)
{
	struct wire_pinhole p = stage_pinhole(AF_INET, PORT);
	struct rtp_header h = { .sequence = 65000, .timestamp = UINT32_MAX - 100000, .ssrc = 1 };

	p.payloads[1] = 1ull << (101 - 64);
	for (unsigned k = 0; k < 2; k++) {
		struct rtp_track track = { 0 };
		uint64_t jitter_us;
		struct slot *slot;

		begin(s, paths[k]);
		slot = add(s, paths[k], &p);
		srand(k + 1);
		for (unsigned i = 0; i < 20000; i++) {
			h = next_header(h, i);
			CHECK(pass_rtp(s, paths[k], &p, &h) == STAGE_SENT);
			/* PT 101 has no clock that the relay could know: telephone events have the clock of the audio. */
			rtp_track_add(&track, &h, slot->last_ns / 1000);
			track.clock_hz = 8000;
			if (!CHECK(lost(slot) == lost_by(&track) && slot->reordered == track.reordered && slot->ssrc == track.ssrc))
				break;
		}
		CHECK(slot->packets == 20000 && slot->duplicates > 100 && slot->reordered > 100 && lost(slot) > 1000);
		jitter_us = slot->jitter_q4_ns / 16000;
		CHECK(jitter_us + 20 >= rtp_track_jitter_us(&track) && jitter_us <= rtp_track_jitter_us(&track) + 20u);
		end(s);
	}
}

static void test_sequences(void)
{
	stage_run(sequences);
}

static const struct rate_row {
	uint32_t packets, bytes, allowed; /* IP datagrams of 200 octets */
} rates[] = { { 10, 1000000, 10 }, { 1000, 2000, 10 }, { 1000, 1999, 9 }, { 1, 200, 1 }, { 1, 199, 0 } };

static void run_rate(struct stage *s, enum pinhole_path path, const struct rate_row *row)
{
	struct wire_pinhole p = stage_pinhole(AF_INET, PORT);
	struct slot *slot, last;
	struct stage_frame f;
	unsigned sent = 0;

	p.packets_per_s = row->packets;
	p.bytes_per_s = row->bytes;
	slot = add(s, path, &p);
	for (unsigned n = 0; n < 20; n++) {
		enum stage_result result;

		f = stage_frame(s, &p);
		result = stage_pass(s, path, &f);
		CHECK(result == STAGE_SENT || result == STAGE_DROP);
		sent += result == STAGE_SENT;
		slot->window_ns = slot->last_ns; /* the second goes on, however slow the machine is */
	}
	CHECK(sent == row->allowed && slot->packets == sent && slot->dropped_rate == 20 - sent);
	slot->window_ns = slot->last_ns - 1000000000;
	f = stage_frame(s, &p);
	CHECK(stage_pass(s, path, &f) == (row->allowed > 0 ? STAGE_SENT : STAGE_DROP));
	CHECK(backend_bpf.remove(s->backend, &p, &last) == 0 && last.dropped_rate >= 20 - sent);
}

static void all_rates(struct stage *s)
{
	for (unsigned k = 0; k < 2; k++) {
		begin(s, paths[k]);
		for (unsigned i = 0; i < sizeof(rates) / sizeof(rates[0]); i++)
			run_rate(s, paths[k], &rates[i]);
		end(s);
	}
}

static void test_rates(void)
{
	stage_run(all_rates);
}

/* As if the flow had been opened, or its last packet had come, so much earlier. */
static void age(struct stage *s, struct slot *slot, uint64_t opened_ms, uint64_t last_ms)
{
	struct flow_state *state = &s->backend->engine.state_memory[slot - s->backend->engine.slot_memory];

	state->since_ns -= opened_ms * 1000000;
	slot->last_ns -= last_ms * 1000000;
}

static enum stage_result pass_number(struct stage *s, enum pinhole_path path, const struct wire_pinhole *p, uint16_t sequence)
{
	struct rtp_header h = { .sequence = sequence, .timestamp = 160u * sequence, .ssrc = 1 };

	return pass_rtp(s, path, p, &h);
}

static void hand_over(struct stage *s, enum pinhole_path path, bool has_pause)
{
	struct wire_pinhole p = stage_pinhole(AF_INET, PORT);
	struct slot *slot, last;

	p.flags |= WIRE_HANDED_OVER;
	slot = add(s, path, &p);
	CHECK(slot->state == SLOT_PENDING);
	for (uint16_t n = 10; n < 20; n++) {
		slot->last_ns = n == 10 ? 0 : UINT64_MAX / 4; /* no pause, however slow the machine is */
		CHECK(pass_number(s, path, &p, n) == STAGE_UP);
	}
	CHECK(slot->packets == 0 && slot->passed == 0 && lost(slot) == 0 && slot->rtp_packets == 0 && slot->active_ns == 0);
	age(s, slot, has_pause ? 0 : 1000, has_pause ? 12 : 0);
	if (!has_pause)
		slot->last_ns = UINT64_MAX / 4;
	CHECK(pass_number(s, path, &p, 23) == STAGE_SENT); /* 20 to 22 were lost on the way */
	CHECK(slot->state == SLOT_ACTIVE && slot->active_ns == slot->last_ns && slot->packets == 1 && lost(slot) == 3);
	CHECK(pass_number(s, path, &p, 24) == STAGE_SENT && lost(slot) == 3);
	CHECK(backend_bpf.remove(s->backend, &p, &last) == 0);
}

static void hand_overs(struct stage *s)
{
	for (unsigned k = 0; k < 2; k++) {
		begin(s, paths[k]);
		hand_over(s, paths[k], true);
		hand_over(s, paths[k], false);
		end(s);
	}
}

static void test_hand_over(void)
{
	stage_run(hand_overs);
}

static void leaves(struct stage *s)
{
	for (unsigned k = 0; k < 2; k++) {
		struct wire_pinhole p = stage_pinhole(AF_INET, PORT);
		union bpf_engine_key key = bpf_flow_key(&p);
		struct flow flow;
		struct slot *slot;

		begin(s, paths[k]);
		slot = add(s, paths[k], &p);
		CHECK(pass_number(s, paths[k], &p, 1) == STAGE_SENT);
		CHECK(bpf_engine_get(&s->backend->engine, false, &key, &flow) == 0);
		flow.in_ifindex = (uint32_t)s->rig->ifindex[1];
		CHECK(bpf_engine_put(&s->backend->engine, false, &key, &flow) == 0);
		CHECK(pass_number(s, paths[k], &p, 2) == STAGE_UP && slot->passed == 1); /* by the wrong interface */
		flow.in_ifindex = 0;
		CHECK(bpf_engine_put(&s->backend->engine, false, &key, &flow) == 0);
		CHECK(pass_number(s, paths[k], &p, 2) == STAGE_SENT);
		flow.expires_ns = slot->last_ns;
		CHECK(bpf_engine_put(&s->backend->engine, false, &key, &flow) == 0);
		CHECK(pass_number(s, paths[k], &p, 3) == STAGE_UP && slot->passed == 2);
		CHECK(backend_bpf.apply(s->backend, &p, &(struct backend_entry){ 0 }) == 0); /* renewed */
		CHECK(pass_number(s, paths[k], &p, 3) == STAGE_SENT && lost(slot) == 0);
		slot->state = SLOT_FREE;
		CHECK(pass_number(s, paths[k], &p, 4) == STAGE_UP && slot->packets == 3);
		end(s);
	}
}

static void test_leaving(void)
{
	stage_run(leaves);
}

/* No route: up to the relay, without the loss that a gap in the numbers would look like; and back when there is one. */
static void no_way(struct stage *s)
{
	for (unsigned k = 0; k < 2; k++) {
		struct wire_pinhole p = stage_pinhole(AF_INET, PORT);
		struct slot *slot;

		begin(s, paths[k]);
		slot = add(s, paths[k], &p);
		CHECK(pass_number(s, paths[k], &p, 1) == STAGE_SENT);
		CHECK(system("ip route add blackhole 198.18.2.2/32") == 0);
		CHECK(pass_number(s, paths[k], &p, 2) == STAGE_SENT); /* not looked up for every packet */
		backend_bpf.links_changed(s->backend);
		CHECK(pass_number(s, paths[k], &p, 3) == STAGE_UP && pass_number(s, paths[k], &p, 4) == STAGE_UP);
		CHECK(slot->passed == 2 && slot->packets == 2 && slot->flags == 0);
		CHECK(system("ip route del blackhole 198.18.2.2/32") == 0);
		backend_bpf.links_changed(s->backend);
		CHECK(pass_number(s, paths[k], &p, 5) == STAGE_SENT && slot->packets == 3 && lost(slot) == 0);
		end(s);
	}
}

static void test_no_way(void)
{
	stage_run(no_way);
}

/* A checksum that is not complete when XDP sees it: tc takes over at once, also later in the stream. */
static void unfinished(struct stage *s)
{
	struct wire_pinhole p = stage_pinhole(AF_INET, PORT), q = stage_pinhole(AF_INET6, PORT);
	const struct wire_pinhole *both[] = { &p, &q };

	begin(s, PINHOLE_XDP);
	for (unsigned i = 0; i < 2; i++) {
		struct slot *slot = add(s, PINHOLE_XDP, both[i]);
		struct stage_frame f = stage_frame(s, both[i]);
		uint8_t *check = f.data + (i == 0 ? AT_UDP4 : AT_UDP6) + 6;

		CHECK(stage_pass(s, PINHOLE_TC, &f) == STAGE_UP); /* XDP's as long as it can */
		f = stage_frame(s, both[i]);
		check[1] ^= 1;
		CHECK(stage_pass(s, PINHOLE_XDP, &f) == STAGE_UP && (slot->flags & SLOT_NO_XDP) && slot->packets == 0);
		CHECK(stage_pass(s, PINHOLE_TC, &f) == STAGE_SENT && slot->packets == 1 && slot->passed == 0);
		f = stage_frame(s, both[i]);
		CHECK(stage_pass(s, PINHOLE_XDP, &f) == STAGE_UP && slot->packets == 1);
		slot->flags = 0;
		slot->packets = 256;
		check[1] ^= 1;
		CHECK(stage_pass(s, PINHOLE_XDP, &f) == STAGE_UP && (slot->flags & SLOT_NO_XDP));
	}
	end(s);
}

static void test_unfinished(void)
{
	stage_run(unfinished);
}

/* What is not RTP by agreement is not looked into. */
static void plain(struct stage *s)
{
	for (unsigned k = 0; k < 2; k++) {
		struct wire_pinhole p = stage_pinhole(AF_INET, PORT);
		struct stage_frame f;
		struct slot *slot;

		p.flags = 0;
		begin(s, paths[k]);
		slot = add(s, paths[k], &p);
		f = stage_frame(s, &p);
		f.data[AT_RTP4] = 0;
		f.data[AT_UDP4 + 5] = 8; /* no payload at all */
		f.data[AT_IP + 3] = 28;
		f.len = 60;
		stage_checksums(&f);
		CHECK(stage_pass(s, paths[k], &f) == STAGE_SENT && stage_has_good_checksums(&f));
		CHECK(slot->packets == 1 && slot->bytes == 0 && slot->rtp_packets == 0);
		end(s);
	}
}

static void test_plain(void)
{
	stage_run(plain);
}

static const struct unit_test tests[] = {
	{ "XDP: packets and verdicts", test_packets_xdp },
	{ "tc: packets and verdicts", test_packets_tc },
	{ "tc: packets whose sum the hardware knows", test_packets_summed },
	{ "checksums are right whatever they were", test_checksums },
	{ "sequence numbers and jitter are counted as in the relay", test_sequences },
	{ "packets and octets per second", test_rates },
	{ "a stream is handed over at a pause, or after a second", test_hand_over },
	{ "expired, by another interface, renewed", test_leaving },
	{ "without a next hop packets go to the relay", test_no_way },
	{ "unfinished checksums make a stream go by tc", test_unfinished },
	{ "flows that are not RTP", test_plain },
};

int main(int argc, char **argv)
{
	return stage_main(argc, argv, "bpf_program", tests, sizeof(tests) / sizeof(tests[0]));
}

/* Opens pinholes through the privileged helper, as posternd does, for benchmarks: measures how long that takes, then
 * keeps them open until standard input ends. It trusts the helper and renews nothing. Needs root, and runs inside the
 * gateway's network namespace.
 *
 * Prints one JSON object when all are open, or {"reason": "..."} when the path cannot be used here; then another one
 * for each line "counters". Exit code: 0 done, 1 something failed, 2 wrong usage. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/err.h"
#include "pinhole/pinhole.h"
#include "pinhole/wire.h"

enum { PINHOLES_MAX = 65536, SINGLES_MAX = 2000, LINE_MAX_BYTES = 256, REGIONS = 2, LIFETIME_S = 3600, DSCP = 46 };

struct place { /* where the counters of a pinhole are */
	uint32_t slot;
	uint8_t region;
};

struct client {
	const char *helper, *state_dir, *file, *in, *out;
	enum pinhole_path path;
	int channel;
	uint64_t serial;
	struct wire_pinhole *pinholes;
	struct place *places;
	uint32_t n;
	const struct slot *slots[REGIONS];
	uint32_t n_slots[REGIONS];
	uint64_t *times_ns; /* of requests */
	uint32_t n_times;
	_Alignas(8) uint8_t message[WIRE_MESSAGE_MAX];
};

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static int fail(const char *what, int err)
{
	fprintf(stderr, "pinhole_client: %s: %s\n", what, err_str(err));
	return err;
}

/* ---- what is wanted ---- */

static int read_pinhole(struct span line, struct wire_pinhole *ret)
{
	struct wire_addr *parts[4] = { &ret->source, &ret->listen, &ret->from, &ret->target };

	for (unsigned i = 0; i < 4; i++) {
		struct addr addr;
		int err = addr_parse(span_cut(&line, ' '), &addr);

		if (err < 0)
			return err;
		*parts[i] = wire_addr_of(&addr);
	}
	return line.ptr == NULL ? 0 : ERR_PARSE;
}

static int read_pinholes(struct client *c)
{
	char line[LINE_MAX_BYTES];
	FILE *file = fopen(c->file, "re");
	int err = file == NULL ? -errno : 0;

	while (err == 0 && fgets(line, sizeof(line), file) != NULL) {
		struct wire_pinhole *p = &c->pinholes[c->n];

		if (c->n == PINHOLES_MAX) {
			err = ERR_LIMIT;
			break;
		}
		*p = (struct wire_pinhole){
			.id = ++c->n, .payloads = { 1, 0 }, .packets_per_s = 10000000, .bytes_per_s = 2000000000,
			.lifetime_s = LIFETIME_S, .clock_hz = 8000, .realm_in = 0, .realm_out = 1, .proto = IPPROTO_UDP,
			.flags = WIRE_RTP, .dscp = DSCP,
		};
		memcpy(p->owner, &p->id, sizeof(p->id));
		err = read_pinhole(span_trim(span_of(line)), p);
	}
	if (file != NULL)
		(void)fclose(file);
	if (err == 0 && c->n == 0)
		err = ERR_PARSE;
	return err < 0 ? fail(c->file, err) : 0;
}

/* ---- the channel ---- */

static int start_helper(struct client *c)
{
	char text[16];
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return fail("socketpair", -errno);
	pid = fork();
	if (pid < 0)
		return fail("fork", -errno);
	if (pid == 0) {
		int fd = dup(ends[1]); /* without close-on-exec */

		(void)snprintf(text, sizeof(text), "%d", fd);
		execl(c->helper, c->helper, "--channel", text, "--state-dir", c->state_dir, "--node", "bench",
		      (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	c->channel = ends[0];
	return 0;
}

static int map_slots(struct client *c, const struct wire_hello *hello, int fds[2], unsigned n_fds)
{
	unsigned next = 0;

	if (hello->slot_version != SLOT_VERSION || hello->slot_size != sizeof(struct slot))
		return fail("slots", ERR_UNSUPPORTED);
	for (unsigned i = 0; i < REGIONS; i++) {
		void *memory;

		if (hello->slots[i] == 0 || next == n_fds)
			continue;
		memory = mmap(NULL, hello->slots[i] * sizeof(struct slot), PROT_READ, MAP_SHARED, fds[next++], 0);
		if (memory == MAP_FAILED) { /* measured all the same, but without a look at the counters */
			(void)fail("memory of counters", -errno);
			continue;
		}
		c->slots[i] = memory;
		c->n_slots[i] = hello->slots[i];
	}
	return 0;
}

/* The next message with that op; others are looked into when they matter and forgotten. */
static int await(struct client *c, enum wire_op op, struct wire_head *ret_head, const void **ret_records)
{
	for (;;) {
		int fds[2], err;
		unsigned n_fds = 0;
		const char *why = "";
		int len = wire_receive(c->channel, c->message, sizeof(c->message), fds, &n_fds);

		if (len < 0)
			return fail("channel", len);
		err = wire_parse(c->message, (size_t)len, ret_head, ret_records, &why);
		if (err < 0)
			return fail(why, err);
		if (ret_head->op == WIRE_HELLO)
			err = map_slots(c, *ret_records, fds, n_fds);
		for (unsigned i = 0; i < n_fds; i++)
			close(fds[i]);
		if (err < 0 || ret_head->op == op)
			return err;
	}
}

static int send_limits(struct client *c)
{
	const struct wire_addr own[2] = { c->pinholes[0].listen, c->pinholes[0].from };
	const char *devices[2] = { c->in, c->out };
	struct wire_limit limits[2] = { 0 };
	struct wire_seal seal = { .pinholes_max = PINHOLES_MAX, .lifetime_max_s = LIFETIME_S, .port_floor = 1024,
				  .order = { (uint8_t)c->path } };
	int err;

	for (unsigned i = 0; i < 2; i++) {
		limits[i].addr = own[i];
		limits[i].addr.port = 0;
		(void)snprintf(limits[i].interface, sizeof(limits[i].interface), "%s", devices[i]);
		limits[i].port_min = 20000;
		limits[i].port_max = 59999;
		limits[i].realm = (uint16_t)i;
	}
	err = wire_send(c->channel, WIRE_LIMITS, ++c->serial, limits, 2, NULL, 0);
	if (err == 0)
		err = wire_send(c->channel, WIRE_SEAL, ++c->serial, &seal, 1, NULL, 0);
	return err < 0 ? fail("limits", err) : 0;
}

static void print_reason(const char *reason)
{
	fputs("{\"reason\": \"", stdout);
	for (; *reason != '\0'; reason++)
		putchar(*reason == '"' || *reason == '\\' || *reason < ' ' ? '\'' : *reason);
	puts("\"}");
	fflush(stdout);
}

/* 1: both realms can hold pinholes on the path that is asked for. 0: not, and the reason is printed. */
static int check_abilities(struct client *c)
{
	struct wire_head head;
	const struct wire_ability *abilities;
	const void *records;
	unsigned usable = 0;
	const char *reason = "the helper does not know it";
	int err = await(c, WIRE_ABILITY, &head, &records);

	if (err < 0)
		return err;
	abilities = records;
	for (uint32_t i = 0; i < head.count; i++) {
		if (abilities[i].path != c->path)
			continue;
		usable += abilities[i].is_usable;
		if (!abilities[i].is_usable)
			reason = abilities[i].reason;
	}
	if (usable >= 2)
		return 1;
	print_reason(reason);
	return 0;
}

/* ---- opening ---- */

static int take_answer(struct client *c, uint32_t first, uint32_t n, const char **ret_reason)
{
	struct wire_head head;
	const struct wire_opened *opened;
	const void *records;
	int err = await(c, WIRE_OPENED, &head, &records);

	if (err < 0)
		return err;
	opened = records;
	if (head.count != n)
		return fail("answer", ERR_PARSE);
	for (uint32_t i = 0; i < n; i++) {
		if (opened[i].err < 0 || opened[i].path != c->path || opened[i].region >= REGIONS) {
			*ret_reason = opened[i].reason;
			return opened[i].err < 0 ? opened[i].err : ERR_UNSUPPORTED;
		}
		c->places[first + i] = (struct place){ opened[i].slot, opened[i].region };
	}
	return 0;
}

static int open_some(struct client *c, uint32_t first, uint32_t n)
{
	const char *reason = "";
	uint64_t before = now_ns();
	int err = wire_send(c->channel, WIRE_OPEN, ++c->serial, &c->pinholes[first], n, NULL, 0);

	if (err == 0)
		err = take_answer(c, first, n, &reason);
	c->times_ns[c->n_times++] = now_ns() - before;
	if (err < 0)
		fprintf(stderr, "pinhole_client: pinhole %u: %s: %s\n", first, err_str(err), reason);
	return err;
}

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

/* Sorts and forgets the times. */
static double percentile_us(struct client *c, unsigned percent)
{
	qsort(c->times_ns, c->n_times, sizeof(*c->times_ns), compare);
	return c->n_times == 0 ? 0 : (double)c->times_ns[(uint64_t)(c->n_times - 1) * percent / 100] / 1000;
}

/* Half of them (at most SINGLES_MAX) one by one, the others in batches. */
static int open_all(struct client *c)
{
	uint32_t singles = c->n / 2 < SINGLES_MAX ? c->n / 2 : SINGLES_MAX, done = 0;
	double p50, p99;
	uint64_t started;
	int err = 0;

	for (; done < singles && err == 0; done++)
		err = open_some(c, done, 1);
	p50 = percentile_us(c, 50);
	p99 = percentile_us(c, 99);
	c->n_times = 0;
	started = now_ns();
	while (done < c->n && err == 0) {
		uint32_t n = c->n - done < WIRE_BATCH_MAX ? c->n - done : WIRE_BATCH_MAX;

		err = open_some(c, done, n);
		done += n;
	}
	if (err < 0)
		return err;
	printf("{\"setup_p50\": %.1f, \"setup_p99\": %.1f, \"setup_rate\": %.0f, \"setup_batch_p99\": %.1f}\n", p50, p99,
	       (double)(c->n - singles) * 1e9 / (double)(now_ns() - started), percentile_us(c, 99));
	fflush(stdout);
	return 0;
}

/* ---- afterwards ---- */

static void print_counters(const struct client *c)
{
	unsigned long long packets = 0, bytes = 0, lost = 0, passed = 0, dropped = 0;
	uint32_t active = 0;

	for (uint32_t i = 0; i < c->n; i++) {
		const struct place *p = &c->places[i];
		const struct slot *s = p->slot < c->n_slots[p->region] ? &c->slots[p->region][p->slot] : NULL;
		uint64_t expected;

		if (s == NULL)
			continue;
		expected = s->rtp_packets == 0 ? 0 : s->max_seq - s->first_seq + 1;
		packets += s->packets;
		bytes += s->bytes;
		lost += expected > s->rtp_packets ? expected - s->rtp_packets : 0;
		passed += s->passed;
		dropped += s->dropped_rate + s->dropped_format;
		active += s->packets > 0;
	}
	printf("{\"pinholes\": %u, \"active\": %u, \"packets\": %llu, \"bytes\": %llu, \"lost\": %llu, \"passed\": %llu, "
	       "\"dropped\": %llu}\n", c->n, active, packets, bytes, lost, passed, dropped);
	fflush(stdout);
}

static int run(struct client *c)
{
	char line[LINE_MAX_BYTES];
	int err;

	c->pinholes = calloc(PINHOLES_MAX, sizeof(*c->pinholes));
	c->places = calloc(PINHOLES_MAX, sizeof(*c->places));
	c->times_ns = calloc(PINHOLES_MAX, sizeof(*c->times_ns));
	if (c->pinholes == NULL || c->places == NULL || c->times_ns == NULL)
		return fail("tables", -ENOMEM);
	err = read_pinholes(c);
	if (err == 0)
		err = start_helper(c);
	if (err == 0)
		err = send_limits(c);
	if (err == 0)
		err = check_abilities(c);
	if (err <= 0)
		return err;
	err = open_all(c);
	while (err == 0 && fgets(line, sizeof(line), stdin) != NULL)
		print_counters(c);
	return err;
}

static void set_path(struct client *c, const char *name)
{
	for (unsigned i = PINHOLE_XDP; i < PINHOLE_PATHS; i++)
		if (strcmp(pinhole_path_text((enum pinhole_path)i), name) == 0)
			c->path = (enum pinhole_path)i;
}

int main(int argc, char **argv)
{
	static struct client client = { .channel = -1 };
	int err;

	if (argc == 7)
		set_path(&client, argv[3]);
	if (client.path == PINHOLE_NONE) {
		fputs("usage: pinhole_client HELPER STATE-DIR xdp|tc|conntrack PINHOLES DEVICE-IN DEVICE-OUT\n"
		      "PINHOLES: a file with a line \"source listen from target\" for each, all address:port\n", stderr);
		return 2;
	}
	client.helper = argv[1];
	client.state_dir = argv[2];
	client.file = argv[4];
	client.in = argv[5];
	client.out = argv[6];
	err = run(&client);
	if (client.channel >= 0)
		close(client.channel);
	free(client.pinholes);
	free(client.places);
	free(client.times_ns);
	return err < 0 ? 1 : 0;
}

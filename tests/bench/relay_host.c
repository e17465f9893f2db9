/* The media engine alone, for benchmarks: opens N one-stream sessions with given far ends, says where it listens, and
 * forwards until standard input ends.
 *
 * usage: relay_host N LOCAL-A LOCAL-B REMOTE-A REMOTE-B [THREADS]
 * LOCAL: an IP address of this host. REMOTE: address:port of the first stream; each further one is two ports up.
 * Prints a line "port-a port-b" per stream and then "ready"; at the end "packets N sent N dropped N" of side A. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/conf.h"
#include "core/loop.h"
#include "media-relay/media.h"

enum { PORT_MIN = 20000, PORT_MAX = 29999, SESSIONS_MAX = 5000 };

static struct config config;
static struct media *sessions[SESSIONS_MAX];
static uint32_t n_sessions;
static struct loop *loop;

static int read_realm(unsigned index, const char *name, const char *address)
{
	struct realm_conf *realm = &config.realms[index];

	realm->index = index;
	realm->name = name;
	realm->n_addresses = 1;
	realm->media_port_min = PORT_MIN;
	realm->media_port_max = PORT_MAX;
	realm->trust = TRUST_TRUSTED;
	realm->nat = NAT_OFF;
	realm->latch_window_ms = 5000;
	config.n_realms++;
	return addr_parse_ip(span_of(address), &realm->addresses[0]);
}

static int open_session(struct media_engine *engine, struct group *group, uint32_t i, const struct addr remotes[2])
{
	struct media_local local;
	uint16_t ports[2];
	int err = media_open(engine, group, &config.realms[0], &config.realms[1], 0, NULL, NULL, &sessions[i]);

	if (err == 0)
		err = media_stream_open(sessions[i], 0, 0, 0);
	if (err < 0)
		return err;
	for (unsigned side = 0; side < 2; side++) {
		struct media_remote remote = { .rtp = remotes[side], .is_rtp = true, .may_send = true, .payloads = { 1, 0 } };

		remote.rtp.port = (uint16_t)(remote.rtp.port + 2 * i);
		media_stream_remote(sessions[i], 0, (enum media_side)side, &remote, false);
		media_stream_local(sessions[i], 0, (enum media_side)side, &local);
		ports[side] = local.rtp.port;
	}
	printf("%u %u\n", ports[0], ports[1]);
	return 0;
}

static void on_input(void *arg, int fd, int events)
{
	char bytes[256];

	(void)arg;
	(void)events;
	if (read(fd, bytes, sizeof(bytes)) <= 0)
		loop_stop(loop);
}

static void print_totals(void)
{
	unsigned long long packets = 0, sent = 0, dropped = 0;

	for (uint32_t i = 0; i < n_sessions; i++) {
		struct media_stats s;

		if (media_stats(sessions[i], 0, MEDIA_A, &s) < 0)
			continue;
		packets += s.packets;
		sent += s.sent;
		dropped += s.dropped_source + s.dropped_format + s.dropped_payload + s.dropped_early + s.dropped_overload;
	}
	printf("packets %llu sent %llu dropped %llu\n", packets, sent, dropped);
}

static int run(const struct addr remotes[2])
{
	struct media_engine *engine = NULL;
	struct conf_errors errors = { 0 };
	struct loop_fd *input = NULL;
	struct group group;
	int err = loop_new(&loop);

	group_init(&group, 0, 0);
	if (err == 0)
		err = media_engine_new(loop, &config, NULL, &errors, &engine);
	conf_errors_print(&errors, stderr);
	conf_errors_free(&errors);
	for (uint32_t i = 0; err == 0 && i < n_sessions; i++)
		err = open_session(engine, &group, i, remotes);
	if (err == 0)
		err = loop_fd_open(loop, STDIN_FILENO, LOOP_READ, on_input, NULL, &input);
	if (err == 0) {
		puts("ready");
		fflush(stdout);
		err = loop_run(loop);
		print_totals();
	}
	loop_fd_close(input);
	group_close(&group);
	media_engine_free(engine);
	loop_free(loop);
	return err;
}

int main(int argc, char **argv)
{
	struct addr remotes[2];
	struct rlimit files;
	uint32_t threads = 1;

	if (argc < 6 || argc > 7 || span_to_u32(span_of(argv[1]), SESSIONS_MAX, &n_sessions) < 0 ||
	    read_realm(0, "a", argv[2]) < 0 || read_realm(1, "b", argv[3]) < 0 ||
	    addr_parse(span_of(argv[4]), &remotes[0]) < 0 || addr_parse(span_of(argv[5]), &remotes[1]) < 0 ||
	    (argc == 7 && span_to_u32(span_of(argv[6]), 64, &threads) < 0)) {
		fputs("usage: relay_host N LOCAL-A LOCAL-B REMOTE-A REMOTE-B [THREADS]\n", stderr);
		return 2;
	}
	config.limits.relay_threads = threads;
	config.limits.port_quarantine_ms = 1000;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	return run(remotes) < 0 ? 1 : 0;
}

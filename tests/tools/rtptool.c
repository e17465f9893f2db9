/* An RTP sender and receiver for tests and benchmarks: any number of streams, evenly paced, in one thread; prints what it sent
 * and what arrived, per sender. The payload identifies stream and packet (rtpstat.h), so "zero loss, nothing foreign" is a fact
 * and not a guess. Controlled by options alone, or with --control by lines on standard input.
 *
 * Exit code: 0 done, 1 a system call failed, 2 wrong usage. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "core/addr.h"
#include "tests/tools/rtpstat.h"

enum { PACKET_MAX = 1500, RECEIVE_BATCH = 32, STREAMS_MAX = 20000, LINE_MAX_BYTES = 256, SEND_BURST = 256 };
#define SECOND UINT64_C(1000000000)

struct stream {
	struct addr bind, to, rtcp_to; /* family 0: does not send */
	uint32_t id;
	int rtp_fd, rtcp_fd;           /* -1: none */
	uint32_t sent;
	uint64_t send_errors, rtcp_sent, rtcp_received, echoed;
	struct rtpstat stat;
};

struct options {
	uint32_t count, pps, size, payload_type, ssrc, seconds, linger_ms;
	bool is_echo, has_rtcp, has_mux, is_control, is_json, is_kernel_time, is_brief;
};

struct tool {
	struct options options;
	struct stream *streams;
	unsigned n_streams;
	int epoll_fd;
	bool is_sending, is_done;
	uint64_t started_ns;   /* of sending */
	uint64_t slot;         /* packets due so far, over all streams: packet k of stream i is slot k * n + i */
	uint64_t late_max_ns;
	uint64_t rtcp_due_ns;
	uint64_t ends_ns;      /* 0: not known yet */
	char input[LINE_MAX_BYTES];
	size_t input_len;
};

static const char usage[] =
	"usage: rtptool --bind ADDR:PORT [--to ADDR:PORT] [options]\n"
	"       rtptool --streams FILE [options]        lines \"bind to id [expected-id]\", to may be \"-\"\n"
	"  --count N      packets to send per stream (default: until the end)\n"
	"  --pps N        packets per second and stream, 1 to 10000 (50)\n"
	"  --size N       payload bytes, 24 to 1400 (160)\n"
	"  --pt N         RTP payload type, 0 to 127 (0)\n"
	"  --ssrc N       of the first stream, rising by one per stream (1)\n"
	"  --id N         identity of the stream in the payload (1)\n"
	"  --expect N     identity that should arrive; other packets count as foreign (any)\n"
	"  --seconds N    end after that time (default: 300 ms after the last packet sent)\n"
	"  --linger-ms N  receive that long after the last packet sent (300)\n"
	"  --echo         send back what arrives, unchanged, to where it came from\n"
	"  --rtcp         send a report every second and count reports, on the ports above\n"
	"  --rtcp-mux     the same on the RTP ports\n"
	"  --control      say \"ready\" once bound, then take commands from standard input:\n"
	"                 to ADDR:PORT, rtcp-to ADDR:PORT, start, stop, report, quit\n"
	"  --json         print one JSON object at the end instead of text\n"
	"  --kernel-time  packets arrived when the kernel says so, not when they were read\n"
	"  --brief        totals only\n";

static uint64_t ns_of(const struct timespec *ts)
{
	return (uint64_t)ts->tv_sec * SECOND + (uint64_t)ts->tv_nsec;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ns_of(&ts);
}

/* ---- options ---- */

static bool read_number(const char *text, uint32_t min, uint32_t max, uint32_t *ret)
{
	return span_to_u32(span_of(text), max, ret) == 0 && *ret >= min;
}

static struct addr port_above(struct addr addr)
{
	addr.port++;
	return addr;
}

static bool parse_stream(struct span line, struct stream *stream)
{
	struct span bind = span_cut(&line, ' ');
	struct span to = span_cut(&line, ' ');
	struct span id = span_cut(&line, ' ');

	if (addr_parse(bind, &stream->bind) < 0 || span_to_u32(id, UINT32_MAX, &stream->id) < 0)
		return false;
	if (!span_eq(to, SPAN_LIT("-")) && addr_parse(to, &stream->to) < 0)
		return false;
	stream->stat.has_expected = line.ptr != NULL;
	return line.ptr == NULL || span_to_u32(line, UINT32_MAX, &stream->stat.expected) == 0;
}

static bool read_streams(struct tool *tool, const char *path)
{
	char line[LINE_MAX_BYTES];
	FILE *file = fopen(path, "re");
	bool is_good = file != NULL;

	while (is_good && fgets(line, sizeof(line), file) != NULL) {
		struct span text = span_trim(span_of(line));

		if (text.len == 0 || text.ptr[0] == '#')
			continue;
		is_good = tool->n_streams < STREAMS_MAX && parse_stream(text, &tool->streams[tool->n_streams++]);
	}
	if (!is_good)
		fprintf(stderr, "rtptool: %s: cannot be read, or line %u is wrong\n", path, tool->n_streams);
	if (file != NULL)
		(void)fclose(file);
	return is_good;
}

enum { OPT_BIND = 256, OPT_TO, OPT_STREAMS, OPT_COUNT, OPT_PPS, OPT_SIZE, OPT_PT, OPT_SSRC, OPT_ID, OPT_EXPECT, OPT_SECONDS,
       OPT_LINGER, OPT_ECHO, OPT_RTCP, OPT_RTCP_MUX, OPT_CONTROL, OPT_JSON, OPT_KERNEL_TIME, OPT_BRIEF, OPT_HELP };

static const struct option long_options[] = {
	{ "bind", required_argument, NULL, OPT_BIND },
	{ "to", required_argument, NULL, OPT_TO },
	{ "streams", required_argument, NULL, OPT_STREAMS },
	{ "count", required_argument, NULL, OPT_COUNT },
	{ "pps", required_argument, NULL, OPT_PPS },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "pt", required_argument, NULL, OPT_PT },
	{ "ssrc", required_argument, NULL, OPT_SSRC },
	{ "id", required_argument, NULL, OPT_ID },
	{ "expect", required_argument, NULL, OPT_EXPECT },
	{ "seconds", required_argument, NULL, OPT_SECONDS },
	{ "linger-ms", required_argument, NULL, OPT_LINGER },
	{ "echo", no_argument, NULL, OPT_ECHO },
	{ "rtcp", no_argument, NULL, OPT_RTCP },
	{ "rtcp-mux", no_argument, NULL, OPT_RTCP_MUX },
	{ "control", no_argument, NULL, OPT_CONTROL },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "kernel-time", no_argument, NULL, OPT_KERNEL_TIME },
	{ "brief", no_argument, NULL, OPT_BRIEF },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static bool take_flag(struct options *options, int option)
{
	options->is_echo |= option == OPT_ECHO;
	options->has_rtcp |= option == OPT_RTCP || option == OPT_RTCP_MUX;
	options->has_mux |= option == OPT_RTCP_MUX;
	options->is_control |= option == OPT_CONTROL;
	options->is_json |= option == OPT_JSON;
	options->is_kernel_time |= option == OPT_KERNEL_TIME;
	options->is_brief |= option == OPT_BRIEF;
	return option >= OPT_ECHO && option <= OPT_BRIEF;
}

static bool take_option(struct tool *tool, int option, const char *value)
{
	struct options *o = &tool->options;
	struct stream *first = &tool->streams[0];

	switch (option) {
	case OPT_BIND:
		tool->n_streams = 1;
		return addr_parse(span_of(value), &first->bind) == 0;
	case OPT_TO:
		return addr_parse(span_of(value), &first->to) == 0;
	case OPT_STREAMS:
		return tool->n_streams == 0 && read_streams(tool, value);
	case OPT_COUNT:
		return read_number(value, 0, UINT32_MAX - 1, &o->count);
	case OPT_PPS:
		return read_number(value, 1, 10000, &o->pps);
	case OPT_SIZE:
		return read_number(value, RTPSTAT_MARKER, 1400, &o->size);
	case OPT_PT:
		return read_number(value, 0, 127, &o->payload_type);
	case OPT_SSRC:
		return read_number(value, 0, UINT32_MAX, &o->ssrc);
	case OPT_ID:
		return read_number(value, 0, UINT32_MAX, &first->id);
	case OPT_EXPECT:
		first->stat.has_expected = true;
		return read_number(value, 0, UINT32_MAX, &first->stat.expected);
	case OPT_SECONDS:
		return read_number(value, 1, 86400, &o->seconds);
	case OPT_LINGER:
		return read_number(value, 0, 60000, &o->linger_ms);
	default:
		return take_flag(o, option);
	}
}

/* 0, or the exit code with which to leave. */
static int parse_options(struct tool *tool, int argc, char **argv)
{
	int option;

	tool->options = (struct options){ .count = UINT32_MAX, .pps = 50, .size = 160, .ssrc = 1, .linger_ms = 300 };
	tool->streams[0].id = 1;
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (option == OPT_HELP) {
			(void)fputs(usage, stdout);
			exit(0);
		}
		if (!take_option(tool, option, optarg)) {
			fprintf(stderr, "rtptool: wrong option or value: %s\n%s", optarg ? optarg : "", usage);
			return 2;
		}
	}
	if (optind < argc || tool->n_streams == 0) {
		fprintf(stderr, "rtptool: --bind or --streams is required, nothing else may follow\n%s", usage);
		return 2;
	}
	if (tool->options.seconds == 0 && tool->options.count == UINT32_MAX && !tool->options.is_control) {
		fprintf(stderr, "rtptool: give --count, --seconds or --control, else it would run for ever\n");
		return 2;
	}
	return 0;
}

/* ---- sockets ---- */

static int open_socket(const struct addr *addr)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(addr, &sa);
	int fd = socket(addr->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	char text[ADDR_TEXT_MAX];
	int bytes = 1 << 18;

	if (fd >= 0 && bind(fd, (struct sockaddr *)&sa, len) == 0) {
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
		return fd;
	}
	fprintf(stderr, "rtptool: %s: %s\n", addr_text(addr, text), strerror(errno));
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

/* The epoll value of a socket: index of the stream, and whether it is the RTCP socket. */
static bool watch(struct tool *tool, int fd, unsigned index, bool is_rtcp)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = (uint64_t)index << 1 | is_rtcp };

	return fd >= 0 && epoll_ctl(tool->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool open_streams(struct tool *tool)
{
	const int on = 1;

	tool->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned i = 0; i < tool->n_streams; i++) {
		struct stream *stream = &tool->streams[i];
		struct addr rtcp = port_above(stream->bind);

		stream->rtcp_fd = -1;
		stream->rtp_fd = open_socket(&stream->bind);
		if (!watch(tool, stream->rtp_fd, i, false))
			return false;
		if (tool->options.is_kernel_time && setsockopt(stream->rtp_fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0)
			return false;
		if (!tool->options.has_rtcp)
			continue;
		stream->rtcp_to = tool->options.has_mux ? stream->to : port_above(stream->to);
		if (tool->options.has_mux)
			continue;
		stream->rtcp_fd = open_socket(&rtcp);
		if (!watch(tool, stream->rtcp_fd, i, true))
			return false;
	}
	return true;
}

static bool send_to(int fd, const struct addr *to, const uint8_t *data, size_t len)
{
	struct sockaddr_storage sa;
	socklen_t sa_len = addr_to_sockaddr(to, &sa);

	return sendto(fd, data, len, 0, (struct sockaddr *)&sa, sa_len) == (ssize_t)len;
}

/* ---- receiving ---- */

/* On the clock of now_ns(). */
static uint64_t arrival_ns(const struct msghdr *message)
{
	struct timespec stamp, now;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR((struct msghdr *)message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
			continue;
		memcpy(&stamp, CMSG_DATA(c), sizeof(stamp));
		(void)clock_gettime(CLOCK_REALTIME, &now);
		return now_ns() - (ns_of(&now) - ns_of(&stamp));
	}
	return now_ns();
}

static void take_datagram(struct tool *tool, struct stream *stream, const struct addr *from, const struct mmsghdr *message)
{
	const uint8_t *data = message->msg_hdr.msg_iov->iov_base;
	size_t len = message->msg_len;

	/* RFC 5761: packet types 192 to 223 are RTCP. */
	if (len >= 2 && data[1] >= 192 && data[1] <= 223) {
		stream->rtcp_received++;
		return;
	}
	rtpstat_receive(&stream->stat, from, data, len, arrival_ns(&message->msg_hdr));
	if (tool->options.is_echo && send_to(stream->rtp_fd, from, data, len))
		stream->echoed++;
}

static void receive(struct tool *tool, struct stream *stream, int fd)
{
	static uint8_t data[RECEIVE_BATCH][PACKET_MAX];
	struct sockaddr_storage from[RECEIVE_BATCH];
	struct iovec vectors[RECEIVE_BATCH];
	struct mmsghdr messages[RECEIVE_BATCH];
	union {
		struct cmsghdr aligned;
		char bytes[CMSG_SPACE(sizeof(struct timespec))];
	} controls[RECEIVE_BATCH];
	int n;

	memset(messages, 0, sizeof(messages));
	for (int i = 0; i < RECEIVE_BATCH; i++) {
		vectors[i] = (struct iovec){ data[i], PACKET_MAX };
		messages[i].msg_hdr = (struct msghdr){ .msg_name = &from[i], .msg_namelen = sizeof(from[i]),
						       .msg_iov = &vectors[i], .msg_iovlen = 1,
						       .msg_control = &controls[i], .msg_controllen = sizeof(controls[i]) };
	}
	n = recvmmsg(fd, messages, RECEIVE_BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) {
		struct addr addr = addr_from_sockaddr((struct sockaddr *)&from[i]);

		take_datagram(tool, stream, &addr, &messages[i]);
	}
}

/* ---- sending ---- */

static void send_rtp(struct tool *tool, unsigned index)
{
	static uint8_t data[PACKET_MAX];
	struct stream *stream = &tool->streams[index];
	struct rtpstat_packet packet = { (uint8_t)tool->options.payload_type, tool->options.ssrc + index, stream->id,
					 stream->sent, now_ns() };

	if (!addr_is_set(&stream->to))
		return;
	rtpstat_write(&packet, data);
	if (send_to(stream->rtp_fd, &stream->to, data, RTPSTAT_HEADER + tool->options.size))
		stream->sent++;
	else
		stream->send_errors++;
}

/* A sender report without blocks and a CNAME: the least that RFC 3550 6.1 calls a compound packet. */
static void send_rtcp(struct tool *tool, unsigned index)
{
	struct stream *stream = &tool->streams[index];
	uint32_t ssrc = tool->options.ssrc + index;
	uint8_t data[48] = { 0x80, 200, 0, 6 };
	static const uint8_t cname[] = { 1, 7, 'r', 't', 'p', 't', 'o', 'o', 'l' };

	if (!addr_is_set(&stream->rtcp_to))
		return;
	for (int i = 0; i < 4; i++)
		data[4 + i] = data[32 + i] = (uint8_t)(ssrc >> (24 - 8 * i));
	data[28] = 0x81;
	data[29] = 202;
	data[31] = 4;
	memcpy(data + 36, cname, sizeof(cname));
	if (send_to(stream->rtcp_fd >= 0 ? stream->rtcp_fd : stream->rtp_fd, &stream->rtcp_to, data, sizeof(data)))
		stream->rtcp_sent++;
}

static uint64_t slot_ns(const struct tool *tool, uint64_t slot)
{
	uint64_t rate = (uint64_t)tool->options.pps * tool->n_streams;

	return tool->started_ns + slot / rate * SECOND + slot % rate * SECOND / rate;
}

/* Sends what is due, at most a burst, so that receiving is never starved. */
static void send_due(struct tool *tool, uint64_t now)
{
	uint64_t all = (uint64_t)tool->options.count * tool->n_streams;

	for (int n = 0; n < SEND_BURST && tool->is_sending && slot_ns(tool, tool->slot) <= now; n++) {
		uint64_t late = now - slot_ns(tool, tool->slot);

		if (late > tool->late_max_ns)
			tool->late_max_ns = late;
		send_rtp(tool, (unsigned)(tool->slot++ % tool->n_streams));
		if (tool->options.count == UINT32_MAX || tool->slot < all)
			continue;
		tool->is_sending = false;
		if (!tool->options.is_control && tool->options.seconds == 0)
			tool->ends_ns = now + tool->options.linger_ms * UINT64_C(1000000);
	}
	if (tool->options.has_rtcp && now >= tool->rtcp_due_ns) {
		for (unsigned i = 0; i < tool->n_streams; i++)
			send_rtcp(tool, i);
		tool->rtcp_due_ns = now + SECOND;
	}
}

/* ---- report ---- */

static void print_text(const struct tool *tool, const struct rtpstat_sum *sum, uint64_t sent)
{
	printf("streams %u sent %" PRIu64 " received %" PRIu64 " lost %" PRIu64 " duplicated %" PRIu64 " reordered %" PRIu64
	       " foreign %" PRIu64 " malformed %" PRIu64 " jitter %.0f us\n",
	       tool->n_streams, sent, sum->received, sum->lost, sum->duplicated, sum->reordered, sum->foreign,
	       sum->malformed, sum->jitter_max_ns / 1000);
}

static void print_stream(const struct stream *stream)
{
	struct rtpstat_sum sum = { 0 };
	char text[ADDR_TEXT_MAX];

	rtpstat_add(&stream->stat, &sum);
	printf("{\"bind\": \"%s\", \"id\": %" PRIu32 ", \"sent\": %" PRIu32 ", \"rtcp_sent\": %" PRIu64 ", \"rtcp_received\": %" PRIu64 ", ",
	       addr_text(&stream->bind, text), stream->id, stream->sent, stream->rtcp_sent, stream->rtcp_received);
	rtpstat_print_sum(&sum, stdout);
	fputs(", \"sources\": ", stdout);
	rtpstat_print_sources(&stream->stat, stdout);
	fputs("}", stdout);
}

static void report(const struct tool *tool)
{
	struct rtpstat_sum sum = { 0 };
	uint64_t sent = 0, errors = 0, rtcp_sent = 0, rtcp_received = 0, echoed = 0;

	for (unsigned i = 0; i < tool->n_streams; i++) {
		const struct stream *stream = &tool->streams[i];

		sent += stream->sent;
		errors += stream->send_errors;
		rtcp_sent += stream->rtcp_sent;
		rtcp_received += stream->rtcp_received;
		echoed += stream->echoed;
		rtpstat_add(&stream->stat, &sum);
	}
	if (!tool->options.is_json) {
		print_text(tool, &sum, sent);
		(void)fflush(stdout);
		return;
	}
	printf("{\"streams\": %u, \"sent\": %" PRIu64 ", \"send_errors\": %" PRIu64 ", \"echoed\": %" PRIu64 ", \"rtcp_sent\": %" PRIu64
	       ", \"rtcp_received\": %" PRIu64 ", \"late_max_us\": %" PRIu64 ", ", tool->n_streams, sent, errors, echoed,
	       rtcp_sent, rtcp_received, tool->late_max_ns / 1000);
	rtpstat_print_sum(&sum, stdout);
	for (unsigned i = 0; !tool->options.is_brief && i < tool->n_streams; i++) {
		fputs(i ? ", " : ", \"per_stream\": [", stdout);
		print_stream(&tool->streams[i]);
	}
	fputs(tool->options.is_brief ? "}\n" : "]}\n", stdout);
	(void)fflush(stdout);
}

/* ---- control ---- */

/* Every start sends --count packets more; their numbers go on. */
static void start(struct tool *tool)
{
	tool->is_sending = true;
	tool->started_ns = now_ns();
	tool->slot = 0;
}

static void command(struct tool *tool, struct span line)
{
	struct stream *stream = &tool->streams[0];
	struct span verb = span_cut(&line, ' ');
	bool is_good = true;

	if (span_eq(verb, SPAN_LIT("to"))) {
		is_good = addr_parse(line, &stream->to) == 0;
		if (is_good && tool->options.has_rtcp)
			stream->rtcp_to = tool->options.has_mux ? stream->to : port_above(stream->to);
	} else if (span_eq(verb, SPAN_LIT("rtcp-to"))) {
		is_good = addr_parse(line, &stream->rtcp_to) == 0;
	} else if (span_eq(verb, SPAN_LIT("start"))) {
		start(tool);
	} else if (span_eq(verb, SPAN_LIT("stop"))) {
		tool->is_sending = false;
	} else if (span_eq(verb, SPAN_LIT("report"))) {
		report(tool);
	} else if (span_eq(verb, SPAN_LIT("quit"))) {
		tool->is_done = true;
	} else {
		is_good = false;
	}
	if (!is_good)
		fprintf(stderr, "rtptool: unknown command or address: %.*s\n", SPAN_ARG(verb));
}

/* Standard input is read only when poll says so, hence never blocks; its end means quit. */
static void read_commands(struct tool *tool)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	struct span rest;
	ssize_t n;

	if (poll(&input, 1, 0) <= 0)
		return;
	n = read(STDIN_FILENO, tool->input + tool->input_len, sizeof(tool->input) - tool->input_len);
	if (n <= 0) {
		tool->is_done = true;
		return;
	}
	tool->input_len += (size_t)n;
	rest = (struct span){ tool->input, tool->input_len };
	while (span_find(rest, '\n') < rest.len)
		command(tool, span_trim(span_cut(&rest, '\n')));
	tool->input_len = rest.len < sizeof(tool->input) ? rest.len : 0;
	memmove(tool->input, rest.ptr, tool->input_len);
}

static int wait_ms(const struct tool *tool, uint64_t now)
{
	uint64_t until = now + SECOND / 50;

	if (tool->is_sending && slot_ns(tool, tool->slot) < until)
		until = slot_ns(tool, tool->slot);
	return until <= now ? 0 : (int)((until - now) / 1000000 + 1);
}

static void run(struct tool *tool)
{
	struct epoll_event events[64];

	while (!tool->is_done) {
		uint64_t now = now_ns();
		int n = epoll_wait(tool->epoll_fd, events, 64, wait_ms(tool, now));

		for (int i = 0; i < n; i++) {
			struct stream *stream = &tool->streams[events[i].data.u64 >> 1];

			receive(tool, stream, events[i].data.u64 & 1 ? stream->rtcp_fd : stream->rtp_fd);
		}
		now = now_ns();
		send_due(tool, now);
		if (tool->options.is_control)
			read_commands(tool);
		if (tool->ends_ns != 0 && now >= tool->ends_ns)
			tool->is_done = true;
	}
}

int main(int argc, char **argv)
{
	struct tool tool = { .epoll_fd = -1 };
	int code;

	tool.streams = calloc(STREAMS_MAX, sizeof(*tool.streams));
	if (tool.streams == NULL)
		return 1;
	code = parse_options(&tool, argc, argv);
	if (code == 0 && !open_streams(&tool))
		code = 1;
	if (code == 0) {
		if (tool.options.seconds > 0)
			tool.ends_ns = now_ns() + tool.options.seconds * SECOND;
		if (tool.options.is_control)
			(void)(puts("ready") < 0 || fflush(stdout));
		else
			start(&tool);
		run(&tool);
		report(&tool);
	}
	free(tool.streams);
	return code;
}

/* The sending half of the traffic tool: writes the flows' headers, then lets the kernel run frames, or uses a packet
 * socket. */
#include <bpf/bpf.h>
#include <errno.h>
#include <limits.h>
#include <linux/if_packet.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/bench/media/traffic_tool.h"

enum { BATCH = 64, LIVE_BATCH = 256 };

static uint32_t add_up(const uint8_t *bytes, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i += 2) {
		uint16_t word;

		memcpy(&word, bytes + i, sizeof(word));
		sum += word;
	}
	return sum;
}

static void put16(uint8_t *to, unsigned value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

static void make_flow(const struct tool *tool, uint32_t index, struct traffic_flow *flow)
{
	const struct endpoints *ends = &tool->flows[index];
	uint8_t head[sizeof(flow->head)] = { 0 }, *ip = head + TRAFFIC_AT_IP, *udp = head + TRAFFIC_AT_UDP;
	uint8_t *rtp = head + TRAFFIC_AT_RTP;
	uint16_t check;

	memcpy(head, tool->to_mac, 6);
	memcpy(head + 6, tool->own_mac, 6);
	put16(head + 12, 0x0800);
	ip[0] = 0x45;
	put16(ip + 2, 20 + TRAFFIC_UDP);
	put16(ip + 6, 0x4000); /* don't fragment */
	ip[8] = 64;
	ip[9] = IPPROTO_UDP;
	memcpy(ip + 12, ends->from.ip, 4);
	memcpy(ip + 16, ends->to.ip, 4);
	check = (uint16_t)~traffic_fold(add_up(ip, 20, 0));
	memcpy(ip + 10, &check, sizeof(check));
	put16(udp, ends->from.port);
	put16(udp + 2, ends->to.port);
	put16(udp + 4, TRAFFIC_UDP);
	rtp[0] = 0x80;
	put16(rtp + 8, (index + 1) >> 16);
	put16(rtp + 10, (index + 1) & 0xffff);
	memcpy(flow->head, head, sizeof(head));
	/* The payload is zero. Of the pseudo header: addresses, protocol, length. */
	flow->sum = add_up(ip + 12, 8, add_up(udp, TRAFFIC_HEAD - TRAFFIC_AT_UDP, 0));
	flow->sum = traffic_fold(flow->sum + traffic_be16(IPPROTO_UDP) + traffic_be16(TRAFFIC_UDP));
}

static void print_sent(const struct traffic_sender *s, uint64_t ns)
{
	printf("{\"sent\": %llu, \"skipped\": %llu, \"seconds\": %.6f}\n", (unsigned long long)s->sent,
	       (unsigned long long)s->skipped, (double)ns / (double)SECOND);
}

static void on_alarm(int signum)
{
	(void)signum;
}

/* The signal ends the system call, which would otherwise go on for thousands of millions of frames. */
static void set_alarm(uint32_t seconds)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval timer = { .it_value.tv_sec = seconds, .it_interval.tv_usec = 1000 };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static int send_live(struct tool *tool)
{
	static uint8_t frame[TRAFFIC_FRAME];
	int fd = bpf_program__fd(bpf_object__find_program_by_name(tool->programs, "generate"));
	uint64_t ends = now_ns() + tool->seconds * SECOND;

	set_alarm(tool->seconds);
	while (now_ns() < ends) {
		LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = sizeof(frame), .repeat = INT_MAX,
			    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = LIVE_BATCH);
		int err = bpf_prog_test_run_opts(fd, &run);

		if (err < 0 && err != -EINTR)
			return fail("running frames", -err);
	}
	return 0;
}

static int open_packet_socket(const struct tool *tool)
{
	const struct sockaddr_ll sa = { .sll_family = AF_PACKET, .sll_ifindex = (int)tool->ifindex };
	const int on = 1, size = 8 << 20;
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		return fail("packet socket", errno);
	return fd;
}

/* How many packets are due. */
static unsigned due(struct traffic_sender *s, uint64_t now)
{
	unsigned n = 0;

	if (s->interval_ns == 0)
		return BATCH;
	for (; n < BATCH && s->due_ns <= now; n++)
		s->due_ns += s->interval_ns;
	return n;
}

static int send_socket(struct tool *tool, struct traffic_sender *s, struct traffic_flow *flows)
{
	static uint64_t frames[BATCH][(TRAFFIC_FRAME + 7) / 8];
	struct mmsghdr messages[BATCH] = { 0 };
	struct iovec vectors[BATCH];
	int fd = open_packet_socket(tool);
	uint64_t ends = now_ns() + tool->seconds * SECOND, now;

	if (fd < 0)
		return fd;
	for (unsigned i = 0; i < BATCH; i++) {
		vectors[i] = (struct iovec){ frames[i], TRAFFIC_FRAME };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &vectors[i], .msg_iovlen = 1 };
	}
	while ((now = now_ns()) < ends) {
		unsigned n = due(s, now);
		int sent;

		for (unsigned i = 0; i < n; i++) {
			traffic_write(&flows[s->next], frames[i]);
			s->next = s->next + 1 < s->n_flows ? s->next + 1 : 0;
		}
		sent = n == 0 ? 0 : sendmmsg(fd, messages, n, 0);
		s->sent += sent > 0 ? (unsigned)sent : 0;
		s->skipped += n - (sent > 0 ? (unsigned)sent : 0);
	}
	close(fd);
	return 0;
}

int traffic_send(struct tool *tool)
{
	struct traffic_flow *flows = memory_of(tool, "flows", TRAFFIC_FLOWS_MAX * sizeof(*flows));
	struct traffic_sender *s = memory_of(tool, "sender", sizeof(*s));
	uint64_t started;
	int err;

	if (flows == NULL || s == NULL)
		return -ENOMEM;
	if (tool->use == 0 || tool->use > tool->n_flows)
		tool->use = tool->n_flows;
	for (uint32_t i = 0; i < tool->use; i++)
		make_flow(tool, i, &flows[i]);
	puts("ready");
	fflush(stdout);
	started = now_ns();
	*s = (struct traffic_sender){ .interval_ns = tool->pps == 0 ? 0 : SECOND / tool->pps, .due_ns = started,
				      .n_flows = tool->use, .ifindex = tool->ifindex };
	err = tool->is_socket ? send_socket(tool, s, flows) : send_live(tool);
	print_sent(s, now_ns() - started);
	return err;
}

/* Makes or counts RTP streams for benchmarks, faster than sockets could.
 *
 * `send` has the kernel run a BPF program on frames that then really leave through an interface (BPF_PROG_TEST_RUN
 * with live frames): millions of packets per second from one core. It paces by letting frames go to waste until the
 * next one is due, so it always takes its whole core. With --socket it uses sendmmsg() on a packet socket instead.
 * `count` attaches a program to an interface, which compares every packet with what it must be, counts and drops it.
 *
 * Both take a file with one line "from:port to:port" per flow: as the packets leave, or as they must arrive. Runs
 * inside the network namespace that it is started in; needs root. Exit code: 0 done, 1 a system call failed, 2 wrong
 * usage. */
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/media/traffic_tool.h"

enum { PPS_MAX = 100000000, SECONDS_MAX = 86400 };

static const char usage[] =
	"usage: traffic send --device NAME --to-mac MAC --flows FILE --pps N --seconds N [--use N] [--socket]\n"
	"       traffic count --device NAME --flows FILE\n"
	"  --pps N      all flows together; 0: as many as possible\n"
	"  --use N      only the first flows of the file\n"
	"  --object F   the BPF programs (default: traffic.bpf.o beside this program)\n"
	"Both say \"ready\" when they begin. `send` ends with a JSON object; `count` answers each line on standard input with a JSON object, and ends with the input.\n"
	"The lines \"all\" and \"some\" start the count of live flows anew, and have all packets compared or each 17th.\n";

uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

int fail(const char *what, int error)
{
	fprintf(stderr, "traffic: %s: %s\n", what, strerror(error));
	return -error;
}

static int read_flows(struct tool *tool)
{
	char line[LINE_MAX_BYTES];
	FILE *file = fopen(tool->flows_file, "re");
	bool is_good = file != NULL;

	tool->flows = calloc(TRAFFIC_FLOWS_MAX, sizeof(*tool->flows));
	while (is_good && tool->flows != NULL && fgets(line, sizeof(line), file) != NULL) {
		struct span rest = span_trim(span_of(line)), from = span_cut(&rest, ' ');
		struct endpoints *flow = &tool->flows[tool->n_flows];

		is_good = tool->n_flows < TRAFFIC_FLOWS_MAX && addr_parse(from, &flow->from) == 0 &&
			  addr_parse(rest, &flow->to) == 0 && flow->from.family == AF_INET &&
			  flow->to.family == AF_INET;
		tool->n_flows += is_good;
	}
	if (file != NULL)
		(void)fclose(file);
	if (is_good && tool->n_flows > 0)
		return 0;
	return fail(tool->flows_file, EINVAL);
}

static int read_mac(const char *text, uint8_t mac[6])
{
	struct span rest = span_of(text);

	for (unsigned i = 0; i < 6; i++) {
		struct span part = span_cut(&rest, ':');
		char hex[3] = { 0 }, *end;

		if (part.len != 2)
			return -EINVAL;
		memcpy(hex, part.ptr, 2);
		mac[i] = (uint8_t)strtoul(hex, &end, 16);
		if (end != hex + 2)
			return -EINVAL;
	}
	return rest.ptr == NULL ? 0 : -EINVAL;
}

static int look_up_device(struct tool *tool)
{
	struct ifreq request = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), err = 0;

	tool->ifindex = if_nametoindex(tool->device);
	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", tool->device);
	if (fd < 0 || tool->ifindex == 0 || ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		err = fail(tool->device, errno);
	memcpy(tool->own_mac, request.ifr_hwaddr.sa_data, sizeof(tool->own_mac));
	if (fd >= 0)
		close(fd);
	return err;
}

static int load(struct tool *tool)
{
	char path[PATH_MAX] = { 0 }, object[PATH_MAX + 32];
	int err;

	if (tool->object == NULL && readlink("/proc/self/exe", path, sizeof(path) - 1) < 0)
		return fail("/proc/self/exe", errno);
	(void)snprintf(object, sizeof(object), "%s/traffic.bpf.o", dirname(path));
	tool->programs = bpf_object__open_file(tool->object != NULL ? tool->object : object, NULL);
	err = (int)libbpf_get_error(tool->programs);
	if (err != 0) {
		tool->programs = NULL;
		return fail(object, -err);
	}
	err = bpf_object__load(tool->programs);
	return err < 0 ? fail("loading the BPF programs", -err) : 0;
}

void *memory_of(struct tool *tool, const char *name, size_t size)
{
	int fd = bpf_object__find_map_fd_by_name(tool->programs, name);
	void *memory = fd < 0 ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (memory != MAP_FAILED)
		return memory;
	(void)fail(name, errno);
	return NULL;
}

enum { OPT_DEVICE = 256, OPT_TO_MAC, OPT_FLOWS, OPT_PPS, OPT_SECONDS, OPT_USE, OPT_SOCKET, OPT_OBJECT };

static const struct option long_options[] = {
	{ "device", required_argument, NULL, OPT_DEVICE }, { "to-mac", required_argument, NULL, OPT_TO_MAC },
	{ "flows", required_argument, NULL, OPT_FLOWS },   { "pps", required_argument, NULL, OPT_PPS },
	{ "seconds", required_argument, NULL, OPT_SECONDS }, { "use", required_argument, NULL, OPT_USE },
	{ "socket", no_argument, NULL, OPT_SOCKET },       { "object", required_argument, NULL, OPT_OBJECT },
	{ NULL, 0, NULL, 0 },
};

static int set_option(struct tool *tool, int option)
{
	switch (option) {
	case OPT_DEVICE:
		tool->device = optarg;
		return 0;
	case OPT_TO_MAC:
		return read_mac(optarg, tool->to_mac);
	case OPT_FLOWS:
		tool->flows_file = optarg;
		return 0;
	case OPT_PPS:
		return span_to_u32(span_of(optarg), PPS_MAX, &tool->pps);
	case OPT_SECONDS:
		return span_to_u32(span_of(optarg), SECONDS_MAX, &tool->seconds);
	case OPT_USE:
		return span_to_u32(span_of(optarg), TRAFFIC_FLOWS_MAX, &tool->use);
	case OPT_SOCKET:
		tool->is_socket = true;
		return 0;
	case OPT_OBJECT:
		tool->object = optarg;
		return 0;
	default:
		return -EINVAL;
	}
}

int main(int argc, char **argv)
{
	struct tool tool = { .seconds = 1 };
	bool is_send = argc > 1 && strcmp(argv[1], "send") == 0, is_count = argc > 1 && strcmp(argv[1], "count") == 0;
	int option, err = is_send || is_count ? 0 : -EINVAL;

	optind = 2;
	while (err == 0 && (option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		err = set_option(&tool, option);
	if (err < 0 || optind < argc || tool.device == NULL || tool.flows_file == NULL) {
		fputs(usage, stderr);
		return 2;
	}
	err = read_flows(&tool);
	if (err == 0)
		err = look_up_device(&tool);
	if (err == 0)
		err = load(&tool);
	if (err == 0)
		err = is_send ? traffic_send(&tool) : traffic_count(&tool);
	bpf_object__close(tool.programs);
	free(tool.flows);
	return err < 0 ? 1 : 0;
}

/* Between the files of the traffic tool. */
#ifndef TESTS_BENCH_MEDIA_TRAFFIC_TOOL_H
#define TESTS_BENCH_MEDIA_TRAFFIC_TOOL_H

#include <bpf/libbpf.h>

#include "core/addr.h"
#include "tests/bench/media/traffic.h"

enum { LINE_MAX_BYTES = 256 };
#define SECOND UINT64_C(1000000000)

struct endpoints {
	struct addr from, to;
};

struct tool {
	const char *device, *object, *flows_file;
	uint8_t own_mac[6], to_mac[6];
	unsigned ifindex;
	bool is_socket;
	uint32_t pps, seconds, use; /* use: of the flows in the file; 0: all */
	struct endpoints *flows;
	uint32_t n_flows;
	struct bpf_object *programs;
};

uint64_t now_ns(void);
/* Says what failed; returns -error. */
int fail(const char *what, int error);
/* The memory of an array map; NULL when it cannot be had, which has been said. */
void *memory_of(struct tool *tool, const char *name, size_t size);

int traffic_send(struct tool *tool);
int traffic_count(struct tool *tool);

#endif

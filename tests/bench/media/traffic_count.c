/* The counting half of the traffic tool: attaches the program, answers questions about what it has counted. */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>

#include "tests/bench/media/traffic_tool.h"

enum { CHECK_EVERY = 1024, SOME_OF = 17 };

static void print_frame(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		printf("%02x", bytes[i]);
}

static void print_received(const struct traffic_receiver *r, const struct traffic_expected *flows)
{
	uint32_t alive = 0;

	for (uint32_t i = 0; i < r->n_flows; i++)
		alive += flows[i].packets > 0;
	printf("{\"ns\": %llu, \"right\": %llu, \"wrong\": %llu, \"checked\": %llu, \"wrong_checksum\": %llu, "
	       "\"partial\": %llu, \"alive\": %u, \"wrong_frame\": \"", (unsigned long long)now_ns(),
	       (unsigned long long)r->right, (unsigned long long)r->wrong, (unsigned long long)r->checked,
	       (unsigned long long)r->wrong_checksum, (unsigned long long)r->partial, alive);
	if (r->wrong > 0)
		print_frame(r->wrong_frame, sizeof(r->wrong_frame));
	puts("\"}");
	fflush(stdout);
}

/* As many checksums are looked at either way. */
static void set_sampling(struct traffic_receiver *r, uint32_t compare_every)
{
	r->compare_every = compare_every;
	r->check_every = CHECK_EVERY / compare_every;
}

static void answer(struct traffic_receiver *r, struct traffic_expected *flows)
{
	char line[LINE_MAX_BYTES];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		bool is_all = span_eq(span_trim(span_of(line)), SPAN_LIT("all"));

		if (is_all || span_eq(span_trim(span_of(line)), SPAN_LIT("some"))) {
			set_sampling(r, is_all ? 1 : SOME_OF);
			for (uint32_t i = 0; i < r->n_flows; i++)
				flows[i].packets = 0;
		}
		print_received(r, flows);
	}
}

int traffic_count(struct tool *tool)
{
	struct traffic_expected *flows = memory_of(tool, "expected", TRAFFIC_FLOWS_MAX * sizeof(*flows));
	struct traffic_receiver *r = memory_of(tool, "receiver", sizeof(*r));
	int fd = bpf_program__fd(bpf_object__find_program_by_name(tool->programs, "count"));
	int err;

	if (flows == NULL || r == NULL)
		return -ENOMEM;
	*r = (struct traffic_receiver){ .n_flows = tool->n_flows, .first_port = tool->flows[0].to.port };
	set_sampling(r, 1);
	memcpy(&r->daddr, tool->flows[0].to.ip, sizeof(r->daddr));
	for (uint32_t i = 0; i < tool->n_flows; i++) {
		memcpy(&flows[i].saddr, tool->flows[i].from.ip, sizeof(flows[i].saddr));
		flows[i].sport = traffic_be16(tool->flows[i].from.port);
		if (tool->flows[i].to.port != r->first_port + 2 * i)
			return fail("ports must rise by two", EINVAL);
	}
	err = bpf_xdp_attach((int)tool->ifindex, fd, XDP_FLAGS_DRV_MODE, NULL);
	if (err < 0)
		return fail("attaching to the interface", -err);
	puts("ready");
	fflush(stdout);
	answer(r, flows);
	(void)bpf_xdp_detach((int)tool->ifindex, XDP_FLAGS_DRV_MODE, NULL);
	return 0;
}

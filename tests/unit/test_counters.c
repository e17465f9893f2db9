/* pinhole/counters.h: what memory is accepted, what one pinhole has counted over several slots, and reading from other
 * threads while slots and their memory change. With root also a real BPF map, read by a process without any capability. */
#include "pinhole/counters.h"
#include "pinhole/pinhole.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/err.h"
#include "tests/mock/fake_helper.h"
#include "tests/unit/unit.h"

enum { N = 1000 };

static const char *map(struct counters_memory *memory, unsigned region, int fd, uint32_t n)
{
	const char *why = NULL;

	(void)counters_map(memory, region, fd, n, &why);
	return why;
}

static void only_memory_that_cannot_shrink(void)
{
	struct counters_memory memory = { 0 };
	struct slot *slots;
	int sealed = fake_helper_memory(N, true, &slots);
	int open_ended, null = open("/dev/null", O_RDWR | O_CLOEXEC), zero = open("/dev/zero", O_RDWR | O_CLOEXEC);

	munmap(slots, N * sizeof(*slots));
	open_ended = fake_helper_memory(N, false, &slots);
	CU_ASSERT_STRING_EQUAL(map(&memory, 0, open_ended, N), "the memory of counters may shrink");
	CU_ASSERT_STRING_EQUAL(map(&memory, 0, null, N), "the memory of counters may shrink");
	CU_ASSERT_STRING_EQUAL(map(&memory, 0, zero, N), "the memory of counters may shrink");
	CU_ASSERT_STRING_EQUAL(map(&memory, 0, -1, N), "the memory of counters may shrink");
	CU_ASSERT_STRING_EQUAL(map(&memory, 0, sealed, N + 1), "the memory of counters is too small");
	CU_ASSERT_STRING_EQUAL(map(&memory, 0, sealed, 0), "the number of counters is out of range");
	CU_ASSERT_STRING_EQUAL(map(&memory, 0, sealed, COUNTERS_SLOTS_MAX + 1), "the number of counters is out of range");
	CU_ASSERT_STRING_EQUAL(map(&memory, 2, sealed, N), "the number of counters is out of range");
	CU_ASSERT_PTR_NULL(counters_at(&memory, 0, 0));
	CU_ASSERT_PTR_NULL(map(&memory, 1, sealed, N));
	CU_ASSERT_PTR_NOT_NULL(counters_at(&memory, 1, N - 1));
	CU_ASSERT_PTR_NULL(counters_at(&memory, 1, N));
	CU_ASSERT_PTR_NULL(counters_at(&memory, 0, 0));
	CU_ASSERT_PTR_NULL(counters_at(&memory, 7, 0));
	counters_unmap(&memory);
	munmap(slots, N * sizeof(*slots));
	close(sealed);
	close(open_ended);
	close(null);
	close(zero);
}

/* Slots of earlier memory may still be looked at while the new one takes its place, larger or smaller. */
static void addresses_stay(void)
{
	static const uint32_t sizes[] = { 100, 3000, 10, 200 };
	struct counters_memory memory = { 0 };
	const struct slot *first = NULL;

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct slot *slots;
		int fd = fake_helper_memory(sizes[i], true, &slots);

		slots[5].packets = i + 1;
		CU_ASSERT_PTR_NULL(map(&memory, 0, fd, sizes[i]));
		first = first != NULL ? first : counters_at(&memory, 0, 5);
		CU_ASSERT_PTR_EQUAL(counters_at(&memory, 0, 5), first);
		CU_ASSERT_EQUAL(first->packets, i + 1);
		CU_ASSERT_EQUAL(first[90].packets, 0);
		munmap(slots, sizes[i] * sizeof(*slots));
		close(fd);
	}
	counters_unmap(&memory);
}

static void loss_and_jitter(void)
{
	static const struct {
		struct slot slot;
		uint64_t lost;
		uint32_t jitter_us;
		bool has_rtp;
	} cases[] = {
		{ { 0 }, 0, 0, false },
		{ { .first_seq = 65530, .max_seq = 65539, .rtp_packets = 10 }, 0, 0, true },
		{ { .first_seq = 65530, .max_seq = 65539, .rtp_packets = 7, .jitter_q4_ns = 16 * 2500000 }, 3, 2500, true },
		{ { .first_seq = 1, .max_seq = 10, .rtp_packets = 12, .duplicates = 2 }, 0, 0, true }, /* never below 0 */
		{ { .first_seq = 10, .max_seq = 1, .rtp_packets = 1 }, 0, 0, true },                   /* garbage */
		{ { .first_seq = 1, .max_seq = UINT64_MAX }, 0, 0, false },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slot_stats stats;

		counters_of_slot(&cases[i].slot, &stats);
		CU_ASSERT_EQUAL(stats.lost, cases[i].lost);
		CU_ASSERT_EQUAL(stats.jitter_us, cases[i].jitter_us);
		CU_ASSERT_EQUAL(stats.has_rtp, cases[i].has_rtp);
	}
}

/* The two share their place in the slot. */
static void both_ways_or_rtp(void)
{
	const struct slot both = { .packets = 3, .packets_back = 5, .bytes_back = 700, .flags = SLOT_BOTH_WAYS };
	const struct slot rtp = { .packets = 3, .first_seq = 5, .max_seq = 700, .rtp_packets = 3 };
	struct slot_stats stats, sum = { .packets_back = 1, .bytes_back = 1 };

	counters_of_slot(&both, &stats);
	CU_ASSERT(stats.packets == 3 && stats.packets_back == 5 && stats.bytes_back == 700 && stats.lost == 0);
	slot_stats_add(&sum, &stats);
	CU_ASSERT(sum.packets == 3 && sum.packets_back == 6 && sum.bytes_back == 701);
	counters_of_slot(&rtp, &stats);
	CU_ASSERT(stats.packets == 3 && stats.packets_back == 0 && stats.bytes_back == 0 && stats.lost == 693);
}

static uint64_t packets_of(const struct counters_source *source)
{
	struct slot_stats stats;

	counters_read(source, &stats);
	return stats.packets;
}

static void one_count_over_many_slots(void)
{
	struct counters_source source = { 0 };
	struct slot a = { .packets = 10, .last_ns = 5, .active_ns = 1, .flags = SLOT_NO_XDP, .state = SLOT_ACTIVE };
	struct slot b = { .packets = 1, .bytes = 100 }, late = { .packets = 2 };
	struct slot_stats stats;

	CU_ASSERT_EQUAL(packets_of(&source), 0);
	counters_attach(&source, &a, true);
	CU_ASSERT_EQUAL(packets_of(&source), 10);
	a.packets = 15;
	counters_freeze(&source);
	a.packets = 999; /* somebody else's by now */
	CU_ASSERT_EQUAL(packets_of(&source), 15);
	counters_attach(&source, &b, false);
	CU_ASSERT_EQUAL(packets_of(&source), 16);
	counters_read(&source, &stats);
	CU_ASSERT_EQUAL(stats.bytes, 100);
	CU_ASSERT_EQUAL(stats.last_ns, 5);
	CU_ASSERT_EQUAL(stats.active_ns, 1);
	CU_ASSERT_FALSE(stats.no_xdp); /* flags are those of the present slot */
	b.packets = 4;
	counters_freeze(&source);
	counters_attach(&source, &late, true); /* the same stream, counted elsewhere, and not up to date yet */
	CU_ASSERT_EQUAL(packets_of(&source), 19);
	late.packets = 6;
	CU_ASSERT_EQUAL(packets_of(&source), 21);
	counters_attach(&source, NULL, true);
	CU_ASSERT_EQUAL(packets_of(&source), 21);
	counters_finish(&source, &(struct slot){ .packets = 8 });
	CU_ASSERT_EQUAL(packets_of(&source), 23);
	counters_finish(&source, &(struct slot){ 0 }); /* it was not found any more */
	CU_ASSERT_EQUAL(packets_of(&source), 23);
}

/* Threads */

static struct {
	struct counters_source source;
	struct counters_memory memory;
	struct slot *slots;
	_Atomic bool is_over;
	_Atomic unsigned faults, reads;
} shared;

static void *read_all_the_time(void *arg)
{
	uint64_t last = 0;

	while (!atomic_load(&shared.is_over)) {
		struct slot_stats stats;

		counters_read(&shared.source, &stats);
		if (stats.packets < last || stats.bytes != stats.packets * 100)
			atomic_fetch_add(&shared.faults, 1);
		last = stats.packets;
		atomic_fetch_add(&shared.reads, 1);
	}
	return arg;
}

/* Packets in whole steps, so that a reader who mixed two states would see it. */
static void readers_see_whole_states(void)
{
	pthread_t readers[2];
	int fd = fake_helper_memory(N, true, &shared.slots);
	unsigned rounds = 0;

	CU_ASSERT_PTR_NULL(map(&shared.memory, 0, fd, N));
	for (unsigned i = 0; i < 2; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&readers[i], NULL, read_all_the_time, NULL), 0);
	for (; rounds < 20000 || atomic_load(&shared.reads) < 1000; rounds++) {
		struct slot *slot = &shared.slots[rounds % N];

		__atomic_store_n(&slot->packets, 3, __ATOMIC_RELAXED);
		__atomic_store_n(&slot->bytes, 300, __ATOMIC_RELAXED);
		counters_attach(&shared.source, counters_at(&shared.memory, 0, rounds % N), false);
		if (rounds % 100 == 0)
			CU_ASSERT_PTR_NULL(map(&shared.memory, 0, fd, N));
		counters_freeze(&shared.source);
		__atomic_store_n(&slot->packets, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&slot->bytes, 0, __ATOMIC_RELAXED);
	}
	atomic_store(&shared.is_over, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(readers[i], NULL);
	CU_ASSERT(atomic_load(&shared.reads) >= 1000);
	CU_ASSERT_EQUAL(atomic_load(&shared.faults), 0);
	CU_ASSERT_EQUAL(packets_of(&shared.source), rounds * UINT64_C(3));
	counters_unmap(&shared.memory);
	munmap(shared.slots, N * sizeof(struct slot));
	close(fd);
}

/* A BPF map */

static int bpf_map(uint32_t n)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = sizeof(struct slot), .max_entries = n,
				.map_flags = BPF_F_MMAPABLE };

	return (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
}

static int write_slot(int fd, uint32_t index, const struct slot *slot)
{
	union bpf_attr attr = { .map_fd = (uint32_t)fd, .key = (uint64_t)(uintptr_t)&index, .value = (uint64_t)(uintptr_t)slot };

	return (int)syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr));
}

/* As posternd is after it has given up root. Exit code 0: both counters were right. */
static int read_without_privileges(int fd, int again)
{
	struct counters_memory memory = { 0 };
	const struct slot *slot;
	const char *why;

	if (setgid(65534) != 0 || setuid(65534) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return 2;
	why = map(&memory, 0, fd, N);
	if (why != NULL) {
		printf("# %s\n", why);
		return 3;
	}
	slot = counters_at(&memory, 0, N - 1);
	if (slot->packets != 4711)
		return 4;
	why = map(&memory, 0, again, N / 2); /* another process of the helper, another map */
	if (why != NULL || counters_at(&memory, 0, 1)->packets != 42)
		return 5;
	return map(&memory, 0, fd, N * 4) != NULL ? 0 : 6; /* more than there is */
}

static void a_map_read_without_capabilities(void)
{
	int fd = bpf_map(N), again = bpf_map(N / 2);
	int status = -1;
	pid_t pid;

	if (fd < 0 || again < 0) {
		printf("# not tested: no BPF map: %s\n", strerror(errno));
		return;
	}
	CU_ASSERT_EQUAL(write_slot(fd, N - 1, &(struct slot){ .packets = 4711 }), 0);
	CU_ASSERT_EQUAL(write_slot(again, 1, &(struct slot){ .packets = 42 }), 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int code = read_without_privileges(fd, again);

		fflush(stdout);
		_exit(code);
	}
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_EQUAL(status, 0);
	close(fd);
	close(again);
}

static const struct unit_test tests[] = {
	{ "only memory that cannot shrink", only_memory_that_cannot_shrink },
	{ "addresses stay", addresses_stay },
	{ "both ways or RTP", both_ways_or_rtp },
	{ "loss and jitter", loss_and_jitter },
	{ "one count over many slots", one_count_over_many_slots },
	{ "readers see whole states", readers_see_whole_states },
	{ "a map read without capabilities", a_map_read_without_capabilities },
};

UNIT_MAIN("counters", tests)

/* Shared memory of counters, see counters.h.
 *
 * Two things are delicate. Readers hold no lock, so memory under them must never go away: new memory is moved over the
 * address range of the old one in one step. And a file that shrinks would turn a read into SIGBUS: only a BPF map, which
 * cannot, and a memfd sealed against it are accepted. */
#include "pinhole/counters.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/err.h"
#include "pinhole/pinhole.h"

#ifndef ANON_INODE_FS_MAGIC
#define ANON_INODE_FS_MAGIC 0x09041934
#endif

static const size_t reserved = (size_t)COUNTERS_SLOTS_MAX * sizeof(struct slot);

static size_t whole_pages(size_t len)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (len + page - 1) / page * page;
}

/* A map's memory has its size for good, and mmap() refuses what lies outside. */
static bool is_bpf_map(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == ANON_INODE_FS_MAGIC;
}

static int check(int fd, size_t len, const char **ret_why)
{
	struct stat st;
	int seals;

	if (is_bpf_map(fd))
		return 0;
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
		*ret_why = "the memory of counters may shrink";
		return ERR_DENIED;
	}
	if (fstat(fd, &st) < 0 || st.st_size < (off_t)len) {
		*ret_why = "the memory of counters is too small";
		return ERR_DENIED;
	}
	return 0;
}

static int reserve(struct counters_memory *memory, unsigned region)
{
	void *base;

	if (memory->base[region] != NULL)
		return 0;
	base = mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return -errno;
	memory->base[region] = base;
	return 0;
}

int counters_map(struct counters_memory *memory, unsigned region, int fd, uint32_t n, const char **ret_why)
{
	const size_t len = whole_pages(n * sizeof(struct slot));
	void *fresh;
	int err;

	if (region >= COUNTERS_REGIONS || n == 0 || n > COUNTERS_SLOTS_MAX) {
		*ret_why = "the number of counters is out of range";
		return ERR_LIMIT;
	}
	err = check(fd, n * sizeof(struct slot), ret_why);
	if (err < 0)
		return err;
	err = reserve(memory, region);
	/* Mapped elsewhere first: a failure of mmap() with MAP_FIXED could leave a hole under the readers. */
	fresh = err == 0 ? mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
	if (err == 0 && fresh == MAP_FAILED)
		err = -errno;
	if (err == 0 && mremap(fresh, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, memory->base[region]) == MAP_FAILED) {
		err = -errno;
		munmap(fresh, len);
	}
	if (err < 0) {
		*ret_why = "the memory of counters cannot be mapped";
		return err;
	}
	memory->n[region] = n;
	return 0;
}

void counters_unmap(struct counters_memory *memory)
{
	for (unsigned i = 0; i < COUNTERS_REGIONS; i++) {
		if (memory->base[i] != NULL)
			munmap(memory->base[i], reserved);
		memory->base[i] = NULL;
		memory->n[i] = 0;
	}
}

const struct slot *counters_at(const struct counters_memory *memory, unsigned region, uint32_t index)
{
	if (region >= COUNTERS_REGIONS || index >= memory->n[region])
		return NULL;
	return (const struct slot *)memory->base[region] + index;
}

/* Reading */

#define NOW(slot, member) __atomic_load_n(&(slot)->member, __ATOMIC_ACQUIRE)

/* The highest sequence number first: packets that come while this runs must not look like lost ones. */
static uint64_t lost_of(const struct slot *slot)
{
	uint64_t max = NOW(slot, max_seq);
	uint64_t first = NOW(slot, first_seq);
	uint64_t received = NOW(slot, rtp_packets);
	uint64_t expected = max >= first ? max - first + 1 : 0;

	return received > 0 && expected > received ? expected - received : 0;
}

void counters_of_slot(const struct slot *slot, struct slot_stats *ret)
{
	const bool has_back = (NOW(slot, flags) & SLOT_BOTH_WAYS) != 0;

	*ret = (struct slot_stats){
		.lost = lost_of(slot),
		.packets = NOW(slot, packets),
		.bytes = NOW(slot, bytes),
		.reordered = NOW(slot, reordered),
		.dropped_rate = NOW(slot, dropped_rate),
		.dropped_format = NOW(slot, dropped_format),
		.passed = NOW(slot, passed),
		.packets_back = has_back ? NOW(slot, packets_back) : 0,
		.bytes_back = has_back ? NOW(slot, bytes_back) : 0,
		.last_ns = NOW(slot, last_ns),
		.active_ns = NOW(slot, active_ns),
		.jitter_us = (uint32_t)(NOW(slot, jitter_q4_ns) / 16 / 1000),
		.is_active = NOW(slot, state) == SLOT_ACTIVE,
		.has_rtp = NOW(slot, rtp_packets) > 0,
		.no_xdp = (NOW(slot, flags) & SLOT_NO_XDP) != 0,
	};
}

static void add(struct slot_stats *sum, const struct slot_stats *more)
{
	slot_stats_add(sum, more);
	if (sum->active_ns == 0)
		sum->active_ns = more->active_ns;
	if (more->has_rtp)
		sum->jitter_us = more->jitter_us;
	sum->has_rtp |= more->has_rtp;
	sum->is_active = more->is_active;
	sum->no_xdp = more->no_xdp;
}

/* A sequence lock without fences: stores of the words are releases and loads acquires, so a reader that saw a new word
 * also sees that the version has moved. */
static void store(union counters_words *to, const struct slot_stats *from)
{
	const union counters_words fresh = { .stats = *from };

	for (unsigned i = 0; i < COUNTERS_WORDS; i++)
		__atomic_store_n(&to->words[i], fresh.words[i], __ATOMIC_RELEASE);
}

static void load(const union counters_words *from, union counters_words *to)
{
	for (unsigned i = 0; i < COUNTERS_WORDS; i++)
		to->words[i] = __atomic_load_n(&from->words[i], __ATOMIC_ACQUIRE);
}

static void publish(struct counters_source *source, const struct slot *slot, const struct slot_stats *before,
		    const struct slot_stats *least)
{
	uint32_t version = atomic_load_explicit(&source->version, memory_order_relaxed);

	atomic_store_explicit(&source->version, version + 1, memory_order_relaxed);
	atomic_store_explicit(&source->slot, slot, memory_order_release);
	store(&source->before, before);
	store(&source->least, least);
	atomic_store_explicit(&source->version, version + 2, memory_order_release);
}

void counters_read(const struct counters_source *source, struct slot_stats *ret)
{
	union counters_words all, least;
	struct slot_stats now = { 0 };
	const struct slot *slot;
	uint32_t version;

	do {
		version = atomic_load_explicit(&source->version, memory_order_acquire);
		slot = atomic_load_explicit(&source->slot, memory_order_acquire);
		if (slot != NULL) /* inside: it may be another's as soon as the version moves */
			counters_of_slot(slot, &now);
		load(&source->before, &all);
		load(&source->least, &least);
	} while ((version & 1) != 0 || version != atomic_load_explicit(&source->version, memory_order_relaxed));
	if (slot != NULL)
		add(&all.stats, &now);
	*ret = slot != NULL && all.stats.packets >= least.stats.packets ? all.stats : least.stats;
}

void counters_attach(struct counters_source *source, const struct slot *slot, bool is_continued)
{
	struct slot_stats seen;

	counters_read(source, &seen);
	publish(source, slot, is_continued ? &source->before.stats : &seen, &seen);
}

void counters_freeze(struct counters_source *source)
{
	struct slot_stats seen;

	counters_read(source, &seen);
	publish(source, NULL, &source->before.stats, &seen);
}

void counters_finish(struct counters_source *source, const struct slot *last)
{
	struct slot_stats all = source->before.stats, end, seen;

	counters_of_slot(last, &end);
	add(&all, &end);
	counters_read(source, &seen);
	publish(source, NULL, &source->before.stats, all.packets >= seen.packets ? &all : &seen);
}

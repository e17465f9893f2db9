/* pinhole/conntrack_slots.h: a sealed memfd and a stack of free indices. */
#include "pinhole/conntrack_slots.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/err.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

static struct {
	unsigned users;
	int fd;
	uint32_t n, n_free;
	size_t size; /* whole pages: readers map nothing less */
	struct slot *slots;
	uint32_t *free;
} region = { .fd = -1 };

static void release(void)
{
	if (region.slots)
		munmap(region.slots, region.size);
	if (region.fd >= 0)
		close(region.fd);
	free(region.free);
	memset(&region, 0, sizeof(region));
	region.fd = -1;
}

/* Whoever gets the descriptor can map it for reading only: the seal leaves just the mapping that exists already. */
static int map(size_t size)
{
	void *at;

	region.fd = memfd_create("postern-slots", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (region.fd < 0 || ftruncate(region.fd, (off_t)size) < 0)
		return -errno;
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, region.fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	region.slots = at;
	if (fcntl(region.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0)
		return -errno;
	return 0;
}

int conntrack_slots_open(uint32_t n)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int err;

	if (region.users) {
		region.users++;
		return 0;
	}
	region.n = n ? n : 1;
	region.size = (region.n * sizeof(struct slot) + page - 1) / page * page;
	region.free = calloc(region.n, sizeof(*region.free));
	err = region.free ? map(region.size) : -ENOMEM;
	if (err < 0) {
		release();
		return err;
	}
	for (uint32_t i = 0; i < region.n; i++)
		region.free[i] = region.n - 1 - i;
	region.n_free = region.n;
	region.users = 1;
	return 0;
}

void conntrack_slots_close(void)
{
	if (--region.users == 0)
		release();
}

int conntrack_slots_fd(uint32_t *ret_n)
{
	*ret_n = region.n;
	return region.fd;
}

int conntrack_slots_take(uint32_t *ret_index)
{
	uint32_t index;

	if (region.n_free == 0)
		return ERR_LIMIT;
	index = region.free[--region.n_free];
	memset(&region.slots[index], 0, sizeof(struct slot));
	*ret_index = index;
	return 0;
}

void conntrack_slots_give(uint32_t index)
{
	region.slots[index].state = SLOT_FREE;
	region.free[region.n_free++] = index;
}

struct slot *conntrack_slot(uint32_t index)
{
	return &region.slots[index];
}

/* Of a TCP segment only the fixed header is taken off; its options count as payload. */
static uint64_t payload_of(const struct slot_count *count)
{
	uint64_t headers = (count->family == AF_INET ? 20 : 40) + (count->proto == IPPROTO_UDP ? 8 : 20);

	return count->bytes > count->packets * headers ? count->bytes - count->packets * headers : 0;
}

void conntrack_slot_count(struct slot *slot, const struct slot_count *count, uint64_t now_ns)
{
	if (slot->active_ns == 0)
		slot->active_ns = now_ns;
	if (count->packets > slot->packets)
		slot->last_ns = now_ns;
	__atomic_store_n(&slot->packets, count->packets, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->bytes, payload_of(count), __ATOMIC_RELAXED);
}

void conntrack_slot_count_both(struct slot *slot, const struct slot_count *there, const struct slot_count *back, uint64_t now_ns)
{
	if (back->packets > slot->packets_back)
		slot->last_ns = now_ns;
	__atomic_store_n(&slot->flags, SLOT_BOTH_WAYS, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->packets_back, back->packets, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->bytes_back, payload_of(back), __ATOMIC_RELAXED);
	conntrack_slot_count(slot, there, now_ns);
}

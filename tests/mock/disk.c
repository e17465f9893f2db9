/* Replaces the writing system calls of SQLite's own "unix" layer, which offers that for tests. */
#include "tests/mock/disk.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <unistd.h>

static atomic_int mode;
static atomic_uint writes;

/* 0, or -1 with errno set. */
static int pass(void)
{
	int now;

	while ((now = atomic_load(&mode)) == DISK_HANGS)
		usleep(1000);
	if (now == DISK_WORKS) {
		atomic_fetch_add(&writes, 1);
		return 0;
	}
	errno = now == DISK_IS_FULL ? ENOSPC : EIO;
	return -1;
}

static ssize_t disk_write(int fd, const void *data, size_t len)
{
	return pass() < 0 ? -1 : write(fd, data, len);
}

static ssize_t disk_pwrite(int fd, const void *data, size_t len, off_t offset)
{
	return pass() < 0 ? -1 : pwrite(fd, data, len, offset);
}

static ssize_t disk_pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
	return pass() < 0 ? -1 : pwrite64(fd, data, len, offset);
}

void disk_install(void)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find("unix");

	vfs->xSetSystemCall(vfs, "write", (sqlite3_syscall_ptr)disk_write);
	vfs->xSetSystemCall(vfs, "pwrite", (sqlite3_syscall_ptr)disk_pwrite);
	vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)disk_pwrite64);
}

void disk_set(enum disk_mode new_mode)
{
	atomic_store(&mode, (int)new_mode);
}

unsigned disk_writes(void)
{
	return atomic_load(&writes);
}

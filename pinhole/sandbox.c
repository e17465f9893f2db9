/* The lists below are the whole of what a compromised worker could still ask of the kernel.
 *
 * The worker stays uid 0 where it was started so, since the pins in bpffs are root's, but without CAP_DAC_OVERRIDE and with
 * open() for reading only. No capability is inherited over exec, and exec itself is not on the list. */
#include "pinhole/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef CAP_BPF
#define CAP_PERFMON 38
#define CAP_BPF 39
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif
#ifndef HAS_SANITIZER
#define HAS_SANITIZER 0
#endif

enum { FILES_MAX = 1024, OOM_UNLIKELY = -900 };
#define BIT(n) (UINT64_C(1) << (n))

static const uint64_t worker_caps = BIT(CAP_NET_ADMIN) | BIT(CAP_NET_RAW) | BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_BPF) |
				    BIT(CAP_PERFMON);
/* To open back ends: a bpffs to mount, sysctls to set, a folder that belongs to the gateway's account to enter, namespaces
 * to make for proofs; and to lower the supervisor's and its workers' own rights. */
static const uint64_t opening_caps = BIT(CAP_SYS_ADMIN) | BIT(CAP_SYS_RESOURCE) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_CHOWN) |
				     BIT(CAP_FOWNER) | BIT(CAP_SETPCAP);

static int get_caps(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(SYS_capget, &header, data) < 0 ? -errno : 0;
}

static bool has_cap(unsigned cap)
{
	struct __user_cap_data_struct data[2];

	return get_caps(data) == 0 && (data[cap / 32].effective & 1U << cap % 32);
}

/* What may be gained again: the bounding set, where there is the right to shrink it. */
static int shrink_bounding_set(uint64_t keep)
{
	if (!has_cap(CAP_SETPCAP))
		return 0;
	for (unsigned cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if ((cap >= 64 || !(keep & BIT(cap))) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return -errno;
	return 0;
}

/* Keeps those of `keep` that the process has. */
static int keep_caps(uint64_t keep)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	int err = get_caps(data);

	if (err < 0)
		return err;
	for (unsigned i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(keep >> (32 * i));
		data[i].effective &= (uint32_t)(keep >> (32 * i));
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static void set_limit(int resource, rlim_t value)
{
	struct rlimit limit = { value, value };

	setrlimit(resource, &limit); /* what cannot be had is asked for again where it is missing */
}

static void be_unlikely_to_be_killed(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	static const char score[] = "-900\n";

	_Static_assert(OOM_UNLIKELY == -900, "the text above");
	if (fd < 0)
		return;
	if (write(fd, score, sizeof(score) - 1) < 0) {
		/* Without CAP_SYS_RESOURCE it stays as likely as its parent. */
	}
	close(fd);
}

int sandbox_supervisor(void)
{
	int err;

	if (clearenv() != 0 || setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1) < 0)
		return -ENOMEM;
	umask(077);
	set_limit(RLIMIT_CORE, 0);
	set_limit(RLIMIT_NOFILE, FILES_MAX);
	set_limit(RLIMIT_MEMLOCK, RLIM_INFINITY); /* maps, on kernels before 5.11 */
	be_unlikely_to_be_killed();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	err = shrink_bounding_set(worker_caps | opening_caps);
	return err < 0 ? err : keep_caps(worker_caps | opening_caps);
}

bool sandbox_has_filter(void)
{
	return !HAS_SANITIZER;
}

/* Calls allowed with any arguments. */
static const int plain_calls[] = {
	/* Memory that is there, and time. */
	SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(getrandom), SCMP_SYS(futex), SCMP_SYS(rseq), SCMP_SYS(restart_syscall),
	SCMP_SYS(sched_yield),
	/* Descriptors that are open. */
	SCMP_SYS(read), SCMP_SYS(pread64), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(pwritev2), SCMP_SYS(lseek), SCMP_SYS(close),
	SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(fstatfs), SCMP_SYS(statfs), SCMP_SYS(getdents64),
	SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(dup),
	SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(ftruncate), SCMP_SYS(memfd_create),
	/* Sockets; which families is below. */
	SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(getsockname), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(recvmsg),
	SCMP_SYS(recvfrom), SCMP_SYS(sendmsg), SCMP_SYS(sendto),
	/* What CAP_BPF and CAP_NET_ADMIN are for. */
	SCMP_SYS(bpf),
	/* About itself, and its end. */
	SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(uname), SCMP_SYS(sysinfo),
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(tgkill), SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

static int allow_plain(scmp_filter_ctx filter)
{
	int err = 0;

	for (size_t i = 0; i < sizeof(plain_calls) / sizeof(plain_calls[0]) && err == 0; i++) {
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, plain_calls[i], 0);
		if (err == -EDOM || err == -EINVAL) /* not a call of this architecture */
			err = 0;
	}
	return err;
}

/* One row: a call whose argument `index`, under the mask, must have the value. */
static int allow_if(scmp_filter_ctx filter, int call, unsigned index, uint64_t mask, uint64_t value)
{
	struct scmp_arg_cmp cmp = { .arg = index, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value };

	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &cmp);
}

static int allow_by_argument(scmp_filter_ctx filter)
{
	static const struct {
		int call;
		unsigned index;
		uint64_t mask, value;
	} rows[] = {
		{ SCMP_SYS(mmap), 2, PROT_EXEC, 0 }, /* nothing new becomes code */
		{ SCMP_SYS(mprotect), 2, PROT_EXEC, 0 },
		/* For reading: /proc/sys, /sys, type information. */
		{ SCMP_SYS(openat), 2, O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0 },
		{ SCMP_SYS(open), 1, O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0 },
		{ SCMP_SYS(socket), 0, UINT32_MAX, AF_NETLINK },
		{ SCMP_SYS(socket), 0, UINT32_MAX, AF_INET },
		{ SCMP_SYS(socket), 0, UINT32_MAX, AF_INET6 },
		{ SCMP_SYS(ioctl), 1, UINT32_MAX, SIOCGIFINDEX },
		{ SCMP_SYS(ioctl), 1, UINT32_MAX, SIOCGIFNAME },
		{ SCMP_SYS(ioctl), 1, UINT32_MAX, SIOCETHTOOL },
		{ SCMP_SYS(ioctl), 1, UINT32_MAX, TCGETS },
		{ SCMP_SYS(fcntl), 1, UINT32_MAX, F_GETFD },
		{ SCMP_SYS(fcntl), 1, UINT32_MAX, F_SETFD },
		{ SCMP_SYS(fcntl), 1, UINT32_MAX, F_GETFL },
		{ SCMP_SYS(fcntl), 1, UINT32_MAX, F_SETFL },
		{ SCMP_SYS(fcntl), 1, UINT32_MAX, F_DUPFD_CLOEXEC },
		{ SCMP_SYS(fcntl), 1, UINT32_MAX, F_ADD_SEALS },
		{ SCMP_SYS(prctl), 0, UINT32_MAX, PR_GET_NAME },
	};
	int err = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && err == 0; i++) {
		err = allow_if(filter, rows[i].call, rows[i].index, rows[i].mask, rows[i].value);
		if (err == -EDOM)
			err = 0;
	}
	return err;
}

static int load_filter(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int err;

	if (filter == NULL)
		return -ENOMEM;
	err = allow_plain(filter);
	if (err == 0)
		err = allow_by_argument(filter);
	/* Asked for by libraries out of habit, and done without when refused. */
	if (err == 0)
		err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prlimit64), 0);
	if (err == 0)
		err = seccomp_load(filter);
	seccomp_release(filter);
	return err;
}

int sandbox_worker(void)
{
	static const unsigned long not_because_root = SECBIT_NOROOT | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_CAP_AMBIENT_RAISE |
						      SECURE_ALL_LOCKS;
	int err = shrink_bounding_set(worker_caps);

	if (err < 0)
		return err;
	/* A program started by root has its capabilities back; not from here. */
	if (has_cap(CAP_SETPCAP) && prctl(PR_SET_SECUREBITS, not_because_root, 0, 0, 0) < 0)
		return -errno;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	err = keep_caps(worker_caps);
	if (err == 0 && sandbox_has_filter())
		err = load_filter();
	return err;
}

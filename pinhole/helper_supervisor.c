/* Reads the channel up to the seal and never again; then it only forks and waits. It holds more rights than its worker (a new
 * worker has to open the back ends again), so it does as little as can be.
 *
 * A worker that ends without posternd being gone is replaced: after 0.1 s, then twice as long each time up to 5 s, and after
 * 0.1 s again when one has lived for a minute. */
#include "pinhole/helper_supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/err.h"
#include "core/log.h"

enum {
	LIMITS_WAIT_MS = 60000, /* for a gateway that was stopped while it started */
	PAUSE_MIN_MS = 100,
	PAUSE_MAX_MS = 5000,
	LIVED_MS = 60000,
	LAST_WORK_MS = 5000, /* a worker has that long to see that posternd is gone */
};

static int take_limits(struct helper_conf *conf, const struct wire_head *head, const void *records, const char **ret_why)
{
	const struct wire_limit *own = records;
	const struct wire_capture *captures = records;
	enum limits_verdict verdict = LIMITS_OK;

	if (head->op == WIRE_SEAL) {
		verdict = limits_seal(conf->limits, records);
		conf->seal_serial = head->serial;
	} else if (head->op == WIRE_LIMITS) {
		for (uint32_t i = 0; i < head->count && verdict == LIMITS_OK; i++)
			verdict = limits_add(conf->limits, &own[i]);
	} else if (head->op == WIRE_CAPTURE) {
		for (uint32_t i = 0; i < head->count && verdict == LIMITS_OK; i++)
			verdict = limits_add_capture(conf->limits, &captures[i]);
	} else {
		verdict = LIMITS_NOT_SEALED;
	}
	*ret_why = limits_text(verdict);
	return verdict == LIMITS_OK ? 0 : ERR_DENIED;
}

/* One message; waits for it. */
static int receive(struct helper_conf *conf, const char **ret_why)
{
	static _Alignas(8) uint8_t message[WIRE_MESSAGE_MAX];
	struct pollfd p = { .fd = conf->channel, .events = POLLIN };
	struct wire_head head;
	const void *records;
	int n;

	if (poll(&p, 1, LIMITS_WAIT_MS) == 0) {
		*ret_why = "nothing came";
		return -ETIMEDOUT;
	}
	n = wire_receive(conf->channel, message, sizeof(message), NULL, NULL);
	if (n == -EAGAIN)
		return 0;
	if (n < 0) {
		*ret_why = n == -EMSGSIZE ? "a message is too long" : err_str(n);
		return n;
	}
	n = wire_parse(message, (size_t)n, &head, &records, ret_why);
	return n < 0 ? n : take_limits(conf, &head, records, ret_why);
}

int helper_supervisor_receive(struct helper_conf *conf)
{
	const char *why = "";
	int err = 0;

	while (err == 0 && !conf->limits->is_sealed)
		err = receive(conf, &why);
	if (err < 0 && err != ERR_CLOSED)
		log_error("pinholed", "no limits", LF_TEXT("reason", why));
	return err;
}

/* Does not return in the child. */
static pid_t start_worker(const struct helper_conf *conf, uint32_t starts)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	/* Should this process be killed, the worker goes on: it is the last one, but it works, and posternd tells. */
	prctl(PR_SET_NAME, "pinholed-worker", 0, 0, 0);
	exit(helper_worker_run(conf, starts) == 0 ? 0 : 1);
}

static bool is_closed(int channel, int wait_for_ms)
{
	struct pollfd p = { .fd = channel, .events = POLLRDHUP };

	return poll(&p, 1, wait_for_ms) > 0;
}

/* Waits for the end of the worker. When posternd has gone and the worker does not notice, it is ended. */
static int wait_for(pid_t pid, int channel)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd fds[] = {
		{ .fd = pidfd, .events = POLLIN }, /* ignored by poll() when there is none */
		{ .fd = channel, .events = POLLRDHUP },
	};
	int status = 0;

	while (pidfd >= 0 && poll(fds, 2, -1) < 0 && errno == EINTR)
		;
	if (pidfd >= 0 && fds[0].revents == 0 && poll(fds, 1, LAST_WORK_MS) == 0) {
		log_error("pinholed", "worker does not end", LF_INT("pid", pid));
		kill(pid, SIGKILL);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pidfd >= 0)
		close(pidfd);
	return status;
}

static void log_end(pid_t pid, int status)
{
	if (WIFSIGNALED(status))
		log_error("pinholed", "worker ended by a signal", LF_INT("pid", pid), LF_INT("signal", WTERMSIG(status)));
	else
		log_error("pinholed", "worker failed", LF_INT("pid", pid), LF_INT("status", WEXITSTATUS(status)));
}

int helper_supervisor_run(const struct helper_conf *conf)
{
	int pause_ms = PAUSE_MIN_MS;

	for (uint32_t starts = 1;; starts++) {
		uint64_t started_ms = helper_worker_now_ms();
		pid_t pid = start_worker(conf, starts);
		int status;

		if (pid > 0) {
			status = wait_for(pid, conf->channel);
			if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
				return 0;
			log_end(pid, status);
		} else {
			log_error("pinholed", "worker could not be started", LF_TEXT("error", err_str(-errno)));
		}
		if (helper_worker_now_ms() - started_ms >= LIVED_MS)
			pause_ms = PAUSE_MIN_MS;
		if (is_closed(conf->channel, pause_ms))
			return 0;
		pause_ms = pause_ms * 2 < PAUSE_MAX_MS ? pause_ms * 2 : PAUSE_MAX_MS;
	}
}

/* The child process that keeps the privileges, see helper.h. It gets a clean environment, one descriptor beside the three
 * standard ones, and its limits before posternd has opened a single socket to a network. Main thread, before others start. */
#include "daemon/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/config.h"
#include "core/err.h"
#include "core/log.h"
#include "core/loop.h"

#define PROGRAM "postern-pinholed"

enum {
	CHANNEL = STDERR_FILENO + 1,
	NODE_MAX = 32,
	PINHOLES_PER_CALL = 2 * 2, /* two streams, two directions */
	PINHOLES_PER_SESSION = 4,  /* of an ALG: data connections at a time */
	PORT_FLOOR = 1024,
	WAIT_MS = 2000, WAIT_STEP_MS = 10,
};

/* Limits */

unsigned helper_limits(const struct config *config, struct wire_limit *ret)
{
	unsigned n = 0;

	for (unsigned r = 0; r < config->n_realms; r++) {
		const struct realm_conf *realm = &config->realms[r];

		for (unsigned i = 0; i < realm->n_addresses && n < WIRE_OWN_MAX; i++) {
			struct wire_limit *limit = &ret[n++];

			*limit = (struct wire_limit){ .addr = wire_addr_of(&realm->addresses[i]), .realm = (uint16_t)r,
						      .port_min = realm->media_port_min, .port_max = realm->media_port_max };
			if (realm->interface != NULL)
				snprintf(limit->interface, sizeof(limit->interface), "%s", realm->interface);
		}
	}
	return n;
}

static struct wire_capture capture_of(const struct alg_conf *alg, const struct prefix *servers)
{
	const struct addr to = config_alg_capture(alg, servers->addr.family);
	struct wire_capture capture = {
		.servers = wire_addr_of(&servers->addr), .bits = servers->bits, .to = wire_addr_of(&to),
		.realm = (uint16_t)alg->realm->index, .realm_to = (uint16_t)alg->to->index,
		.proto = config_alg_is_datagram(alg) ? IPPROTO_UDP : IPPROTO_TCP,
		.is_as_client = alg->mode == CONFIG_ALG_TRANSPARENT,
	};

	_Static_assert((int)WIRE_CAPTURE_PORTS_MAX == (int)CONFIG_ALG_PORTS_MAX, "each port has its place");
	memcpy(capture.ports, alg->ports, alg->n_ports * sizeof(capture.ports[0]));
	return capture;
}

unsigned helper_captures(const struct config *config, struct wire_capture *ret)
{
	unsigned n = 0;

	_Static_assert((int)WIRE_CAPTURES_MAX >= (int)CONFIG_ALGS_MAX * (int)CONFIG_ALG_SERVERS_MAX, "all fit");
	for (unsigned i = 0; i < config->n_algs; i++)
		for (unsigned k = 0; k < config->algs[i].n_servers && config->algs[i].mode != CONFIG_ALG_EXPLICIT; k++)
			ret[n++] = capture_of(&config->algs[i], &config->algs[i].servers[k]);
	return n;
}

/* Data in the kernel, and connections to foreign addresses that are relayed here. */
static bool needs_doors(const struct config *config)
{
	for (unsigned i = 0; i < config->n_algs; i++)
		if (config->algs[i].data == CONFIG_ALG_DATA_KERNEL || config->algs[i].mode != CONFIG_ALG_EXPLICIT)
			return true;
	return false;
}

void helper_order(const struct config *config, enum pinhole_path ret[PINHOLE_PATHS])
{
	static const enum pinhole_path paths[CONFIG_PATHS] = {
		[CONFIG_PATH_XDP] = PINHOLE_XDP, [CONFIG_PATH_TC] = PINHOLE_TC, [CONFIG_PATH_CONNTRACK] = PINHOLE_CONNTRACK,
		[CONFIG_PATH_NFT] = PINHOLE_NFT, [CONFIG_PATH_RELAY] = PINHOLE_NONE,
	};
	bool has_nft = false;
	unsigned n = 0;

	for (unsigned i = 0; i < config->media.n_paths && n + 1 < PINHOLE_PATHS; i++)
		if (paths[config->media.paths[i]] != PINHOLE_NONE) {
			has_nft |= paths[config->media.paths[i]] == PINHOLE_NFT;
			ret[n++] = paths[config->media.paths[i]];
		}
	/* media.paths is about media of calls; nothing else holds a door for whoever dials in from a port that nobody knows beforehand. */
	if (!has_nft && needs_doors(config) && n + 1 < PINHOLE_PATHS)
		ret[n++] = PINHOLE_NFT;
	while (n < PINHOLE_PATHS)
		ret[n++] = PINHOLE_NONE;
}

static bool has_loopback(const struct config *config)
{
	for (unsigned r = 0; r < config->n_realms; r++)
		for (unsigned i = 0; i < config->realms[r].n_addresses; i++)
			if (addr_kind(&config->realms[r].addresses[i]) == ADDR_LOOPBACK)
				return true;
	return false;
}

static uint32_t pinholes_max(const struct config *config)
{
	uint64_t n = (uint64_t)config->limits.max_calls * PINHOLES_PER_CALL;

	for (unsigned i = 0; i < config->n_algs; i++)
		n += (uint64_t)config->algs[i].max_sessions * PINHOLES_PER_SESSION;
	return n < HELPER_PINHOLES_MAX ? (uint32_t)n : HELPER_PINHOLES_MAX;
}

static void add_low_port(struct wire_seal *seal, uint16_t port)
{
	for (unsigned i = 0; i < WIRE_LOW_PORTS_MAX; i++) {
		if (seal->low_ports[i] == port)
			return;
		if (seal->low_ports[i] == 0) {
			seal->low_ports[i] = port;
			return;
		}
	}
	log_warn("posternd", "too many ports below 1024 for the helper", LF_UINT("port", port), LF_UINT("max", WIRE_LOW_PORTS_MAX));
}

/* Clients connect to the gateway itself: where that is below 1024 the socket comes from the helper. */
static void allow_sockets(const struct config *config, struct wire_seal *seal)
{
	for (unsigned i = 0; i < config->n_algs; i++) {
		const struct alg_conf *alg = &config->algs[i];

		seal->may_be_transparent |= alg->mode != CONFIG_ALG_EXPLICIT;
		for (unsigned k = 0; k < alg->n_ports && alg->mode == CONFIG_ALG_EXPLICIT; k++)
			if (alg->ports[k] < 1024)
				add_low_port(seal, alg->ports[k]);
	}
}

void helper_seal(const struct config *config, struct wire_seal *ret)
{
	enum pinhole_path order[PINHOLE_PATHS];

	_Static_assert(sizeof(ret->order) == PINHOLE_PATHS, "every path has its place");
	*ret = (struct wire_seal){
		.pinholes_max = pinholes_max(config),
		.lifetime_max_s = config->media.lifetime_s,
		.port_floor = PORT_FLOOR,
		.may_reach_loopback = has_loopback(config),
		.firewall = config->media.is_firewall_closed,
	};
	helper_order(config, order);
	for (unsigned i = 0; i < PINHOLE_PATHS; i++)
		ret->order[i] = (uint8_t)order[i];
	allow_sockets(config, ret);
}

static int send_all(int channel, enum wire_op op, const void *records, unsigned n)
{
	const uint8_t *at = records;
	int err = 0;

	for (unsigned done = 0; err == 0 && done < n; done += WIRE_BATCH_MAX) {
		unsigned here = n - done < WIRE_BATCH_MAX ? n - done : WIRE_BATCH_MAX;

		err = wire_send(channel, op, 0, at + done * wire_record_size(op), here, NULL, 0);
	}
	return err;
}

static int send_limits(int channel, const struct config *config)
{
	static struct wire_limit limits[WIRE_OWN_MAX];
	static struct wire_capture captures[WIRE_CAPTURES_MAX];
	struct wire_seal seal;
	int err = send_all(channel, WIRE_LIMITS, limits, helper_limits(config, limits));

	if (err == 0)
		err = send_all(channel, WIRE_CAPTURE, captures, helper_captures(config, captures));
	helper_seal(config, &seal);
	return err == 0 ? wire_send(channel, WIRE_SEAL, 0, &seal, 1, NULL, 0) : err;
}

/* The program */

static bool find_beside(char *path, size_t size)
{
	ssize_t len = readlink("/proc/self/exe", path, size - 1);
	char *slash;

	if (len < 0)
		return false;
	path[len] = '\0';
	slash = strrchr(path, '/');
	if (slash == NULL || (size_t)(slash + 1 - path) + sizeof(PROGRAM) > size)
		return false;
	memcpy(slash + 1, PROGRAM, sizeof(PROGRAM));
	return access(path, X_OK) == 0;
}

static const char *find_program(const char *wanted, char *path, size_t size)
{
	static const char installed[] = POSTERN_SBINDIR "/" PROGRAM;

	if (wanted != NULL)
		return access(wanted, X_OK) == 0 ? wanted : NULL;
	if (find_beside(path, size))
		return path;
	return access(installed, X_OK) == 0 ? installed : NULL;
}

static _Noreturn void run(const struct config *config, const char *program, int channel)
{
	char node[NODE_MAX + 1], number[12];
	char *const environment[] = { (char[]){ "PATH=/usr/sbin:/usr/bin:/sbin:/bin" }, NULL };
	char *const arguments[] = {
		(char[]){ PROGRAM }, (char[]){ "--channel" }, number, (char[]){ "--state-dir" }, (char *)config->media.state_dir,
		(char[]){ "--node" }, node, config->log.json ? (char[]){ "--json" } : NULL, NULL,
	};
	sigset_t none;

	snprintf(node, sizeof(node), "%.*s", NODE_MAX, config->node);
	snprintf(number, sizeof(number), "%d", CHANNEL);
	/* Signals for posternd's terminal or process group are not for it: it ends when the channel does. */
	(void)setsid();
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (channel == CHANNEL ? fcntl(channel, F_SETFD, 0) < 0 : dup2(channel, CHANNEL) < 0)
		_exit(126);
	(void)syscall(SYS_close_range, CHANNEL + 1, ~0U, 0); /* ours are all close-on-exec; this is for what we inherited */
	execve(program, arguments, environment);
	_exit(127);
}

static int spawn(const struct config *config, const char *program, struct helper *ret)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		run(config, program, pair[1]);
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return -EAGAIN;
	}
	ret->pid = pid;
	ret->channel = pair[0];
	return send_limits(pair[0], config);
}

static const char *start(const struct config *config, const char *wanted, struct helper *ret)
{
	struct wire_seal seal;
	char path[PATH_MAX];
	const char *program;
	int err;

	helper_seal(config, &seal);
	if (seal.order[0] == PINHOLE_NONE && !seal.may_be_transparent && seal.low_ports[0] == 0)
		return "media.paths has nothing but relay";
	if (wanted != NULL && strcmp(wanted, "none") == 0)
		return "switched off with --helper none";
	if (geteuid() != 0)
		return "posternd was not started as root";
	program = find_program(wanted, path, sizeof(path));
	if (program == NULL)
		return wanted != NULL ? "the program of --helper cannot be executed" : PROGRAM " is not installed";
	err = spawn(config, program, ret);
	if (err == 0) {
		log_info("posternd", "helper started", LF_TEXT("program", program), LF_INT("pid", ret->pid));
		return NULL;
	}
	log_error("posternd", "helper not started", LF_TEXT("program", program), LF_TEXT("error", err_str(err)));
	if (ret->channel >= 0)
		close(ret->channel);
	ret->channel = -1;
	return PROGRAM " could not be started";
}

void helper_start(const struct config *config, const char *program, struct helper *ret)
{
	*ret = (struct helper){ .channel = -1 };
	ret->reason = start(config, program, ret);
	if (ret->reason == NULL)
		return;
	if (config->media.needs_kernel)
		log_error("posternd", "no kernel media, and media.paths has no relay: all calls are refused",
			  LF_TEXT("reason", ret->reason));
	else
		log_info("posternd", "no kernel media: all media goes through the relay", LF_TEXT("reason", ret->reason));
}

/* The end */

static void reap(struct helper *helper)
{
	int status;

	if (helper->pid <= 0 || waitpid(helper->pid, &status, WNOHANG) != helper->pid)
		return;
	helper->pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		log_info("posternd", "helper ended", LF_INT("code", 0));
	else
		log_error("posternd", "helper ended", LF_INT("code", WIFEXITED(status) ? WEXITSTATUS(status) : -1),
			  LF_INT("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0));
}

static void on_child(void *arg, int signum)
{
	struct helper *helper = arg;

	(void)signum;
	reap(helper);
	if (helper->pid == 0 && helper->pinholes != NULL)
		pinholes_unwatched(helper->pinholes);
}

int helper_engine(struct helper *helper, struct loop *loop, const struct config *config, struct pinholes **ret)
{
	struct pinholes_conf conf = { .channel = helper->channel, .no_channel_reason = helper->reason,
				      .n_realms = config->n_realms };
	struct wire_seal seal;
	int err = loop_on_signal(loop, SIGCHLD, on_child, helper);

	if (err < 0)
		return err;
	helper_seal(config, &seal);
	conf.max = seal.pinholes_max;
	helper_order(config, conf.order);
	helper->channel = -1; /* the engine's from here */
	err = pinholes_new(loop, &conf, ret);
	if (err < 0)
		return err;
	helper->pinholes = *ret;
	on_child(helper, SIGCHLD); /* in case it ended before anyone listened */
	return 0;
}

void helper_wait(struct helper *helper)
{
	const struct timespec step = { .tv_nsec = WAIT_STEP_MS * 1000000 };

	if (helper->channel >= 0) /* nobody took it: the start failed */
		close(helper->channel);
	helper->channel = -1;
	reap(helper);
	for (unsigned waited_ms = 0; helper->pid > 0 && waited_ms < WAIT_MS; waited_ms += WAIT_STEP_MS) {
		(void)nanosleep(&step, NULL);
		reap(helper);
	}
	if (helper->pid > 0)
		log_warn("posternd", "helper goes on", LF_INT("pid", helper->pid), LF_INT("waited_ms", WAIT_MS));
}

/* main() of postern-pinholed, the privileged helper of posternd: options, the checks that it was started as it should be, and
 * then limits, supervisor, worker. Reads no text from anywhere but its command line, and no configuration. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/err.h"
#include "core/log.h"
#include "pinhole/helper_supervisor.h"
#include "pinhole/sandbox.h"

enum { CHANNEL = STDERR_FILENO + 1 };

static const char usage[] =
	"Usage: postern-pinholed --channel FD --state-dir DIR --node NAME [--json]\n"
	"\n"
	"The privileged helper of posternd, which starts it by itself: it puts media streams of answered calls\n"
	"into the kernel. It is of no use alone.\n"
	"\n"
	"  -C, --channel FD     number of the descriptor that leads to posternd\n"
	"  -d, --state-dir DIR  folder for what outlives the process, below which a bpffs is mounted\n"
	"  -n, --node NAME      name of the gateway, to tell its tables from those of others\n"
	"  -j, --json           log lines as JSON\n"
	"  -V, --version        print the version\n"
	"  -h, --help           print this text\n"
	"\n"
	"It ends when posternd ends; what is in the kernel stays. Manual page: postern-pinholed(8).\n";

struct options {
	struct helper_conf conf;
	bool is_json;
};

static int to_descriptor(const char *text)
{
	uint32_t fd;

	return span_to_u32(span_of(text), 1 << 20, &fd) == 0 ? (int)fd : -1;
}

/* Letters and digits stay, everything else becomes '_': it names tables and files. */
static int set_tag(struct helper_conf *conf, const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > HELPER_NODE_MAX)
		return ERR_LIMIT;
	for (size_t i = 0; i < len; i++) {
		char c = name[i];
		bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

		conf->node_tag[i] = is_plain ? c : '_';
	}
	conf->node_tag[len] = '\0';
	return 0;
}

static int complain(const char *text)
{
	fprintf(stderr, "postern-pinholed: %s\nTry 'postern-pinholed --help'.\n", text);
	return 2;
}

/* -1 to go on, else the exit code. */
static int parse_options(int argc, char **argv, struct options *ret)
{
	static const struct option longs[] = {
		{ "channel", required_argument, NULL, 'C' }, { "state-dir", required_argument, NULL, 'd' },
		{ "node", required_argument, NULL, 'n' },    { "json", no_argument, NULL, 'j' },
		{ "version", no_argument, NULL, 'V' },       { "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct options options = { .conf = { .channel = -1 } };
	int c;

	opterr = 0; /* said below */
	while ((c = getopt_long(argc, argv, "C:d:n:jVh", longs, NULL)) != -1) {
		switch (c) {
		case 'C':
			options.conf.channel = to_descriptor(optarg);
			break;
		case 'd':
			options.conf.state_dir = optarg;
			break;
		case 'n':
			if (set_tag(&options.conf, optarg) < 0)
				return complain("the name of the node has 1 to 32 characters");
			break;
		case 'j':
			options.is_json = true;
			break;
		case 'V':
			puts(PACKAGE_STRING);
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			return complain("unknown option, or one without its value");
		}
	}
	if (optind < argc)
		return complain("unexpected argument");
	if (options.conf.channel < 0)
		return complain("posternd starts this program, and says with --channel how to reach it");
	if (options.conf.state_dir == NULL || options.conf.state_dir[0] != '/' || options.conf.node_tag[0] == '\0')
		return complain("--state-dir with an absolute path and --node are needed");
	*ret = options;
	return -1;
}

static bool is_channel(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(int), peer_len = sizeof(peer);
	int domain, type;

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET &&
	       getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0;
}

/* Leaves open the channel, as a descriptor of a known number, and standard error. */
static int settle_descriptors(int channel)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int err = 0;

	if (null < 0)
		return -errno;
	if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		err = -errno;
	if (err == 0 && channel != CHANNEL && dup3(channel, CHANNEL, O_CLOEXEC) < 0) /* it may take the place of null */
		err = -errno;
	if (err == 0 && (fcntl(CHANNEL, F_SETFD, FD_CLOEXEC) < 0 || fcntl(CHANNEL, F_SETFL, O_NONBLOCK) < 0))
		err = -errno;
	/* Older kernels do without: posternd passes nothing else on. */
	if (err == 0 && syscall(SYS_close_range, CHANNEL + 1, ~0U, 0) < 0 && errno != ENOSYS)
		err = -errno;
	return err;
}

/* Meant for posternd, and sent to all its processes: this one is needed until posternd has ended its calls. */
static void ignore_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
}

int main(int argc, char **argv)
{
	static struct limits limits;
	struct options options;
	int code = parse_options(argc, argv, &options);
	int err;

	if (code >= 0)
		return code;
	if (!is_channel(options.conf.channel))
		return complain("the channel is not a connected SOCK_SEQPACKET socket: posternd starts this program");
	log_setup(STDERR_FILENO, options.is_json ? LOG_JSON : LOG_TEXT, LOG_INFO);
	ignore_signals();
	options.conf.limits = &limits;
	err = settle_descriptors(options.conf.channel);
	options.conf.channel = CHANNEL;
	if (err == 0)
		err = sandbox_supervisor();
	if (err < 0) {
		log_error("pinholed", "could not start", LF_TEXT("error", err_str(err)));
		return 1;
	}
	err = helper_supervisor_receive(&options.conf);
	if (err == 0)
		err = helper_supervisor_run(&options.conf);
	return err == 0 || err == ERR_CLOSED ? 0 : 1; /* posternd may give up before it has sent them */
}

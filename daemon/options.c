/* Command line: getopt_long, help and version. */
#include "daemon/options.h"

#include <getopt.h>
#include <stdio.h>

static const char usage[] =
	"Usage: posternd [--config FILE] [--user NAME] [--helper PROGRAM]\n"
	"       posternd --check-config FILE\n"
	"\n"
	"Postern, a session border gateway. Runs in the foreground and logs to standard error.\n"
	"\n"
	"  -c, --config FILE        configuration (default " POSTERN_SYSCONFDIR "/postern.yaml)\n"
	"  -t, --check-config FILE  check the configuration, print every fault, exit 0 or 1\n"
	"  -u, --user NAME          account to run as when started as root\n"
	"                           (default \"postern\" if there is one, else \"nobody\")\n"
	"  -H, --helper PROGRAM     privileged helper for media in the kernel, \"none\" for none\n"
	"                           (default: the postern-pinholed beside this program)\n"
	"  -V, --version            print the version\n"
	"  -h, --help               print this text\n"
	"\n"
	"SIGTERM and SIGINT end calls with BYE, store their records and exit 0. SIGUSR2 exits\n"
	"and leaves the calls that are up to the next start. SIGHUP reads the configuration again.\n"
	"Manual pages: posternd(8), postern.yaml(5), postern(1).\n";

int options_parse(int argc, char **argv, struct options *ret, int *ret_exit)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check-config", required_argument, NULL, 't' },
		{ "user", required_argument, NULL, 'u' },
		{ "helper", required_argument, NULL, 'H' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct options options = { .config = POSTERN_SYSCONFDIR "/postern.yaml" };
	int c;

	while ((c = getopt_long(argc, argv, "c:t:u:H:Vh", longs, NULL)) != -1) {
		switch (c) {
		case 't':
			options.is_check = true;
			/* fall through */
		case 'c':
			options.config = optarg;
			break;
		case 'u':
			options.user = optarg;
			break;
		case 'H':
			options.helper = optarg;
			break;
		case 'V':
			puts(PACKAGE_STRING);
			*ret_exit = 0;
			return 1;
		case 'h':
			fputs(usage, stdout);
			*ret_exit = 0;
			return 1;
		default:
			fputs("Try 'posternd --help'.\n", stderr);
			*ret_exit = 2;
			return 1;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "posternd: unexpected argument \"%s\"\nTry 'posternd --help'.\n", argv[optind]);
		*ret_exit = 2;
		return 1;
	}
	*ret = options;
	return 0;
}

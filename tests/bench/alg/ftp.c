/* Both ends of FTP for benchmarks, cheap enough that a gateway between them is what limits: octets come from a file
 * in memory (sendfile), and what arrives is thrown away without being copied. Any login is fine; a file is named by its
 * size.
 *
 * Runs inside the network namespace that it is started in. A client prints one JSON object. Exit code: 0 done,
 * 1 failed, 2 wrong usage. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/alg/ftp.h"

enum { NUMBER_MAX = 1000000, WARM_UP = 20 };

static const char usage[] =
	"usage: ftp serve ADDRESS:PORT THREADS          each thread serves one connection at a time\n"
	"       ftp get|put ADDRESS:PORT OCTETS         one transfer\n"
	"       ftp noop|epsv ADDRESS:PORT N            N round trips of that command on one connection\n"
	"       ftp sessions ADDRESS:PORT THREADS SECONDS OCTETS\n"
	"                                               log in, download, quit, over and over\n";

static int transfer(const struct addr *server, bool is_up, uint64_t octets)
{
	struct ftp_control control;
	int ret = ftp_login(server, &control);
	uint64_t start = ftp_now_ns();

	if (ret == 0)
		ret = is_up ? ftp_stor(&control, server, octets) : ftp_retr(&control, server, octets);
	if (ret < 0)
		return ret;
	printf("{\"octets\": %" PRIu64 ", \"seconds\": %.6f}\n", octets, (double)(ftp_now_ns() - start) / (double)FTP_SECOND);
	return ftp_ask(&control, "QUIT", '2', NULL);
}

static int round_trips(const struct addr *server, const char *command, size_t n)
{
	uint64_t *times = calloc(n, sizeof(*times));
	struct ftp_control control;
	int ret = times == NULL ? -ENOMEM : ftp_login(server, &control);

	for (size_t i = 0; ret == 0 && i < n + WARM_UP; i++) {
		uint64_t start = ftp_now_ns();

		ret = ftp_ask(&control, command, '2', NULL);
		if (i >= WARM_UP)
			times[i - WARM_UP] = ftp_now_ns() - start;
	}
	if (ret == 0) {
		ftp_sort(times, n);
		printf("{\"n\": %zu, \"p50_us\": %.2f, \"p99_us\": %.2f}\n", n, ftp_quantile_us(times, n, 0.5),
		       ftp_quantile_us(times, n, 0.99));
		ret = ftp_ask(&control, "QUIT", '2', NULL);
	}
	free(times);
	return ret;
}

/* ---- arguments ---- */

static bool read_number(const char *text, uint64_t max, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0' && *text >= '0' && *text <= '9' && *ret > 0 && *ret <= max;
}

static int run(const char *what, const struct addr *address, const uint64_t *numbers)
{
	if (strcmp(what, "serve") == 0)
		return ftp_serve(address, (unsigned)numbers[0]);
	if (strcmp(what, "sessions") == 0)
		return ftp_sessions(address, (unsigned)numbers[0], (unsigned)numbers[1], numbers[2]);
	if (strcmp(what, "get") == 0 || strcmp(what, "put") == 0)
		return transfer(address, what[0] == 'p', numbers[0]);
	return round_trips(address, what[0] == 'n' ? "NOOP" : "EPSV", (size_t)numbers[0]);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int n;
		uint64_t max[3];
	} commands[] = {
		{ "serve", 1, { 1000 } },
		{ "get", 1, { UINT64_C(1) << 40 } },
		{ "put", 1, { UINT64_C(1) << 40 } },
		{ "noop", 1, { NUMBER_MAX } },
		{ "epsv", 1, { NUMBER_MAX } },
		{ "sessions", 3, { 1000, 3600, UINT64_C(1) << 40 } },
	};
	uint64_t numbers[3];
	struct addr address;

	for (size_t i = 0; argc > 3 && i < sizeof(commands) / sizeof(commands[0]); i++) {
		bool is_good = strcmp(commands[i].name, argv[1]) == 0 && argc == 3 + commands[i].n &&
			       addr_parse(span_of(argv[2]), &address) == 0;

		for (int j = 0; is_good && j < commands[i].n; j++)
			is_good = read_number(argv[3 + j], commands[i].max[j], &numbers[j]);
		if (is_good)
			return run(argv[1], &address, numbers) < 0 ? 1 : 0;
	}
	fputs(usage, stderr);
	return 2;
}

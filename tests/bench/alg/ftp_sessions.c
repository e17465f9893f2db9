/* Clients that log in, download a small file and quit, over and over, as fast as they are let. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/bench/alg/ftp.h"

enum { TIMES_MAX = 1 << 18, FAILURES_MAX = 20 };

struct load {
	struct addr server;
	uint64_t octets, ends_ns;
	uint64_t *times; /* of sessions; the first TIMES_MAX */
	atomic_uint done, failed;
};

static int one_session(const struct load *load)
{
	struct ftp_control control;
	int err = ftp_login(&load->server, &control);

	if (err < 0)
		return err;
	err = ftp_retr(&control, &load->server, load->octets);
	if (err == 0)
		err = ftp_ask(&control, "QUIT", '2', NULL);
	close(control.fd);
	return err;
}

/* A gateway that fails and fails is not worth the time. */
static void *client_thread(void *arg)
{
	struct load *load = arg;
	uint64_t start;

	while ((start = ftp_now_ns()) < load->ends_ns && atomic_load(&load->failed) < FAILURES_MAX) {
		if (one_session(load) < 0) {
			atomic_fetch_add(&load->failed, 1);
			continue;
		}
		unsigned i = atomic_fetch_add(&load->done, 1);

		if (i < TIMES_MAX)
			load->times[i] = ftp_now_ns() - start;
	}
	return NULL;
}

static int run(struct load *load, pthread_t *clients, unsigned n)
{
	unsigned started = 0;
	int err = 0;

	while (started < n && err == 0) {
		err = pthread_create(&clients[started], NULL, client_thread, load);
		if (err == 0)
			started++;
	}
	if (err != 0)
		atomic_store(&load->failed, FAILURES_MAX);
	while (started > 0)
		(void)pthread_join(clients[--started], NULL);
	return err == 0 ? 0 : ftp_fail("thread", err);
}

int ftp_sessions(const struct addr *server, unsigned threads, unsigned seconds, uint64_t octets)
{
	struct load load = { .server = *server, .octets = octets, .times = calloc(TIMES_MAX, sizeof(*load.times)) };
	pthread_t *clients = calloc(threads, sizeof(*clients));
	uint64_t start = ftp_now_ns();
	int ret = load.times == NULL || clients == NULL ? ftp_fail("memory", ENOMEM) : 0;

	load.ends_ns = start + seconds * FTP_SECOND;
	if (ret == 0)
		ret = run(&load, clients, threads);
	if (ret == 0) {
		double took = (double)(ftp_now_ns() - start) / (double)FTP_SECOND;
		size_t n = load.done < TIMES_MAX ? load.done : TIMES_MAX;

		ftp_sort(load.times, n);
		printf("{\"sessions\": %u, \"failed\": %u, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n", load.done,
		       load.failed, took, ftp_quantile_us(load.times, n, 0.5), ftp_quantile_us(load.times, n, 0.99));
	}
	free(clients);
	free(load.times);
	return ret;
}

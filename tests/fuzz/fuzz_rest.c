/* Requests to the REST router on a made-up gateway. Input: "METHOD target\nauthorization\nbody". Whatever comes, there
 * is a complete reply: a status that the API knows, JSON that can be written, problems with a type. */
#include "api/res.h"

#include <stdlib.h>

#include "core/log.h"
#include "tests/mock/api_backend.h"
#include "tests/mock/fake_alg_host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct api *api;
static struct arena *arena;

static void must(bool is_true)
{
	if (!is_true)
		abort();
}

static void set_up(void)
{
	char error[256];

	if (api != NULL)
		return;
	log_setup(2, LOG_TEXT, LOG_ERROR);
	must(api_start(backend_deps(NULL, 0, NULL), error, sizeof(error), &api) == 0);
	arena = arena_new(16 * 1024 * 1024); /* as in http.c */
	must(arena != NULL);
}

static void check(struct route_reply *reply)
{
	must(reply->status >= 200 && reply->status < 600);
	must((reply->content_type != NULL) == (reply->json != NULL || reply->text != NULL));
	if (reply->status >= 400 && reply->status != 503)
		must(json_is_string(json_object_get(reply->json, "type")));
	for (unsigned i = 0; i < reply->n_headers; i++)
		must(strpbrk(reply->headers[i].value, "\r\n") == NULL);
	if (reply->json != NULL) {
		char *text = json_dumps(reply->json, 0);

		must(text != NULL);
		free(text);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = { (const char *)data, size }, line;
	struct route_request request = { .id = "fuzz" };
	struct route_reply reply;

	set_up();
	line = span_cut(&rest, '\n');
	request.method = span_cut(&line, ' ');
	request.target = line;
	request.authorization = span_cut(&rest, '\n');
	request.body = rest;
	request.arena = arena;
	if (size % 2 == 1) /* from afar: access is asked for */
		(void)addr_parse_ip(SPAN_LIT("192.0.2.1"), &request.peer.addr);
	backend.n_hangups = 0;
	fake_alg_host.n_ended = 0;
	arena_reset(arena);
	router_handle(&api->router, &request, &reply);
	check(&reply);
	route_reply_fini(&reply);
	return 0;
}

/* backend_capture: control channels that are taken over. Holds no pinholes; it is a back end for what it shares with them: it is
 * opened before the process locks itself in, looked after once a second, and stays in the kernel when the process ends.
 *
 * Two things make it: a table of its own (nft_capture.c), so that a kernel without tproxy costs nothing else, and the routing of what is
 * marked there (capture_route.c). Without captures what an earlier process left is taken away. Single thread: the helper's. */
#include "pinhole/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/err.h"
#include "pinhole/backend_empty.h"
#include "pinhole/capture_route.h"
#include "pinhole/nft_table.h"

struct backend {
	const struct backend_conf *conf;
	struct nft_table *table;
	struct capture_route *route;
	struct nft_capture_routing routing;
	bool is_broken;
	char refusal[WIRE_REASON_MAX]; /* of the table: stays */
	char trouble[WIRE_REASON_MAX]; /* as of the last tick */
};

static const uint8_t families[] = { AF_INET, AF_INET6 };
enum { FAMILIES = sizeof(families) / sizeof(families[0]) };

static bool has_family(const struct backend *backend, uint8_t family)
{
	for (unsigned i = 0; i < backend->conf->n_captures; i++)
		if (backend->conf->captures[i].to.family == family)
			return true;
	return false;
}

static int put_routes(struct backend *backend)
{
	int err = 0;

	for (unsigned i = 0; i < FAMILIES && err == 0; i++)
		if (has_family(backend, families[i]))
			err = capture_route_put(backend->route, &backend->routing, families[i]);
	if (err < 0)
		snprintf(backend->trouble, sizeof(backend->trouble), "routing to this machine what is taken over: %s", err_str(err));
	return err;
}

static void remove_routes(struct backend *backend)
{
	for (unsigned i = 0; i < FAMILIES && backend->route; i++)
		capture_route_remove(backend->route, &backend->routing, families[i]);
}

/* Where this is set, what was marked is held to come from this machine, since its mark leads here, and is dropped. */
static bool is_source_judged_by_mark(const char *interface)
{
	char path[80], digit = '0';
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/src_valid_mark", interface);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, &digit, 1) != 1)
		digit = '0';
	close(fd);
	return digit == '1';
}

static void look_at_settings(struct backend *backend)
{
	const char *culprit = is_source_judged_by_mark("all") ? "all" : NULL;

	for (unsigned i = 0; i < backend->conf->n_interfaces && !culprit; i++)
		if (is_source_judged_by_mark(backend->conf->interfaces[i].name))
			culprit = backend->conf->interfaces[i].name;
	if (culprit && has_family(backend, AF_INET))
		snprintf(backend->trouble, sizeof(backend->trouble), "net.ipv4.conf.%s.src_valid_mark is 1: sysctl -w it to 0", culprit);
}

static bool has_interface(const struct backend *backend, unsigned realm)
{
	for (unsigned i = 0; i < backend->conf->n_interfaces; i++)
		if (backend->conf->interfaces[i].realm == realm && strcmp(backend->conf->interfaces[i].name, "lo") != 0)
			return true;
	return false;
}

static void look_at_realms(struct backend *backend)
{
	for (unsigned i = 0; i < backend->conf->n_captures; i++)
		if (!has_interface(backend, backend->conf->captures[i].realm))
			snprintf(backend->trouble, sizeof(backend->trouble), "a realm of clients is on no interface, or on loopback");
}

static void look(struct backend *backend)
{
	struct nft_table_news news;
	int err = nft_table_check(backend->table, &news);

	backend->trouble[0] = '\0';
	if (err < 0)
		snprintf(backend->trouble, sizeof(backend->trouble), "nf_tables: %s", err_str(err));
	else if (put_routes(backend) == 0)
		look_at_settings(backend);
	if (backend->trouble[0] == '\0')
		look_at_realms(backend);
}

static void close_backend(struct backend *backend)
{
	if (!backend)
		return;
	nft_table_close(backend->table);
	capture_route_close(backend->route);
	free(backend);
}

static int open_backend(const struct backend_conf *conf, struct backend **ret)
{
	struct backend *backend = calloc(1, sizeof(*backend));
	int err;

	if (!backend)
		return -ENOMEM;
	backend->conf = conf;
	backend->routing = nft_capture_routing(conf->node_tag);
	err = capture_route_open(&backend->route);
	if (err < 0) {
		close_backend(backend);
		return err;
	}
	if (conf->n_captures == 0) {
		nft_table_clear(conf, NFT_SKELETON_CAPTURES);
		remove_routes(backend);
	} else if (nft_table_open_captures(conf, &backend->table, backend->refusal) < 0) {
		backend->table = NULL;
	} else {
		look(backend);
	}
	*ret = backend;
	return 0;
}

static void remove_all(struct backend *backend)
{
	if (backend->table)
		nft_table_remove(backend->table);
	remove_routes(backend);
}

static void tick(struct backend *backend, uint64_t now_ms, void (*gone)(void *, uint64_t, enum wire_gone_why), void *arg)
{
	(void)now_ms;
	(void)gone;
	(void)arg;
	if (backend->table)
		look(backend);
}

/* Names of the realms' interfaces are part of the table. */
static void links_changed(struct backend *backend)
{
	if (backend->table && !nft_table_is_for(backend->table, backend->conf))
		backend->is_broken = true;
}

static bool is_broken(const struct backend *backend)
{
	return backend->is_broken;
}

static void report(struct backend *backend, enum pinhole_path path, unsigned realm, struct backend_report *ret)
{
	(void)path;
	(void)realm;
	snprintf(ret->reason, sizeof(ret->reason), "%s", backend->refusal[0] ? backend->refusal : backend->trouble);
	ret->is_usable = backend->table && ret->reason[0] == '\0';
}

static enum pinhole_path path_of(struct backend *backend, const struct wire_pinhole *pinhole, char *reason)
{
	(void)backend;
	(void)pinhole;
	snprintf(reason, WIRE_REASON_MAX, "holds no pinholes");
	return PINHOLE_NONE;
}

const struct backend_ops backend_capture = {
	.name = "capture",
	.open = open_backend,
	.close = close_backend,
	.remove_all = remove_all,
	.path_of = path_of,
	.apply = backend_empty_apply,
	.remove = backend_empty_remove,
	.list = backend_empty_list,
	.tick = tick,
	.slots = backend_empty_slots,
	.links_changed = links_changed,
	.report = report,
	.is_broken = is_broken,
};

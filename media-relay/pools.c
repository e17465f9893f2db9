/* The port pools of all realms: checked against each other and the kernel at start, asked by realm and family later.
 * Control thread. */
#include "media-relay/pools.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "core/conf.h"
#include "core/err.h"
#include "core/log.h"
#include "core/metrics.h"

enum {
	IDLE_PAIRS_MAX = 8192, /* per pool: those that rest in quarantine at more than 1,000 calls per second */
	FILES_FOR_OTHERS = 256, /* SIP, database, API; a sixteenth when there are many */
};

static bool pools_overlap(const struct realm_conf *a, const struct realm_conf *b)
{
	if (a->media_port_max < b->media_port_min || b->media_port_max < a->media_port_min)
		return false;
	for (unsigned i = 0; i < a->n_addresses; i++)
		for (unsigned j = 0; j < b->n_addresses; j++)
			if (addr_eq_ip(&a->addresses[i], &b->addresses[j]))
				return true;
	return false;
}

static void report(struct conf_errors *errors, const struct realm_conf *realm, const char *member, const char *hint,
		   const char *text)
{
	char pointer[128];

	snprintf(pointer, sizeof(pointer), "/realms/%s/%s", realm->name, member);
	conf_errors_add(errors, pointer, 0, 0, hint, "%s", text);
}

static int check_ephemeral(const struct realm_conf *realm, const struct ports_ephemeral *ephemeral,
			   struct conf_errors *errors)
{
	uint16_t port = ports_ephemeral_collision(ephemeral, realm->media_port_min, realm->media_port_max);
	char text[200], hint[200];

	if (port == 0)
		return 0;
	snprintf(text, sizeof(text), "media_ports %u-%u overlaps the kernel's ephemeral ports %u-%u (first at %u)",
		 realm->media_port_min, realm->media_port_max, ephemeral->min, ephemeral->max, port);
	snprintf(hint, sizeof(hint),
		 "choose other ports, or reserve them: sysctl net.ipv4.ip_local_reserved_ports=%u-%u (added to what is there), "
		 "or move net.ipv4.ip_local_port_range", realm->media_port_min, realm->media_port_max);
	report(errors, realm, "media_ports", hint, text);
	return ERR_CONFIG;
}

static int check_realms(const struct config *config, struct conf_errors *errors)
{
	struct ports_ephemeral ephemeral;
	int err = ports_ephemeral_read(&ephemeral);
	int result = 0;
	char text[200];

	if (err < 0) {
		log_warn("media", "ephemeral port range not readable; overlap with media ports is not checked",
			 LF_TEXT("error", err_str(err)));
		ephemeral = (struct ports_ephemeral){ .min = 1 };
	}
	for (unsigned i = 0; i < config->n_realms; i++) {
		const struct realm_conf *realm = &config->realms[i];

		if (check_ephemeral(realm, &ephemeral, errors) < 0)
			result = ERR_CONFIG;
		for (unsigned j = 0; j < i; j++) {
			if (!pools_overlap(realm, &config->realms[j]))
				continue;
			snprintf(text, sizeof(text), "media_ports %u-%u overlaps %u-%u of realm %s on the same address",
				 realm->media_port_min, realm->media_port_max, config->realms[j].media_port_min,
				 config->realms[j].media_port_max, config->realms[j].name);
			report(errors, realm, "media_ports", "give each realm its own ports or its own address", text);
			result = ERR_CONFIG;
		}
	}
	return result;
}

static uint32_t sockets_for_media(void)
{
	struct rlimit limit;
	rlim_t files = 1024, others;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		files = limit.rlim_cur < UINT32_MAX ? limit.rlim_cur : UINT32_MAX;
	others = files / 16 > FILES_FOR_OTHERS ? files / 16 : FILES_FOR_OTHERS;
	return files > 2 * others ? (uint32_t)(files - others) : (uint32_t)(files / 2);
}

static int open_pools(struct pools *pools, const struct config *config, struct conf_errors *errors)
{
	int result = 0;

	pools->budget.max = sockets_for_media();
	for (unsigned i = 0; i < config->n_realms; i++) {
		const struct realm_conf *realm = &config->realms[i];
		struct pools_realm *mine = &pools->realms[i];

		snprintf(mine->name, sizeof(mine->name), "%s", realm->name);
		for (unsigned j = 0; j < realm->n_addresses; j++) {
			struct ports_conf conf = {
				.address = realm->addresses[j], .port_min = realm->media_port_min,
				.port_max = realm->media_port_max, .quarantine_ms = config->limits.port_quarantine_ms,
				.dscp = realm->dscp_media, .idle_max = IDLE_PAIRS_MAX, .budget = &pools->budget,
			};
			char member[32], text[160], address[ADDR_TEXT_MAX];
			int err = ports_new(&conf, &mine->pools[mine->n_pools]);

			if (err == 0) {
				mine->n_pools++;
				continue;
			}
			snprintf(member, sizeof(member), "addresses/%u", j);
			snprintf(text, sizeof(text), "media ports of %s cannot be used: %s",
				 addr_ip_text(&realm->addresses[j], address), err_str(err));
			report(errors, realm, member, "the address must be configured on this host, and hold an even "
			       "port and the odd one above it", text);
			result = ERR_CONFIG;
		}
	}
	return result;
}

static int note_own(struct pools *pools, const struct config *config)
{
	unsigned n = 0;

	for (unsigned i = 0; i < config->n_realms; i++)
		n += config->realms[i].n_addresses + config->realms[i].n_listens;
	pools->own = calloc(n > 0 ? n : 1, sizeof(*pools->own));
	if (pools->own == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < config->n_realms; i++) {
		const struct realm_conf *realm = &config->realms[i];

		for (unsigned j = 0; j < realm->n_addresses; j++)
			pools->own[pools->n_own++] = (struct target_own){
				realm->addresses[j], realm->media_port_min, realm->media_port_max, i, true,
			};
		for (unsigned j = 0; j < realm->n_listens; j++)
			pools->own[pools->n_own++] = (struct target_own){
				realm->listens[j].addr, realm->listens[j].addr.port, realm->listens[j].addr.port, i, false,
			};
	}
	return 0;
}

/* Metrics: pools are the control thread's, /metrics is read by others. */

enum { USED, QUARANTINED, FREE, STATES };
static _Atomic int64_t published[CONFIG_REALMS_MAX][STATES];

static int64_t read_published(void *arg)
{
	return atomic_load_explicit((_Atomic int64_t *)arg, memory_order_relaxed);
}

static void publish(const struct pools *pools)
{
	for (unsigned i = 0; i < pools->n_realms; i++) {
		int64_t ports[STATES] = { 0 };

		for (unsigned j = 0; j < pools->realms[i].n_pools; j++) {
			struct ports_stats stats;

			ports_stats(pools->realms[i].pools[j], &stats);
			ports[USED] += 2 * (int64_t)stats.used;
			ports[QUARANTINED] += 2 * (int64_t)stats.quarantined;
			ports[FREE] += 2 * ((int64_t)stats.total - stats.used - stats.quarantined);
		}
		for (unsigned j = 0; j < STATES; j++)
			atomic_store_explicit(&published[i][j], ports[j], memory_order_relaxed);
	}
}

static void register_metrics(const struct pools *pools)
{
	static const char *const states[STATES] = { "used", "quarantined", "free" };
	static bool is_done;
	char labels[128];
	const struct metric row = { .name = "postern_media_ports", .labels = labels, .type = METRIC_GAUGE,
				    .help = "Ports of the media pools, by realm and state." };

	for (unsigned i = 0; !is_done && i < pools->n_realms; i++) {
		for (unsigned j = 0; j < STATES; j++) {
			snprintf(labels, sizeof(labels), "realm=\"%s\",state=\"%s\"", pools->realms[i].name, states[j]);
			metrics_register_read(&row, read_published, &published[i][j]);
		}
	}
	is_done = true;
}

size_t pools_pairs(const struct pools *pools)
{
	struct ports_stats stats;
	size_t pairs = 0;

	for (unsigned i = 0; i < pools->n_realms; i++) {
		for (unsigned j = 0; j < pools->realms[i].n_pools; j++) {
			ports_stats(pools->realms[i].pools[j], &stats);
			pairs += stats.total;
		}
	}
	return pairs;
}

int pools_init(struct pools *pools, const struct config *config, struct conf_errors *errors)
{
	int err = check_realms(config, errors);

	if (err < 0)
		return err;
	pools->realms = calloc(config->n_realms + 1, sizeof(*pools->realms));
	if (pools->realms == NULL)
		return -ENOMEM;
	pools->n_realms = config->n_realms;
	err = open_pools(pools, config, errors);
	if (err == 0)
		err = note_own(pools, config);
	if (err == 0) {
		register_metrics(pools);
		publish(pools);
	}
	return err;
}

void pools_fini(struct pools *pools)
{
	for (unsigned i = 0; i < pools->n_realms; i++)
		for (unsigned j = 0; j < pools->realms[i].n_pools; j++)
			ports_free(pools->realms[i].pools[j]);
	free(pools->realms);
	free(pools->own);
	*pools = (struct pools){ 0 };
}

const struct pools_realm *pools_find(const struct pools *pools, const struct realm_conf *realm)
{
	/* By name: after a reload the caller's snapshot may number its realms differently. */
	for (unsigned i = 0; i < pools->n_realms; i++)
		if (strcmp(pools->realms[i].name, realm->name) == 0)
			return &pools->realms[i];
	return NULL;
}

int pools_take(const struct pools_realm *realm, uint8_t family, uint64_t now_ms, struct ports **ret_pool,
		     struct ports_pair *ret)
{
	int err = -EAFNOSUPPORT;

	for (unsigned i = 0; i < realm->n_pools; i++) {
		struct ports *pool = realm->pools[i];

		if (family == 0)
			family = ports_conf(pool)->address.family;
		if (ports_conf(pool)->address.family != family)
			continue;
		err = ports_take(pool, now_ms, ret);
		if (err == 0)
			*ret_pool = pool;
		if (err != ERR_LIMIT)
			break;
	}
	return err;
}

int pools_claim(const struct pools_realm *realm, const struct addr *rtp, uint64_t now_ms, struct ports **ret_pool,
		struct ports_pair *ret)
{
	int err = ERR_NOT_FOUND;

	for (unsigned i = 0; i < realm->n_pools && err == ERR_NOT_FOUND; i++) {
		if (!addr_eq_ip(&ports_conf(realm->pools[i])->address, rtp))
			continue;
		err = ports_claim(realm->pools[i], rtp->port, now_ms, ret);
		if (err == 0)
			*ret_pool = realm->pools[i];
	}
	return err;
}

void pools_tick(const struct pools *pools, uint64_t now_ms)
{
	for (unsigned i = 0; i < pools->n_realms; i++)
		for (unsigned j = 0; j < pools->realms[i].n_pools; j++)
			ports_tick(pools->realms[i].pools[j], now_ms);
	publish(pools);
}

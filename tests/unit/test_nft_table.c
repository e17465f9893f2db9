/* The gateway's own table: what is in it, when it is there, and how it comes back. In network namespaces of its own. */
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/err.h"
#include "pinhole/nft_table.h"
#include "tests/unit/nat_place.h"
#include "tests/unit/unit.h"

enum { LISTING_MAX = 16384 };

/* What nft shows, without counters and time-outs. Empty when the table is not there. */
static const char *show(const char *name, char listing[LISTING_MAX])
{
	char command[100];
	FILE *pipe;
	size_t n;

	snprintf(command, sizeof(command), "nft -s list table inet %s 2>/dev/null", name);
	pipe = popen(command, "r");
	n = pipe ? fread(listing, 1, LISTING_MAX - 1, pipe) : 0;
	listing[n] = '\0';
	if (pipe)
		pclose(pipe);
	return listing;
}

static int comes_when_needed(struct place *place)
{
	char before[LISTING_MAX], after[LISTING_MAX], reason[WIRE_REASON_MAX];
	struct nft_table_news news;
	struct nft_table *table, *second;

	PLACE_CHECK(place, show("postern_test_1", before)[0] == '\0');
	PLACE_CHECK(place, nft_table_open(&place->conf, false, &table, reason) == 0);
	PLACE_CHECK(place, nft_table_check(table, &news) == 0 && !news.is_changed);
	PLACE_CHECK(place, show("postern_test_1", before)[0] == '\0');
	PLACE_CHECK(place, nft_table_need(table) == 0);
	PLACE_CHECK(place, strstr(show("postern_test_1", before), "chain arriving") != NULL);
	PLACE_CHECK(place, nft_table_check(table, &news) == 0 && !news.is_changed);
	/* As nft(8) makes it. */
	PLACE_CHECK(place, nft_table_remove(table) == 0);
	PLACE_CHECK(place, nft_table_open(&place->conf, true, &second, reason) == 0);
	PLACE_CHECK(place, strcmp(show("postern_test_1", after), before) == 0);
	nft_table_close(second);
	/* A third one finds it, and leaves it. */
	PLACE_CHECK(place, nft_table_open(&place->conf, false, &second, reason) == 0);
	PLACE_CHECK(place, strcmp(show("postern_test_1", after), before) == 0);
	nft_table_close(second);
	nft_table_close(table);
	return 0;
}

static int heals(struct place *place)
{
	static const char *const damages[] = {
		"nft flush ruleset", "nft delete table inet postern_test_1", "nft flush table inet postern_test_1",
		"nft flush chain inet postern_test_1 relayed",
		"nft flush ruleset; nft add table inet postern_test_1", "nft add rule inet postern_test_1 arriving accept",
	};
	char before[LISTING_MAX], after[LISTING_MAX], reason[WIRE_REASON_MAX];
	struct nft_table_news news;
	struct nft_table *table;

	PLACE_CHECK(place, nft_table_open(&place->conf, true, &table, reason) == 0);
	show("postern_test_1", before);
	for (unsigned i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		snprintf(place->reason, place->size, "%s", damages[i]);
		PLACE_CHECK(place, system(damages[i]) == 0);
		PLACE_CHECK(place, nft_table_check(table, &news) == 0 && news.is_changed && news.is_new);
		PLACE_CHECK(place, strcmp(show("postern_test_1", after), before) == 0);
		PLACE_CHECK(place, nft_table_check(table, &news) == 0 && !news.is_changed && !news.is_new);
	}
	nft_table_close(table);
	return 0;
}

static int leaves_others_alone(struct place *place)
{
	char before[LISTING_MAX], after[LISTING_MAX], reason[WIRE_REASON_MAX];
	struct nft_table_news news;
	struct nft_table *table;

	PLACE_CHECK(place, system("nft 'table inet postern_other { chain c { type nat hook prerouting priority 0; "
				  "udp dport 9 drop; }; set s { type inet_service; elements = { 7, 9 }; }; }'") == 0);
	show("postern_other", before);
	PLACE_CHECK(place, nft_table_open(&place->conf, true, &table, reason) == 0);
	PLACE_CHECK(place, strcmp(show("postern_other", after), before) == 0);
	PLACE_CHECK(place, system("nft delete table inet postern_test_1") == 0);
	PLACE_CHECK(place, nft_table_check(table, &news) == 0 && news.is_new);
	PLACE_CHECK(place, strcmp(show("postern_other", after), before) == 0);
	PLACE_CHECK(place, system("nft add element inet postern_other s { 11 }") == 0);
	show("postern_other", before);
	PLACE_CHECK(place, nft_table_check(table, &news) == 0 && news.is_changed && !news.is_new);
	PLACE_CHECK(place, nft_table_remove(table) == 0);
	PLACE_CHECK(place, show("postern_test_1", after)[0] == '\0');
	PLACE_CHECK(place, strcmp(show("postern_other", after), before) == 0);
	nft_table_close(table);
	return 0;
}

static int follows_the_configuration(struct place *place)
{
	char text[LISTING_MAX], reason[WIRE_REASON_MAX] = "";
	struct backend_conf other = place->conf;
	struct nft_table *table;

	PLACE_CHECK(place, nft_table_open(&place->conf, true, &table, reason) == 0);
	PLACE_CHECK(place, nft_table_is_for(table, &place->conf));
	PLACE_CHECK(place, strstr(show("postern_test_1", text), "udp sport 20000-29999 notrack") != NULL);
	PLACE_CHECK(place, strstr(text, "hook forward") == NULL);
	place->seal.firewall = 1;
	PLACE_CHECK(place, !nft_table_is_for(table, &place->conf));
	nft_table_close(table);
	PLACE_CHECK(place, nft_table_open(&place->conf, true, &table, reason) == 0);
	PLACE_CHECK(place, strstr(show("postern_test_1", text), "hook forward") != NULL);
	nft_table_close(table);
	other.node_tag = "a; flush ruleset";
	PLACE_CHECK(place, nft_table_open(&other, true, &table, reason) == ERR_CONFIG && reason[0]);
	other.node_tag = "";
	PLACE_CHECK(place, nft_table_open(&other, true, &table, reason) == ERR_CONFIG);
	snprintf(place->interfaces[0].name, sizeof(place->interfaces[0].name), "x\" accept #");
	PLACE_CHECK(place, nft_table_open(&place->conf, true, &table, reason) == ERR_CONFIG);
	snprintf(place->interfaces[0].name, sizeof(place->interfaces[0].name), "eth*");
	PLACE_CHECK(place, nft_table_open(&place->conf, true, &table, reason) == ERR_CONFIG);
	PLACE_CHECK(place, strstr(show("postern_test_1", text), "hook forward") != NULL);
	return 0;
}

/* Straight from host to host, past the gateway's own addresses. */
static int forwarded(struct place *place)
{
	struct wire_pinhole way = place_pinhole(place, 0);
	struct rig_pass pass = { place->left, place->right, place_addr(&way.target), place_addr(&way.source), 0 };

	return rig_pass(&pass, place->reason, place->size);
}

static bool is_kept_out(struct place *place)
{
	struct wire_pinhole way = place_pinhole(place, 0);
	struct rig_pass pass = { place->left, place->right, place_addr(&way.target), place_addr(&way.source), 200 };

	return rig_pass(&pass, place->reason, place->size) == -ENODATA;
}

static int closed_firewall(struct place *place)
{
	struct wire_pinhole pinhole = place_pinhole(place, 31);
	struct backend_entry entry;
	char text[LISTING_MAX];

	PLACE_CHECK(place, strstr(show("postern_test_1", text), "chain between_realms") != NULL);
	PLACE_CHECK(place, is_kept_out(place));
	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
	PLACE_CHECK(place, place_there(place) == 0 && place_back_to_relay(place) == 0);
	pinhole = place_reverse(place, 32);
	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
	PLACE_CHECK(place, place_there(place) == 0 && place_back(place) == 0);
	PLACE_CHECK(place, place->ops->remove(place->backend, &pinhole, NULL) == 0);
	pinhole = place_pinhole(place, 31);
	PLACE_CHECK(place, place->ops->remove(place->backend, &pinhole, NULL) == 0);
	PLACE_CHECK(place, place_to_relay(place) == 0);
	PLACE_CHECK(place, system("nft flush ruleset") == 0);
	PLACE_CHECK(place, forwarded(place) == 0);
	place_tick(place, 1);
	PLACE_CHECK(place, is_kept_out(place));
	place->ops->remove_all(place->backend);
	PLACE_CHECK(place, show("postern_test_1", text)[0] == '\0');
	PLACE_CHECK(place, forwarded(place) == 0);
	return 0;
}

static int closed_firewall_with_open_doors(struct place *place)
{
	struct wire_pinhole pinhole = place_pinhole(place, 31);
	struct backend_entry entry;

	pinhole.source.port = 0;
	PLACE_CHECK(place, is_kept_out(place));
	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
	PLACE_CHECK(place, place_there(place) == 0 && place_back(place) == 0);
	PLACE_CHECK(place, is_kept_out(place));
	return 0;
}

/* Whether the sender is told that nobody listens on that port of the gateway. */
static bool is_answered(struct place *place, uint16_t port)
{
	struct addr local = rig_host(RIG_LEFT, place->family, 0), to = rig_gateway(RIG_LEFT, place->family, port);
	int fd = rig_socket(place->rig, RIG_LEFT, SOCK_DGRAM, &local);
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	struct sockaddr_storage storage;
	socklen_t len = addr_to_sockaddr(&to, &storage);
	bool is_told = connect(fd, (struct sockaddr *)&storage, len) == 0 && send(fd, "x", 1, 0) == 1 &&
		       poll(&poll_fd, 1, 200) == 1 && (poll_fd.revents & POLLERR);

	close(fd);
	return is_told;
}

static int unused_ports_are_silent(struct place *place)
{
	char text[LISTING_MAX];

	PLACE_CHECK(place, show("postern_test_1", text)[0] == '\0');
	PLACE_CHECK(place, strstr(show("postern_test_1_ports", text), "hook input") != NULL);
	PLACE_CHECK(place, !is_answered(place, PLACE_LISTEN + 100));
	PLACE_CHECK(place, is_answered(place, 10000)); /* none of ours */
	PLACE_CHECK(place, place_to_relay(place) == 0);
	PLACE_CHECK(place, system("nft flush ruleset") == 0);
	place_tick(place, 1);
	PLACE_CHECK(place, !is_answered(place, PLACE_LISTEN + 100));
	PLACE_CHECK(place, place_to_relay(place) == 0);
	place->ops->remove_all(place->backend);
	PLACE_CHECK(place, is_answered(place, PLACE_LISTEN + 100));
	return 0;
}

/* While the table is gone the relay has the stream; its packets leave nothing behind that is in the way later. */
static int a_stream_survives_a_flush(struct place *place)
{
	struct wire_pinhole pinhole = place_pinhole(place, 31);
	struct backend_entry entry;

	PLACE_CHECK(place, place_apply(place, &pinhole, &entry) == 0);
	PLACE_CHECK(place, place_there(place) == 0);
	PLACE_CHECK(place, system("nft flush ruleset") == 0);
	PLACE_CHECK(place, place_to_relay(place) == 0);
	place_tick(place, 1);
	PLACE_CHECK(place, place_there(place) == 0 && place_back_to_relay(place) == 0);
	PLACE_CHECK(place, place->n_gone == 0);
	place_tick(place, 1);
	PLACE_CHECK(place, place->slots[entry.slot].packets == 2);
	return 0;
}

#define TEST(name, ops, fn, is_closed) \
	static void name(void) \
	{ \
		place_run(&(struct place_test){ ops, fn, is_closed }); \
	}
TEST(needed, &backend_conntrack, comes_when_needed, false)
TEST(healing, &backend_conntrack, heals, false)
TEST(healing_closed, &backend_conntrack, heals, true)
TEST(others, &backend_conntrack, leaves_others_alone, false)
TEST(configuration, &backend_conntrack, follows_the_configuration, false)
TEST(closed, &backend_conntrack, closed_firewall, true)
TEST(closed_doors, &backend_nft, closed_firewall_with_open_doors, true)
TEST(silent, &backend_nft, unused_ports_are_silent, false)
TEST(stream, &backend_conntrack, a_stream_survives_a_flush, false)

static const struct unit_test tests[] = {
	{ "the table comes when it is needed, and is found again", needed },
	{ "every damage is healed", healing },
	{ "every damage to a closed firewall is healed", healing_closed },
	{ "tables of others are left alone", others },
	{ "the table follows the configuration", configuration },
	{ "a closed firewall lets only pinholes through", closed },
	{ "a closed firewall and doors for unknown ports", closed_doors },
	{ "media ports without a socket are silent", silent },
	{ "a stream survives a flush", stream },
};

int main(int argc, char **argv)
{
	return place_may_run() ? unit_main(argc, argv, "nft_table", tests, sizeof(tests) / sizeof(tests[0])) : 0;
}

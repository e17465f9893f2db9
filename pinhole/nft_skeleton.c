/* pinhole/nft_skeleton.h. The child gets fixed arguments, no shell and nearly no environment; every word of the text is our
 * own or was checked to be a plain name or number. */
#include "pinhole/nft_skeleton.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/hash.h"
#include "pinhole/nft_capture.h"

enum { TAG_MAX = 32, TEXT_FIXED = 12288, TEXT_PER_ADDRESS = 400, INSTALL_MAX_S = 10 };

static bool is_name(const char *text, size_t max, const char *also)
{
	size_t len = strnlen(text, max + 1);

	if (len == 0 || len > max || !isalnum((unsigned char)text[0]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr(also, text[i]))
			return false;
	return true;
}

uint32_t nft_mark(const char *tag)
{
	static const uint64_t key[2] = { 0x706f737465726e, 1 };

	return 0x50000000 | ((uint32_t)hash_keyed(span_of(tag), key) & 0xffffff) << 4;
}

static void put_maps(struct buf *b)
{
	static const char *const uses[] = { "target", "leave" };

	for (int version = 4; version <= 6; version += 2) {
		buf_printf(b, "\tset to_relay%d { type ipv%d_addr . ipv%d_addr . inet_service . inet_service; flags timeout; }\n",
			   version, version, version);
		for (int i = 0; i < 2; i++) {
			char type[12];

			snprintf(type, sizeof(type), "ipv%d_addr", version);
			buf_printf(b, "\tmap %s_from%d { type %s . %s . inet_proto . inet_service : %s . inet_service; "
				   "flags timeout; }\n", uses[i], version, type, type, type);
			buf_printf(b, "\tmap %s_any%d { type %s . inet_proto . inet_service : %s . inet_service; "
				   "flags timeout; }\n", uses[i], version, type, type);
		}
		buf_printf(b, "\tmap target_kept%d { type ipv%d_addr . ipv%d_addr . inet_proto . inet_service : ipv%d_addr . "
			   "inet_service; flags timeout; }\n", version, version, version, version);
		buf_printf(b, "\tset leave_kept%d { type ipv%d_addr . ipv%d_addr . inet_proto . inet_service; flags timeout; }\n",
			   version, version, version);
	}
}

/* What a rule looks up: for pinholes with a known source address, and for those without. */
static void put_key(struct buf *b, int version, bool with_source)
{
	const char *ip = version == 4 ? "ip" : "ip6";

	if (with_source)
		buf_printf(b, "%s saddr . ", ip);
	buf_printf(b, "%s daddr . meta l4proto . th dport", ip);
}

static void put_nat_rules(struct buf *b, bool is_arriving, uint32_t mark)
{
	const char *use = is_arriving ? "target" : "leave";

	for (int version = 4; version <= 6; version += 2)
		for (int with_source = 1; with_source >= 0; with_source--) {
			char map[20];

			snprintf(map, sizeof(map), "@%s_%s%d", use, with_source ? "from" : "any", version);
			if (is_arriving) {
				buf_puts(b, "\t\t");
				put_key(b, version, with_source);
				buf_printf(b, " %s ct mark set 0x%08x\n", map, mark);
			}
			buf_puts(b, "\t\t");
			if (!is_arriving)
				buf_printf(b, "ct mark 0x%08x ", mark);
			buf_printf(b, "%s %s to ", is_arriving ? "dnat" : "snat", version == 4 ? "ip" : "ip6");
			put_key(b, version, with_source);
			buf_printf(b, " map %s\n", map);
		}
}

/* Connections that keep their source are only let through, once where they are for one: looked up like the others, and translated
 * into themselves, so that no NAT of the host does more. Those for the gateway's own sockets pass `entering`. */
static void put_kept_arriving(struct buf *b, uint32_t mark)
{
	for (int version = 4; version <= 6; version += 2) {
		buf_puts(b, "\t\t");
		put_key(b, version, true);
		buf_printf(b, " @target_kept%d ct mark set 0x%08x\n\t\tdnat %s to ", version, mark, version == 4 ? "ip" : "ip6");
		put_key(b, version, true);
		buf_printf(b, " map @target_kept%d\n", version);
	}
}

static void put_kept_going_on(struct buf *b, uint32_t mark, bool is_leaving)
{
	for (int version = 4; version <= 6; version += 2) {
		const char *ip = version == 4 ? "ip" : "ip6";

		buf_printf(b, "\t\tct mark 0x%08x ", mark);
		put_key(b, version, true);
		if (is_leaving)
			buf_printf(b, " @leave_kept%d snat %s to %s saddr\n", version, ip, ip);
		else
			buf_printf(b, " @leave_kept%d accept\n", version);
	}
	buf_printf(b, "\t\tct mark 0x%08x drop\n", mark);
}

static void put_untracked(struct buf *b, const struct backend_conf *conf)
{
	char ip[ADDR_TEXT_MAX];

	for (unsigned i = 0; i < conf->n_own; i++) {
		const struct wire_limit *own = &conf->own[i];
		struct addr addr = wire_addr_get(&own->addr);

		buf_printf(b, "\t\t%s saddr %s udp sport %u-%u notrack\n", addr.family == AF_INET ? "ip" : "ip6",
			   addr_ip_text(&addr, ip), own->port_min, own->port_max);
	}
}

/* Ports of the media ranges without a socket do not answer: neither that they are closed nor that they could be open. */
static void put_quiet(struct buf *b, const struct backend_conf *conf)
{
	static const char *const protos[] = { "udp", "tcp" };
	char ip[ADDR_TEXT_MAX];

	/* Any socket is: this attribute is known of connections that are just beginning or over, too. */
	buf_puts(b, "\tchain if_open {\n\t\tsocket transparent 0 accept\n\t\tsocket transparent 1 accept\n\t\tdrop\n\t}\n"
		 "\tchain to_media {\n\t\ttype filter hook input priority filter; policy accept;\n");
	for (unsigned i = 0; i < 2 * conf->n_own; i++) {
		const struct wire_limit *own = &conf->own[i / 2];
		struct addr addr = wire_addr_get(&own->addr);

		buf_printf(b, "\t\t%s daddr %s %s dport %u-%u jump if_open\n", addr.family == AF_INET ? "ip" : "ip6",
			   addr_ip_text(&addr, ip), protos[i % 2], own->port_min, own->port_max);
	}
	buf_puts(b, "\t}\n");
}

/* The name stands for all interfaces before it too: a realm may have several addresses on one. */
static bool is_new_interface(const struct backend_conf *conf, unsigned at)
{
	for (unsigned i = 0; i < at; i++)
		if (strcmp(conf->interfaces[i].name, conf->interfaces[at].name) == 0)
			return false;
	return true;
}

/* Every packet between the realms comes here: what goes through a door is known by the first rule. */
static void put_closed(struct buf *b, const struct backend_conf *conf, uint32_t mark)
{
	buf_puts(b, "\tchain from_realm {\n");
	for (unsigned i = 0; i < conf->n_interfaces; i++)
		if (is_new_interface(conf, i))
			buf_printf(b, "\t\toifname \"%s\" drop\n", conf->interfaces[i].name);
	buf_printf(b, "\t}\n\tchain between_realms {\n\t\ttype filter hook forward priority filter; policy accept;\n"
		   "\t\tct mark & 0x%08x == 0x%08x accept\n", ~(uint32_t)NFT_MARK_KIND, mark);
	for (unsigned i = 0; i < conf->n_interfaces; i++)
		if (is_new_interface(conf, i))
			buf_printf(b, "\t\tiifname \"%s\" jump from_realm\n", conf->interfaces[i].name);
	buf_puts(b, "\t}\n");
}

static void put_body(struct buf *b, const struct backend_conf *conf)
{
	uint32_t mark = nft_mark(conf->node_tag);

	put_maps(b);
	buf_puts(b, "\tchain from_peers {\n\t\ttype filter hook prerouting priority raw; policy accept;\n"
		 "\t\tmeta l4proto != udp accept\n"
		 "\t\tip saddr . ip daddr . udp sport . udp dport @to_relay4 notrack\n"
		 "\t\tip6 saddr . ip6 daddr . udp sport . udp dport @to_relay6 notrack\n\t}\n");
	/* Doors are for hosts that are where their addresses say: strict, whatever rp_filter is, and only what begins a connection pays. */
	buf_puts(b, "\tchain arriving {\n\t\ttype nat hook prerouting priority dstnat; policy accept;\n"
		 "\t\tfib saddr . iif oif missing return\n");
	put_nat_rules(b, true, mark | NFT_MARK_OPEN);
	put_kept_arriving(b, mark | NFT_MARK_KEPT);
	buf_puts(b, "\t}\n\tchain leaving {\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n");
	put_nat_rules(b, false, mark | NFT_MARK_OPEN);
	/* A second connection through a door for one: its look-up above ran into the element's limit. */
	buf_printf(b, "\t\tct mark 0x%08x drop\n", mark | NFT_MARK_OPEN);
	put_kept_going_on(b, mark | NFT_MARK_KEPT, true);
	buf_puts(b, "\t}\n\tchain entering {\n\t\ttype nat hook input priority 100; policy accept;\n");
	put_kept_going_on(b, mark | NFT_MARK_KEPT, false);
	buf_puts(b, "\t}\n\tchain relayed {\n\t\ttype filter hook output priority raw; policy accept;\n");
	put_untracked(b, conf);
	/* Of exact flows, after everything else: see nft_table_passed(). */
	buf_printf(b, "\t}\n\tchain " NFT_CHAIN_PASSED " {\n\t\ttype filter hook postrouting priority srcnat + 10; "
		   "policy accept;\n\t\tct mark 0x%08x counter\n\t}\n", mark | NFT_MARK_EXACT);
	if (conf->seal->firewall)
		put_closed(b, conf, mark);
}

static int check_names(const struct backend_conf *conf, char reason[WIRE_REASON_MAX])
{
	if (!is_name(conf->node_tag, TAG_MAX, "-_")) {
		snprintf(reason, WIRE_REASON_MAX, "the node's name is no name for a table");
		return ERR_CONFIG;
	}
	for (unsigned i = 0; i < conf->n_interfaces; i++)
		if (!is_name(conf->interfaces[i].name, WIRE_INTERFACE_MAX - 1, "-_.@:")) {
			snprintf(reason, WIRE_REASON_MAX, "an interface has a name that nft does not take");
			return ERR_CONFIG;
		}
	return 0;
}

static void put_kind(struct buf *b, const struct backend_conf *conf, enum nft_skeleton_kind kind)
{
	switch (kind) {
	case NFT_SKELETON_DOORS: put_body(b, conf); break;
	case NFT_SKELETON_PORTS: put_quiet(b, conf); break;
	case NFT_SKELETON_CAPTURES: nft_capture_put(b, conf); break;
	}
	buf_puts(b, "}\n");
}

int nft_skeleton_make(const struct backend_conf *conf, enum nft_skeleton_kind kind, struct nft_skeleton *ret,
		      char reason[WIRE_REASON_MAX])
{
	static const char *const suffixes[] = { [NFT_SKELETON_DOORS] = "", [NFT_SKELETON_PORTS] = "_ports",
						[NFT_SKELETON_CAPTURES] = "_captures" };
	static const uint64_t key[2] = { 0x736b656c65746f6e, 1 };
	size_t cap = TEXT_FIXED + (size_t)TEXT_PER_ADDRESS * (conf->n_own + conf->n_interfaces) + nft_capture_room(conf);
	struct nft_skeleton skeleton = { 0 };
	struct buf body, text;
	int err = check_names(conf, reason);

	if (err < 0)
		return err;
	body = buf_of(malloc(cap), cap);
	text = buf_of(malloc(cap), cap);
	if (!body.data || !text.data) {
		free(body.data);
		free(text.data);
		return -ENOMEM;
	}
	snprintf(skeleton.table, sizeof(skeleton.table), "postern_%s%s", conf->node_tag, suffixes[kind]);
	for (char *p = skeleton.table; *p; p++)
		if (*p == '-')
			*p = '_';
	put_kind(&body, conf, kind);
	snprintf(skeleton.signature, sizeof(skeleton.signature), "kept by postern-pinholed, %016llx",
		 (unsigned long long)hash_keyed(buf_span(&body), key));
	/* Added first, so that removing it never fails. */
	buf_printf(&text, "add table inet %s\ndelete table inet %s\ntable inet %s {\n\tcomment \"%s\"\n", skeleton.table,
		   skeleton.table, skeleton.table, skeleton.signature);
	buf_put(&text, buf_span(&body));
	buf_putc(&text, '\0');
	free(body.data);
	skeleton.text = text.data;
	if (text.is_full || body.is_full) {
		nft_skeleton_free(&skeleton);
		return -ENOMEM;
	}
	*ret = skeleton;
	return 0;
}

void nft_skeleton_free(struct nft_skeleton *skeleton)
{
	free(skeleton->text);
	skeleton->text = NULL;
}

static int text_file(const char *text)
{
	size_t len = strlen(text);
	int fd = memfd_create("postern-nft", MFD_CLOEXEC);

	if (fd >= 0 && (write(fd, text, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) != 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

static void run_nft(int in, int out)
{
	static const char *const paths[] = { "/usr/sbin/nft", "/sbin/nft", "/usr/local/sbin/nft" };
	char name[] = "nft", file[] = "-f", input[] = "-", locale[] = "LC_ALL=C";
	char *const arguments[] = { name, file, input, NULL };
	char *const environment[] = { locale, NULL };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
		_exit(126);
	alarm(INSTALL_MAX_S); /* stays over exec */
	for (unsigned i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		execve(paths[i], arguments, environment);
	_exit(127);
}

/* The first line of what nft wrote, without what is not plain text. */
static void read_complaint(int fd, char reason[WIRE_REASON_MAX])
{
	char said[64] = "";
	ssize_t n = pread(fd, said, sizeof(said) - 1, 0);

	for (ssize_t i = 0; i < n; i++)
		if (!isprint((unsigned char)said[i]))
			said[i] = said[i] == '\n' ? '\0' : '?';
	snprintf(reason, WIRE_REASON_MAX, "nft refuses our table: %s", said);
}

int nft_skeleton_install(const struct nft_skeleton *skeleton, char reason[WIRE_REASON_MAX])
{
	int in = text_file(skeleton->text), out = text_file(""), status = 0, err = 0;
	pid_t pid = in >= 0 && out >= 0 ? fork() : -1;

	if (pid == 0)
		run_nft(in, out);
	if (pid < 0) {
		err = -errno;
		snprintf(reason, WIRE_REASON_MAX, "nft cannot be started: %s", err_str(err));
	} else {
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
			snprintf(reason, WIRE_REASON_MAX, "nft is missing: install the package nftables");
			err = ERR_UNSUPPORTED;
		} else if (status != 0) {
			read_complaint(out, reason);
			err = ERR_UNSUPPORTED;
		}
	}
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return err;
}

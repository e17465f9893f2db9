/* The schema of postern.yaml: a row per member, the checks of single values, and the small grammars inside them. */
#include "core/config_build.h"
#include "core/err.h"

enum { SECOND_MS = 1000, MINUTE_MS = 60 * SECOND_MS, HOUR_MS = 60 * MINUTE_MS, SIP_PORT = 5060 };

/* Grammars */

int config_listen_parse(struct span text, struct realm_listen *ret)
{
	struct span rest = text;
	struct span proto = span_cut(&rest, ':');
	struct realm_listen listen = { .proto = SIP_UDP };
	uint32_t port;

	if (rest.ptr == NULL)
		return ERR_PARSE;
	if (span_eq(proto, SPAN_LIT("tcp")) || span_eq(proto, SPAN_LIT("tls")))
		return ERR_UNSUPPORTED;
	if (!span_eq(proto, SPAN_LIT("udp")))
		return ERR_PARSE;
	if (span_to_u32(rest, UINT16_MAX, &port) == 0 && port > 0)
		listen.addr.port = (uint16_t)port;
	else if (addr_parse(rest, &listen.addr) < 0)
		return ERR_PARSE;
	*ret = listen;
	return 0;
}

int config_ports_parse(struct span text, uint16_t *ret_min, uint16_t *ret_max)
{
	struct span rest = text;
	struct span first = span_cut(&rest, '-');
	uint32_t min, max;

	if (span_to_u32(span_trim(first), UINT16_MAX, &min) < 0 || span_to_u32(span_trim(rest), UINT16_MAX, &max) < 0)
		return ERR_PARSE;
	*ret_min = (uint16_t)min;
	*ret_max = (uint16_t)max;
	return 0;
}

static bool is_host_name(struct span s)
{
	bool has_letter = false;

	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		has_letter = has_letter || is_letter;
		if (!is_letter && !(c >= '0' && c <= '9') && c != '.' && c != '-')
			return false;
	}
	return has_letter;
}

static int parse_host_port(struct span text, struct addr *ret)
{
	struct span rest = text;
	int err;

	if (addr_parse(text, ret) == 0)
		return 0;
	err = addr_parse_ip(text, ret);
	if (err == 0)
		ret->port = SIP_PORT;
	else if (is_host_name(span_cut(&rest, ':')))
		err = ERR_NOT_FOUND;
	return err;
}

int config_uri_parse(struct span text, struct addr *ret)
{
	struct span params = text;
	struct span base = span_cut(&params, ';');

	if (span_istarts(base, SPAN_LIT("sips:")) || span_istarts(base, SPAN_LIT("tel:")))
		return ERR_UNSUPPORTED;
	if (!span_istarts(base, SPAN_LIT("sip:")))
		return ERR_PARSE;
	if (params.ptr != NULL && span_istarts(params, SPAN_LIT("transport=")) &&
	    !span_ieq(params, SPAN_LIT("transport=udp")))
		return ERR_UNSUPPORTED;
	if (params.ptr != NULL && !span_ieq(params, SPAN_LIT("transport=udp")))
		return ERR_PARSE;
	return parse_host_port(span_sub(base, 4, base.len), ret);
}

unsigned config_port_pairs(uint16_t min, uint16_t max)
{
	unsigned first = min + (min & 1U);
	unsigned end = max + 1U;

	return end > first ? (end - first) / 2 : 0;
}

/* Checks of single values */

static struct span text_of(const json_t *value)
{
	return (struct span){ json_string_value(value), json_string_length(value) };
}

static int check_own_ip(struct conf_check_ctx *ctx, const struct addr *addr)
{
	switch (addr_kind(addr)) {
	case ADDR_UNICAST:
	case ADDR_LOOPBACK:
		return 0;
	case ADDR_UNSPECIFIED:
		return conf_report(ctx, "name each address", "the unspecified address cannot be used");
	case ADDR_LINK_LOCAL:
	case ADDR_MULTICAST:
	case ADDR_BROADCAST:
		break;
	}
	return conf_report(ctx, NULL, "not a usable host address");
}

static int check_ip(struct conf_check_ctx *ctx, const json_t *value)
{
	struct addr addr;

	if (addr_parse_ip(text_of(value), &addr) < 0)
		return conf_report(ctx, "write it as 192.0.2.10 or 2001:db8::10, without port", "not an IP address");
	return check_own_ip(ctx, &addr);
}

static int check_listen(struct conf_check_ctx *ctx, const json_t *value)
{
	struct realm_listen listen;
	int err = config_listen_parse(text_of(value), &listen);

	if (err == ERR_UNSUPPORTED)
		return conf_report(ctx, "use udp:", "only UDP listeners are supported");
	if (err < 0)
		return conf_report(ctx, "write \"udp:5060\" or \"udp:192.0.2.10:5060\"", "not a SIP listener");
	return 0;
}

static int check_ports(struct conf_check_ctx *ctx, const json_t *value)
{
	uint16_t min, max;

	if (config_ports_parse(text_of(value), &min, &max) < 0)
		return conf_report(ctx, "write it as 20000-29999", "not a range of ports");
	if (min < 1024)
		return conf_report(ctx, NULL, "the pool begins below port 1024");
	if (min > max)
		return conf_report(ctx, "write the lower port first", "the pool ends before it begins");
	if (config_port_pairs(min, max) < 2)
		return conf_report(ctx, "a pair is an even port and the next one", "the pool holds fewer than 2 pairs");
	return 0;
}

static int check_uri(struct conf_check_ctx *ctx, const json_t *value)
{
	struct addr addr;
	int err = config_uri_parse(text_of(value), &addr);

	if (err == ERR_UNSUPPORTED)
		return conf_report(ctx, "write sip:address:port", "only sip: over UDP is supported");
	if (err == ERR_NOT_FOUND)
		return conf_report(ctx, "write an IP address", "host names are not looked up");
	if (err < 0)
		return conf_report(ctx, "write it as \"sip:10.0.0.20:5060\"", "not the SIP URI of a next hop");
	if (addr_kind(&addr) != ADDR_UNICAST && addr_kind(&addr) != ADDR_LOOPBACK)
		return conf_report(ctx, NULL, "not the address of a host");
	return 0;
}

static int check_tcp_listen(struct conf_check_ctx *ctx, const json_t *value)
{
	struct addr addr;

	if (addr_parse(text_of(value), &addr) < 0)
		return conf_report(ctx, "write it as 127.0.0.1:8480 or \"[::1]:8480\"", "not an address with port");
	return 0;
}

int config_check_host(struct conf_check_ctx *ctx, const json_t *value)
{
	struct span text = text_of(value);
	struct addr ip;

	if (addr_parse_ip(text, &ip) == 0 || (is_host_name(text) && text.ptr[0] != '.' && text.ptr[0] != '-'))
		return 0;
	return conf_report(ctx, "write it as in certificates, such as ftp.example.org or 192.0.2.1", "neither a host name nor an address");
}

int config_check_path(struct conf_check_ctx *ctx, const json_t *value)
{
	if (json_string_value(value)[0] != '/')
		return conf_report(ctx, "begin it with /", "the path is relative");
	return 0;
}

static int check_charset(struct conf_check_ctx *ctx, const json_t *value, const char *more, const char *hint)
{
	static const char alnum[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

	for (const char *c = json_string_value(value); *c != '\0'; c++)
		if (strchr(alnum, *c) == NULL && strchr(more, *c) == NULL)
			return conf_report(ctx, hint, "the character %c is not allowed here", *c);
	return 0;
}

static int check_node(struct conf_check_ctx *ctx, const json_t *value)
{
	return check_charset(ctx, value, "-._", "use letters, digits, dot, - and _");
}

static int check_interface(struct conf_check_ctx *ctx, const json_t *value)
{
	return check_charset(ctx, value, "-._@:", "use the name that `ip link` shows");
}

/* What is added becomes part of a Request-URI: only what RFC 3261 section 25.1 takes unescaped in `user`. */
static int check_user_part(struct conf_check_ctx *ctx, const json_t *value)
{
	return check_charset(ctx, value, "-_.!~*'()&=+$,;?/", "use digits, letters and + mostly");
}

static int check_whole_seconds(struct conf_check_ctx *ctx, const json_t *value)
{
	int64_t ms;

	if (conf_duration_ms(text_of(value), &ms) == 0 && ms % SECOND_MS != 0)
		return conf_report(ctx, NULL, "not a whole number of seconds");
	return 0;
}

/* Tables */

static const char *const trust_choices[] = { "untrusted", "trusted", NULL };
static const char *const nat_choices[] = { "off", "latch", NULL };
static const char *const level_choices[] = { "error", "warn", "info", "debug", NULL };
static const char *const format_choices[] = { "text", "json", NULL };
static const char *const firewall_choices[] = { "open", "closed", NULL };
static const char *const path_choices[] = {
	[CONFIG_PATH_XDP] = "xdp", [CONFIG_PATH_TC] = "tc", [CONFIG_PATH_CONNTRACK] = "conntrack", [CONFIG_PATH_NFT] = "nft",
	[CONFIG_PATH_RELAY] = "relay", [CONFIG_PATHS] = NULL,
};

static const struct conf_item address_element = {
	.name = "*", .type = CONF_STRING, .min = 2, .max = 45, .check = check_ip,
};
static const struct conf_item listen_element = {
	.name = "*", .type = CONF_STRING, .min = 1, .max = 64, .check = check_listen,
};
static const struct conf_item uri_element = {
	.name = "*", .type = CONF_STRING, .min = 1, .max = 128, .check = check_uri,
};

static const struct conf_item dscp_schema[] = {
	{ .name = "sip", .type = CONF_INT, .min = 0, .max = 63, .default_json = "24",
	  .help = "Code point of SIP packets that leave through this realm." },
	{ .name = "media", .type = CONF_INT, .min = 0, .max = 63, .default_json = "46",
	  .help = "Code point of media packets that leave through this realm." },
	{ 0 },
};

static const struct conf_item realm_schema[] = {
	{ .name = "interface", .type = CONF_STRING, .is_fixed = true, .min = 1, .max = 15, .check = check_interface,
	  .help = "Network interface of this side." },
	{ .name = "addresses", .type = CONF_LIST, .is_fixed = true, .is_required = true, .min = 1, .max = CONFIG_REALM_ADDRESSES_MAX,
	  .element = &address_element, .help = "The gateway's own addresses on this side, IPv4 or IPv6." },
	{ .name = "sip", .type = CONF_LIST, .is_fixed = true, .min = 0, .max = CONFIG_REALM_ADDRESSES_MAX * 2, .element = &listen_element,
	  .default_json = "[]",
	  .help = "Where SIP is received: \"udp:5060\" on every address, or \"udp:192.0.2.10:5060\" on one." },
	{ .name = "media_ports", .type = CONF_STRING, .is_fixed = true, .is_required = true, .min = 3, .max = 32, .check = check_ports,
	  .help = "Range of UDP ports for media, such as 20000-29999, on every address." },
	{ .name = "trust", .type = CONF_ENUM, .choices = trust_choices, .default_json = "\"untrusted\"",
	  .help = "Whether what this side asserts (identities, private headers) is believed." },
	{ .name = "nat", .type = CONF_ENUM, .choices = nat_choices, .default_json = "\"off\"",
	  .help = "off: media comes from where signalling said; latch: the first packets tell, then it is locked." },
	{ .name = "dscp", .type = CONF_OBJECT, .is_fixed = true, .schema = dscp_schema, .default_json = "{}",
	  .help = "Differentiated services code points." },
	{ .name = "pass_unknown_headers", .type = CONF_BOOL, .default_json = "false",
	  .help = "Whether headers that the gateway does not know reach the other side." },
	{ .name = "max_calls", .type = CONF_INT, .min = 1, .max = 1000000, .default_json = "4096",
	  .help = "Calls at a time that begin in this realm." },
	{ .name = "cps", .type = CONF_INT, .min = 0, .max = 100000, .default_json = "0",
	  .help = "New calls per second that begin in this realm; 0: no limit." },
	{ .name = "media_timeout", .type = CONF_DURATION, .min = 5 * SECOND_MS, .max = 24 * HOUR_MS,
	  .default_json = "\"60s\"", .check = check_whole_seconds,
	  .help = "A call without a packet on any active stream for this long is ended." },
	{ .name = "latch_window", .type = CONF_DURATION, .min = 100, .max = 60 * SECOND_MS, .default_json = "\"3s\"",
	  .help = "How long after an answer the source of media may still be learned." },
	{ 0 },
};

static const struct conf_item peer_schema[] = {
	{ .name = "realm", .type = CONF_STRING, .is_required = true, .min = 1, .max = 63,
	  .help = "The realm in which this next hop is reached." },
	{ .name = "uri", .type = CONF_STRING, .min = 1, .max = 128, .check = check_uri,
	  .help = "Where requests go, such as sip:10.0.0.20:5060." },
	{ .name = "uris", .type = CONF_LIST, .min = 1, .max = CONFIG_PEER_TARGETS_MAX, .element = &uri_element,
	  .help = "Several targets, tried in order; instead of uri." },
	{ 0 },
};

static const struct conf_item route_schema[] = {
	{ .name = "name", .type = CONF_STRING, .min = 1, .max = 63,
	  .help = "Shown wherever this route is the reason; route-1, route-2, ... unless given." },
	{ .name = "from", .type = CONF_STRING, .is_required = true, .min = 1, .max = 63,
	  .help = "The realm in which the call came in." },
	{ .name = "prefix", .type = CONF_STRING, .min = 1, .max = 64,
	  .help = "Matches when the user part of the Request-URI begins with this." },
	{ .name = "regex", .type = CONF_STRING, .min = 1, .max = 256,
	  .help = "Matches when this Perl-compatible expression does; instead of prefix." },
	{ .name = "strip", .type = CONF_INT, .min = 0, .max = 64, .default_json = "0",
	  .help = "Leading characters of the user part to drop." },
	{ .name = "add", .type = CONF_STRING, .min = 1, .max = 64, .check = check_user_part,
	  .help = "Put in front of the user part, after strip." },
	{ .name = "to", .type = CONF_STRING, .min = 1, .max = 63, .help = "The peer that gets the call." },
	{ .name = "deny", .type = CONF_INT, .min = 400, .max = 699,
	  .help = "Refuse the call with this SIP status, such as 403; instead of to." },
	{ 0 },
};
static const struct conf_item route_element = { .name = "*", .type = CONF_OBJECT, .schema = route_schema };

static const struct conf_item api_schema[] = {
	{ .name = "listen", .type = CONF_STRING, .min = 3, .max = 56, .check = check_tcp_listen,
	  .help = "Address and port of plain HTTP; a loopback address." },
	{ .name = "socket", .type = CONF_STRING, .min = 2, .max = 107, .check = config_check_path,
	  .help = "Path of the UNIX socket that the command line uses." },
	{ .name = "token_file", .type = CONF_STRING, .min = 2, .max = 4095, .check = config_check_path,
	  .help = "File with a line sha256:<hex> for each bearer token." },
	{ .name = "insecure_remote", .type = CONF_BOOL, .default_json = "false",
	  .help = "Allows listen beyond loopback, where tokens can be read on the wire." },
	{ .name = "connections", .type = CONF_INT, .min = 1, .max = 10000, .default_json = "64",
	  .help = "Connections at a time." },
	{ .name = "timeout", .type = CONF_DURATION, .min = SECOND_MS, .max = 10 * MINUTE_MS,
	  .default_json = "\"30s\"", .check = check_whole_seconds, .help = "An idle connection is closed after this." },
	{ 0 },
};

static const struct conf_item path_element = { .name = "*", .type = CONF_ENUM, .choices = path_choices };

static const struct conf_item media_schema[] = {
	{ .name = "paths", .type = CONF_LIST, .min = 1, .max = CONFIG_PATHS, .element = &path_element,
	  .default_json = "[\"xdp\", \"tc\", \"conntrack\", \"relay\"]",
	  .help = "The ways that media of an answered call may take, preferred first; relay, the last, is the process itself. "
		  "Without relay, new calls are refused with 503 while the kernel has no room or no way for their media." },
	{ .name = "firewall", .type = CONF_ENUM, .choices = firewall_choices, .default_json = "\"open\"",
	  .help = "closed: this host forwards between the realms' interfaces only what belongs to a call." },
	{ .name = "state_dir", .type = CONF_STRING, .min = 2, .max = 200, .check = config_check_path,
	  .default_json = "\"" POSTERN_RUNDIR "\"",
	  .help = "Folder for what the kernel keeps of calls while the process restarts." },
	{ .name = "lifetime", .type = CONF_DURATION, .min = MINUTE_MS, .max = 24 * HOUR_MS, .default_json = "\"1h\"",
	  .check = check_whole_seconds,
	  .help = "How long the kernel goes on forwarding a call's media after the gateway has died." },
	{ 0 },
};

static const struct conf_item sip_schema[] = {
	{ .name = "t1", .type = CONF_DURATION, .min = 100, .max = 5 * SECOND_MS, .default_json = "\"500ms\"",
	  .help = "RFC 3261 T1: estimate of the round trip time." },
	{ .name = "t2", .type = CONF_DURATION, .min = SECOND_MS, .max = 60 * SECOND_MS, .default_json = "\"4s\"",
	  .help = "RFC 3261 T2: longest interval between retransmissions." },
	{ .name = "t4", .type = CONF_DURATION, .min = SECOND_MS, .max = 60 * SECOND_MS, .default_json = "\"5s\"",
	  .help = "RFC 3261 T4: how long a message stays in the network." },
	{ .name = "ring_timeout", .type = CONF_DURATION, .min = SECOND_MS, .max = HOUR_MS,
	  .default_json = "\"180s\"", .help = "A call that rings this long without an answer is ended." },
	{ .name = "max_call", .type = CONF_DURATION, .min = 0, .max = 720 * (int64_t)HOUR_MS,
	  .default_json = "\"24h\"", .check = check_whole_seconds,
	  .help = "A call that lasts this long is ended, also one on hold whose ends are both gone; 0s: no limit." },
	{ 0 },
};

static const struct conf_item limits_schema[] = {
	{ .name = "max_calls", .type = CONF_INT, .min = 1, .max = 1000000, .default_json = "8192",
	  .help = "Calls at a time in the whole gateway. More than at the start take a restart." },
	{ .name = "max_transactions", .type = CONF_INT, .is_fixed = true, .min = 16, .max = 10000000, .default_json = "65536",
	  .help = "SIP transactions at a time." },
	{ .name = "relay_threads", .type = CONF_INT, .is_fixed = true, .min = 1, .max = 64, .default_json = "1",
	  .help = "Threads that forward media." },
	{ .name = "port_quarantine", .type = CONF_DURATION, .is_fixed = true, .min = 0, .max = 10 * MINUTE_MS,
	  .default_json = "\"5s\"", .help = "A media port is not used again for this long after its call." },
	{ .name = "trace_bytes", .type = CONF_INT, .is_fixed = true, .min = 0, .max = 1 << 30, .default_json = "8388608",
	  .help = "Memory for the most recent SIP messages." },
	{ .name = "sip_replies_per_s", .type = CONF_INT, .is_fixed = true, .min = 1, .max = 100000, .default_json = "10",
	  .help = "Error replies per second to one source that belong to no transaction." },
	{ 0 },
};

static const struct conf_item log_schema[] = {
	{ .name = "level", .type = CONF_ENUM, .choices = level_choices, .default_json = "\"info\"",
	  .help = "The least serious lines that are written." },
	{ .name = "format", .type = CONF_ENUM, .choices = format_choices, .default_json = "\"text\"",
	  .help = "text for people, json for collectors." },
	{ 0 },
};

static const struct conf_item schema[] = {
	{ .name = "node", .type = CONF_STRING, .is_fixed = true, .min = 1, .max = 63, .default_json = "\"postern\"", .check = check_node,
	  .help = "Name of this gateway in records." },
	{ .name = "database", .type = CONF_STRING, .is_fixed = true, .min = 2, .max = 4095, .check = config_check_path,
	  .default_json = "\"" POSTERN_STATEDIR "/postern.db\"", .help = "Path of the SQLite database." },
	{ .name = "api", .type = CONF_OBJECT, .is_fixed = true, .schema = api_schema, .default_json = "{}", .help = "The REST API." },
	{ .name = "realms", .type = CONF_MAP, .is_fixed = true, .is_required = true, .min = 1, .max = CONFIG_REALMS_MAX,
	  .schema = realm_schema, .help = "The sides of the gateway." },
	{ .name = "peers", .type = CONF_MAP, .min = 0, .max = CONFIG_PEERS_MAX, .schema = peer_schema,
	  .default_json = "{}", .help = "Next hops for calls." },
	{ .name = "routes", .type = CONF_LIST, .min = 0, .max = CONFIG_ROUTES_MAX, .element = &route_element,
	  .default_json = "[]", .help = "Which peer gets a call; the first route that matches decides." },
	{ .name = "algs", .type = CONF_MAP, .min = 0, .max = CONFIG_ALGS_MAX, .schema = config_alg_schema, .default_json = "{}",
	  .help = "Application-level gateways: control channels of other protocols than SIP, and the data they announce." },
	{ .name = "profiles", .type = CONF_MAP, .min = 0, .max = CONFIG_PROFILES_MAX, .schema = config_profile_schema,
	  .default_json = "{}", .help = "Rules for what users of an ALG may do." },
	{ .name = "media", .type = CONF_OBJECT, .is_fixed = true, .schema = media_schema, .default_json = "{}",
	  .help = "How media gets through the gateway." },
	{ .name = "sip", .type = CONF_OBJECT, .schema = sip_schema, .default_json = "{}", .help = "SIP timers." },
	{ .name = "limits", .type = CONF_OBJECT, .schema = limits_schema, .default_json = "{}",
	  .help = "Sizes of what peers can fill." },
	{ .name = "log", .type = CONF_OBJECT, .schema = log_schema, .default_json = "{}",
	  .help = "What is written to standard error." },
	{ 0 },
};

int config_path_parse(struct span text, enum config_path *ret)
{
	for (unsigned i = 0; i < CONFIG_PATHS; i++) {
		if (!span_eq(text, span_of(path_choices[i])))
			continue;
		*ret = (enum config_path)i;
		return 0;
	}
	return ERR_NOT_FOUND;
}

const char *config_path_text(enum config_path path)
{
	return path_choices[path];
}

const struct conf_item *config_schema(void)
{
	return schema;
}

void config_print_man(FILE *out)
{
	fputs(".Dd January 1, 2026\n"
	      ".Dt POSTERN.YAML 5\n"
	      ".Os\n"
	      ".Sh NAME\n"
	      ".Nm postern.yaml\n"
	      ".Nd configuration of the Postern session border gateway\n"
	      ".Sh DESCRIPTION\n"
	      "One YAML document.\n"
	      "It is checked as a whole, and every fault is reported with its position;\n"
	      "a file with a fault changes nothing.\n"
	      ".Pp\n"
	      "A gateway that runs reads the file again with\n"
	      ".Cm postern reload\n"
	      "or at SIGHUP.\n"
	      "Where it says that a change takes a restart, a file with such a change is refused as a whole, and so is one with an ALG\n"
	      "that takes control channels over which no ALG took over at the start; see\n"
	      ".Cm algs .\n"
	      ".Pp\n"
	      "Anchors, aliases, tags, merge keys and duplicate keys are refused.\n"
	      "Only\n"
	      ".Cm true\n"
	      "and\n"
	      ".Cm false\n"
	      "are booleans.\n"
	      "A name consists of a-z, 0-9, - and _.\n"
	      "A duration is a number with the unit\n"
	      ".Cm ms , s , m\n"
	      "or\n"
	      ".Cm h .\n"
	      "A size is a number of octets, or a number with the unit\n"
	      ".Cm k , M , G\n"
	      "or\n"
	      ".Cm T ,\n"
	      "powers of 1024.\n"
	      "Where it says \"value or list\", one value may stand for a list of one.\n"
	      ".Sh MEMBERS\n",
	      out);
	conf_print_man(schema, out);
	fputs(".Sh EXAMPLES\n"
	      ".Bd -literal\n"
	      "realms:\n"
	      "  access: { addresses: [192.0.2.10], sip: [\"udp:5060\"], media_ports: 20000-29999, nat: latch }\n"
	      "  core: { addresses: [10.0.0.10], sip: [\"udp:5060\"], media_ports: 20000-29999, trust: trusted }\n"
	      "peers:\n"
	      "  softswitch: { realm: core, uri: \"sip:10.0.0.20:5060\" }\n"
	      "routes:\n"
	      "  - { from: access, prefix: \"900\", deny: 403 }\n"
	      "  - { from: access, to: softswitch }\n"
	      ".Ed\n"
	      ".Pp\n"
	      "Clients in the realm access use the FTP servers of a network in the realm core.\n"
	      "They may read, and one kind of user may store files of a limited size; programs are never stored.\n"
	      ".Bd -literal\n"
	      "realms:\n"
	      "  access: { interface: eth0, addresses: [192.0.2.10], media_ports: 20000-29999 }\n"
	      "  core: { interface: eth1, addresses: [10.0.0.10], media_ports: 20000-29999, trust: trusted }\n"
	      "algs:\n"
	      "  office-ftp: { protocol: ftp, realm: access, to: core, servers: [10.0.0.0/24], profile: partners }\n"
	      "profiles:\n"
	      "  partners:\n"
	      "    protocol: ftp\n"
	      "    default: deny\n"
	      "    rules:\n"
	      "      - { name: no-exe, deny: { verb: [STOR, APPE], target: \"\\e\\e.(exe|scr)$\" }, code: 550,\n"
	      "          text: \"not allowed here (rule {rule})\" }\n"
	      "      - { allow: { class: [read, session] } }\n"
	      "      - { allow: { verb: STOR, user: \"dropbox-*\" }, max_bytes: 200M, bytes_per_s: 10M }\n"
	      ".Ed\n",
	      out);
}

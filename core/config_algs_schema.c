/* The rows of postern.yaml for application-level gateways and their profiles, and the checks of single values in them. */
#include "core/config_build.h"
#include "core/policy.h"

enum { SECOND_MS = 1000, HOUR_MS = 3600 * SECOND_MS, SESSIONS_MAX = 100000, NAME_MAX_LEN = POLICY_NAME_MAX - 1 };
#define TERABYTE (INT64_C(1) << 40)

/* Checks of single values */

static struct span text_of(const json_t *value)
{
	return (struct span){ json_string_value(value), json_string_length(value) };
}

static int check_prefix(struct conf_check_ctx *ctx, const json_t *value)
{
	struct span text = text_of(value);
	struct prefix prefix;
	struct addr addr;

	if (prefix_parse(text, &prefix) < 0) {
		bool is_addr = addr_parse_ip(span_sub(text, 0, span_find(text, '/')), &addr) == 0;

		return conf_report(ctx, is_addr ? "zero what lies behind the prefix" : "write it as 10.0.0.0/24 or 2001:db8::/32",
				   "not a network");
	}
	if (addr_kind(&prefix.addr) == ADDR_MULTICAST)
		return conf_report(ctx, NULL, "not a network of hosts");
	return 0;
}

static int check_server(struct conf_check_ctx *ctx, const json_t *value)
{
	struct addr addr;

	if (addr_parse(text_of(value), &addr) < 0 && addr_parse_ip(text_of(value), &addr) < 0)
		return conf_report(ctx, "write it as \"10.0.0.5:21\" or \"[2001:db8::5]:21\"", "not the address of a server");
	if (addr_kind(&addr) != ADDR_UNICAST && addr_kind(&addr) != ADDR_LOOPBACK)
		return conf_report(ctx, NULL, "not the address of a host");
	return 0;
}

static int check_tls_ports(struct conf_check_ctx *ctx, const json_t *value)
{
	enum { FLOOR = 1024, WIDTH_MAX = 64 };
	uint16_t min, max;

	if (config_ports_parse(text_of(value), &min, &max) < 0)
		return conf_report(ctx, "write it as 50000-50063", "not a range of ports");
	if (max < min)
		return conf_report(ctx, "write the lower port first", "the range ends before it begins");
	if (min < FLOOR)
		return conf_report(ctx, NULL, "the range begins below port %d", FLOOR);
	if (max - min >= WIDTH_MAX)
		return conf_report(ctx, "give the servers a smaller range for passive connections",
				   "the range holds more than %d ports", WIDTH_MAX);
	return 0;
}

static int check_magic(struct conf_check_ctx *ctx, const json_t *value)
{
	struct span text = text_of(value);

	if (text.len % 2 != 0 || strspn(text.ptr, "0123456789abcdefABCDEF") != text.len)
		return conf_report(ctx, "write two digits for each octet, such as \"4d5a\"", "not octets in hex");
	return 0;
}

bool config_is_verb(const char *text)
{
	const char *end = text;

	while (*end > ' ' && *end < 0x7f)
		end++;
	return end != text && *end == '\0' && end - text <= CONFIG_VERB_MAX;
}

/* Whether the protocol has it is for core/config_profiles.c. */
static int check_verb(struct conf_check_ctx *ctx, const json_t *value)
{
	if (config_is_verb(json_string_value(value)))
		return 0;
	return conf_report(ctx, "write it as in the protocol, such as STOR", "not a verb");
}

static bool is_lower_case(struct span word)
{
	for (size_t i = 0; i < word.len; i++)
		if (word.ptr[i] < 'a' || word.ptr[i] > 'z')
			return false;
	return true;
}

/* {word} is meant as a placeholder; what else stands in braces is text. */
static int check_text(struct conf_check_ctx *ctx, const json_t *value)
{
	static const char *const names[] = { "{rule}", "{verb}", "{target}", "{user}", NULL };
	struct span left = text_of(value);

	while (left.len > 0) {
		size_t open = span_find(left, '{');
		size_t len;
		char word[16], hint[CONFIG_HINT_MAX];
		struct conf_nearest nearest = { .wanted = word };

		left = span_sub(left, open, left.len);
		len = span_find(left, '}') + 1;
		if (len > left.len || len <= 2 || len >= sizeof(word) || !is_lower_case(span_sub(left, 1, len - 1))) {
			left = span_sub(left, 1, left.len);
			continue;
		}
		snprintf(word, sizeof(word), "%.*s", (int)len, left.ptr);
		for (unsigned i = 0; names[i] != NULL; i++)
			conf_nearest_offer(&nearest, names[i]);
		if (nearest.best == NULL || nearest.distance > 0)
			return conf_report(ctx, conf_nearest_hint(&nearest, hint, sizeof(hint)), "nothing stands for %s", word);
		left = span_sub(left, len, left.len);
	}
	return 0;
}

/* ALGs */

static const char *const protocol_choices[] = { "ftp", "rtsp", "tftp", NULL };
static const char *const mode_choices[] = { "nat", "transparent", "explicit", NULL };
static const char *const tls_choices[] = { "refuse", "pass", "terminate", "implicit", NULL };
static const char *const tls_need_choices[] = { "nothing", "control", "data", NULL };
static const char *const server_data_choices[] = { "as_client", "passive", NULL };
static const char *const data_choices[] = { "kernel", "relay", NULL };

static const struct conf_item port_element = { .name = "*", .type = CONF_INT, .min = 1, .max = 65535 };
static const struct conf_item prefix_element = {
	.name = "*", .type = CONF_STRING, .min = 2, .max = 49, .check = check_prefix,
};

const struct conf_item config_alg_schema[] = {
	{ .name = "protocol", .type = CONF_ENUM, .is_required = true, .choices = protocol_choices,
	  .help = "What is spoken on the control channel." },
	{ .name = "realm", .type = CONF_STRING, .is_required = true, .min = 1, .max = 63, .help = "The realm of the clients." },
	{ .name = "to", .type = CONF_STRING, .is_required = true, .min = 1, .max = 63, .help = "The realm of the servers." },
	{ .name = "mode", .type = CONF_ENUM, .choices = mode_choices, .default_json = "\"nat\"",
	  .help = "nat: clients address the servers, which see the gateway; transparent: both see each other; "
		  "explicit: clients address the gateway, by IPv4 or IPv6, which connects to the server by the server's own." },
	{ .name = "ports", .type = CONF_LIST, .is_open = true, .min = 1, .max = CONFIG_ALG_PORTS_MAX, .element = &port_element,
	  .help = "Ports of the servers; in mode explicit those of the gateway. Unless given, the protocol's own: ftp 21, "
		  "rtsp 554, tftp 69; with tls: implicit ftp 990, rtsp 322." },
	{ .name = "servers", .type = CONF_LIST, .is_open = true, .min = 1, .max = CONFIG_ALG_SERVERS_MAX,
	  .element = &prefix_element,
	  .help = "Networks of the servers; for the modes nat and transparent, which need it." },
	{ .name = "server", .type = CONF_STRING, .min = 2, .max = 56, .check = check_server,
	  .help = "Address of the server, with port unless it is the protocol's own; for the mode explicit, which needs it." },
	{ .name = "profile", .type = CONF_STRING, .min = 1, .max = 63,
	  .help = "Rules for what users may do; without it everything is allowed." },
	{ .name = "tls", .type = CONF_ENUM, .choices = tls_choices, .default_json = "\"refuse\"",
	  .help = "ftp: refuse answers a client that asks for encryption; pass lets it and then sees nothing any more: no rules, "
		  "no pinholes but those of tls_ports; terminate ends encryption (AUTH TLS) at the gateway on both sides, where rules see "
		  "everything. implicit: so, but it begins with the connection (FTPS, RTSPS)." },
	{ .name = "tls_ports", .type = CONF_STRING, .min = 3, .max = 32, .check = check_tls_ports,
	  .help = "With tls: pass, a range of at most 64 ports that the servers use for data, such as 50000-50063." },
	{ .name = "certificate", .type = CONF_STRING, .min = 2, .max = 4095, .check = config_check_path,
	  .help = "With tls: terminate or implicit, the PEM file of the certificate for clients, then those that lead to its root." },
	{ .name = "key", .type = CONF_STRING, .min = 2, .max = 4095, .check = config_check_path,
	  .help = "PEM file of its private key, without a passphrase; the account that posternd becomes has to be able to read it." },
	{ .name = "server_tls", .type = CONF_BOOL,
	  .help = "Whether servers encrypt, too; true unless given. false: the gateway answers AUTH, PBSZ and PROT itself." },
	{ .name = "server_verify", .type = CONF_BOOL,
	  .help = "Whether certificates of servers are checked, against server_ca and server_name; true unless given. One that fails ends "
		  "the session." },
	{ .name = "server_ca", .type = CONF_STRING, .min = 2, .max = 4095, .check = config_check_path,
	  .help = "PEM file of the authorities that may vouch for servers; unless given, those of the system." },
	{ .name = "server_name", .type = CONF_STRING, .min = 1, .max = 255, .check = config_check_host,
	  .help = "Host name or address that certificates of servers have to hold; unless given, any that server_ca vouches for." },
	{ .name = "tls_required", .type = CONF_ENUM, .choices = tls_need_choices,
	  .help = "ftp, with tls: terminate or implicit: control refuses commands before AUTH TLS but those that lead to it; data refuses "
		  "data connections without PROT P, too. Unless given, nothing." },
	{ .name = "tls_resumption_required", .type = CONF_BOOL,
	  .help = "ftp, with tls: terminate or implicit: whether data connections of clients have to resume the TLS session of their control "
		  "channel; false unless given." },
	{ .name = "tls_close_required", .type = CONF_BOOL,
	  .help = "ftp, with tls: terminate or implicit: whether data has to end as TLS says (close_notify). Without that somebody on the path "
		  "may have cut it short; but there are clients that never say it. true unless given: such data is broken off." },
	{ .name = "active", .type = CONF_BOOL,
	  .help = "ftp: whether servers, or with server_data: passive the gateway, may connect to clients (PORT, EPRT). Unless given, true "
		  "when the clients' realm is trusted." },
	{ .name = "server_data", .type = CONF_ENUM, .choices = server_data_choices,
	  .help = "ftp: as_client, unless given: servers are asked for data connections as clients ask, active or passive. passive: servers "
		  "are only ever connected to (EPSV; PASV where they know no EPSV); for a client that is active, which `active` has to "
		  "allow, the gateway connects to both. Not in mode transparent." },
	{ .name = "data", .type = CONF_ENUM, .choices = data_choices, .default_json = "\"kernel\"",
	  .help = "kernel: data connections go through the kernel unless a rule has to see them; relay: through the process." },
	{ .name = "max_sessions", .type = CONF_INT, .min = 1, .max = SESSIONS_MAX, .default_json = "1000",
	  .help = "Control channels at a time." },
	{ .name = "max_sessions_per_client", .type = CONF_INT, .min = 1, .max = SESSIONS_MAX, .default_json = "50",
	  .help = "Control channels at a time from one address." },
	{ .name = "sessions_per_s", .type = CONF_INT, .min = 0, .max = SESSIONS_MAX, .default_json = "0",
	  .help = "New control channels per second; further ones are reset before anything is done for them. 0: no limit." },
	{ .name = "sessions_per_s_per_client", .type = CONF_INT, .min = 0, .max = SESSIONS_MAX, .default_json = "0",
	  .help = "New control channels per second from one address; 0: no limit." },
	{ .name = "idle", .type = CONF_DURATION, .min = 30 * SECOND_MS, .max = 24 * HOUR_MS, .default_json = "\"130m\"",
	  .help = "A control channel without traffic, that of its data included, is closed after this." },
	{ 0 },
};

/* Profiles */

static const char *const action_choices[] = { "allow", "deny", NULL };
static const char *const enforce_choices[] = { "enforce", "observe", NULL };
static const char *const class_choices[] = { "read", "write", "admin", "session", NULL };
static const char *const transport_choices[] = { "udp", "interleaved", "multicast", "http", "other", NULL };
static const char *const direction_choices[] = { "up", "down", NULL };

static const struct conf_item verb_element = { .name = "*", .type = CONF_STRING, .min = 1, .max = CONFIG_VERB_MAX, .check = check_verb };
static const struct conf_item class_element = { .name = "*", .type = CONF_ENUM, .choices = class_choices };
static const struct conf_item transport_element = { .name = "*", .type = CONF_ENUM, .choices = transport_choices };
static const struct conf_item glob_element = { .name = "*", .type = CONF_STRING, .min = 1, .max = 128 };

#define OPEN_LIST(element_) .type = CONF_LIST, .is_open = true, .min = 1, .max = POLICY_VALUES_MAX, .element = &(element_)

static const struct conf_item selector_schema[] = {
	{ .name = "verb", OPEN_LIST(verb_element), .help = "Commands or methods that the protocol's module knows, such as STOR or SETUP." },
	{ .name = "class", OPEN_LIST(class_element), .help = "Kinds of commands." },
	{ .name = "transport", OPEN_LIST(transport_element),
	  .help = "rtsp: how media is asked for. http: a GET or POST that begins a tunnel, in which all rules hold; other: none of these, or not RTSP at all." },
	{ .name = "user", OPEN_LIST(glob_element),
	  .help = "Who has logged in; * stands for any characters, ? for one octet." },
	{ .name = "mime", OPEN_LIST(glob_element), .help = "Type of the content, such as video/*." },
	{ .name = "client", OPEN_LIST(prefix_element), .help = "Addresses or networks of clients." },
	{ .name = "server", OPEN_LIST(prefix_element), .help = "Addresses or networks of servers." },
	{ .name = "target", .type = CONF_STRING, .min = 1, .max = 512,
	  .help = "Perl-compatible expression for the path or URL. One that takes too long counts as a match for deny, and as none "
		  "for allow." },
	{ .name = "magic", .type = CONF_STRING, .min = 2, .max = 32, .check = check_magic,
	  .help = "First octets of the data, at most 16, as hex digits." },
	{ .name = "direction", .type = CONF_ENUM, .choices = direction_choices,
	  .help = "up: data from the client; down: data to the client." },
	{ .name = "size_above", .type = CONF_SIZE, .min = 1, .max = TERABYTE, .help = "The announced size is larger than this." },
	{ .name = "size_below", .type = CONF_SIZE, .min = 1, .max = TERABYTE, .help = "The announced size is smaller than this." },
	{ 0 },
};

static const struct conf_item rule_schema[] = {
	{ .name = "name", .type = CONF_STRING, .min = 1, .max = NAME_MAX_LEN,
	  .help = "Shown wherever this rule is the reason; rule-1, rule-2, ... unless given." },
	{ .name = "allow", .type = CONF_OBJECT, .schema = selector_schema,
	  .help = "Allows what matches all of these selectors; {} matches everything. A selector with several values matches "
		  "when one does, and not at all when what it asks for is not known." },
	{ .name = "deny", .type = CONF_OBJECT, .schema = selector_schema, .help = "Denies what matches; instead of allow." },
	{ .name = "code", .type = CONF_INT, .min = 1, .max = CONFIG_CODE_MAX,
	  .help = "deny: status for the client, 400 to 599 for ftp and rtsp, 1 to 8 for tftp. Unless given, the protocol's "
		  "usual one." },
	{ .name = "text", .type = CONF_STRING, .min = 1, .max = POLICY_TEXT_MAX - 1, .check = check_text,
	  .help = "deny: text for the client; {rule}, {verb}, {target} and {user} stand for what they say." },
	{ .name = "max_bytes", .type = CONF_SIZE, .min = 1, .max = TERABYTE,
	  .help = "allow: octets of one transfer; what is longer is cut. Not for rtsp." },
	{ .name = "bytes_per_s", .type = CONF_SIZE, .min = 1, .max = UINT32_MAX,
	  .help = "allow: rate of one transfer. Not for rtsp." },
	{ .name = "max_per_minute", .type = CONF_INT, .min = 1, .max = 1000000,
	  .help = "allow: so many a minute in one session; further ones are denied." },
	{ .name = "log", .type = CONF_BOOL, .default_json = "false", .help = "Whether each match is logged." },
	{ .name = "mode", .type = CONF_ENUM, .choices = enforce_choices, .default_json = "\"enforce\"",
	  .help = "deny: observe counts what would be denied, and the next rule decides." },
	{ 0 },
};
static const struct conf_item rule_element = { .name = "*", .type = CONF_OBJECT, .schema = rule_schema };

const struct conf_item config_profile_schema[] = {
	{ .name = "protocol", .type = CONF_ENUM, .is_required = true, .choices = protocol_choices,
	  .help = "For ALGs of this protocol." },
	{ .name = "mode", .type = CONF_ENUM, .choices = enforce_choices, .default_json = "\"enforce\"",
	  .help = "observe: nothing is denied or limited; what would be denied is counted." },
	{ .name = "default", .type = CONF_ENUM, .is_required = true, .choices = action_choices,
	  .help = "What happens when no rule matches: allow or deny." },
	{ .name = "rules", .type = CONF_LIST, .min = 0, .max = POLICY_RULES_MAX, .element = &rule_element, .default_json = "[]",
	  .help = "In order; the first that matches decides." },
	{ 0 },
};

/* Shared by the files that turn a checked tree into a snapshot: core/config.c, core/config_schema.c and
 * core/config_check.c. Nobody else includes this. */
#ifndef CORE_CONFIG_BUILD_H
#define CORE_CONFIG_BUILD_H

#include <jansson.h>

#include "core/conf.h"
#include "core/config.h"

struct arena;
struct yaml_doc;

enum { CONFIG_POINTER_MAX = 512, CONFIG_HINT_MAX = 160 };

struct config_build {
	struct config *config;
	struct arena *arena;
	const struct yaml_doc *doc;
	struct conf_errors *errors;
	char pointer[CONFIG_POINTER_MAX]; /* what the next report is about */
	bool is_bad;
	bool is_insecure_remote; /* api.insecure_remote */
	bool has_bad_path;       /* in media.paths: what is left of it is not what was meant */
};

void config_at(struct config_build *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void config_report(struct config_build *b, const char *hint, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* What is written in a list of SIP listeners: "udp:5060" (addr has only a port) or "udp:192.0.2.10:5060".
 * 0, ERR_PARSE, or ERR_UNSUPPORTED for another transport. */
int config_listen_parse(struct span text, struct realm_listen *ret);
/* "20000-29999". 0 or ERR_PARSE. */
int config_ports_parse(struct span text, uint16_t *ret_min, uint16_t *ret_max);
/* "sip:10.0.0.20:5060" or without port. 0, ERR_PARSE, ERR_UNSUPPORTED for another scheme or transport, ERR_NOT_FOUND
 * for a host name. */
int config_uri_parse(struct span text, struct addr *ret);

/* "xdp", "tc", "conntrack", "nft" or "relay". 0 or ERR_NOT_FOUND. */
int config_path_parse(struct span text, enum config_path *ret);
const char *config_path_text(enum config_path path);

/* RTP and RTCP share a pair: an even port and the one above. */
unsigned config_port_pairs(uint16_t min, uint16_t max);

/* What no single value shows: reports everything that does not fit together. */
void config_check(struct config_build *b);

#endif

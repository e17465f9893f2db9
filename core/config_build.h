/* Shared by the files that turn a checked tree into a snapshot: core/config*.c. Nobody else includes this. */
#ifndef CORE_CONFIG_BUILD_H
#define CORE_CONFIG_BUILD_H

#include <jansson.h>

#include "core/conf.h"
#include "core/config.h"

struct arena;
struct yaml_doc;

enum { CONFIG_POINTER_MAX = 512, CONFIG_HINT_MAX = 160, CONFIG_LACKS_MAX = 4, CONFIG_CODE_MAX = 599 /* of a refusal */,
       CONFIG_VERB_MAX = 32 };

struct config_build {
	struct config *config;
	struct arena *arena;
	const struct yaml_doc *doc;
	struct conf_errors *errors;
	char pointer[CONFIG_POINTER_MAX]; /* what the next report is about */
	bool is_bad;
	bool is_out_of_memory;   /* beside the arena's own mark */
	bool is_insecure_remote; /* api.insecure_remote */
	bool has_bad_path;       /* in media.paths: what is left of it is not what was meant */
};

void config_at(struct config_build *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The element `index` of the list with this pointer. Where one value stands for the list, or a default, what is around it. */
void config_at_element(struct config_build *b, unsigned index, const char *format, ...) __attribute__((format(printf, 3, 4)));
void config_report(struct config_build *b, const char *hint, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Reports an expression that does not compile; NULL is fine. */
void config_check_regex(struct config_build *b, const char *pattern);

/* Typed access to the checked tree: empty, false or 0 for what is missing or of the wrong type, which the schema reports. */
struct span config_text(const json_t *object, const char *name);
bool config_is_text(const json_t *object, const char *name, const char *text);
uint32_t config_number(const json_t *object, const char *name);
uint32_t config_ms(const json_t *object, const char *name);
uint64_t config_size(const json_t *object, const char *name);
/* A list, or one value that stands for it. */
size_t config_list_size(const json_t *list, size_t max);
struct span config_list_text(const json_t *list, size_t index);
/* Copies in the snapshot's arena; NULL for no text. */
const char *config_keep(struct config_build *b, struct span text);
const char *config_string(struct config_build *b, const json_t *object, const char *name);

/* The realm that the member `name` of the object at b->pointer names, or NULL after a report. */
const struct realm_conf *config_find_realm(struct config_build *b, const json_t *object, const char *name);
bool config_realm_has(const struct realm_conf *realm, const struct addr *addr); /* one of its addresses, port ignored */
bool config_realm_has_family(const struct realm_conf *realm, uint8_t family);
bool config_realm_has_sip(const struct config_build *b, const struct realm_conf *realm); /* also when it is faulty */

/* What is written in a list of SIP listeners: "udp:5060" (addr has only a port) or "udp:192.0.2.10:5060".
 * 0, ERR_PARSE, or ERR_UNSUPPORTED for another transport. */
int config_listen_parse(struct span text, struct realm_listen *ret);
/* For rows of the schema: an absolute path. */
int config_check_path(struct conf_check_ctx *ctx, const json_t *value);
int config_check_host(struct conf_check_ctx *ctx, const json_t *value); /* a host name or an address, without a port */
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

/* The checked tree that a snapshot was made of, with defaults. Borrowed. */
const json_t *config_tree(const struct config *config);

/* What cannot follow `before` without a restart: reports it, and gives ALGs the places of those that were there at the start. */
void config_check_change(struct config_build *b, const struct config_before *before);
/* Counters of rules that are as they were. */
void config_keep_counts(struct config *config, const struct config *before);

/* What no single value shows: reports everything that does not fit together. */
void config_check(struct config_build *b);
void config_check_algs(struct config_build *b); /* part of it */

/* What core has to know of a protocol; the rest is its module's, in algs/. */
struct config_protocol {
	const char *name;
	uint16_t port;
	bool is_datagram;
	bool has_active;             /* servers may connect to clients */
	bool has_tls;                /* a control channel may become encrypted */
	uint16_t tls_port;           /* of control channels that are encrypted from the beginning; 0: none */
	bool has_media;              /* its data are streams of media, which no rule bounds */
	unsigned code_min, code_max; /* of refusals; at most CONFIG_CODE_MAX */
	const char *lacks[CONFIG_LACKS_MAX]; /* selectors that never match */
};
const struct config_protocol *config_protocol(struct span name); /* or NULL */
bool config_is_verb(const char *text); /* could be one: printable ASCII without blanks */

/* Sections of the file: rows of one entry, and what makes entries of the snapshot of them, after the realms. */
extern const struct conf_item config_alg_schema[], config_profile_schema[];
void config_build_profiles(struct config_build *b, json_t *profiles);
void config_build_algs(struct config_build *b, json_t *algs);
/* The members about TLS of one ALG, with what they alone get wrong. */
void config_build_alg_tls(struct config_build *b, const json_t *object, const struct config_protocol *protocol, struct alg_conf *alg);
void config_without_effect(struct config_build *b, const struct alg_conf *alg, const char *member, const char *why);

#endif

/* SIP, SIPS and tel URIs and name-addr values, parsed strictly from raw octets (RFC 3261 19.1, 25; RFC 3966; RFC
 * 5118). Nothing is decoded: escaped octets stay as they came, and comparison follows RFC 3261 19.1.4. Pure. */
#ifndef SBC_SIP_URI_H
#define SBC_SIP_URI_H

#include "core/addr.h"
#include "core/buf.h"

enum sip_scheme { SIP_SCHEME_OTHER, SIP_SCHEME_SIP, SIP_SCHEME_SIPS, SIP_SCHEME_TEL };

struct sip_uri {
	enum sip_scheme scheme;
	struct span text;     /* all of it */
	struct span user;     /* without password; the number for tel */
	struct span password;
	struct span host;     /* name, IPv4 literal or "[IPv6]" */
	uint16_t port;        /* 0: absent */
	struct addr addr;     /* family 0 unless host is a literal; port as above */
	struct span params;   /* after the first ';', without it; empty when none */
	struct span headers;  /* after '?' */
};

/* 0, ERR_PARSE, or ERR_UNSUPPORTED for a well-formed URI of another scheme (416). */
int sip_uri_parse(struct span text, struct sip_uri *ret);
/* Value of ;name=value in a parameter list; true when present (value may be empty). Names ignore case. A quoted
 * value keeps its quotes. */
bool sip_param(struct span params, const char *name, struct span *ret_value);
/* Cuts the next parameter off *params, whose ptr is NULL when that was the last. The value of a parameter without "="
 * is SPAN_NONE. 0, or ERR_PARSE (also for an empty parameter). */
int sip_param_next(struct span *params, struct span *ret_name, struct span *ret_value);
/* Cuts a host off the front of *text: a name, an IPv4 literal or "[IPv6]". The address has family 0 when it is a
 * name. 0 or ERR_PARSE. */
int sip_host_next(struct span *text, struct span *ret_host, struct addr *ret_addr);
/* 1 to 65535, at most five digits. 0 or ERR_PARSE. */
int sip_port_parse(struct span text, uint16_t *ret);
/* Escaped NUL, CR or LF, or a bad %-escape, in the user part: never good for routing or identity. */
bool sip_uri_user_is_safe(const struct sip_uri *uri);
/* The user of a safe URI in the one form that rules are compared with: "%30900" and "0900" are the same (RFC 3261 19.1.4), and so are
 * "tel:09-00" and "tel:0900" (RFC 3966 4). Needs as much room as the user. */
void sip_uri_put_user(const struct sip_uri *uri, struct buf *out);

struct sip_name_addr { /* From, To, Contact, Route, Record-Route, Refer-To, P-Asserted-Identity elements */
	struct span text;    /* the whole element */
	struct span display; /* raw, with quotes when quoted */
	struct span uri;     /* raw URI text */
	struct span params;  /* header parameters, after the first ';' behind the URI */
	struct span tag;     /* ;tag= */
};
/* One element (RFC 3261 20.10: without <> every parameter belongs to the header). 0 or ERR_PARSE. */
int sip_name_addr_parse(struct span text, struct sip_name_addr *ret);
/* Cuts the next comma-separated element off *list, minding quotes and <>, and trims it; it may be empty. False at
 * the end. */
bool sip_list_next(struct span *list, struct span *ret_element);

#endif

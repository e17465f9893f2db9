/* What the two files of limits.h share. */
#ifndef PINHOLE_LIMITS_CAPTURE_H
#define PINHOLE_LIMITS_CAPTURE_H

#include "pinhole/limits.h"

/* limits.c */
enum addr_kind limits_kind(const struct wire_addr *wire);
enum limits_verdict limits_host_kind(const struct wire_addr *host); /* LIMITS_OK: it may be some other host's own */
bool limits_is_own(const struct limits *limits, const struct wire_addr *addr); /* the address, of any realm */
/* An own address with a media port: of that realm, in its range. An address may have several ranges. */
enum limits_verdict limits_check_own(const struct limits *limits, const struct wire_addr *addr, uint16_t realm,
				     enum limits_verdict bad_address, enum limits_verdict bad_port);

/* limits_capture.c: what only captures allow. */
enum limits_verdict limits_foreign_ends(const struct limits *limits, const struct wire_pinhole *pinhole);
enum limits_verdict limits_transparent_socket(const struct limits *limits, const struct wire_socket_request *request);

#endif

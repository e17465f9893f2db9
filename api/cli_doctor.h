/* The judgements of "postern doctor", apart from where their inputs come from. Each adds to an array of
 * {"check", "status": "ok" | "note" | "warn" | "fail", "detail", "fix"}. */
#ifndef API_CLI_DOCTOR_H
#define API_CLI_DOCTOR_H

#include <jansson.h>
#include <stdio.h>

enum doctor_level { DOCTOR_OK, DOCTOR_NOTE /* good to know, nothing to do */, DOCTOR_WARN, DOCTOR_FAIL };

void doctor_add(json_t *checks, enum doctor_level level, const char *name, const char *fix, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
void doctor_check_rmem(json_t *checks, const char *rmem_max);
/* realms: items of /v1/realms; the others are lines of ip_local_port_range and ip_local_reserved_ports. */
void doctor_check_ports(json_t *checks, const json_t *realms, const char *ephemeral, const char *reserved);
/* media_paths of /readyz?verbose. A mechanism that cannot be used is a fault only when its realm has no other one. */
void doctor_check_media(json_t *checks, const json_t *media_paths);
void doctor_check_config(json_t *checks, const json_t *config); /* /v1/config */
void doctor_check_files(json_t *checks, FILE *limits); /* /proc/PID/limits */

#endif

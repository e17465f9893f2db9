/* Whether new calls may begin where their media has to get into the kernel: media.paths does not name relay. Calls that are up
 * go on whatever is said here, and what the kernel does not take of them stays with the relay. Control thread. */
#ifndef PINHOLE_ADMISSION_H
#define PINHOLE_ADMISSION_H

struct config;
struct pinholes;
struct route_conf;

/* NULL: yes. Or why not, which lives as long as the engine. Realms are indices; pinholes NULL: there is no engine. */
const char *admission_refusal(const struct config *config, const struct pinholes *pinholes, unsigned realm_a, unsigned realm_b);
/* The first route whose calls are refused now, and why; or NULL. */
const struct route_conf *admission_refused_route(const struct config *config, const struct pinholes *pinholes,
						 const char **ret_why);

#endif

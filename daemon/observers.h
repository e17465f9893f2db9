/* What watches the gateway for its operators: metrics of calls, database and configuration for /metrics, alarms for the
 * log. */
#ifndef DAEMON_OBSERVERS_H
#define DAEMON_OBSERVERS_H

struct bus;
struct config;
struct pinholes;
struct store;

/* Once, before threads start; 0 or ERR_LIMIT. */
int observers_attach(struct bus *bus, const struct config *config);
/* Once. /metrics must not be asked for any more when the store is closed. */
void observers_watch_store(struct store *store);
/* Raises alarms when the helper that was there is lost, when there is no room for pinholes, and when calls are refused because
 * their media cannot get into the kernel; clears them when that is over. Once; config is borrowed until observers_reload() brings another one. */
void observers_watch_pinholes(struct bus *bus, const struct config *config, struct pinholes *pinholes);
void observers_reload(const struct config *config);

#endif

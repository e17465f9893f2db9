/* Giving up root. Network text is never read with privileges: this happens before any socket opens. */
#ifndef DAEMON_PRIVILEGES_H
#define DAEMON_PRIVILEGES_H

#include <stddef.h>

/* Started as root: makes the folders of `paths` (n files to be created there; NULL entries are skipped) if they do not exist, gives
 * them to the account, becomes it, and drops every capability for good. Otherwise only forbids gaining privileges.
 * user NULL takes "postern" or else "nobody". 0, or a negative error with a text that says what to do. */
int privileges_drop(const char *user, const char *const *paths, unsigned n, char *error_text, size_t error_size);

/* As many descriptors as the hard limit allows, at most `want`. Returns how many there are. */
unsigned privileges_raise_files(unsigned want);

#endif

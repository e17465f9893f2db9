/* Paths as far as they can be known from outside: a path and the directory that it is relative to become one, "."
 * and ".." and empty parts are resolved. Without a known directory the result is relative. Pure. */
#ifndef ALGS_FTP_FTP_PATH_H
#define ALGS_FTP_FTP_PATH_H

#include "core/buf.h"

/* Appends to out, which is empty, cap above 0. A path that begins with '/' or '~' does not need the directory. An
 * absolute one never rises above "/"; a relative one keeps the ".." that lead out of it. Nothing at all gives "". */
void ftp_path_join(struct span directory, struct span path, struct buf *out);

#endif

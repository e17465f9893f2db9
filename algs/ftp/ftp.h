/* The FTP ALG, as the registry sees it. docs/internals/ftp.md */
#ifndef ALGS_FTP_FTP_H
#define ALGS_FTP_FTP_H

#include "algs/alg.h"

extern const struct alg_module ftp_module;

#endif

/* TFTP as an ALG, see tftp.c. */
#ifndef ALGS_TFTP_TFTP_H
#define ALGS_TFTP_TFTP_H

#include "algs/alg.h"

extern const struct alg_module tftp_module;

#endif

/* The ALG for RTSP, for registry.c and tests. */
#ifndef ALGS_RTSP_RTSP_MODULE_H
#define ALGS_RTSP_RTSP_MODULE_H

#include "algs/alg.h"

extern const struct alg_module rtsp_module;

#endif

/* An ALG of the configuration in the language of transcripts: who is where, and what is allowed. Part of rehearsal.c. Pure. */
#ifndef ALGS_REHEARSAL_SETTINGS_H
#define ALGS_REHEARSAL_SETTINGS_H

#include "algs/rehearsal.h"
#include "core/buf.h"

/* `set` lines. 0, or ERR_LIMIT when they do not fit. */
int rehearsal_settings(struct buf *b, const struct rehearsal_ask *ask);

#endif

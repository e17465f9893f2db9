/* Operations of back ends that hold no pinholes: nothing is there, nothing can be put there. Their path_of() says why. */
#ifndef PINHOLE_BACKEND_EMPTY_H
#define PINHOLE_BACKEND_EMPTY_H

#include "pinhole/backend.h"

int backend_empty_apply(struct backend *backend, const struct wire_pinhole *pinhole, struct backend_entry *ret); /* -EOPNOTSUPP */
int backend_empty_remove(struct backend *backend, const struct wire_pinhole *pinhole, struct slot *ret_last); /* ERR_NOT_FOUND */
int backend_empty_list(struct backend *backend, backend_list_fn *fn, void *arg);
int backend_empty_slots(struct backend *backend, uint32_t *ret_n);

#endif

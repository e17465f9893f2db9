/* See backend_empty.h. */
#include "pinhole/backend_empty.h"

#include <errno.h>

#include "core/err.h"

int backend_empty_apply(struct backend *backend, const struct wire_pinhole *pinhole, struct backend_entry *ret)
{
	(void)backend;
	(void)pinhole;
	(void)ret;
	return -EOPNOTSUPP;
}

int backend_empty_remove(struct backend *backend, const struct wire_pinhole *pinhole, struct slot *ret_last)
{
	(void)backend;
	(void)pinhole;
	(void)ret_last;
	return ERR_NOT_FOUND;
}

int backend_empty_list(struct backend *backend, backend_list_fn *fn, void *arg)
{
	(void)backend;
	(void)fn;
	(void)arg;
	return 0;
}

int backend_empty_slots(struct backend *backend, uint32_t *ret_n)
{
	(void)backend;
	*ret_n = 0;
	return -1;
}

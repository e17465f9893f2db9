/* /metrics: what core/metrics.h has counted, for Prometheus. Gauges that are asked for at output time must be safe to
 * read on the HTTP thread. */
#include "api/res.h"

#include "core/metrics.h"

void res_metrics(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	(void)api;
	(void)request;
	route_reply_text(reply, "text/plain; version=0.0.4; charset=utf-8", metrics_text());
}

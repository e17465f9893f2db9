/* Sums of counters. Pure. */
#include "pinhole/pinhole.h"

void slot_stats_add(struct slot_stats *sum, const struct slot_stats *more)
{
	sum->packets += more->packets;
	sum->bytes += more->bytes;
	sum->lost += more->lost;
	sum->reordered += more->reordered;
	sum->dropped_rate += more->dropped_rate;
	sum->dropped_format += more->dropped_format;
	sum->passed += more->passed;
	sum->packets_back += more->packets_back;
	sum->bytes_back += more->bytes_back;
	if (more->last_ns > sum->last_ns)
		sum->last_ns = more->last_ns;
}

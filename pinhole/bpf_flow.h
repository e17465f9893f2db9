/* From a pinhole to what the programs look up, and back. Pure. */
#ifndef PINHOLE_BPF_FLOW_OF_H
#define PINHOLE_BPF_FLOW_OF_H

#include "pinhole/backend.h"
#include "pinhole/bpf_engine.h"

/* NULL, or why such a pinhole can never be a flow: a static text. */
const char *bpf_flow_refusal(const struct wire_pinhole *pinhole);

bool bpf_flow_is_ip6(const struct wire_pinhole *pinhole);
union bpf_engine_key bpf_flow_key(const struct wire_pinhole *pinhole);
/* Without slot, expiry and what depends on interfaces. The pinhole is one that is not refused. */
struct flow bpf_flow_of(const struct wire_pinhole *pinhole);
/* The other way; path, slot and was_there are not set. */
void bpf_flow_addresses(bool is_ip6, const union bpf_engine_key *key, const struct flow *flow, struct backend_entry *ret);
/* Same owner, same pinhole, same rewriting: its counters go on. */
bool bpf_flow_is_same(const struct flow *a, const struct flow *b);

#endif

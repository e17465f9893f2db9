/* One mechanism of the kernel that can hold pinholes, seen from postern-pinholed. A back end is prepared once, proves
 * itself, and is then given pinholes that passed the limits. Everything is idempotent; everything stays in the kernel when
 * the process ends. Single thread: the helper's. */
#ifndef PINHOLE_BACKEND_H
#define PINHOLE_BACKEND_H

#include "pinhole/pinhole.h"
#include "pinhole/wire.h"

struct backend;

/* What a pinhole may need. A back end without one of the features is passed over, with that as the reason. */
enum {
	BACKEND_UDP = 1, BACKEND_TCP = 2,
	BACKEND_RTP = 4,          /* checks payload types and counts loss and jitter; without it RTP passes unchecked */
	BACKEND_ANY_SOURCE = 8,   /* source port or address open */
	BACKEND_ONE_SHOT = 16,
	BACKEND_IPV6 = 32,
	BACKEND_RATE = 64,
	BACKEND_FOREIGN = 128,    /* WIRE_FOREIGN: hosts that address each other */
};

struct backend_interface { /* of a realm, kept fresh by links.c */
	unsigned realm;
	char name[WIRE_INTERFACE_MAX];
	int index;          /* 0: not there now */
	bool is_up;
};

struct backend_conf { /* outlives the back end; the interfaces (and how many) change, always right before links_changed() */
	const char *state_dir;  /* where a bpffs is, or is to be mounted; a folder per node */
	const char *node_tag;   /* letters, digits, '_': names tables and pins of this gateway, apart from those of others */
	const struct wire_limit *own;
	unsigned n_own;
	const struct wire_seal *seal;
	const struct wire_capture *captures;
	unsigned n_captures;
	struct backend_interface *interfaces; /* one per realm address's interface, without doubles */
	unsigned n_interfaces;
};

/* What a back end says of itself, for people. */
struct backend_report {
	bool is_usable;
	char reason[WIRE_REASON_MAX]; /* "proved with a packet through a pair of its own", "net.ipv4.ip_forward is 0" ... */
};

struct backend_entry { /* result of apply and list */
	uint64_t id;       /* 0 in list: not one of ours by id; match by addresses */
	uint32_t slot;
	enum pinhole_path path; /* tc and xdp are one back end */
	bool was_there;
	struct wire_addr listen, source, from, target; /* of list */
	uint8_t proto;     /* of list */
};
typedef void backend_list_fn(void *arg, const struct backend_entry *entry);

struct backend_ops {
	const char *name;
	uint32_t features;
	uint8_t region;      /* of its slots: 0 BPF, 1 the helper's memory */
	/* Loads, attaches or finds what an earlier process left, and proves itself. 0 also when it is not usable (see
	 * report); negative only for -ENOMEM. When all are open the process locks itself in (sandbox.c): later calls can
	 * start no program, write no file, enter no namespace, and have no more than CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF
	 * and CAP_PERFMON. */
	int (*open)(const struct backend_conf *conf, struct backend **ret);
	void (*close)(struct backend *backend);            /* frees; the kernel keeps everything */
	void (*remove_all)(struct backend *backend);       /* takes everything out of the kernel: uninstall, tests */
	/* Whether and as which path it would hold this one now; PINHOLE_NONE and a reason (WIRE_REASON_MAX) when not. */
	enum pinhole_path (*path_of)(struct backend *backend, const struct wire_pinhole *pinhole, char *reason);
	/* 0 or a negative errno. An equal one that is there is kept, counters too, and renewed. */
	int (*apply)(struct backend *backend, const struct wire_pinhole *pinhole, struct backend_entry *ret);
	int (*remove)(struct backend *backend, const struct wire_pinhole *pinhole, struct slot *ret_last);
	/* May be NULL. How far the connection of one has come now; its counters are of this moment afterwards. */
	enum pinhole_end (*look)(struct backend *backend, const struct wire_pinhole *pinhole);
	int (*list)(struct backend *backend, backend_list_fn *fn, void *arg); /* from the kernel, not from memory */
	/* Once a second: counters into slots, neighbours kept alive, what is due. May call gone() for pinholes that are gone;
	 * remove() follows for each of these when tick() has returned, for their last counters and to free their slots. */
	void (*tick)(struct backend *backend, uint64_t now_ms, void (*gone)(void *arg, uint64_t id, enum wire_gone_why why), void *arg);
	/* Descriptor of the slots' memory (read-only, mappable) and how many; -1 when there is none. */
	int (*slots)(struct backend *backend, uint32_t *ret_n);
	/* Interfaces in conf have changed: attach where new, forget what is gone, look up next hops again. */
	void (*links_changed)(struct backend *backend);
	void (*report)(struct backend *backend, enum pinhole_path path, unsigned realm, struct backend_report *ret);
	/* May be NULL. Asked after tick(): something is broken that only open() can repair. The process then ends, and the one
	 * that follows opens everything again and finds what is still in the kernel. */
	bool (*is_broken)(const struct backend *backend);
};

extern const struct backend_ops backend_bpf, backend_conntrack, backend_nft, backend_capture, backend_fake /* tests only */;

#endif

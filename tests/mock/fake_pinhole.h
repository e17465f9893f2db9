/* Pinholes without a helper and without a kernel, behind the symbols of pinhole/pinhole.h: what is asked for is recorded, and
 * tests fire every event and set every counter by hand. Link before libpinhole.a, which then gives only the texts.
 *
 * Nothing happens by itself: an opened pinhole stays reserved and a closed one stays draining until the test says otherwise.
 * Control thread, but for pinhole_stats() and fake_pinhole_set_stats(), which any thread may call. */
#ifndef TESTS_MOCK_FAKE_PINHOLE_H
#define TESTS_MOCK_FAKE_PINHOLE_H

#include "pinhole/pinhole.h"

/* An engine that is usable between all realms, without a limit. Released by pinholes_free(), with every pinhole in it. */
struct pinholes *fake_pinholes_new(void);
/* Also tells whoever asked to know through pinholes_on_change(). */
void fake_pinholes_set_usable(struct pinholes *pinholes, bool is_usable);
void fake_pinholes_set_full(struct pinholes *pinholes, bool is_full); /* as the summary says; the same */
void fake_pinholes_set_starting(struct pinholes *pinholes, bool is_starting); /* likewise; tells nobody */
/* The next n pinhole_open() fail with err. */
void fake_pinholes_fail(struct pinholes *pinholes, unsigned n, int err);
unsigned fake_pinholes_opened(const struct pinholes *pinholes); /* batches asked for so far, failed ones not counted */
bool fake_pinholes_is_reconciled(const struct pinholes *pinholes);

/* Pinholes whose final event was not fired yet, in the order they were opened. NULL past the end. */
unsigned fake_pinholes_count(const struct pinholes *pinholes);
struct pinhole *fake_pinhole_at(struct pinholes *pinholes, unsigned index);
/* The first that is not draining and listens there, or NULL. */
struct pinhole *fake_pinhole_on(struct pinholes *pinholes, const struct addr *listen);

/* Changes its state as the event says and tells the owner, unless it was disowned. After a final event the pinhole is gone.
 * Armed ones take the path XDP unless another was set. */
void fake_pinhole_fire(struct pinhole *pinhole, enum pinhole_event event);
/* The same for all that are there now: PINHOLE_EV_ARMED for those reserved, PINHOLE_EV_CLOSED for those draining. */
void fake_pinholes_settle(struct pinholes *pinholes);
void fake_pinhole_set_path(struct pinhole *pinhole, enum pinhole_path path, const char *reason); /* static text */
void fake_pinhole_set_stats(struct pinhole *pinhole, const struct slot_stats *stats);
/* The question how far it has come is answered; false when nobody has asked since the last answer. */
bool fake_pinhole_looked(struct pinhole *pinhole, enum pinhole_end end);
bool fake_pinhole_is_disowned(const struct pinhole *pinhole);

/* Sockets that were asked for and neither answered nor given up, oldest first. NULL past the end. */
struct pinhole_socket_request *fake_socket_at(struct pinholes *pinholes, unsigned index);
const struct pinhole_socket *fake_socket_wanted(const struct pinhole_socket_request *request);
void fake_socket_answer(struct pinhole_socket_request *request, int fd); /* the owner's from then on; negative: an error */
void fake_sockets_fail(struct pinholes *pinholes, int err); /* what pinhole_socket_open() returns from now on; 0: as usual */

#endif

/* Addresses as FTP writes them: six numbers (PORT, 227), delimited (EPRT, 229), long (LPRT, 228). RFC 959, RFC 2428,
 * RFC 1639. Pure. */
#ifndef ALGS_FTP_FTP_ADDRESS_H
#define ALGS_FTP_FTP_ADDRESS_H

#include "algs/alg.h"
#include "core/buf.h"

/* Where an address was found, and what it is. */
struct ftp_address {
	struct alg_addr addr;   /* family 0: only a port was said */
	size_t at, len;         /* of the text that stands for it */
	char delimiter;         /* EPRT */
};

/* "192,0,2,1,200,10" and nothing else but blanks around it. `len` does not count these. Leading zeros are fine. 0 or
 * ERR_PARSE. */
int ftp_address_read_port(struct span text, struct ftp_address *ret);
/* "|1|192.0.2.1|51210|", "!2!2001:db8::1!51210!". ERR_UNSUPPORTED for another number of a family. */
int ftp_address_read_eprt(struct span text, struct ftp_address *ret);
/* "4,4,192,0,2,1,2,200,10", "6,16,...,2,200,10". ERR_UNSUPPORTED for another family. */
int ftp_address_read_lprt(struct span text, struct ftp_address *ret);
/* The first run of six numbers anywhere (RFC 1123 4.1.2.6). */
int ftp_address_find_port(struct span text, struct ftp_address *ret);
/* The first run of numbers that is a long address. */
int ftp_address_find_lprt(struct span text, struct ftp_address *ret);
/* "(|||51210|)", any delimiter from '!' to '~'; `at` and `len` are of the port's digits. What may stand between the
 * delimiters before it is skipped. */
int ftp_address_find_epsv(struct span text, struct ftp_address *ret);

void ftp_address_put_port(struct buf *out, const struct alg_addr *addr); /* IPv4 */
void ftp_address_put_eprt(struct buf *out, const struct alg_addr *addr, char delimiter);
void ftp_address_put_lprt(struct buf *out, const struct alg_addr *addr);

bool ftp_address_eq(const struct alg_addr *a, const struct alg_addr *b);    /* with port */
bool ftp_address_eq_ip(const struct alg_addr *a, const struct alg_addr *b);

#endif

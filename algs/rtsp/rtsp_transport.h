/* The Transport header field (RFC 2326 12.39; RFC 7826 18.54, in both versions' words): what each alternative of a list
 * asks for, and where in the message its addresses and ports stand. Understands only what a gateway must; everything
 * else is somebody else's. Pure: spans point into the message. */
#ifndef ALGS_RTSP_RTSP_TRANSPORT_H
#define ALGS_RTSP_RTSP_TRANSPORT_H

#include "algs/alg.h"
#include "algs/rtsp/rtsp_message.h"

enum { RTSP_TRANSPORTS_MAX = 8, RTSP_PLACES_MAX = 2 };

enum rtsp_carrier { RTSP_UDP, RTSP_INTERLEAVED, RTSP_MULTICAST, RTSP_OTHER, RTSP_CARRIERS };
const char *rtsp_carrier_text(enum rtsp_carrier carrier); /* for rules: "udp", "interleaved", "multicast", "other" */

enum rtsp_form { RTSP_NO_PORTS, RTSP_ONE_PORT, RTSP_RANGE /* a-b */, RTSP_SLASH /* a/b */ };
struct rtsp_ports {
	enum rtsp_form form;
	uint16_t rtp, rtcp;      /* rtcp 0: not said */
	struct span text;        /* as it stands, without quotation marks */
};
struct rtsp_place {              /* an element of dest_addr or src_addr, or the value of destination or source */
	struct span text;        /* as it stands, without quotation marks */
	struct alg_addr addr;    /* family 0: no address there, or a name; port 0: none */
	bool has_name;           /* a host that is not a literal */
	bool has_brackets;
};

struct rtsp_transport {
	struct span text;        /* the whole alternative */
	struct span spec;        /* "RTP/AVP/UDP" */
	unsigned header;         /* index of the field that it stands in */
	enum rtsp_carrier carrier;
	bool is_raw;             /* not RTP: MP2T/H2221/UDP, RAW/RAW/UDP */
	bool is_record;          /* mode=record */
	bool has_mux;            /* RTCP-mux */
	bool has_destination;    /* says where to send to, readable or not */
	bool is_odd;             /* a value could not be read: nothing follows from this alternative */
	bool is_double;          /* a parameter stands there twice: readers may take either */
	bool has_channels;       /* interleaved, in these */
	uint8_t channels[2];
	struct rtsp_ports client_port, server_port;
	struct rtsp_place destination, source; /* text.ptr NULL: none */
	struct rtsp_place dest[RTSP_PLACES_MAX], src[RTSP_PLACES_MAX];
	unsigned n_dest, n_src;
};
struct rtsp_transports {
	struct rtsp_transport list[RTSP_TRANSPORTS_MAX];
	unsigned n;
};

/* All alternatives of all Transport fields, in order; none is fine. ERR_LIMIT when there are too many; ERR_PARSE for
 * quotation marks that not every reader sees alike (RFC 7826 has quoted values; readers that do not know them split
 * inside). */
int rtsp_transport_read(const struct rtsp_message *message, struct rtsp_transports *ret);

/* Where media for that side is to go, by client_port and dest_addr (client) or server_port and src_addr (server).
 * rtp.family 0 and rtcp 0: not said. False: no port either. */
struct rtsp_end {
	struct alg_addr rtp;
	uint16_t rtcp;
};
bool rtsp_transport_end(const struct rtsp_transport *transport, enum alg_side side, struct rtsp_end *ret);

#endif

/* Opens, binds, listens; never connects, sends or reads. */
#include "pinhole/helper_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

static int set(int fd, int level, int option)
{
	const int one = 1;

	return setsockopt(fd, level, option, &one, sizeof(one)) < 0 ? -errno : 0;
}

static int prepare(int fd, const struct wire_socket_request *request)
{
	bool is_ipv6 = request->addr.family == AF_INET6;
	int err = 0;

	if (is_ipv6)
		err = set(fd, IPPROTO_IPV6, IPV6_V6ONLY);
	/* Of datagrams: the same server talks to many clients, each by a socket of its own. */
	if (err == 0 && (request->proto == IPPROTO_TCP || (request->is_transparent && request->is_connecting)))
		err = set(fd, SOL_SOCKET, SO_REUSEADDR);
	if (err == 0 && request->is_transparent)
		err = is_ipv6 ? set(fd, IPPROTO_IPV6, IPV6_TRANSPARENT) : set(fd, IPPROTO_IP, IP_TRANSPARENT);
	if (err == 0 && request->is_connecting && request->proto == IPPROTO_TCP && request->addr.port == 0)
		err = set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT); /* of both families; the port is chosen at connect() */
	return err;
}

int helper_socket_open(const struct wire_socket_request *request)
{
	bool is_tcp = request->proto == IPPROTO_TCP;
	struct addr addr = wire_addr_get(&request->addr);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&addr, &sa);
	int fd = socket(addr.family, (is_tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	err = prepare(fd, request);
	if (err == 0 && bind(fd, (const struct sockaddr *)&sa, len) < 0)
		err = -errno;
	if (err == 0 && is_tcp && !request->is_connecting && listen(fd, SOMAXCONN) < 0)
		err = -errno;
	if (err == 0)
		return fd;
	close(fd);
	return err;
}

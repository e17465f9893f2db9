/* Opens the sockets that the HTTP listeners accept on. The UNIX socket gets its mode between bind and listen: until
 * listen() nobody can connect, so there is no moment at which it is open to all. Start-up only. */
#include "api/http_listen.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 128 };

int http_listen_open_tcp(const struct addr *addr, int *ret)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(addr, &sa);
	int one = 1, err;
	int fd = socket(addr->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (addr->family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sa, len) != 0 || listen(fd, BACKLOG) != 0) {
		err = -errno;
		close(fd);
		return err;
	}
	*ret = fd;
	return 0;
}

/* Makes room at the path: only a socket on which nobody answers may go. */
static int remove_stale(const struct sockaddr_un *sa)
{
	struct stat st;
	int fd, err = 0;

	if (lstat(sa->sun_path, &st) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0 || errno != ECONNREFUSED)
		err = -EADDRINUSE;
	close(fd);
	if (err == 0 && unlink(sa->sun_path) != 0)
		err = -errno;
	return err;
}

static void give_to_group(const char *path)
{
	struct group group, *found = NULL;
	char text[4096];

	if (getgrnam_r("postern", &group, text, sizeof(text), &found) != 0 || found == NULL)
		return;
	if (chown(path, (uid_t)-1, found->gr_gid) != 0)
		return; /* not ours to give: then it stays with our own group */
}

int http_listen_open_unix(const char *path, int *ret)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = -1, err;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path));
	err = remove_stale(&sa);
	if (err != 0)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		err = -errno;
		goto out;
	}
	give_to_group(path);
	if (chmod(path, 0660) != 0 || listen(fd, BACKLOG) != 0) {
		err = -errno;
		unlink(path);
		goto out;
	}
	*ret = fd;
	fd = -1;
out:
	if (fd >= 0)
		close(fd);
	return err;
}

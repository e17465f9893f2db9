/* Becoming an ordinary account. The kernel drops all capabilities when the last root id goes (capabilities(7)). */
#include "daemon/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static int prepare_folder(const char *file, const struct passwd *account, char *error_text, size_t error_size)
{
	char folder[4096];
	const char *slash = strrchr(file, '/');

	if (slash == NULL || slash == file || (size_t)(slash - file) >= sizeof(folder))
		return 0;
	memcpy(folder, file, (size_t)(slash - file));
	folder[slash - file] = '\0';
	if (mkdir(folder, 0750) != 0) {
		if (errno == EEXIST)
			return 0; /* the administrator's: ownership is theirs to decide */
		snprintf(error_text, error_size, "cannot make folder %s: %s", folder, strerror(errno));
		return -errno;
	}
	if (chown(folder, account->pw_uid, account->pw_gid) != 0) {
		snprintf(error_text, error_size, "cannot give folder %s to %s: %s", folder, account->pw_name, strerror(errno));
		return -errno;
	}
	return 0;
}

static int become(const struct passwd *account, char *error_text, size_t error_size)
{
	if (setgroups(0, NULL) == 0 && setgid(account->pw_gid) == 0 && setuid(account->pw_uid) == 0)
		return 0;
	snprintf(error_text, error_size, "cannot become %s: %s", account->pw_name, strerror(errno));
	return -errno;
}

int privileges_drop(const char *user, const char *const *paths, unsigned n, char *error_text, size_t error_size)
{
	const struct passwd *account;
	int err = 0;

	if (geteuid() == 0) {
		account = getpwnam(user != NULL ? user : "postern");
		if (account == NULL && user == NULL)
			account = getpwnam("nobody");
		if (account == NULL) {
			snprintf(error_text, error_size, "there is no account \"%s\"; name one with --user",
				 user != NULL ? user : "postern");
			return -ENOENT;
		}
		for (unsigned i = 0; err == 0 && i < n; i++)
			if (paths[i] != NULL)
				err = prepare_folder(paths[i], account, error_text, error_size);
		if (err == 0)
			err = become(account, error_text, error_size);
	}
	if (err == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		err = -errno;
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* credentials and call data stay out of core files */
	return err;
}

unsigned privileges_raise_files(unsigned want)
{
	struct rlimit limit, more;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 1024;
	more = (struct rlimit){ want, want };
	if (limit.rlim_max < want && geteuid() == 0 && setrlimit(RLIMIT_NOFILE, &more) == 0)
		return want;
	limit.rlim_cur = limit.rlim_max < want ? limit.rlim_max : want;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		getrlimit(RLIMIT_NOFILE, &limit);
	return (unsigned)limit.rlim_cur;
}

/* "token new": mints a token, shows it once, and appends its hash to the gateway's token file. Needs no running
 * gateway: the file is read again when it changes. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/cli.h"
#include "api/text.h"
#include "api/token.h"
#include "core/buf.h"
#include "core/err.h"

#define TOKEN_FILE_DEFAULT POSTERN_SYSCONFDIR "/tokens"

/* The name stands behind a "#" in the file: anything but line ends and control characters would do. */
static bool name_is_good(const char *name)
{
	return strlen(name) < TOKEN_NAME_MAX && strchr(name, '#') == NULL && text_is_clean(span_of(name));
}

/* A file whose last line has no end must not swallow ours. */
static bool ends_within_line(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char last;

	return size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

/* The daemon's group must be able to read a file that root makes. */
static void give_to_group(int fd)
{
	const struct group *group = getgrnam("postern");

	if (group != NULL && fchown(fd, (uid_t)-1, group->gr_gid) != 0)
		return; /* not root: then it runs as whoever made the file */
}

static int append(const char *path, const char *line, size_t len)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640), err = 0;

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX) != 0 || fstat(fd, &st) != 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = -EINVAL;
	if (err == 0 && st.st_size == 0)
		give_to_group(fd);
	if (err == 0 && ends_within_line(fd) && write(fd, "\n", 1) != 1)
		err = -EIO;
	if (err == 0 && write(fd, line, len) != (ssize_t)len)
		err = -EIO;
	if (close(fd) != 0 && err == 0)
		err = -errno;
	return err;
}

enum cli_exit cli_token_new(struct cli *cli)
{
	const char *path = cli->file ? cli->file : TOKEN_FILE_DEFAULT, *name = cli->name ? cli->name : "";
	char token[TOKEN_TEXT_MAX], text[512];
	struct buf line = buf_of(text, sizeof(text));
	uint8_t hash[TOKEN_HASH_BYTES];
	unsigned scopes;
	int err;

	if (!name_is_good(name)) {
		fprintf(cli->err, "postern: --name wants less than %d characters, without \"#\"\n", TOKEN_NAME_MAX);
		return CLI_USAGE;
	}
	if (cli->scope != NULL && token_scopes_parse(span_of(cli->scope), &scopes) != 0) {
		fputs("postern: --scope wants some of read:calls,read:config,read:metrics,operate,admin\n", cli->err);
		return CLI_USAGE;
	}
	token_mint(token);
	err = token_hash(span_of(token), hash);
	buf_puts(&line, "sha256:");
	buf_hex(&line, hash, sizeof(hash));
	buf_printf(&line, " %s%s%s\n", cli->scope ? cli->scope : "admin", name[0] ? " # " : "", name);
	if (err == 0)
		err = line.is_full ? ERR_LIMIT : append(path, line.data, line.len);
	if (err != 0) {
		fprintf(cli->err, "postern: %s: %s\n"
			"Another file: --file FILE; it must be api.token_file of the configuration.\n", path,
			err_str(err));
		return CLI_FAILED;
	}
	if (cli->format == CLI_JSON)
		fprintf(cli->out, "{\"token\": \"%s\"}\n", token);
	else
		fprintf(cli->out, "%s\n", token);
	fprintf(cli->err, "Its hash was added to %s. The token is shown only now.\n", path);
	return CLI_OK;
}

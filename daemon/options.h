/* The command line of posternd. */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <stdbool.h>

struct options {
	const char *config;   /* never NULL */
	const char *user;     /* to become when started as root; NULL: the default */
	const char *helper;   /* the program of the privileged helper, or "none"; NULL: the one that was installed */
	bool is_check;        /* only check the configuration */
};

/* 0 to go on; otherwise the process ends with *ret_exit (--help, --version, bad usage). */
int options_parse(int argc, char **argv, struct options *ret, int *ret_exit);

#endif

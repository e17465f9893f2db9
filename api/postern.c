/* The command-line program; everything is in cli.c. */
#include <stdio.h>

#include "api/cli.h"

int main(int argc, char **argv)
{
	int code = cli_main(argc, argv, stdout, stderr);

	if (fflush(stdout) != 0 && code == CLI_OK)
		code = CLI_FAILED;
	return code;
}

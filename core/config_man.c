/* Prints postern.yaml(5). Run by the build, not installed. */
#include "core/config.h"

int main(void)
{
	config_print_man(stdout);
	return fflush(stdout) == 0 ? 0 : 1;
}

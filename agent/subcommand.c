#include "agent/subcommand.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int subcommand_misused(const char *name, const struct err *err)
{
	(void)fprintf(stderr, "hoist-agent: %s. Try 'hoist-agent %s --help'.\n", err->msg, name);
	return SUBCOMMAND_USAGE;
}

bool subcommand_begin(const struct subcommand *s, void *config, int argc, char **argv,
		      int *ret_first, int *ret_status)
{
	struct err err = {0};
	int first = 0, r = settings_init(s->options, config, &err);

	if (r == 0)
		r = settings_parse_argv(s->options, config, argc - 1, argv + 1, &first, &err);
	if (r == 1) {
		s->print_help();
		*ret_status = EXIT_SUCCESS;
		return false;
	}
	*ret_first = ++first;
	if (r == 0 && !s->needs && first < argc)
		r = err_set(&err, -EINVAL, "'%s' is not expected here", argv[first]);
	if (r == 0 && s->needs && first == argc)
		r = err_set(&err, -EINVAL, "%s", s->needs);
	if (r == 0)
		return true;
	*ret_status = subcommand_misused(argv[0], &err);
	return false;
}

int subcommand_end(int r, const struct err *err)
{
	if (r < 0)
		(void)fprintf(stderr, "hoist-agent: %s\n", err->msg);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

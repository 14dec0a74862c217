/* man.h - hoist-agent(8), from the tables of settings. */
#ifndef AGENT_MAN_H
#define AGENT_MAN_H
#include <stdio.h>

void agent_print_man(FILE *f);
#endif

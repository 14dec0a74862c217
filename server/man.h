/* man.h - hoist-server(8), from the table of settings. */
#ifndef SERVER_MAN_H
#define SERVER_MAN_H
#include <stdio.h>

void server_print_man(FILE *f);
#endif

/* network.h - hoist-agent network. */
#ifndef AGENT_NETWORK_NETWORK_H
#define AGENT_NETWORK_NETWORK_H
#include "common/setting.h"

int network_main(int argc, char **argv);
/* Its options. */
extern const struct setting_table network_table;
#endif

/* ssh.h - hoist-agent ssh: an SSH server for those whose keys are in the settings of the medium. */
#ifndef AGENT_SSH_SSH_H
#define AGENT_SSH_SSH_H
#include "common/setting.h"

int ssh_main(int argc, char **argv);
/* Its options. */
extern const struct setting_table ssh_table;
#endif

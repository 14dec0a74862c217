/* run.h - hoist-agent run: the service of the live image. */
#ifndef AGENT_RUN_H
#define AGENT_RUN_H
int run_main(int argc, char **argv);
#endif

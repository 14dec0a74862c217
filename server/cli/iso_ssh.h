/* iso_ssh.h - the keys that a medium is given by --ssh-key. */
#ifndef SERVER_CLI_ISO_SSH_H
#define SERVER_CLI_ISO_SSH_H
#include "common/err.h"
#include "common/json.h"
#include "common/setting.h"
#include "common/ssh_key.h"

/* A setting `ssh-key` for each key of the files.  -EINVAL with file and line; nothing of what is in a file is quoted. */
int iso_ssh_add(const struct setting_list *files, json_t *settings, struct err *err) MUST_CHECK;
/* The value of a setting as it is shown: of a key its type, fingerprint and comment; of others, and of what is no key, the value itself. */
const char *iso_ssh_describe(const char *key, const char *value,
			     char buf[static SSH_KEY_DESCRIPTION_SIZE]);
#endif

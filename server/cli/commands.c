/* The commands, in the order of --help and the man page.  To add one: a line here, one in cli.h, and what it is, with its options, in cmd_*.c; help,
 * completion and dispatch follow. */
#include <assert.h>
#include <string.h>

#include "server/cli/cli.h"
#include "server/cli/options.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

const struct command *const commands[] = {
	&cmd_machines,
	&cmd_machine_show,
	&cmd_machine_forget,
	&cmd_pairings,
	&cmd_pair,
	&cmd_pairing_reject,
	&cmd_images,
	&cmd_image_show,
	&cmd_image_verify,
	&cmd_image_rm,
	&cmd_vmdef,
	&cmd_jobs,
	&cmd_job_show,
	&cmd_job_report,
	&cmd_job_cancel,
	&cmd_capture,
	&cmd_restore,
	&cmd_token_create,
	&cmd_token_list,
	&cmd_token_revoke,
	&cmd_login,
	&cmd_logout,
	&cmd_whoami,
	&cmd_operator_add,
	&cmd_operator_list,
	&cmd_operator_role,
	&cmd_operator_passwd,
	&cmd_operator_remove,
	&cmd_access_token_create,
	&cmd_access_token_list,
	&cmd_access_token_revoke,
	&cmd_audit,
	&cmd_server_info,
	&cmd_gc,
	&cmd_media,
	&cmd_iso,
	&cmd_completion,
};
const size_t commands_len = LEN(commands);

/* ---- options of many commands */

#define CONNECTION (SETTING_ARGV | SETTING_FILE)
static const struct setting connection[] = {
	{.key = "server",
	 .type = SETTING_TEXT,
	 .sources = CONNECTION,
	 AT(server),
	 .value = "URL",
	 .help = "Address of the server: HOST, HOST:PORT or https://HOST:PORT"},
	{.key = "pin",
	 .type = SETTING_TEXT,
	 .sources = CONNECTION,
	 AT(pin),
	 .value = "FINGERPRINT",
	 .help = "Fingerprint of the server's key, which it must prove to have"},
	{.key = "token-file",
	 .type = SETTING_TEXT,
	 .sources = CONNECTION,
	 AT(token_file),
	 .value = "FILE",
	 .help = "File with the operator's token"},
	{.key = "data",
	 .type = SETTING_TEXT,
	 .sources = CONNECTION,
	 AT(data),
	 .value = "DIR",
	 .help = "On the server's own machine: take all three from its data folder"},
};
const struct setting_table server_options = {connection, LEN(connection)};

static const struct setting json_option[] = {
	{.key = "json", .type = SETTING_BOOL, ARGV, AT(json), .help = "Print JSON"},
};

static const struct setting wait_option[] = {
	{.key = "wait",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(wait),
	 .help = "Wait for the job's end and show how it goes on"},
};

static void append(struct setting *buf, size_t *len, const struct setting *s, size_t n)
{
	assert(*len + n <= COMMAND_OPTIONS_MAX);
	if (n)
		memcpy(buf + *len, s, n * sizeof(*s));
	*len += n;
}

struct setting_table command_options(const struct command *cmd,
				     struct setting buf[static COMMAND_OPTIONS_MAX])
{
	size_t len = 0;

	append(buf, &len, cmd->options, cmd->options_len);
	if (cmd->takes & TAKES_WAIT)
		append(buf, &len, wait_option, LEN(wait_option));
	if (cmd->takes & TAKES_JSON)
		append(buf, &len, json_option, LEN(json_option));
	if (cmd->takes & TAKES_SERVER)
		append(buf, &len, connection, LEN(connection));
	return (struct setting_table){buf, len};
}

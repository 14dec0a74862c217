/* cli.h - the parts of `hoist`, the operator's command.
 *
 * One table (commands.c, of what the files cmd_*.c define) drives dispatch, --help, the man page and the completion.  A command's function returns
 *	0	done
 *	> 0	that exit status; what there is to say was said
 *	-EINVAL	wrong usage: exit status 2, with "Try 'hoist ... --help'"
 *	< 0	failed: exit status 1, main reports the sentence in `err`
 * Results go to standard output, everything else to standard error. */
#ifndef SERVER_CLI_CLI_H
#define SERVER_CLI_CLI_H
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/http.h"
#include "common/json.h"
#include "common/setting.h"
#include "server/cli/table.h"

#define EXIT_FAILED	1 /* failed, cancelled, refused */
#define EXIT_USAGE	2
#define EXIT_UNREADABLE 3 /* done, but not everything could be read */

#define OUT_OF_MEMORY(err) err_set((err), -ENOMEM, "out of memory")

/* Everything that any command can be told; which one takes what is in the tables. */
struct options {
	char *server, *pin, *token_file, *data; /* connection */
	bool json, wait, html;
	bool all_blocks; /* capture */
	char *rescue_time, *rescue_area_time, *rescue_retries;
	char *image, *end; /* capture, restore */
	struct setting_list disks, overwrite;
	uint64_t level;
	char *machine, *state; /* jobs */
	uint64_t uses;	       /* tokens */
	char *expires, *note, *job;
	bool codes, replace;   /* pairings */
	bool all;	       /* image rm */
	char *role, *operator; /* operators, access tokens */
	char *password_file, *old_password_file;
	char *since; /* audit */
	bool follow;
	char *in, *download, *out, *token, *show, *reset; /* iso */
	bool new_token, secrets;
	struct setting_list set, add, ip, vlan, bond, nameserver, route, ssh_keys;
	char *format, *type, *name; /* vmdef */
	bool from_disk, keep_mac;
	uint64_t vm_memory, vcpus;
	char *bridge, *folder, *medium, *kernel, *ramdisk;
};

struct ctx {
	const struct command *command;
	struct options o;
	char **operands;
	int operands_len;
	struct http_target target; /* filled by target_find() */
	bool target_guessed; /* its address is that of a data folder, not one that a person gave */
	bool no_token;	     /* the next connection is made without */
	bool token_withheld; /* the one that was found is another server's */
	bool logged_in;	     /* by `hoist login`: the token is the one that was kept then */
	struct http *http;
	struct api_error error; /* of the last refusal by the server */
};

/* Groups of options that many commands take. */
#define TAKES_SERVER 1u
#define TAKES_JSON   2u
#define TAKES_WAIT   4u

struct command {
	const char *name;     /* "machine show" */
	const char *operands; /* "MACHINE [X]", "" */
	const char *summary;  /* one line without full stop, for lists */
	const char *text;     /* paragraphs, parted by a newline, for --help and the man page */
	const char *example;  /* one line, or NULL */
	unsigned takes;
	int operands_min, operands_max;
	const struct setting *options; /* its own */
	size_t options_len;
	int (*run)(struct ctx *c, struct err *err);
};

/* commands.c; in the order of the help. */
extern const struct command *const commands[];
extern const size_t commands_len;
/* What the options of TAKES_SERVER are. */
extern const struct setting_table server_options;

#define COMMAND_OPTIONS_MAX 32
/* All options that a command takes, in `buf`. */
struct setting_table command_options(const struct command *cmd,
				     struct setting buf[static COMMAND_OPTIONS_MAX]);

/* ---- connect.c */

/* Which server, from options, HOIST_* variables, ~/.config/hoist/config, a data folder.  No connection is made.
 * -EDESTADDRREQ: nothing says which one. */
int target_find(struct ctx *c, struct err *err) MUST_CHECK;
/* The same, for who is going to talk to it: address and fingerprint are there, or -EINVAL. */
int target_check(struct ctx *c, struct err *err) MUST_CHECK;
/* A request; `path` is escaped already.  `ret` may be NULL. */
int api(struct ctx *c, const char *method, const char *path, const json_t *body, json_t **ret,
	struct err *err) MUST_CHECK;
/* The bytes at `path`, to the end of the file. */
int api_download(struct ctx *c, const char *path, int fd, struct err *err) MUST_CHECK;
/* The token of `hoist login` for the server of target_find(): kept with mode 0600, for later commands. */
int login_save(struct ctx *c, const char *secret, struct err *err) MUST_CHECK;
int login_forget(struct ctx *c, struct err *err) MUST_CHECK;
#define PATH_SIZE 1024
/* `format` with each %s replaced by the argument, percent-encoded. */
void path_make(char ret[static PATH_SIZE], const char *format, ...);

/* ---- resolve.c: what a person may shorten */

/* The one member of `array` whose `key` is or begins with `text` (of at least `min` characters); borrowed.
 * -ENOENT none, -EEXIST several. `what` is the noun for the sentence. */
int find_by_prefix(const json_t *array, const char *key, const char *text, size_t min,
		   const char *what, const json_t **ret, struct err *err) MUST_CHECK;
#define JOB_TEXT_SIZE 33
/* A job's id from a prefix of at least 4 digits. */
int job_resolve(struct ctx *c, const char *text, char ret[static JOB_TEXT_SIZE],
		struct err *err) MUST_CHECK;

/* ---- progress.c */

/* Follow a job to its end, with a bar on a terminal, else with lines; a server that is away is waited for.
 * Returns the exit status, or a negative errno; `ret` (a new reference) is the job as it ended. */
int job_follow(struct ctx *c, const char *id, json_t **ret, struct err *err) MUST_CHECK;
/* What to say about a job that was just started: prints it or, with --wait, follows it.  As a command's function. */
int job_started(struct ctx *c, const json_t *job, struct err *err) MUST_CHECK;

/* ---- answer.c: what the server answered, as commands' functions print it */

struct listing {
	const char *key; /* of the array in what the server answers */
	struct table_form form;
	const char *none,
		*some; /* said on standard error when it is empty, or when not; may be NULL */
};
/* What the server answers at `path` as a table, or all of it with --json. */
int list_print(struct ctx *c, const char *path, const struct listing *l,
	       struct err *err) MUST_CHECK;
/* What was done, in a line; or with --json the answer, which may be NULL.  0 */
int done_print(const struct ctx *c, const json_t *answer, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- cmd_*.c: the commands, each with its text, its options and what it does */

extern const struct command cmd_machines, cmd_machine_show, cmd_machine_forget;
extern const struct command cmd_pairings, cmd_pair, cmd_pairing_reject;
extern const struct command cmd_images, cmd_image_show, cmd_image_verify, cmd_image_rm;
extern const struct command cmd_vmdef;
extern const struct command cmd_jobs, cmd_job_show, cmd_job_report, cmd_job_cancel;
extern const struct command cmd_capture, cmd_restore;
extern const struct command cmd_token_create, cmd_token_list, cmd_token_revoke;
extern const struct command cmd_login, cmd_logout, cmd_whoami;
extern const struct command cmd_operator_add, cmd_operator_list, cmd_operator_role,
	cmd_operator_passwd, cmd_operator_remove;
extern const struct command cmd_access_token_create, cmd_access_token_list, cmd_access_token_revoke;
extern const struct command cmd_audit;
extern const struct command cmd_server_info, cmd_gc;
extern const struct command cmd_media;
extern const struct command cmd_iso;
extern const struct command cmd_completion;

/* ---- cmd_token.c */

/* A new enrolment token as --uses, --expires, --note and --job say. */
int token_make(struct ctx *c, json_t **ret, struct err *err) MUST_CHECK;
int token_revoke(struct ctx *c, const char *id, struct err *err) MUST_CHECK;

/* ---- session.c */

/* A session in the place of the token, by name and password; and its end. */
int session_begin(struct ctx *c, const char *name, const char *password,
		  struct err *err) MUST_CHECK;
int session_end(struct ctx *c, struct err *err) MUST_CHECK;

/* ---- help.c */

/* The man page and the help, from the table. */
void print_man(FILE *f);
void print_help(FILE *f);
void print_command_help(const struct command *cmd, FILE *f);
#endif

/* The table.  To add a command: a line here and its function; --help, the man page, the completion and dispatch
 * follow. */
#include <errno.h>
#include <string.h>

#include "common/message.h"
#include "server/cli/cli.h"
#include "server/cli/unreadable.h"

#define AT(field) .offset = offsetof(struct options, field)
#define ARGV	  .sources = SETTING_ARGV

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static int check_end(const char *text, struct err *err)
{
	enum end_action e;
	struct err ignored;

	if (end_action_from_name(text, &e, &ignored) == 0)
		return 0;
	return err_set(err, -EINVAL, "'%.32s' is none of stay, reboot, poweroff", text);
}

static int check_image(const char *text, struct err *err)
{
	if (name_is_valid(text))
		return 0;
	return err_set(
		err, -EINVAL,
		"'%.80s' is no name: 1 to 64 letters, digits, '.', '_' or '-', the first one "
		"a letter or digit",
		text);
}

static int check_state(const char *text, struct err *err)
{
	static const char *const states[] = {"waiting", "running", "done", "failed", "cancelled"};

	for (size_t i = 0; i < LEN(states); i++) {
		if (strcmp(text, states[i]) == 0)
			return 0;
	}
	return err_set(err, -EINVAL, "'%.32s' is none of waiting, running, done, failed, cancelled",
		       text);
}

/* ---- options */

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

#define DISK_HELP                                                                                 \
	"A disk by its id (or an unambiguous beginning of it) as 'hoist machine show' lists it; " \
	"without this all disks"
#define END_OPTION(help_text)                                                            \
	{                                                                                \
		.key = "end", .type = SETTING_TEXT, ARGV, AT(end),                       \
		.value = "stay|reboot|poweroff", .check = check_end, .help = (help_text) \
	}

static const struct setting capture_options[] = {
	{.key = "image",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(image),
	 .value = "NAME",
	 .check = check_image,
	 .help = "Image to make, or to add a version to"},
	{.key = "disk", .type = SETTING_LIST, ARGV, AT(disks), .value = "ID", .help = DISK_HELP},
	{.key = "level",
	 .type = SETTING_U64,
	 ARGV,
	 AT(level),
	 .min = 1,
	 .max = 19,
	 .value = "N",
	 .help = "Compression, 1 (fast) to 19 (small); when it is not given the agent chooses, and changes "
		 "it as disk, processor, network and server allow"},
	{.key = "all-blocks",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(all_blocks),
	 .help = "Also copy what the filesystems do not use, with whatever was deleted there; "
		 "without this free space is left out and restored as zeros"},
	{.key = "rescue-time",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(rescue_time),
	 .value = "TIME",
	 .check = check_span,
	 .help = "How long to try on places of a disk that cannot be read, as 90s, 10m, 4h, 2d; default: 2h"},
	{.key = "rescue-area-time",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(rescue_area_time),
	 .value = "TIME",
	 .check = check_span,
	 .help = "The same for each 4 MiB of it; default: 5m"},
	{.key = "rescue-retries",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(rescue_retries),
	 .value = "N",
	 .check = check_retries,
	 .help = "How often each sector that could not be read alone is tried again, 0 to 100; default: 1"},
	END_OPTION("What the machine does afterwards; default: stay"),
};

static const struct setting restore_options[] = {
	{.key = "disk",
	 .type = SETTING_LIST,
	 ARGV,
	 AT(disks),
	 .value = "SRC=DST",
	 .help = "Put the image's disk SRC onto the machine's disk DST; without this the disks are "
		 "matched in order of listing, if there are as many of one as of the other"},
	{.key = "overwrite",
	 .type = SETTING_LIST,
	 ARGV,
	 AT(overwrite),
	 .value = "FINGERPRINT",
	 .help = "Lose what is on the disk with this fingerprint (or its first 16 digits), as "
		 "'hoist machine show' lists it"},
	END_OPTION("What the machine does afterwards; default: reboot"),
};

static const struct setting pairings_options[] = {
	{.key = "codes",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(codes),
	 .help = "Show the codes too, to compare them by eye with the first six digits on the machines' screens"},
};

static const struct setting jobs_options[] = {
	{.key = "machine",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(machine),
	 .value = "MACHINE",
	 .help = "Only those of this machine"},
	{.key = "state",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(state),
	 .value = "STATE",
	 .check = check_state,
	 .help = "Only those that are waiting, running, done, failed or cancelled"},
};

static const struct setting image_rm_options[] = {
	{.key = "all",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(all),
	 .help = "Remove the image although it has several versions"},
};

#define TOKEN_OPTIONS(uses_text, expires_text)                                                                                                   \
	{.key = "uses",                                                                                                                          \
	 .type = SETTING_U64,                                                                                                                    \
	 ARGV,                                                                                                                                   \
	 AT(uses),                                                                                                                               \
	 .min = 1,                                                                                                                               \
	 .max = 10000,                                                                                                                           \
	 .preset = (uses_text),                                                                                                                  \
	 .value = "N",                                                                                                                           \
	 .help = "How many machines it may enrol"},                                                                                              \
		{.key = "expires",                                                                                                               \
		 .type = SETTING_TEXT,                                                                                                           \
		 ARGV,                                                                                                                           \
		 AT(expires),                                                                                                                    \
		 .preset = (expires_text),                                                                                                       \
		 .value = "TIME",                                                                                                                \
		 .check = check_expires,                                                                                                         \
		 .help = "How long it is good: 90s, 30m, 12h, 7d, never"},                                                                       \
		{.key = "note",                                                                                                                  \
		 .type = SETTING_TEXT,                                                                                                           \
		 ARGV,                                                                                                                           \
		 AT(note),                                                                                                                       \
		 .value = "TEXT",                                                                                                                \
		 .help = "What it is for, shown in the list"},                                                                                   \
	{                                                                                                                                        \
		.key = "job", .type = SETTING_TEXT, ARGV, AT(job), .value = "RULE",                                                              \
		.help = "What each machine that it enrols is told to do at once: capture, capture=IMAGE, restore=IMAGE or restore=IMAGE@VERSION" \
	}

static const struct setting token_options[] = {
	TOKEN_OPTIONS("1", "24h"),
};

static const struct setting report_options[] = {
	{.key = "html",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(html),
	 .help = "As one file of HTML, to be kept or handed on"},
};

static const struct setting pair_options[] = {
	{.key = "replace",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(replace),
	 .help = "Also when a machine with this id is registered and has a job, which the "
		 "confirmed one then goes on with"},
};

static int check_role(const char *text, struct err *err)
{
	if (strcmp(text, "viewer") == 0 || strcmp(text, "operator") == 0 ||
	    strcmp(text, "admin") == 0)
		return 0;
	return err_set(err, -EINVAL, "'%.32s' is none of viewer, operator, admin", text);
}

#define PASSWORD_OPTION(field, key_text, help_text)                                        \
	{                                                                                  \
		.key = (key_text), .type = SETTING_TEXT, ARGV, AT(field), .value = "FILE", \
		.help = (help_text)                                                        \
	}
#define PASSWORD_HELP \
	"Read the password from FILE's first line ('-': standard input), not from the terminal"
#define ROLE_OPTION(help_text)                                                             \
	{                                                                                  \
		.key = "role", .type = SETTING_TEXT, ARGV, AT(role),                       \
		.value = "viewer|operator|admin", .check = check_role, .help = (help_text) \
	}
#define LIFE_OPTION(preset_text)                                                      \
	{                                                                             \
		.key = "expires", .type = SETTING_TEXT, ARGV, AT(expires),            \
		.preset = (preset_text), .value = "TIME", .check = check_expires,     \
		.help = "How long the token is good: 90s, 30m, 12h, 7d; at most 366d" \
	}

static const struct setting login_options[] = {
	PASSWORD_OPTION(password_file, "password-file", PASSWORD_HELP),
	LIFE_OPTION("30d"),
};

#define OWN_PASSWORD_OPTION                                                                     \
	PASSWORD_OPTION(old_password_file, "old-password-file",                                 \
			"Read one's own password, which is needed when one is logged in, from " \
			"FILE's first line ('-': standard input), not from the terminal")

static const struct setting operator_add_options[] = {
	ROLE_OPTION("What the operator may do"),
	PASSWORD_OPTION(password_file, "password-file", PASSWORD_HELP),
	OWN_PASSWORD_OPTION,
};

static const struct setting operator_options[] = {OWN_PASSWORD_OPTION};

static const struct setting operator_passwd_options[] = {
	PASSWORD_OPTION(
		password_file, "password-file",
		"Read the new password from FILE's first line ('-': standard input), not from the "
		"terminal"),
	OWN_PASSWORD_OPTION,
};

static const struct setting access_token_options[] = {
	ROLE_OPTION("What may be done with it; default: the owner's role"),
	LIFE_OPTION("90d"),
	{.key = "operator",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(operator),
	 .value = "NAME",
	 .check = check_image,
	 .help = "Whose it is to be, with the file operator.token; else one's own"},
	PASSWORD_OPTION(password_file, "password-file", PASSWORD_HELP),
};

static const struct setting audit_options[] = {
	{.key = "since",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(since),
	 .value = "TIME",
	 .check = check_since,
	 .help = "From then on: a time ago (90s, 12h, 7d) or a date (2026-01-31, '2026-01-31 13:00')"},
	{.key = "follow",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(follow),
	 .help = "Go on printing what is added"},
};

#define PLACE_OPTION(key_text, field, start, value_text, help_text)                          \
	{                                                                                    \
		.key = (key_text), .type = SETTING_TEXT, ARGV, AT(field), .preset = (start), \
		.value = (value_text), .check = vmdef_check_text, .help = (help_text)        \
	}
static const struct setting vmdef_options[] = {
	{.key = "format",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(format),
	 .preset = "xl",
	 .value = "xl",
	 .check = vmdef_check_format,
	 .help = "For which hypervisor"},
	{.key = "type",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(type),
	 .preset = "hvm",
	 .value = "hvm|pv|pvh",
	 .check = vmdef_check_type,
	 .help = "Kind of Xen guest; hvm starts whatever a physical machine starts"},
	{.key = "name",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(name),
	 .value = "NAME",
	 .check = check_image,
	 .help = "Name of the VM; that of the image if not given"},
	{.key = "from-disk",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(from_disk),
	 .help = "pv, pvh: the definition for when the image is on the disk"},
	{.key = "memory",
	 .type = SETTING_SIZE,
	 ARGV,
	 AT(vm_memory),
	 .min = 512ull << 20,
	 .max = 64ull << 40,
	 .value = "SIZE",
	 .help = "Memory of the VM; that of the machine if not given"},
	{.key = "vcpus",
	 .type = SETTING_U64,
	 ARGV,
	 AT(vcpus),
	 .min = 1,
	 .max = 512,
	 .value = "N",
	 .help = "Processors of the VM; as many as the machine had if not given"},
	{.key = "keep-mac",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(keep_mac),
	 .help = "Give the VM the machine's own MAC addresses: not while both are on one network"},
	PLACE_OPTION("bridge", bridge, "xenbr0", "NAME", "Bridge of the host for its cards"),
	PLACE_OPTION("disks", folder, "/var/lib/xen/images", "DIR",
		     "Folder of the host for its disks"),
	PLACE_OPTION("medium", medium, "/var/lib/xen/images/hoist.iso", "FILE",
		     "hvm: the boot medium on the host"),
	PLACE_OPTION("kernel", kernel, "/var/lib/xen/images/hoist/vmlinuz", "FILE",
		     "pv, pvh: the kernel of the live image on the host"),
	PLACE_OPTION(
		"ramdisk", ramdisk, "/var/lib/xen/images/hoist/initrd.img", "FILE",
		"pv, pvh: the initramfs with the personalised settings behind it, both from the netboot folder"),
};

/* The agent's own table judges the values when they are added. */
#define NET_OPTION(key_text, field, value_text, help_text)                                       \
	{                                                                                        \
		.key = (key_text), .type = SETTING_LIST, ARGV, AT(field), .value = (value_text), \
		.help = (help_text)                                                              \
	}
static const struct setting iso_options[] = {
	{.key = "in",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(in),
	 .value = "FILE",
	 .help = "Boot medium to start from"},
	{.key = "download",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(download),
	 .value = "NAME",
	 .help = "Start from a boot medium that the server has (hoist media lists them)"},
	{.key = "out",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(out),
	 .value = "FILE",
	 .help = "Medium to write, readable by you alone"},
	{.key = "set",
	 .type = SETTING_LIST,
	 ARGV,
	 AT(set),
	 .value = "KEY=VALUE",
	 .help = "Any further setting of the live image, as on its kernel line without 'hoist.'"},
	NET_OPTION("ip", ip, "SPEC",
		   "Addresses of the live image, as dracut.cmdline(7) has them: eth0:dhcp, or "
		   "ADDRESS::GATEWAY:NETMASK::INTERFACE:none; may be repeated, as the next four"),
	NET_OPTION("vlan", vlan, "NAME:DEVICE", "A VLAN: vlan5:eth0"),
	NET_OPTION("bond", bond, "NAME:SLAVES:OPTIONS", "A bond: bond0:eth0,eth1:mode=802.3ad"),
	NET_OPTION("nameserver", nameserver, "ADDRESS", "A name server"),
	NET_OPTION("route", route, "NET/NETMASK:GATEWAY", "A route"),
	{.key = "ssh-key",
	 .type = SETTING_LIST,
	 ARGV,
	 AT(ssh_keys),
	 .value = "FILE",
	 .help = "Public keys, as in a file .pub or authorized_keys, of those who may log in to the "
		 "live image by SSH; without one nothing listens there"},
	{.key = "add",
	 .type = SETTING_LIST,
	 ARGV,
	 AT(add),
	 .value = "FILE",
	 .help = "Archive (cpio or tar, also compressed) of firmware or kernel modules that the "
		 "medium is to have as well"},
	{.key = "token",
	 .type = SETTING_TEXT,
	 ARGV | SETTING_SECRET,
	 AT(token),
	 .value = "TOKEN",
	 .help = "Enrolment token for the medium; '-' reads it from standard input"},
	{.key = "new-token",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(new_token),
	 .help = "Let the server make an enrolment token for the medium"},
	TOKEN_OPTIONS("100", "30d"),
	{.key = "show",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(show),
	 .value = "FILE",
	 .help = "Print the settings of a medium and what was added to it instead"},
	{.key = "secrets",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(secrets),
	 .help = "With --show: print secrets too"},
	{.key = "reset",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(reset),
	 .value = "FILE",
	 .help = "Remove the settings of a medium and what was added to it instead, in place"},
};

/* ---- commands */

#define OPTIONS(o) .options = (o), .options_len = LEN(o)
#define ALL	   (TAKES_SERVER | TAKES_JSON)

const struct command commands[] = {
	{
		.name = "machines",
		.operands = "",
		.summary = "List the machines that have registered",
		.text = "Lists every machine that has registered, with its state: idle (ready for "
			"a job), busy, or away (not heard of for a minute).",
		.takes = ALL,
		.run = cmd_machines,
	},
	{
		.name = "machine show",
		.operands = "MACHINE",
		.summary = "Show a machine, its disks and what is on them",
		.text = "MACHINE is the machine's id, a beginning of it, or its name if only one "
			"machine bears it.\n"
			"The ids of the disks are what --disk of capture and restore wants, their "
			"fingerprints what --overwrite wants.",
		.takes = ALL,
		.operands_min = 1,
		.operands_max = 1,
		.run = cmd_machine_show,
	},
	{
		.name = "machine forget",
		.operands = "MACHINE",
		.summary = "Forget a machine; it needs a token to register again",
		.text = "Its images stay. A machine with a job that has not ended is not forgotten.",
		.takes = ALL,
		.operands_min = 1,
		.operands_max = 1,
		.run = cmd_machine_forget,
	},
	{
		.name = "pairings",
		.operands = "",
		.summary = "List the machines that show a pairing code",
		.text = "A machine booted from a medium that was made for no server shows a pairing "
			"code, and waits until it is confirmed here. Those that were confirmed, "
			"rejected, or had a wrong code typed are listed until they expire. KNOWN: a "
			"machine with this id has registered before.",
		.takes = ALL,
		OPTIONS(pairings_options),
		.run = cmd_pairings,
	},
	{
		.name = "pair",
		.operands = "MACHINE CODE",
		.summary = "Confirm a machine by the code on its screen",
		.text = "MACHINE as for 'machine show'; the screen says the whole command. CODE is "
			"the twelve digits there, in any groups: six that this server has too, which "
			"shows that nobody is between it and the machine, and six that only the "
			"screen has, by which the machine knows that whoever confirms has seen it.\n"
			"A wrong code ends the pairing, and the machine shows a new one. When a code "
			"that was surely typed right is called wrong, somebody is between: look at the "
			"network before anything else.",
		.example = "hoist pair 4c4c4544 482 913 207 551",
		.takes = ALL,
		.operands_min = 2,
		.operands_max = 5,
		OPTIONS(pair_options),
		.run = cmd_pair,
	},
	{
		.name = "pairing reject",
		.operands = "MACHINE",
		.summary = "Reject a machine that shows a pairing code",
		.text = "Its screen says so, and it asks again after a quarter of an hour at the "
			"earliest.",
		.takes = ALL,
		.operands_min = 1,
		.operands_max = 1,
		.run = cmd_pairing_reject,
	},
	{
		.name = "images",
		.operands = "",
		.summary = "List the images",
		.text = "Lists the images with their number of versions, the latest version and the "
			"size of its disks.",
		.takes = ALL,
		.run = cmd_images,
	},
	{
		.name = "image show",
		.operands = "IMAGE[@VERSION]",
		.summary = "Show an image's versions, or a version's disks",
		.text = "With --json and a version: the manifest.",
		.takes = ALL,
		.operands_min = 1,
		.operands_max = 1,
		.run = cmd_image_show,
	},
	{
		.name = "image verify",
		.operands = "IMAGE[@VERSION]",
		.summary = "Read and hash everything that an image is made of",
		.text = "The server reads, decodes and hashes every chunk of the version (the latest "
			"when none is named). What is damaged is named in the job's message.",
		.example = "hoist image verify web1 --wait",
		.takes = ALL | TAKES_WAIT,
		.operands_min = 1,
		.operands_max = 1,
		.run = cmd_image_verify,
	},
	{
		.name = "image rm",
		.operands = "IMAGE[@VERSION]",
		.summary = "Remove a version, or an image",
		.text = "Without a version the whole image is removed; if it has several versions "
			"only with --all. The room is given back by 'hoist gc'.",
		.takes = ALL,
		.operands_min = 1,
		.operands_max = 1,
		OPTIONS(image_rm_options),
		.run = cmd_image_rm,
	},
	{
		.name = "vmdef",
		.operands = "IMAGE[@VERSION]",
		.summary = "Print the definition of an empty VM for an image",
		.text = "On standard output: a VM with the memory, processors, firmware, disks and "
			"network cards of the machine that was captured (the latest version when none is "
			"named), ready for xl, with what is to be done on the host in its head. Its MAC "
			"addresses are made from its name, the same at each call.",
		.example = "hoist vmdef web1 --bridge xenbr1 >web1.cfg",
		.takes = TAKES_SERVER,
		.operands_min = 1,
		.operands_max = 1,
		OPTIONS(vmdef_options),
		.run = cmd_vmdef,
	},
	{
		.name = "jobs",
		.operands = "",
		.summary = "List the jobs, newest first",
		.text = "Lists the 200 newest jobs.",
		.takes = ALL,
		OPTIONS(jobs_options),
		.run = cmd_jobs,
	},
	{
		.name = "job show",
		.operands = "JOB",
		.summary = "Show a job: its progress, its messages, its report",
		.text = "JOB is the job's id or a beginning of it. With --wait it is followed to its "
			"end, and the exit status tells how it ended.",
		.takes = ALL | TAKES_WAIT,
		.operands_min = 1,
		.operands_max = 1,
		.run = cmd_job_show,
	},
	{
		.name = "job report",
		.operands = "JOB",
		.summary = "Show the report of a job as a page for people",
		.text = "The root of each disk as source, server and target have it, and whether they "
			"agree; writes to the source before and after; what was copied whole, and "
			"why; what could not be read, with the names of files; times, rates, "
			"versions, fix-ups.\n"
			"--json prints what the page is made of.",
		.example = "hoist job report 3f2a --html >report.html",
		.takes = ALL,
		.operands_min = 1,
		.operands_max = 1,
		OPTIONS(report_options),
		.run = cmd_job_report,
	},
	{
		.name = "job cancel",
		.operands = "JOB",
		.summary = "Cancel a job",
		.text = "What a capture has sent stays in the store until 'hoist gc'. A target that a "
			"cancelled restore had begun to write to holds neither the old nor the new, "
			"and nothing starts from it.",
		.takes = ALL,
		.operands_min = 1,
		.operands_max = 1,
		.run = cmd_job_cancel,
	},
	{
		.name = "capture",
		.operands = "MACHINE",
		.summary = "Capture a machine's disks as a new version of an image",
		.text = "The disks are only read. What the server has already is not sent again.\n"
			"What the filesystems call free is left out, where there is no doubt about "
			"it; else the partition is copied whole. 'hoist job show' tells what was "
			"copied how, and why.\n"
			"Of a disk with places that cannot be read all else is copied first, then what can "
			"be saved around them, down to the sector. What is lost is zeros in the image and "
			"listed with it; the job is then 'done with N unreadable bytes', with exit "
			"status 3. Another capture tries these places again.\n"
			"Without --wait the command ends when the server has taken the job.",
		.example = "hoist capture web1 --image web1 --wait",
		.takes = ALL | TAKES_WAIT,
		.operands_min = 1,
		.operands_max = 1,
		OPTIONS(capture_options),
		.run = cmd_capture,
	},
	{
		.name = "restore",
		.operands = "IMAGE[@VERSION] MACHINE",
		.summary = "Write an image onto a machine's disks and verify it",
		.text = "The latest version is taken when none is named. It is refused before the "
			"first byte is written if a target is too small, has another sector size, "
			"is read-only, or holds data that --overwrite does not name.\n"
			"The server's own 'done' means: read back from the target and equal to the "
			"image.",
		.example = "hoist restore web1@3 4c4c4544 --wait",
		.takes = ALL | TAKES_WAIT,
		.operands_min = 2,
		.operands_max = 2,
		OPTIONS(restore_options),
		.run = cmd_restore,
	},
	{
		.name = "token create",
		.operands = "",
		.summary = "Make a token with which machines may register",
		.text = "The token alone goes to standard output; it cannot be shown again. A "
			"machine registers with it once, and comes back without using it up.\nWith --job the "
			"server orders that job for a machine when the token lets it in, once: 'capture' goes "
			"into an image named after the machine and the first digits of its id; 'restore' writes to empty disks alone. Where it "
			"cannot be done, the server's log says why, and the machine waits for orders.",
		.example = "hoist token create --uses 20 --expires 7d --note 'hall 3'",
		.takes = ALL,
		OPTIONS(token_options),
		.run = cmd_token_create,
	},
	{
		.name = "token list",
		.operands = "",
		.summary = "List the enrolment tokens",
		.text = "Lists the tokens by their ids, never the tokens themselves.",
		.takes = ALL,
		.run = cmd_token_list,
	},
	{
		.name = "token revoke",
		.operands = "ID",
		.summary = "Revoke an enrolment token",
		.text = "Nobody can register with it any more. Machines that did stay registered; "
			"'hoist machine forget' is for them.",
		.takes = ALL,
		.operands_min = 1,
		.operands_max = 1,
		.run = cmd_token_revoke,
	},
	{
		.name = "login",
		.operands = "[NAME]",
		.summary = "Log in, so that later commands need no token file",
		.text = "Asks for the password of operator NAME (default: $USER) and keeps a token in "
			"~/.config/hoist/tokens, readable by you alone and used for this server only. It "
			"is listed by 'hoist access-token list' under this machine's name. On a machine "
			"that has no configuration yet give --server and --pin, or write them there.",
		.example = "hoist login alice --server hoist.example.org --pin FINGERPRINT",
		.takes = TAKES_SERVER,
		.operands_max = 1,
		OPTIONS(login_options),
		.run = cmd_login,
	},
	{
		.name = "logout",
		.operands = "",
		.summary = "Revoke and forget the token of 'hoist login'",
		.text = "Afterwards commands use what they used before: a token file, or the server's data "
			"folder.",
		.takes = TAKES_SERVER,
		.run = cmd_logout,
	},
	{
		.name = "whoami",
		.operands = "",
		.summary = "Show as whom, and with which role, commands are done",
		.text = "'(operator.token)' is whoever has the file of that name in the server's data "
			"folder, who may do everything.",
		.takes = ALL,
		.run = cmd_whoami,
	},
	{
		.name = "operator add",
		.operands = "NAME",
		.summary = "Add an operator, with a role and a password",
		.text = "A viewer sees machines, images and jobs. An operator also captures, restores, "
			"cancels, lets machines in and forgets them. An admin also removes images, looks "
			"after operators, and reads the audit log.\n"
			"A password has 10 to 128 bytes. It is asked for, or read from a file, and never "
			"taken from the command line.",
		.example = "hoist operator add alice --role operator",
		.takes = ALL,
		.operands_min = 1,
		.operands_max = 1,
		OPTIONS(operator_add_options),
		.run = cmd_operator_add,
	},
	{
		.name = "operator list",
		.operands = "",
		.summary = "List the operators and their roles",
		.text = "Who has the file operator.token is not among them.",
		.takes = ALL,
		.run = cmd_operator_list,
	},
	{
		.name = "operator role",
		.operands = "NAME ROLE",
		.summary = "Give an operator another role",
		.text = "Ends the operator's sessions, and revokes the tokens that are above the new role.",
		.takes = ALL,
		.operands_min = 2,
		.operands_max = 2,
		OPTIONS(operator_options),
		.run = cmd_operator_role,
	},
	{
		.name = "operator passwd",
		.operands = "[NAME]",
		.summary = "Change a password: one's own, or as an admin another's",
		.text = "Without NAME one's own, which takes the present one too. Ends the operator's "
			"sessions; tokens stay until they expire or are revoked.",
		.takes = ALL,
		.operands_max = 1,
		OPTIONS(operator_passwd_options),
		.run = cmd_operator_passwd,
	},
	{
		.name = "operator remove",
		.operands = "NAME",
		.summary = "Remove an operator, with sessions and tokens",
		.text = "What was done stays in the audit log under that name.",
		.takes = ALL,
		.operands_min = 1,
		.operands_max = 1,
		OPTIONS(operator_options),
		.run = cmd_operator_remove,
	},
	{
		.name = "access-token create",
		.operands = "NAME",
		.summary = "Make a token for a program, with a role of its own",
		.text = "Takes the password: a token makes no further ones. The token alone goes to "
			"standard output; it cannot be shown again. A program gives it by --token-file. "
			"Tokens with which machines register are another thing: 'hoist token create'.",
		.example = "hoist access-token create nightly --role viewer >token",
		.takes = ALL,
		.operands_min = 1,
		.operands_max = 1,
		OPTIONS(access_token_options),
		.run = cmd_access_token_create,
	},
	{
		.name = "access-token list",
		.operands = "",
		.summary = "List one's tokens; an admin sees everybody's",
		.text = "By their ids, never the tokens themselves. USED is exact to a minute.",
		.takes = ALL,
		.run = cmd_access_token_list,
	},
	{
		.name = "access-token revoke",
		.operands = "ID",
		.summary = "Revoke a token, from now on",
		.text = "One's own; an admin anybody's.",
		.takes = ALL,
		.operands_min = 1,
		.operands_max = 1,
		.run = cmd_access_token_revoke,
	},
	{
		.name = "audit",
		.operands = "",
		.summary = "Show who did what, and what was refused",
		.text = "The last 500 entries, or all since a time: when, who, from where, what, and how it went. The "
			"server keeps 100,000 entries of what was done and 10,000 of what was refused, and "
			"nobody can change one.",
		.example = "hoist audit --since 7d",
		.takes = ALL,
		OPTIONS(audit_options),
		.run = cmd_audit,
	},
	{
		.name = "server info",
		.operands = "",
		.summary = "Show the server: version, fingerprint, store, load",
		.text = "Also a way to try address, fingerprint and token. Machines that were heard by "
			"broadcast are listed whether or not they have registered: that is where to look "
			"when one does not come.",
		.takes = ALL,
		.run = cmd_server_info,
	},
	{
		.name = "gc",
		.operands = "",
		.summary = "Give back the room of what no image needs any more",
		.text = "Nothing that an image needs is touched. What a capture that is under way "
			"had sent before may go, where its index does not name it yet: it sends "
			"that again by itself.",
		.takes = ALL | TAKES_WAIT,
		.run = cmd_gc,
	},
	{
		.name = "media",
		.operands = "",
		.summary = "List the boot files that the server has",
		.text = "Those of the folder that hoist-server --media names. 'hoist iso --download' "
			"gets one with settings in it; with hoist-server --boot machines fetch them "
			"over the network.",
		.takes = ALL,
		.run = cmd_media,
	},
	{
		.name = "iso",
		.operands = "",
		.summary = "Make a boot medium that knows its server",
		.text = "Copies the boot medium --in to --out and writes settings into the place "
			"that it reserves for them; nothing is rebuilt. Address and fingerprint are "
			"those of the server that the other options name; of a server that is "
			"found by --data only the fingerprint is written, and machines find it by "
			"broadcast.\n"
			"A machine booted from it registers with no question asked. Whoever has the "
			"medium has its token. The note of one made by --new-token is, without "
			"--note, 'medium' and the name of the file: 'hoist token list' shows which "
			"one to revoke when the medium is lost.\n"
			"With --ssh-key, which may be repeated, whoever has one of those keys is root "
			"on every machine that boots the medium, for as long as it runs: 'ssh "
			"root@ADDRESS'. The machine's screen shows the fingerprint of its host key, a "
			"new one at each start. All disks are set read-only; root can undo that.\n"
			"--add gives the medium firmware (lib/firmware/...) or modules "
			"(lib/modules/RELEASE/...) that it has not got, as its console names them: "
			"modules for its very kernel, and with Secure Boot signed by a key that the "
			"machine knows. What was added before stays, and so do the settings when "
			"none are named. For starting from the network --in is added.img.",
		.example = "hoist iso --in hoist.iso --out hall3.iso --new-token --uses 20",
		.takes = ALL,
		OPTIONS(iso_options),
		.run = cmd_iso,
	},
	{
		.name = "completion",
		.operands = "bash",
		.summary = "Print a completion script for the shell",
		.text = "For bash: hoist completion bash >/etc/bash_completion.d/hoist",
		.operands_min = 1,
		.operands_max = 1,
		.run = cmd_completion,
	},
};
const size_t commands_len = LEN(commands);

static void append(struct setting *buf, size_t *len, const struct setting *s, size_t n)
{
	if (n)
		memcpy(buf + *len, s, n * sizeof(*s));
	*len += n;
}

struct setting_table command_options(const struct command *cmd,
				     struct setting buf[static COMMAND_OPTIONS_MAX])
{
	size_t len = 0;

	_Static_assert(LEN(connection) + 2 + LEN(iso_options) <= COMMAND_OPTIONS_MAX,
		       "room for the longest list");
	append(buf, &len, cmd->options, cmd->options_len);
	if (cmd->takes & TAKES_WAIT)
		append(buf, &len, wait_option, LEN(wait_option));
	if (cmd->takes & TAKES_JSON)
		append(buf, &len, json_option, LEN(json_option));
	if (cmd->takes & TAKES_SERVER)
		append(buf, &len, connection, LEN(connection));
	return (struct setting_table){buf, len};
}

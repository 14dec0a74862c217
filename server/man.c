#include "server/man.h"

#include "common/man.h"
#include "server/config.h"

static const struct man_part parts[] = {
	{"DESCRIPTION",
	 "Finds the machines that were booted from Hoist's medium, keeps images of their disks, and gives "
	 "images to other machines. Operators talk to it with hoist(1), machines with hoist-agent(8).\n"
	 "Needs no privileges. At its first start it makes a key; whoever connects pins that key by its "
	 "fingerprint, which is printed at each start. There is no certificate authority, and the "
	 "certificate's dates do not count.",
	 NULL},
	{"OPTIONS", NULL, &config_table},
	{"OUTPUT",
	 "On standard output, one line each, once it is true:\n"
	 "  fingerprint FINGERPRINT\n"
	 "  operator-token FILE\n"
	 "  listening https://ADDR:PORT\n"
	 "  booting http://ADDR:PORT\n"
	 "  ready\n"
	 "The log goes to standard error: time, level, event, and key=value pairs.",
	 NULL},
	{"SIGNALS", "SIGTERM and SIGINT end it; jobs go on after the next start.", NULL},
	{"FILES",
	 "In the data folder, all readable by its owner alone:\n"
	 "operator.token: a token that may do everything, one line. To change it, replace the file and restart.\n"
	 "server.json: address and fingerprint, for hoist --data.\n"
	 "key.pem, cert.pem: the server's identity. Who loses key.pem has to tell all machines and operators "
	 "the new fingerprint; whoever else has it can pass for the server.\n"
	 "state.db: machines, tokens, jobs, operators, the audit log. If it is lost, or put back from a backup, images are found again from the store. "
	 "After a backup was put back, what was revoked, removed or lowered since it was made is good again (enrolment tokens, operators, their passwords and tokens): "
	 "revoke, remove and change it once more.\n"
	 "store: packs, indexes and manifests, each named by its own hash. store/objects.db is a cache that "
	 "--rebuild-index makes anew.",
	 NULL},
	{"EXIT STATUS", "0 after a signal; 1 when it could not start or go on; 2 for wrong usage.",
	 NULL},
	{"SEE ALSO", "hoist(1), hoist-agent(8)", NULL},
};

void server_print_man(FILE *f)
{
	static const struct man_page page = {
		.name = "hoist-server",
		.section = 8,
		.summary = "find machines, keep their images, give them to other machines",
		.synopsis = "hoist-server --data DIR [OPTION]...",
		.parts = parts,
		.parts_len = sizeof(parts) / sizeof(parts[0]),
	};

	man_print(&page, f);
}

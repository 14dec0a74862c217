#include "agent/man.h"

#include "agent/config.h"
#include "agent/inventory.h"
#include "agent/network/network.h"
#include "agent/ssh/ssh.h"
#include "agent/usage/map.h"
#include "common/man.h"

static const struct man_part parts[] = {
	{"DESCRIPTION",
	 "Runs on the machine whose disks are captured or restored: in Hoist's live image, or on any Linux. "
	 "A disk that is captured is opened for reading only and set read-only while it is read.",
	 NULL},
	{"COMMANDS", NULL, NULL},
	{"hoist-agent run",
	 "Finds the server, registers this machine, and does what is ordered there. Ends only when told to.\n"
	 "Settings come from the kernel line (hoist.KEY=VALUE), from a file of lines KEY=VALUE, and from the "
	 "command line, which counts most. In the live image the file is /hoist.d/settings, which 'hoist iso' "
	 "writes onto the medium; there the kernel line counts more than the file.",
	 &agent_config_table},
	{"hoist-agent inventory",
	 "Lists this machine's disks and what is on them, its firmware, memory and network cards. Nothing is "
	 "written to any disk.",
	 &inventory_table},
	{"hoist-agent map DEVICE...",
	 "Prints what a capture would copy of the disks (devices or plain files), and why. Nothing is written "
	 "to any disk. All disks of a volume group or array are to be named together.",
	 &map_table},
	{"hoist-agent network",
	 "Sets up the network of the live image, and keeps it so: DHCP on every wired card, or what the lines ip, "
	 "vlan, bond, nameserver, route and ifname say, on the kernel line or in the settings of the medium. "
	 "docs/image.md has their syntax, which is that of dracut.cmdline(7). Whatever fails is tried again for as "
	 "long as it takes. At SIGHUP everything is read anew.",
	 &network_table},
	{"hoist-agent ssh",
	 "Runs an SSH server in the live image, Debian's dropbear, if there are lines ssh-key= in the settings of the "
	 "medium, and does not let it end: those whose public keys they hold may log in as root, by key alone. Nothing "
	 "is forwarded. The host key is made at each start of the machine; its fingerprint stands on the screen and on "
	 "the serial line. Every disk is set read-only before anybody is let in.",
	 &ssh_table},
	{"EXAMPLE",
	 "Plain files in place of disks, without privileges:\n"
	 "  hoist-agent run --server https://127.0.0.1:4647 --pin FINGERPRINT \\\n"
	 "      --token TOKEN --disk a.img --disk b.img",
	 NULL},
	{"EXIT STATUS",
	 "0 done; 1 failed; 2 wrong usage; 3 (run --once) done, with bytes that could not be read.",
	 NULL},
	{"SEE ALSO", "hoist(1), hoist-server(8)", NULL},
};

void agent_print_man(FILE *f)
{
	static const struct man_page page = {
		.name = "hoist-agent",
		.section = 8,
		.summary = "capture or restore the disks of this machine as a server orders",
		.synopsis = "hoist-agent COMMAND [OPTION]...",
		.parts = parts,
		.parts_len = sizeof(parts) / sizeof(parts[0]),
	};

	man_print(&page, f);
}

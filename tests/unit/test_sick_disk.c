/* Which states of a disk are its end, and which pass. */
#include "agent/sick_disk.h"
#include "tests/unit/tap.h"

int main(void)
{
	static const char *const alive[] = {"running", "quiesce",   "blocked",
					    "created", "live",	    "created-blocked",
					    "new",     "resetting", "connecting"};
	static const char *const dead[] = {"offline",  "transport-offline", "cancel", "deleted",
					   "deleting", "deleting (no IO)",  "dead"};

	for (size_t i = 0; i < sizeof(alive) / sizeof(*alive); i++)
		ok(!sick_disk_is_dead(alive[i]), alive[i]);
	for (size_t i = 0; i < sizeof(dead) / sizeof(*dead); i++)
		ok(sick_disk_is_dead(dead[i]), dead[i]);
	return done();
}

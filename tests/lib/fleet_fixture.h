/* fleet_fixture.h - a server without its HTTP: state, store and fleet in a folder of their own, two machines, and what tests of the fleet do again and
 * again.  What cannot fail in a test that is right aborts, with the sentence as a TAP comment. */
#ifndef TESTS_LIB_FLEET_FIXTURE_H
#define TESTS_LIB_FLEET_FIXTURE_H
#include <stdbool.h>
#include <stddef.h>

#include "common/json.h"
#include "server/fleet/private.h"
#include "tests/lib/store_fixture.h"

#define MACHINE_A "0000000000000000000000000000000a"
#define MACHINE_B "0000000000000000000000000000000b"

extern struct state *fixture_state;
extern struct store *fixture_store;
extern struct fleet *fixture_fleet;
extern struct sample
	*fixture_sample;       /* what is captured; a test may put another one in its place */
extern struct err fixture_err; /* of the last that failed */
extern char fixture_state_path[128];

/* At the next start: of the store's files, and of the state. */
extern files_fault_fn fixture_fault;
extern bool fixture_state_is_full;

/* All of it, with the packs of the sample in the store and both machines registered; and its end. */
void fixture_begin_fleet(void);
void fixture_end_fleet(void);
void fixture_open_fleet(void);
void fixture_close_fleet(void);
/* All that is not on disk is lost; what a killed server would have written later, too. */
void fixture_restart(void);
/* The state takes nothing any more, as on a disk that is full. */
void fixture_fill_state(bool is_full);
void fixture_enrol(const char *machine);

/* A capture into the image "web" is ordered. */
void fixture_order(const char *machine, char ret_job[static JOB_ID_SIZE]);
/* And done, all but `done`. */
void fixture_capture(const char *machine, const char *id);
/* The report of an agent: of one disk, by `disk_key` "disk" or "target", that its `key` is this root. */
json_t *fixture_say_root(const char *disk_key, const char *key, const struct id *root);
/* The agent says that a capture is done, as it has read it. */
int fixture_says_done(const char *machine, const char *id);
bool fixture_shows(const char *id, const char *want_state, int want_version);
/* Of the image "web". */
size_t fixture_versions(void);
/* In the store. */
size_t fixture_manifests(void);
/* A job without a machine, to its end, of which fixture_reason is what was said.  True: it is done. */
bool fixture_does(const char *kind);
extern char fixture_reason[512];
#endif

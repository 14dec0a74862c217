/* Migrations: schema[v] leads from version v to v + 1.  One that was released is never changed (docs/database.md). */
#include "common/cleanup.h"
#include "server/state/sqlite.h"

#define APPLICATION_ID "1215261043" /* "Hois" */

static const char schema_1[] =
	"CREATE TABLE machines("
	" id TEXT PRIMARY KEY, name TEXT NOT NULL, agent_version TEXT NOT NULL,"
	" address TEXT NOT NULL, first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL,"
	" secret_hash BLOB, inventory TEXT NOT NULL) STRICT;"

	"CREATE TABLE tokens("
	" id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, note TEXT NOT NULL,"
	" uses INTEGER NOT NULL, uses_left INTEGER NOT NULL, created INTEGER NOT NULL,"
	" expires INTEGER, revoked INTEGER NOT NULL) STRICT;"

	"CREATE TABLE token_machines("
	" token TEXT NOT NULL REFERENCES tokens(id), machine TEXT NOT NULL, at INTEGER NOT NULL,"
	" PRIMARY KEY(token, machine)) STRICT, WITHOUT ROWID;"

	"CREATE TABLE images("
	" name TEXT PRIMARY KEY, created INTEGER NOT NULL, last_version INTEGER NOT NULL) STRICT;"

	"CREATE TABLE versions("
	" image TEXT NOT NULL REFERENCES images(name), version INTEGER NOT NULL,"
	" created INTEGER NOT NULL, job TEXT NOT NULL, machine TEXT NOT NULL,"
	" machine_name TEXT NOT NULL, manifest BLOB NOT NULL, size INTEGER NOT NULL,"
	" data_bytes INTEGER NOT NULL, disks TEXT NOT NULL, damaged INTEGER NOT NULL,"
	" removing INTEGER NOT NULL, PRIMARY KEY(image, version)) STRICT, WITHOUT ROWID;"

	"CREATE TABLE jobs("
	" number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,"
	" state TEXT NOT NULL, machine TEXT NOT NULL, machine_name TEXT NOT NULL,"
	" image TEXT NOT NULL, version INTEGER NOT NULL, created INTEGER NOT NULL,"
	" started INTEGER NOT NULL, ended INTEGER NOT NULL, end_action TEXT NOT NULL,"
	" level INTEGER NOT NULL, phase TEXT NOT NULL, done INTEGER NOT NULL,"
	" total INTEGER NOT NULL, data INTEGER NOT NULL, sent INTEGER NOT NULL,"
	" code TEXT NOT NULL, message TEXT NOT NULL, seq INTEGER NOT NULL, log TEXT, report TEXT,"
	" manifest TEXT) STRICT;"
	"CREATE INDEX jobs_by_machine ON jobs(machine, number);"
	"CREATE INDEX jobs_active ON jobs(state) WHERE state IN ('waiting', 'running');"

	"CREATE TABLE job_disks("
	" job TEXT NOT NULL REFERENCES jobs(id), n INTEGER NOT NULL, disk TEXT NOT NULL,"
	" size INTEGER NOT NULL, fingerprint BLOB, overwrite INTEGER NOT NULL,"
	" begun INTEGER NOT NULL, partial INTEGER NOT NULL, source_disk TEXT NOT NULL,"
	" source_size INTEGER NOT NULL, source_sector_size INTEGER NOT NULL,"
	" source_physical_sector_size INTEGER NOT NULL, root BLOB, data_bytes INTEGER NOT NULL,"
	" unreadable_bytes INTEGER NOT NULL, sealed INTEGER NOT NULL, PRIMARY KEY(job, n)"
	") STRICT, WITHOUT ROWID;"

	"CREATE TABLE events("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, event TEXT NOT NULL,"
	" machine TEXT NOT NULL, job TEXT NOT NULL, text TEXT NOT NULL) STRICT;"

	"PRAGMA application_id = " APPLICATION_ID ";";

static const char schema_2[] = "ALTER TABLE jobs ADD COLUMN all_blocks INTEGER NOT NULL DEFAULT 0;"
			       "ALTER TABLE jobs ADD COLUMN skipped INTEGER NOT NULL DEFAULT 0;";

/* The triggers keep the log from every statement but those of state_add_audit(). */
static const char schema_3[] =
	"CREATE TABLE operators("
	" name TEXT PRIMARY KEY, role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),"
	" password TEXT NOT NULL, created INTEGER NOT NULL, changed INTEGER NOT NULL) STRICT;"

	"CREATE TABLE credentials("
	" id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE,"
	" operator TEXT NOT NULL REFERENCES operators(name) ON DELETE CASCADE,"
	" session INTEGER NOT NULL, name TEXT NOT NULL,"
	" role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),"
	" address TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,"
	" used INTEGER NOT NULL) STRICT;"
	"CREATE INDEX credentials_by_operator ON credentials(operator, session);"

	"CREATE TABLE audit("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, refused INTEGER NOT NULL, n INTEGER NOT NULL,"
	" at INTEGER NOT NULL, who TEXT NOT NULL, credential TEXT NOT NULL, address TEXT NOT NULL,"
	" action TEXT NOT NULL, object TEXT NOT NULL, result TEXT NOT NULL, UNIQUE(refused, n)) STRICT;"
	"CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN"
	" SELECT RAISE(ABORT, 'the audit log is not changed'); END;"
	"CREATE TRIGGER audit_kept BEFORE DELETE ON audit"
	" WHEN OLD.n > (SELECT max(n) FROM audit WHERE refused = OLD.refused)"
	" - CASE OLD.refused WHEN 0 THEN 100000 ELSE 10000 END BEGIN"
	" SELECT RAISE(ABORT, 'the audit log is kept'); END;";

static const char schema_4[] = "ALTER TABLE machines ADD COLUMN former_hash BLOB;";

static const char schema_5[] =
	"ALTER TABLE jobs ADD COLUMN unreadable INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE jobs ADD COLUMN rescue_seconds INTEGER NOT NULL DEFAULT -1;"
	"ALTER TABLE jobs ADD COLUMN rescue_area_seconds INTEGER NOT NULL DEFAULT -1;"
	"ALTER TABLE jobs ADD COLUMN rescue_retries INTEGER NOT NULL DEFAULT -1;"
	"UPDATE jobs SET unreadable = (SELECT coalesce(sum(unreadable_bytes), 0) FROM job_disks"
	" WHERE job = jobs.id);";

static const char schema_6[] =
	"ALTER TABLE tokens ADD COLUMN job TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE token_machines ADD COLUMN owed INTEGER NOT NULL DEFAULT 0;";

static const char schema_7[] =
	"ALTER TABLE machines ADD COLUMN displaced_hash BLOB;"
	"ALTER TABLE machines ADD COLUMN displaced_former BLOB;"
	"ALTER TABLE machines ADD COLUMN displaced_job TEXT NOT NULL DEFAULT '';";

static const char schema_8[] =
	"ALTER TABLE job_disks ADD COLUMN released INTEGER NOT NULL DEFAULT 0;";

static const char *const schema[] = {schema_1, schema_2, schema_3, schema_4,
				     schema_5, schema_6, schema_7, schema_8};
#define SCHEMA_VERSION ((int64_t)(sizeof(schema) / sizeof(schema[0])))

static int read_number(struct state *s, const char *sql, int64_t *ret, struct err *err)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	int r = sql_prepare(s, &st, err, sql, "");

	if (r == 0)
		r = sql_step(s, st, err);
	if (r < 0)
		return r;
	*ret = r ? sqlite3_column_int64(st, 0) : 0;
	return 0;
}

static int apply(struct state *s, int64_t from, struct err *err)
{
	char version[48];
	int r = sql_begin(s, err);

	if (r < 0)
		return r;
	(void)sqlite3_snprintf(sizeof(version), version, "PRAGMA user_version = %lld", from + 1);
	if (sqlite3_exec(s->db, schema[from], NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_exec(s->db, version, NULL, NULL, NULL) != SQLITE_OK)
		r = sql_error(s, err, "bring the schema up to date");
	return sql_end(s, r, err);
}

int schema_migrate(struct state *s, bool *ret_new, struct err *err)
{
	int64_t version, tables, application;
	int r = read_number(s, "PRAGMA user_version", &version, err);

	if (r == 0)
		r = read_number(s, "SELECT count(*) FROM sqlite_schema", &tables, err);
	if (r == 0)
		r = read_number(s, "PRAGMA application_id", &application, err);
	if (r < 0)
		return r;
	if (version > SCHEMA_VERSION) {
		return err_set(err, -EPROTO,
			       "its schema has version %lld, this server knows up to %lld: "
			       "start a newer hoist-server",
			       (long long)version, (long long)SCHEMA_VERSION);
	}
	if (tables > 0 && (version == 0 || application != strtoll(APPLICATION_ID, NULL, 10)))
		return err_set(err, -EPROTO, "it is a database of another program");
	*ret_new = version == 0;
	for (; version < SCHEMA_VERSION; version++) {
		r = apply(s, version, err);
		if (r < 0)
			return r;
	}
	return 0;
}

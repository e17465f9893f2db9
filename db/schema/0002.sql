-- Data transfers of ALG sessions, and what such sessions leave for the next start. Never edited after a release.

-- One row per data connection that ended. Times are milliseconds since 1970 UTC; `bytes` are those of the payload, in the transfer's
-- direction ('up': client to server, 'down', or NULL). `data` is both ends of the data connection as far as known.
CREATE TABLE transfer (
	seq        INTEGER PRIMARY KEY,
	id         TEXT NOT NULL UNIQUE,
	session    TEXT,
	node       TEXT,
	alg        TEXT,
	protocol   TEXT,
	client     TEXT,
	server     TEXT,
	data       TEXT,
	user       TEXT,
	verb       TEXT,
	path       TEXT,
	direction  TEXT,
	started_ms INTEGER NOT NULL,
	ended_ms   INTEGER,
	bytes      INTEGER NOT NULL,
	code       INTEGER NOT NULL,
	is_ok      INTEGER NOT NULL,
	data_path  TEXT,
	rule       TEXT,
	cause      TEXT
) STRICT;

-- The order of lists, and the place a page cursor names: of all, and of one session.
CREATE INDEX transfer_by_start ON transfer (started_ms, id);
CREATE INDEX transfer_by_session ON transfer (session, started_ms, id);

-- One row per data connection that may outlive the process, in the form that algs/ chose.
CREATE TABLE live_data (
	id    TEXT NOT NULL UNIQUE,
	state TEXT NOT NULL
) STRICT;

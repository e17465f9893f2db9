-- Call records and live calls. Never edited after a release: the next change is 0002.sql.

-- One row per call attempt. A rowid table, because a record is larger than the quarter page that a WITHOUT ROWID row may
-- keep in its leaf. `id` makes a repeated write of the same record harmless. Times are milliseconds since 1970 UTC.
-- `streams` is a JSON array written with its record: one row instead of five per call. Each stream is an array without names,
-- half as long: [index, side, kind, local, signalled, latched, path, packets, bytes, lost, dropped, rtcp_packets, jitter_us].
-- Packets lost per path: SELECT value ->> 6, sum(value ->> 9) FROM cdr, json_each(streams) GROUP BY 1. (Not a view: with
-- trusted_schema=OFF a view may not call the JSON functions.)
CREATE TABLE cdr (
	seq             INTEGER PRIMARY KEY,
	id              TEXT NOT NULL UNIQUE,
	node            TEXT,
	config_revision INTEGER NOT NULL,
	started_ms      INTEGER NOT NULL,
	ringing_ms      INTEGER,
	answered_ms     INTEGER,
	ended_ms        INTEGER,
	status          INTEGER NOT NULL,
	ended_by        TEXT,
	cause           TEXT,
	reason          TEXT,
	a_realm         TEXT,
	a_peer          TEXT,
	a_call_id       TEXT,
	a_local_tag     TEXT,
	a_remote_tag    TEXT,
	a_from_uri      TEXT,
	a_to_uri        TEXT,
	a_request_uri   TEXT,
	a_signalling    TEXT,
	a_user_agent    TEXT,
	b_realm         TEXT,
	b_peer          TEXT,
	b_call_id       TEXT,
	b_local_tag     TEXT,
	b_remote_tag    TEXT,
	b_from_uri      TEXT,
	b_to_uri        TEXT,
	b_request_uri   TEXT,
	b_signalling    TEXT,
	b_user_agent    TEXT,
	streams         TEXT NOT NULL,
	decision        TEXT NOT NULL
) STRICT;

-- The order of lists, and the place a page cursor names.
CREATE INDEX cdr_by_start ON cdr (started_ms, id);

-- One row per call that is up, in the form that sbc/ chose.
CREATE TABLE live (
	id    TEXT NOT NULL UNIQUE,
	state TEXT NOT NULL
) STRICT;

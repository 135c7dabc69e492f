CREATE TABLE jobs (
	number    INTEGER NOT NULL,
	idx       INTEGER NOT NULL, -- of an element; -1: the job itself, or the array
	seq       INTEGER NOT NULL, -- of the last change
	state     TEXT    NOT NULL,
	done      INTEGER NOT NULL,
	submitted INTEGER NOT NULL, -- Unix time in milliseconds; so is the next
	ended     INTEGER NOT NULL, -- 0: not yet
	words     TEXT    NOT NULL, -- what is searched, in lower case; '' of elements
	spec      BLOB,             -- NULL of elements
	status    BLOB    NOT NULL,
	PRIMARY KEY (number, idx)
) WITHOUT ROWID;
CREATE UNIQUE INDEX jobs_seq ON jobs (seq);
CREATE INDEX jobs_live ON jobs (number, idx) WHERE done = 0;
CREATE INDEX jobs_top ON jobs (number) WHERE idx < 0;
CREATE INDEX jobs_state ON jobs (state, number) WHERE idx < 0;

-- A submit that is said again has the first one's number.
CREATE TABLE uuids (uuid TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX uuids_number ON uuids (number);

CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

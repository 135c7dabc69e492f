CREATE TABLE instances (
  id       TEXT PRIMARY KEY,
  name_key TEXT NOT NULL,
  backend  TEXT NOT NULL,
  doc      TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX instances_name ON instances (backend, name_key);

CREATE TABLE operations (
  id          TEXT PRIMARY KEY,
  instance_id TEXT NOT NULL,
  done        INTEGER NOT NULL,
  created     TEXT NOT NULL,
  doc         TEXT NOT NULL
) STRICT;
CREATE INDEX operations_unfinished ON operations (created) WHERE done = 0;

CREATE TABLE events (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  time        TEXT NOT NULL,
  instance_id TEXT NOT NULL,
  doc         TEXT NOT NULL
) STRICT;

CREATE TABLE settings (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

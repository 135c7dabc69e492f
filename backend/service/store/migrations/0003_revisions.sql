-- A revision per record: a write carries the one that its writer saw. What is there has been written once.
ALTER TABLE instances ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
ALTER TABLE operations ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;

-- What features keep of an instance, which goes with it.
CREATE TABLE documents (
  instance_id TEXT NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
  kind        TEXT NOT NULL,
  revision    INTEGER NOT NULL,
  doc         TEXT NOT NULL,
  PRIMARY KEY (instance_id, kind)
) STRICT, WITHOUT ROWID;

-- It stood in the instance's own document: its fields keep their names and move. A document that can't be read is left
-- as it is, to be said when it is read.
CREATE TEMP TABLE moved (field TEXT PRIMARY KEY, kind TEXT NOT NULL);
INSERT INTO moved VALUES ('setup_id', 'setup'), ('setup_profiles', 'setup'), ('setup_script', 'setup'),
  ('setup_failed', 'setup'), ('unfinished', 'setup'), ('told', 'attention'), ('acknowledged', 'attention'),
  ('muted', 'attention'), ('idle_day', 'idle'), ('last_figures', 'figures');
INSERT INTO documents (instance_id, kind, revision, doc)
  SELECT i.id, m.kind, 1, json_group_object(f.key, json(i.doc -> f.fullkey))
  FROM instances i, json_each(CASE WHEN json_valid(i.doc) THEN i.doc ELSE '{}' END) f JOIN moved m ON m.field = f.key
  GROUP BY i.id, m.kind;
UPDATE instances SET doc = json_remove(doc, '$.setup_id', '$.setup_profiles', '$.setup_script', '$.setup_failed',
  '$.unfinished', '$.told', '$.acknowledged', '$.muted', '$.idle_day', '$.last_figures')
  WHERE id IN (SELECT instance_id FROM documents);
DROP TABLE moved;

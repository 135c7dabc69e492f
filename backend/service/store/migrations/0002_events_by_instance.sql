-- The events screen of one instance reads them newest first.
CREATE INDEX events_instance ON events (instance_id, seq);

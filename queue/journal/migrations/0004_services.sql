-- Services stand in no list of jobs.
ALTER TABLE jobs ADD COLUMN service INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_services ON jobs (number) WHERE service = 1;

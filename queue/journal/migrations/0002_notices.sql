-- Jobs and arrays that are done, of which somebody is to be told: who, their status says.
CREATE TABLE notices (number INTEGER PRIMARY KEY, due INTEGER NOT NULL); -- Unix time in milliseconds
CREATE INDEX notices_due ON notices (due);

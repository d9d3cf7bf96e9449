-- Outcomes that are sent once: what says the same of the same request or entity is stored a single time, however often it is sent, so that a
-- table can be sent again after it grew, or after the sending was cut off.

ALTER TABLE outcome ADD COLUMN fingerprint TEXT COLLATE "C";

CREATE UNIQUE INDEX outcome_once ON outcome (endpoint, fingerprint) WHERE fingerprint IS NOT NULL;

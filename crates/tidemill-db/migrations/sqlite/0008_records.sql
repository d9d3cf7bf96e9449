-- The inference log. A segment is a file of records that became Parquet; its parts are those files in the store. Both are
-- written in one transaction, so that the records of a segment are counted exactly once.

CREATE TABLE record_segment (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    rolled_at INTEGER NOT NULL
) STRICT;

CREATE TABLE record_part (
    id INTEGER PRIMARY KEY,
    segment_id INTEGER NOT NULL REFERENCES record_segment (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    hour INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    row_count INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    digest TEXT NOT NULL,
    versions TEXT NOT NULL,
    UNIQUE (segment_id, number)
) STRICT;

CREATE INDEX record_part_by_time ON record_part (endpoint, hour);
CREATE INDEX record_part_by_digest ON record_part (digest);

-- What became known of a request later: a label, an amount. Kept whether a record fits or not.
CREATE TABLE outcome (
    id INTEGER PRIMARY KEY,
    endpoint TEXT NOT NULL,
    name TEXT NOT NULL,
    request_id TEXT,
    row_number INTEGER,
    entity TEXT,
    occurred_at INTEGER,
    number REAL,
    text TEXT,
    received_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    is_late INTEGER NOT NULL,
    matched_id TEXT,
    matched_row INTEGER,
    matched_at INTEGER,
    tested_part INTEGER NOT NULL
) STRICT;

CREATE INDEX outcome_by_state ON outcome (endpoint, state, id);
CREATE INDEX outcome_by_match ON outcome (endpoint, matched_id, matched_row, name);
CREATE INDEX outcome_by_match_time ON outcome (endpoint, matched_at);

-- What triggers start, and how far each of their sources has been read.

CREATE TABLE job (
    id INTEGER PRIMARY KEY,
    project TEXT NOT NULL,
    trigger_name TEXT NOT NULL,
    actions TEXT NOT NULL,
    details TEXT NOT NULL,
    state TEXT NOT NULL,
    dedupe TEXT NOT NULL,
    cause INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    owner TEXT,
    lease_until INTEGER,
    stop_as TEXT,
    created_at INTEGER NOT NULL,
    run_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    reason TEXT,
    UNIQUE (project, dedupe)
) STRICT;

CREATE INDEX job_by_state ON job (project, state, id);
CREATE INDEX job_by_trigger ON job (project, trigger_name, id);

-- What is not in the log, because it is no change of state: events that wait for more of their kind.
CREATE TABLE trigger_pending (
    project TEXT NOT NULL,
    trigger_name TEXT NOT NULL,
    pending TEXT NOT NULL,
    PRIMARY KEY (project, trigger_name)
) STRICT;

-- Up to which event a reader of the log has acted.
CREATE TABLE log_cursor (
    consumer TEXT NOT NULL PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT;

-- Up to where a source has been read; written together with the event that came of it.
CREATE TABLE source_offset (
    project TEXT NOT NULL,
    source TEXT NOT NULL,
    part TEXT NOT NULL,
    position TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (project, source, part)
) STRICT;

-- Deliveries that have acted, so that they do not act again.
CREATE TABLE source_delivery (
    project TEXT NOT NULL,
    source TEXT NOT NULL,
    delivery TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (project, source, delivery)
) STRICT;

CREATE INDEX source_delivery_by_time ON source_delivery (at);

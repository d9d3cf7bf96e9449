-- Times are milliseconds UTC, digests and JSON are text, flags are 0 or 1.

CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    cause INTEGER,
    leaf TEXT NOT NULL
) STRICT;
CREATE INDEX event_subject ON event (subject, seq);
CREATE INDEX event_kind ON event (kind, seq);

CREATE TRIGGER event_no_update BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END;
CREATE TRIGGER event_no_delete BEFORE DELETE ON event
BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END;

CREATE TABLE log_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL,
    root TEXT NOT NULL,
    frontier TEXT NOT NULL
) STRICT;
INSERT INTO log_head (id, size, root, frontier)
VALUES (1, 0, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', '');

CREATE TABLE log_checkpoint (
    size INTEGER PRIMARY KEY,
    root TEXT NOT NULL,
    node TEXT NOT NULL
) STRICT;

CREATE TABLE dataset (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE dataset_version (
    dataset_id INTEGER NOT NULL REFERENCES dataset (id),
    version INTEGER NOT NULL,
    content TEXT NOT NULL,
    kind TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    files INTEGER NOT NULL,
    row_count INTEGER,
    schema TEXT,
    source TEXT NOT NULL,
    message TEXT,
    created_at INTEGER NOT NULL,
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    PRIMARY KEY (dataset_id, version)
) STRICT;

CREATE TABLE pipeline_run (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    state TEXT NOT NULL,
    plan TEXT NOT NULL,
    commit_sha TEXT,
    lock_digest TEXT,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    cause INTEGER,
    owner_host TEXT NOT NULL,
    owner_pid INTEGER NOT NULL,
    owner_boot TEXT NOT NULL,
    owner_started INTEGER NOT NULL
) STRICT;
CREATE INDEX pipeline_run_started ON pipeline_run (started_at, id);
CREATE INDEX pipeline_run_state ON pipeline_run (state);

CREATE TABLE step_run (
    run_id TEXT NOT NULL REFERENCES pipeline_run (id) ON DELETE CASCADE,
    step TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    cache_key TEXT NOT NULL,
    state TEXT NOT NULL,
    exit_code INTEGER,
    outputs TEXT,
    log TEXT,
    started_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    reason TEXT,
    PRIMARY KEY (run_id, step, attempt)
) STRICT;
CREATE INDEX step_run_key ON step_run (cache_key);

CREATE TABLE step_cache (
    cache_key TEXT NOT NULL PRIMARY KEY,
    outputs TEXT NOT NULL,
    run_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    used_at INTEGER NOT NULL
) STRICT;

CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL,
    name TEXT NOT NULL,
    last_step INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    last_value REAL,
    last_is_nan INTEGER NOT NULL,
    point_count INTEGER NOT NULL,
    UNIQUE (run_id, name)
) STRICT;

CREATE TABLE point (
    id INTEGER PRIMARY KEY,
    series_id INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    at INTEGER NOT NULL,
    value REAL,
    is_nan INTEGER NOT NULL
) STRICT;
CREATE INDEX point_series ON point (series_id, step);

-- Traces with their spans and assessments, and evaluation datasets. Times are milliseconds UTC, those of spans
-- nanoseconds. The columns `name` and `session` of a trace repeat a tag and an entry of its metadata, so that charts
-- and lists need no join.

CREATE TABLE trace (
    id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    experiment_id INTEGER NOT NULL REFERENCES experiment (id) ON DELETE CASCADE,
    client_request_id TEXT,
    name TEXT,
    session TEXT,
    state TEXT NOT NULL,
    at INTEGER NOT NULL,
    duration INTEGER,
    request_preview TEXT,
    response_preview TEXT,
    is_final INTEGER NOT NULL,
    input_tokens INTEGER,
    output_tokens INTEGER,
    total_tokens INTEGER,
    cache_read_tokens INTEGER,
    cache_write_tokens INTEGER,
    cache_write_long_tokens INTEGER,
    input_cost REAL,
    output_cost REAL,
    total_cost REAL
) STRICT;
CREATE INDEX trace_newest ON trace (experiment_id, at DESC, uuid);
CREATE INDEX trace_session ON trace (session);

CREATE TABLE trace_tag (
    trace_id INTEGER NOT NULL REFERENCES trace (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (trace_id, key)
) STRICT;
-- The beginning of the value only: an index entry has a largest size on PostgreSQL.
CREATE INDEX trace_tag_value ON trace_tag (key, substr(value, 1, 64), trace_id);

CREATE TABLE trace_metadata (
    trace_id INTEGER NOT NULL REFERENCES trace (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (trace_id, key)
) STRICT;
CREATE INDEX trace_metadata_value ON trace_metadata (key, substr(value, 1, 64), trace_id);

-- What a trace is linked to: runs, and versions of prompts as `name/version`.
CREATE TABLE trace_link (
    trace_id INTEGER NOT NULL REFERENCES trace (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    target TEXT NOT NULL,
    PRIMARY KEY (trace_id, kind, target)
) STRICT;
CREATE INDEX trace_link_target ON trace_link (kind, target, trace_id);

CREATE TABLE span (
    trace_id INTEGER NOT NULL REFERENCES trace (id) ON DELETE CASCADE,
    span_id TEXT NOT NULL,
    parent TEXT,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER,
    model TEXT,
    provider TEXT,
    input_tokens INTEGER,
    output_tokens INTEGER,
    total_tokens INTEGER,
    cache_read_tokens INTEGER,
    cache_write_tokens INTEGER,
    cache_write_long_tokens INTEGER,
    input_cost REAL,
    output_cost REAL,
    total_cost REAL,
    body TEXT NOT NULL,
    PRIMARY KEY (trace_id, span_id)
) STRICT;

CREATE TABLE assessment (
    id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    trace_id INTEGER NOT NULL REFERENCES trace (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    number REAL,
    is_number INTEGER NOT NULL,
    error TEXT,
    source_kind TEXT NOT NULL,
    source TEXT,
    run_uuid TEXT,
    span_id TEXT,
    rationale TEXT,
    overrides TEXT,
    is_valid INTEGER NOT NULL,
    metadata TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX assessment_trace ON assessment (trace_id, created_at);
CREATE INDEX assessment_name ON assessment (name, kind, trace_id);

CREATE TABLE evaluation_dataset (
    id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    schema TEXT,
    profile TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    created_by TEXT,
    updated_by TEXT
) STRICT;
CREATE INDEX evaluation_dataset_created ON evaluation_dataset (created_at, uuid);

CREATE TABLE evaluation_dataset_tag (
    dataset_id INTEGER NOT NULL REFERENCES evaluation_dataset (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (dataset_id, key)
) STRICT;

CREATE TABLE evaluation_dataset_experiment (
    dataset_id INTEGER NOT NULL REFERENCES evaluation_dataset (id) ON DELETE CASCADE,
    experiment_id INTEGER NOT NULL REFERENCES experiment (id) ON DELETE CASCADE,
    PRIMARY KEY (dataset_id, experiment_id)
) STRICT;
CREATE INDEX evaluation_dataset_experiment_of ON evaluation_dataset_experiment (experiment_id, dataset_id);

-- Records are told apart by the SHA-256 of their inputs.
CREATE TABLE evaluation_record (
    id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    dataset_id INTEGER NOT NULL REFERENCES evaluation_dataset (id) ON DELETE CASCADE,
    input_hash TEXT NOT NULL,
    inputs TEXT NOT NULL,
    outputs TEXT,
    expectations TEXT,
    tags TEXT,
    source TEXT,
    source_kind TEXT NOT NULL,
    source_id TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    created_by TEXT,
    updated_by TEXT,
    UNIQUE (dataset_id, input_hash)
) STRICT;
CREATE INDEX evaluation_record_created ON evaluation_record (dataset_id, created_at, uuid);

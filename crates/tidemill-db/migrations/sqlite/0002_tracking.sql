-- Experiments, tracked runs and logged models. Series of metrics now belong to a tracked run by its number, which
-- keeps the two largest tables small; nothing wrote series before.

CREATE TABLE experiment (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    artifact_location TEXT NOT NULL,
    stage TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE experiment_tag (
    experiment_id INTEGER NOT NULL REFERENCES experiment (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (experiment_id, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    experiment_id INTEGER NOT NULL REFERENCES experiment (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    user_name TEXT NOT NULL,
    status TEXT NOT NULL,
    stage TEXT NOT NULL,
    artifact_uri TEXT NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    deleted_at INTEGER
) STRICT;
CREATE INDEX run_started ON run (experiment_id, stage, started_at, uuid);

CREATE TABLE run_param (
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run_id, key)
) STRICT, WITHOUT ROWID;
-- The beginning of the value only: an index entry has a largest size on PostgreSQL.
CREATE INDEX run_param_value ON run_param (key, substr(value, 1, 64), run_id);

CREATE TABLE run_tag (
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_tag_value ON run_tag (key, substr(value, 1, 64), run_id);

DROP TABLE point;
DROP TABLE series;

-- The newest point of each series stands here: the greatest by step, time and value. `ordered` is 1 as long as its
-- points have the same order by step and by time, so that one index gives both.
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    last_step INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    last_value REAL,
    last_is_nan INTEGER NOT NULL,
    ordered INTEGER NOT NULL,
    UNIQUE (run_id, name)
) STRICT;
CREATE INDEX series_value ON series (name, last_value, run_id);

-- `value` is the number's bits as an integer of the same order, with NaN just below zero: a point is its own key, so
-- the same one is stored once.
CREATE TABLE point (
    series_id INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    at INTEGER NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (series_id, step, at, value)
) STRICT, WITHOUT ROWID;

CREATE TABLE input_dataset (
    id INTEGER PRIMARY KEY,
    experiment_id INTEGER NOT NULL REFERENCES experiment (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    source_type TEXT NOT NULL,
    source TEXT NOT NULL,
    schema TEXT,
    profile TEXT,
    UNIQUE (experiment_id, name, digest)
) STRICT;

CREATE TABLE run_input (
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    dataset_id INTEGER NOT NULL REFERENCES input_dataset (id) ON DELETE CASCADE,
    tags TEXT NOT NULL,
    PRIMARY KEY (run_id, dataset_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_input_dataset ON run_input (dataset_id, run_id);

CREATE TABLE logged_model (
    id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    experiment_id INTEGER NOT NULL REFERENCES experiment (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    model_type TEXT NOT NULL,
    status TEXT NOT NULL,
    status_message TEXT,
    stage TEXT NOT NULL,
    source_run TEXT,
    artifact_uri TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX logged_model_created ON logged_model (experiment_id, stage, created_at, uuid);
CREATE INDEX logged_model_run ON logged_model (source_run);

CREATE TABLE logged_model_param (
    model_id INTEGER NOT NULL REFERENCES logged_model (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model_id, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE logged_model_tag (
    model_id INTEGER NOT NULL REFERENCES logged_model (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model_id, key)
) STRICT, WITHOUT ROWID;

-- Metrics that were logged with a `model_id`: the newest of each (model, key, dataset, run).
CREATE TABLE logged_model_metric (
    model_id INTEGER NOT NULL REFERENCES logged_model (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    dataset_name TEXT NOT NULL,
    dataset_digest TEXT NOT NULL,
    run_uuid TEXT NOT NULL,
    step INTEGER NOT NULL,
    at INTEGER NOT NULL,
    value REAL,
    is_nan INTEGER NOT NULL,
    PRIMARY KEY (model_id, key, dataset_name, dataset_digest, run_uuid)
) STRICT, WITHOUT ROWID;

-- Which logged models a run read (`input`) or made (`output`).
CREATE TABLE run_model (
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    direction TEXT NOT NULL,
    model_uuid TEXT NOT NULL,
    step INTEGER NOT NULL,
    PRIMARY KEY (run_id, direction, model_uuid)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_model_model ON run_model (model_uuid);

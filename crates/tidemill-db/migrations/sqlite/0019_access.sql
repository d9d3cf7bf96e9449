-- Users with passwords, their roles, and what a role permits. Numbers are taken from `access_revision`, which counts the
-- changes of all of it, so that no number is given twice and a server sees that another one changed something.

CREATE TABLE access_revision (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL
) STRICT;
INSERT INTO access_revision (id, revision) VALUES (1, 0);

CREATE TABLE access_user (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    password TEXT NOT NULL,
    admin INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- A role with an owner holds what was granted to that user alone.
CREATE TABLE access_role (
    id INTEGER PRIMARY KEY,
    workspace TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    owner_id INTEGER REFERENCES access_user (id) ON DELETE CASCADE,
    UNIQUE (workspace, name)
) STRICT;
CREATE INDEX access_role_owner ON access_role (owner_id);

CREATE TABLE access_grant (
    id INTEGER PRIMARY KEY,
    role_id INTEGER NOT NULL REFERENCES access_role (id) ON DELETE CASCADE,
    resource_type TEXT NOT NULL,
    resource_pattern TEXT NOT NULL,
    permission TEXT NOT NULL,
    UNIQUE (role_id, resource_type, resource_pattern)
) STRICT;
CREATE INDEX access_grant_resource ON access_grant (resource_type, resource_pattern);

CREATE TABLE access_member (
    id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES access_user (id) ON DELETE CASCADE,
    role_id INTEGER NOT NULL REFERENCES access_role (id) ON DELETE CASCADE,
    UNIQUE (user_id, role_id)
) STRICT;
CREATE INDEX access_member_role ON access_member (role_id);

-- Of metrics that were logged with a `model_id` every point is kept.
CREATE TABLE logged_model_point (
    model_id INTEGER NOT NULL REFERENCES logged_model (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    dataset_name TEXT NOT NULL,
    dataset_digest TEXT NOT NULL,
    run_uuid TEXT NOT NULL,
    step INTEGER NOT NULL,
    at INTEGER NOT NULL,
    value REAL,
    is_nan INTEGER NOT NULL,
    PRIMARY KEY (model_id, key, at, step, run_uuid, dataset_name, dataset_digest)
) STRICT, WITHOUT ROWID;
INSERT INTO logged_model_point (model_id, key, dataset_name, dataset_digest, run_uuid, step, at, value, is_nan)
SELECT model_id, key, dataset_name, dataset_digest, run_uuid, step, at, value, is_nan FROM logged_model_metric;
DROP TABLE logged_model_metric;
ALTER TABLE logged_model_point RENAME TO logged_model_metric;

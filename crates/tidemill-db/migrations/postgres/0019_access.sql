-- Users with passwords, their roles, and what a role permits. Numbers are taken from `access_revision`, which counts the
-- changes of all of it, so that no number is given twice and a server sees that another one changed something.

CREATE TABLE access_revision (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    revision BIGINT NOT NULL
);
INSERT INTO access_revision (id, revision) VALUES (1, 0);

CREATE TABLE access_user (
    id BIGINT PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    password TEXT COLLATE "C" NOT NULL,
    admin BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

-- A role with an owner holds what was granted to that user alone.
CREATE TABLE access_role (
    id BIGINT PRIMARY KEY,
    workspace TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    owner_id BIGINT REFERENCES access_user (id) ON DELETE CASCADE,
    UNIQUE (workspace, name)
);
CREATE INDEX access_role_owner ON access_role (owner_id);

CREATE TABLE access_grant (
    id BIGINT PRIMARY KEY,
    role_id BIGINT NOT NULL REFERENCES access_role (id) ON DELETE CASCADE,
    resource_type TEXT COLLATE "C" NOT NULL,
    resource_pattern TEXT COLLATE "C" NOT NULL,
    permission TEXT COLLATE "C" NOT NULL,
    UNIQUE (role_id, resource_type, resource_pattern)
);
CREATE INDEX access_grant_resource ON access_grant (resource_type, resource_pattern);

CREATE TABLE access_member (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES access_user (id) ON DELETE CASCADE,
    role_id BIGINT NOT NULL REFERENCES access_role (id) ON DELETE CASCADE,
    UNIQUE (user_id, role_id)
);
CREATE INDEX access_member_role ON access_member (role_id);

-- Of metrics that were logged with a `model_id` every point is kept.
ALTER TABLE logged_model_metric DROP CONSTRAINT logged_model_metric_pkey;
ALTER TABLE logged_model_metric
    ADD PRIMARY KEY (model_id, key, at, step, run_uuid, dataset_name, dataset_digest);

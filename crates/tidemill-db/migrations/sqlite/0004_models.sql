-- Registered models with their versions, tags and aliases; webhooks and what is to be delivered to them.

CREATE TABLE registered_model (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    description TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE registered_model_tag (
    model_id INTEGER NOT NULL REFERENCES registered_model (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model_id, key)
) STRICT;
CREATE INDEX registered_model_tag_value ON registered_model_tag (key, substr(value, 1, 64), model_id);

-- A deleted version stays as a row of stage `Deleted_Internal`, so that its number is never used again.
CREATE TABLE model_version (
    id INTEGER PRIMARY KEY,
    model_id INTEGER NOT NULL REFERENCES registered_model (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    stage TEXT NOT NULL,
    description TEXT,
    user_name TEXT,
    source TEXT NOT NULL,
    storage_location TEXT,
    run_uuid TEXT,
    run_link TEXT,
    logged_model TEXT,
    content TEXT,
    status TEXT NOT NULL,
    status_message TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (model_id, version)
) STRICT;
CREATE INDEX model_version_run ON model_version (run_uuid);
CREATE INDEX model_version_updated ON model_version (updated_at);

CREATE TABLE model_version_tag (
    version_id INTEGER NOT NULL REFERENCES model_version (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (version_id, key)
) STRICT;
CREATE INDEX model_version_tag_value ON model_version_tag (key, substr(value, 1, 64), version_id);

CREATE TABLE model_alias (
    model_id INTEGER NOT NULL REFERENCES registered_model (id) ON DELETE CASCADE,
    alias TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (model_id, alias)
) STRICT;
CREATE INDEX model_alias_version ON model_alias (model_id, version);

CREATE TABLE webhook (
    id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    description TEXT,
    url TEXT NOT NULL,
    secret TEXT,
    status TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE webhook_event (
    webhook_id INTEGER NOT NULL REFERENCES webhook (id) ON DELETE CASCADE,
    entity TEXT NOT NULL,
    action TEXT NOT NULL,
    PRIMARY KEY (webhook_id, entity, action)
) STRICT;
CREATE INDEX webhook_event_kind ON webhook_event (entity, action);

-- Written in the transaction of the change that it tells of. `next_at` is when it is tried (again); a server that
-- tries it moves that time ahead first, so that no other one does the same.
CREATE TABLE webhook_delivery (
    id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    webhook_id INTEGER NOT NULL REFERENCES webhook (id) ON DELETE CASCADE,
    entity TEXT NOT NULL,
    action TEXT NOT NULL,
    data TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    outcome TEXT
) STRICT;
CREATE INDEX webhook_delivery_next ON webhook_delivery (state, next_at);
CREATE INDEX webhook_delivery_webhook ON webhook_delivery (webhook_id);

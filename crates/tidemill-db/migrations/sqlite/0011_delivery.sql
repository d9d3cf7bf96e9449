-- Delivery: releases, how they get their requests, and what keeps them from it. A rollout's state is a fold over its inputs; the
-- snapshot beside them is what the fold came to, written in the same transaction as the input.

CREATE TABLE release (
    digest TEXT NOT NULL PRIMARY KEY,
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL
) STRICT;

CREATE INDEX release_by_model ON release (model, version);

CREATE TABLE rollout (
    id INTEGER PRIMARY KEY,
    endpoint TEXT NOT NULL,
    environment TEXT NOT NULL,
    candidate TEXT NOT NULL REFERENCES release (digest),
    incumbent TEXT REFERENCES release (digest),
    plan TEXT NOT NULL,
    state TEXT NOT NULL,
    phase TEXT NOT NULL,
    is_waiting INTEGER NOT NULL,
    is_over INTEGER NOT NULL,
    inputs INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE INDEX rollout_by_endpoint ON rollout (environment, endpoint, is_over);
CREATE INDEX rollout_by_over ON rollout (is_over, id);

-- Everything that a rollout's state depends on, in order.
CREATE TABLE rollout_input (
    rollout_id INTEGER NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (rollout_id, number)
) STRICT;

CREATE TABLE rollout_transition (
    rollout_id INTEGER NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    from_phase TEXT NOT NULL,
    to_phase TEXT NOT NULL,
    stage INTEGER NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (rollout_id, number)
) STRICT;

CREATE TABLE approval (
    id INTEGER PRIMARY KEY,
    rollout_id INTEGER NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
    actor TEXT NOT NULL,
    role TEXT NOT NULL,
    inputs TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE INDEX approval_by_rollout ON approval (rollout_id, id);

CREATE TABLE gate_result (
    id INTEGER PRIMARY KEY,
    rollout_id INTEGER NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
    gate TEXT NOT NULL,
    passed INTEGER NOT NULL,
    detail TEXT NOT NULL,
    evidence TEXT,
    at INTEGER NOT NULL
) STRICT;

CREATE INDEX gate_result_by_rollout ON gate_result (rollout_id, id);

-- What an environment runs at an endpoint.
CREATE TABLE environment (
    name TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    release TEXT NOT NULL REFERENCES release (digest),
    rollout_id INTEGER NOT NULL REFERENCES rollout (id),
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (name, endpoint)
) STRICT;

CREATE TABLE quarantine (
    release TEXT NOT NULL REFERENCES release (digest),
    environment TEXT NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (release, environment)
) STRICT;

-- `from_at` and `until_at` as they were set; a freeze that was lifted is not here any more (`freeze` is a word of PostgreSQL), the log tells of it.
CREATE TABLE traffic_freeze (
    id INTEGER PRIMARY KEY,
    endpoint TEXT,
    reason TEXT NOT NULL,
    owner TEXT NOT NULL,
    from_at INTEGER NOT NULL,
    until_at INTEGER
) STRICT;

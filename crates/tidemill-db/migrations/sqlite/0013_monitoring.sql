-- Monitoring: what is watched at endpoints, the windows that were judged, alerts, and who is still to be told of them. A window is
-- judged once: it is written together with what is remembered of its series, on top of the revision that the verdict was based on.

CREATE TABLE monitor_set (
    endpoint TEXT NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL,
    digest TEXT NOT NULL,
    body TEXT NOT NULL,
    declared_at INTEGER NOT NULL
) STRICT;

-- How far the inference log of an endpoint was read. Follows from the log and may be made again.
CREATE TABLE monitor_stream (
    endpoint TEXT NOT NULL PRIMARY KEY,
    low_at INTEGER NOT NULL,
    is_dated INTEGER NOT NULL,
    watermark INTEGER NOT NULL
) STRICT;

CREATE TABLE monitor_series (
    endpoint TEXT NOT NULL,
    watch TEXT NOT NULL,
    revision INTEGER NOT NULL,
    memory TEXT NOT NULL,
    PRIMARY KEY (endpoint, watch)
) STRICT;

CREATE TABLE monitor_window (
    id INTEGER PRIMARY KEY,
    endpoint TEXT NOT NULL,
    watch TEXT NOT NULL,
    from_at INTEGER NOT NULL,
    to_at INTEGER NOT NULL,
    evaluated_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    model TEXT,
    version TEXT,
    predictions INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    profile TEXT,
    UNIQUE (endpoint, watch, from_at, to_at)
) STRICT;

CREATE INDEX monitor_window_by_profile ON monitor_window (profile);

CREATE TABLE alert (
    id INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    watch TEXT NOT NULL,
    monitor TEXT NOT NULL,
    state TEXT NOT NULL,
    since_at INTEGER NOT NULL,
    fired_at INTEGER,
    ended_at INTEGER,
    why TEXT NOT NULL,
    at_risk REAL,
    currency TEXT,
    window_id INTEGER NOT NULL REFERENCES monitor_window (id)
) STRICT;

CREATE INDEX alert_by_fingerprint ON alert (fingerprint, id);
CREATE INDEX alert_by_state ON alert (state, id);

-- The outbox. A receiver is written with the names of its secrets, never with what they hold.
CREATE TABLE alert_delivery (
    id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    endpoint TEXT NOT NULL,
    receiver TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    outcome TEXT
) STRICT;

CREATE INDEX alert_delivery_by_state ON alert_delivery (state, next_at);

-- Endpoints of serving: what each is declared to do now, and every declaration that it ever had.

CREATE TABLE endpoint (
    name TEXT NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL,
    spec TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- Stays when the endpoint is deleted, which is a revision without a declaration, so that revisions of one name only grow.
CREATE TABLE endpoint_revision (
    endpoint TEXT NOT NULL,
    revision INTEGER NOT NULL,
    spec TEXT,
    at INTEGER NOT NULL,
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    PRIMARY KEY (endpoint, revision)
) STRICT;

-- Endpoints of serving: what each is declared to do now, and every declaration that it ever had.

CREATE TABLE endpoint (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL,
    spec TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Stays when the endpoint is deleted, which is a revision without a declaration, so that revisions of one name only grow.
CREATE TABLE endpoint_revision (
    endpoint TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    spec TEXT COLLATE "C",
    at BIGINT NOT NULL,
    actor_kind TEXT COLLATE "C" NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (endpoint, revision)
);

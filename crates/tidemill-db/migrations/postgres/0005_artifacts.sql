-- Files that were logged: a path below the root of the artifact proxy names content of the store. Folders are not
-- stored; they are what paths have in common up to a slash.

CREATE TABLE artifact (
    path TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    digest TEXT COLLATE "C" NOT NULL,
    bytes BIGINT NOT NULL,
    sha256 TEXT COLLATE "C",
    updated_at BIGINT NOT NULL
);

-- Files that arrive in parts, until they are complete or given up.
CREATE TABLE artifact_upload (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    path TEXT COLLATE "C" NOT NULL,
    part_count BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE artifact_part (
    upload_id TEXT COLLATE "C" NOT NULL REFERENCES artifact_upload (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (upload_id, number)
);

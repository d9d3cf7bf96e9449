-- Files that were logged: a path below the root of the artifact proxy names content of the store. Folders are not
-- stored; they are what paths have in common up to a slash.

CREATE TABLE artifact (
    path TEXT NOT NULL PRIMARY KEY,
    digest TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    sha256 TEXT,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Files that arrive in parts, until they are complete or given up.
CREATE TABLE artifact_upload (
    id TEXT NOT NULL PRIMARY KEY,
    path TEXT NOT NULL,
    part_count INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE artifact_part (
    upload_id TEXT NOT NULL REFERENCES artifact_upload (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    digest TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (upload_id, number)
) STRICT;

-- Profiles of stored tables, kept by what they describe.

CREATE TABLE profile (
    content TEXT NOT NULL,
    form TEXT NOT NULL,
    digest TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (content, form)
) STRICT;

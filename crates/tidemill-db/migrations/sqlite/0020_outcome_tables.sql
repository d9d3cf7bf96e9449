-- Versions of datasets that a project declares as outcomes of an endpoint, and what became of their rows. A version is read once for each
-- declaration. One whose reading was cut off is read again; what it brought are outcomes after the one that was the newest when it began.

CREATE TABLE outcome_table (
    endpoint TEXT NOT NULL,
    dataset TEXT NOT NULL,
    declaration TEXT NOT NULL,
    version INTEGER NOT NULL,
    begun_at INTEGER NOT NULL,
    after_id INTEGER NOT NULL,
    ended_at INTEGER,
    until_id INTEGER,
    row_count INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    known INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    error TEXT,
    PRIMARY KEY (endpoint, dataset, declaration, version)
) STRICT;

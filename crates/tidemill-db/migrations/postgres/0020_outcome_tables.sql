-- Versions of datasets that a project declares as outcomes of an endpoint, and what became of their rows. A version is read once for each
-- declaration. One whose reading was cut off is read again; what it brought are outcomes after the one that was the newest when it began.

CREATE TABLE outcome_table (
    endpoint TEXT COLLATE "C" NOT NULL,
    dataset TEXT COLLATE "C" NOT NULL,
    declaration TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    begun_at BIGINT NOT NULL,
    after_id BIGINT NOT NULL,
    ended_at BIGINT,
    until_id BIGINT,
    row_count BIGINT NOT NULL,
    skipped BIGINT NOT NULL,
    accepted BIGINT NOT NULL,
    known BIGINT NOT NULL,
    rejected BIGINT NOT NULL,
    error TEXT,
    PRIMARY KEY (endpoint, dataset, declaration, version)
);

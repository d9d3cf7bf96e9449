-- Profiles of stored tables, kept by what they describe.

CREATE TABLE profile (
    content TEXT COLLATE "C" NOT NULL,
    form TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (content, form)
);

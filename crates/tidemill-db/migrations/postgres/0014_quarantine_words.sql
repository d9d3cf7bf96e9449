-- Who said that a release may leave its quarantine, while nobody else has said so yet.

CREATE TABLE quarantine_word (
    release TEXT COLLATE "C" NOT NULL,
    environment TEXT COLLATE "C" NOT NULL,
    person TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (release, environment, person),
    FOREIGN KEY (release, environment) REFERENCES quarantine (release, environment) ON DELETE CASCADE
);

-- Who said that a release may leave its quarantine, while nobody else has said so yet.

CREATE TABLE quarantine_word (
    release TEXT NOT NULL,
    environment TEXT NOT NULL,
    person TEXT NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (release, environment, person),
    FOREIGN KEY (release, environment) REFERENCES quarantine (release, environment) ON DELETE CASCADE
) STRICT;

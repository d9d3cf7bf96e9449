-- Windows that were judged are looked at again when outcomes of their requests come later. Of each hour in which requests came it is
-- counted how often outcomes found them; a window knows when its requests came, and what was counted of these hours when it was judged.

CREATE TABLE outcome_hour (
    endpoint TEXT COLLATE "C" NOT NULL,
    hour BIGINT NOT NULL,
    changes BIGINT NOT NULL,
    PRIMARY KEY (endpoint, hour)
);

ALTER TABLE monitor_window ADD COLUMN first_came BIGINT;
ALTER TABLE monitor_window ADD COLUMN last_came BIGINT;
ALTER TABLE monitor_window ADD COLUMN outcomes BIGINT;

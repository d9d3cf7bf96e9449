-- Windows that were judged are looked at again when outcomes of their requests come later. Of each hour in which requests came it is
-- counted how often outcomes found them; a window knows when its requests came, and what was counted of these hours when it was judged.

CREATE TABLE outcome_hour (
    endpoint TEXT NOT NULL,
    hour INTEGER NOT NULL,
    changes INTEGER NOT NULL,
    PRIMARY KEY (endpoint, hour)
) STRICT;

ALTER TABLE monitor_window ADD COLUMN first_came INTEGER;
ALTER TABLE monitor_window ADD COLUMN last_came INTEGER;
ALTER TABLE monitor_window ADD COLUMN outcomes INTEGER;

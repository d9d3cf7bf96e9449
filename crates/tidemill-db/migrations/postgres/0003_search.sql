-- Searches over runs. Those of one experiment are walked by `run_started`, those of many by this index.

CREATE INDEX run_time ON run (started_at, uuid);

-- Runs ordered by their end, and those that have none yet.

CREATE INDEX run_ended ON run (experiment_id, stage, ended_at);

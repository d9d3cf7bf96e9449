-- What an event led to, and the runs of one project.

CREATE INDEX event_cause ON event (cause, seq) WHERE cause IS NOT NULL;
CREATE INDEX pipeline_run_project ON pipeline_run (project, started_at, id);

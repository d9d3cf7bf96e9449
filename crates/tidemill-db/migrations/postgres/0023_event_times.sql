-- How many events there are of a time; times are not quite in the order of the log.

CREATE INDEX event_at ON event (at);

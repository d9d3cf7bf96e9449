-- Further candidates of rollouts with several; the first one stands with the rollout.
CREATE TABLE rollout_rival (
    rollout_id INTEGER NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    release TEXT NOT NULL REFERENCES release (digest),
    PRIMARY KEY (rollout_id, place)
) STRICT;

CREATE INDEX rollout_rival_by_release ON rollout_rival (release, rollout_id);

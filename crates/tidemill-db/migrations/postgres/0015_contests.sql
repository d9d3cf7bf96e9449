-- Further candidates of rollouts with several; the first one stands with the rollout.
CREATE TABLE rollout_rival (
    rollout_id BIGINT NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
    place BIGINT NOT NULL,
    release TEXT COLLATE "C" NOT NULL REFERENCES release (digest),
    PRIMARY KEY (rollout_id, place)
);

CREATE INDEX rollout_rival_by_release ON rollout_rival (release, rollout_id);

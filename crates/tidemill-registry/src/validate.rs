//! Which names and values are allowed, in MLflow's words.

//! Searches over runs, experiments and models: conditions to SQL.

//! Registered models, versions, aliases, stages.

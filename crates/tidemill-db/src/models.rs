//! Registered models, versions, aliases and their history.

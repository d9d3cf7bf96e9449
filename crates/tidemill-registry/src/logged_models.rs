//! Logged models.

//! Traces and their assessments.

//! Trees against an interpreter that knows nothing of layouts.

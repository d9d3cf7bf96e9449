//! Files of runs and logged models, as the web pages ask for them.

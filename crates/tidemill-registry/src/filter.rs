//! The filter language of the searches.

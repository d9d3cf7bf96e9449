//! The searches: filter and order to a query, pages.

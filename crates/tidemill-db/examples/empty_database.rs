//! Writes the empty database that the program carries (`migrations/empty.sqlite.zst`), as the migrations make it:
//! `cargo run -p tidemill-db --example empty_database`. To be run when a migration has been added.

#![allow(clippy::print_stdout, reason = "it says what it wrote")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use tidemill_core::SystemClock;
use tidemill_db::Db;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let made = folder.path().join("made.db");
    // A file is there, so that the migrations are carried out in it.
    fs_err::write(&made, "")?;
    Db::open(&format!("sqlite://{}", made.display()), Arc::new(SystemClock)).await?.close().await?;

    // Copied, its pages lie as if it had been made at once, the same on every machine.
    let copy = folder.path().join("copy.db");
    let connection = Connection::open(&made)?;
    connection.execute("UPDATE migration SET applied_at = 0", [])?;
    connection.execute("VACUUM INTO ?1", [copy.display().to_string()])?;
    drop(connection);
    let connection = Connection::open(&copy)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    drop(connection);

    let bytes = fs_err::read(&copy)?;
    let packed = zstd::bulk::compress(&bytes, 19)?;
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/empty.sqlite.zst");
    fs_err::write(&target, &packed)?;
    println!("{}: {} bytes of {}", target.display(), packed.len(), bytes.len());
    Ok(())
}

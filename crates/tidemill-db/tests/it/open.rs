//! Opening: what is there, what is not, and what must not be touched.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidemill_core::{Hint as _, Quiet, SystemClock};
use tidemill_db::{Db, Error, Options};

use crate::fixture::{Fixture, metric, metrics, on_both, open, pushed, run_id, sqlite};

on_both!(reopened, a_newer_database_is_refused, a_changed_migration_is_refused, opened_by_many_at_once);

async fn try_open(url: &str) -> Result<Db, Error> {
    Db::open(url, Arc::new(SystemClock)).await
}

async fn refused(url: &str) -> Error {
    match try_open(url).await {
        Ok(_) => panic!("`{url}` was opened"),
        Err(error) => error,
    }
}

async fn append(db: &Db) -> Result<u64, Error> {
    Ok(db.begin().await?.commit(vec![pushed("x", 1)]).await?[0])
}

async fn reopened(f: Fixture) {
    for expected in 1..=3 {
        let db = open(&f.url).await;
        assert_eq!(append(&db).await.unwrap(), expected);
        db.close().await.unwrap();
    }
}

async fn a_newer_database_is_refused(f: Fixture) {
    append(&f.db).await.unwrap();
    f.db.clone().close().await.unwrap();
    let folder = format!("{}/migrations/sqlite", env!("CARGO_MANIFEST_DIR"));
    let ours = fs_err::read_dir(folder).unwrap().count() as i64;
    let next = ours + 1;
    f.sql(&format!(
        "INSERT INTO migration (position, name, sha256, applied_at) VALUES ({next}, '9999_next', 'x', 0)"
    ))
    .await;
    if !f.is_postgres() {
        f.sql(&format!("PRAGMA user_version = {next}")).await;
    }
    let error = refused(&f.url).await;
    assert!(matches!(error, Error::Newer { found, known, .. } if (found, known) == (next, ours)), "{error}");
    assert!(error.hint().unwrap().contains("newer"), "{:?}", error.hint());
}

async fn a_changed_migration_is_refused(f: Fixture) {
    f.db.clone().close().await.unwrap();
    f.sql("UPDATE migration SET sha256 = 'x'").await;
    if !f.is_postgres() {
        // The header alone would say that nothing is to be done.
        f.sql("PRAGMA user_version = 0").await;
    }
    let error = refused(&f.url).await;
    assert!(matches!(&error, Error::MigrationChanged { name, .. } if name == "0001_start"), "{error}");
}

async fn opened_by_many_at_once(f: Fixture) {
    // Those of this database, and of one that nobody has made yet.
    let fresh = if f.is_postgres() { f.url.clone() } else { format!("{}.fresh", f.url) };
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..16 {
        let url = if i % 2 == 0 { f.url.clone() } else { fresh.clone() };
        tasks.spawn(async move { append(&open(&url).await).await.unwrap() });
    }
    let mut seqs = tasks.join_all().await;
    seqs.sort_unstable();
    let expected =
        if f.is_postgres() { (1..=16).collect() } else { (2..18).map(|i| i / 2).collect::<Vec<u64>>() };
    assert_eq!(seqs, expected);
}

async fn postgres_fresh_made_by_many_at_once(server: &tidemill_testkit::Postgres) {
    let database = server.database();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let url = database.url().to_owned();
        tasks.spawn(async move { append(&open(&url).await).await.unwrap() });
    }
    let mut seqs = tasks.join_all().await;
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=6).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_fresh_postgres_database_is_made_by_one_of_many() {
    postgres_fresh_made_by_many_at_once(tidemill_testkit::Postgres::shared()).await;
}

#[tokio::test]
async fn a_postgres_that_is_not_there() {
    let server = tidemill_testkit::Postgres::shared().database();
    let (address, name) = server.url().rsplit_once('/').unwrap();
    let wrong_password =
        server.url().replacen("postgres:", "someone:", 2).replacen("someone:", "postgres:", 1);
    for (url, part) in [
        ("postgres://127.0.0.1:1/x".to_owned(), "refused"),
        (format!("{address}/no_such_database"), "no_such_database"),
        (wrong_password, "someone"),
        (format!("postgres://postgres:wrong@{}/{name}", address.rsplit_once('@').unwrap().1), "password"),
    ] {
        let error = refused(&url).await;
        assert!(matches!(&error, Error::Open { detail, .. } if detail.contains(part)), "{url}: {error:?}");
        assert!(!error.to_string().contains("wrong"), "{error}");
        assert!(error.hint().is_some());
    }
}

#[tokio::test]
async fn addresses() {
    for url in ["mysql://host/db", "", "sqlite://", "http://x"] {
        assert!(matches!(refused(url).await, Error::Address { .. }), "{url}");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.db");
    let url = format!("sqlite://{}", path.display());
    assert_eq!(append(&open(&url).await).await.unwrap(), 1);
    assert_eq!(append(&open(path.to_str().unwrap()).await).await.unwrap(), 2);
}

/// What is in a place where the database should be, and what is said about it. Nothing is changed.
#[tokio::test]
async fn files_that_are_no_database_of_ours() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs_err::write(path("text"), "hello, this is no database at all").unwrap();
    fs_err::write(path("short"), b"SQLite format 3\0short").unwrap();
    fs_err::create_dir(path("directory")).unwrap();
    sqlx::raw_sql("CREATE TABLE t (x)").execute(&mut new_sqlite(&path("other")).await).await.unwrap();
    sqlx::raw_sql("PRAGMA application_id = 7; CREATE TABLE t (x)")
        .execute(&mut new_sqlite(&path("marked")).await)
        .await
        .unwrap();
    for (name, part) in [
        ("text", "not a SQLite file"),
        ("short", "ends after 21 bytes"),
        ("directory", "it is a directory"),
        ("other", "belongs to another program"),
        ("marked", "belongs to another program"),
        ("absent/x.db", "there is no directory"),
    ] {
        let before = fs_err::read(path(name)).ok();
        let error = refused(&path(name)).await;
        assert!(error.to_string().contains(part), "{name}: {error}");
        assert!(error.to_string().contains(name), "{name}: {error}");
        assert!(error.hint().is_some(), "{name}");
        assert_eq!(fs_err::read(path(name)).ok(), before, "{name}");
    }
}

async fn new_sqlite(path: &str) -> sqlx::SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    sqlx::ConnectOptions::connect(&options).await.unwrap()
}

#[tokio::test]
async fn a_damaged_file() {
    let f = Fixture::sqlite().await;
    for _ in 0..50 {
        append(&f.db).await.unwrap();
    }
    f.db.close().await.unwrap();
    let whole = fs_err::read(&f.url).unwrap();
    let pages = whole.len() / 4096;
    assert!(pages > 8, "{pages}");
    for damage in ["garbage", "cut"] {
        let mut bytes = whole.clone();
        if damage == "garbage" {
            bytes[4096..].fill(0xA5);
        } else {
            bytes.truncate(3 * 4096 + 100);
        }
        let path = format!("{}.{damage}", f.url);
        fs_err::write(&path, &bytes).unwrap();
        let db = open(&path).await;
        let error = append(&db).await.unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{damage}: {error:?}");
        assert!(error.hint().unwrap().contains("backup"));
        let error = db.verify_log(&Quiet).await.unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{damage}: {error:?}");
    }
}

#[tokio::test]
async fn another_process_that_keeps_the_lock() {
    let f = Fixture::sqlite().await;
    let mut other = sqlite(&f.url).await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let options = Options { busy_timeout: Duration::from_millis(300), ..Options::default() };
    let db = Db::open_with(&f.url, Arc::new(SystemClock), options).await.unwrap();
    let error = append(&db).await.unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error:?}");
    assert!(error.to_string().contains("0.3 s") && error.hint().is_some(), "{error}");
    let error = db.ingest().events(vec![pushed("x", 1)]).await.unwrap_err();
    assert!(matches!(&error, Error::Group(error) if matches!(**error, Error::Locked { .. })), "{error:?}");
    // Points have a connection of their own.
    let error = db.ingest().log(run_id(1), metrics(vec![metric("m", 1, 1, 0.5)])).await.unwrap_err();
    assert!(matches!(&error, Error::Group(error) if matches!(**error, Error::Locked { .. })), "{error:?}");
    // Reading goes on, and so does writing when the other one is done.
    assert_eq!(db.log_head().await.unwrap().size, 0);
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(append(&db).await.unwrap(), 1);
}

#[tokio::test]
async fn a_long_reader_does_not_hold_writers_up() {
    let f = Fixture::sqlite().await;
    append(&f.db).await.unwrap();
    let mut reader = sqlite(&f.url).await;
    sqlx::raw_sql("BEGIN; SELECT * FROM event").execute(&mut reader).await.unwrap();
    for expected in 2..=20 {
        assert_eq!(append(&f.db).await.unwrap(), expected);
    }
}

/// The full disk and the read-only directory need a file system of their own: a process in its own mount
/// namespace makes them. Where the kernel does not allow that, a limit on the size of files takes its place.
#[test]
fn a_full_disk() {
    const ROLE: &str = "TIDEMILL_TEST_FULL_DISK";
    if let Some(directory) = std::env::var_os(ROLE) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(fill(Path::new(&directory)));
    }
    let directory = tempfile::tempdir().unwrap();
    let me = std::env::current_exe().unwrap();
    let allowed = std::process::Command::new("unshare").args(["-rm", "true"]).status();
    let mut command = if allowed.is_ok_and(|status| status.success()) {
        let mut command = std::process::Command::new("unshare");
        command.args([
            "-rm",
            "sh",
            "-c",
            "mount -t tmpfs -o size=3m tmpfs \"$1\" && exec \"$0\" \"$2\" \"$3\"",
        ]);
        command
    } else {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "trap '' XFSZ; ulimit -f 3000; exec \"$0\" \"$2\" \"$3\""]);
        command
    };
    let output = command.arg(me).arg(directory.path()).args(["--exact", "open::a_full_disk"]);
    let output = output.env(ROLE, directory.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

async fn fill(directory: &Path) {
    let path = directory.join("full.db");
    let ballast = directory.join("ballast");
    fs_err::write(&ballast, vec![7; 1 << 20]).unwrap();
    let db = open(path.to_str().unwrap()).await;
    let long = "x".repeat(10_000);
    let mut acknowledged = 0;
    let error = loop {
        assert!(acknowledged < 1000, "the disk does not get full");
        let answer = match db.begin().await {
            Ok(tx) => tx.commit(vec![pushed(&long, acknowledged)]).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(seqs) => acknowledged = seqs[0],
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("full.db") && error.hint().unwrap().contains("space"), "{error}");
    let error = db.ingest().events(vec![pushed(&long, 1)]).await.unwrap_err();
    assert!(matches!(&error, Error::Group(error) if matches!(**error, Error::Full { .. })), "{error:?}");
    let verdict = db.verify_log(&Quiet).await.unwrap();
    assert_eq!((verdict.checked, verdict.first_bad), (acknowledged, None));
    // With room again, the same handle goes on where it was.
    fs_err::remove_file(&ballast).unwrap();
    if std::process::Command::new("mountpoint").arg("-q").arg(directory).status().unwrap().success() {
        assert_eq!(append(&db).await.unwrap(), acknowledged + 1);
    }
    db.close().await.unwrap();
    assert_eq!(open(path.to_str().unwrap()).await.verify_log(&Quiet).await.unwrap().first_bad, None);
}

/// Root may write everywhere, so the directory is mounted read-only, or written by a user who may not.
#[test]
fn a_read_only_directory() {
    const ROLE: &str = "TIDEMILL_TEST_READ_ONLY";
    if let Some(directory) = std::env::var_os(ROLE) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(read_only(Path::new(&directory)));
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.db");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let db = open(path.to_str().unwrap()).await;
        append(&db).await.unwrap();
        db.close().await.unwrap();
    });
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" && exec \"$0\" \"$2\" \"$3\"";
    let mut command = std::process::Command::new("unshare");
    let root =
        String::from_utf8(std::process::Command::new("id").arg("-u").output().unwrap().stdout).unwrap();
    if root.trim() == "0" {
        command.args(["-m", "sh", "-c", script]);
    } else {
        fs_err::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o444)).unwrap();
        fs_err::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o555))
            .unwrap();
        command = std::process::Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$2\" \"$3\""]);
    }
    let output = command
        .arg(std::env::current_exe().unwrap())
        .arg(directory.path())
        .args(["--exact", "open::a_read_only_directory"])
        .env(ROLE, directory.path())
        .output()
        .unwrap();
    fs_err::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

async fn read_only(directory: &Path) {
    let db = open(directory.join("x.db").to_str().unwrap()).await;
    let error = append(&db).await.unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. } | Error::Open { .. }), "{error:?}");
    assert!(error.to_string().contains("x.db") && error.hint().is_some(), "{error}");
    let error = refused(directory.join("new.db").to_str().unwrap()).await;
    assert!(matches!(error, Error::ReadOnly { .. } | Error::Open { .. }), "{error:?}");
}

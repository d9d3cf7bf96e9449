//! Rows of two versions of a dataset side by side: compared beside requests, within limits, one pair at a time, and kept for whoever
//! looks next.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidemill_core::{Progress, Unit};
use tidemill_data::{Format, Table, TableDiff, diff_rows};
use tidemill_registry::{Code, Error};
use tidemill_store::{Checkout, Entry, Store};
use tidemill_ui::{bytes, count};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::ask::Ask;

/// Comparisons that are remembered.
const KEPT: usize = 16;
/// How long a page waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a page compares at most.
const LIMITS: Limits =
    Limits { bytes: 128 << 20, rows: 4_000_000, time: Duration::from_secs(5), memory: 64 << 20 };

/// What was compared, the newest at the end, and whose turn it is.
pub(crate) struct Diffs {
    known: Mutex<Vec<(Wanted, Compared)>>,
    turn: Arc<Semaphore>,
}

impl Default for Diffs {
    fn default() -> Self {
        Self { known: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }
    }
}

/// Two contents, and by which columns their rows are matched.
#[derive(Clone, PartialEq)]
pub(super) struct Wanted {
    pub(super) from: Side,
    pub(super) to: Side,
    pub(super) key: Vec<String>,
}

/// The content of a version.
#[derive(Clone, PartialEq)]
pub(super) struct Side {
    pub(super) entry: Entry,
    /// What it was called, by which its format is known.
    pub(super) file: PathBuf,
    /// The format, where the project declares one.
    pub(super) format: Option<Format>,
}

/// What came of it.
#[derive(Clone)]
pub(super) enum Compared {
    Rows(Arc<TableDiff>),
    /// Their rows cannot be compared, and why.
    NoTables(String),
    /// The store does not have one of them.
    Missing,
    /// In words.
    TooLarge(String),
    TooLong,
    /// Others are compared now.
    Busy,
}

#[derive(Clone, Copy)]
struct Limits {
    /// Of both together.
    bytes: u64,
    rows: u64,
    time: Duration,
    /// Bytes of hashes that are kept in memory; more go to temporary files.
    memory: usize,
}

impl Diffs {
    fn find(&self, wanted: &Wanted) -> Option<Compared> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(of, _)| of == wanted).map(|(_, compared)| compared.clone())
    }

    /// Keeps what stays as it is: a version never changes, but a missing one may come, and another time more may be possible.
    fn put(&self, wanted: &Wanted, compared: &Compared) {
        if !matches!(compared, Compared::Rows(_) | Compared::NoTables(_) | Compared::TooLarge(_)) {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(of, _)| of != wanted);
        known.push((wanted.clone(), compared.clone()));
        let more = known.len().saturating_sub(KEPT);
        known.drain(..more);
    }
}

/// The rows of two versions side by side.
pub(super) async fn compare(ask: &Ask, wanted: Wanted) -> Result<Compared, Error> {
    let diffs = ask.app.diffs();
    if let Some(known) = diffs.find(&wanted) {
        return Ok(known);
    }
    let Ok(Ok(turn)) = timeout(PATIENCE, Arc::clone(&diffs.turn).acquire_owned()).await else {
        return Ok(Compared::Busy);
    };
    // Somebody may have compared them while this one waited.
    if let Some(known) = diffs.find(&wanted) {
        return Ok(known);
    }
    let (store, scratch) = (ask.app.registry().store().clone(), ask.app.config().scratch.clone());
    let asked = wanted.clone();
    let done = spawn_blocking(move || {
        // Whoever asked may be gone; the turn ends with the work.
        let _turn = turn;
        look(&store, &scratch, &asked, LIMITS)
    });
    let internal = |why: String| Error::new(Code::InternalError, why);
    let compared = done.await.map_err(|error| internal(error.to_string()))?;
    let compared = compared.map_err(|error| {
        let mut failure = internal("the versions cannot be compared".to_owned());
        failure.source = Some(Box::new(error));
        failure
    })?;
    diffs.put(&wanted, &compared);
    Ok(compared)
}

fn look(store: &Store, scratch: &Path, wanted: &Wanted, limits: Limits) -> Result<Compared, std::io::Error> {
    let sides = [&wanted.from, &wanted.to];
    let size: u64 = sides.iter().map(|side| side.entry.bytes).sum();
    if size > limits.bytes {
        let (size, most) = (bytes(size), bytes(limits.bytes));
        return Ok(Compared::TooLarge(format!(
            "The two versions have {size} together; a page compares the rows of at most {most}."
        )));
    }
    for side in sides {
        if !store.has(&side.entry).map_err(std::io::Error::other)? {
            return Ok(Compared::Missing);
        }
    }
    let deadline = Deadline(Instant::now() + limits.time);
    fs_err::create_dir_all(scratch)?;
    let folder = tempfile::tempdir_in(scratch)?;
    let mut tables = Vec::with_capacity(2);
    for (side, name) in sides.into_iter().zip(["from", "to"]) {
        let place = folder.path().join(name);
        fs_err::create_dir_all(&place)?;
        let path = place.join(&side.file);
        if let Err(error) = store.checkout(&side.entry, &path, &Checkout::default(), &deadline) {
            return if deadline.cancelled() {
                Ok(Compared::TooLong)
            } else {
                Err(std::io::Error::other(error))
            };
        }
        match Table::open(&[path], side.format.clone()) {
            Ok(table) => tables.push(table),
            Err(error) => return Ok(Compared::NoTables(plain(&error, folder.path()))),
        }
    }
    let [from, to] = &tables[..] else { return Ok(Compared::Missing) };
    let rows = from.rows() + to.rows();
    if rows > limits.rows {
        let (rows, most) = (count(rows), count(limits.rows));
        return Ok(Compared::TooLarge(format!(
            "The two versions have {rows} rows together; a page compares at most {most}."
        )));
    }
    if !from.schema().fields().iter().any(|field| to.column(field.name()).is_ok()) {
        return Ok(Compared::NoTables("They have no column in common.".to_owned()));
    }
    // A version from before the key was declared may not have its columns.
    let has_key = wanted.key.iter().all(|name| from.column(name).is_ok() && to.column(name).is_ok());
    let key = Some(wanted.key.as_slice()).filter(|key| has_key && !key.is_empty());
    Ok(match diff_rows(from, to, key, limits.memory, &deadline) {
        Ok(diff) => Compared::Rows(Arc::new(diff)),
        Err(tidemill_data::Error::Cancelled) => Compared::TooLong,
        Err(error) => Compared::NoTables(plain(&error, folder.path())),
    })
}

/// What went wrong, without the folder that is gone when somebody reads of it.
fn plain(error: &tidemill_data::Error, folder: &Path) -> String {
    let folder = format!("{}/", folder.display());
    format!("One of them cannot be read as a table: {}.", error.to_string().replace(&folder, ""))
}

/// Work that is to end by then.
struct Deadline(Instant);

impl Progress for Deadline {
    fn begin(&self, _: &str, _: Option<u64>, _: Unit) {}
    fn advance(&self, _: u64) {}
    fn cancelled(&self) -> bool {
        Instant::now() > self.0
    }
}

#[cfg(test)]
mod tests {
    use tidemill_core::Quiet;
    use tidemill_store::StoreOptions;

    use super::*;

    /// A folder with a store in it.
    struct Lab(tempfile::TempDir, Store);

    impl Lab {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&folder.path().join("store"), StoreOptions::default()).unwrap();
            Self(folder, store)
        }

        fn side(&self, file: &str, text: &str) -> Side {
            let path = self.0.path().join(file);
            fs_err::write(&path, text).unwrap();
            let entry = self.1.add(&path, None, &Quiet).unwrap();
            Side { entry, file: file.into(), format: None }
        }

        fn look(&self, from: Side, to: Side, limits: Limits) -> Compared {
            let wanted = Wanted { from, to, key: vec!["id".to_owned()] };
            look(&self.1, &self.0.path().join("scratch"), &wanted, limits).unwrap()
        }
    }

    const ROWS: [&str; 2] = ["id,name\n1,a\n2,b\n3,c\n", "id,name\n1,a\n2,x\n4,d\n"];

    #[test]
    fn rows_are_matched_by_the_key_where_both_have_it() {
        let lab = Lab::new();
        let [from, to] = [("a.csv", ROWS[0]), ("b.csv", ROWS[1])].map(|(file, text)| lab.side(file, text));
        let Compared::Rows(diff) = lab.look(from.clone(), to, LIMITS) else { panic!() };
        assert_eq!(
            (diff.rows.added, diff.rows.removed, diff.rows.changed, diff.rows.unchanged),
            (1, 1, 1, 1)
        );
        assert_eq!(diff.changed_sample[0].new["name"], "x");
        assert!(diff.key.is_some());
        let other = lab.side("c.csv", "number,name\n1,a\n");
        let Compared::Rows(diff) = lab.look(from, other, LIMITS) else { panic!() };
        assert!(diff.key.is_none());
        // Nothing is left in the scratch folder.
        let scratch = lab.0.path().join("scratch");
        assert_eq!(fs_err::read_dir(scratch).unwrap().count(), 0);
    }

    #[test]
    fn what_is_too_much_for_a_page_is_said() {
        let lab = Lab::new();
        let sides = || [("a.csv", ROWS[0]), ("b.csv", ROWS[1])].map(|(file, text)| lab.side(file, text));
        let look = |limits: Limits| {
            let [from, to] = sides();
            lab.look(from, to, limits)
        };
        let Compared::TooLarge(why) = look(Limits { bytes: 20, ..LIMITS }) else { panic!() };
        assert!(why.contains("40 B together") && why.contains("at most 20 B"), "{why}");
        let Compared::TooLarge(why) = look(Limits { rows: 5, ..LIMITS }) else { panic!() };
        assert!(why.contains("6 rows together"), "{why}");
        assert!(matches!(look(Limits { time: Duration::ZERO, ..LIMITS }), Compared::TooLong));
    }

    #[test]
    fn what_is_no_table_or_not_there_is_said() {
        let lab = Lab::new();
        let (from, to) = (lab.side("a.csv", ROWS[0]), lab.side("b.bin", "x"));
        let Compared::NoTables(why) = lab.look(from.clone(), to, LIMITS) else { panic!() };
        assert!(why.contains("b.bin") && !why.contains("scratch"), "{why}");
        let mut gone = from.clone();
        gone.entry.digest = tidemill_core::Digest::of(b"nothing");
        assert!(matches!(lab.look(from, gone, LIMITS), Compared::Missing));
    }

    #[test]
    fn what_stays_as_it_is_is_kept() {
        let lab = Lab::new();
        let [from, to] = [("a.csv", ROWS[0]), ("b.csv", ROWS[1])].map(|(file, text)| lab.side(file, text));
        let wanted = |key: usize| Wanted { from: from.clone(), to: to.clone(), key: vec![key.to_string()] };
        let diffs = Diffs::default();
        diffs.put(&wanted(0), &Compared::Busy);
        assert!(diffs.find(&wanted(0)).is_none());
        for key in 0..=KEPT {
            diffs.put(&wanted(key), &Compared::TooLarge(String::new()));
        }
        assert!(diffs.find(&wanted(0)).is_none() && diffs.find(&wanted(1)).is_some());
    }
}

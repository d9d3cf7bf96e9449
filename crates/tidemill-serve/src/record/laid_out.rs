//! Stored records of an endpoint with their outcomes as a folder of files, for steps of a pipeline: one for each day.
//!
//! The bytes of a file depend on the records and outcomes of its day and on the columns of all of them, so what is new changes the files of the
//! days that it is of, and a file with another content is another content for the step. Beside the folder stands what its files were made of;
//! where that is the same, nothing is read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use tidemill_core::{Digest, Timestamp};
use tidemill_db::Db;
use tidemill_db::outcomes::{DAY_MS, DayOfOutcomes};
use tidemill_db::records::{RecordFilter, RecordPart};
use tidemill_store::Store;

use super::outcome::Outcomes;
use super::plan::HOUR_MS;
use super::read::blocking;
use super::unify::conform;
use super::{Found, LogError, Query, Reader, stored};

/// Raised when the same records give other files.
const FORM: u32 = 1;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaidOut {
    /// Files that are in the folder now.
    pub files: usize,
    /// Those that were written: of days with something new.
    pub written: usize,
}

/// What the files of a folder were made of.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    form: u32,
    /// Of each day, its parts and its outcomes.
    days: BTreeMap<i64, Digest>,
    /// The columns that all files have.
    columns: Option<Digest>,
}

/// Puts the records of an endpoint in `from..to`, which are beginnings of days, into the folder `dir`, and removes what else it holds.
///
/// # Errors
///
/// What database, store or disk refuse, and damage.
pub async fn lay_out(
    db: &Db,
    store: &Store,
    endpoint: &str,
    (from, to): (Option<Timestamp>, Option<Timestamp>),
    dir: &Path,
) -> Result<LaidOut, LogError> {
    let filter = RecordFilter { endpoint: Some(endpoint.to_owned()), from, to, after: 0 };
    let (parts, _) = db.record_parts(&filter, &[]).await?;
    let outcomes = db.days_of_outcomes(endpoint, from, to).await?;
    let known = read_made(dir);
    let days = digests(&parts, &outcomes);
    let is_there = |day: &i64| file_of(dir, *day).is_file();
    if known.form == FORM && known.days == days && days.keys().all(is_there) {
        return Ok(LaidOut { files: days.len(), written: 0 });
    }
    let reader = Reader::of_parts(db.clone(), store.clone());
    let names = names(&outcomes);
    // One set of columns for all files, whatever each day has.
    let whole = reader.find(&Query::of(endpoint, from, to)).await?;
    let of_records = whole.schema();
    let schema = Outcomes::default().with_names(names.clone()).schema(&of_records);
    let columns = Digest::of(format!("{:?}", schema.fields()).as_bytes());
    let is_same = known.form == FORM && known.columns == Some(columns);
    fs_err::create_dir_all(dir).map_err(LogError::io("make", dir))?;
    let mut written = 0;
    for (day, digest) in &days {
        if is_same && known.days.get(day) == Some(digest) && is_there(day) {
            continue;
        }
        let (first, end) = (at(*day), at(day.saturating_add(1)));
        let found = reader.find(&Query::of(endpoint, Some(first), Some(end))).await?;
        let of_day = Outcomes::load(db, endpoint, Some(first), Some(end)).await?.with_names(names.clone());
        write(found, of_day, of_records.clone(), schema.clone(), file_of(dir, *day)).await?;
        written += 1;
    }
    remove_others(dir, &days.keys().map(|day| file_of(dir, *day)).collect())?;
    // Last: files that are newer than what is said of them are written again.
    keep_made(dir, &Made { form: FORM, days: days.clone(), columns: Some(columns) })?;
    Ok(LaidOut { files: days.len(), written })
}

async fn write(
    found: Found,
    outcomes: Outcomes,
    of_records: SchemaRef,
    schema: SchemaRef,
    path: PathBuf,
) -> Result<(), LogError> {
    blocking("writing records", move || {
        let rows = found.batches().map(|batch| outcomes.attach(&conform(&batch?, &of_records)?));
        stored::write_table(&schema, rows, &path).map(drop)
    })
    .await
}

/// What each day that has parts is made of.
fn digests(parts: &[RecordPart], outcomes: &[DayOfOutcomes]) -> BTreeMap<i64, Digest> {
    let mut texts: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    for part in parts {
        let day = part.hour.saturating_mul(HOUR_MS).div_euclid(DAY_MS);
        texts.entry(day).or_default().insert(format!("part {} {}", part.hour, part.digest));
    }
    for of_day in outcomes {
        if let Some(texts) = texts.get_mut(&of_day.day) {
            let DayOfOutcomes { name, count, texts: of_texts, sum, .. } = of_day;
            texts.insert(format!("outcomes {count} {of_texts} {sum} {name}"));
        }
    }
    let digest =
        |texts: BTreeSet<String>| Digest::of(texts.into_iter().collect::<Vec<_>>().join("\n").as_bytes());
    texts.into_iter().map(|(day, texts)| (day, digest(texts))).collect()
}

/// The names of outcomes, and whether all values of each are numbers.
fn names(outcomes: &[DayOfOutcomes]) -> BTreeMap<String, bool> {
    let mut names = BTreeMap::new();
    for of_day in outcomes {
        *names.entry(of_day.name.clone()).or_insert(true) &= of_day.texts == 0;
    }
    names
}

fn at(day: i64) -> Timestamp {
    Timestamp::from_millis(day.saturating_mul(DAY_MS))
}

fn file_of(dir: &Path, day: i64) -> PathBuf {
    let start = at(day).to_string();
    dir.join(format!("{}.parquet", start.get(..10).unwrap_or(&start)))
}

/// Where it stands what the files were made of: beside the folder, whose content is that of the records alone.
fn made_of(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".json");
    dir.with_file_name(name)
}

/// What the folder's files were made of; nothing where that is not known, and then all are written.
fn read_made(dir: &Path) -> Made {
    let text = fs_err::read(made_of(dir)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn keep_made(dir: &Path, made: &Made) -> Result<(), LogError> {
    let path = made_of(dir);
    let text = serde_json::to_vec(made)
        .map_err(|error| LogError::Unusable(format!("cannot write what records were made of: {error}")))?;
    let failed = LogError::io("write", &path);
    let folder = path.parent().unwrap_or(dir);
    let replaced = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        std::io::Write::write_all(&mut file, &text)?;
        file.persist(&path).map(drop).map_err(|error| error.error)
    };
    replaced().map_err(failed)
}

fn remove_others(dir: &Path, kept: &BTreeSet<PathBuf>) -> Result<(), LogError> {
    let failed = |error| LogError::io("clear", dir)(error);
    for entry in fs_err::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !kept.contains(&path) && path.is_file() {
            fs_err::remove_file(&path).map_err(LogError::io("remove", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arrow::array::{AsArray as _, RecordBatch};
    use arrow::datatypes::Float64Type;
    use tidemill_core::Actor;
    use tidemill_data::Table;
    use tidemill_db::outcomes::Outcome;

    use super::*;
    use crate::Recorder as _;
    use crate::record::outcome::{Matcher, OutcomeRules};
    use crate::record::segment::tests::record;
    use crate::record::tests::Lab;

    /// Records of two days in the store.
    async fn filled(lab: &Lab, days: &[i64]) {
        let log = lab.log();
        for day in days {
            for number in 0..3_u64 {
                let at = day * DAY_MS + i64::try_from(number).unwrap();
                log.record(record(u64::try_from(*day).unwrap() * 10 + number, at));
            }
        }
        log.flush().unwrap();
        log.close();
        let log = lab.log();
        lab.roller(&log).roll().await.unwrap();
    }

    async fn labelled(lab: &Lab, requests: &[u64]) {
        let outcome = |id: &u64| Outcome {
            endpoint: "loans".into(),
            name: "label".into(),
            number: Some(1.0),
            request_id: Some(format!("request-{id:06}")),
            received_at: Timestamp::from_millis(5 * DAY_MS),
            ..Outcome::default()
        };
        let outcomes: Vec<Outcome> = requests.iter().map(outcome).collect();
        lab.db.add_outcomes(&Actor::user("ana"), &outcomes).await.unwrap();
        let settle = Duration::from_millis(50);
        let matcher = Matcher::new(lab.db.clone(), lab.reader(), lab.clock.clone(), settle);
        matcher.pass("loans", OutcomeRules::default()).await.unwrap();
    }

    fn labels(dir: &Path) -> Vec<Option<f64>> {
        let table = Table::open(&[dir.to_owned()], None).unwrap();
        let batches: Vec<RecordBatch> = table.batches(None).unwrap().map(Result::unwrap).collect();
        let of = |batch: &RecordBatch| -> Vec<Option<f64>> {
            let column = batch.column_by_name("outcome_label").unwrap();
            column.as_primitive::<Float64Type>().iter().collect()
        };
        batches.iter().flat_map(of).collect()
    }

    #[tokio::test]
    async fn what_is_new_changes_the_file_of_its_day() {
        let lab = Lab::new().await;
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("loans");
        let lay = async |range| lay_out(&lab.db, lab.store(), "loans", range, &dir).await.unwrap();
        let all = (None, None);
        assert_eq!(lay(all).await, LaidOut::default(), "nothing is there yet");
        filled(&lab, &[1, 2]).await;
        assert_eq!(lay(all).await, LaidOut { files: 2, written: 2 });
        let bytes = |day: i64| fs_err::read(file_of(&dir, day)).unwrap();
        let (first, second) = (bytes(1), bytes(2));
        assert_eq!(lay(all).await, LaidOut { files: 2, written: 0 });
        // A name that no outcome had before is a column of every file; one more of it changes the file of its day.
        labelled(&lab, &[11]).await;
        assert_eq!(lay(all).await, LaidOut { files: 2, written: 2 });
        assert!(bytes(1) != first && bytes(2) != second);
        labelled(&lab, &[22]).await;
        let first = bytes(1);
        assert_eq!(lay(all).await, LaidOut { files: 2, written: 1 });
        assert_eq!(bytes(1), first);
        let found = labels(&dir);
        assert_eq!(found.iter().flatten().count(), 4, "a request has two rows: {found:?}");
        filled(&lab, &[3]).await;
        assert_eq!(lay(all).await, LaidOut { files: 3, written: 1 });
        // The same records on another machine are the same bytes.
        let other = folder.path().join("other");
        let again = lay_out(&lab.db, lab.store(), "loans", all, &other).await.unwrap();
        assert_eq!(again, LaidOut { files: 3, written: 3 });
        (1..=3).for_each(|day| assert_eq!(fs_err::read(file_of(&other, day)).unwrap(), bytes(day)));
        // Fewer days, and none of another endpoint.
        let range = (Some(at(2)), Some(at(3)));
        assert_eq!(lay(range).await.files, 1);
        assert!(!file_of(&dir, 1).exists() && file_of(&dir, 2).exists());
        let none = lay_out(&lab.db, lab.store(), "nobody", all, &dir).await.unwrap();
        assert_eq!(none.files, 0);
    }
}

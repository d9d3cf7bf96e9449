//! Profiles against pandas and scipy on the flights and on generated numbers, and merges against the whole.

use proptest::prelude::*;
use serde_json::{Value, json};
use tidemill_core::Quiet;
use tidemill_data::profile::ColumnStats;
use tidemill_data::{Profile, ProfileOptions, Table};

use crate::python::{months, python};
use crate::read::generated;

const PANDAS: &str = "
import sys, json, pandas as pd
from scipy import stats
d = pd.concat([pd.read_parquet(p) for p in sys.argv[1:]], ignore_index=True)
out = {}
for c in d.columns:
    s = d[c]; v = s.dropna(); n = pd.api.types.is_numeric_dtype(s)
    vc = v.value_counts()
    top = vc[vc == vc.iloc[0]]
    out[c] = dict(count=int(s.count()), nulls=int(s.isna().sum()), distinct=int(s.nunique()),
        min=v.min().item() if n else str(v.min()), max=v.max().item() if n else str(v.max()),
        mean=float(v.mean()) if n else None, std=float(v.std()) if n else None,
        skew=float(stats.skew(v)) if n and v.nunique() > 1 else None,
        kurtosis=float(stats.kurtosis(v)) if n and v.nunique() > 1 else None,
        zero=int((v == 0).sum()) if n else None, negative=int((v < 0).sum()) if n else None,
        lengths=[int(v.str.len().min()), int(v.str.len().max())] if not n and (v.dtype == object or str(v.dtype).startswith('str')) else [None, None],
        top=int(vc.iloc[0]), length=float(v.str.len().mean()) if not n and v.dtype == object or str(v.dtype).startswith('str') else None)
print(json.dumps(out))
";

/// For every column and probability, the ranks at which the given value stands: share below it, share up to it.
const RANKS: &str = "
import sys, json, pandas as pd
d = pd.concat([pd.read_parquet(p) for p in sys.argv[2:]], ignore_index=True)
asked = json.loads(open(sys.argv[1]).read())
print(json.dumps({c: [[float((d[c].dropna() < x).mean()), float((d[c].dropna() <= x).mean())] for x in xs] for c, xs in asked.items()}))
";

fn find<'a>(stats: &'a [ColumnStats], name: &str) -> &'a ColumnStats {
    stats.iter().find(|column| column.name == name).unwrap()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

#[test]
fn flights_are_described_as_pandas_does() {
    let files = months(12);
    let paths: Vec<&std::path::Path> = files.iter().map(std::path::PathBuf::as_path).collect();
    let expected = python(PANDAS, &paths);
    let summary = Profile::of(&Table::open(&files, None).unwrap()).unwrap();
    assert_eq!(summary.rows(), 336_776);
    let stats = summary.describe();
    for column in &stats {
        let name = &column.name;
        let expected = &expected[name];
        for (found, name) in [(column.skewness, "skew"), (column.kurtosis, "kurtosis")] {
            if let (Some(found), Some(known)) = (found, expected[name].as_f64()) {
                assert!(close(found, known), "{} {name}: {found} {known}", column.name);
            }
        }
        assert_eq!(json!(column.zero), expected["zero"], "{name}");
        assert_eq!(json!(column.negative), expected["negative"], "{name}");
        let lengths = [column.min_length, column.max_length];
        assert_eq!(json!(lengths), expected["lengths"], "{name}");
        let bars: u64 = column.histogram.iter().map(|bar| bar.count).sum();
        assert!(column.histogram.is_empty() || bars == column.count, "{name}: {bars}");
        assert_eq!(json!(column.count), expected["count"], "{name}");
        assert_eq!(json!(column.nulls), expected["nulls"], "{name}");
        assert_eq!(json!(column.distinct.estimate), expected["distinct"], "{name}");
        assert!(column.distinct.exact, "{name}");
        assert_eq!(json!(column.top[0].count), expected["top"], "{name}");
        if let (Some(mean), Some(std)) = (column.mean, column.std) {
            assert!(close(mean, expected["mean"].as_f64().unwrap()), "{name}: {mean} {expected}");
            assert!(close(std, expected["std"].as_f64().unwrap()), "{name}: {std} {expected}");
            assert_eq!(column.min.as_ref().unwrap().as_f64(), expected["min"].as_f64(), "{name}");
            assert_eq!(column.max.as_ref().unwrap().as_f64(), expected["max"].as_f64(), "{name}");
        }
        if let Some(length) = column.mean_length {
            assert!(close(length, expected["length"].as_f64().unwrap()), "{name}");
            assert_eq!(column.min.as_ref(), Some(&expected["min"]), "{name}");
        }
    }
    let time = find(&stats, "time_hour");
    assert_eq!(time.min, Some(json!("2013-01-01T10:00:00Z")));
    assert_eq!(time.max, Some(json!("2014-01-01T04:00:00Z")));
    assert_eq!(time.mean, None);
}

#[test]
fn quantiles_stand_at_their_ranks() {
    let files = months(12);
    let stats = Profile::of(&Table::open(&files, None).unwrap()).unwrap().describe();
    let names = ["arr_delay", "distance", "air_time", "sched_dep_time"];
    let asked: serde_json::Map<String, Value> = names
        .iter()
        .map(|name| {
            let quantiles = find(&stats, name).quantiles.as_ref().unwrap();
            ((*name).to_owned(), quantiles.points.iter().map(|(_, value)| value.clone()).collect())
        })
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), Value::Object(asked).to_string()).unwrap();
    let mut args = vec![file.path()];
    args.extend(files.iter().map(std::path::PathBuf::as_path));
    let ranks = python(RANKS, &args);
    for name in names {
        let quantiles = find(&stats, name).quantiles.as_ref().unwrap();
        for ((probability, value), rank) in quantiles.points.iter().zip(ranks[name].as_array().unwrap()) {
            let (below, upto) = (rank[0].as_f64().unwrap(), rank[1].as_f64().unwrap());
            let error = (below - probability).max(probability - upto).max(0.0);
            assert!(error <= quantiles.rank_error, "{name} at {probability}: {value}, off by {error}");
        }
    }
}

#[test]
fn merged_summaries_are_as_the_whole() {
    let whole = Profile::of(&Table::open(&months(4), None).unwrap()).unwrap();
    let mut merged: Option<Profile> = None;
    for month in months(4) {
        let part = Profile::of(&Table::open(&[month], None).unwrap()).unwrap();
        let part = Profile::from_bytes(&part.to_bytes()).unwrap();
        match &mut merged {
            None => merged = Some(part),
            Some(merged) => merged.merge(&part).unwrap(),
        }
    }
    let stored: Vec<Vec<u8>> = months(4)
        .into_iter()
        .map(|month| Profile::of(&Table::open(&[month], None).unwrap()).unwrap().to_bytes())
        .collect();
    // One after the other, and all at once.
    assert_eq!(Profile::of_stored(&stored).unwrap(), merged);
    assert_eq!(Profile::of_stored::<Vec<u8>>(&[]).unwrap(), None);
    let (whole, merged) = (whole.describe(), merged.unwrap().describe());
    for (a, b) in whole.iter().zip(&merged) {
        assert_eq!((&a.name, a.count, a.nulls, a.distinct), (&b.name, b.count, b.nulls, b.distinct));
        assert_eq!((&a.min, &a.max, &a.top), (&b.min, &b.max, &b.top), "{}", a.name);
        for (a, b) in [(a.mean, b.mean), (a.std, b.std), (a.mean_length, b.mean_length)] {
            assert!(a.zip(b).is_none_or(|(a, b)| close(a, b)));
        }
    }
    let other = generated(vec![1], vec![None], vec![None]);
    let mut summary = Profile::of(&Table::open(&months(1), None).unwrap()).unwrap();
    assert!(summary.merge(&Profile::of(&other).unwrap()).is_err());
}

#[test]
fn odd_values() {
    let table = generated(
        vec![i64::MIN, i64::MAX, 0],
        vec![Some("é".repeat(500)), Some(String::new()), None],
        vec![Some(f64::NAN), Some(f64::INFINITY), Some(-0.0)],
    );
    let stats = Profile::of(&table).unwrap().describe();
    assert_eq!(find(&stats, "id").min, Some(json!(i64::MIN)));
    assert_eq!(find(&stats, "name").mean_length, Some(250.0));
    let value = find(&stats, "value");
    assert_eq!((value.mean, value.std, value.nulls), (Some(0.0), None, 0));
    assert_eq!((value.nan, value.positive_infinite, value.zero, value.negative), (1, 1, Some(1), Some(0)));
    assert_eq!((value.max.clone(), value.distinct.estimate), (Some(json!("inf")), 2));
    let empty = Profile::of(&generated(vec![], vec![], vec![])).unwrap().describe();
    assert_eq!((empty[0].count, empty[0].mean, empty[0].min.clone()), (0, None, None));
    assert!(empty[0].quantiles.is_none());
}

#[test]
fn many_different_values_are_estimated_and_said_to_be() {
    let ids: Vec<i64> = (0..200_000).collect();
    let table = generated(ids, vec![None; 200_000], vec![Some(1.5); 200_000]);
    let stats = Profile::of(&table).unwrap().describe();
    let id = find(&stats, "id");
    assert!(!id.distinct.exact);
    let error = (id.distinct.estimate as f64 - 200_000.0).abs() / 200_000.0;
    assert!(error < 3.0 * id.distinct.relative_error, "{error}");
    assert!(id.top.is_empty(), "no value is more frequent than the error: {:?}", id.top);
}

/// Correlations of the flights' numbers, and rows in which two columns are null together.
const PAIRS: &str = "
import sys, json, pandas as pd
d = pd.concat([pd.read_parquet(p) for p in sys.argv[1:]], ignore_index=True)
n = d.select_dtypes('number')
r = n.corr()
nulls = {f'{a} {b}': int((d[a].isna() & d[b].isna()).sum()) for a in d for b in d if a < b}
key = ['year', 'month', 'day', 'carrier', 'flight', 'origin']
print(json.dumps(dict(r={f'{a} {b}': float(r.loc[a, b]) for a in n for b in n if a < b and r.loc[a, b] == r.loc[a, b]},
    nulls={k: v for k, v in nulls.items() if v}, duplicates=int(d.duplicated(key).sum()))))
";

fn sorted_pair(columns: &[String; 2]) -> String {
    let mut names = columns.clone();
    names.sort();
    names.join(" ")
}

#[test]
fn pairs_of_columns_and_keys_are_as_pandas_says() {
    let files = months(3);
    let paths: Vec<&std::path::Path> = files.iter().map(std::path::PathBuf::as_path).collect();
    let expected = python(PAIRS, &paths);
    let key = ["year", "month", "day", "carrier", "flight", "origin"].map(str::to_owned).to_vec();
    let options = ProfileOptions { key, target: Some("arr_delay".to_owned()), ..ProfileOptions::dataset() };
    let build = |files: &[std::path::PathBuf]| {
        Profile::build(&Table::open(files, None).unwrap(), &options, &Quiet).unwrap()
    };
    let whole = build(&files);
    let stats = whole.stats();
    assert!(stats.correlations.len() > 50);
    for pair in &stats.correlations {
        let known = expected["r"][sorted_pair(&pair.columns)].as_f64().unwrap();
        assert!((pair.r - known).abs() < 1e-9, "{:?}: {} {known}", pair.columns, pair.r);
    }
    let nulls: serde_json::Map<String, Value> =
        stats.missing_together.iter().map(|pair| (sorted_pair(&pair.columns), json!(pair.rows))).collect();
    assert_eq!(Value::Object(nulls), expected["nulls"]);
    let duplicates = stats.duplicates.unwrap();
    assert_eq!((json!(duplicates.rows), duplicates.exact), (expected["duplicates"].clone(), true));

    let mut merged = build(&files[..1]);
    for file in &files[1..] {
        merged.merge(&build(std::slice::from_ref(file))).unwrap();
    }
    let merged = merged.stats();
    assert_eq!(merged.missing_together, stats.missing_together);
    for (a, b) in merged.correlations.iter().zip(&stats.correlations) {
        assert!((a.r - b.r).abs() < 1e-9 && a.rows == b.rows, "{a:?} {b:?}");
    }
    assert!(!merged.duplicates.unwrap().exact);
}

#[test]
fn stored_profiles_are_read_back_and_damage_is_told() {
    let table = Table::open(&months(1), None).unwrap();
    let options = ProfileOptions { key: vec!["flight".to_owned()], ..ProfileOptions::dataset() };
    let profile = Profile::build(&table, &options, &Quiet).unwrap();
    let bytes = profile.to_bytes();
    assert_eq!(Profile::from_bytes(&bytes).unwrap(), profile);
    assert!(bytes.len() < 1_000_000, "{}", bytes.len());
    for (place, message) in [(0, "it is none"), (4, "version"), (12, "damaged"), (bytes.len() / 2, "damaged")]
    {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x40;
        let error = Profile::from_bytes(&damaged).unwrap_err().to_string();
        assert!(error.contains(message), "{place}: {error}");
    }
    for length in [0, 3, 17, bytes.len() - 1] {
        assert!(Profile::from_bytes(&bytes[..length]).is_err());
    }
    let empty = Profile::of(&generated(vec![], vec![], vec![])).unwrap();
    assert_eq!(Profile::from_bytes(&empty.to_bytes()).unwrap(), empty);
}

#[test]
fn a_reference_gives_exact_counts_between_its_deciles() {
    let table = |from: i64| {
        let ids: Vec<i64> = (from..from + 5000).collect();
        generated(ids, vec![None; 5000], vec![Some(0.5); 5000])
    };
    let reference = std::sync::Arc::new(Profile::of(&table(0)).unwrap());
    let options = ProfileOptions { reference: Some(reference), ..ProfileOptions::window() };
    let mut both = Profile::build(&table(0), &options, &Quiet).unwrap();
    both.merge(&Profile::build(&table(4000), &options, &Quiet).unwrap()).unwrap();
    let (counts, outside) = both.reference_counts("id").unwrap();
    assert_eq!(counts.iter().sum::<u64>(), 10_000);
    assert!(counts[9] > 4500, "{counts:?}");
    assert!((3900..4100).contains(&outside), "{outside}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Exact figures of merged parts are those of one pass, whatever the parts are.
    #[test]
    fn parts_add_up(
        rows in proptest::collection::vec(
            (any::<i32>(), proptest::option::of("[ab]{0,3}"), proptest::option::of(-1e6..1e6)), 0..400),
        cuts in proptest::collection::vec(0usize..400, 0..4),
    ) {
        let part = |rows: &[(i32, Option<String>, Option<f64>)]| {
            let ids = rows.iter().map(|row| i64::from(row.0)).collect();
            let texts = rows.iter().map(|row| row.1.clone()).collect();
            let table = generated(ids, texts, rows.iter().map(|row| row.2).collect());
            Profile::build(&table, &ProfileOptions::window(), &Quiet).unwrap()
        };
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows.len())).collect();
        cuts.sort_unstable();
        cuts.push(rows.len());
        let (mut start, mut merged) = (0, part(&[]));
        for end in cuts {
            merged.merge(&part(&rows[start..end])).unwrap();
            start = end;
        }
        let (whole, merged) = (part(&rows).stats(), merged.stats());
        prop_assert_eq!(whole.rows, merged.rows);
        prop_assert_eq!(whole.missing_together, merged.missing_together);
        for (a, b) in whole.columns.iter().zip(&merged.columns) {
            prop_assert_eq!((a.count, a.nulls, a.zero, a.negative), (b.count, b.nulls, b.zero, b.negative));
            prop_assert_eq!((&a.min, &a.max, a.distinct, &a.top), (&b.min, &b.max, b.distinct, &b.top));
            prop_assert_eq!((&a.histogram, &a.quantiles, &a.patterns), (&b.histogram, &b.quantiles, &b.patterns));
            for (a, b) in [(a.mean, b.mean), (a.std, b.std), (a.mean_length, b.mean_length)] {
                prop_assert!(a.zip(b).is_none_or(|(a, b)| close(a, b)));
            }
        }
    }
}

type Change = fn(usize, &mut Vec<String>);

/// Types are guessed from the first 10,000 rows; what comes after them may be otherwise.
#[test]
fn a_file_of_text_that_is_read_once_gives_what_reading_it_twice_does() {
    const ROWS: usize = 12_000;
    const LATE: usize = 11_000;
    let names = ["whole", "real", "day", "local", "zoned", "truth", "none", "word"];
    let cells = |row: usize| {
        let (day, second) = (1 + row % 28, row % 60);
        vec![
            if row.is_multiple_of(50) { "NA".to_owned() } else { row.to_string() },
            format!("{}.5", row % 97),
            format!("2013-01-{day:02}"),
            format!("2013-01-{day:02} 10:00:{second:02}"),
            format!("2013-01-{day:02}T10:00:{second:02}Z"),
            row.is_multiple_of(3).to_string(),
            String::new(),
            format!("w{}", row % 7),
        ]
    };
    let changes: [(&str, Change); 13] = [
        ("nothing", |_, _| {}),
        ("whole numbers among reals", |row, cells| {
            cells[1] = if row > LATE { "3" } else { "2.5" }.to_owned();
        }),
        ("a real among whole numbers", |row, cells| {
            if row == LATE {
                cells[0] = "1.5".to_owned();
            }
        }),
        ("a code among reals", |row, cells| {
            if row == LATE {
                cells[1] = "007".to_owned();
            }
        }),
        ("a code among whole numbers", |row, cells| {
            if row == LATE {
                cells[0] = "007".to_owned();
            }
        }),
        ("a number beyond 64 bits", |row, cells| {
            if row > LATE {
                cells[0] = "9".repeat(20);
            }
        }),
        ("times among days", |row, cells| {
            if row > LATE {
                cells[2] = "2013-01-01 10:00".to_owned();
            }
        }),
        ("days among times", |row, cells| {
            if row > LATE {
                cells[3] = "2013-01-01".to_owned();
            }
        }),
        ("a zone among local times", |row, cells| {
            if row == LATE {
                cells[3].push('Z');
            }
        }),
        ("a day among instants", |row, cells| {
            if row == LATE {
                cells[4].truncate(10);
            }
        }),
        ("a late first value", |row, cells| {
            if row > LATE {
                cells[6] = row.to_string();
            }
        }),
        ("texts that were mistakes", |row, cells| {
            cells[7] = match row {
                0..10 => "mistake".to_owned(),
                10..10_500 => String::new(),
                row => row.to_string(),
            };
        }),
        ("a row that is too short", |row, cells| {
            if row == LATE {
                cells.truncate(5);
            }
        }),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (what, change) in changes {
        let path = folder.path().join("t.csv");
        let mut text = names.join(",") + "\n";
        for row in 0..ROWS {
            let mut cells = cells(row);
            change(row, &mut cells);
            text += &(cells.join(",") + "\n");
        }
        fs_err::write(&path, text).unwrap();
        let options = |schema: &arrow::datatypes::Schema| {
            assert_eq!(schema.field(7).name(), "word");
            ProfileOptions { key: vec!["whole".to_owned()], ..ProfileOptions::dataset() }
        };
        let once = Profile::of_file(&path, None, &options, &Quiet).map_err(|error| error.to_string());
        let twice = Table::open(std::slice::from_ref(&path), None)
            .and_then(|table| Profile::build(&table, &options(table.schema()), &Quiet))
            .map_err(|error| error.to_string());
        assert_eq!(once, twice, "{what}");
    }
}

#[test]
fn every_column_is_set_beside_the_target_whatever_the_types() {
    use std::fmt::Write as _;

    let folder = tempfile::tempdir().unwrap();
    // 70 columns of numbers, of which the last one follows the target, a category that does, and a name that tells rows.
    let write = |name: &str, rows: std::ops::Range<u32>| {
        let mut text =
            (0..70).map(|at| format!("n{at}")).collect::<Vec<_>>().join(",") + ",kind,id,flag,y,score\n";
        for row in rows {
            let yes = row * 7919 % 3 == 0;
            for at in 0..70_u32 {
                let noise = f64::from((row * 31 + at * 17) * 7919 % 1000) / 1000.0;
                let value = if at == 69 { noise + 2.0 * f64::from(u8::from(yes)) } else { noise };
                write!(text, "{value},").unwrap();
            }
            let kind = if yes && row % 10 != 0 { "a" } else { ["b", "c"][row as usize % 2] };
            let (flag, y) = (row % 2 == 0, if yes { "yes" } else { "no" });
            writeln!(text, "{kind},id{row},{flag},{y},{}", 3 * u8::from(kind == "a") + u8::from(flag))
                .unwrap();
        }
        let path = folder.path().join(name);
        fs_err::write(&path, text).unwrap();
        path
    };
    let (whole, first, second) = (write("w.csv", 0..900), write("a.csv", 0..400), write("b.csv", 400..900));
    let build = |path: &std::path::Path, target: &str| {
        let options = ProfileOptions { target: Some(target.to_owned()), ..ProfileOptions::dataset() };
        Profile::build(&Table::open(&[path.to_owned()], None).unwrap(), &options, &Quiet).unwrap()
    };
    let expected = python(
        "
import sys, json, numpy as np, pandas as pd
from scipy.stats import f_oneway, pearsonr, chi2_contingency
d = pd.read_csv(sys.argv[1])
def eta(num, cat):
    g = [x.to_numpy() for _, x in d[num].groupby(d[cat])]
    f = f_oneway(*g).statistic; k, n = len(g), len(d)
    e2 = f * (k - 1) / (f * (k - 1) + n - k)
    return float(np.sqrt(max(0, 1 - (1 - e2) * (n - 1) / (n - k))))
def v(a, b):
    t = pd.crosstab(d[a], d[b]).to_numpy(); n = t.sum(); r, c = t.shape
    phi2 = max(0, chi2_contingency(t, correction=False).statistic / n - (r - 1) * (c - 1) / (n - 1))
    rr, cc = r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)
    return float(np.sqrt(phi2 / min(rr - 1, cc - 1)))
print(json.dumps({'y': {'n69': eta('n69', 'y'), 'score': eta('score', 'y'), 'kind': v('kind', 'y'), 'flag': v('flag', 'y')},
                  'score': {'n69': float(pearsonr(d['score'], d['n69'])[0]), 'kind': eta('score', 'kind'), 'y': eta('score', 'y')}}))
",
        &[&whole],
    );
    for target in ["y", "score"] {
        let profile = build(&whole, target);
        let found = profile.stats().associations;
        for (column, value) in expected[target].as_object().unwrap() {
            let known = found
                .iter()
                .find(|one| one.column == *column)
                .unwrap_or_else(|| panic!("{column}: {found:?}"));
            assert!(
                (known.value - value.as_f64().unwrap()).abs() < 1e-9,
                "{target} {column}: {known:?} {value}"
            );
            assert_eq!(known.rows, 900);
        }
        // A column that names rows tells nothing of others, and the strongest come first.
        assert!(found.iter().all(|one| one.column != "id" && one.column != target));
        assert!(found.is_sorted_by(|a, b| a.value.abs() >= b.value.abs()), "{found:?}");
        // What is kept is read back, and parts are the whole.
        assert_eq!(Profile::from_bytes(&profile.to_bytes()).unwrap(), profile);
        let mut merged = build(&first, target);
        merged.merge(&build(&second, target)).unwrap();
        let merged = merged.stats().associations;
        for one in &found {
            let other = merged.iter().find(|other| other.column == one.column).unwrap();
            assert!((one.value - other.value).abs() < 1e-9 && one.kind == other.kind, "{one:?} {other:?}");
        }
    }
}

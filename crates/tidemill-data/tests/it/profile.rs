//! Summaries against pandas on the flights, and merges against the whole.

use serde_json::{Value, json};
use tidemill_data::profile::ColumnStats;
use tidemill_data::{Profile, Table};

use crate::python::{months, python};
use crate::read::generated;

const PANDAS: &str = "
import sys, json, pandas as pd
d = pd.concat([pd.read_parquet(p) for p in sys.argv[1:]], ignore_index=True)
out = {}
for c in d.columns:
    s = d[c]; v = s.dropna(); n = pd.api.types.is_numeric_dtype(s)
    vc = v.value_counts()
    top = vc[vc == vc.iloc[0]]
    out[c] = dict(count=int(s.count()), nulls=int(s.isna().sum()), distinct=int(s.nunique()),
        min=v.min().item() if n else str(v.min()), max=v.max().item() if n else str(v.max()),
        mean=float(v.mean()) if n else None, std=float(v.std()) if n else None,
        q={str(p): [float((v < x).mean()), float((v <= x).mean())] for p, x in []},
        sorted=None, top=int(vc.iloc[0]), length=float(v.str.len().mean()) if not n and v.dtype == object or str(v.dtype).startswith('str') else None)
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
        let text = serde_json::to_string(&part).unwrap();
        let part: Profile = serde_json::from_str(&text).unwrap();
        match &mut merged {
            None => merged = Some(part),
            Some(merged) => merged.merge(&part).unwrap(),
        }
    }
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
    assert_eq!((value.max.clone(), value.distinct.estimate), (Some(json!("inf")), 3));
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
    assert!(id.top[0].error > 0);
}

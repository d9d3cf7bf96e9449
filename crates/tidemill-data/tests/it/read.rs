//! Reading: types, nulls, several files, and what is said of files that are not as they should be.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, TimeUnit};
use tempfile::TempDir;
use tidemill_core::Hint;
use tidemill_data::{
    BATCH_ROWS, ColumnType, CsvOptions, Error, Format, JsonOptions, Table, write_parquet_deterministic,
    write_parquet_often_read,
};

use crate::python::{flights, months, python};

pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs_err::write(&path, content).unwrap();
        path
    }
}

pub(crate) fn open(path: &Path) -> Result<Table, Error> {
    Table::open(&[path.to_owned()], None)
}

fn types(table: &Table) -> Vec<(String, DataType)> {
    table.schema().fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
}

fn read(table: &Table) -> Result<Vec<RecordBatch>, Error> {
    table.batches(None)?.collect()
}

/// All rows as text, cell by cell.
fn rows(table: &Table) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for batch in read(table).unwrap() {
        for row in 0..batch.num_rows() {
            let cell = |array: &ArrayRef| arrow::util::display::array_value_to_string(array, row).unwrap();
            rows.push(batch.columns().iter().map(cell).collect());
        }
    }
    rows
}

fn fails(result: Result<Table, Error>) -> (String, Option<String>) {
    let error = result.err().expect("an error");
    (error.to_string(), error.hint())
}

#[test]
fn csv_types_and_nulls() {
    let files = Files::new();
    let path = files.write(
        "a.csv",
        "id,price,code,flag,day,at,zoned,text\n\
         1,1.5,007,true,2013-01-31,2013-01-31 12:00:00,2013-01-31T12:00:00+01:00,\"a, \"\"b\"\"\nc\"\n\
         -2,NA,012,FALSE,2013-02-01,2013-02-01,2013-02-01T00:00:00Z,\n\
         ,3e2,1,,,,,é\n",
    );
    let table = open(&path).unwrap();
    let micros = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let expected = [
        ("id", DataType::Int64),
        ("price", DataType::Float64),
        ("code", DataType::Utf8),
        ("flag", DataType::Boolean),
        ("day", DataType::Date32),
        ("at", micros(None)),
        ("zoned", micros(Some("UTC"))),
        ("text", DataType::Utf8),
    ];
    assert_eq!(types(&table), expected.map(|(name, kind)| (name.to_owned(), kind)));
    assert_eq!(table.rows(), 3);
    assert_eq!(
        rows(&table),
        [
            [
                "1",
                "1.5",
                "007",
                "true",
                "2013-01-31",
                "2013-01-31T12:00:00",
                "2013-01-31T11:00:00Z",
                "a, \"b\"\nc"
            ],
            ["-2", "", "012", "false", "2013-02-01", "2013-02-01T00:00:00", "2013-02-01T00:00:00Z", ""],
            ["", "300.0", "1", "", "", "", "", "é"],
        ]
    );
}

#[test]
fn csv_dialects_are_found_out() {
    let files = Files::new();
    for (name, text, columns) in [
        ("semicolon.csv", "a;b\n1,5;2\n2,5;3\n", vec!["a", "b"]),
        ("tab.csv", "a\tb\n1\t2\n", vec!["a", "b"]),
        ("pipe.csv", "a|b\r\n1|2\r\n", vec!["a", "b"]),
        ("one.csv", "a\n1\n2\n", vec!["a"]),
        ("headless.csv", "1,x\n2,y\n", vec!["column_1", "column_2"]),
        ("mark.csv", "\u{feff}a,b\n1,2\n", vec!["a", "b"]),
        ("gap.csv", "a,,c\n1,2,3\n", vec!["a", "column_2", "c"]),
        ("quoted.csv", "\"a,b\",c\n1,2\n", vec!["a,b", "c"]),
    ] {
        let table = open(&files.write(name, text)).unwrap();
        let found: Vec<String> = types(&table).into_iter().map(|(name, _)| name).collect();
        assert_eq!(found, columns, "{name}");
        assert_eq!(
            table.rows(),
            read(&table).unwrap().iter().map(|b| b.num_rows() as u64).sum::<u64>(),
            "{name}"
        );
    }
    let headless = open(&files.path("headless.csv")).unwrap();
    assert_eq!(rows(&headless), [["1", "x"], ["2", "y"]]);
}

#[test]
fn a_wrong_type_far_down_is_named() {
    let files = Files::new();
    let mut text = "id,delay\n".to_owned();
    for i in 1..80_000 {
        let delay = if i == 70_000 { "unknown".to_owned() } else { (i % 90).to_string() };
        text += &format!("{i},{delay}\n");
    }
    let path = files.write("flights.csv", &text);
    let (message, hint) = fails(open(&path));
    assert_eq!(
        message,
        format!(
            "`{}`, row 70000 (line 70001), column `delay`: `unknown` is not of type int, \
             as 79998 other values of the column are",
            path.display()
        )
    );
    assert!(hint.unwrap().contains("types: {delay: string}"));
    let types = [("delay".to_owned(), ColumnType::String)].into_iter().collect();
    let table = Table::open(
        std::slice::from_ref(&path),
        Some(Format::Csv(CsvOptions { types, ..CsvOptions::default() })),
    );
    assert_eq!(table.unwrap().schema().field(1).data_type(), &DataType::Utf8);
    let nulls = Some(vec!["unknown".to_owned()]);
    let table =
        Table::open(&[path], Some(Format::Csv(CsvOptions { nulls, ..CsvOptions::default() }))).unwrap();
    assert_eq!(table.schema().field(1).data_type(), &DataType::Int64);
    assert_eq!(read(&table).unwrap().iter().map(|b| b.column(1).null_count()).sum::<usize>(), 1);
}

#[test]
fn a_column_of_mixed_values_is_text() {
    let files = Files::new();
    let table = open(&files.write("a.csv", "a,b\n1,x\nn,2\n3,4\n")).unwrap();
    assert!(types(&table).iter().all(|(_, kind)| *kind == DataType::Utf8));
}

#[test]
fn declared_types_are_kept() {
    let files = Files::new();
    let path = files.write("a.csv", "zip,n\n01234,1\n2,x\n");
    let types =
        [("zip".to_owned(), ColumnType::String), ("n".to_owned(), ColumnType::Int)].into_iter().collect();
    let format = Format::Csv(CsvOptions { types, ..CsvOptions::default() });
    let table = Table::open(std::slice::from_ref(&path), Some(format)).unwrap();
    let error = read(&table).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`{}`, row 2 (line 3), column `n`: `x` is not of type int", path.display())
    );
    let types = [("zpi".to_owned(), ColumnType::String)].into_iter().collect();
    let format = Format::Csv(CsvOptions { types, ..CsvOptions::default() });
    assert_eq!(fails(Table::open(&[path], Some(format))).1.as_deref(), Some("did you mean `zip`?"));
}

#[test]
fn ragged_rows_are_named() {
    let files = Files::new();
    for (name, text, line, why) in [
        ("short.csv", "a,b\n1,2\n3\n", 3, "the row has 1 field and the header 2"),
        ("long.csv", "a,b\r\n1,2\r\n\r\n3,4,5\r\n", 4, "the row has 3 fields and the header 2"),
        ("folded.csv", "a,b\n\"x\ny\",2\n3\n", 4, "the row has 1 field and the header 2"),
        ("open.csv", "a,b\n1,2\n\"3,4\n5,6\n", 3, "the row has 1 field and the header 2"),
    ] {
        let path = files.write(name, text);
        let (message, hint) = fails(open(&path));
        assert_eq!(message, format!("`{}`, line {line}: {why}", path.display()));
        assert!(hint.is_some());
    }
    assert!(fails(open(&files.path("open.csv"))).1.unwrap().contains("quote"));
}

#[test]
fn other_bad_text_is_named() {
    let files = Files::new();
    for (name, content, what) in [
        ("twice.csv", b"a,b,a\n1,2,3\n".to_vec(), "line 1: two columns are called `a`"),
        ("latin.csv", b"a,b\n1,2\n1,M\xfcnchen\n".to_vec(), "line 3: field 2 is not UTF-8"),
        ("wide.csv", b"\xff\xfea\0,\0b\0".to_vec(), "line 1: the text is UTF-16"),
        ("cut.csv.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec(), "is truncated"),
        ("a.jsonl", b"{\"a\": 1}\n{\"a\": 2\n".to_vec(), "line 2: the object does not end on its line"),
        ("b.jsonl", b"{\"a\": 1}\n\n[1]\n".to_vec(), "line 3: not a JSON object"),
        (
            "c.jsonl",
            b"{\"a\": 1}\n{\"a\": \"x\"}\n".to_vec(),
            "line 2: column `a` holds text here and a whole number before",
        ),
        ("d.jsonl", b"{\"a\": nope}\n".to_vec(), "line 1: not JSON at column 8"),
        ("a.txt", b"a,b".to_vec(), "the format of"),
    ] {
        let (message, hint) = fails(open(&files.write(name, content)));
        assert!(message.contains(what), "{name}: {message}");
        assert!(message.contains(name), "{name}: {message}");
        assert!(hint.is_some(), "{name}");
    }
    assert!(fails(open(&files.path("missing.csv"))).0.contains("missing.csv"));
}

#[test]
fn compressed_text_is_read() {
    let files = Files::new();
    let text = "a,b\n1,x\n2,y\n";
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(text.as_bytes()).unwrap();
    let gz = files.write("a.csv.gz", gz.finish().unwrap());
    let zst = files.write("a.csv.zst", zstd::encode_all(text.as_bytes(), 1).unwrap());
    for path in [gz, zst] {
        assert_eq!(rows(&open(&path).unwrap()), [["1", "x"], ["2", "y"]], "{}", path.display());
    }
}

#[test]
fn json_lines_types() {
    let files = Files::new();
    let path = files.write(
        "a.jsonl",
        "{\"n\": 1, \"x\": 1, \"day\": \"2013-01-31\", \"list\": [1, 2], \"in\": {\"a\": null}}\n\
         {\"x\": 2.5, \"n\": 2, \"text\": \"2013-01-31\", \"day\": \"2013-02-01\", \"in\": {\"a\": \"b\"}}\n\
         {\"text\": \"x\"}",
    );
    let table = open(&path).unwrap();
    assert_eq!(table.rows(), 3);
    let kinds: Vec<String> = types(&table).iter().map(|(name, kind)| format!("{name} {kind}")).collect();
    assert_eq!(kinds[..3], ["n Int64", "x Float64", "day Date32"]);
    assert_eq!(kinds[5], "text Utf8");
    let found = rows(&table);
    assert_eq!(found[0][..4], ["1", "1.0", "2013-01-31", "[1, 2]"]);
    assert_eq!(found[2], ["", "", "", "", "", "x"]);
    let types = [("n".to_owned(), ColumnType::String)].into_iter().collect();
    let table = Table::open(&[path], Some(Format::JsonLines(JsonOptions { types }))).unwrap();
    assert_eq!(rows(&table)[0][0], "1");
}

#[test]
fn several_files_are_one_table() {
    let files = Files::new();
    let a = files.write("a.csv", "x,y\n1,p\n");
    let b = files.write("b.csv", "y,x\nq,2.5\n");
    let table = Table::open(&[a.clone(), b], None).unwrap();
    assert_eq!(rows(&table), [["1.0", "p"], ["2.5", "q"]]);
    let c = files.write("c.csv", "x,z\n1,2\n");
    let (message, _) = fails(Table::open(&[a.clone(), c.clone()], None));
    let differences = "`y` is missing; `z` is extra";
    assert_eq!(message, format!("`{}` has other columns than `{}`: {differences}", c.display(), a.display()));
    let (message, _) =
        fails(Table::open(&[flights().join("planes.parquet"), flights().join("airlines.parquet")], None));
    assert!(message.contains("`tailnum` is missing"), "{message}");
    let whole = Table::open(&[flights().join("flights")], None).unwrap();
    assert_eq!(whole.rows(), 336_776);
}

#[test]
fn empty_files() {
    let files = Files::new();
    for (name, content) in [("a.csv", ""), ("b.csv", "\n\n"), ("c.jsonl", ""), ("d.csv", "a,b\n")] {
        let table = open(&files.write(name, content)).unwrap();
        assert_eq!((table.rows(), read(&table).unwrap().len()), (0, 0), "{name}");
    }
    assert_eq!(open(&files.path("d.csv")).unwrap().schema().fields().len(), 2);
    for name in ["a.parquet", "a.arrow"] {
        assert!(fails(open(&files.write(name, ""))).0.contains("truncated: it is empty"), "{name}");
    }
}

#[test]
fn truncated_and_corrupt_parquet() {
    let files = Files::new();
    let whole = fs_err::read(flights().join("planes.parquet")).unwrap();
    for cut in [1, 3, 5, 100, whole.len() / 2, whole.len() - 1] {
        let path = files.write("cut.parquet", &whole[..cut]);
        let (message, hint) = fails(open(&path));
        assert!(message.contains("cut.parquet` is truncated"), "{cut}: {message}");
        assert!(hint.is_some());
    }
    let (message, _) = fails(open(&files.write("text.parquet", "a,b\n1,2\n")));
    assert!(message.contains("not a readable Parquet file: it does not begin with `PAR1`"), "{message}");
    // A byte in a page: found when it is read, and named.
    let mut bad = whole.clone();
    for byte in &mut bad[40..200] {
        *byte ^= 0x55;
    }
    let path = files.write("bad.parquet", &bad);
    let error = open(&path).and_then(|table| read(&table)).unwrap_err();
    assert!(error.to_string().contains("bad.parquet"), "{error}");
}

#[test]
fn arrow_files_are_read_as_pyarrow_writes_them() {
    let files = Files::new();
    let path = files.path("weather.arrow");
    python(
        "import sys, pyarrow.parquet as q, pyarrow.feather as f\n\
         f.write_feather(q.read_table(sys.argv[1]), sys.argv[2], compression='zstd', chunksize=1000)\nprint(0)",
        &[&flights().join("weather.parquet"), &path],
    );
    let (arrow, parquet) = (open(&path).unwrap(), open(&flights().join("weather.parquet")).unwrap());
    assert_eq!(arrow.rows(), parquet.rows());
    assert_eq!(rows(&arrow), rows(&parquet));
    let some = arrow.batches(Some(&[3, 0])).unwrap().next().unwrap().unwrap();
    assert_eq!(some.schema().field(1).name(), parquet.schema().field(0).name());
    let whole = fs_err::read(&path).unwrap();
    for cut in [3, 12, whole.len() / 2, whole.len() - 1] {
        let (message, _) = fails(open(&files.write("cut.arrow", &whole[..cut])));
        assert!(message.contains("cut.arrow` is truncated"), "{cut}: {message}");
    }
}

#[test]
fn batches_are_bounded_and_projected() {
    let table = Table::open(&months(2), None).unwrap();
    let columns = [table.column("dest").unwrap(), table.column("year").unwrap()];
    let mut rows = 0;
    for batch in table.batches(Some(&columns)).unwrap() {
        let batch = batch.unwrap();
        assert!(batch.num_rows() <= BATCH_ROWS);
        assert_eq!(batch.schema().field(0).name(), "dest");
        assert_eq!(batch.num_columns(), 2);
        rows += batch.num_rows() as u64;
    }
    assert_eq!(rows, table.rows());
    assert_eq!(
        table.batches(Some(&[])).unwrap().map(|b| b.unwrap().num_rows() as u64).sum::<u64>(),
        table.rows()
    );
    assert!(table.batches(Some(&[99])).is_err());
    assert_eq!(table.column("yaer").unwrap_err().hint().as_deref(), Some("did you mean `year`?"));
}

#[test]
fn parquet_bytes_do_not_depend_on_batches() {
    let files = Files::new();
    let table = Table::open(&months(3), None).unwrap();
    let whole = read(&table).unwrap();
    let path = files.path("a.parquet");
    let written = write_parquet_deterministic(table.schema(), whole.iter().cloned().map(Ok), &path).unwrap();
    assert_eq!(written.rows, table.rows());
    let first = fs_err::read(&path).unwrap();
    assert_eq!(written.bytes, first.len() as u64);
    for size in [1000, 8191, 20_000] {
        let joined = arrow::compute::concat_batches(table.schema(), &whole).unwrap();
        let pieces = (0..joined.num_rows())
            .step_by(size)
            .map(|start| Ok(joined.slice(start, size.min(joined.num_rows() - start))));
        write_parquet_deterministic(table.schema(), pieces, &path).unwrap();
        assert!(fs_err::read(&path).unwrap() == first, "batches of {size} rows");
    }
    let back = open(&path).unwrap();
    assert_eq!(back.rows(), table.rows());
    let same = python(
        "import sys, json, pyarrow.parquet as q, pyarrow as a\n\
         x = q.read_table(sys.argv[1]); y = a.concat_tables([q.read_table(p) for p in sys.argv[2:]])\n\
         print(json.dumps([x.equals(y), x.schema.equals(y.schema), q.read_metadata(sys.argv[1]).created_by]))",
        &[path.as_path()].into_iter().chain(months(3).iter().map(PathBuf::as_path)).collect::<Vec<_>>(),
    );
    assert_eq!(same, serde_json::json!([true, true, "tidemill version 1 (build 1)"]));
}

#[test]
fn few_rows_that_are_often_read_are_packed_by_snappy() {
    let files = Files::new();
    let table = Table::open(&months(1), None).unwrap();
    let joined = arrow::compute::concat_batches(table.schema(), &read(&table).unwrap()).unwrap();
    let path = files.path("a.parquet");
    for (rows, packed) in
        [(0, None), (1_000, Some("SNAPPY")), (16_383, Some("SNAPPY")), (16_384, Some("ZSTD"))]
    {
        let mut before = None;
        for size in [600, 20_000] {
            let pieces = (0..rows).step_by(size).map(|start| Ok(joined.slice(start, size.min(rows - start))));
            assert_eq!(write_parquet_often_read(table.schema(), pieces, &path).unwrap().rows, rows as u64);
            let bytes = fs_err::read(&path).unwrap();
            assert!(before.is_none_or(|before| before == bytes), "{rows} rows in pieces of {size}");
            before = Some(bytes);
        }
        let told = python(
            "import sys, json, pyarrow.parquet as q\n\
             m = q.read_metadata(sys.argv[1]); groups = range(m.num_row_groups)\n\
             print(json.dumps(sorted({m.row_group(g).column(c).compression for g in groups for c in range(m.num_columns)})))",
            &[path.as_path()],
        );
        assert_eq!(told, serde_json::json!(packed.into_iter().collect::<Vec<_>>()), "{rows} rows");
    }
}

#[test]
fn a_failed_write_leaves_what_was_there() {
    let files = Files::new();
    let path = files.write("a.parquet", "before");
    let table = Table::open(&months(1), None).unwrap();
    let batches = table.batches(None).unwrap().take(3).chain([Err(Error::Cancelled)]);
    assert!(matches!(write_parquet_deterministic(table.schema(), batches, &path), Err(Error::Cancelled)));
    assert_eq!(fs_err::read_to_string(&path).unwrap(), "before");
    assert_eq!(fs_err::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    let missing = files.path("no/such/folder/a.parquet");
    let error =
        write_parquet_deterministic(table.schema(), table.batches(None).unwrap(), &missing).unwrap_err();
    assert!(error.to_string().contains("a.parquet"), "{error}");
}

/// A table of generated rows, for the other modules.
pub(crate) fn generated(ids: Vec<i64>, names: Vec<Option<String>>, values: Vec<Option<f64>>) -> Table {
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from(ids)) as ArrayRef, true),
        ("name", Arc::new(StringArray::from(names)) as ArrayRef, true),
        ("value", Arc::new(Float64Array::from(values)) as ArrayRef, true),
    ])
    .unwrap();
    Table::from_batches(batch.schema(), vec![batch]).unwrap()
}

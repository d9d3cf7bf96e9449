//! Foreign bytes: any input returns, and text that was written is read back.

use proptest::prelude::*;
use tidemill_data::fuzz::{fuzz_arrow, fuzz_csv, fuzz_json_lines, fuzz_parquet, fuzz_profile};
use tidemill_data::{CsvOptions, Format, Table};

use crate::python::flights;
use crate::read::Files;

/// The body of a profile of a small table.
static PROFILE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
    let table = Table::open(&[flights().join("airlines.parquet")], None).unwrap();
    let options = tidemill_data::ProfileOptions::dataset();
    let bytes = tidemill_data::Profile::build(&table, &options, &tidemill_core::Quiet).unwrap().to_bytes();
    zstd::bulk::decompress(&bytes[18..], 1 << 20).unwrap()
});

/// Fields with everything that needs quoting.
fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,5}",
        "[0-9]{1,4}",
        Just(String::new()),
        "[,;\t|\"'a\r\n é]{1,6}",
        Just("2013-01-31".to_owned()),
    ]
}

fn quoted(field: &str) -> String {
    format!("\"{}\"", field.replace('"', "\"\""))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_bytes_return(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz_csv(&bytes);
        fuzz_json_lines(&bytes);
        fuzz_arrow(&bytes);
        fuzz_parquet(&bytes);
        fuzz_profile(&bytes);
    }

    #[test]
    fn damaged_profiles_return(place in 0usize..100_000, byte in any::<u8>(), cut in 0usize..2000) {
        // The body, so that the checksum does not keep the damage out.
        let mut bytes = PROFILE.clone();
        let length = bytes.len();
        bytes[place % length] ^= byte;
        fuzz_profile(&bytes);
        bytes.truncate(length - cut % length);
        fuzz_profile(&bytes);
    }

    #[test]
    fn any_text_returns(text in "[a,\"\n\r0-9{}:\\[\\]. ]{0,200}") {
        fuzz_csv(text.as_bytes());
        fuzz_json_lines(text.as_bytes());
    }

    #[test]
    fn damaged_parquet_returns(place in 0usize..10_000, byte in any::<u8>(), cut in 0usize..2000) {
        let mut bytes = fs_err::read(flights().join("airlines.parquet")).unwrap();
        let length = bytes.len();
        bytes[place % length] ^= byte;
        fuzz_parquet(&bytes);
        bytes.truncate(length - cut % length);
        fuzz_parquet(&bytes);
    }

    #[test]
    fn written_csv_is_read_back(
        rows in proptest::collection::vec(proptest::collection::vec(field(), 3), 1..40),
        crlf in any::<bool>(),
    ) {
        let files = Files::new();
        let end = if crlf { "\r\n" } else { "\n" };
        let mut text = format!("a,b,c{end}");
        for row in &rows {
            text += &row.iter().map(|field| quoted(field)).collect::<Vec<_>>().join(",");
            text += end;
        }
        let path = files.write("a.csv", &text);
        let types = ["a", "b", "c"].map(|name| (name.to_owned(), tidemill_data::ColumnType::String));
        let options = CsvOptions {
            delimiter: Some(','),
            nulls: Some(Vec::new()),
            types: types.into_iter().collect(),
            ..CsvOptions::default()
        };
        let table = Table::open(&[path], Some(Format::Csv(options))).unwrap();
        prop_assert_eq!(table.rows(), rows.len() as u64);
        let mut read = Vec::new();
        for batch in table.batches(None).unwrap() {
            let batch = batch.unwrap();
            for row in 0..batch.num_rows() {
                let cell = |array| arrow::util::display::array_value_to_string(array, row).unwrap();
                read.push(batch.columns().iter().map(|array| cell(array)).collect::<Vec<_>>());
            }
        }
        prop_assert_eq!(read, rows);
    }
}

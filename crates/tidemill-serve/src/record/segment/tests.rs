//! What is written comes back; what is torn is cut; what is damaged is never given out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use tidemill_core::Timestamp;
use tidemill_runtime::{Tensor, Values};

use super::*;
use crate::Record;
use crate::record::LogError;
use crate::record::codec::{self, Layout, Payload};
use crate::{Failure, Named, Status};

/// A record of two rows with inputs `age` and `city` and output `p`.
pub(crate) fn record(number: u64, millis: i64) -> Record {
    let named = |name: &str, tensor| Named { name: name.to_owned(), tensor };
    let x = number as f32;
    Record {
        id: format!("request-{number:06}").into(),
        time: Timestamp::from_millis(millis),
        endpoint: "loans".into(),
        model: "loan-risk".into(),
        version: "3".into(),
        release: "b3:00".into(),
        arm: Some("champion".into()),
        is_shadow: false,
        latency: Duration::from_micros(250 + number),
        inputs: vec![
            named("age", Tensor::vector(Values::F32(vec![x, x + 0.5]))),
            named("city", Tensor::vector(Values::Bytes(vec![b"Oslo".to_vec(), "Málaga".into()]))),
        ],
        outputs: vec![named("p", Tensor::new(vec![2, 2], Values::F64(vec![0.25, 0.75, 0.5, 0.5])).unwrap())],
        status: Status::Answered,
        warnings: Vec::new(),
        entity: Some(format!("customer-{}", number % 7).into()),
        headers: vec![("x-team".into(), "risk".to_owned())],
    }
}

fn write(dir: &Path, records: &[Record]) -> PathBuf {
    let mut writer = SegmentWriter::create(dir, "loans", Timestamp::from_millis(5)).unwrap();
    records.iter().for_each(|record| assert!(writer.append(record)));
    writer.write_out().unwrap();
    writer.path().to_owned()
}

pub(crate) fn read(path: &Path) -> Vec<Record> {
    let Some(mut reader) = SegmentReader::open(path).unwrap() else { return Vec::new() };
    let endpoint = reader.endpoint.clone();
    let mut records = Vec::new();
    while reader.next(|view, layout, _| records.push(codec::owned(view, layout, &endpoint).unwrap())).unwrap()
    {
    }
    records
}

fn debug(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| format!("{record:?}")).collect()
}

fn all_kinds() -> Vec<Record> {
    let mut records: Vec<Record> = (0..4).map(|i| record(i, i64::try_from(i).unwrap() * 10)).collect();
    let values = [
        Values::Bool(vec![true, false]),
        Values::U8(vec![0, 255]),
        Values::U16(vec![0, u16::MAX]),
        Values::U32(vec![0, u32::MAX]),
        Values::U64(vec![0, u64::MAX]),
        Values::I8(vec![-128, 127]),
        Values::I16(vec![i16::MIN, 1]),
        Values::I32(vec![i32::MIN, 1]),
        Values::I64(vec![i64::MIN, 1]),
        Values::F16(vec![half::f16::from_f32(1.5), half::f16::NEG_INFINITY]),
        Values::Bf16(vec![half::bf16::from_f32(1.5), half::bf16::ZERO]),
        Values::F32(vec![f32::MIN_POSITIVE, -0.0]),
        Values::F64(vec![f64::MAX, 1e-300]),
        Values::Bytes(vec![vec![0, 0xff, 0xfe], Vec::new()]),
    ];
    let tensors = values.into_iter().enumerate();
    records[1].inputs =
        tensors.map(|(i, values)| Named { name: format!("c{i}"), tensor: Tensor::vector(values) }).collect();
    records[2].inputs = vec![
        Named { name: "scalar".into(), tensor: Tensor::new(vec![], Values::I64(vec![9])).unwrap() },
        Named { name: "none".into(), tensor: Tensor::new(vec![0, 3], Values::F32(vec![])).unwrap() },
        Named {
            name: "cube".into(),
            tensor: Tensor::new(vec![2, 1, 3], Values::I8(vec![1, 2, 3, 4, 5, 6])).unwrap(),
        },
    ];
    records[2].outputs = Vec::new();
    records[2].status = Status::Failed(Failure { kind: "model", message: "no \"answer\"\n".to_owned() });
    records[2].warnings = vec!["é".to_owned(), String::new()];
    records[2].entity = None;
    records[2].arm = None;
    records[2].headers = Vec::new();
    records[3].status = Status::FellBack(Failure { kind: "deadline", message: String::new() });
    records[3].is_shadow = true;
    records
}

#[test]
fn every_kind_of_value_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let records = all_kinds();
    let path = write(dir.path(), &records);
    assert_eq!(debug(&read(&path)), debug(&records));
}

#[test]
fn a_record_is_found_again_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &all_kinds());
    let mut reader = SegmentReader::open(&path).unwrap().unwrap();
    let mut places = Vec::new();
    while reader.next(|view, _, at| places.push((view.id.to_owned(), at))).unwrap() {}
    for (id, at) in places.iter().rev().chain(&places) {
        assert_eq!(&reader.read_at(*at, |view, _| view.id.to_owned()).unwrap(), id);
    }
    assert!(reader.read_at(places[1].1 + 1, |_, _| ()).is_err());
}

#[test]
fn cut_anywhere_the_whole_records_before_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let records = all_kinds();
    let path = write(dir.path(), &records);
    let bytes = fs_err::read(&path).unwrap();
    let mut ends = Vec::new();
    let mut reader = SegmentReader::open(&path).unwrap().unwrap();
    while reader.next(|_, _, _| ()).unwrap() {
        ends.push(reader.end());
    }
    for length in 0..=bytes.len() {
        let copy = tempfile::tempdir().unwrap();
        let folder = copy.path().join("loans");
        fs_err::create_dir_all(&folder).unwrap();
        fs_err::write(folder.join("1.open"), &bytes[..length]).unwrap();
        let whole = ends.iter().filter(|end| **end <= length as u64).count();
        let recovered = recover(copy.path()).unwrap();
        assert_eq!((recovered.segments, recovered.records), (1, whole as u64), "{length}");
        assert!(!folder.join("1.cut").exists(), "{length}");
        if whole > 0 {
            assert_eq!(debug(&read(&folder.join("1.seg"))), debug(&records[..whole]), "{length}");
        } else {
            assert!(!folder.join("1.seg").exists());
        }
    }
}

#[test]
fn a_changed_byte_is_never_given_out_and_a_copy_is_kept() {
    let records = all_kinds();
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &records);
    let bytes = fs_err::read(&path).unwrap();
    let whole = debug(&records);
    for at in 12..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        fs_err::write(&path, &changed).unwrap();
        let read = debug(&read(&path));
        assert!(read.len() < whole.len() && read == whole[..read.len()], "{at}");
    }
    // Early damage is no torn write: nothing of it is thrown away.
    let mut changed = bytes.clone();
    changed[60] ^= 1;
    fs_err::write(&path, &changed).unwrap();
    recover(dir.path()).unwrap();
    assert_eq!(fs_err::read(path.with_extension("cut")).unwrap(), changed);
}

#[test]
fn other_files_and_other_versions_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &all_kinds());
    let mut bytes = fs_err::read(&path).unwrap();
    bytes[8] = 2;
    fs_err::write(&path, &bytes).unwrap();
    assert!(matches!(SegmentReader::open(&path), Err(LogError::Foreign { .. })));
    fs_err::write(&path, b"something else altogether").unwrap();
    assert!(matches!(SegmentReader::open(&path), Err(LogError::Foreign { .. })));
}

#[test]
fn endpoints_have_folders_of_their_own() {
    let names = ["loans", "Loans", "loans ", "a/b", "a%2Fb", ".", "..", "", "-", "é"];
    let folders: std::collections::BTreeSet<String> = names.iter().map(|name| folder_name(name)).collect();
    assert_eq!(folders.len(), names.len());
    assert!(folders.iter().all(|name| !name.contains('/') && !name.starts_with('.')));
    let (long, longer) = ("x".repeat(300), "x".repeat(301));
    assert!(folder_name(&long).len() < 255 && folder_name(&long) != folder_name(&longer));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_payload_makes_the_reader_panic(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        let layouts = vec![Layout::of(&record(1, 1)), Layout::of(&all_kinds()[2])];
        for kind in [1, 2] {
            let mut bytes = vec![kind];
            bytes.extend_from_slice(&payload);
            if let Some(Payload::Record(view)) = codec::decode(&bytes, &layouts) {
                let layout = &layouts[view.layout];
                let _ = codec::owned(&view, layout, &"e".into());
            }
        }
    }
}

/// Replaces bytes in the payload of the first record that has them, and makes its frame whole again.
pub(crate) fn patch(path: &Path, from: &[u8], to: &[u8]) {
    let bytes = fs_err::read(path).unwrap();
    let mut out = bytes[..PREAMBLE as usize].to_vec();
    let (mut at, mut is_done) = (PREAMBLE as usize, false);
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let mut payload = bytes[at + FRAME..at + FRAME + length].to_vec();
        // Layouts begin with 1 and records with 2.
        if let Some(place) = payload.windows(from.len()).position(|window| window == from)
            && payload[0] == 2
            && !is_done
        {
            payload.splice(place..place + from.len(), to.iter().copied());
            is_done = true;
        }
        let offset = out.len() as u64;
        out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        out.extend_from_slice(&checksum(&payload, offset).to_le_bytes());
        out.extend_from_slice(&payload);
        at += FRAME + length;
    }
    assert!(is_done, "the bytes are nowhere");
    fs_err::write(path, out).unwrap();
}

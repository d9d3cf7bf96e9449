//! The same outcomes whatever the body is and however it is cut; bad rows are told and the others kept.

use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};

use super::*;

fn read(format: BodyFormat, body: &[u8], step: usize) -> Result<(Vec<String>, Vec<Rejected>), LogError> {
    let mut reader = OutcomeReader::new("loans", format, Timestamp::from_millis(9))?;
    let (mut outcomes, mut rejected) = (Vec::new(), Vec::new());
    for part in body.chunks(step) {
        reader.push(part)?;
        let (some, bad) = reader.take();
        outcomes.extend(some);
        rejected.extend(bad);
    }
    reader.finish(10, &mut |some, bad| {
        outcomes.extend(some);
        rejected.extend(bad);
        Ok(())
    })?;
    let show = |outcome: &Outcome| {
        assert_eq!((outcome.endpoint.as_str(), outcome.received_at.millis()), ("loans", 9));
        format!(
            "{} {:?} {:?} {:?} {:?} {:?} {:?}",
            outcome.name,
            outcome.request_id.as_deref(),
            outcome.row,
            outcome.entity.as_deref(),
            outcome.occurred_at.map(Timestamp::millis),
            outcome.number,
            outcome.text.as_deref()
        )
    };
    Ok((outcomes.iter().map(show).collect(), rejected))
}

const EXPECTED: [&str; 4] = [
    "label Some(\"007\") None None None Some(1.0) None",
    "amount Some(\"007\") None None None Some(12.5) None",
    "label None None Some(\"ana, \\\"x\\\"\") Some(1000) None Some(\"paid\")",
    "amount None None Some(\"ana, \\\"x\\\"\") Some(1000) Some(3.0) None",
];

#[test]
fn every_format_gives_the_same_outcomes() {
    let lines = br#"{"request_id":"007","label":true,"amount":12.5}

{"entity":"ana, \"x\"","time":"1970-01-01T00:00:01Z","label":"paid","amount":3}
"#;
    let csv = b"request_id,entity,time,label,amount\r\n007,,,true,12.5\r\n,\"ana, \"\"x\"\"\",1970-01-01 00:00:01,paid,3";
    let json = br#"[{"request_id":"007","label":1,"amount":12.5},
        {"entity":"ana, \"x\"","time":1000,"label":"paid","amount":3.0,"extra":null}]"#;
    for step in [1, 7, 1000] {
        for (format, body) in [
            (BodyFormat::JsonLines, lines.as_slice()),
            (BodyFormat::Csv, csv.as_slice()),
            (BodyFormat::Json, json.as_slice()),
        ] {
            let (mut outcomes, rejected) = read(format, body, step).unwrap();
            // Fields of JSON objects are in no order.
            outcomes.sort_by_key(|outcome| EXPECTED.iter().position(|expected| expected == outcome));
            assert_eq!(outcomes, EXPECTED, "{format:?} {step}");
            assert_eq!(rejected, []);
        }
    }
}

#[test]
fn parquet_is_read_through_a_file() {
    let batch = RecordBatch::try_from_iter([
        ("request_id", Arc::new(StringArray::from(vec![Some("007"), None])) as arrow::array::ArrayRef),
        ("row", Arc::new(Int64Array::from(vec![Some(2), None]))),
        ("entity", Arc::new(StringArray::from(vec![None, Some("b")]))),
        ("time", Arc::new(TimestampMillisecondArray::from(vec![None, Some(1500)]))),
        ("value", Arc::new(Float64Array::from(vec![0.25, -1.0]))),
    ])
    .unwrap();
    let mut body = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut body, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let (outcomes, rejected) = read(BodyFormat::Parquet, &body, 100).unwrap();
    assert_eq!(
        outcomes,
        [
            "label Some(\"007\") Some(2) None None Some(0.25) None",
            "label None None Some(\"b\") Some(1500) Some(-1.0) None",
        ]
    );
    assert_eq!(rejected, []);
    for cut in [0, 3, body.len() / 2, body.len() - 1] {
        let error = read(BodyFormat::Parquet, &body[..cut], 100).unwrap_err().to_string();
        assert!(error.starts_with("the body is no readable Parquet file"), "{error}");
    }
}

#[test]
fn bad_rows_are_named_and_the_others_kept() {
    let lines = b"{\"request_id\":\"1\",\"label\":1}\nnot json\n[1]\n{\"label\":1}\n{\"request_id\":\"2\"}\n\
        {\"request_id\":\"3\",\"label\":[1]}\n{\"entity\":\"x\",\"time\":\"soon\",\"label\":1}\n\
        {\"request_id\":true,\"label\":1}\n{\"request_id\":4,\"row\":-1,\"label\":1}\n{\"request_id\":5,\"label\":0}";
    let (outcomes, rejected) = read(BodyFormat::JsonLines, lines, 13).unwrap();
    assert_eq!(outcomes.len(), 2);
    let told: Vec<(u64, &str)> = rejected.iter().map(|bad| (bad.row, bad.why.as_str())).collect();
    let expected = [
        (2, "it is no JSON"),
        (3, "it is no object"),
        (4, "neither `request_id` nor `entity`"),
        (5, "it has no value"),
        (6, "neither number, text nor truth value"),
        (7, "`time` is \"soon\""),
        (8, "`request_id` is true"),
        (9, "`row` is -1"),
    ];
    assert_eq!(told.len(), expected.len());
    for ((row, why), (expected_row, part)) in told.iter().zip(expected) {
        assert!(*row == expected_row && why.contains(part), "{row}: {why}");
    }
    let (outcomes, rejected) = read(BodyFormat::Csv, b"request_id,label\na,1\nb,2,3\nc,4\n", 3).unwrap();
    assert_eq!((outcomes.len(), rejected[0].row), (2, 2));
    let long = vec![b'x'; MAX_LINE + 10];
    assert!(
        read(BodyFormat::JsonLines, &long, 1000).unwrap_err().to_string().contains("row 1 has more than")
    );
    assert!(read(BodyFormat::Csv, &long, 1000).unwrap_err().to_string().contains("row 1 has more than"));
    assert!(
        read(BodyFormat::Json, &vec![b' '; MAX_JSON + 1], 65536)
            .unwrap_err()
            .to_string()
            .contains("JSON lines")
    );
}

#[test]
fn an_entity_that_no_record_keeps_is_rejected() {
    let reader = OutcomeReader::new("loans", BodyFormat::JsonLines, Timestamp::from_millis(9)).unwrap();
    let mut reader = reader.without_entities();
    reader
        .push(b"{\"entity\":\"ana\",\"label\":1}\n{\"request_id\":\"7\",\"entity\":\"ana\",\"label\":1}\n")
        .unwrap();
    let (outcomes, rejected) = reader.take();
    assert_eq!(outcomes.len(), 1);
    assert!(rejected[0].row == 1 && rejected[0].why.contains("keep no entity"), "{rejected:?}");
}

//! Tables become frames: every Arrow type, missing values, unknown categories, and the errors.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array,
    Int8Array, Int64Array, LargeStringArray, NullArray, RecordBatch, StringArray, StringViewArray,
    Time32SecondArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::Int32Type;
use tidemill_core::Hint;
use tidemill_core::declare::TaskKind;
use tidemill_train::Error;
use tidemill_train::frame::{
    ClassLabel, ColumnData, ColumnKind, Frame, FrameSchema, NO_LEVEL, Selection, Source, Table, Target,
};

fn table(columns: Vec<(&str, ArrayRef)>) -> Table {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let rows = batch.num_rows();
    Table::new(batch.schema(), vec![batch.slice(0, 1), batch.slice(1, rows - 1)]).unwrap()
}

fn learn(table: &Table) -> FrameSchema {
    FrameSchema::learn(table, None, Selection::default()).unwrap()
}

fn numbers(frame: &Frame, column: usize) -> Vec<Option<f64>> {
    let ColumnData::Numeric(values) = &frame.columns()[column].data else { panic!("numbers expected") };
    values.iter().map(|value| (!value.is_nan()).then_some(*value)).collect()
}

fn codes(frame: &Frame, column: usize) -> (Vec<Option<u32>>, Vec<String>) {
    let ColumnData::Category { codes, levels } = &frame.columns()[column].data else {
        panic!("categories expected")
    };
    (codes.iter().map(|code| (*code != NO_LEVEL).then_some(*code)).collect(), levels.to_vec())
}

#[test]
fn every_number_type_is_read() {
    let decimals =
        Decimal128Array::from(vec![Some(150), None, Some(-25)]).with_precision_and_scale(9, 2).unwrap();
    let arrays: Vec<(ArrayRef, Source, [Option<f64>; 3])> = vec![
        (Arc::new(Int8Array::from(vec![1, -2, 3])), Source::Int, [Some(1.0), Some(-2.0), Some(3.0)]),
        (
            Arc::new(UInt64Array::from(vec![Some(1), None, Some(3)])),
            Source::Double,
            [Some(1.0), None, Some(3.0)],
        ),
        (
            Arc::new(Float32Array::from(vec![Some(0.5), None, Some(f32::NAN)])),
            Source::Float,
            [Some(0.5), None, None],
        ),
        (
            Arc::new(Float64Array::from(vec![0.1, 1e300, f64::INFINITY])),
            Source::Double,
            [Some(0.1), Some(1e300), Some(f64::INFINITY)],
        ),
        (Arc::new(decimals), Source::Double, [Some(1.5), None, Some(-0.25)]),
        (
            Arc::new(BooleanArray::from(vec![true, false, true])),
            Source::Bool,
            [Some(1.0), Some(0.0), Some(1.0)],
        ),
        (Arc::new(BooleanArray::from(vec![Some(true), None, None])), Source::Double, [Some(1.0), None, None]),
        (Arc::new(NullArray::new(3)), Source::Double, [None, None, None]),
    ];
    for (array, source, expected) in arrays {
        let kind = array.data_type().clone();
        let table = table(vec![("x", array)]);
        let schema = learn(&table);
        assert_eq!(schema.columns[0].source, source, "{kind}");
        assert_eq!(schema.columns[0].kind, ColumnKind::Numeric, "{kind}");
        assert_eq!(numbers(&schema.frame(&table).unwrap(), 0), expected, "{kind}");
    }
}

#[test]
fn every_text_type_gives_the_same_categories() {
    let words = vec![Some("b"), None, Some("a"), Some(""), Some("b")];
    let dictionary: DictionaryArray<Int32Type> = words.iter().copied().collect();
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(words.clone())),
        Arc::new(LargeStringArray::from(words.clone())),
        Arc::new(StringViewArray::from(words.clone())),
        Arc::new(dictionary),
    ];
    for array in arrays {
        let table = table(vec![("x", array)]);
        let schema = learn(&table);
        assert_eq!(schema.columns[0].source, Source::Text);
        let expected = (vec![Some(1), None, Some(0), None, Some(1)], vec!["a".into(), "b".into()]);
        assert_eq!(codes(&schema.frame(&table).unwrap(), 0), expected);
    }
}

#[test]
fn numbers_can_be_categories() {
    let array: ArrayRef =
        Arc::new(Float64Array::from(vec![Some(10.0), Some(2.5), None, Some(-0.0), Some(10.0)]));
    let table = table(vec![("x", array)]);
    let categorical = ["x".to_owned()];
    let selection = Selection { categorical: &categorical, ..Selection::default() };
    let schema = FrameSchema::learn(&table, None, selection).unwrap();
    let levels = ["0", "2.5", "10"].map(str::to_owned).to_vec();
    assert_eq!(
        codes(&schema.frame(&table).unwrap(), 0),
        (vec![Some(2), Some(1), None, Some(0), Some(2)], levels)
    );
}

#[test]
fn categories_come_from_the_training_rows_only() {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c", "a"]));
    let whole: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(4)]));
    let table = table(vec![("x", text), ("n", whole)]);
    let schema = FrameSchema::learn(&table, Some(&[0, 1]), Selection::default()).unwrap();
    let frame = schema.frame(&table).unwrap();
    let levels = ["a", "b"].map(str::to_owned).to_vec();
    assert_eq!(codes(&frame, 0), (vec![Some(0), Some(1), None, Some(0)], levels));
    assert_eq!(schema.columns[1].source, Source::Int);
    assert_eq!(numbers(&frame, 1), [Some(1.0), Some(2.0), None, Some(4.0)]);
    let json = serde_json::to_string(&schema).unwrap();
    assert_eq!(serde_json::from_str::<FrameSchema>(&json).unwrap(), schema);
}

#[test]
fn columns_are_selected_and_found_by_name() {
    let whole = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let trained = table(vec![("a", whole(vec![1, 2])), ("b", whole(vec![3, 4])), ("y", whole(vec![0, 1]))]);
    let chosen = ["b".to_owned(), "y".to_owned(), "a".to_owned()];
    let selection = Selection { columns: Some(&chosen), without: &["y"], ..Selection::default() };
    let schema = FrameSchema::learn(&trained, None, selection).unwrap();
    let names: Vec<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
    let other = table(vec![("z", whole(vec![9, 9])), ("a", whole(vec![5, 6])), ("b", whole(vec![7, 8]))]);
    let frame = schema.frame(&other).unwrap();
    assert_eq!(numbers(&frame, 0), [Some(7.0), Some(8.0)]);
    assert_eq!(numbers(&frame, 1), [Some(5.0), Some(6.0)]);
}

#[test]
fn what_cannot_be_used_is_named() {
    let whole: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["1", "2"]));
    let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1, 2]));
    let table = table(vec![("whole", whole.clone()), ("text", text.clone()), ("time", time)]);
    let choose = |names: &[&str]| -> Error {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        FrameSchema::learn(&table, None, Selection { columns: Some(&names), ..Selection::default() })
            .unwrap_err()
    };
    for (error, message, hint) in [
        (choose(&["hole"]), "feature column `hole` is not in the table", Some("did you mean `whole`?")),
        (
            choose(&["time"]),
            "feature column `time` has type Timestamp(µs), which cannot be used: a number, a boolean or text is needed",
            Some("cast it in the step that makes the table, or add `time` to `drop`"),
        ),
        (
            choose(&["whole", "whole"]),
            "column `whole` is named twice: as a feature and as a feature",
            Some("leave it in one place"),
        ),
        (
            choose(&[]),
            "no column is left to learn from",
            Some("name columns in `columns`, or drop fewer in `drop`"),
        ),
    ] {
        assert_eq!((error.to_string().as_str(), error.hint().as_deref()), (message, hint));
    }
    let both = ["whole".to_owned(), "text".to_owned()];
    let schema =
        FrameSchema::learn(&table, None, Selection { columns: Some(&both), ..Selection::default() }).unwrap();
    let turned = self::table(vec![("whole", text), ("text", whole)]);
    assert_eq!(
        schema.frame(&turned).unwrap_err().to_string(),
        "the table does not fit the model: column `whole` has type Utf8, where the model was trained on a number"
    );
    let unequal = RecordBatch::try_from_iter(vec![("whole", turned.batches()[0].column(0).clone())]).unwrap();
    let error = Table::new(table.schema().clone(), vec![unequal]).unwrap_err();
    assert!(matches!(error, Error::SchemaChanges { batch: 0, .. }), "{error}");
}

#[test]
fn targets_of_every_kind() {
    let labels = |table: &Table| match table.target("y", TaskKind::Classification).unwrap() {
        Target::Classes { codes, classes } => (codes, classes),
        Target::Regression(_) => panic!("classes expected"),
    };
    let one = |array: ArrayRef| table(vec![("y", array)]);
    let int = ClassLabel::Int;
    assert_eq!(
        labels(&one(Arc::new(Int64Array::from(vec![7, -1, 7])))),
        (vec![1, 0, 1], vec![int(-1), int(7)])
    );
    assert_eq!(
        labels(&one(Arc::new(Float64Array::from(vec![1.0, 0.0, 1.0])))),
        (vec![1, 0, 1], vec![int(0), int(1)])
    );
    assert_eq!(
        labels(&one(Arc::new(BooleanArray::from(vec![true, false])))),
        (vec![1, 0], vec![ClassLabel::Bool(false), ClassLabel::Bool(true)])
    );
    let text = |text: &str| ClassLabel::Text(text.into());
    assert_eq!(
        labels(&one(Arc::new(StringArray::from(vec!["b", "a"])))),
        (vec![1, 0], vec![text("a"), text("b")])
    );

    let refused: Vec<(ArrayRef, TaskKind, &str)> = vec![
        (
            Arc::new(Int64Array::from(vec![Some(1), None, None])),
            TaskKind::Classification,
            "target column `y` is missing in 2 of 3 rows, first in row 1",
        ),
        (
            Arc::new(StringArray::from(vec!["a", ""])),
            TaskKind::Classification,
            "target column `y` is missing in 1 of 2 rows, first in row 1",
        ),
        (
            Arc::new(Float64Array::from(vec![1.0, f64::INFINITY])),
            TaskKind::Regression,
            "target column `y` holds inf in row 1, which is not a finite number",
        ),
        (
            Arc::new(Float64Array::from(vec![1.0, 0.5])),
            TaskKind::Classification,
            "target column `y` has type Float64 and holds 0.5, which cannot be used: a boolean, a whole number or \
             text is needed",
        ),
        (
            Arc::new(Int64Array::from(vec![3, 3])),
            TaskKind::Classification,
            "target column `y` has one value only, `3`, in the table rows",
        ),
        (
            Arc::new(Int64Array::from((0..1_001).collect::<Vec<_>>())),
            TaskKind::Classification,
            "target column `y` has 1001 classes: at most 1000 are supported",
        ),
        (
            Arc::new(StringArray::from(vec!["a", "b"])),
            TaskKind::Regression,
            "target column `y` has type Utf8, which cannot be used: a number is needed",
        ),
    ];
    for (array, kind, message) in refused {
        assert_eq!(one(array).target("y", kind).unwrap_err().to_string(), message);
    }
}

#[test]
fn times_and_groups_of_every_kind() {
    let columns: Vec<(ArrayRef, [i64; 3])> = vec![
        (Arc::new(TimestampMicrosecondArray::from(vec![5, -3, 9])), [5, -3, 9]),
        (Arc::new(Date32Array::from(vec![5, -3, 9])), [5, -3, 9]),
        (Arc::new(Time32SecondArray::from(vec![5, 3, 9])), [5, 3, 9]),
        (Arc::new(Int64Array::from(vec![5, -3, 9])), [5, -3, 9]),
        (Arc::new(StringArray::from(vec!["2013-02-01", "2013-01-31", "2013-12-01"])), [1, 0, 2]),
    ];
    for (array, expected) in columns {
        let table = table(vec![("t", array)]);
        assert_eq!(table.times("t", "split").unwrap(), expected.map(Some));
        assert_eq!(table.groups("t", "split").unwrap(), [Some(0), Some(1), Some(2)]);
    }
    let floats: ArrayRef =
        Arc::new(Float64Array::from(vec![Some(-1.5), Some(2.0), None, Some(-0.0), Some(0.0)]));
    let table = table(vec![("t", floats)]);
    let times = table.times("t", "split").unwrap();
    assert!(times[0] < times[3] && times[3] == times[4] && times[4] < times[1]);
    assert_eq!(times[2], None);
    assert_eq!(table.groups("t", "split").unwrap()[2], None);
}

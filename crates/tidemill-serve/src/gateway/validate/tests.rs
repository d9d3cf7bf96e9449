//! What is said of values that do not fit, by kind and policy.

use super::*;

fn signature() -> Signature {
    let inputs = r#"[{"type": "double", "name": "age"}, {"type": "string", "name": "plan"},
        {"type": "double", "name": "zone"}]"#;
    let mut signature = Signature::from_mlflow(inputs, None).unwrap();
    let own = br#"{"inputs": [{"name": "age", "range": [18, 99]}, {"name": "plan", "categories": ["a", "b"]},
        {"name": "zone", "categories": ["1", "2.5"]}]}"#;
    signature.add_training(own).unwrap();
    signature
}

fn all(policy: Policy) -> Policies {
    Policies {
        missing: policy,
        extra: policy,
        wrong_type: policy,
        unknown_category: policy,
        null: policy,
        nan: policy,
        out_of_range: policy,
    }
}

fn texts(values: &[&str]) -> Tensor {
    Tensor::vector(Values::Bytes(values.iter().map(|text| text.as_bytes().to_vec()).collect()))
}

fn row() -> [Tensor; 3] {
    [
        Tensor::vector(Values::F64(vec![17.0, 50.0, f64::NAN, 100.0])),
        texts(&["a", "c", "", "d"]),
        Tensor::vector(Values::F32(vec![1.0, 2.5, 3.0, f32::NAN])),
    ]
}

fn look(policies: Policies, bounds: &BTreeMap<String, Bounds>) -> (Checker, Vec<Violation>) {
    let checker = Checker::new(policies, &["age", "plan", "zone"], Some(&signature()), bounds);
    let mut found = vec![Violation::of(Kind::Extra, "nonsense")];
    checker.look(&row(), false, &mut found);
    (checker, found)
}

#[test]
fn every_kind_is_found_with_its_first_example() {
    let (checker, found) = look(all(Policy::Warn), &BTreeMap::new());
    assert_eq!(
        checker.judge(&found).unwrap(),
        [
            "input `nonsense` is not known to the model",
            "input `age`: 17 is outside of the range of training (2 rows)",
            "input `age` is NaN",
            "input `plan`: the category `c` was not in training (2 rows)",
            "input `plan` is empty",
            "input `zone`: the category `3` was not in training",
            "input `zone` is NaN",
        ]
    );
}

#[test]
fn what_is_ignored_is_not_looked_for_and_what_is_counted_not_told() {
    let (checker, found) = look(all(Policy::Ignore), &BTreeMap::new());
    assert_eq!((found.as_slice(), checker.judge(&found).unwrap()), (&[][..], vec![]));
    let (checker, found) = look(all(Policy::Count), &BTreeMap::new());
    assert_eq!((found.len(), checker.judge(&found).unwrap()), (7, vec![]));
}

#[test]
fn one_kind_is_refused_and_the_others_not() {
    let (checker, found) =
        look(Policies { out_of_range: Policy::Refuse, ..Policies::default() }, &BTreeMap::new());
    let why = checker.judge(&found).unwrap_err();
    assert!(matches!(&why, InferError::Invalid(text) if text.contains("17 is outside")), "{why}");
}

#[test]
fn bounds_of_the_endpoint_come_before_those_of_training() {
    let bounds = BTreeMap::from([("age".to_owned(), Bounds { min: None, max: Some(99.0) })]);
    let (_, found) = look(Policies::default(), &bounds);
    let out = found.iter().find(|violation| violation.kind == Kind::OutOfRange).unwrap();
    assert_eq!((out.rows, out.example.as_deref()), (1, Some("100")));
}

#[test]
fn the_columns_of_a_matrix_are_told_apart() {
    let checker = Checker::new(all(Policy::Warn), &["age", "zone"], Some(&signature()), &BTreeMap::new());
    let matrix = Tensor::new(vec![2, 2], Values::F32(vec![50.0, 2.5, 7.0, 9.0])).unwrap();
    let mut found = Vec::new();
    checker.look(&[matrix], true, &mut found);
    let found: Vec<_> = found.iter().map(|one| (one.column.as_str(), one.example.clone().unwrap())).collect();
    assert_eq!(found, [("age", "7".to_owned()), ("zone", "9".to_owned())]);
}

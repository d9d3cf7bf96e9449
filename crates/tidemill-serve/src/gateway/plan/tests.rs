//! How a request is laid out for a model, as a table of requests.

use tidemill_runtime::RunError;

use super::*;

#[derive(Debug)]
struct Shaped(Vec<Slot>);

impl Session for Shaped {
    fn runtime(&self) -> &'static str {
        "shaped"
    }

    fn inputs(&self) -> &[Slot] {
        &self.0
    }

    fn outputs(&self) -> &[Slot] {
        &[]
    }

    fn run(&self, _: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        Ok(Vec::new())
    }

    fn memory_bytes(&self) -> u64 {
        0
    }
}

fn slot(name: &str, element: ElementType, width: usize) -> Slot {
    Slot { name: name.to_owned(), element, shape: vec![Dim::Any(None), Dim::Fixed(width)], optional: false }
}

fn signature(columns: &[(&str, &str)]) -> Signature {
    let columns: Vec<String> =
        columns.iter().map(|(name, kind)| format!(r#"{{"name": "{name}", "type": "{kind}"}}"#)).collect();
    Signature::from_mlflow(&format!("[{}]", columns.join(",")), None).unwrap()
}

fn given(name: &str, values: Values) -> Named {
    Named { name: name.to_owned(), tensor: Tensor::vector(values) }
}

#[test]
fn columns_are_packed_in_the_signatures_order() {
    let session = Shaped(vec![slot("float_input", ElementType::F32, 3)]);
    let plan =
        Plan::new(&session, Some(&signature(&[("a", "double"), ("b", "long"), ("c", "double")]))).unwrap();
    assert!(plan.is_matrix() && plan.is_tabular);
    let inputs = vec![
        given("c", Values::F64(vec![3.0, 30.0])),
        given("a", Values::F64(vec![1.0, 10.0])),
        given("b", Values::I64(vec![2, 20])),
        given("d", Values::I64(vec![0, 0])),
    ];
    let prepared = plan.prepare(inputs).unwrap();
    let matrix = Tensor::new(vec![2, 3], Values::F32(vec![1.0, 2.0, 3.0, 10.0, 20.0, 30.0])).unwrap();
    assert_eq!((&prepared.tensors[0], prepared.rows), (&matrix, 2));
    assert_eq!(prepared.violations, [Violation::of(Kind::Extra, "d")]);
    let names: Vec<_> = prepared.originals.unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["a", "b", "c"]);

    let whole = Named { name: "float_input".to_owned(), tensor: matrix.clone() };
    assert_eq!(
        plan.prepare(vec![whole]).unwrap().tensors,
        [matrix.clone()],
        "the matrix itself is taken too"
    );
    let columns = plan.split(&matrix);
    assert_eq!((columns.len(), &columns[1]), (3, &given("b", Values::F32(vec![2.0, 20.0]))));
    let missing =
        plan.prepare(vec![given("a", Values::F64(vec![1.0])), given("b", Values::I64(vec![2]))]).unwrap();
    assert_eq!(missing.violations, [Violation::of(Kind::Missing, "c")]);
    assert!(matches!(missing.tensors[0].values(), Values::F32(v) if v[1] == 2.0 && v[2].is_nan()));
}

#[test]
fn inputs_by_name_whatever_their_order() {
    let session = Shaped(vec![slot("n", ElementType::I64, 1), slot("t", ElementType::Bytes, 1)]);
    let plan = Plan::new(&session, Some(&signature(&[("n", "long"), ("t", "string")]))).unwrap();
    let text = || given("t", Values::Bytes(vec![b"x".to_vec()]));
    let prepared = plan.prepare(vec![text(), given("n", Values::I64(vec![5]))]).unwrap();
    assert_eq!(
        (prepared.tensors[0].shape(), prepared.names),
        (&[1, 1][..], vec!["n".to_owned(), "t".to_owned()])
    );
    for (inputs, text) in [
        (vec![text()], "input `n` is missing, and nothing can stand for int64"),
        (vec![text(), text()], "input `t` is given more than once"),
        (vec![given("n", Values::F64(vec![0.5])), text()], "input `n`: expected int64 and float64 was given"),
        (vec![given("n", Values::Bytes(vec![b"5".to_vec()])), text()], "not turned into each other"),
        (
            vec![given("n", Values::I64(vec![1, 2])), text()],
            "input `t`: it has 1 rows and the first input has 2",
        ),
    ] {
        let why = plan.prepare(inputs).unwrap_err().to_string();
        assert!(why.contains(text), "{why}");
    }
    let unnamed = Shaped(vec![slot("only", ElementType::F32, 2)]);
    let plan = Plan::new(&unnamed, None).unwrap();
    let tensor = Tensor::new(vec![1, 2], Values::F32(vec![1.0, 2.0])).unwrap();
    assert_eq!(plan.prepare(vec![Named { name: String::new(), tensor }]).unwrap().rows, 1);
}

#[test]
fn a_signature_that_does_not_fit_the_model_is_refused() {
    let two = Shaped(vec![slot("a", ElementType::F32, 1), slot("b", ElementType::F32, 1)]);
    for (columns, text) in [
        (vec![("a", "float")], "the model takes an input `b` that the signature does not have"),
        (
            vec![("a", "float"), ("b", "float"), ("c", "float")],
            "has a column `c` that the model does not take",
        ),
        (vec![("b", "float"), ("a", "float")], "are in another order than the signature's columns"),
    ] {
        let why = Plan::new(&two, Some(&signature(&columns))).unwrap_err();
        assert!(why.contains(text), "{why}");
    }
    let text = Plan::new(&two, Some(&signature(&[("a", "float"), ("b", "string")]))).unwrap_err();
    assert!(text.contains("the column `b` is string and the model has float32"), "{text}");
    assert!(
        Plan::new(&two, Some(&signature(&[("a", "double"), ("b", "long")]))).is_ok(),
        "numbers are converted"
    );
    let matrix = Shaped(vec![slot("x", ElementType::F32, 2)]);
    let text = Plan::new(&matrix, Some(&signature(&[("a", "float"), ("b", "string")]))).unwrap_err();
    assert!(text.contains("the column `b` is string and the model has float32 for it in `x`"), "{text}");
    let wide = Shaped(vec![slot("x", ElementType::F32, 4)]);
    let why = Plan::new(&wide, Some(&signature(&[("a", "float"), ("b", "float")]))).unwrap_err();
    assert!(why.contains("has 2 columns and the model's input `x` takes 4"), "{why}");
}

#[test]
fn outputs_that_are_not_those_of_the_signature_are_refused() {
    let outputs = vec![slot("label", ElementType::I64, 1), slot("probabilities", ElementType::F32, 3)];
    let said = |outputs: &str| Signature::from_mlflow("[]", Some(outputs)).unwrap();
    for (said_of, text) in [
        (r#"[{"name": "label", "type": "string"}]"#, "the output `label` is string and the model has int64"),
        (
            r#"[{"name": "probabilities", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]"#,
            "the output `probabilities` has 2 values in a row and the model gives 3",
        ),
    ] {
        let why = check_outputs(&outputs, &said(said_of)).unwrap_err();
        assert!(why.contains(text), "{why}");
    }
    let whole = r#"[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]"#;
    assert_eq!(check_outputs(&outputs, &said(whole)), Ok(()), "it is none of these two by name");
    assert_eq!(
        check_outputs(&outputs[..1], &said(whole)),
        Ok(()),
        "a column and a matrix of one are the same"
    );
    let why = check_outputs(&outputs[1..], &said(whole)).unwrap_err();
    assert!(why.contains("has 1 values in a row and the model gives 3"), "{why}");
}

#[test]
fn rows_are_bounded_before_memory_is_taken_for_them() {
    let columns: Vec<(String, &str)> = (0..1000).map(|at| (format!("c{at}"), "double")).collect();
    let columns: Vec<(&str, &str)> = columns.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    let session = Shaped(vec![slot("x", ElementType::F32, 1000)]);
    let plan = Plan::new(&session, Some(&signature(&columns))).unwrap();
    let one = |rows: usize| given("c0", Values::U8(vec![1; rows]));
    assert_eq!(plan.prepare(vec![one(10)]).unwrap().rows, 10);
    let why = plan.prepare(vec![one(1_000_000)]).unwrap_err().to_string();
    assert!(why.contains("1000000 rows, and this model takes at most"), "{why}");
    // Columns that are inputs of their own: the missing ones are as many rows.
    let slots: Vec<Slot> = columns.iter().map(|(name, _)| slot(name, ElementType::F64, 1)).collect();
    let why =
        Plan::new(&Shaped(slots), None).unwrap().prepare(vec![given("c0", Values::F64(vec![1.0; 100_000]))]);
    assert!(why.unwrap_err().to_string().contains("send fewer in a request"));
}

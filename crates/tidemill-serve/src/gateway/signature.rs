//! What a model takes and gives as its trainer said: MLflow's signature, and the trainer's own beside it.

use serde_json::{Value, json};
use tidemill_core::Digest;
use tidemill_runtime::{Dim, ElementType, Slot};

use crate::element::of_numpy;

/// The inputs and outputs of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signature {
    /// Inputs in order.
    pub inputs: Vec<Field>,
    /// Outputs in order; empty where they are not known.
    pub outputs: Vec<Field>,
}

/// One input or output.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name; a single tensor may have none.
    pub name: Option<String>,
    /// What it holds; none for types that have no tensor, for example objects.
    pub element: Option<ElementType>,
    /// The shape of a tensor, without a number where any size is fine; none for a column of a table.
    pub shape: Option<Vec<Option<usize>>>,
    /// Whether a request must have it.
    pub is_required: bool,
    /// Whether empty text stands for a value that is missing: of text that is not required, and of every text of a
    /// built-in training, whose models take it so.
    pub is_nullable: bool,
    /// The categories that it had in training; empty where that is not known.
    pub categories: Vec<String>,
    /// The least and the greatest value that it had in training.
    pub range: Option<(f64, f64)>,
}

impl Signature {
    /// From MLflow's JSON texts of inputs and outputs.
    ///
    /// # Errors
    ///
    /// Says which entry is not as MLflow writes it.
    pub fn from_mlflow(inputs: &str, outputs: Option<&str>) -> Result<Self, String> {
        Ok(Self { inputs: fields(inputs, "input")?, outputs: fields(outputs.unwrap_or("[]"), "output")? })
    }

    /// From the `signature.json` of a built-in training alone.
    ///
    /// # Errors
    ///
    /// Where it is not JSON of that form.
    pub fn from_training(text: &[u8]) -> Result<Self, String> {
        let inputs = training(text)?;
        let fields = inputs.iter().map(|input| Field {
            name: input.get("name").and_then(Value::as_str).map(str::to_owned),
            element: input.get("source").and_then(Value::as_str).and_then(source),
            shape: None,
            is_required: true,
            is_nullable: false,
            categories: Vec::new(),
            range: None,
        });
        let mut signature = Self { inputs: fields.collect(), outputs: Vec::new() };
        signature.complete(&inputs)?;
        Ok(signature)
    }

    /// The digest of what callers must know: names, types and order of inputs and outputs. What training saw of them, which is another thing in every
    /// version, is left out.
    pub fn digest(&self) -> Digest {
        let fields = |fields: &[Field]| -> Vec<Value> {
            let field = |field: &Field| {
                json!({
                    "name": field.name, "element": field.element.map(|element| element.to_string()),
                    "shape": field.shape, "required": field.is_required,
                })
            };
            fields.iter().map(field).collect()
        };
        let all = json!({"inputs": fields(&self.inputs), "outputs": fields(&self.outputs)});
        Digest::of(all.to_string().as_bytes())
    }

    /// Adds the categories and ranges that `signature.json` of a built-in training knows.
    ///
    /// # Errors
    ///
    /// Where it is not JSON of that form, or its inputs are others or in another order.
    pub fn add_training(&mut self, text: &[u8]) -> Result<(), String> {
        self.complete(&training(text)?)
    }

    /// Adds what a training knows of each input.
    fn complete(&mut self, inputs: &[Value]) -> Result<(), String> {
        let names: Vec<&str> = inputs
            .iter()
            .map(|input| input.get("name").and_then(Value::as_str).unwrap_or_default())
            .collect();
        if let Some(why) = self.differs(&names) {
            return Err(format!("`signature.json` and the signature in `MLmodel` differ: {why}"));
        }
        for (field, input) in self.inputs.iter_mut().zip(inputs) {
            let categories = input.get("categories").and_then(Value::as_array);
            let categories = categories.map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned));
            field.categories = categories.map(Iterator::collect).unwrap_or_default();
            let range = input.get("range").and_then(Value::as_array);
            let range = range.and_then(|range| Some((range.first()?.as_f64()?, range.get(1)?.as_f64()?)));
            field.range = range.or(field.range);
            field.is_nullable |= field.element == Some(ElementType::Bytes);
        }
        Ok(())
    }

    /// The columns of text in which empty text stands for a missing value.
    pub fn nullable(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().filter(|field| field.is_nullable).filter_map(|field| field.name.as_deref())
    }

    /// Whether the inputs are the columns of a table.
    pub fn is_table(&self) -> bool {
        !self.inputs.is_empty()
            && self.inputs.iter().all(|field| field.name.is_some() && field.shape.is_none())
    }

    /// Where the names of the inputs, in their order, differ from `names`.
    pub fn differs(&self, names: &[&str]) -> Option<String> {
        let own = |at: usize| self.inputs.get(at).and_then(|field| field.name.as_deref());
        if self.inputs.len() != names.len() {
            let (mine, theirs) = (self.inputs.len(), names.len());
            return Some(format!("one has {mine} inputs and the other {theirs}"));
        }
        let at = names.iter().enumerate().find(|(at, name)| own(*at) != Some(**name))?;
        Some(format!(
            "input {} is `{}` in one and `{}` in the other",
            at.0 + 1,
            own(at.0).unwrap_or(""),
            at.1
        ))
    }
}

impl Field {
    /// The slot that a request fills for it: a column is a matrix of one column.
    pub fn slot(&self, element: ElementType) -> Slot {
        let shape = match &self.shape {
            Some(shape) => shape.iter().map(|size| size.map_or(Dim::Any(None), Dim::Fixed)).collect(),
            None => vec![Dim::Any(None), Dim::Fixed(1)],
        };
        let name = self.name.clone().unwrap_or_default();
        Slot { name, element: self.element.unwrap_or(element), shape, optional: !self.is_required }
    }
}

/// The inputs that a `signature.json` lists.
fn training(text: &[u8]) -> Result<Vec<Value>, String> {
    let mut value: Value =
        serde_json::from_slice(text).map_err(|error| format!("`signature.json` is not right: {error}"))?;
    match value.get_mut("inputs").map(Value::take) {
        Some(Value::Array(inputs)) => Ok(inputs),
        _ => Err("`signature.json` has no list `inputs`".to_owned()),
    }
}

/// The types of a built-in training.
fn source(word: &str) -> Option<ElementType> {
    Some(match word {
        "bool" => ElementType::Bool,
        "int" => ElementType::I64,
        "float" => ElementType::F32,
        "double" => ElementType::F64,
        "text" => ElementType::Bytes,
        _ => return None,
    })
}

fn fields(text: &str, what: &str) -> Result<Vec<Field>, String> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| format!("the signature's {what}s are not JSON: {error}"))?;
    let list = value.as_array().ok_or_else(|| format!("the signature's {what}s are no list"))?;
    list.iter()
        .enumerate()
        .map(|(at, entry)| field(entry).map_err(|why| format!("{what} {} of the signature: {why}", at + 1)))
        .collect()
}

fn field(entry: &Value) -> Result<Field, String> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    let kind = text("type").ok_or("it has no `type`")?;
    let name = text("name").map(str::to_owned);
    // `optional` is what older clients wrote.
    let flag = |key: &str| entry.get(key).and_then(Value::as_bool);
    let is_required = flag("required").unwrap_or_else(|| !flag("optional").unwrap_or(false));
    let mut field = Field {
        name,
        element: None,
        shape: None,
        is_required,
        is_nullable: false,
        categories: Vec::new(),
        range: None,
    };
    if kind == "tensor" {
        let spec = entry.get("tensor-spec").ok_or("a tensor has no `tensor-spec`")?;
        let dtype = spec.get("dtype").and_then(Value::as_str).ok_or("a tensor has no `dtype`")?;
        let shape = spec.get("shape").and_then(Value::as_array).ok_or("a tensor has no `shape`")?;
        field.element = numpy(dtype);
        let sizes = shape.iter().map(|size| {
            let size = size.as_i64().ok_or("a size in `shape` is no whole number")?;
            Ok(usize::try_from(size).ok())
        });
        field.shape = Some(sizes.collect::<Result<_, &str>>()?);
    } else {
        field.element = column(kind);
        field.is_nullable = !is_required && kind == "string";
    }
    Ok(field)
}

/// The types of MLflow's `ColSpec`.
fn column(kind: &str) -> Option<ElementType> {
    Some(match kind {
        "boolean" => ElementType::Bool,
        "integer" => ElementType::I32,
        "long" => ElementType::I64,
        "float" => ElementType::F32,
        "double" => ElementType::F64,
        "string" | "binary" | "datetime" => ElementType::Bytes,
        _ => return None,
    })
}

/// NumPy's names of types, as MLflow's `TensorSpec` has them.
fn numpy(dtype: &str) -> Option<ElementType> {
    of_numpy(dtype).or_else(|| matches!(dtype, "str" | "object" | "bytes").then_some(ElementType::Bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_tensors_of_mlflow() {
        let inputs = r#"[{"type": "long", "name": "age", "required": true},
            {"type": "string", "name": "plan", "optional": true}, {"type": "datetime", "name": "since"}]"#;
        let outputs = r#"[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}]"#;
        let mut signature = Signature::from_mlflow(inputs, Some(outputs)).unwrap();
        assert!(signature.is_table());
        assert_eq!(signature.nullable().collect::<Vec<_>>(), ["plan"]);
        let elements: Vec<_> = signature.inputs.iter().map(|field| field.element).collect();
        assert_eq!(elements, [Some(ElementType::I64), Some(ElementType::Bytes), Some(ElementType::Bytes)]);
        assert_eq!(signature.inputs.iter().map(|f| f.is_required).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(signature.outputs[0].shape, Some(vec![None, Some(3)]));

        let own = br#"{"inputs": [{"name": "age", "source": "int", "range": [18, 99]},
            {"name": "plan", "source": "text", "categories": ["a", "b"]}, {"name": "since", "source": "text"}]}"#;
        signature.add_training(own).unwrap();
        assert_eq!(signature.inputs[0].range, Some((18.0, 99.0)));
        assert_eq!(signature.inputs[1].categories, ["a", "b"]);
        assert_eq!(signature.nullable().collect::<Vec<_>>(), ["plan", "since"]);
        let alone = Signature::from_training(own).unwrap();
        assert_eq!(alone.inputs[0].element, Some(ElementType::I64));
        assert_eq!(alone.inputs[1], Field { is_required: true, ..signature.inputs[1].clone() });
        let swapped = br#"{"inputs": [{"name": "plan"}, {"name": "age"}, {"name": "since"}]}"#;
        let why = signature.add_training(swapped).unwrap_err();
        assert!(why.contains("input 1 is `age` in one and `plan` in the other"), "{why}");
        assert!(
            signature.add_training(br#"{"inputs": []}"#).unwrap_err().contains("3 inputs and the other 0")
        );
    }

    #[test]
    fn what_is_not_a_signature_is_refused() {
        for (text, why) in [
            ("{", "not JSON"),
            ("{}", "no list"),
            (r#"[{"name": "a"}]"#, "input 1 of the signature: it has no `type`"),
            (r#"[{"type": "tensor"}]"#, "no `tensor-spec`"),
            (r#"[{"type": "tensor", "tensor-spec": {"dtype": "int8", "shape": ["x"]}}]"#, "no whole number"),
        ] {
            let got = Signature::from_mlflow(text, None).unwrap_err();
            assert!(got.contains(why), "{text}: {got}");
        }
    }
}

//! The JSON of a request: one of four layouts of the same table, or of tensors.

use std::ops::Range;
use std::sync::Arc;

use super::failure::Failure;
use super::table::Table;
use crate::oip::json::{Kind, Number, Reader};
use crate::{ModelMetadata, Named};

/// How the values are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Split,
    Records,
    Instances,
    Inputs,
}

impl Layout {
    fn of(key: &str) -> Option<Self> {
        Some(match key {
            "dataframe_split" => Self::Split,
            "dataframe_records" => Self::Records,
            "instances" => Self::Instances,
            "inputs" => Self::Inputs,
            _ => return None,
        })
    }
}

fn unclear(given: &str) -> Failure {
    Failure::bad(format!(
        "the request must be a JSON object with exactly one of `dataframe_split`, `dataframe_records`, `instances` and `inputs`; it {given}"
    ))
}

/// Where a request has what.
struct Places {
    layout: Layout,
    /// Where the values begin.
    values: usize,
    /// Where `params` stands beside them.
    params: Option<Range<usize>>,
}

/// Reads a request for a model: the values, and the parameters beside them as text.
pub(super) fn decode(
    body: &[u8],
    metadata: &ModelMetadata,
) -> Result<(Vec<Named>, Option<Arc<str>>), Failure> {
    let places = places(body)?;
    let inputs = values(body, &places, metadata)?;
    Ok((inputs, params(body, places.params)?))
}

fn places(body: &[u8]) -> Result<Places, Failure> {
    let mut reader = Reader::new(body);
    if reader.kind()? != Kind::Object {
        reader.skip()?;
        reader.end()?;
        return Err(unclear("is none"));
    }
    let (mut found, mut params) = (None, None);
    let mut several = false;
    reader.object(|reader, key| {
        let place = reader.skip()?;
        if key == "params" {
            params = Some(place..body.len() - reader.left());
        }
        if let Some(layout) = Layout::of(key) {
            several |= found.is_some_and(|(before, _)| before != layout);
            found = Some((layout, place));
        }
        Ok::<_, Failure>(())
    })?;
    reader.end()?;
    if several {
        return Err(unclear("has several"));
    }
    let (layout, values) = found.ok_or_else(|| unclear("has none of them"))?;
    Ok(Places { layout, values, params })
}

fn values(body: &[u8], places: &Places, metadata: &ModelMetadata) -> Result<Vec<Named>, Failure> {
    let layout = places.layout;
    let mut table = Table::new(metadata);
    let mut reader = Reader::new(body).at(places.values);
    match layout {
        Layout::Split => split(&mut table, &mut reader)?,
        Layout::Records => {
            if reader.kind()? != Kind::Array {
                return Err(Failure::bad("`dataframe_records` must be a list of objects, one a row"));
            }
            rows(&mut table, &mut reader, false)?;
        }
        Layout::Instances | Layout::Inputs => {
            let is_rows = {
                let mut ahead = reader.clone();
                ahead.kind()? == Kind::Array && ahead.array()? && ahead.kind()? == Kind::Object
            };
            match reader.kind()? {
                Kind::Object => table.whole(&mut reader)?,
                _ if is_rows => rows(&mut table, &mut reader, layout == Layout::Instances)?,
                _ => table.array(&mut reader)?,
            }
        }
    }
    table.finish()
}

/// The parameters at their place, as text; none where there are none.
fn params(body: &[u8], place: Option<Range<usize>>) -> Result<Option<Arc<str>>, Failure> {
    let Some(place) = place else { return Ok(None) };
    let text = body.get(place).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::Null) => Ok(None),
        Ok(serde_json::Value::Object(params)) if params.is_empty() => Ok(None),
        Ok(params @ serde_json::Value::Object(_)) => Ok(Some(params.to_string().into())),
        _ => Err(Failure::bad("`params` must be a JSON object of names and values")),
    }
}

/// Rows that are objects.
fn rows(table: &mut Table<'_>, reader: &mut Reader<'_>, strict: bool) -> Result<(), Failure> {
    if reader.array()? {
        return table.records(reader, strict);
    }
    // No rows, and so no columns.
    table.header(Some(&[]), 0).map(drop)
}

/// `{"columns": [...], "index": [...], "data": [[...], ...]}`.
fn split(table: &mut Table<'_>, reader: &mut Reader<'_>) -> Result<(), Failure> {
    if reader.kind()? != Kind::Object {
        return Err(Failure::bad("`dataframe_split` must be an object with `columns` and `data`"));
    }
    let mut names = None;
    let mut data = None;
    reader.object(|reader, key| {
        match key {
            "columns" => names = columns(reader)?,
            "data" => data = Some(reader.skip()?),
            "index" => reader.pass()?,
            other => {
                let shown: String = other.chars().take(40).collect();
                return Err(Failure::bad(format!(
                    "`dataframe_split` may have `columns`, `index` and `data`, and has `{shown}`"
                )));
            }
        }
        Ok(())
    })?;
    let place = data.ok_or_else(|| Failure::bad("`dataframe_split` must have `data`"))?;
    let mut reader = reader.at(place);
    let width = match &names {
        Some(names) => names.len(),
        None => first_row(&mut reader.clone())?,
    };
    let places = table.header(names.as_deref(), width)?;
    let mut more = reader.array()?;
    while more {
        let mut at = 0;
        // A row of one column may stand without brackets.
        let is_list = reader.kind()? == Kind::Array;
        let mut value = if is_list { reader.array()? } else { true };
        while value {
            match places.get(at) {
                Some(Some(place)) => table.read(*place, &mut reader)?,
                Some(None) => reader.pass()?,
                None => {
                    return Err(Failure::bad(format!("a row of `data` has more than the {width} columns")));
                }
            }
            at += 1;
            value = is_list && reader.next()?;
        }
        if at != width {
            return Err(Failure::bad(format!(
                "a row of `data` has {at} values, and there are {width} columns"
            )));
        }
        table.end_row()?;
        more = reader.next()?;
    }
    Ok(())
}

/// How many values the first row has.
fn first_row(reader: &mut Reader<'_>) -> Result<usize, Failure> {
    if !reader.array()? {
        return Ok(0);
    }
    if reader.kind()? != Kind::Array {
        return Ok(1);
    }
    let mut width = 0;
    let mut more = reader.array()?;
    while more {
        reader.skip()?;
        width += 1;
        more = reader.next()?;
    }
    Ok(width)
}

/// Names of columns; numbers are names too.
fn columns(reader: &mut Reader<'_>) -> Result<Option<Vec<String>>, Failure> {
    if reader.kind()? == Kind::Null {
        reader.null()?;
        return Ok(None);
    }
    let mut names = Vec::new();
    let mut more = reader.array()?;
    while more {
        names.push(match reader.kind()? {
            Kind::Text => reader.text()?.into_owned(),
            Kind::Number => match reader.number()? {
                Number::Integer(text) | Number::Real(text) => text.to_owned(),
                Number::Special(value) => value.to_string(),
            },
            _ => return Err(Failure::bad("the names in `columns` must be strings")),
        });
        more = reader.next()?;
    }
    Ok(Some(names))
}

#[cfg(test)]
mod tests {
    use tidemill_runtime::Values;

    use super::super::{csv, target};
    use super::*;
    use crate::NULLABLE_PROPERTY;

    #[test]
    fn parameters_stand_beside_the_values() {
        let read = |body: &str| {
            let body = body.as_bytes();
            let found = places(body).and_then(|places| params(body, places.params));
            found.map(|params| params.map(|text| text.to_string()))
        };
        assert_eq!(read(r#"{"inputs": [1]}"#).unwrap(), None);
        assert_eq!(read(r#"{"inputs": ["\"params\""], "params": {}}"#).unwrap(), None);
        let body = r#"{"params": {"top": 3, "mode": "x"}, "inputs": [NaN]}"#;
        let read_back: serde_json::Value = serde_json::from_str(&read(body).unwrap().unwrap()).unwrap();
        assert_eq!(read_back, serde_json::json!({"top": 3, "mode": "x"}));
        assert!(read(r#"{"inputs": [1], "params": [1]}"#).is_err());
    }

    #[test]
    fn a_text_may_be_missing_where_the_model_says_so() {
        let [mut metadata, ..] = target::examples();
        metadata.inputs.retain(|slot| slot.name == "d" || slot.name == "s");
        let row = br#"{"dataframe_records": [{"d": 1, "s": "x"}, {"d": null, "s": null}, {"d": 2}]}"#;
        let whole = br#"{"inputs": {"d": [1, null, 2], "s": ["x", null, null]}}"#;
        let split =
            br#"{"dataframe_split": {"columns": ["s", "d"], "data": [["x", 1], [null, null], [null, 2]]}}"#;
        for body in [&row[..], whole, split] {
            let refused = decode(body, &metadata).unwrap_err();
            assert!(format!("{refused:?}").contains("column `s`"), "{refused:?}");
        }
        metadata.properties.insert(NULLABLE_PROPERTY.to_owned(), r#"["s"]"#.to_owned());
        let expected = Values::Bytes(vec![b"x".to_vec(), Vec::new(), Vec::new()]);
        for inputs in [
            decode(row, &metadata).unwrap().0,
            decode(whole, &metadata).unwrap().0,
            decode(split, &metadata).unwrap().0,
            csv::decode(b"d,s\n1,x\n,\n2,NA\n", &metadata).unwrap(),
        ] {
            assert_eq!(inputs[1].tensor.values(), &expected);
            let Values::F64(numbers) = inputs[0].tensor.values() else { panic!("{inputs:?}") };
            assert!(numbers[1].is_nan() && numbers[2] == 2.0, "{numbers:?}");
        }
    }
}

//! Reading requests as MLflow's server does: JSON body or query, snake_case or camelCase, integers as numbers or as
//! text, enums as names or numbers, fields that are not known ignored.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts as _, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use serde_json::{Map, Value};
use tidemill_core::Actor;
use tidemill_registry::{Code, Error, Result};

use crate::App;
use crate::app::{CROWDED, Room};
use crate::mlflow::failure::Failure;

/// What handlers answer.
pub(crate) type Answer = Result<axum::Json<Value>, Failure>;

/// A character that PostgreSQL cannot keep in a text. It is refused before anything is written, whatever the database:
/// a statement writes for many requests, and this one must not take the others with it.
pub(crate) const NUL: char = '\0';

/// The refusal of a request with [`NUL`] in it.
pub(crate) fn nul() -> Error {
    Error::invalid("The request holds a text with the character NUL (`\\u0000`), which cannot be kept.")
}

/// Values that a request in JSON may hold, in lists and objects of any depth. As a tree each may cost a hundred times what
/// it is as text, so they are counted first.
const VALUES: usize = 500_000;
/// Bytes of the tree for each value, about.
const VALUE_BYTES: usize = 256;
/// Bodies below this size are not weighed: they cost little, whatever is in them.
const LIGHT: usize = 64 << 10;

/// How many of these bytes stand in a JSON text outside of its texts.
pub(crate) fn json_marks(text: &[u8], marks: &[u8]) -> usize {
    let (mut count, mut at) = (0, 0);
    while let Some(&byte) = text.get(at) {
        if byte == b'"' {
            at += 1;
            while let Some(&inner) = text.get(at)
                && inner != b'"'
            {
                at += if inner == b'\\' { 2 } else { 1 };
            }
        } else {
            count += usize::from(marks.contains(&byte));
        }
        at += 1;
    }
    count
}

/// At least as many values as a JSON text holds.
fn values(text: &[u8]) -> usize {
    json_marks(text, b"{[,")
}

/// Refuses a JSON text that holds too many values.
pub(crate) fn check_values(text: &[u8]) -> Result<()> {
    // Each takes a byte.
    if text.len() <= VALUES || values(text) <= VALUES {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "The request holds more than {VALUES} values; send what is in it in several requests."
    )))
}

/// Memory for the tree of a body.
fn room_for_tree(app: &App, body: &[u8]) -> Result<Option<Arc<Room>>> {
    if body.len() < LIGHT {
        return Ok(None);
    }
    let room = app.room(values(body).min(VALUES) * VALUE_BYTES);
    let room = room.ok_or_else(|| Error::new(Code::TemporarilyUnavailable, CROWDED))?;
    Ok(Some(Arc::new(room)))
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(NUL),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(key, value)| key.contains(NUL) || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// An empty message, the answer to most writes.
pub(crate) fn nothing() -> Answer {
    Ok(axum::Json(Value::Object(Map::new())))
}

/// The fields of a request, or of one message inside of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    /// The place inside of the request, for messages: empty, or for example `metrics[3].`.
    at: String,
    values: Map<String, Value>,
    /// From a query string, where every value is text and lists are repeated keys.
    query: bool,
    #[expect(dead_code, reason = "held as long as the fields")]
    room: Option<Arc<Room>>,
}

/// A request with who sent it. Parameters of the path are fields too.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) fields: Fields,
    pub(crate) actor: Actor,
}

/// The unread JSON body of a request, for the few routes that are called all the time and change no state.
#[derive(Debug)]
pub(crate) struct RawCall(pub(crate) Bytes);

impl FromRequest<App> for RawCall {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let is_json = is_json(request.headers());
        let body = read_body(request, app).await?;
        if !is_json {
            return Err(not_json());
        }
        Ok(Self(body))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/json"))
}

fn not_json() -> Failure {
    Error::new(Code::BadRequest, "Bad Request. Content-Type must be one of ['application/json'].").into()
}

/// The body of a request as it was sent.
pub(crate) async fn read_body(request: Request, app: &App) -> Result<Bytes> {
    let body = Bytes::from_request(request, app).await;
    body.map_err(|error| Error::new(Code::BadRequest, error.body_text()))
}

/// The fields of a JSON body, with memory for what they take.
pub(crate) fn parse_body(body: &[u8], app: &App) -> Result<Fields> {
    let room = room_for_tree(app, body)?;
    Ok(Fields { room, ..Fields::from_body(body)? })
}

impl FromRequest<App> for Call {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        let actor = parts.extensions.get::<Actor>().cloned().unwrap_or_else(|| Actor::user("anonymous"));
        let fields = match parts.extensions.remove::<Read>() {
            Some(Read(fields)) => fields,
            None => read_fields(parts, body, app).await?,
        };
        Ok(Self { fields, actor })
    }
}

/// The fields of a request that were read before its handler runs: what was permitted is what is done.
#[derive(Clone, Debug)]
pub(crate) struct Read(pub(crate) Fields);

/// The fields of a request: of its query or its JSON body, and the parameters of its path.
pub(crate) async fn read_fields(mut parts: Parts, body: Body, app: &App) -> Result<Fields, Failure> {
    let path = Fields::of_path(&mut parts, app).await;
    let mut fields = if parts.method == Method::GET {
        Fields::from_query(parts.uri.query().unwrap_or_default())
    } else {
        let (method, is_json) = (parts.method.clone(), is_json(&parts.headers));
        let body = read_body(Request::from_parts(parts, body), app).await?;
        if method == Method::POST && !is_json {
            return Err(not_json());
        }
        parse_body(&body, app)?
    };
    fields.values.extend(path.values);
    if fields.values.iter().any(|(key, value)| key.contains(NUL) || has_nul(value)) {
        return Err(nul().into());
    }
    Ok(fields)
}

impl Fields {
    /// The parameters of a request's path alone.
    pub(crate) async fn of_path(parts: &mut Parts, app: &App) -> Self {
        let params = RawPathParams::from_request_parts(parts, app).await;
        let pair = |(key, value): (&str, &str)| (key.to_owned(), Value::String(value.to_owned()));
        let values = params.map(|params| params.iter().map(pair).collect()).unwrap_or_default();
        Self { values, ..Self::default() }
    }

    /// Puts a list of texts in the place of what is there.
    pub(crate) fn set_strings(&mut self, name: &str, texts: Vec<String>) {
        self.values.insert(name.to_owned(), texts.into_iter().map(Value::String).collect());
    }

    /// From a query string.
    pub(crate) fn from_query(query: &str) -> Self {
        let mut values = Map::new();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let key = snake(&key);
            match values.get_mut(&key) {
                None => drop(values.insert(key, Value::String(value.into_owned()))),
                Some(Value::Array(list)) => list.push(Value::String(value.into_owned())),
                Some(one) => *one = Value::Array(vec![one.take(), Value::String(value.into_owned())]),
            }
        }
        Self { values, query: true, ..Self::default() }
    }

    /// From a JSON body; an empty one is an empty message. Old clients send a JSON string that holds JSON.
    pub(crate) fn from_body(body: &[u8]) -> Result<Self> {
        let malformed = |error: serde_json::Error| {
            Error::new(Code::BadRequest, format!("The body of the request is not JSON: {error}."))
        };
        if body.is_empty() {
            return Ok(Self::default());
        }
        check_values(body)?;
        let value: Value = serde_json::from_slice(body).map_err(malformed)?;
        let value = match value {
            Value::String(inner) => {
                check_values(inner.as_bytes())?;
                serde_json::from_str(&inner).map_err(malformed)?
            }
            value => value,
        };
        match value {
            Value::Object(values) => Self::from_object(values, String::new()),
            _ => Err(Error::new(Code::BadRequest, "The body of the request is not a JSON object.")),
        }
    }

    fn from_object(values: Map<String, Value>, at: String) -> Result<Self> {
        if values.keys().all(|key| !key.bytes().any(|b| b.is_ascii_uppercase())) {
            return Ok(Self { at, values, ..Self::default() });
        }
        let mut renamed = Map::with_capacity(values.len());
        for (key, value) in values {
            let name = snake(&key);
            if renamed.insert(name, value).is_some() {
                return Err(Error::invalid(format!("The field `{key}` is given in two spellings.")));
            }
        }
        Ok(Self { at, values: renamed, ..Self::default() })
    }

    /// The raw value, unless it is missing or null.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name).filter(|value| !value.is_null())
    }

    /// Text.
    pub(crate) fn opt_str(&self, name: &str) -> Result<Option<&str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.invalid(name, other)),
        }
    }

    /// Text that must be there.
    pub(crate) fn str(&self, name: &str) -> Result<&str> {
        self.opt_str(name)?.ok_or_else(|| self.missing(name))
    }

    /// Text that must be there and not be empty: MLflow counts empty text as missing where it asks for some.
    pub(crate) fn text(&self, name: &str) -> Result<&str> {
        self.opt_str(name)?.filter(|text| !text.is_empty()).ok_or_else(|| self.missing(name))
    }

    /// Text, where none is as good as an empty one.
    pub(crate) fn any_text(&self, name: &str) -> Result<&str> {
        Ok(self.opt_str(name)?.unwrap_or_default())
    }

    /// The identifier of a run, under its old name too.
    pub(crate) fn run_id(&self) -> Result<&str> {
        match self.opt_str("run_id")?.filter(|id| !id.is_empty()) {
            Some(id) => Ok(id),
            None => {
                self.opt_str("run_uuid")?.filter(|id| !id.is_empty()).ok_or_else(|| self.missing("run_id"))
            }
        }
    }

    /// An integer, as a number or as text.
    pub(crate) fn opt_int(&self, name: &str) -> Result<Option<i64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = match value {
            Value::Number(number) => number.as_i64().or_else(|| {
                number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9.0e15).map(|f| f as i64)
            }),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        number.map(Some).ok_or_else(|| self.invalid(name, value))
    }

    /// An integer that must be there.
    pub(crate) fn int(&self, name: &str) -> Result<i64> {
        self.opt_int(name)?.ok_or_else(|| self.missing(name))
    }

    /// A number; `"NaN"`, `"Infinity"` and `"-Infinity"` as text.
    pub(crate) fn opt_float(&self, name: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => float_text(text),
            _ => None,
        };
        number.map(Some).ok_or_else(|| self.invalid(name, value))
    }

    /// A number that must be there.
    pub(crate) fn float(&self, name: &str) -> Result<f64> {
        self.opt_float(name)?.ok_or_else(|| self.missing(name))
    }

    /// A flag; `true` and `false` as text in a query.
    pub(crate) fn opt_bool(&self, name: &str) -> Result<Option<bool>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(other) => Err(self.invalid(name, other)),
        }
    }

    /// A list of texts; empty where it is missing.
    pub(crate) fn strings(&self, name: &str) -> Result<Vec<String>> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::String(one)) if self.query => Ok(vec![one.clone()]),
            Some(list @ Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| self.invalid(name, list)))
                .collect(),
            Some(other) => Err(self.invalid(name, other)),
        }
    }

    /// A list of messages; empty where it is missing.
    pub(crate) fn messages(&self, name: &str) -> Result<Vec<Self>> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let Value::Array(items) = value else { return Err(self.invalid(name, value)) };
        items
            .iter()
            .enumerate()
            .map(|(i, item)| match item {
                Value::Object(values) => {
                    Self::from_object(values.clone(), format!("{}{name}[{i}].", self.at))
                }
                _ => Err(self.invalid(name, value)),
            })
            .collect()
    }

    /// A message inside of this one.
    pub(crate) fn message(&self, name: &str) -> Result<Option<Self>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(values)) => {
                Self::from_object(values.clone(), format!("{}{name}.", self.at)).map(Some)
            }
            Some(other) => Err(self.invalid(name, other)),
        }
    }

    /// An enum, by name or by number; `names` begin at number 1.
    pub(crate) fn opt_enum(&self, name: &str, names: &[&'static str]) -> Result<Option<&'static str>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let by_number = |number: i64| {
            usize::try_from(number).ok().and_then(|n| n.checked_sub(1)).and_then(|n| names.get(n)).copied()
        };
        let found = match value {
            Value::Number(number) => number.as_i64().and_then(by_number),
            Value::String(text) => names
                .iter()
                .copied()
                .find(|known| known == text)
                .or_else(|| text.parse().ok().and_then(by_number)),
            _ => None,
        };
        found.map(Some).ok_or_else(|| self.invalid(name, value))
    }

    /// The refusal for a field that must be there.
    pub(crate) fn missing(&self, name: &str) -> Error {
        Error::invalid(format!(
            "Missing value for required parameter '{}{name}'. See the API docs for more information about request \
             parameters.",
            self.at
        ))
    }

    /// The refusal for a field of the wrong type.
    pub(crate) fn invalid(&self, name: &str, value: &Value) -> Error {
        let kind = match value {
            Value::Null => "NoneType",
            Value::Bool(_) => "bool",
            Value::Number(number) if number.is_f64() => "float",
            Value::Number(_) => "int",
            Value::String(_) => "str",
            Value::Array(_) => "list",
            Value::Object(_) => "dict",
        };
        let mut shown = value.to_string();
        if shown.len() > 200 {
            let end = (0..=200).rev().find(|at| shown.is_char_boundary(*at)).unwrap_or_default();
            shown.truncate(end);
            shown.push('…');
        }
        Error::invalid(format!(
            "Invalid value {shown} for parameter '{}{name}' supplied:  Hint: Value was of type '{kind}'. See the API \
             docs for more information about request parameters.",
            self.at
        ))
    }
}

/// `NaN`, `Infinity`, `-Infinity`, or a number as text.
pub(crate) fn float_text(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => text.parse::<f64>().ok().filter(|number| number.is_finite()),
    }
}

/// A number as MLflow writes it: NaN as text, infinities as the largest finite number.
pub(crate) fn float_value(number: f64) -> Value {
    if number.is_nan() {
        return Value::from("NaN");
    }
    Value::from(number.clamp(f64::MIN, f64::MAX))
}

/// camelCase to snake_case.
fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_every_form_that_clients_send() {
        let fields = Fields::from_body(
            br#"{"runId": "a", "start_time": "17", "step": 2, "value": "NaN", "metrics": [{"key": "k"}]}"#,
        )
        .unwrap();
        assert_eq!(fields.str("run_id").unwrap(), "a");
        assert_eq!(fields.int("start_time").unwrap(), 17);
        assert_eq!(fields.int("step").unwrap(), 2);
        assert!(fields.float("value").unwrap().is_nan());
        let metrics = fields.messages("metrics").unwrap();
        let missing = metrics[0].float("value").unwrap_err().to_string();
        assert!(missing.starts_with("Missing value for required parameter 'metrics[0].value'."), "{missing}");

        let query = Fields::from_query("run_ids=a&run_ids=b&max_results=5&one=x");
        assert_eq!(query.strings("run_ids").unwrap(), ["a", "b"]);
        assert_eq!(query.strings("one").unwrap(), ["x"]);
        assert_eq!(query.opt_int("max_results").unwrap(), Some(5));

        let twice = Fields::from_body(br#""{\"key\": \"v\"}""#).unwrap();
        assert_eq!(twice.str("key").unwrap(), "v");
    }

    #[test]
    fn values_are_counted_before_there_is_a_tree() {
        assert_eq!(values(br#"{"a": [1, 2, {"b,[{": "\\\"{,"}]}"#), 5);
        assert_eq!(values(br#""never ends \"#), 0);
        let list = |count: usize| format!(r#"{{"metrics":[{}]}}"#, vec!["{}"; count].join(","));
        assert!(Fields::from_body(list(VALUES / 2 - 1).as_bytes()).is_ok());
        let twice = serde_json::to_string(&list(VALUES)).unwrap();
        for body in [list(VALUES), twice] {
            let refused = Fields::from_body(body.as_bytes()).unwrap_err().message;
            assert!(refused.starts_with("The request holds more than 500000 values"), "{refused}");
        }
    }

    #[test]
    fn a_field_in_two_spellings_is_refused() {
        assert!(Fields::from_body(br#"{"runId": "a", "run_id": "b"}"#).is_err());
    }

    #[test]
    fn numbers_beyond_json_are_written_as_mlflow_does() {
        assert_eq!(float_value(f64::NAN), "NaN");
        assert_eq!(float_value(f64::INFINITY), f64::MAX);
        assert_eq!(float_value(f64::NEG_INFINITY), f64::MIN);
        assert_eq!(float_value(0.5), 0.5);
    }
}

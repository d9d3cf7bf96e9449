//! What goes in and out: one envelope for answers, and queries and paths whose errors are problems with a hint.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::request::Parts;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidemill_core::Timestamp;
use utoipa::ToSchema;

use super::Problem;

/// One thing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct One<T> {
    pub(crate) data: T,
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    pub(crate) data: Vec<T>,
    /// Where the next page begins: send it as `cursor`. Missing on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// What handlers of single things return.
pub(super) type OneAnswer<T> = Result<Json<One<T>>, Problem>;
/// What handlers of lists return.
pub(super) type PageAnswer<T> = Result<Json<Page<T>>, Problem>;

pub(super) fn one<T>(data: T) -> OneAnswer<T> {
    Ok(Json(One { data }))
}

impl<T> Page<T> {
    /// From one row more than the page holds, if there are that many: the last row of the page then makes the cursor.
    pub(super) fn of<R>(
        mut rows: Vec<R>,
        limit: Limit,
        cursor: impl FnOnce(&R) -> String,
        show: impl FnMut(R) -> T,
    ) -> Json<Self> {
        let more = rows.len() > limit.0;
        rows.truncate(limit.0);
        let next = rows.last().filter(|_| more).map(cursor);
        Json(Self { data: rows.into_iter().map(show).collect(), next })
    }
}

/// The longest page that one may ask for.
const LONGEST: usize = 1000;

/// How many things a page holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit(pub(super) usize);

impl Limit {
    /// One row more tells whether there is a next page.
    pub(super) fn and_one(self) -> usize {
        self.0 + 1
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(100)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let limit = usize::deserialize(deserializer)?;
        if (1..=LONGEST).contains(&limit) {
            return Ok(Self(limit));
        }
        Err(D::Error::custom(format!("a page holds 1 to {LONGEST} things, not {limit}")))
    }
}

/// Where a page begins, as a number that JSON's readers keep whole: up to 2^53 - 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position(pub(crate) u64);

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const LAST: u64 = (1 << 53) - 1;
        let position = u64::deserialize(deserializer)?;
        if position <= LAST {
            return Ok(Self(position));
        }
        Err(D::Error::custom(format!("a cursor is at most {LAST}, not {position}")))
    }
}

/// A point in time, as RFC 3339 with `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime, examples("2026-11-23T09:30:00Z"))]
pub(crate) struct Time(pub(crate) Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Clients may have logged times that no calendar has.
        const YEAR_0: i64 = -62_167_219_200_000;
        const YEAR_9999: i64 = 253_402_300_799_999;
        let millis = self.0.millis().clamp(YEAR_0, YEAR_9999);
        serializer.collect_str(&Timestamp::from_millis(millis))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || D::Error::custom(format!("`{text}` is not a time as RFC 3339 says it"));
        Timestamp::parse(&text).map(Self).ok_or_else(wrong)
    }
}

/// A number; `NaN`, `Infinity` and `-Infinity` are text, since JSON has no such numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Number(pub(crate) f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            number if number.is_finite() => serializer.serialize_f64(number),
            number if number.is_nan() => serializer.serialize_str("NaN"),
            number if number > 0.0 => serializer.serialize_str("Infinity"),
            _ => serializer.serialize_str("-Infinity"),
        }
    }
}

impl utoipa::PartialSchema for Number {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
        let number = ObjectBuilder::new().schema_type(Type::Number);
        let text = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([
            "NaN",
            "Infinity",
            "-Infinity",
        ]));
        OneOfBuilder::new().item(number).item(text).description(Some("A number")).into()
    }
}

impl ToSchema for Number {}

/// Text to look for: every database can take it.
#[derive(Clone, Debug)]
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() || text.contains('\0') {
            return Err(D::Error::custom("a text must not be empty or hold a zero byte"));
        }
        Ok(Self(text))
    }
}

/// The query of a request.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(QueryRejection::FailedToDeserializeQueryString(why)) => {
                let why =
                    std::error::Error::source(&why).map_or_else(|| why.to_string(), ToString::to_string);
                Err(Problem::invalid(format!("the query is not right: {why}")).hint(DOCUMENT))
            }
            Err(other) => Err(Problem::invalid(other.body_text()).hint(DOCUMENT)),
        }
    }
}

/// The parameters of a path.
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match <axum::extract::Path<T> as FromRequestParts<S>>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(PathRejection::FailedToDeserializePathParams(why)) => {
                Err(Problem::invalid(format!("the path is not right: {}", why.body_text())).hint(DOCUMENT))
            }
            Err(other) => Err(Problem::invalid(other.body_text()).hint(DOCUMENT)),
        }
    }
}

/// Why a body is refused: what it should have been, and what is wrong with it.
pub(super) fn malformed(what: &str, error: &impl std::fmt::Display) -> Problem {
    Problem::invalid(format!("the {what} is not right: {error}")).hint(DOCUMENT)
}

/// Where the form of every request stands.
const DOCUMENT: &str = "`/api/v1/openapi.json` says what this route takes";

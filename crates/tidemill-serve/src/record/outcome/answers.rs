//! Answers with what became known of them: of each row what every arm said, the score and the class, and its outcomes.

use std::collections::HashMap;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, TimestampMillisecondType};
use tidemill_core::Timestamp;
use tidemill_db::Db;
use tidemill_db::outcomes::Outcome;

use crate::gateway::slices;
use crate::record::answers::Answers;
use crate::record::columns::{INPUT, fixed};
use crate::record::read::blocking;
use crate::record::{LogError, Query, Reader};

/// What an arm answered to a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The arm.
    pub arm: String,
    /// Whether nobody was given the answer.
    pub is_shadow: bool,
    /// The score of the positive class, the last of several.
    pub score: Option<f64>,
    /// The class that was named, as text.
    pub class: Option<String>,
    /// Whether somebody acts on it by the threshold of the release; none where it had none.
    pub decision: Option<bool>,
}

/// The value of an outcome.
#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    /// A number or a truth value (0 or 1).
    Number(f64),
    /// A text.
    Text(String),
}

/// A row of a request with its outcomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Joined {
    /// When the request came.
    pub at: Timestamp,
    /// What arms answered; failed ones are left out.
    pub answers: Vec<Answered>,
    /// What became known, by name.
    pub outcomes: Vec<(String, Known)>,
    /// The values of the inputs that were asked for, as names of groups; none where a value is no name.
    pub inputs: Vec<Option<String>>,
}

/// Rows of a stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// Until when the stretch goes, inclusive: earlier than asked for where more would be held in memory at once.
    pub until: Timestamp,
    /// Outcomes that belong to requests of it.
    pub outcomes: u64,
    /// Its rows by time; only those that outcomes belong to.
    pub rows: Vec<Joined>,
}

/// Rows whose requests came after `after` and until `until`, inclusive, as far as outcomes were joined with them, with the values of these
/// inputs; about `most` outcomes at once. Where a name is given, other outcomes count for nothing.
///
/// # Errors
///
/// What database, store or disk refuse.
pub async fn joined(
    db: &Db,
    reader: &Reader,
    endpoint: &str,
    (after, until): (Timestamp, Timestamp),
    (inputs, name): (&[String], Option<&str>),
    most: usize,
) -> Result<Stretch, LogError> {
    let next = |at: Timestamp| Timestamp::from_millis(at.millis().saturating_add(1));
    let mut until = until;
    let mut outcomes = db.first_matched_outcomes(endpoint, next(after), next(until), most).await?;
    let moment = |outcome: &Outcome| outcome.matched.as_ref().map(|found| found.at);
    if outcomes.len() >= most
        && let (Some(first), Some(last)) =
            (outcomes.first().and_then(moment), outcomes.last().and_then(moment))
    {
        // All of one moment or none: the moment of the last one may have more.
        if first < last {
            until = Timestamp::from_millis(last.millis() - 1);
            outcomes.retain(|outcome| moment(outcome).is_some_and(|at| at < last));
        } else {
            // A moment that alone has more than a page is taken whole: with less, or with none of it, nothing would ever follow.
            until = last;
            outcomes = db.matched_outcomes(endpoint, next(after), next(until)).await?;
        }
    }
    outcomes.retain(|outcome| name.is_none_or(|name| outcome.name == name));
    let count = outcomes.len() as u64;
    if outcomes.is_empty() {
        return Ok(Stretch { until, outcomes: 0, rows: Vec::new() });
    }
    let query = Query::of(endpoint, Some(next(after)), Some(next(until)));
    let mut rows = Rows::of(outcomes, inputs);
    let found = reader.find(&query).await?.with_inputs(inputs);
    let rows = blocking("reading answers", move || {
        for batch in found.batches() {
            rows.take(&batch?);
        }
        Ok(rows)
    })
    .await?
    .joined();
    Ok(Stretch { until, outcomes: count, rows })
}

/// Rows that are being put together.
struct Rows {
    /// By request: row, name and value.
    outcomes: HashMap<String, Vec<(Option<u64>, String, Known)>>,
    found: HashMap<(String, u64), Found>,
    inputs: Vec<String>,
}

/// What is found of a row.
struct Found {
    at: Timestamp,
    answers: Vec<Answered>,
    inputs: Vec<Option<String>>,
}

impl Rows {
    fn of(outcomes: Vec<Outcome>, inputs: &[String]) -> Self {
        let mut by_request: HashMap<String, Vec<_>> = HashMap::new();
        for outcome in outcomes {
            let value = match (outcome.number, outcome.text) {
                (_, Some(text)) => Known::Text(text),
                (Some(number), None) => Known::Number(number),
                (None, None) => continue,
            };
            let Some(matched) = outcome.matched else { continue };
            by_request.entry(matched.request_id).or_default().push((matched.row, outcome.name, value));
        }
        Self { outcomes: by_request, found: HashMap::new(), inputs: inputs.to_vec() }
    }

    fn take(&mut self, batch: &RecordBatch) {
        let column = |name: &str| batch.column_by_name(name);
        let (Some(times), Some(ids), Some(rows), Some(arms), Some(shadows), Some(status)) = (
            column(fixed::TIME),
            column(fixed::REQUEST_ID),
            column(fixed::ROW),
            column(fixed::ARM),
            column(fixed::SHADOW),
            column(fixed::STATUS),
        ) else {
            return;
        };
        let (ids, arms, status) =
            (ids.as_string::<i32>(), arms.as_string::<i32>(), status.as_string::<i32>());
        let (times, rows) =
            (times.as_primitive::<TimestampMillisecondType>(), rows.as_primitive::<Int32Type>());
        let shadows = shadows.as_boolean();
        let said = Answers::of(batch);
        let inputs: Vec<Option<Texts>> =
            self.inputs.iter().map(|name| Texts::of_input(batch, name)).collect();
        for at in 0..batch.num_rows() {
            // A fallback's answer says nothing of the arm's model.
            if status.value(at) != "answered" || !arms.is_valid(at) {
                continue;
            }
            let id = ids.value(at);
            if !self.outcomes.contains_key(id) {
                continue;
            }
            let row = u64::try_from(rows.value(at)).unwrap_or_default();
            let found = self.found.entry((id.to_owned(), row));
            let Found { answers, .. } = found.or_insert_with(|| Found {
                at: Timestamp::from_millis(times.value(at)),
                answers: Vec::new(),
                inputs: inputs.iter().map(|texts| group(texts.as_ref(), at)).collect(),
            });
            let arm = arms.value(at);
            // A caller may use the name of a request twice; the first one counts.
            if answers.iter().any(|known| known.arm == arm) {
                continue;
            }
            answers.push(Answered {
                arm: arm.to_owned(),
                is_shadow: shadows.value(at),
                score: said.score(at).filter(|score| score.is_finite()),
                class: said.label(at).map(str::to_owned),
                decision: said.decision(at),
            });
        }
    }

    fn joined(self) -> Vec<Joined> {
        let mut rows: Vec<((String, u64), Joined)> = Vec::with_capacity(self.found.len());
        for ((id, row), Found { at, answers, inputs }) in self.found {
            let of_request = self.outcomes.get(&id).map_or(&[][..], Vec::as_slice);
            // What is said of the row alone counts before what is said of all rows.
            let has_own = |name: &str| of_request.iter().any(|(of, own, _)| *of == Some(row) && own == name);
            let outcomes: Vec<(String, Known)> = of_request
                .iter()
                .filter(|(of, name, _)| of.map_or_else(|| !has_own(name), |of| of == row))
                .map(|(_, name, value)| (name.clone(), value.clone()))
                .collect();
            if !outcomes.is_empty() {
                rows.push(((id, row), Joined { at, answers, outcomes, inputs }));
            }
        }
        rows.sort_by(|(one, a), (other, b)| (a.at, one).cmp(&(b.at, other)));
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

/// A column as texts, written as the gateway writes values.
#[derive(Debug)]
pub struct Texts(StringArray);

impl Texts {
    /// The column of recorded rows that holds an input.
    pub fn column(input: &str) -> String {
        format!("{INPUT}{input}")
    }

    /// An input of recorded rows; none where they have none of the name.
    pub fn of_input(batch: &RecordBatch, name: &str) -> Option<Self> {
        batch.column_by_name(&Self::column(name)).and_then(Self::of)
    }

    fn of(column: &ArrayRef) -> Option<Self> {
        let texts = match column.data_type() {
            DataType::Float32 => {
                let numbers = column.as_primitive::<Float32Type>();
                numbers.iter().map(|number| number.map(|number| number.to_string())).collect()
            }
            DataType::Float64 => {
                let numbers = column.as_primitive::<Float64Type>();
                numbers.iter().map(|number| number.map(|number| number.to_string())).collect()
            }
            _ => cast(column, &DataType::Utf8).ok()?.as_string_opt::<i32>()?.clone(),
        };
        Some(Self(texts))
    }
}

/// The group of a row by an input; none where its value is no name of one.
pub fn group(texts: Option<&Texts>, at: usize) -> Option<String> {
    let value = texts.filter(|texts| texts.0.is_valid(at)).map_or("", |texts| texts.0.value(at));
    slices::name(value).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, TimestampMillisecondArray,
    };
    use arrow::datatypes::{Field, Schema};
    use tidemill_db::outcomes::Match;

    use super::*;

    fn batch(arms: &[&str], shadows: &[bool], outputs: Vec<(&str, ArrayRef)>) -> RecordBatch {
        let rows = arms.len();
        let texts = |values: &[&str]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
        let times = TimestampMillisecondArray::from(vec![5; rows]).with_timezone("UTC");
        let mut columns = vec![
            (fixed::TIME, Arc::new(times) as ArrayRef),
            (fixed::REQUEST_ID, texts(&vec!["a"; rows])),
            (fixed::ROW, Arc::new(Int32Array::from(vec![0; rows]))),
            (fixed::ARM, texts(arms)),
            (fixed::SHADOW, Arc::new(BooleanArray::from(shadows.to_vec()))),
            (fixed::STATUS, texts(&vec!["answered"; rows])),
        ];
        columns.extend(outputs);
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
            .collect();
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    fn outcome(name: &str, row: Option<u64>, number: f64) -> Outcome {
        let matched = Match { request_id: "a".into(), row, at: Timestamp::from_millis(5) };
        Outcome { name: name.into(), number: Some(number), matched: Some(matched), ..Outcome::default() }
    }

    #[test]
    fn answers_of_both_arms_meet_their_outcomes() {
        let lists = ListArray::from_iter_primitive::<Float32Type, _, _>([
            Some(vec![Some(0.75), Some(0.25)]),
            Some(vec![Some(0.5), Some(0.5)]),
        ]);
        let outputs = vec![
            ("output_label", Arc::new(Int64Array::from(vec![0, 1])) as ArrayRef),
            ("output_probabilities", Arc::new(lists)),
            ("output_decision", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("input_origin", Arc::new(StringArray::from(vec!["LGA", "LGA"]))),
            ("input_distance", Arc::new(Float64Array::from(vec![500.0, 500.0]))),
        ];
        let mut rows = Rows::of(
            vec![
                outcome("late", None, 1.0),
                outcome("cost", None, 1.5),
                outcome("cost", Some(0), 7.5),
                outcome("x", Some(3), 0.0),
            ],
            &["origin".into(), "distance".into(), "gate".into()],
        );
        rows.take(&batch(&["old", "new"], &[false, true], outputs));
        let joined = rows.joined();
        assert_eq!(joined.len(), 1);
        let said = |arm: &str, is_shadow, score, class: &str, decision| Answered {
            arm: arm.into(),
            is_shadow,
            score: Some(score),
            class: Some(class.into()),
            decision,
        };
        assert_eq!(
            joined[0].answers,
            [said("old", false, 0.25, "0", Some(true)), said("new", true, 0.5, "1", None)]
        );
        let known = [("late".to_owned(), Known::Number(1.0)), ("cost".to_owned(), Known::Number(7.5))];
        assert_eq!(joined[0].outcomes, known);
        let inputs: Vec<Option<&str>> = joined[0].inputs.iter().map(Option::as_deref).collect();
        assert_eq!(inputs, [Some("LGA"), Some("500"), Some("null")]);
    }

    /// A batch of rows is one request of one moment: where it had as many outcomes as a page and the moment before had passed, paging
    /// stood still for ever.
    #[tokio::test]
    async fn a_moment_with_more_outcomes_than_a_page_does_not_stop_the_paging() {
        use crate::Recorder as _;
        use crate::record::outcome::{Matcher, OutcomeRules};
        use crate::record::segment::tests::record;
        const START: i64 = 9 * 3_600_000;

        let lab = crate::record::tests::Lab::new().await;
        let log = lab.log();
        // Three at once after a pause, then two with one between; pages hold two.
        let moments = [100, 100, 100, 101, 103, 103, 103];
        for (id, at) in moments.into_iter().enumerate() {
            log.record(record(id as u64, START + at));
        }
        log.flush().unwrap();
        let outcomes: Vec<Outcome> = (0..moments.len())
            .map(|id| Outcome {
                endpoint: "loans".into(),
                name: "label".into(),
                number: Some(1.0),
                request_id: Some(format!("request-{id:06}")),
                received_at: Timestamp::from_millis(START + 60_000),
                ..Outcome::default()
            })
            .collect();
        lab.db.add_outcomes(&tidemill_core::Actor::user("ana"), &outcomes).await.unwrap();
        let settle = std::time::Duration::from_millis(50);
        let matcher = Matcher::new(lab.db.clone(), lab.reader(), lab.clock.clone(), settle);
        matcher.pass("loans", OutcomeRules::default()).await.unwrap();

        let end = Timestamp::from_millis(START + 200);
        let (mut after, mut pages) = (Timestamp::from_millis(START), Vec::new());
        while after < end {
            let stretch =
                joined(&lab.db, &lab.reader(), "loans", (after, end), (&[], None), 2).await.unwrap();
            assert!(stretch.until > after && (stretch.outcomes > 0 || stretch.until == end), "{pages:?}");
            pages.push((stretch.until.millis() - START, stretch.outcomes));
            after = stretch.until;
        }
        assert_eq!(pages, [(100, 3), (102, 1), (103, 3), (200, 0)]);

        // Of one name alone, others count for nothing.
        let begin = Timestamp::from_millis(START);
        for (name, count) in [(None, 7), (Some("label"), 7), (Some("money"), 0)] {
            let stretch =
                joined(&lab.db, &lab.reader(), "loans", (begin, end), (&[], name), 100).await.unwrap();
            assert_eq!((stretch.outcomes, stretch.until), (count, end), "{name:?}");
            let matched = lab.db.count_matched_outcomes("loans", name, begin, end).await.unwrap();
            assert_eq!(matched, count, "{name:?}");
        }
    }
}

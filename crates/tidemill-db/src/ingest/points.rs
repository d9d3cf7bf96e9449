//! The points of a plan: the series that they belong to, their newest points, then the points themselves.

pub(super) mod direct;

use std::collections::{BTreeMap, HashMap, HashSet};

use tidemill_core::{RunId, Timestamp};

use super::decide::Plan;
use super::state::State;
use crate::backend::Hand;
use crate::dialect::Rows;
use crate::tracking::Metric;
use crate::tracking::point::{decode, encode, rank};

/// A point on its way to its table. Sorted, the points of a series stand together as its primary key has them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Point<'a> {
    run: i64,
    key: &'a str,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    step: i64,
    at: i64,
    /// See [`encode`].
    value: i64,
}

impl<'a> Point<'a> {
    /// Of the run whose row has this number.
    pub(super) fn of(run: i64, metric: &'a Metric) -> Self {
        let place = Place { step: metric.step, at: metric.at.millis(), value: encode(metric.value) };
        Self { run, key: &metric.key, place }
    }
}

impl Place {
    /// By which the newest point of a series is found.
    fn newness(self) -> (i64, i64, i64) {
        (self.step, self.at, rank(self.value))
    }
}

/// A series as it is after this group.
#[derive(Clone, Copy)]
struct Series {
    /// None as long as it is not written.
    id: Option<i64>,
    last: Place,
    ordered: bool,
    changed: bool,
}

impl Series {
    /// As it is stored, with step, time and value of its newest point. A value that is NaN is stored as NULL.
    fn stored(id: i64, (step, at, value): (i64, i64, Option<f64>), ordered: bool) -> Self {
        let last = Place { step, at, value: encode(value.unwrap_or(f64::NAN)) };
        Self { id: Some(id), last, ordered, changed: false }
    }
}

/// Series that are there, by run and key.
type Stored<'a> = HashMap<(i64, &'a str), Series>;

/// Writes points once each.
pub(super) async fn put(mut hand: Hand<'_>, state: &State, plan: &Plan<'_>) -> sqlx::Result<()> {
    if plan.metrics.is_empty() {
        return Ok(());
    }
    let mut points = Vec::with_capacity(plan.metrics.len());
    for (run, metric) in &plan.metrics {
        points.push(Point::of(state.row(*run)?, metric));
    }
    let groups = grouped(&mut points);
    let new: HashSet<i64> = plan.new_runs.iter().map(|run| state.row(*run)).collect::<sqlx::Result<_>>()?;
    let stored = read_series(hand.reborrow(), &groups, &new).await?;
    let series = settle(hand.reborrow(), &groups, &stored).await?;
    if let Some(changed) = changed_rows(&series) {
        hand.reborrow().write_rows(UPDATE, &changed).await?;
    }
    let ids = insert_series(hand.reborrow(), &groups, &series).await?;
    hand.write_rows(INSERT, &point_rows(&groups, &series, ids)?).await.map(drop)
}

/// The points of each series, sorted and once each.
fn grouped<'p, 'a>(points: &'p mut Vec<Point<'a>>) -> Vec<&'p [Point<'a>]> {
    points.sort_unstable();
    points.dedup();
    points.chunk_by(|a, b| (a.run, a.key) == (b.run, b.key)).collect()
}

/// The series of the groups with their points added.
async fn settle<'a>(
    mut hand: Hand<'_>,
    groups: &[&[Point<'a>]],
    stored: &Stored<'a>,
) -> sqlx::Result<Vec<Series>> {
    let mut fitting = Fitting::new(groups, stored);
    while let Some(spans) = fitting.ask() {
        let found = read_fits(hand.reborrow(), &spans).await?;
        fitting.hear(&found);
    }
    Ok(all_grown(groups, stored, &fitting.found()))
}

/// The series of the groups with their points added, of which these are in order though they come late.
fn all_grown<'a>(
    groups: &[&[Point<'a>]],
    stored: &Stored<'a>,
    fitting: &HashSet<(i64, &'a str)>,
) -> Vec<Series> {
    let series = groups.iter().map(|group| {
        let key = (group[0].run, group[0].key);
        grown(stored.get(&key), group, fitting.contains(&key))
    });
    series.collect()
}

/// The series with the sorted points of a group added. `fits` says that the points, which do not follow the newest
/// one, are in order with those around them: see [`Fitting`].
fn grown(stored: Option<&Series>, group: &[Point<'_>], fits: bool) -> Series {
    let last = group[group.len() - 1].place;
    let Some(before) = stored else {
        return Series { id: None, last, ordered: is_ordered(group), changed: true };
    };
    let ordered = before.ordered && is_ordered(group) && (follows(before, group) || fits);
    let newer = last.newness() > before.last.newness();
    Series {
        id: before.id,
        last: if newer { last } else { before.last },
        ordered,
        changed: newer || ordered != before.ordered,
    }
}

/// Whether points that are sorted by step are so by time as well.
fn is_ordered(group: &[Point<'_>]) -> bool {
    group.windows(2).all(|pair| pair[0].place.at <= pair[1].place.at)
}

/// Whether points come after all that their series has.
fn follows(before: &Series, group: &[Point<'_>]) -> bool {
    let first = group[0].place;
    first.step >= before.last.step && first.at >= before.last.at
}

/// The groups that come late, as those of several clients that write one history do, and are in their place all the
/// same: the points around them are not younger before and not older behind. Their series stays ordered by step and by
/// time, and its history is read without a sort.
///
/// Asks about spans of points until it knows; whoever has the database answers.
struct Fitting<'g, 'a> {
    /// Series and points of the groups.
    late: Vec<(i64, &'g [Point<'a>])>,
    fits: Vec<bool>,
    /// Places in `late`, with points of those that are not decided.
    open: Vec<(usize, &'g [Point<'a>])>,
    /// Where several requests came together, points of the series may stand between theirs: then each stretch of them is
    /// looked at alone, and of a stretch that is mixed with the series each point.
    cuts: std::array::IntoIter<Cut, 3>,
}

impl<'g, 'a> Fitting<'g, 'a> {
    fn new(groups: &[&'g [Point<'a>]], stored: &Stored<'a>) -> Self {
        let late: Vec<(i64, &'g [Point<'a>])> = groups
            .iter()
            .filter_map(|group| {
                let before = stored.get(&(group[0].run, group[0].key))?;
                let is_late = before.ordered && !follows(before, group) && is_ordered(group);
                Some((before.id.filter(|_| is_late)?, *group))
            })
            .collect();
        let cuts: [Cut; 3] = [|points| vec![points], stretches, |points| points.chunks(1).collect()];
        Self {
            open: late.iter().map(|(_, group)| *group).enumerate().collect(),
            fits: vec![true; late.len()],
            late,
            cuts: cuts.into_iter(),
        }
    }

    /// What is to be looked at next; none where all is known.
    fn ask(&mut self) -> Option<Vec<Span>> {
        let cut = self.cuts.next()?;
        let (open, fits) = (std::mem::take(&mut self.open), &self.fits);
        let undecided = open.into_iter().filter(|(i, _)| fits[*i]);
        self.open =
            undecided.flat_map(|(i, points)| cut(points).into_iter().map(move |part| (i, part))).collect();
        let spans = self.open.iter().map(|(i, points)| Span::new(self.late[*i].0, points));
        (!self.open.is_empty()).then(|| spans.collect())
    }

    /// What was found for each of the spans.
    fn hear(&mut self, found: &[Fit]) {
        for ((i, _), fit) in self.open.iter().zip(found) {
            self.fits[*i] &= !matches!(fit, Fit::No);
        }
        let mut found = found.iter();
        self.open.retain(|_| matches!(found.next(), Some(Fit::Parted)));
    }

    /// Run and key of those that fit.
    fn found(self) -> HashSet<(i64, &'a str)> {
        let fitting = self.late.iter().zip(self.fits).filter(|(_, fits)| *fits);
        fitting.map(|((_, group), _)| (group[0].run, group[0].key)).collect()
    }
}

type Cut = for<'p, 'a> fn(&'p [Point<'a>]) -> Vec<&'p [Point<'a>]>;

/// Points as far as their steps have the smallest distance that two of them have.
fn stretches<'p, 'a>(points: &'p [Point<'a>]) -> Vec<&'p [Point<'a>]> {
    let distance = |a: &Point<'_>, b: &Point<'_>| b.place.step.saturating_sub(a.place.step);
    let least = points.windows(2).map(|pair| distance(&pair[0], &pair[1])).min().unwrap_or(0);
    points.chunk_by(|a, b| distance(a, b) <= least).collect()
}

/// Points of a series from the first to the last one.
struct Span {
    series: i64,
    first: Place,
    last: Place,
}

impl Span {
    fn new(series: i64, points: &[Point<'_>]) -> Self {
        Self { series, first: points[0].place, last: points[points.len() - 1].place }
    }
}

/// Whether points have their place among those of their series.
#[derive(Clone, Copy)]
enum Fit {
    Yes,
    No,
    /// Some of the series stand between the first and the last of them.
    Parted,
}

impl Fit {
    /// By the times of the points before and behind a span, and whether there are some in it.
    fn of(span: &Span, before: Option<i64>, behind: Option<i64>, between: bool) -> Self {
        if before.is_some_and(|at| at > span.first.at) || behind.is_some_and(|at| at < span.last.at) {
            Self::No
        } else if between {
            Self::Parted
        } else {
            Self::Yes
        }
    }
}

/// For each of the spans.
async fn read_fits(hand: Hand<'_>, spans: &[Span]) -> sqlx::Result<Vec<Fit>> {
    const SQL: &str = "SELECT r.place,
            (SELECT p.at FROM point p WHERE p.series_id = r.series
                AND (p.step, p.at) < (r.first_step, r.first_at) ORDER BY p.step DESC, p.at DESC LIMIT 1),
            (SELECT p.at FROM point p WHERE p.series_id = r.series
                AND (p.step, p.at) > (r.last_step, r.last_at) ORDER BY p.step, p.at LIMIT 1),
            CAST(CASE WHEN EXISTS (SELECT 1 FROM point p WHERE p.series_id = r.series
                AND (p.step, p.at) > (r.first_step, r.first_at)
                AND (p.step, p.at) < (r.last_step, r.last_at)) THEN 1 ELSE 0 END AS BIGINT)
        FROM {rows} WHERE r.place IS NOT NULL";
    let rows = Rows::new(spans.len())
        .padded()
        .int("place", 0..spans.len() as i64)
        .int("series", spans.iter().map(|span| span.series))
        .int("first_step", spans.iter().map(|span| span.first.step))
        .int("first_at", spans.iter().map(|span| span.first.at))
        .int("last_step", spans.iter().map(|span| span.last.step))
        .int("last_at", spans.iter().map(|span| span.last.at));
    let found: Vec<(i64, Option<i64>, Option<i64>, i64)> = hand.read_rows(SQL, &rows).await?;
    let mut fits: Vec<Fit> = spans.iter().map(|_| Fit::No).collect();
    for (place, before, behind, between) in found {
        let place = usize::try_from(place).ok().filter(|place| *place < spans.len());
        let place = place.ok_or(sqlx::Error::RowNotFound)?;
        fits[place] = Fit::of(&spans[place], before, behind, between == 1);
    }
    Ok(fits)
}

/// By run and key, those of the groups that are there. Of runs that are new in this transaction there are none.
async fn read_series<'a>(
    hand: Hand<'_>,
    groups: &[&[Point<'a>]],
    new: &HashSet<i64>,
) -> sqlx::Result<Stored<'a>> {
    const SQL: &str = "SELECT r.place, s.id, s.last_step, s.last_at, s.last_value, s.ordered
        FROM {rows} JOIN series s ON s.run_id = r.run_id AND s.name = r.name";
    type Row = (i64, i64, i64, i64, Option<f64>, i64);
    let asked: Vec<Point<'a>> =
        groups.iter().map(|group| group[0]).filter(|point| !new.contains(&point.run)).collect();
    if asked.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = Rows::new(asked.len())
        .padded()
        .int("place", 0..asked.len() as i64)
        .int("run_id", asked.iter().map(|point| point.run))
        .text("name", asked.iter().map(|point| point.key));
    let found: Vec<Row> = hand.read_rows(SQL, &rows).await?;
    let mut series = HashMap::with_capacity(found.len());
    for (place, id, step, at, value, ordered) in found {
        let point = asked.get(place as usize).ok_or(sqlx::Error::RowNotFound)?;
        series.insert((point.run, point.key), Series::stored(id, (step, at, value), ordered == 1));
    }
    Ok(series)
}

const UPDATE: &str = "UPDATE series SET last_step = r.last_step, last_at = r.last_at,
        last_value = r.last_value, last_is_nan = r.last_is_nan, ordered = r.ordered
    FROM {rows} WHERE series.id = r.id";

/// The rows for [`UPDATE`], where there are some.
fn changed_rows(series: &[Series]) -> Option<Rows<'static>> {
    let changed: Vec<(i64, &Series)> =
        series.iter().filter(|series| series.changed).filter_map(|s| Some((s.id?, s))).collect();
    if changed.is_empty() {
        return None;
    }
    let rows = Rows::new(changed.len()).padded().int("id", changed.iter().map(|(id, _)| *id));
    Some(with_state(rows, changed.iter().map(|(_, series)| *series)))
}

/// Inserts the series that are not there; gives their numbers.
async fn insert_series<'a>(
    hand: Hand<'_>,
    groups: &[&[Point<'a>]],
    series: &[Series],
) -> sqlx::Result<HashMap<(i64, &'a str), i64>> {
    const SQL: &str = "INSERT INTO series ({columns}) SELECT {columns} FROM {rows} WHERE r.run_id IS NOT NULL
        RETURNING id, run_id, name";
    let new: Vec<(Point<'a>, &Series)> = groups
        .iter()
        .zip(series)
        .filter(|(_, series)| series.id.is_none())
        .map(|(group, series)| (group[0], series))
        .collect();
    if new.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = Rows::new(new.len())
        .padded()
        .int("run_id", new.iter().map(|(point, _)| point.run))
        .text("name", new.iter().map(|(point, _)| point.key));
    let rows = with_state(rows, new.iter().map(|(_, series)| *series));
    let written: Vec<(i64, i64, String)> = hand.read_rows(SQL, &rows).await?;
    // `new` is sorted by run and key, as the points are.
    let mut ids = HashMap::with_capacity(written.len());
    for (id, run, name) in written {
        let at = new.binary_search_by(|(point, _)| (point.run, point.key).cmp(&(run, name.as_str())));
        let (point, _) = at.ok().and_then(|at| new.get(at)).ok_or(sqlx::Error::RowNotFound)?;
        ids.insert((run, point.key), id);
    }
    Ok(ids)
}

fn with_state<'r, 's>(rows: Rows<'r>, series: impl Iterator<Item = &'s Series> + Clone) -> Rows<'r> {
    let last = || series.clone().map(|series| series.last);
    rows.int("last_step", last().map(|place| place.step))
        .int("last_at", last().map(|place| place.at))
        .float("last_value", last().map(|place| decode(place.value)))
        .int("last_is_nan", last().map(|place| i64::from(decode(place.value).is_nan())))
        .int("ordered", series.map(|series| i64::from(series.ordered)))
}

const INSERT: &str = "INSERT INTO point ({columns}) SELECT {columns} FROM {rows}
    WHERE r.series_id IS NOT NULL ON CONFLICT DO NOTHING";

/// The rows for [`INSERT`]. `ids` are the numbers of series that are new.
fn point_rows<'a>(
    groups: &[&[Point<'a>]],
    series: &[Series],
    mut ids: HashMap<(i64, &'a str), i64>,
) -> sqlx::Result<Rows<'static>> {
    let mut points = Vec::with_capacity(groups.iter().map(|group| group.len()).sum());
    for (group, series) in groups.iter().zip(series) {
        let id = series.id.or_else(|| ids.remove(&(group[0].run, group[0].key)));
        let id = id.ok_or(sqlx::Error::RowNotFound)?;
        points.extend(group.iter().map(|point| (id, point.place)));
    }
    points.sort_unstable();
    let rows = Rows::new(points.len())
        .padded()
        .int("series_id", points.iter().map(|(id, _)| *id))
        .int("step", points.iter().map(|(_, place)| place.step))
        .int("at", points.iter().map(|(_, place)| place.at))
        .int("value", points.iter().map(|(_, place)| place.value));
    Ok(rows)
}

/// Writes those points that were measured on a logged model as metrics of it, too.
pub(super) async fn put_of_models(hand: Hand<'_>, state: &State, plan: &Plan<'_>) -> sqlx::Result<()> {
    const SQL: &str = "INSERT INTO logged_model_metric ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
        ON CONFLICT DO NOTHING";
    type Key<'a> = (i64, &'a str, &'a str, &'a str, RunId, Timestamp, i64);
    let mut points: BTreeMap<Key<'_>, &Metric> = BTreeMap::new();
    for (run, metric) in &plan.metrics {
        let Some(model) = metric.model_id.as_ref().and_then(|model| state.models.get(model)) else {
            continue;
        };
        let (name, digest) = (metric.dataset_name.as_deref(), metric.dataset_digest.as_deref());
        let (name, digest) = (name.unwrap_or_default(), digest.unwrap_or_default());
        let key = (*model, metric.key.as_str(), name, digest, *run, metric.at, metric.step);
        let known = points.entry(key).or_insert(metric);
        if rank(encode(metric.value)) > rank(encode(known.value)) {
            *known = metric;
        }
    }
    if points.is_empty() {
        return Ok(());
    }
    let runs: Vec<String> = points.keys().map(|key| key.4.to_string()).collect();
    let rows = Rows::new(points.len())
        .int("model_id", points.keys().map(|key| key.0))
        .text("key", points.keys().map(|key| key.1))
        .text("dataset_name", points.keys().map(|key| key.2))
        .text("dataset_digest", points.keys().map(|key| key.3))
        .text("run_uuid", runs.iter().map(String::as_str))
        .int("step", points.values().map(|metric| metric.step))
        .int("at", points.values().map(|metric| metric.at.millis()))
        .float("value", points.values().map(|metric| metric.value))
        .int("is_nan", points.values().map(|metric| i64::from(metric.value.is_nan())));
    hand.write_rows(SQL, &rows).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(places: &[(i64, i64, f64)]) -> Vec<Point<'static>> {
        let point = |(step, at, value): &(i64, i64, f64)| Point {
            run: 1,
            key: "k",
            place: Place { step: *step, at: *at, value: encode(*value) },
        };
        let mut points: Vec<_> = places.iter().map(point).collect();
        points.sort_unstable();
        points
    }

    #[test]
    fn the_newest_is_the_greatest_by_step_time_and_value() {
        let mut series = grown(None, &group(&[(1, 5, 1.0)]), false);
        for (place, value) in
            [((1, 5, 2.0), 2.0), ((0, 1, 9.0), 2.0), ((1, 9, 0.5), 0.5), ((1, 9, f64::NAN), 0.5)]
        {
            series = grown(Some(&series), &group(&[place]), false);
            assert_eq!(decode(series.last.value), value, "{place:?}");
        }
        // NaN counts as 0.
        series = grown(None, &group(&[(1, 1, -1.0), (1, 1, f64::NAN)]), false);
        assert!(decode(series.last.value).is_nan());
        series = grown(Some(&series), &group(&[(1, 1, 0.0)]), false);
        assert!(decode(series.last.value).is_nan());
        series = grown(Some(&series), &group(&[(1, 1, 0.5)]), false);
        assert_eq!(decode(series.last.value), 0.5);
    }

    #[test]
    fn a_series_is_ordered_until_time_and_step_disagree() {
        let first = grown(None, &group(&[(0, 1, 1.0), (0, 2, 1.0), (1, 2, 0.0)]), false);
        assert!(first.ordered);
        let same_time = grown(Some(&first), &group(&[(2, 2, 1.0)]), false);
        assert!(same_time.ordered && same_time.changed);
        assert!(!grown(None, &group(&[(0, 2, 1.0), (1, 1, 1.0)]), false).ordered);
        for late in [(0, 9, 1.0), (5, 1, 1.0)] {
            let after = grown(Some(&first), &group(&[late]), false);
            assert!(!after.ordered && after.changed, "{late:?}");
            assert!(!grown(Some(&after), &group(&[(9, 9, 1.0)]), false).ordered);
        }
        assert!(!grown(Some(&first), &group(&[(1, 2, 0.0)]), false).changed);
        let fitting = grown(Some(&first), &group(&[(0, 0, 1.0)]), true);
        assert!(fitting.ordered && !fitting.changed);
    }
}

//! The statements of a search over runs.
//!
//! Each names the rows that drive it first, joined to their runs by `CROSS JOIN`, which SQLite keeps in this order; on
//! PostgreSQL the search's transaction is told to keep it too. Everything else is looked up run by run.

use sqlx::{ColumnIndex, Decode, FromRow, Type};

use crate::direct::FromDirect;
use crate::search::Sql;
use crate::search::page::Place;
use crate::search::runs::RunSearch;
use crate::search::runs::key::{Key, Of, Row, push_after_all};
use crate::search::runs::need::{Need, Pairs};
use crate::search::sql::Column;

/// Which runs are searched at all.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    /// Not empty.
    pub(super) experiments: Vec<i64>,
    /// Not empty.
    pub(super) stages: Vec<String>,
}

/// What drives a statement.
#[derive(Clone, Debug)]
pub(super) enum Driver<'a> {
    /// All runs of the scope.
    Runs,
    /// What one of the needs finds by its index.
    Need(&'a Need),
    /// A stretch of the first key's values.
    Stretch(&'a Stretch),
    /// Runs of these rows, on SQLite.
    Rows(&'a [i64]),
}

/// A part of a key's values in the order of the key. Texts are compared by their beginnings.
#[derive(Clone, Debug, Default)]
pub(super) struct Stretch {
    /// Where it begins, and whether that is a part of it.
    pub(super) from: Option<(Place, bool)>,
    /// Where it ends, and whether that is a part of it.
    pub(super) to: Option<(Place, bool)>,
}

/// A run that was found, with its place by each key.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: i64,
    columns: Vec<(Option<i64>, Option<f64>, Option<String>)>,
}

impl<'r, R> FromRow<'r, R> for Found
where
    R: sqlx::Row,
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    f64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Option<i64>: Decode<'r, R::Database> + Type<R::Database>,
    Option<f64>: Decode<'r, R::Database> + Type<R::Database>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        let columns = (1..row.len())
            .step_by(3)
            .map(|at| Ok((row.try_get(at)?, row.try_get(at + 1)?, row.try_get(at + 2)?)))
            .collect::<sqlx::Result<_>>()?;
        Ok(Self { id: row.try_get(0)?, columns })
    }
}

impl FromDirect for Found {
    fn from_direct(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let count = row.as_ref().column_count();
        let columns = (1..count)
            .step_by(3)
            .map(|at| Ok((row.get(at)?, row.get(at + 1)?, row.get(at + 2)?)))
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self { id: row.get(0)?, columns })
    }
}

impl Found {
    pub(super) fn places(self, keys: &[Key]) -> Vec<Place> {
        let columns = keys.iter().zip(self.columns);
        columns.map(|(key, (whole, number, text))| key.place(whole, number, text)).collect()
    }
}

impl Scope {
    /// The scope of a search that has both experiments and stages.
    pub(super) fn of(search: &RunSearch) -> Self {
        let mut experiments = search.experiments.clone();
        experiments.sort_unstable();
        experiments.dedup();
        Self { experiments, stages: search.stages.iter().map(|stage| stage.word().to_owned()).collect() }
    }

    fn push(&self, sql: &mut Sql) {
        sql.push("t.experiment_id IN ").ints(&self.experiments).push(" AND t.stage IN ").texts(&self.stages);
    }

    /// How many runs there are, at most `limit`.
    pub(super) fn push_count(&self, sql: &mut Sql, limit: usize) {
        sql.push("SELECT CAST(0 AS BIGINT), COUNT(*) FROM (SELECT 1 FROM run t WHERE ");
        self.push(sql);
        sql.push(" LIMIT ").int(limit as i64).push(") n");
    }
}

impl Need {
    /// How many rows its index gives, at most `limit`.
    pub(super) fn push_count(&self, sql: &mut Sql, number: usize, scope: &Scope, limit: usize) {
        sql.push(" UNION ALL SELECT CAST(").number(number).push(" AS BIGINT), COUNT(*) FROM (SELECT 1 FROM ");
        if self.push_table(sql, &scope.experiments) {
            sql.push(" WHERE TRUE");
            self.push_index(sql);
        } else {
            sql.push("run t WHERE ");
            scope.push(sql);
            sql.push(" AND ");
            self.push(sql, false);
        }
        sql.push(" LIMIT ").int(limit as i64).push(") n");
    }
}

/// The first `want` runs of `driver` that meet all needs and come after `after`.
pub(super) fn push_search(
    sql: &mut Sql,
    scope: &Scope,
    driver: &Driver<'_>,
    needs: &[Need],
    keys: &[Key],
    after: Option<&[Place]>,
    want: usize,
) {
    let values = match driver {
        Driver::Stretch(_) => keys.first().filter(|key| key.is_value()),
        Driver::Runs | Driver::Need(_) | Driver::Rows(_) => None,
    };
    let rows: Vec<(&Key, Row)> = keys
        .iter()
        .enumerate()
        .map(|(i, key)| (key, if i == 0 && values.is_some() { Row::Driver } else { Row::Joined(i) }))
        .collect();
    sql.push("SELECT t.id");
    for (key, row) in &rows {
        key.push_columns(sql, *row);
    }
    sql.push(" FROM ");
    let joined = match (driver, values) {
        (Driver::Need(need), _) => need.push_table(sql, &scope.experiments),
        (Driver::Rows(rows), _) => {
            sql.push("(SELECT ").either(
                "n.value AS run_id FROM json_each(",
                "CAST(n.value AS BIGINT) AS run_id FROM json_array_elements_text(CAST(",
            );
            sql.text(format!("{rows:?}")).either(") n) d", " AS JSON)) AS n(value)) d");
            true
        }
        (_, Some(key)) => {
            sql.push(table(key));
            true
        }
        (Driver::Runs | Driver::Stretch(_), None) => false,
    };
    if joined {
        sql.push(" CROSS JOIN ");
    }
    sql.push("run t");
    for (i, (key, row)) in rows.iter().enumerate() {
        if let Row::Joined(_) = row {
            key.push_join(sql, i);
        }
    }
    sql.push(if joined { " WHERE t.id = d.run_id" } else { " WHERE TRUE" });
    let own = match driver {
        Driver::Need(need) if joined => {
            need.push_index(sql);
            Some((*need).clone())
        }
        Driver::Need(_) | Driver::Runs | Driver::Rows(_) => None,
        Driver::Stretch(stretch) => keys.first().map(|key| {
            push_stretch(sql, key, stretch);
            key.need(&any_place(key))
        }),
    };
    sql.push(" AND ");
    scope.push(sql);
    let mut asked: Vec<&Need> = needs.iter().collect();
    asked.sort_by_key(|need| need.rank());
    for need in asked {
        match &own {
            Some(own) if need.has_row_of(own) => {
                if matches!(driver, Driver::Stretch(_)) {
                    need.push_index(sql);
                }
                need.push_rest(sql);
            }
            _ if matches!((driver, need), (Driver::Need(own), Need::Dataset { .. }) if *own == need) => {}
            _ => {
                sql.push(" AND ");
                need.push(sql, joined);
            }
        }
    }
    if let Some(after) = after {
        sql.push(" AND ");
        push_after_all(sql, &rows, after);
    }
    for (i, (key, row)) in rows.iter().enumerate() {
        sql.push(if i == 0 { " ORDER BY " } else { ", " });
        match row {
            Row::Driver => key.push_order_of_index(sql),
            Row::Joined(_) => key.push_order(sql, *row),
        }
    }
    sql.push(" LIMIT ").int(want as i64);
}

/// Some place of `key`, to ask for the need that its row meets.
fn any_place(key: &Key) -> Place {
    match key.of {
        Of::Metric(_) => Place::Nan,
        Of::Pair(..) | Of::Property(_, false) => Place::Text(String::new()),
        Of::Property(_, true) => Place::Int(0),
    }
}

fn table(key: &Key) -> &'static str {
    match key.of {
        Of::Metric(_) => "series d",
        Of::Pair(Pairs::Params, _) => "run_param d",
        Of::Pair(Pairs::Tags, _) => "run_tag d",
        Of::Property(..) => "run t",
    }
}

fn value(key: &Key) -> Column {
    match key.of {
        Of::Metric(_) => "d.last_value".into(),
        Of::Pair(..) => "substr(d.value, 1, 64)".into(),
        Of::Property(column, _) => Column::new("t", column),
    }
}

/// The rows of `key` within a stretch of its values.
fn push_stretch(sql: &mut Sql, key: &Key, stretch: &Stretch) {
    match &key.of {
        Of::Metric(name) => sql.push(" AND d.name = ").text(name).push(" AND d.last_is_nan = 0"),
        Of::Pair(_, name) => sql.push(" AND d.key = ").text(name),
        Of::Property(column, _) => sql.push(" AND ").column(Column::new("t", column)).push(" IS NOT NULL"),
    };
    let bounds = [(&stretch.from, key.descending), (&stretch.to, !key.descending)];
    for (bound, upper) in bounds {
        let Some((place, included)) = bound else { continue };
        sql.push(" AND ").column(value(key)).push(match (upper, included) {
            (true, true) => " <= ",
            (true, false) => " < ",
            (false, true) => " >= ",
            (false, false) => " > ",
        });
        match place {
            Place::Text(text) => sql.text(text.as_str()),
            Place::Int(whole) => sql.int(*whole),
            Place::Float(bits) => sql.float(f64::from_bits(*bits)),
            Place::Nan | Place::Missing => sql.push("NULL"),
        };
    }
}

/// How many values `key` has, at most `limit`.
pub(super) fn push_length(sql: &mut Sql, key: &Key, limit: usize) {
    sql.push("SELECT COUNT(*) FROM (SELECT 1 FROM ").push(table(key)).push(" WHERE TRUE");
    push_stretch(sql, key, &Stretch::default());
    // By the order a planner takes the index of the values, and not one of the runs, which holds all other names, too.
    sql.push(" ORDER BY ").column(value(key)).push(" LIMIT ").int(limit as i64).push(") n");
}

/// The value that is `ahead` rows behind the beginning of `stretch`. Of runs, those of one experiment and stage only,
/// where one is given.
pub(super) fn push_ahead(
    sql: &mut Sql,
    key: &Key,
    stretch: &Stretch,
    needs: &[Need],
    group: Option<(i64, &str)>,
    ahead: usize,
) {
    sql.push("SELECT ").column(value(key)).push(" FROM ").push(table(key)).push(" WHERE TRUE");
    if let Some((experiment, stage)) = group {
        sql.push(" AND t.experiment_id = ").int(experiment).push(" AND t.stage = ").text(stage);
    }
    push_stretch(sql, key, stretch);
    let own = key.need(&any_place(key));
    for need in needs.iter().filter(|need| need.has_row_of(&own)) {
        need.push_index(sql);
    }
    sql.push(" ORDER BY ").column(value(key)).push(if key.descending { " DESC" } else { "" });
    sql.push(" LIMIT 1 OFFSET ").int(ahead as i64);
}

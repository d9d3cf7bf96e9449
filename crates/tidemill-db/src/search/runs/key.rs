//! What runs are ordered by, and places in that order.
//!
//! Numbers come before NaN and NaN before what is missing, whether the order ascends or descends. Ties are broken by the
//! start, newest first, and then by the identifier, so every run has one place.

use crate::search::page::Place;
use crate::search::runs::need::{MetricTest, Need, Pairs, property};
use crate::search::sql::Column;
use crate::search::{Field, Op, Operand, OrderBy, Sql};

/// A part of the order.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) of: Of,
    pub(super) descending: bool,
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Metric(String),
    Pair(Pairs, String),
    /// A column of the run, and whether it holds whole numbers.
    Property(&'static str, bool),
}

/// All keys of an order, ending with one that tells all runs apart. What runs do not have orders nothing.
pub(super) fn keys(order: &[OrderBy]) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::with_capacity(order.len() + 2);
    for OrderBy { field, descending } in order {
        let of = match field {
            Field::Metric(key) => Of::Metric(key.clone()),
            Field::Param(key) => Of::Pair(Pairs::Params, key.clone()),
            Field::Tag(key) => Of::Pair(Pairs::Tags, key.clone()),
            Field::Attribute(name) => {
                let Some((column, whole)) = property(name) else { continue };
                Of::Property(column, whole)
            }
            Field::Dataset(_)
            | Field::Metadata(_)
            | Field::Span(_)
            | Field::Feedback(_)
            | Field::Expectation(_) => continue,
        };
        keys.push(Key { of, descending: *descending });
    }
    keys.push(Key { of: Of::Property("started_at", true), descending: true });
    keys.push(Key { of: Of::Property("uuid", false), descending: false });
    let mut seen: Vec<Of> = Vec::new();
    keys.retain(|key| {
        let first = !seen.contains(&key.of);
        seen.push(key.of.clone());
        first
    });
    let end = keys.iter().position(|key| key.of == Of::Property("uuid", false));
    keys.truncate(end.map_or(keys.len(), |end| end + 1));
    keys
}

impl Key {
    /// Whether it is a metric, parameter or tag, whose values have an index of their own.
    pub(super) fn is_value(&self) -> bool {
        !matches!(self.of, Of::Property(..))
    }

    /// A join that gives the key's row under `k` and its number, if it has one.
    pub(super) fn push_join(&self, sql: &mut Sql, number: usize) {
        let (table, name, key) = match &self.of {
            Of::Metric(key) => (" LEFT JOIN series k", "name", key),
            Of::Pair(Pairs::Params, key) => (" LEFT JOIN run_param k", "key", key),
            Of::Pair(Pairs::Tags, key) => (" LEFT JOIN run_tag k", "key", key),
            Of::Property(..) => return,
        };
        sql.push(table).number(number).push(" ON ").column(Column::numbered("k", number, "run_id"));
        sql.push(" = t.id AND ").column(Column::numbered("k", number, name)).push(" = ").text(key);
    }

    /// The columns that give the key's place: a whole number, a number and a text.
    pub(super) fn push_columns(&self, sql: &mut Sql, row: Row) {
        match self.of {
            Of::Metric(_) => {
                sql.push(", ").column(row.at("last_is_nan")).push(", ").column(row.at("last_value"));
                sql.push(", CAST(NULL AS TEXT)");
            }
            Of::Pair(..) => {
                sql.push(", CAST(NULL AS BIGINT), CAST(NULL AS DOUBLE PRECISION), ").column(row.at("value"));
            }
            Of::Property(column, true) => {
                sql.push(", ").column(Column::new("t", column));
                sql.push(", CAST(NULL AS DOUBLE PRECISION), CAST(NULL AS TEXT)");
            }
            Of::Property(column, false) => {
                sql.push(", CAST(NULL AS BIGINT), CAST(NULL AS DOUBLE PRECISION), ");
                sql.column(Column::new("t", column));
            }
        }
    }

    /// The place that [`Self::push_columns`] gave.
    pub(super) fn place(&self, whole: Option<i64>, number: Option<f64>, text: Option<String>) -> Place {
        match self.of {
            Of::Metric(_) => match (whole, number) {
                (Some(0), Some(number)) => Place::Float(number.to_bits()),
                (Some(_), _) => Place::Nan,
                (None, _) => Place::Missing,
            },
            Of::Property(_, true) => whole.map_or(Place::Missing, Place::Int),
            Of::Pair(..) | Of::Property(_, false) => text.map_or(Place::Missing, Place::Text),
        }
    }

    /// As [`Self::push_order`] within a stretch, where all rows have a value: as the index has them, so that the database reads no more of
    /// the stretch than it gives, and sorts those of equal values only.
    pub(super) fn push_order_of_index(&self, sql: &mut Sql) {
        let descending = if self.descending { " DESC" } else { "" };
        if let Of::Pair(..) = self.of {
            sql.push("substr(d.value, 1, 64)").push(descending).push(", ");
        }
        sql.column(self.column(Row::Driver)).push(descending);
    }

    /// What follows `ORDER BY`.
    pub(super) fn push_order(&self, sql: &mut Sql, row: Row) {
        let column = self.column(row);
        match self.of {
            Of::Metric(_) => {
                sql.push("COALESCE(").column(row.at("last_is_nan")).push(", 2), ");
            }
            Of::Pair(..) | Of::Property(_, true) => {
                sql.column(column).push(" IS NULL, ");
            }
            Of::Property(_, false) => {}
        }
        sql.column(column).push(if self.descending { " DESC" } else { "" });
    }

    fn column(&self, row: Row) -> Column {
        match self.of {
            Of::Metric(_) => row.at("last_value"),
            Of::Pair(..) => row.at("value"),
            Of::Property(column, _) => Column::new("t", column),
        }
    }

    /// Whether a run is at `place`.
    pub(super) fn push_equal(&self, sql: &mut Sql, row: Row, place: &Place) {
        let column = self.column(row);
        match place {
            Place::Text(text) => sql.column(column).push(" = ").text(text.as_str()),
            Place::Int(whole) => sql.column(column).push(" = ").int(*whole),
            Place::Float(bits) => {
                sql.column(row.at("last_is_nan")).push(" = 0 AND ").column(column).push(" = ");
                sql.float(f64::from_bits(*bits))
            }
            Place::Nan => sql.column(row.at("last_is_nan")).push(" = 1"),
            Place::Missing => sql.column(column).push(" IS NULL"),
        };
        if let (Of::Metric(_), Place::Missing) = (&self.of, place) {
            sql.push(" AND ").column(row.at("last_is_nan")).push(" IS NULL");
        }
    }

    /// Whether a run comes after `place`.
    pub(super) fn push_after(&self, sql: &mut Sql, row: Row, place: &Place) {
        let column = self.column(row);
        let sign = if self.descending { " < " } else { " > " };
        match place {
            Place::Text(text) => {
                sql.push("(").column(column).push(sign).text(text.as_str());
                sql.push(" OR ").column(column).push(" IS NULL)");
            }
            Place::Int(whole) => {
                sql.push("(").column(column).push(sign).int(*whole);
                sql.push(" OR ").column(column).push(" IS NULL)");
            }
            Place::Float(bits) => {
                sql.push("(COALESCE(").column(row.at("last_is_nan")).push(", 2) > 0 OR ");
                sql.column(column).push(sign).float(f64::from_bits(*bits)).push(")");
            }
            Place::Nan => {
                sql.column(row.at("last_is_nan")).push(" IS NULL");
            }
            Place::Missing => {
                sql.push("FALSE");
            }
        }
    }

    /// What a run at `place` has: the order by this key is settled among those that do.
    pub(super) fn need(&self, place: &Place) -> Need {
        match (&self.of, place) {
            (Of::Metric(key), Place::Float(bits)) => {
                Need::Metric { key: key.clone(), tests: vec![MetricTest::Is(Op::Eq, f64::from_bits(*bits))] }
            }
            (Of::Metric(key), Place::Nan) => Need::Metric { key: key.clone(), tests: vec![MetricTest::Nan] },
            (Of::Metric(key), _) => Need::NoMetric(key.clone()),
            (Of::Pair(pairs, key), Place::Text(text)) => Need::Pair {
                pairs: *pairs,
                key: key.clone(),
                tests: vec![(Op::Eq, Operand::Text(text.clone()))],
            },
            (Of::Pair(pairs, key), _) => {
                Need::Pair { pairs: *pairs, key: key.clone(), tests: vec![(Op::IsNull, Operand::Nothing)] }
            }
            (Of::Property(column, _), Place::Int(value)) => Need::Whole { column, value: *value },
            (Of::Property(column, whole), Place::Text(text)) => {
                Need::Property { column, whole: *whole, op: Op::Eq, value: Operand::Text(text.clone()) }
            }
            (Of::Property(column, whole), _) => {
                Need::Property { column, whole: *whole, op: Op::IsNull, value: Operand::Nothing }
            }
        }
    }

    /// Whether `place` can be one by this key; tokens come from outside.
    pub(super) fn fits(&self, place: &Place) -> bool {
        match (&self.of, place) {
            (Of::Metric(_), Place::Float(bits)) => !f64::from_bits(*bits).is_nan(),
            (Of::Metric(_), Place::Nan | Place::Missing) => true,
            (Of::Pair(..), Place::Text(_) | Place::Missing) => true,
            (Of::Property(_, true), Place::Int(_) | Place::Missing) => true,
            (Of::Property(_, false), Place::Text(_)) => true,
            _ => false,
        }
    }
}

/// The row of a key: joined under `k` and a number, or the one that drives the search.
#[derive(Clone, Copy, Debug)]
pub(super) enum Row {
    Joined(usize),
    Driver,
}

impl Row {
    fn at(self, name: &'static str) -> Column {
        match self {
            Self::Joined(number) => Column::numbered("k", number, name),
            Self::Driver => Column::new("d", name),
        }
    }
}

/// Whether a run comes after `places` by all keys.
pub(super) fn push_after_all(sql: &mut Sql, keys: &[(&Key, Row)], places: &[Place]) {
    let Some(((key, row), place)) = keys.first().zip(places.first()) else {
        sql.push("FALSE");
        return;
    };
    sql.push("(");
    key.push_after(sql, *row, place);
    if keys.len() > 1 {
        sql.push(" OR ");
        key.push_equal(sql, *row, place);
        sql.push(" AND ");
        push_after_all(sql, &keys[1..], &places[1..]);
    }
    sql.push(")");
}

//! What each column seems to be, from its statistics and its name.

use super::{ColumnProposal, Role};
use crate::ColumnType;
use crate::profile::ColumnStats;

/// Most categories that are worth a split each; also the number of bins of the built-in trainer.
const MOST_CATEGORIES: u64 = 255;
/// Mean length in characters from which text is prose rather than a name.
const PROSE: f64 = 40.0;
/// Fewest rows that make "different in every row" remarkable.
const FEW: u64 = 20;

pub(super) fn roles(stats: &[ColumnStats], target: &str) -> Vec<ColumnProposal> {
    let time = time(stats, target);
    stats
        .iter()
        .map(|column| {
            let (role, reason) = if column.name == target {
                (Role::Target, "asked for".to_owned())
            } else if Some(column.name.as_str()) == time {
                (Role::Time, "says when a row happened".to_owned())
            } else {
                role(column)
            };
            ColumnProposal { name: column.name.clone(), role, reason }
        })
        .collect()
}

/// Whether every value is different, as far as the count or its estimate tells.
pub(super) fn all_different(column: &ColumnStats) -> bool {
    let slack = 3.0 * column.distinct.relative_error;
    column.count >= FEW && column.distinct.estimate as f64 >= column.count as f64 * (1.0 - slack)
}

/// The time column with the fewest nulls, of these the one with the most different values, of these the first.
fn time<'a>(stats: &'a [ColumnStats], target: &str) -> Option<&'a str> {
    let times = stats.iter().filter(|column| {
        matches!(column.column_type, ColumnType::Timestamp | ColumnType::Date)
            && column.name != target
            && column.distinct.estimate > 1
            && column.nulls * 10 <= column.count
    });
    let best = times.min_by_key(|column| (column.nulls, std::cmp::Reverse(column.distinct.estimate)));
    best.map(|column| column.name.as_str())
}

fn role(column: &ColumnStats) -> (Role, String) {
    let distinct = column.distinct.estimate;
    if column.count == 0 {
        return (Role::Constant, "always null".to_owned());
    }
    if distinct == 1 && column.nulls == 0 {
        return (Role::Constant, "the same in every row".to_owned());
    }
    match column.column_type {
        ColumnType::Bool => (Role::Categorical, "true or false".to_owned()),
        ColumnType::Float => (Role::Numeric, format!("a number with {distinct} different values")),
        ColumnType::Int if all_different(column) && (is_name_of_id(&column.name) || is_sequence(column)) => {
            (Role::Id, "a whole number that is different in every row".to_owned())
        }
        ColumnType::Int if is_name_of_code(&column.name) && distinct <= MOST_CATEGORIES => {
            (Role::Categorical, format!("{distinct} whole numbers that its name calls codes"))
        }
        ColumnType::Int if is_name_of_id(&column.name) && distinct > MOST_CATEGORIES => {
            (Role::Id, format!("{distinct} whole numbers that its name calls identifiers"))
        }
        ColumnType::Int => (Role::Numeric, format!("a whole number with {distinct} different values")),
        ColumnType::String => text(column),
        ColumnType::Timestamp | ColumnType::Date => {
            (Role::Unsupported, "another time column; derive numbers from it in a SQL step".to_owned())
        }
        ColumnType::Other => {
            (Role::Unsupported, format!("its type {} is not a number, text or time", column.data_type))
        }
    }
}

fn text(column: &ColumnStats) -> (Role, String) {
    let distinct = column.distinct.estimate;
    let length = column.mean_length.unwrap_or(0.0);
    if let Some(grouped) = decimal_comma(column) {
        (
            Role::DecimalComma { grouped },
            "text with decimal commas; the features read it as numbers".to_owned(),
        )
    } else if length > PROSE && distinct > MOST_CATEGORIES {
        (Role::Text, format!("text of {length:.0} characters on average"))
    } else if all_different(column) {
        (Role::Id, "text that is different in every row".to_owned())
    } else if distinct > MOST_CATEGORIES {
        (Role::Id, format!("text with {distinct} different values, more than {MOST_CATEGORIES} categories"))
    } else {
        (Role::Categorical, format!("text with {distinct} different values"))
    }
}

/// Whether the texts that are known of a column are numbers with a decimal comma, as tables of most of Europe have them; then, whether
/// points stand between thousands.
pub(super) fn decimal_comma(column: &ColumnStats) -> Option<bool> {
    let known = column.top.iter().map(|top| &top.value).chain(&column.min).chain(&column.max);
    let texts: Vec<&str> = known.filter_map(crate::Value::as_str).collect();
    let all = texts.iter().all(|text| is_with_comma(text));
    (all && texts.iter().any(|text| text.contains(','))).then(|| texts.iter().any(|text| text.contains('.')))
}

/// Whether a text is a number whose fraction follows a comma, if it has one, and whose thousands are grouped by points or not at all.
fn is_with_comma(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = text.split_once(',').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    let mut groups = whole.split('.');
    let first = groups.next().unwrap_or_default();
    let mut are_grouped = false;
    let are_full = groups.all(|group| {
        are_grouped = true;
        group.len() == 3 && digits(group)
    });
    digits(first) && are_full && (!are_grouped || first.len() <= 3) && fraction.is_none_or(digits)
}

/// Whole numbers without a gap.
fn is_sequence(column: &ColumnStats) -> bool {
    let bound = |value: &Option<crate::Value>| value.as_ref().and_then(crate::Value::as_i64);
    match (bound(&column.min), bound(&column.max)) {
        (Some(min), Some(max)) => max.checked_sub(min).is_some_and(|span| span as u64 + 1 == column.count),
        _ => false,
    }
}

fn is_name_of_id(name: &str) -> bool {
    words(name)
        .iter()
        .any(|word| ["id", "uuid", "guid", "key", "index", "idx", "rowid", "pk"].contains(&word.as_str()))
}

fn is_name_of_code(name: &str) -> bool {
    is_name_of_id(name)
        || words(name)
            .iter()
            .any(|word| ["code", "zip", "zipcode", "postcode", "category", "class"].contains(&word.as_str()))
}

/// `orderId`, `order_id` and `ORDER ID` as `order`, `id`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && before_lower) {
            words.push(String::new());
        }
        before_lower = c.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_commas_are_told_from_others() {
        for text in ["0,5", "-12,25", "+3,0", "7", "1.234,5", "12.345.678,90", "1.234"] {
            assert!(is_with_comma(text), "{text}");
        }
        for text in
            ["", ",", "1,", ",5", "1.2,3", "1234.567,8", "1,234,567", "1.5", "n/a", "1 234,5", "--1,0"]
        {
            assert!(!is_with_comma(text), "{text}");
        }
    }

    #[test]
    fn names_are_cut_into_words() {
        for name in ["orderId", "order_id", "ORDER ID", "order.id"] {
            assert!(is_name_of_id(name), "{name}");
        }
        for name in ["paid", "identity", "valid", "width"] {
            assert!(!is_name_of_id(name), "{name}");
        }
        assert!(is_name_of_code("zip_code"));
    }
}

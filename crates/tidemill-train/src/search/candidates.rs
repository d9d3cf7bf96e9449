//! The combinations of values that a search tries.

use indexmap::IndexMap;
use serde_json::Value;
use tidemill_core::declare::{Search, SearchMethod};

use crate::random::{Purpose, Random};
use crate::{Error, Result};

/// Values by parameter name, one combination.
pub type Candidate = IndexMap<String, Value>;

/// Most trials of one search.
const MOST: u64 = 10_000;

/// The combinations in the order in which they are tried: a grid with the last parameter changing fastest, or as many
/// random combinations as `trials` says, without repetition (the whole grid in random order where it is smaller).
///
/// # Errors
/// [`Error::Parameter`] for an empty space, a parameter without values, or too many trials.
pub fn candidates(search: &Search, seed: u64) -> Result<Vec<Candidate>> {
    let space = distinct(search)?;
    let size = space.values().try_fold(1_u64, |size, values| size.checked_mul(values.len() as u64));
    let size = size.unwrap_or(u64::MAX);
    let picks = match search.method {
        SearchMethod::Grid if size > MOST => {
            return Err(wrong(
                "space",
                &size.to_string(),
                "a grid of at most 10000 combinations; use `random`",
            ));
        }
        SearchMethod::Grid => (0..size).collect(),
        SearchMethod::Random => {
            let trials = u64::from(search.trials.unwrap_or(0));
            if trials == 0 || trials > MOST {
                let text = search.trials.map_or("not given".into(), |trials| trials.to_string());
                return Err(wrong("trials", &text, "a random search needs 1 to 10000"));
            }
            draw(&space, size, trials, seed)
        }
    };
    Ok(picks.into_iter().map(|pick| combination(&space, pick)).collect())
}

fn wrong(parameter: &str, value: &str, expected: &str) -> Error {
    Error::Parameter { parameter: parameter.into(), value: value.into(), expected: expected.into() }
}

/// The space without repeated values.
fn distinct(search: &Search) -> Result<IndexMap<String, Vec<Value>>> {
    if search.space.is_empty() {
        return Err(wrong("space", "empty", "name at least one parameter with its values"));
    }
    let mut space = IndexMap::new();
    for (name, values) in &search.space {
        let mut kept: Vec<Value> = Vec::new();
        for value in values {
            if !kept.contains(value) {
                kept.push(value.clone());
            }
        }
        if kept.is_empty() {
            return Err(wrong(name, "[]", "list at least one value"));
        }
        space.insert(name.clone(), kept);
    }
    Ok(space)
}

/// Numbers of distinct combinations: all in random order where few more are there than wanted, otherwise drawn until
/// there are enough.
fn draw(space: &IndexMap<String, Vec<Value>>, size: u64, trials: u64, seed: u64) -> Vec<u64> {
    let mut random = Random::new(seed, Purpose::Search, 0);
    if size <= 2 * trials {
        let mut all: Vec<u64> = (0..size).collect();
        random.shuffle(&mut all);
        all.truncate(trials as usize);
        return all;
    }
    let mut picks: Vec<u64> = Vec::with_capacity(trials as usize);
    let mut seen = std::collections::HashSet::new();
    while (picks.len() as u64) < trials {
        // Saturation only matters beyond 2^64 combinations, where repeated numbers are drawn again like any other.
        let pick = space.values().fold(0_u64, |pick, values| {
            let digit = u64::from(random.below(values.len() as u32));
            pick.wrapping_mul(values.len() as u64).wrapping_add(digit)
        });
        if seen.insert(pick) {
            picks.push(pick);
        }
    }
    picks
}

/// The combination of a number in a mixed-radix system, the last parameter being the lowest digit.
fn combination(space: &IndexMap<String, Vec<Value>>, mut pick: u64) -> Candidate {
    let mut reversed: Vec<(String, Value)> = Vec::with_capacity(space.len());
    for (name, values) in space.iter().rev() {
        let count = values.len() as u64;
        reversed.push((name.clone(), values[(pick % count) as usize].clone()));
        pick /= count;
    }
    reversed.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tidemill_core::declare::Metric;

    fn search(method: SearchMethod, trials: Option<u32>, space: Value) -> Search {
        Search { method, space: serde_json::from_value(space).unwrap(), trials, metric: Metric::RocAuc }
    }

    #[test]
    fn a_grid_in_order() {
        let grid = search(SearchMethod::Grid, None, json!({"a": [1, 2, 1], "b": ["x", "y"]}));
        let texts: Vec<String> =
            candidates(&grid, 0).unwrap().iter().map(|c| serde_json::to_string(c).unwrap()).collect();
        assert_eq!(
            texts,
            [r#"{"a":1,"b":"x"}"#, r#"{"a":1,"b":"y"}"#, r#"{"a":2,"b":"x"}"#, r#"{"a":2,"b":"y"}"#]
        );
    }

    #[test]
    fn random_trials_do_not_repeat() {
        let values: Vec<u32> = (0..30).collect();
        for (trials, expected) in [(7, 7), (600, 600), (900, 900), (5_000, 900)] {
            let space = json!({"a": values, "b": values});
            let drawn = candidates(&search(SearchMethod::Random, Some(trials), space), 3).unwrap();
            let mut texts: Vec<String> = drawn.iter().map(|c| serde_json::to_string(c).unwrap()).collect();
            texts.sort();
            texts.dedup();
            assert_eq!(texts.len(), expected);
        }
    }

    #[test]
    fn spaces_that_cannot_be_searched() {
        let many: Vec<u32> = (0..200).collect();
        for (method, trials, space, text) in [
            (
                SearchMethod::Grid,
                None,
                json!({}),
                "parameter `space` is empty: name at least one parameter with its values",
            ),
            (SearchMethod::Grid, None, json!({"l2": []}), "parameter `l2` is []: list at least one value"),
            (
                SearchMethod::Grid,
                None,
                json!({"a": many, "b": many}),
                "parameter `space` is 40000: a grid of at most 10000 combinations; use `random`",
            ),
            (
                SearchMethod::Random,
                None,
                json!({"a": [1]}),
                "parameter `trials` is not given: a random search needs 1 to 10000",
            ),
        ] {
            assert_eq!(candidates(&search(method, trials, space), 0).unwrap_err().to_string(), text);
        }
    }
}

//! The join in time, as a pure function.

use std::collections::HashMap;
use std::time::Duration;

use tidemill_core::Timestamp;

/// Something about an entity at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment<'a> {
    /// Whom or what it is about.
    pub entity: &'a str,
    /// When.
    pub at: Timestamp,
}

/// For each of `later`, the index of the last of `earlier` about the same entity at or before it, and not longer ago
/// than `tolerance` where there is one. Of several at the same time it is the last in the order of `earlier`.
///
/// This is pandas' `merge_asof` with `direction="backward"` and `by="entity"`; neither list need be sorted.
pub fn as_of(
    later: &[Moment<'_>],
    earlier: &[Moment<'_>],
    tolerance: Option<Duration>,
) -> Vec<Option<usize>> {
    let mut by_entity: HashMap<&str, Vec<(Timestamp, usize)>> = HashMap::new();
    for (index, moment) in earlier.iter().enumerate() {
        by_entity.entry(moment.entity).or_default().push((moment.at, index));
    }
    by_entity.values_mut().for_each(|moments| moments.sort_unstable());
    let find = |moment: &Moment<'_>| {
        let moments = by_entity.get(moment.entity)?;
        let behind = moments.partition_point(|(at, _)| *at <= moment.at);
        let (at, index) = moments.get(behind.checked_sub(1)?)?;
        let is_near = tolerance.is_none_or(|tolerance| moment.at.since(*at) <= tolerance);
        is_near.then_some(*index)
    };
    later.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    fn moments<'a>(text: &'a str) -> Vec<Moment<'a>> {
        let moment = |word: &'a str| {
            let (entity, at) = word.split_once(':').unwrap();
            Moment { entity, at: Timestamp::from_millis(at.parse().unwrap()) }
        };
        text.split_whitespace().map(moment).collect()
    }

    #[test]
    fn the_last_one_before_within_the_tolerance() {
        let earlier = moments("a:10 b:11 a:20 a:20 c:5");
        for (later, tolerance, expected) in [
            ("a:9", None, None),
            ("a:10", None, Some(0)),
            ("a:19", None, Some(0)),
            ("a:20", None, Some(3)),
            ("a:999", None, Some(3)),
            ("a:999", Some(900), None),
            ("a:25", Some(5), Some(3)),
            ("a:26", Some(5), None),
            ("a:20", Some(0), Some(3)),
            ("d:20", None, None),
        ] {
            let tolerance = tolerance.map(Duration::from_millis);
            assert_eq!(as_of(&moments(later), &earlier, tolerance), [expected], "{later} {tolerance:?}");
        }
    }

    /// Random tables give what pandas gives.
    #[test]
    fn it_is_what_pandas_does() {
        const SCRIPT: &str = "
import json, sys
import pandas as pd
for line in sys.stdin:
    case = json.loads(line)
    later = pd.DataFrame(case['later'], columns=['entity', 'at']); later['place'] = range(len(later))
    earlier = pd.DataFrame(case['earlier'], columns=['entity', 'at']); earlier['index'] = range(len(earlier))
    joined = pd.merge_asof(later.sort_values('at', kind='stable'), earlier.sort_values('at', kind='stable'), on='at',
        by='entity', tolerance=case['tolerance'], direction='backward').sort_values('place')
    print(json.dumps([None if pd.isna(i) else int(i) for i in joined['index']]))
";
        let mut seed = 12_345_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let mut cases = Vec::new();
        for _ in 0..40 {
            let mut table = |rows: u64| -> Vec<(String, i64)> {
                (0..rows).map(|_| (format!("e{}", random(6)), random(200) as i64)).collect()
            };
            let (later, earlier) = (table(60), table(80));
            let tolerance = [None, Some(0), Some(3), Some(40)][random(4) as usize];
            cases.push((later, earlier, tolerance));
        }
        let input: String = cases
            .iter()
            .map(|(later, earlier, tolerance)| {
                serde_json::json!({"later": later, "earlier": earlier, "tolerance": tolerance}).to_string()
                    + "\n"
            })
            .collect();
        let mut python = Command::new(tidemill_testkit::python())
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        python.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = python.wait_with_output().unwrap();
        assert!(output.status.success());
        let theirs: Vec<Vec<Option<usize>>> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(theirs.len(), cases.len());
        let mut found = 0;
        for ((later, earlier, tolerance), theirs) in cases.iter().zip(theirs) {
            let moments = |table: &'_ [(String, i64)]| -> Vec<(String, i64)> { table.to_vec() };
            let (later, earlier) = (moments(later), moments(earlier));
            let view = |table: &[(String, i64)]| -> Vec<(String, Timestamp)> {
                table.iter().map(|(entity, at)| (entity.clone(), Timestamp::from_millis(*at))).collect()
            };
            let (later, earlier) = (view(&later), view(&earlier));
            let ours = as_of(&borrowed(&later), &borrowed(&earlier), tolerance.map(Duration::from_millis));
            found += ours.iter().flatten().count();
            assert_eq!(ours, theirs);
        }
        assert!(found > 500, "{found}");
    }

    fn borrowed(table: &[(String, Timestamp)]) -> Vec<Moment<'_>> {
        table.iter().map(|(entity, at)| Moment { entity, at: *at }).collect()
    }
}

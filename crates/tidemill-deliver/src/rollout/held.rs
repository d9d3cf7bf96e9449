//! Hours, the gate of time and the envelope of two project files, compared: in which ways one lets through more than the other.

use tidemill_core::declare::{Between, Window};
use tidemill_core::words::number;

use crate::envelope::{Envelope, fits};
use crate::simulate::{Otherwise, Power, span};

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// Says how hours in which a release may get more requests are wider than before.
pub(super) fn windows(own: &[Window], before: &[Window], why: &mut Vec<String>) {
    if before.is_empty() || own == before {
        return;
    }
    let said = |all: &[Window]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if own.is_empty() {
        return why.push(format!("a release may get more requests at any time, not only {}", said(before)));
    }
    // Minutes of two zones are the same ones only for a part of the year.
    let is_comparable = own.iter().chain(before).all(|one| one.zone == before[0].zone);
    let is_open = |all: &[Window], day: usize, minute: u16| all.iter().any(|one| one.holds(day, minute));
    let mut minutes = (0..7).flat_map(|day| (0..DAY).map(move |minute| (day, minute)));
    let is_wider =
        !is_comparable || minutes.any(|(day, at)| is_open(own, day, at) && !is_open(before, day, at));
    if is_wider {
        why.push(format!("a release may get more requests {}, not only {}", said(own), said(before)));
    }
}

/// Says how recent requests need to be enough for less than before.
pub(super) fn power(own: Option<Power>, before: Option<Power>, why: &mut Vec<String>) {
    let Some(before) = before else { return };
    let Some(own) = own else {
        return why.push("nothing asks any more whether requests are enough to decide in time".to_owned());
    };
    if own.decide_within > before.decide_within {
        let time = |power: Power| span(power.decide_within.as_secs_f64() / 3_600.0);
        why.push(format!("`decide_within` of `power` is {}, not {}", time(own), time(before)));
    }
    if before.otherwise == Otherwise::Refuse && own.otherwise == Otherwise::Warn {
        why.push("a plan that cannot decide in time is only warned of now".to_owned());
    }
}

/// Says how triggers may release more than before without anybody who looks.
pub(super) fn envelope(own: Option<&Envelope>, before: Option<&Envelope>, why: &mut Vec<String>) {
    let Some(before) = before else { return };
    let Some(own) = own else {
        return why.push("there is no envelope any more for what triggers release".to_owned());
    };
    if let Some(allowed) = &before.data {
        let more: Vec<String> = match &own.data {
            None => vec!["everything".to_owned()],
            // A pattern that fits another one as it is written fits whatever that one fits.
            Some(own) => own
                .iter()
                .filter(|one| !allowed.iter().any(|known| fits(known, one)))
                .map(|one| format!("`{one}`"))
                .collect(),
        };
        if !more.is_empty() {
            why.push(format!("the envelope lets {} differ from what runs", more.join(", ")));
        }
    }
    for (kind, own, before) in
        [("parameter", &own.params, &before.params), ("metric", &own.metrics, &before.metrics)]
    {
        for (name, bounds) in before {
            let now = own.get(name).copied().unwrap_or_default();
            if is_wider(now, *bounds) {
                let (now, then) = (range(now), range(*bounds));
                why.push(format!("the envelope takes {now} of the {kind} `{name}`, not only {then}"));
            }
        }
    }
    match (own.flips, before.flips) {
        (None, Some(_)) => why.push("the envelope limits flips no more".to_owned()),
        (Some(own), Some(before)) if own > before => {
            let percent = |share: f64| number(100.0 * share);
            why.push(format!("the envelope takes {} % of flips, not {} %", percent(own), percent(before)));
        }
        _ => {}
    }
    match (own.expires, before.expires) {
        (None, Some(_)) => why.push("the envelope has no end any more".to_owned()),
        (Some(own), Some(before)) if own > before => {
            why.push(format!("the envelope ends on {own}, not on {before}"));
        }
        _ => {}
    }
}

fn is_wider(own: Between, before: Between) -> bool {
    let (least, most) = (own.min.unwrap_or(f64::NEG_INFINITY), own.max.unwrap_or(f64::INFINITY));
    before.min.is_some_and(|min| least < min) || before.max.is_some_and(|max| most > max)
}

fn range(bounds: Between) -> String {
    match (bounds.min, bounds.max) {
        (Some(min), Some(max)) => format!("{} to {}", number(min), number(max)),
        (Some(min), None) => format!("{} and more", number(min)),
        (None, Some(max)) => format!("{} and less", number(max)),
        (None, None) => "any value".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidemill_core::Timestamp;

    use super::*;

    #[test]
    fn hours_that_are_wider() {
        let of = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Window>>();
        let before = of(&["Mon-Thu 09:00-16:00 Europe/Prague"]);
        for (own, is_wider) in [
            (vec!["Mon-Thu 09:00-16:00 Europe/Prague"], false),
            (vec!["Tue 10:00-12:00 Europe/Prague", "Mon 09:00-16:00 Europe/Prague"], false),
            (vec!["Mon-Fri 09:00-16:00 Europe/Prague"], true),
            (vec!["Mon-Thu 09:00-16:01 Europe/Prague"], true),
            (vec!["Mon-Thu 22:00-02:00 Europe/Prague"], true),
            (vec!["Tue 10:00-12:00 UTC"], true),
            (vec![], true),
        ] {
            let mut why = Vec::new();
            windows(&of(&own), &before, &mut why);
            assert_eq!(!why.is_empty(), is_wider, "{own:?}: {why:?}");
        }
        let mut why = Vec::new();
        windows(&before, &[], &mut why);
        assert_eq!(why, [""; 0]);
        windows(&[], &before, &mut why);
        assert_eq!(
            why,
            ["a release may get more requests at any time, not only Mon-Thu 09:00-16:00 Europe/Prague"]
        );
    }

    #[test]
    fn a_gate_of_time_that_asks_for_less() {
        let of = |hours: u64, otherwise| {
            Some(Power { decide_within: Duration::from_secs(hours * 3_600), otherwise })
        };
        let before = of(48, Otherwise::Refuse);
        for (own, wanted) in [
            (of(48, Otherwise::Refuse), ""),
            (of(24, Otherwise::Refuse), ""),
            (of(96, Otherwise::Refuse), "`decide_within` of `power` is 4 days, not 48 h"),
            (of(48, Otherwise::Warn), "a plan that cannot decide in time is only warned of now"),
            (None, "nothing asks any more whether requests are enough to decide in time"),
        ] {
            let mut why = Vec::new();
            power(own, before, &mut why);
            assert_eq!(why.join("; "), wanted);
        }
        let mut why = Vec::new();
        power(None, None, &mut why);
        power(before, None, &mut why);
        assert_eq!(why, [""; 0]);
    }

    #[test]
    fn an_envelope_that_takes_more() {
        let at = |millis| Some(Timestamp::from_millis(millis));
        let of = |change: fn(&mut Envelope)| {
            let mut envelope = Envelope {
                data: Some(vec!["flights".to_owned(), "sql/*".to_owned()]),
                params: [("rate".to_owned(), Between { min: Some(0.01), max: Some(0.1) })].into(),
                metrics: [("roc_auc".to_owned(), Between { min: Some(0.7), max: None })].into(),
                flips: Some(0.02),
                expires: at(1_000),
            };
            change(&mut envelope);
            envelope
        };
        let before = of(|_| {});
        type Change = fn(&mut Envelope);
        let table: [(Change, &str); 11] = [
            (|_| {}, ""),
            (|own| own.data = Some(vec!["sql/a*".to_owned()]), ""),
            (|own| own.data = None, "the envelope lets everything differ from what runs"),
            (
                |own| own.data = Some(vec!["*".to_owned(), "flights".to_owned()]),
                "the envelope lets `*` differ from what runs",
            ),
            (
                |own| own.params.clear(),
                "the envelope takes any value of the parameter `rate`, not only 0.01 to 0.1",
            ),
            (
                |own| {
                    own.metrics.insert("roc_auc".to_owned(), Between { min: Some(0.6), max: Some(0.9) });
                },
                "the envelope takes 0.6 to 0.9 of the metric `roc_auc`, not only 0.7 and more",
            ),
            (|own| own.flips = Some(0.05), "the envelope takes 5 % of flips, not 2 %"),
            (|own| own.flips = None, "the envelope limits flips no more"),
            (|own| own.expires = None, "the envelope has no end any more"),
            (|own| own.expires = Some(Timestamp::from_millis(1)), ""),
            (
                |own| {
                    own.metrics.insert("cost".to_owned(), Between::default());
                },
                "",
            ),
        ];
        for (change, wanted) in table {
            let mut why = Vec::new();
            envelope(Some(&of(change)), Some(&before), &mut why);
            assert_eq!(why.join("; "), wanted);
        }
        let mut why = Vec::new();
        envelope(None, Some(&before), &mut why);
        envelope(Some(&before), None, &mut why);
        assert_eq!(why, ["there is no envelope any more for what triggers release"]);
    }
}

//! What tests of models and expectations on data ask for. Their limits stand in the file of whoever releases, so a file that asks for less
//! than the one before it is told from one that does not.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidemill_core::words::number;

use super::guards::is_above;

/// A test or an expectation with all that it asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Demand {
    /// What it is, in words, by which it is found in another file: ``the test `metric` of `roc_auc` ``.
    pub name: String,
    /// The words of [`Guards::tests`](super::Guards::tests) that it belongs to.
    pub of: String,
    /// Whether it is only told where it does not hold, and stops nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warns: bool,
    /// What it asks for, by the names of the file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub asks: BTreeMap<String, Ask>,
}

/// One thing that is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// At least so much: with less, less is asked for.
    Least(f64),
    /// At most so much.
    Most(f64),
    /// Nothing but these: with more of them, less is asked for.
    Only(BTreeSet<String>),
    /// Each of these, of all that there are where none is named: with fewer of them, less is asked for.
    Each(BTreeSet<String>),
    /// Exactly this. Anything else cannot be compared with it, and counts as less.
    Same(String),
}

impl Demand {
    /// Of a name, a part of what `of` says, asking for nothing yet.
    pub fn new(name: impl Into<String>, of: impl Into<String>) -> Self {
        Self { name: name.into(), of: of.into(), warns: false, asks: BTreeMap::new() }
    }

    /// Asks for one thing more.
    #[must_use]
    pub fn ask(mut self, name: &str, ask: Ask) -> Self {
        self.asks.insert(name.to_owned(), ask);
        self
    }

    /// Asks for it where it is declared.
    #[must_use]
    pub fn ask_maybe(self, name: &str, ask: Option<Ask>) -> Self {
        match ask {
            Some(ask) => self.ask(name, ask),
            None => self,
        }
    }

    /// In which ways it asks for less than `before`, which has the same name.
    fn less_than(&self, before: &Self) -> Vec<String> {
        let mut why = Vec::new();
        if self.warns && !before.warns {
            why.push(format!("{} only warns now", self.name));
        }
        let names: BTreeSet<&String> = before.asks.keys().chain(self.asks.keys()).collect();
        for name in names {
            let (own, asked) = (self.asks.get(name), before.asks.get(name));
            why.extend(Ask::less(own, asked).map(|how| format!("`{name}` of {} {how}", self.name)));
        }
        why
    }
}

impl Ask {
    /// Of texts.
    pub fn each<T: Into<String>>(all: impl IntoIterator<Item = T>) -> Self {
        Self::Each(all.into_iter().map(Into::into).collect())
    }

    /// Of texts.
    pub fn only<T: Into<String>>(all: impl IntoIterator<Item = T>) -> Self {
        Self::Only(all.into_iter().map(Into::into).collect())
    }

    /// How less is asked for now than before, in words; none where as much is asked for, or more.
    fn less(own: Option<&Self>, before: Option<&Self>) -> Option<String> {
        let (own, before) = match (own, before) {
            (Some(own), Some(before)) => (own, before),
            (None, Some(_)) => return Some("is not asked for any more".to_owned()),
            // What is measured in a way of its own now cannot be compared with what was measured as usual.
            (Some(Self::Same(own)), None) => return Some(format!("is `{own}`, which it was not before")),
            (_, None) => return None,
        };
        match (own, before) {
            (Self::Least(own), Self::Least(before)) => {
                is_above(*before, *own).then(|| format!("is {}, not {}", number(*own), number(*before)))
            }
            (Self::Most(own), Self::Most(before)) => {
                is_above(*own, *before).then(|| format!("is {}, not {}", number(*own), number(*before)))
            }
            (Self::Only(own), Self::Only(before)) => {
                let more: Vec<&String> = own.difference(before).collect();
                (!more.is_empty()).then(|| format!("allows also {}", listed(&more)))
            }
            (Self::Each(own), Self::Each(before)) => {
                if own.is_empty() {
                    return None;
                }
                if before.is_empty() {
                    let own: Vec<&String> = own.iter().collect();
                    return Some(format!("names {} alone, where it named none", listed(&own)));
                }
                let gone: Vec<&String> = before.difference(own).collect();
                (!gone.is_empty()).then(|| format!("names {} no more", listed(&gone)))
            }
            (Self::Same(own), Self::Same(before)) => {
                (own != before).then(|| format!("is `{own}`, not `{before}`, so it cannot be compared"))
            }
            _ => Some("is of another kind, so it cannot be compared".to_owned()),
        }
    }
}

/// Says in which ways `own` asks for less than `before`. What stops nothing is not missed, nor what `is_told` says has been told as gone.
pub(super) fn less(own: &[Demand], before: &[Demand], is_told: impl Fn(&str) -> bool, why: &mut Vec<String>) {
    // Each stands for one, so that as many as can be find one that is as strict, in whichever order they stand.
    let mut taken: Vec<Option<usize>> = vec![None; own.len()];
    let asked: Vec<&Demand> = before.iter().filter(|asked| !asked.warns).collect();
    let mut open = Vec::new();
    for at in 0..asked.len() {
        if !find(&asked, at, own, &mut taken, &mut vec![false; own.len()]) {
            open.push(asked[at]);
        }
    }
    let mut left: Vec<&Demand> =
        own.iter().zip(&taken).filter(|(_, taken)| taken.is_none()).map(|(one, _)| one).collect();
    for asked in open {
        let alike = left.iter().enumerate().filter(|(_, one)| one.name == asked.name);
        let nearest = alike.map(|(at, one)| (one.less_than(asked), at)).min_by_key(|(less, _)| less.len());
        match nearest {
            Some((less, at)) => {
                left.swap_remove(at);
                why.extend(less);
            }
            None if is_told(&asked.of) => {}
            None => why.push(format!("{} is not asked for any more", asked.name)),
        }
    }
}

/// Finds one for `asked[at]`, if need be by finding another one for whoever has it; says whether there is one.
fn find(
    asked: &[&Demand],
    at: usize,
    own: &[Demand],
    taken: &mut [Option<usize>],
    seen: &mut [bool],
) -> bool {
    for (place, one) in own.iter().enumerate() {
        if seen[place] || one.name != asked[at].name || !one.less_than(asked[at]).is_empty() {
            continue;
        }
        seen[place] = true;
        let is_free = match taken[place] {
            None => true,
            Some(other) => find(asked, other, own, taken, seen),
        };
        if is_free {
            taken[place] = Some(at);
            return true;
        }
    }
    false
}

fn listed(all: &[&String]) -> String {
    const SHOWN: usize = 5;
    let mut words = all.iter().take(SHOWN).map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ");
    if all.len() > SHOWN {
        words.push_str(&format!(" and {} more", all.len() - SHOWN));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRIC: &str = "the test `metric` of its model";

    fn metric(min: f64) -> Demand {
        Demand::new("the test `metric` of `roc_auc`", METRIC).ask("min", Ask::Least(min))
    }

    fn between() -> Demand {
        Demand::new("`between` of `distance` in `flights`", "every test of its data `flights`")
            .ask("min", Ask::Least(0.0))
            .ask("max", Ask::Most(6_000.0))
            .ask("where", Ask::Same("all rows".into()))
            .ask("values", Ask::only(["EWR", "JFK"]))
            .ask("columns", Ask::each(["origin", "carrier"]))
    }

    fn said(own: &[Demand], before: &[Demand]) -> String {
        let mut why = Vec::new();
        less(own, before, |of| of == "told", &mut why);
        why.join("; ")
    }

    #[test]
    fn what_is_asked_less() {
        let before = [metric(0.65), between()];
        type Change = fn(&mut Demand);
        let table: [(Change, &str); 13] = [
            (|_| {}, ""),
            (|own| drop(own.asks.insert("min".into(), Ask::Least(1.0))), ""),
            (
                |own| drop(own.asks.insert("min".into(), Ask::Least(-1.0))),
                "`min` of `between` of `distance` in `flights` is -1, not 0",
            ),
            (
                |own| drop(own.asks.remove("max")),
                "`max` of `between` of `distance` in `flights` is not asked for any more",
            ),
            (
                |own| drop(own.asks.insert("max".into(), Ask::Most(9e3))),
                "`max` of `between` of `distance` in `flights` is 9000, not 6000",
            ),
            (
                |own| drop(own.asks.insert("where".into(), Ask::Same("a = 1".into()))),
                "`where` of `between` of `distance` in `flights` is `a = 1`, not `all rows`, so it cannot be compared",
            ),
            (|own| drop(own.asks.insert("values".into(), Ask::only(["JFK"]))), ""),
            (
                |own| drop(own.asks.insert("values".into(), Ask::only(["JFK", "LGA"]))),
                "`values` of `between` of `distance` in `flights` allows also `LGA`",
            ),
            (
                |own| drop(own.asks.insert("columns".into(), Ask::each(["origin"]))),
                "`columns` of `between` of `distance` in `flights` names `carrier` no more",
            ),
            (|own| drop(own.asks.insert("columns".into(), Ask::each([""; 0]))), ""),
            (|own| own.warns = true, "`between` of `distance` in `flights` only warns now"),
            (
                |own| drop(own.asks.insert("way".into(), Ask::Same("other".into()))),
                "`way` of `between` of `distance` in `flights` is `other`, which it was not before",
            ),
            (|own| drop(own.asks.insert("mostly".into(), Ask::Least(0.5))), ""),
        ];
        for (change, wanted) in table {
            let mut own = between();
            change(&mut own);
            assert_eq!(said(&[own, metric(0.65)], &before), wanted);
        }
        let all = Demand::new("x", "y").ask("columns", Ask::each([""; 0]));
        let some = Demand::new("x", "y").ask("columns", Ask::each(["a"]));
        assert_eq!(
            said(&[some.clone()], &[all.clone()]),
            "`columns` of x names `a` alone, where it named none"
        );
        assert_eq!(said(&[all], &[some]), "");
    }

    #[test]
    fn what_is_gone_and_what_is_there_twice() {
        assert_eq!(said(&[], &[metric(0.6)]), "the test `metric` of `roc_auc` is not asked for any more");
        assert_eq!(said(&[], &[Demand { of: "told".into(), ..metric(0.6) }]), "");
        let warns = Demand { warns: true, ..metric(0.6) };
        assert_eq!(said(&[], &[warns.clone()]), "", "what only warned stops nothing");
        assert_eq!(said(&[metric(0.6)], &[warns]), "");
        // Each stands for one, in whichever order.
        assert_eq!(said(&[metric(0.7), metric(0.5)], &[metric(0.5), metric(0.7)]), "");
        assert_eq!(said(&[metric(0.9), metric(0.6)], &[metric(0.5), metric(0.7)]), "");
        let less = "`min` of the test `metric` of `roc_auc` is 0.5, not 0.7";
        assert_eq!(said(&[metric(0.5), metric(0.5)], &[metric(0.5), metric(0.7)]), less);
        assert_eq!(
            said(&[metric(0.9)], &[metric(0.5), metric(0.7)]),
            "the test `metric` of `roc_auc` is not asked for any more"
        );
    }
}

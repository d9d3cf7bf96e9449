//! Routing: shares, rules, and that keys only move towards an arm that grows.

use proptest::prelude::*;

use super::super::allot::reallot;
use super::*;

fn arm(name: &str, weight: f64) -> Arm {
    Arm {
        name: name.to_owned(),
        model: "churn".to_owned(),
        version: None,
        weight,
        shadow: false,
        threshold: None,
    }
}

fn table(arms: &[Arm], rules: &[Rule], sticky: Option<&Key>, before: &[Stretch]) -> (Table, Vec<Stretch>) {
    let weights: Vec<f64> = arms.iter().map(|arm| if arm.shadow { 0.0 } else { arm.weight }).collect();
    let slots = shares(&weights);
    let wanted: Vec<(&str, u32)> = arms.iter().map(|arm| arm.name.as_str()).zip(slots).collect();
    let allotment = reallot(before, &wanted);
    (Table::new("churn", arms, rules, sticky, &allotment).unwrap(), allotment)
}

fn user(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("x-user".to_owned(), name.to_owned())])
}

fn chosen(table: &Table, headers: &BTreeMap<String, String>) -> Choice {
    route(table, Keys { request: "r", headers, inputs: &[] })
}

fn by_header() -> Key {
    Key::Header("X-User".to_owned())
}

#[test]
fn shares_are_met_by_keys_and_by_ids() {
    let arms = [arm("a", 70.0), arm("b", 20.0), arm("c", 10.0)];
    for sticky in [None, Some(by_header())] {
        let (table, _) = table(&arms, &[], sticky.as_ref(), &[]);
        let mut counts = [0_u32; 3];
        for i in 0..20_000 {
            let (headers, id) = (user(&format!("u{i}")), format!("r{i}"));
            counts[route(&table, Keys { request: &id, headers: &headers, inputs: &[] }).arm] += 1;
        }
        for (count, expect) in counts.into_iter().zip([14_000.0_f64, 4_000.0, 2_000.0]) {
            // Five standard deviations of a binomial count.
            let spread = 5.0 * (expect * (1.0 - expect / 20_000.0)).sqrt();
            assert!((f64::from(count) - expect).abs() < spread, "{counts:?} {sticky:?}");
        }
    }
}

#[test]
fn rules_come_first_and_in_order() {
    let rules = [
        Rule { key: by_header(), one_of: vec!["ada".into(), "bob".into()], arm: "b".into(), shadows: true },
        Rule { key: Key::Input("region".into()), one_of: vec!["7".into()], arm: "c".into(), shadows: true },
        Rule { key: Key::Header("x-test".into()), one_of: vec![], arm: "b".into(), shadows: true },
    ];
    let (table, _) = table(&[arm("a", 1.0), arm("b", 0.0), arm("c", 0.0)], &rules, None, &[]);
    let region = |values: Values| vec![Named { name: "region".into(), tensor: Tensor::vector(values) }];
    let test = BTreeMap::from([("x-test".to_owned(), "anything".to_owned())]);
    for (headers, inputs, arm, why) in [
        (user("ada"), region(Values::I64(vec![7])), 1, Why::Rule(0)),
        (user("eve"), region(Values::I64(vec![7, 8])), 2, Why::Rule(1)),
        (user("eve"), region(Values::F64(vec![7.0])), 2, Why::Rule(1)),
        (user("eve"), region(Values::Bytes(vec![b"7".to_vec()])), 2, Why::Rule(1)),
        (user("eve"), region(Values::I64(vec![8])), 0, Why::Split),
        (user("eve"), region(Values::I64(vec![])), 0, Why::Split),
        (test, vec![], 1, Why::Rule(2)),
    ] {
        let choice = route(&table, Keys { request: "r", headers: &headers, inputs: &inputs });
        assert_eq!((choice.arm, choice.why), (arm, why), "{headers:?} {inputs:?}");
    }
}

#[test]
fn a_key_stays_where_it_is_and_endpoints_differ() {
    let arms = [arm("a", 50.0), arm("b", 50.0)];
    let (first, allotment) = table(&arms, &[], Some(&by_header()), &[]);
    let other = Table::new("other", &arms, &[], Some(&by_header()), &allotment).unwrap();
    let mut differ = 0;
    for i in 0..1_000 {
        let headers = user(&i.to_string());
        let choice = chosen(&first, &headers);
        assert_eq!(choice, chosen(&first, &headers));
        assert_eq!(choice.why, Why::Sticky);
        differ += u32::from(choice.arm != chosen(&other, &headers).arm);
    }
    assert!((400..600).contains(&differ), "two endpoints split alike: {differ}");
    assert_eq!(chosen(&first, &BTreeMap::new()).why, Why::Split, "without the key the id decides");
}

#[test]
fn shadows_see_their_percentage_of_every_arm() {
    let mut shadow = arm("s", 25.0);
    shadow.shadow = true;
    let mut whole = arm("w", 100.0);
    whole.shadow = true;
    let arms = [arm("a", 50.0), arm("b", 50.0), shadow, whole];
    let (table, _) = table(&arms, &[], Some(&by_header()), &[]);
    let mut seen = [0_u32; 2];
    for i in 0..8_000 {
        let choice = chosen(&table, &user(&i.to_string()));
        assert!(choice.arm < 2);
        assert_ne!(choice.shadows & 1 << 3, 0, "all of it");
        seen[choice.arm] += u32::from(choice.shadows & 1 << 2 != 0);
    }
    assert!(seen.iter().all(|seen| (850..1_150).contains(seen)), "{seen:?}");
}

/// What is led and not drawn is no part of a comparison where the rule says so.
#[test]
fn a_rule_may_keep_its_requests_from_shadows() {
    let mut shadow = arm("s", 100.0);
    shadow.shadow = true;
    let arms = [arm("a", 1.0), arm("b", 0.0), shadow];
    for (shadows, bits) in [(true, 1 << 2), (false, 0)] {
        let rule = Rule { key: by_header(), one_of: vec!["ada".into()], arm: "b".into(), shadows };
        let (table, _) = table(&arms, &[rule], None, &[]);
        let led = chosen(&table, &user("ada"));
        assert_eq!((led.arm, led.shadows), (1, bits));
        let drawn = chosen(&table, &user("eve"));
        assert_eq!((drawn.arm, drawn.shadows), (0, 1 << 2));
    }
}

#[test]
fn what_cannot_be_is_said() {
    let mut shadow = arm("s", 10.0);
    shadow.shadow = true;
    let rule = |to: &str| Rule { key: by_header(), one_of: vec![], arm: to.to_owned(), shadows: true };
    for (arms, rules, text) in [
        (vec![], vec![], "1 to 16 arms, not 0"),
        (vec![arm("a", 0.0)], vec![], "no arm that answers has a weight"),
        (vec![shadow.clone()], vec![], "no arm that answers has a weight"),
        (vec![arm("a", 1.0), arm("a", 1.0)], vec![], "two arms `a`"),
        (vec![arm("a b", 1.0)], vec![], "not allowed in a name"),
        (vec![arm("a", f64::NAN)], vec![], "the weight of `a` is NaN"),
        (vec![arm("a", -1.0)], vec![], "the weight of `a` is -1"),
        (vec![arm("a", 1.0)], vec![rule("b")], "rule 1 sends to an unknown arm `b`"),
        (vec![arm("a", 1.0), shadow], vec![rule("s")], "rule 1 sends to the shadow `s`"),
    ] {
        let why = check(&arms, &rules).unwrap_err();
        assert!(why.contains(text), "{why}");
    }
    let half = [Stretch { arm: "a".into(), slots: 5_000 }];
    assert!(Table::new("e", &[arm("a", 1.0)], &[], None, &half).unwrap_err().contains("5000 of 10000"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Raising one arm's share at another's cost moves keys from that one to this one and no others, with several
    /// candidates beside them. Shares are in whole slots here: rounding may move a slot between other arms.
    #[test]
    fn raising_a_share_moves_keys_to_it_only(
        shares in proptest::collection::vec(1_u32..100, 4),
        up in 0_usize..4,
        from in 0_usize..4,
        part in 0.0_f64..1.0,
    ) {
        prop_assume!(up != from);
        let arms = |weights: &[f64]| -> Vec<Arm> {
            weights.iter().enumerate().map(|(at, weight)| arm(&format!("arm{at}"), *weight)).collect()
        };
        let raw: Vec<f64> = shares.iter().map(|share| f64::from(*share)).collect();
        let mut weights: Vec<f64> = super::super::allot::shares(&raw).into_iter().map(f64::from).collect();
        let (before, allotment) = table(&arms(&weights), &[], Some(&by_header()), &[]);
        let moved = (weights[from] * part).floor();
        weights[from] -= moved;
        weights[up] += moved;
        let (after, _) = table(&arms(&weights), &[], Some(&by_header()), &allotment);
        for i in 0..500 {
            let headers = user(&format!("key {i}"));
            let (was, is) = (chosen(&before, &headers).arm, chosen(&after, &headers).arm);
            prop_assert!(was == is || (was == from && is == up), "{} went from {} to {}", i, was, is);
        }
    }
}

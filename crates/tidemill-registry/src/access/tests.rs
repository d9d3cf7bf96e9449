//! What grants come to, as tables. Expected are the answers of MLflow's own server, version 3.17.

use super::permission::{Action, EVERY, Permission, Resource};
use super::{Held, Need, Scope, needs};

/// Grants as text: `experiment 1 EDIT, run * DENY`.
fn held(grants: &str, default: &str) -> Held {
    let grant = |text: &str| {
        let mut words = text.split_whitespace();
        let resource = Resource::from_word(words.next().unwrap()).unwrap();
        let pattern = words.next().unwrap().to_owned();
        (resource, pattern, Permission::from_word(words.next().unwrap()).unwrap())
    };
    let grants = grants.split(',').filter(|text| !text.trim().is_empty()).map(grant).collect();
    Held::new(grants, Permission::from_word(default).unwrap())
}

#[test]
fn permissions_on_one_thing() {
    // Grants, what everybody has, and what that is on experiments 1 and 2.
    for (grants, default, one, two) in [
        ("", "READ", "READ", "READ"),
        ("", "NO_PERMISSIONS", "NO_PERMISSIONS", "NO_PERMISSIONS"),
        ("", "MANAGE", "MANAGE", "MANAGE"),
        ("experiment 1 EDIT", "READ", "EDIT", "READ"),
        ("experiment 1 READ", "NO_PERMISSIONS", "READ", "NO_PERMISSIONS"),
        // A grant never takes what everybody has.
        ("experiment 1 READ", "EDIT", "EDIT", "EDIT"),
        // Of several the greatest counts, also of one on all.
        ("experiment 1 READ, experiment 1 MANAGE", "READ", "MANAGE", "READ"),
        ("experiment * EDIT, experiment 1 READ", "READ", "EDIT", "EDIT"),
        // But what denies counts alone, whatever else there is.
        ("experiment 1 MANAGE, experiment 1 DENY", "MANAGE", "DENY", "MANAGE"),
        ("experiment * DENY, experiment 1 MANAGE", "READ", "DENY", "DENY"),
        ("experiment 1 DENY, experiment * MANAGE", "READ", "DENY", "MANAGE"),
        // Other kinds of things say nothing of it, and a number of one that is granted as a whole says nothing at all.
        ("registered_model 1 MANAGE, run * MANAGE, run 1 DENY", "READ", "READ", "READ"),
        // Who looks after the workspace manages everything; its members do not.
        ("workspace * MANAGE, experiment 1 DENY", "NO_PERMISSIONS", "MANAGE", "MANAGE"),
        ("workspace * USE", "NO_PERMISSIONS", "NO_PERMISSIONS", "NO_PERMISSIONS"),
    ] {
        let held = held(grants, default);
        let found = ["1", "2"].map(|id| held.on(Resource::Experiment, id).word());
        assert_eq!(found, [one, two], "{grants} | {default}");
    }
}

#[test]
fn runs_are_judged_by_grants_on_runs_and_else_by_their_experiment() {
    // Whether a run of experiment 1 may be read, changed and deleted, and one be made.
    for (grants, default, may) in [
        ("", "READ", "r---"),
        ("", "NO_PERMISSIONS", "----"),
        ("experiment 1 EDIT", "READ", "rw-c"),
        ("experiment 1 MANAGE", "NO_PERMISSIONS", "rwdc"),
        // A grant on runs gives more than the experiment does,
        ("run * MANAGE", "READ", "rwd-"),
        ("run * EDIT, experiment 1 READ", "NO_PERMISSIONS", "rw--"),
        // and less,
        ("run * READ, experiment 1 MANAGE", "NO_PERMISSIONS", "r--c"),
        ("run * DENY, experiment 1 MANAGE", "NO_PERMISSIONS", "----"),
        // but nothing where the experiment may not be seen.
        ("run * MANAGE", "NO_PERMISSIONS", "----"),
        ("run * MANAGE, experiment 1 DENY", "READ", "----"),
        ("experiment 2 MANAGE", "NO_PERMISSIONS", "----"),
        ("workspace * MANAGE", "NO_PERMISSIONS", "rwdc"),
    ] {
        let held = held(grants, default);
        let mut found = String::new();
        for (action, letter) in [(Action::Read, 'r'), (Action::Update, 'w'), (Action::Delete, 'd')] {
            let needs = needs::inside(action, Resource::Run, 1);
            found.push(if held.meets_all(&needs) { letter } else { '-' });
        }
        found.push(if held.meets_all(&needs::create(Resource::Run, 1)) { 'c' } else { '-' });
        assert_eq!(found, may, "{grants} | {default}");
    }
}

#[test]
fn what_deletes_several_kinds_of_things_needs_all_of_them() {
    for (grants, experiment, traces) in [
        ("experiment 1 MANAGE", true, true),
        ("experiment 1 EDIT", false, false),
        ("experiment 1 MANAGE, run * EDIT", false, true),
        ("experiment 1 MANAGE, assessment * EDIT", false, false),
        // A grant on traces lets whoever may change the experiment delete them.
        ("experiment 1 EDIT, trace * MANAGE", false, true),
        ("experiment 1 READ, trace * MANAGE", false, false),
    ] {
        let held = held(grants, "NO_PERMISSIONS");
        assert_eq!(held.meets_all(&needs::whole_experiment(1)), experiment, "{grants}");
        assert_eq!(held.meets_all(&needs::delete_traces(1)), traces, "{grants}");
    }
}

#[test]
fn assessments() {
    // Whether one may be read, changed and deleted.
    for (grants, may) in [
        ("experiment 1 READ", "r--"),
        // Deleting one asks no more than changing it,
        ("experiment 1 EDIT", "rwd"),
        // unless it was said what may be done with assessments.
        ("experiment 1 EDIT, assessment * EDIT", "rw-"),
        ("experiment 1 READ, assessment * MANAGE", "rwd"),
        ("experiment 1 MANAGE, assessment * DENY", "---"),
        ("experiment 1 MANAGE, trace * DENY", "---"),
    ] {
        let held = held(grants, "NO_PERMISSIONS");
        let actions = [(Action::Read, 'r'), (Action::Update, 'w'), (Action::Delete, 'd')];
        let found = actions
            .map(|(action, letter)| if held.meets_all(&needs::assessment(action, 1)) { letter } else { '-' });
        assert_eq!(found.iter().collect::<String>(), may, "{grants}");
    }
}

#[test]
fn what_is_made_must_not_be_denied() {
    for (grants, may) in
        [("", true), ("experiment * READ", true), ("experiment * DENY", false), ("experiment 1 DENY", true)]
    {
        let need = Need::to_any(Action::NotDenied, Resource::Experiment);
        assert_eq!(held(grants, "NO_PERMISSIONS").meets(&need), may, "{grants}");
    }
}

/// A search and a look at one thing must never disagree.
#[test]
fn what_is_seen_is_what_may_be_read() {
    let grants = [
        "",
        "experiment 1 READ",
        "experiment 1 DENY",
        "experiment * READ",
        "experiment * DENY",
        "workspace * USE",
        "experiment 2 MANAGE",
        "run * DENY",
    ];
    for first in grants {
        for second in grants {
            for default in ["READ", "NO_PERMISSIONS"] {
                let both = format!("{first}, {second}");
                let held = held(&both, default);
                let scope = held.scope(Resource::Experiment, None);
                let runs = held.scope(Resource::Experiment, Some(Resource::Run));
                for id in 1..4 {
                    let may = held.meets(&needs::experiment(Action::Read, id));
                    assert_eq!(scope.shows(&id.to_string()), may, "{both} | {default}: {id}");
                    let may = held.meets_all(&needs::inside(Action::Read, Resource::Run, id));
                    assert_eq!(runs.shows(&id.to_string()), may, "runs, {both} | {default}: {id}");
                }
            }
        }
    }
    let scope = |grants: &str, default: &str| held(grants, default).scope(Resource::Experiment, None);
    assert_eq!(scope("", "READ"), Scope::All);
    assert_eq!(scope("experiment 7 DENY", "READ"), Scope::Except(vec!["7".to_owned()]));
    assert_eq!(scope("experiment 7 READ", "NO_PERMISSIONS"), Scope::Only(vec!["7".to_owned()]));
    assert_eq!(scope("experiment * DENY, experiment 7 READ", "READ"), Scope::Only(Vec::new()));
    assert_eq!(EVERY, "*");
}

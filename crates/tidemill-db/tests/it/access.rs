//! Users, roles and permissions as rows.

use tidemill_core::EventKind;
use tidemill_db::access::{Members, PasswordHash, Roles};
use tidemill_db::search::{Condition, ExperimentSearch, Field, Op, Operand};
use tidemill_db::tracking::Stage;
use tidemill_db::{Db, Error, Tx};

use crate::fixture::{Fixture, at, event, experiment, on_both};

on_both!(
    all_fields_come_back,
    a_change_needs_an_event_and_is_counted,
    what_a_user_alone_had_goes_with_them,
    grants_on_what_is_gone_or_renamed,
    long_lists_of_a_search,
);

async fn commit(tx: Tx) {
    let kind = EventKind::UserChanged { user: "ada".to_owned(), change: "created".to_owned() };
    tx.commit(vec![event(1, kind)]).await.unwrap();
}

/// Ada with a role of her own, and a role that others may have.
async fn two_roles(db: &Db) -> (i64, i64, i64) {
    let mut tx = db.begin().await.unwrap();
    let ada = tx.add_access_user("ada", &PasswordHash::new("kept"), false, at(1)).await.unwrap();
    let own = tx.add_access_role("default", "own", None, Some(ada.id)).await.unwrap();
    let shared = tx.add_access_role("default", "shared", Some("words"), None).await.unwrap();
    for role in [own, shared] {
        tx.add_access_member(ada.id, role).await.unwrap();
        tx.add_access_grant(role, "registered_model", "m", "EDIT").await.unwrap();
    }
    commit(tx).await;
    (ada.id, own, shared)
}

async fn all_fields_come_back(f: Fixture) {
    let (ada, own, shared) = two_roles(&f.db).await;
    let (user, roles) = f.db.access_of("ada").await.unwrap().unwrap();
    assert_eq!(
        (user.id, user.name.as_str(), user.password.reveal(), user.admin),
        (ada, "ada", "kept", false)
    );
    assert_eq!(roles.iter().map(|role| role.id).collect::<Vec<_>>(), [own, shared]);
    assert_eq!((roles[0].owner, roles[1].owner), (Some(ada), None));
    assert_eq!(roles[1].description.as_deref(), Some("words"));
    let grant = &roles[1].grants[0];
    assert_eq!(
        (grant.role, grant.resource_type.as_str(), grant.resource_pattern.as_str()),
        (shared, "registered_model", "m")
    );
    assert_eq!(f.db.access_grant(grant.id).await.unwrap().unwrap(), *grant);
    assert!(f.db.access_of("Ada").await.unwrap().is_none());

    let mut tx = f.db.begin().await.unwrap();
    tx.set_access_admin(ada, true).await.unwrap();
    tx.set_access_password(ada, &PasswordHash::new("other")).await.unwrap();
    tx.change_access_role(shared, Some("readers"), None).await.unwrap();
    tx.set_access_grant(grant.id, "READ").await.unwrap();
    assert_eq!(tx.access_role_named("default", "readers").await.unwrap(), Some(shared));
    assert!(tx.has_access_role(ada, shared).await.unwrap());
    assert_eq!(tx.access_user_name(ada).await.unwrap().as_deref(), Some("ada"));
    commit(tx).await;
    let users = f.db.access_users().await.unwrap();
    assert!(users.len() == 1 && users[0].admin && users[0].password.reveal() == "other");
    let roles = f.db.access_roles(&Roles::One(shared)).await.unwrap();
    assert_eq!((roles[0].name.as_str(), roles[0].description.as_deref()), ("readers", Some("words")));
    assert_eq!(roles[0].grants[0].permission, "READ");
    assert_eq!(f.db.access_members(Members::Of(shared)).await.unwrap().len(), 1);
    assert_eq!(f.db.access_roles(&Roles::In(vec!["default".to_owned()])).await.unwrap().len(), 2);
    assert!(f.db.access_roles(&Roles::In(vec!["other".to_owned()])).await.unwrap().is_empty());
    assert!(!format!("{users:?}").contains("other"), "a password shows itself");
}

async fn a_change_needs_an_event_and_is_counted(f: Fixture) {
    assert_eq!(f.db.access_revision().await.unwrap(), 0);
    let (ada, _, _) = two_roles(&f.db).await;
    let counted = f.db.access_revision().await.unwrap();
    assert!(counted > 0);
    let mut tx = f.db.begin().await.unwrap();
    tx.set_access_admin(ada, true).await.unwrap();
    assert!(matches!(tx.commit(Vec::new()).await, Err(Error::NoEvent)));
    assert_eq!(f.db.access_revision().await.unwrap(), counted);
    // Who is removed leaves no number behind that somebody else gets.
    let mut tx = f.db.begin().await.unwrap();
    tx.remove_access_user(ada).await.unwrap();
    let bob = tx.add_access_user("bob", &PasswordHash::new("x"), false, at(2)).await.unwrap();
    commit(tx).await;
    assert!(bob.id > counted);
}

async fn what_a_user_alone_had_goes_with_them(f: Fixture) {
    let (ada, _, shared) = two_roles(&f.db).await;
    let mut tx = f.db.begin().await.unwrap();
    assert!(tx.remove_access_member(ada, shared).await.unwrap());
    assert!(!tx.remove_access_member(ada, shared).await.unwrap());
    tx.remove_access_user(ada).await.unwrap();
    commit(tx).await;
    let left = f.db.access_roles(&Roles::All).await.unwrap();
    assert_eq!(left.iter().map(|role| role.id).collect::<Vec<_>>(), [shared]);
    assert!(f.db.access_members(Members::All).await.unwrap().is_empty());
    let mut tx = f.db.begin().await.unwrap();
    tx.remove_access_role(shared).await.unwrap();
    commit(tx).await;
    assert!(f.db.access_grant(left[0].grants[0].id).await.unwrap().is_none());
}

async fn grants_on_what_is_gone_or_renamed(f: Fixture) {
    let (_, own, shared) = two_roles(&f.db).await;
    let patterns = async |role: i64| {
        let roles = f.db.access_roles(&Roles::One(role)).await.unwrap();
        roles[0].grants.iter().map(|grant| grant.resource_pattern.clone()).collect::<Vec<_>>()
    };
    let mut tx = f.db.begin().await.unwrap();
    // Of somebody who had a right on a model that is gone.
    tx.add_access_grant(own, "registered_model", "new", "READ").await.unwrap();
    tx.rename_access("registered_model", "m", "new").await.unwrap();
    commit(tx).await;
    assert_eq!((patterns(own).await, patterns(shared).await), (vec!["new".to_owned()], vec!["m".to_owned()]));
    let mut tx = f.db.begin().await.unwrap();
    tx.forget_access("prompt", "new").await.unwrap();
    tx.forget_access("registered_model", "new").await.unwrap();
    commit(tx).await;
    assert_eq!((patterns(own).await, patterns(shared).await), (Vec::new(), vec!["m".to_owned()]));
}

/// More values than either database takes in one statement.
async fn long_lists_of_a_search(f: Fixture) {
    experiment(&f.db, 1).await;
    experiment(&f.db, 2).await;
    for (op, found) in [(Op::In, vec![2]), (Op::NotIn, vec![1])] {
        let ids = (2..70_000).map(|id| id.to_string()).collect();
        let field = Field::Attribute("experiment_id".to_owned());
        let search = ExperimentSearch {
            stages: vec![Stage::Active],
            conditions: vec![Condition { field, op, value: Operand::List(ids) }],
            order: Vec::new(),
            limit: 10,
            after: None,
        };
        let page = f.db.search_experiments(&search).await.unwrap();
        assert_eq!(page.items.iter().map(|one| one.id).collect::<Vec<_>>(), found, "{op:?}");
    }
}

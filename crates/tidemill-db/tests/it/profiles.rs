//! Profiles are found by content and form, and replaced.

use crate::fixture::{Fixture, at, digest, on_both};

on_both!(profiles_are_kept_by_content_and_form);

async fn profiles_are_kept_by_content_and_form(f: Fixture) {
    let mut tx = f.db.begin().await.unwrap();
    tx.put_profile(digest("flights"), "1", digest("first"), at(1)).await.unwrap();
    tx.put_profile(digest("flights"), "1", digest("second"), at(2)).await.unwrap();
    tx.put_profile(digest("flights"), "1 key", digest("third"), at(2)).await.unwrap();
    tx.put_profile(digest("planes"), "1", digest("fourth"), at(2)).await.unwrap();
    // No event: a profile follows from what is stored.
    tx.commit(vec![]).await.unwrap();
    let found = |content, form| f.db.profile(digest(content), form);
    assert_eq!(found("flights", "1").await.unwrap(), Some(digest("second")));
    assert_eq!(found("flights", "2").await.unwrap(), None);
    assert_eq!(f.db.profiles().await.unwrap().len(), 3);
    let newest = f.db.profiles_of(&[digest("planes"), digest("none"), digest("flights")]).await.unwrap();
    assert_eq!(newest.len(), 2, "{newest:?}");
    assert!(newest.contains(&(digest("planes"), digest("fourth"))));
    assert_eq!(f.db.profiles_of(&[]).await.unwrap(), []);
    let mut tx = f.db.begin().await.unwrap();
    tx.drop_profiles(&[digest("flights")]).await.unwrap();
    tx.commit(vec![]).await.unwrap();
    assert_eq!(f.db.profiles().await.unwrap(), [(digest("planes"), digest("fourth"))]);
}

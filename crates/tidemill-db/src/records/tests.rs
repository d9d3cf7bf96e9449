//! Parts are found by an index: those of a stretch of time by their hour, those that are new by their number.

use super::{NEW, OF_ENDPOINT};
use crate::backend::plans;

#[tokio::test]
async fn parts_of_a_time_are_found_by_their_hour() {
    for plan in plans(OF_ENDPOINT, &["0", "9", "0", "0", "9", "'late'"]).await {
        assert!(plan.contains("record_part_by_time"), "{plan}");
    }
}

#[tokio::test]
async fn new_parts_are_found_by_their_number() {
    // What PostgreSQL plans for an empty table says nothing of a full one.
    let plans = plans(NEW, &["0", "9", "5", "0", "9", "'late'"]).await;
    assert!(plans[0].contains("SEARCH p USING INTEGER PRIMARY KEY"), "{}", plans[0]);
}

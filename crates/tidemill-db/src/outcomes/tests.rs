//! Outcomes are found by an index, however many others there are.

use super::OF_STATE;
use super::correct::HELD;
use crate::backend::plans;

#[tokio::test]
async fn outcomes_that_wait_are_found_by_their_state() {
    for plan in plans(OF_STATE, &["'late'", "0", "100", "'waiting'"]).await {
        assert!(plan.contains("outcome_by_state"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE") && !plan.contains("Sort"), "it is in order already: {plan}");
    }
}

#[tokio::test]
async fn what_a_request_has_already_is_found_by_the_request() {
    // As many as a day of outcomes has: for a few, SQLite decides otherwise.
    let values = vec!["('late', 'a', -1, 'label')"; 256].join(", ");
    let rows = format!(
        "(SELECT v.column1 AS endpoint, v.column2 AS matched_id, v.column3 AS matched_row, v.column4 AS name
        FROM (VALUES {values}) AS v) AS r"
    );
    for plan in plans(&HELD.replace("{rows}", &rows), &[]).await {
        assert!(plan.contains("outcome_by_match ") && !plan.contains("outcome_by_state"), "{plan}");
        assert!(!plan.contains("SCAN o"), "{plan}");
    }
}

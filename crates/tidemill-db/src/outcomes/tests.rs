//! Outcomes of a state are found by an index, however many others there are.

use super::OF_STATE;
use crate::backend::plans;

#[tokio::test]
async fn outcomes_that_wait_are_found_by_their_state() {
    for plan in plans(OF_STATE, &["'late'", "0", "100", "'waiting'"]).await {
        assert!(plan.contains("outcome_by_state"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE") && !plan.contains("Sort"), "it is in order already: {plan}");
    }
}

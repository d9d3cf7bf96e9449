//! Decisions of releases, what shadows say beside them, and what is refused in which group.

use super::*;
use crate::gateway::decision::DECISION;
use crate::gateway::slices::UNREAD;

fn truths(outputs: &[Named]) -> Option<Vec<bool>> {
    let decision = outputs.iter().find(|output| output.name == DECISION)?;
    match decision.tensor.values() {
        Values::Bool(values) => Some(values.clone()),
        other => panic!("{other:?}"),
    }
}

fn names(response: &Response) -> Vec<&str> {
    response.outputs.iter().map(|output| output.name.as_str()).collect()
}

/// The incumbent acts from 0.5 on, the shadow, whose scores are twice as high, from 0.2 on.
#[tokio::test]
async fn each_release_decides_by_its_own_threshold_and_unasked_nobody_is_told() {
    let lab = Lab::plain();
    let mut spec = json!({"arms": [
        {"name": "a", "model": "m", "version": "1", "weight": 1, "threshold": 0.5},
        {"name": "b", "model": "m", "version": "2", "weight": 100, "shadow": true, "threshold": 0.2},
    ]});
    lab.set("e", 1, spec.clone());
    let compared = async || {
        for _ in 0..500 {
            let endpoint = lab.gateway.endpoint("e").unwrap();
            let found = endpoint.arms[1].counted.compared();
            let is_done = lab.records().iter().any(|record| record.is_shadow);
            if let Some(compared) = found.filter(|_| is_done) {
                return compared;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the shadow says nothing");
    };
    let ask = async |wanted: &[&str]| {
        let outputs = wanted.iter().map(|name| (*name).to_owned()).collect();
        lab.gateway.infer(Request { outputs, ..request("e", None, &[0.3, 0.6, 0.1]) }).await
    };
    let unasked = ask(&[]).await.unwrap();
    assert_eq!(names(&unasked), ["y"]);
    let seen = compared().await;
    assert_eq!((seen.same, seen.different), (1, 2));
    assert_eq!(seen.distances(), [(0.1, 1), (0.3, 1), (0.6, 1)]);
    let asked = ask(&[DECISION]).await.unwrap();
    assert_eq!((names(&asked), truths(&asked.outputs)), (vec![DECISION], Some(vec![false, true, false])));
    // The log has it in any case, of both.
    let records = lab.records();
    let of = |is_shadow| {
        let record = records.iter().find(|record| record.is_shadow == is_shadow).unwrap();
        truths(&record.outputs)
    };
    assert_eq!(of(false), Some(vec![false, true, false]));
    assert_eq!(of(true), Some(vec![true, true, true]));

    spec["answer_decision"] = json!(true);
    lab.set("e", 2, spec.clone());
    assert_eq!(names(&ask(&[]).await.unwrap()), ["y", DECISION]);
    assert_eq!(names(&ask(&["y"]).await.unwrap()), ["y"]);
    spec["arms"][0]["threshold"] = json!(null);
    lab.set("e", 3, spec);
    assert_eq!(names(&ask(&[]).await.unwrap()), ["y"], "nobody decides");
    let why = ask(&[DECISION]).await.unwrap_err();
    assert!(why.to_string().contains("nothing decides here"), "{why}");
}

#[tokio::test]
async fn what_is_refused_is_counted_in_its_group_or_as_not_read() {
    let lab = Lab::plain();
    let mut spec = two_arms(1.0, 0.0);
    spec["validation"] = json!({"nan": "refuse"});
    lab.set("e", 1, spec);
    let slices = lab.gateway.slices("e", &["x".to_owned()], 10, |_| Vec::new());
    lab.gateway.infer(request("e", None, &[10.0])).await.unwrap();
    lab.gateway.infer(request("e", None, &[f32::NAN])).await.unwrap_err();
    let mut wrong = request("e", None, &[10.0]);
    wrong.inputs.push(wrong.inputs[0].clone());
    lab.gateway.infer(wrong.clone()).await.unwrap_err();
    wrong.inputs.truncate(1);
    wrong.inputs[0].name = "z".to_owned();
    lab.gateway.infer(wrong).await.unwrap_err();
    let counted: Vec<(String, u64, u64)> = slices
        .counted("a")
        .into_iter()
        .map(|((_, value), tally)| (value.unwrap_or_default(), tally.answered, tally.refused))
        .filter(|(_, answered, refused)| answered + refused > 0)
        .collect();
    let row = |value: &str, answered, refused| (value.to_owned(), answered, refused);
    assert_eq!(counted, [row(UNREAD, 0, 1), row("10", 1, 1), row("null", 0, 1)]);
}

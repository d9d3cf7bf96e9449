//! Whether the model that is released can be tested: a training holds out rows, a command needs them declared.

use super::Check;
use crate::ModelTest;

impl Check<'_> {
    pub(super) fn held_out(&mut self) {
        let project = self.project;
        let steps = &project.pipeline;
        let at = self.root().key("held_out");
        let named = project.release.as_ref().and_then(|release| release.step.as_deref());
        let declared = named.map(|name| name.split_once('@').map_or(name, |(declared, _)| declared));
        let made = declared
            .filter(|name| steps.iter().any(|(known, step)| known.as_str() == *name && step.run.is_some()));
        let tests = &self.root().key("tests").key;
        if let Some(held_out) = &project.held_out {
            if let Some(threshold) = held_out.threshold
                && !(0.0..=1.0).contains(&threshold)
            {
                let span = at.key("threshold").span;
                self.add(&span, "a threshold of a probability is from 0 to 1", "a number from 0 to 1", None);
            }
            if !project.data.contains_key(held_out.table.as_str())
                && let Err((message, hint)) = super::clean(&held_out.table)
            {
                let expected = "a dataset, an output of a step, or a file";
                self.add(&at.key("table").span, message, expected, hint);
            }
            if made.is_none() {
                let hint = "name the step below `release: step:`, or leave this out: a training holds out rows itself";
                self.add(
                    &at.key,
                    "no `run` step makes the model that is released",
                    "",
                    Some(hint.to_owned()),
                );
            } else if project.objective.is_none() {
                let hint = "add `objective: {task: {kind: …, target: …}}`".to_owned();
                self.add(&at.key, "nothing says which column of the rows is the target", "", Some(hint));
            }
        }
        if project.tests.is_empty() {
            return;
        }
        let Some(made) = made else {
            let trains = steps.values().any(|step| step.train.is_some());
            if !trains && declared.is_none() && steps.values().any(|step| step.run.is_some()) {
                let hint = "add `step: NAME` below `release:`, and `held_out: {table: …}` with rows that it does not learn from";
                let message = "no step trains, and nothing says which step makes the model that is tested";
                self.add(tests, message, "", Some(hint.to_owned()));
            }
            return;
        };
        if project.held_out.is_none() {
            let message = format!("nothing says on which rows the model of `{made}` is tested");
            let hint = "add `held_out: {table: …}`: a table with its inputs and the target, of rows that it did not learn from";
            self.add(tests, message, "", Some(hint.to_owned()));
        }
        for (i, test) in project.tests.iter().enumerate() {
            if let Some(why) = of_training(test) {
                let at = self.root().key("tests").item(i).key(test.name());
                let message = format!("`{}` {why}, and the model of `{made}` is a command's", test.name());
                self.add(
                    &at.key,
                    message,
                    "",
                    Some("leave it out, or release the model of a training".to_owned()),
                );
            }
        }
    }
}

/// What a test needs that only a training of Tidemill has.
fn of_training(test: &ModelTest) -> Option<&'static str> {
    match test {
        ModelTest::Parity(_) => Some("sets the exported model beside the trainer's own"),
        ModelTest::Baseline(_) => Some("trains a simple model on the same rows"),
        ModelTest::Leakage(_) => Some("looks at the rows that were learnt from"),
        ModelTest::Smoke(_) => Some("repeats the training"),
        _ => None,
    }
}

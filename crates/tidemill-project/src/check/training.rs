//! Whether a training makes sense.

use tidemill_core::declare::{
    Algorithm, GbdtParams, LinearParams, Metric, SearchMethod, SplitBy, TaskKind, Training,
};
use tidemill_core::did_you_mean;

use super::{Check, fits, task_word};
use crate::node::{Cursor, Span};

/// Checks a training that is complete but for what the objective gives.
pub(crate) fn check_training(check: &mut Check<'_>, training: &Training, at: &Cursor<'_>) {
    let objective = check.project.objective.as_ref();
    let task = training.task.as_ref().or(objective.map(|o| &o.task));
    let Some(task) = task else {
        let hint = "add `objective:` with a `task`, or `task:` to the training".to_owned();
        check.add(&at.key, "what is predicted is said nowhere", "a task", Some(hint));
        return;
    };
    let kind = task.kind;
    let misfit = matches!(
        (training.algorithm, kind),
        (Algorithm::Logistic, TaskKind::Regression) | (Algorithm::Ridge, TaskKind::Classification)
    );
    if misfit {
        let (word, other) = match training.algorithm {
            Algorithm::Logistic => ("logistic", "ridge"),
            _ => ("ridge", "logistic"),
        };
        let message = format!("`{word}` is not for {}", task_word(kind));
        check.add(&at.key("algorithm").span, message, "", Some(format!("use `{other}` or `gbdt`")));
    }
    for (i, metric) in training.metrics.iter().flatten().enumerate() {
        if !fits(*metric, kind) {
            let span = at.key("metrics").item(i).span;
            misfit_metric(check, *metric, kind, &span);
        }
    }
    columns(check, training, &task.target, at);
    split(check, training, at);
    gbdt(check, training, at);
    linear(check, training, at);
    search(check, training, kind, at);
    if let Some(cv) = &training.cv
        && cv.folds < 2
    {
        check.add(&at.key("cv").key("folds").span, format!("{} folds", cv.folds), "at least 2", None);
    }
}

fn columns(check: &mut Check<'_>, training: &Training, target: &str, at: &Cursor<'_>) {
    if let Some(columns) = &training.columns {
        for (i, column) in columns.iter().enumerate() {
            if column == target {
                let message = format!("`{column}` is the target; a model must not learn from it");
                check.add(&at.key("columns").item(i).span, message, "", Some("remove it".to_owned()));
            }
        }
        for (i, column) in training.drop.iter().enumerate() {
            if columns.contains(column) {
                let message = format!("`{column}` is in `columns` and in `drop`");
                check.add(&at.key("drop").item(i).span, message, "", Some("remove it from one".to_owned()));
            }
        }
    }
    for (i, column) in training.drop.iter().enumerate() {
        if column == target {
            check.add(&at.key("drop").item(i).span, format!("`{column}` is the target"), "", None);
        }
    }
}

fn split(check: &mut Check<'_>, training: &Training, at: &Cursor<'_>) {
    let split = &training.split;
    let at = at.key("split");
    if !(split.test > 0.0 && split.test < 1.0) {
        let expected = "a share of rows above 0 and below 1";
        let percent = (1.0..100.0).contains(&split.test).then(|| format!("write {}", split.test / 100.0));
        check.add(&at.key("test").span, format!("a test share of {}", split.test), expected, percent);
    }
    let time = check.project.objective.as_ref().and_then(|o| o.time.as_ref());
    let missing = match split.by {
        SplitBy::Time => split.column.is_none() && time.is_none(),
        SplitBy::Group => split.column.is_none(),
        SplitBy::Random | SplitBy::Stratified => false,
    };
    if missing {
        let message = "which column the split goes by is said nowhere";
        let hint = match split.by {
            SplitBy::Time => "add `column:` here, or `time:` to the objective",
            _ => "add `column:` here",
        };
        check.add(&at.key("by").span, message, "a column", Some(hint.to_owned()));
    }
}

fn gbdt(check: &mut Check<'_>, training: &Training, at: &Cursor<'_>) {
    let Some(params) = &training.gbdt else { return };
    let at = at.key("gbdt");
    if training.algorithm != Algorithm::Gbdt {
        check.add(&at.key, "parameters of another algorithm", "`algorithm: gbdt`", None);
    }
    let open = |x: f64| x > 0.0 && x < 1.0;
    let half_open = |x: f64| x > 0.0 && x <= 1.0;
    for (key, good, expected) in [
        ("rounds", params.rounds >= 1, "at least 1"),
        ("learning_rate", params.learning_rate > 0.0, "a number above 0"),
        ("max_leaves", params.max_leaves >= 2, "at least 2"),
        ("min_hessian", params.min_hessian >= 0.0, "at least 0"),
        ("l2", params.l2 >= 0.0, "at least 0"),
        ("max_bins", (2..=255).contains(&params.max_bins), "a number from 2 to 255"),
        ("column_share", half_open(params.column_share), "a share above 0 and at most 1"),
        ("row_share", half_open(params.row_share), "a share above 0 and at most 1"),
        ("early_stopping", params.early_stopping != Some(0), "at least 1"),
        ("validation_share", open(params.validation_share), "a share above 0 and below 1"),
    ] {
        if !good {
            check.add(&at.key(key).span, format!("this is no value for `{key}`"), expected, None);
        }
    }
    for (column, way) in &params.monotone {
        if !(-1..=1).contains(way) {
            let span = at.key("monotone").key(column).span;
            check.add(
                &span,
                format!("{way} says no direction"),
                "1 (rising), -1 (falling) or 0 (free)",
                None,
            );
        }
    }
}

fn linear(check: &mut Check<'_>, training: &Training, at: &Cursor<'_>) {
    let Some(params) = &training.linear else { return };
    let at = at.key("linear");
    if !matches!(training.algorithm, Algorithm::Ridge | Algorithm::Logistic) {
        check.add(&at.key, "parameters of another algorithm", "`algorithm: ridge` or `logistic`", None);
    }
    for (key, good, expected) in [
        ("l2", params.l2 >= 0.0, "at least 0"),
        ("max_iterations", params.max_iterations >= 1, "at least 1"),
        ("max_categories", params.max_categories >= 1, "at least 1"),
    ] {
        if !good {
            check.add(&at.key(key).span, format!("this is no value for `{key}`"), expected, None);
        }
    }
}

fn search(check: &mut Check<'_>, training: &Training, kind: TaskKind, at: &Cursor<'_>) {
    let Some(search) = &training.search else { return };
    let at = at.key("search");
    if search.space.is_empty() {
        check.add(&at.key("space").span, "nothing is searched", "candidate values by parameter", None);
    }
    let known: Vec<String> = match training.algorithm {
        Algorithm::Gbdt => names_of(&GbdtParams { early_stopping: Some(1), ..GbdtParams::default() }),
        Algorithm::Ridge | Algorithm::Logistic => names_of(&LinearParams::default()),
        Algorithm::Prior => Vec::new(),
    };
    for (name, values) in &search.space {
        let place = at.key("space").key(name);
        if !known.contains(name) {
            let hint = did_you_mean(name, known.iter().map(String::as_str));
            check.add(&place.key, format!("the algorithm has no parameter `{name}`"), "", hint);
        } else if values.is_empty() {
            check.add(&place.span, "no candidates", "at least one value", None);
        }
    }
    if search.method == SearchMethod::Random && search.trials.is_none_or(|t| t == 0) {
        let hint = "add `trials:`".to_owned();
        check.add(&at.key("method").span, "a random search needs a number of trials", "", Some(hint));
    }
    if !fits(search.metric, kind) {
        misfit_metric(check, search.metric, kind, &at.key("metric").span);
    }
}

fn misfit_metric(check: &mut Check<'_>, metric: Metric, kind: TaskKind, span: &Span) {
    let name = serde_json::to_value(metric).unwrap_or_default();
    let name = name.as_str().unwrap_or_default();
    check.add(span, format!("`{name}` is no metric for {}", task_word(kind)), "", None);
}

fn names_of<T: serde::Serialize>(params: &T) -> Vec<String> {
    let value = serde_json::to_value(params).unwrap_or_default();
    value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
}

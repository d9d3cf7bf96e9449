//! The two tests that ask an exported model again: parity with the trainer, and the cost against the champion.

use std::path::Path;

use arrow::array::RecordBatch;
use tidemill_core::Digest;
use tidemill_core::declare::{Costs, Step, Training};
use tidemill_project::ModelTest;
use tidemill_registry::Registry;
use tidemill_serve::gateway::folder::FolderSource;
use tidemill_serve::gateway::model::verify;
use tidemill_serve::gateway::settings::ServingSettings;
use tidemill_serve::gateway::source::{ModelBundle, ModelFiles, ModelSource as _};
use tidemill_server::RegistrySource;
use tidemill_train::fit::compare_costs;

use super::rescore::{self, Model};
use super::{Judged, Outcome, TestResult, outcome};
use crate::app::App;
use crate::output::{number, plural};
use crate::serving::{Places, runtimes};
use crate::step::train::file;

/// The alias of the version that others are compared with.
const CHAMPION: &str = "champion";

/// The version that the alias of the released model points at.
pub(crate) struct Champion {
    model: String,
    version: u64,
    content: Option<Digest>,
}

impl Champion {
    /// What it is, to the byte.
    pub(super) fn name(&self) -> String {
        let content = self.content.map(|content| content.to_string()).unwrap_or_default();
        format!("{}@{} {content}", self.model, self.version)
    }
}

/// The champion, where a test asks for it; or why there is none.
pub(crate) fn champion(app: &App<'_>) -> anyhow::Result<Option<Result<Champion, String>>> {
    if !app.project.tests.iter().any(|test| matches!(test, ModelTest::Cost(_))) {
        return Ok(None);
    }
    let Some(release) = &app.project.release else {
        return Ok(Some(Err("the project has no `release`, which names the registered model".to_owned())));
    };
    let model = release.model.to_string();
    let found = app.block(app.db()?.aliased_version(&model, CHAMPION))?;
    Ok(Some(match found {
        Some(version) => Ok(Champion { model, version: version.version, content: version.content }),
        None => Err(format!("model `{model}` has no alias `{CHAMPION}` yet")),
    }))
}

/// The answers of two models to the same rows.
struct Both {
    new: RecordBatch,
    old: RecordBatch,
}

fn not_judged(test: String, why: impl Into<String>) -> TestResult {
    TestResult { test, outcome: Outcome::NotJudged, message: why.into() }
}

fn failed(test: String, why: String) -> TestResult {
    TestResult { test, outcome: Outcome::Failed, message: why }
}

/// Loads a model as the gateway does, golden rows included.
fn load(app: &App<'_>, bundle: &ModelBundle) -> Result<Model, String> {
    if matches!(bundle.files, ModelFiles::Folder(_)) {
        return Err("it is no ONNX model".to_owned());
    }
    let loader = runtimes(Places {
        python: None,
        onnxruntime: std::env::var_os("TIDEMILL_ONNXRUNTIME").map(Into::into),
        environments: app.inside("environments"),
        call_timeout: None,
    });
    let (session, plan) = verify(bundle, &loader)?;
    Ok(Model { session, plan })
}

/// A model's folder as it lies there.
fn of_folder(app: &App<'_>, folder: &Path) -> Result<ModelBundle, String> {
    let models = [("model".to_owned(), folder.to_owned())].into();
    let source = FolderSource::new(models, ServingSettings::default());
    app.block(source.fetch("model", "1")).map_err(|error| error.to_string())
}

impl Judged {
    /// The rows that the predictions are about. Reading them takes the whole table, so tests share them.
    fn held_out(&self, app: &App<'_>, step: &Step, training: &Training) -> anyhow::Result<&RecordBatch> {
        if let Some(rows) = self.held_out.get() {
            return Ok(rows);
        }
        let rows = rescore::held_out(app, step, training, &self.predictions)?;
        Ok(self.held_out.get_or_init(|| rows))
    }

    /// The exported model's answers to every held-out row against those of the trainer.
    pub(super) fn parity(
        &self,
        app: &App<'_>,
        step: &Step,
        training: &Training,
        (folder, max_abs): (&Path, f64),
    ) -> anyhow::Result<TestResult> {
        let test = format!("parity within {}", number(max_abs));
        let model = match of_folder(app, folder).and_then(|bundle| load(app, &bundle)) {
            Ok(model) => model,
            Err(why) => return Ok(failed(test, format!("the exported model cannot be used: {why}"))),
        };
        let rows = self.held_out(app, step, training)?;
        let expected = rescore::trained(&self.predictions)?;
        let width = expected.first().map_or(0, Vec::len);
        let got = match model.answers(rows, width) {
            Ok(got) => got,
            Err(why) => return Ok(failed(test, format!("the exported model: {why}"))),
        };
        let (mut worst, mut compared) = ((0.0_f64, 0_usize), 0_u64);
        for (row, (expected, got)) in expected.iter().zip(&got).enumerate() {
            let Some(got) = got else { continue };
            compared += 1;
            for (expected, got) in expected.iter().zip(got) {
                // Two that are both not a number are the same answer.
                let gap = if expected.is_nan() && got.is_nan() { 0.0 } else { (expected - got).abs() };
                if gap > worst.0 || gap.is_nan() {
                    worst = (if gap.is_nan() { f64::INFINITY } else { gap }, row);
                }
            }
        }
        if compared == 0 {
            return Ok(not_judged(test, "there is no held-out row that the exported model takes"));
        }
        let skipped = got.len() as u64 - compared;
        let skipped = match skipped {
            0 => String::new(),
            rows => format!("; {} with values missing that ONNX has no form for", plural(rows, "row")),
        };
        let message = format!(
            "largest difference {} (held-out row {}) on {} by the {} runtime{skipped}",
            number(worst.0),
            worst.1 + 1,
            plural(compared, "row"),
            model.session.runtime(),
        );
        Ok(TestResult { test, outcome: outcome(worst.0 <= max_abs), message })
    }

    /// The cost of this model's decisions against the champion's on the same held-out rows.
    pub(super) fn against_champion(
        &self,
        app: &App<'_>,
        step: &Step,
        training: &Training,
        (folder, champion, max_regression): (&Path, Option<&Result<Champion, String>>, f64),
    ) -> anyhow::Result<TestResult> {
        let test = format!("cost: at most {} above the champion", number(max_regression));
        let champion = match champion {
            Some(Ok(champion)) => champion,
            Some(Err(why)) => return Ok(not_judged(test, why.clone())),
            None => return Ok(not_judged(test, "there is no champion")),
        };
        let Some(costs) = training.costs.as_ref().filter(|_| self.report.decision.is_some()) else {
            return Ok(not_judged(test, "the objective declares no costs of decisions"));
        };
        let rows = self.held_out(app, step, training)?;
        let both = match self.of_both(app, folder, champion, rows) {
            Ok(both) => both,
            Err(why) => {
                let name = format!("{}@{}", champion.model, champion.version);
                return Ok(not_judged(test, format!("the champion {name} cannot be compared: {why}")));
            }
        };
        self.cheaper_than_champion(test, &both, costs, (training.seed, max_regression), champion)
    }

    /// What this model and the champion say of these rows, both in their exported form and each decided by its own
    /// threshold.
    fn of_both(
        &self,
        app: &App<'_>,
        folder: &Path,
        champion: &Champion,
        rows: &RecordBatch,
    ) -> anyhow::Result<Both> {
        let said = |why: String| anyhow::anyhow!(why);
        let registry = Registry::new(app.db()?.clone(), app.store()?.clone(), app.clock.clone());
        let scratch = app.inside("tmp").join(format!("champion-{}", std::process::id()));
        let source = RegistrySource::new(registry, Vec::new(), scratch, ServingSettings::default());
        let version = champion.version.to_string();
        let bundle =
            app.block(source.fetch(&champion.model, &version)).map_err(|error| said(error.to_string()))?;
        let decision = app.block(source.file(&champion.model, &version, file::DECISION));
        let decision = decision
            .map_err(|error| said(error.to_string()))?
            .ok_or_else(|| said(format!("it has no `{}`, so it was not trained here", file::DECISION)))?;
        let theirs: serde_json::Value = serde_json::from_slice(&decision)?;
        let ours: serde_json::Value = serde_json::from_str(&self.decision)?;
        anyhow::ensure!(ours.get("classes") == theirs.get("classes"), "it has other classes");
        let positive = |bundle: &ModelBundle| -> anyhow::Result<Vec<f64>> {
            let answers = load(app, bundle).map_err(said)?.answers(rows, 2).map_err(said)?;
            let positive: Option<Vec<f64>> = answers.into_iter().map(|row| row?.pop()).collect();
            positive.ok_or_else(|| said("a model does not take every held-out row".to_owned()))
        };
        let own = positive(&of_folder(app, folder).map_err(said)?)?;
        Ok(Both {
            new: rescore::decided_by(&self.predictions, &own, &ours, &ours)?,
            old: rescore::decided_by(&self.predictions, &positive(&bundle)?, &ours, &theirs)?,
        })
    }

    fn cheaper_than_champion(
        &self,
        test: String,
        both: &Both,
        costs: &Costs,
        (seed, max_regression): (u64, f64),
        champion: &Champion,
    ) -> anyhow::Result<TestResult> {
        let paired = compare_costs(&both.new, &both.old, costs, seed)?;
        let unit = costs.currency.as_deref().map(|unit| format!(" {unit}")).unwrap_or_default();
        // The whole interval must be within the margin: "no evidence" is not a pass.
        let good = paired.upper <= max_regression * paired.old;
        let message = format!(
            "{} against {}{unit} per decision of {}@{}, difference {} ({} to {})",
            number(paired.new),
            number(paired.old),
            champion.model,
            champion.version,
            number(paired.difference),
            number(paired.lower),
            number(paired.upper)
        );
        Ok(TestResult { test, outcome: outcome(good), message })
    }
}

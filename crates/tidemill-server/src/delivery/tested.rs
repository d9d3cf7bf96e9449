//! The gate of tests: what a version must have passed before anybody gets it, and the evidence of it, which is a part of its release.

use tidemill_core::{Digest, Event, EventKind, RunId};
use tidemill_db::models::ModelVersion;
use tidemill_db::{Db, EventFilter, Order};
use tidemill_registry::{Code, Error};

use super::fence::recorded;

/// Under this name a release has the results of its model's tests.
pub const MODEL_TESTS: &str = "model tests";
/// Runs of runs that are looked at: a training is a part of its pipeline's run, which may be a part of a search.
const DEEPEST: usize = 3;
/// So many of the newest tests are looked through for those of a model.
const RECENT: usize = 500;

/// The tests that a version must have passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Required {
    /// Those of the model.
    pub model: bool,
    /// Those of the data that it was made of: the datasets that have any.
    pub data: Option<Vec<String>>,
    /// Those of the model that the project file declares, by their names.
    pub declared: Vec<String>,
}

impl Required {
    /// In words, each of what must have passed.
    pub(super) fn words(&self) -> Vec<String> {
        let names = self.declared.iter().filter(|_| self.model);
        let of_model = names.map(|name| Self::one_of_model(name));
        let of_data = self.data.iter().flatten().map(|data| Self::all_of_data(data));
        let all = self.model.then(Self::all_of_model).into_iter();
        all.chain(of_model).chain(of_data).collect()
    }

    /// All tests of the model, in words.
    pub fn all_of_model() -> String {
        "every test of its model".to_owned()
    }

    /// A test of the model, in words.
    pub fn one_of_model(name: &str) -> String {
        format!("the test `{name}` of its model")
    }

    /// The tests of a dataset, in words.
    pub fn all_of_data(dataset: &str) -> String {
        format!("every test of its data `{dataset}`")
    }
}

/// What is known of how a version was made and tested.
#[derive(Debug, Default)]
pub(super) struct Origin {
    /// The commit of the pipeline.
    pub(super) commit: Option<String>,
    /// Results of tests by name.
    pub(super) evidence: Vec<(String, Digest)>,
    /// Who wrote what the commit brings, where a commit was tested for a release.
    pub(super) authors: Vec<String>,
    /// The event with which the pipeline's run began.
    started: Option<u64>,
}

/// The newest results of a kind of tests.
#[derive(Default)]
struct Results {
    evidence: Option<Digest>,
    passed: u64,
    failed: u64,
    /// What was not judged and, of these, what has nothing to compare with yet; nothing where it was not counted.
    open: Option<(u64, u64)>,
    /// What was tested, where that was recorded.
    content: Option<Digest>,
}

impl Results {
    /// Why a model with these results is not to go out.
    fn refusal(&self, name: &str) -> Option<String> {
        let Self { passed, failed, open, .. } = self;
        if *failed > 0 {
            let all = passed + failed;
            return Some(format!(
                "{failed} of {all} tests of its model failed; `tidemill why {name}` names the run"
            ));
        }
        let (open, waiting) = open.filter(|_| *passed == 0)?;
        // The first version has no champion to be compared with, and must get out to become one.
        if open > 0 && open == waiting {
            return None;
        }
        Some(match open {
            0 => "its model was tested with no result; add tests that apply to it, or `require` less"
                .to_owned(),
            _ => format!(
                "none of {open} tests of its model passed, and what is not judged is no pass; the page of its run says why: \
                 more held-out rows help, or other tests"
            ),
        })
    }
}

/// The evidence of a version.
///
/// # Errors
///
/// Where a test that is required failed, or there are no results of it.
pub(super) async fn origin(db: &Db, of: &ModelVersion, required: &Required) -> Result<Origin, Error> {
    let name = format!("{}@{}", of.model, of.version);
    let refused =
        |why: String| Err(Error::new(Code::InvalidState, format!("{name} cannot be released: {why}")));
    let mut origin = Origin::default();
    let mut run: Option<RunId> = of.run.as_deref().and_then(|run| run.parse().ok());
    if run.is_none()
        && let Some(logged) = &of.logged_model
    {
        run = db.logged_model(logged).await?.and_then(|logged| logged.source_run?.parse().ok());
    }
    let (created, facts) = recorded(db, &of.model, of.version).await?;
    let mut results = walk(db, run, &mut origin).await?;
    if results.is_none()
        && let Some(content) = facts.as_ref().and_then(|facts| facts.content)
    {
        // The run that made it may have been killed before its tests, and the one after it found the model in the cache.
        results = tested_as(db, content).await?;
    }
    match &results {
        Some(results) if required.model => {
            if let Some(why) = results.refusal(&name) {
                return refused(why);
            }
        }
        None if required.model => {
            return refused(
                "its model was not tested, and `release: require` of the project asks for that; `tidemill run` tests what it makes"
                    .to_owned(),
            );
        }
        _ => {}
    }
    if let Some(facts) = &facts {
        // The run may be an earlier one, which the cache knew.
        origin.commit = facts.commit.clone().or(origin.commit.take());
        origin.authors.clone_from(&facts.authors);
    }
    // Whoever registers a version says of which run it is, and may say so of any files.
    if required.model && facts.is_none() {
        return refused(
            "it was not registered by the run that tested it, so nothing says that its files are those that were tested; `tidemill run` \
             registers what it makes"
                .to_owned(),
        );
    }
    let tested = results.as_ref().and_then(|results| results.content);
    if let (Some(tested), Some(content)) = (tested, facts.as_ref().and_then(|facts| facts.content))
        && required.model
        && tested != content
    {
        return refused(format!(
            "its run tested another model: {}, and this one is {}; `tidemill run` tests the step that `release: step` names",
            tested.short(),
            content.short()
        ));
    }
    if let Some(evidence) = results.filter(|_| facts.is_some()).and_then(|results| results.evidence) {
        origin.evidence.push((MODEL_TESTS.to_owned(), evidence));
    }
    // Data are checked before a run; what somebody checks while it goes on may be other data.
    let end = origin.started.or(created);
    let Some(facts) = facts else {
        if required.data.as_ref().is_some_and(|data| !data.is_empty()) {
            return refused(
                "nothing says what data it was made of, and `release: require` of the project asks for tests of them; \
                 `tidemill run` records what it reads"
                    .to_owned(),
            );
        }
        return Ok(origin);
    };
    for dataset in facts.data.keys() {
        let is_required = required.data.as_ref().is_some_and(|data| data.contains(dataset));
        match checked(db, dataset, end).await? {
            Some(Results { failed, .. }) if is_required && failed > 0 => {
                return refused(format!("{failed} expectations on its data `{dataset}` did not hold"));
            }
            None if is_required => {
                return refused(format!(
                    "its data `{dataset}` were not tested, and `release: require` of the project asks for that"
                ));
            }
            Some(Results { evidence: Some(evidence), .. }) => {
                origin.evidence.push((format!("expectations of {dataset}"), evidence));
            }
            _ => {}
        }
    }
    Ok(origin)
}

/// The newest tests of the model that came of a run, and the commit that the run was of. What the run itself does not say, the run says that it
/// is a part of.
async fn walk(db: &Db, run: Option<RunId>, origin: &mut Origin) -> Result<Option<Results>, Error> {
    let (mut results, mut part) = (None, run);
    for _ in 0..DEEPEST {
        let Some(run) = part else { break };
        let subject = || Some(format!("run:{run}"));
        if results.is_none() {
            let tested = db.newest_event("model.tested", subject(), None).await?;
            results = tested.and_then(results_of);
        }
        if origin.started.is_none() {
            origin.started = db.newest_event("run.started", subject(), None).await?.map(|event| event.seq);
        }
        let Some(tracked) = db.tracked_run(run).await? else { break };
        let tag = |key: &str| tracked.tags.iter().find(|tag| tag.key == key).map(|tag| tag.value.clone());
        origin.commit = origin.commit.take().or_else(|| tag("mlflow.source.git.commit"));
        part = tag("mlflow.parentRunId").and_then(|parent| parent.parse().ok());
    }
    Ok(results)
}

/// What an event says of tests of a model.
fn results_of(event: Event) -> Option<Results> {
    match event.kind {
        EventKind::ModelTested { evidence, passed, failed, not_judged, waiting, content, .. } => {
            let open = not_judged.map(|open| (open, waiting.unwrap_or(0)));
            Some(Results { evidence: Some(evidence), passed, failed, open, content })
        }
        _ => None,
    }
}

/// The newest tests of exactly this model, in whichever run they were.
async fn tested_as(db: &Db, wanted: Digest) -> Result<Option<Results>, Error> {
    let filter = EventFilter {
        kind: Some("model.tested".to_owned()),
        limit: Some(RECENT),
        order: Order::NewestFirst,
        ..EventFilter::default()
    };
    let mut tests = db.events(&filter).await?.into_iter().filter_map(results_of);
    Ok(tests.find(|results| results.content == Some(wanted)))
}

/// How the expectations of a dataset came out last before the event `end`.
async fn checked(db: &Db, dataset: &str, end: Option<u64>) -> Result<Option<Results>, Error> {
    let found = db.newest_event("data.checked", Some(format!("dataset:{dataset}")), end).await?;
    Ok(found.and_then(|event| match event.kind {
        EventKind::DataChecked { evidence, passed, failed, .. } => {
            Some(Results { evidence, passed, failed, ..Results::default() })
        }
        _ => None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_judged_is_no_pass_but_for_the_first_version() {
        let refusal = |passed, failed, open| {
            Results { passed, failed, open, ..Results::default() }.refusal("late@1").unwrap_or_default()
        };
        assert_eq!(refusal(3, 0, Some((2, 0))), "");
        assert!(refusal(3, 1, Some((0, 0))).contains("1 of 4 tests of its model failed"));
        assert!(refusal(0, 0, Some((4, 0))).contains("none of 4 tests"), "nothing was judged");
        assert!(refusal(0, 0, Some((4, 3))).contains("none of 4 tests"), "one could have been");
        assert_eq!(refusal(0, 0, Some((4, 4))), "", "there is no champion yet");
        assert!(refusal(0, 0, Some((0, 0))).contains("no result"));
        // Events from before it was counted are read as they were.
        assert_eq!(refusal(0, 0, None), "");
    }
}

//! A project in a temporary folder with fakes at every seam but the executor: a store of plain files and a journal of
//! JSON lines, both in the project, so that they survive the process.

#![allow(dead_code, reason = "shared by the tests and the program that the crash test kills")]

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fs_err as fs;
use serde::{Deserialize, Serialize};
use tidemill_core::declare::{Action, Out, Retry, Sandbox, Step};
use tidemill_core::{Cancel, Digest, RunId, SystemClock, canonical_json};
use tidemill_pipeline::{
    Builtin, CachedStep, Content, ContentKind, Contents, Dag, Error, Journal, LocalExecutor, Observer, Plan,
    Planned, RunFinished, RunOptions, RunReport, RunStarted, Services, SetAside, StepContext, StepEnd,
    StepFailure, StepFinished, StepReport, StoredFile, Tracker, execute,
};

/// Contents as plain files named by their digest; a folder is a listing.
pub(crate) struct DirContents {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Listed {
    path: String,
    digest: Digest,
    bytes: u64,
}

impl DirContents {
    pub(crate) fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        Self { folder }
    }

    pub(crate) fn remove(&self, content: &Content) {
        fs::remove_file(self.folder.join(content.digest.hex())).unwrap();
    }

    fn take(&self, path: &Path, keep: bool) -> Result<Option<Content>, Error> {
        let Ok(metadata) = fs::metadata(path) else { return Ok(None) };
        let (bytes, size, kind) = if metadata.is_dir() {
            let mut files = Vec::new();
            self.list(path, path, keep, &mut files)?;
            files.sort_by(|a, b| a.path.cmp(&b.path));
            let size = files.iter().map(|file| file.bytes).sum();
            (canonical_json(&files).unwrap(), size, ContentKind::Folder)
        } else {
            let bytes = fs::read(path)?;
            let size = bytes.len() as u64;
            let executable = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o100 != 0;
            (bytes, size, if executable { ContentKind::Executable } else { ContentKind::File })
        };
        let digest = Digest::of(&bytes);
        if keep {
            let name = self.folder.join(digest.hex());
            if !name.exists() {
                let temporary = tempfile_in(&self.folder);
                fs::write(&temporary, &bytes)?;
                fs::rename(&temporary, &name)?;
            }
        }
        Ok(Some(Content { digest, kind, bytes: size }))
    }

    fn list(&self, root: &Path, folder: &Path, keep: bool, files: &mut Vec<Listed>) -> Result<(), Error> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                self.list(root, &path, keep, files)?;
            } else if let Some(content) = self.take(&path, keep)? {
                let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.push(Listed { path, digest: content.digest, bytes: content.bytes });
            }
        }
        Ok(())
    }

    fn listing(&self, digest: Digest) -> Result<Vec<Listed>, Error> {
        Ok(serde_json::from_slice(&fs::read(self.folder.join(digest.hex()))?).unwrap())
    }
}

fn tempfile_in(folder: &Path) -> PathBuf {
    let unique = format!("{:?}-{}", std::thread::current().id(), std::process::id());
    folder.join(format!("tmp-{}", Digest::of(unique.as_bytes()).short()))
}

impl Contents for DirContents {
    fn identify(&self, paths: &[PathBuf], _: &Cancel) -> Result<Vec<Option<Content>>, Error> {
        paths.iter().map(|path| self.take(path, false)).collect()
    }

    fn save(&self, paths: &[PathBuf], _: &Cancel) -> Result<Vec<Content>, Error> {
        let missing = |path: &PathBuf| Error::Internal(format!("`{}` is not there", path.display()));
        paths.iter().map(|path| self.take(path, true)?.ok_or_else(|| missing(path))).collect()
    }

    fn sync(&self) -> Result<(), Error> {
        Ok(())
    }

    fn has(&self, contents: &[Content]) -> Result<Vec<bool>, Error> {
        let there = |digest: Digest| self.folder.join(digest.hex()).exists();
        let has = |content: &Content| {
            there(content.digest)
                && (content.kind != ContentKind::Folder
                    || self.listing(content.digest).unwrap().iter().all(|file| there(file.digest)))
        };
        Ok(contents.iter().map(has).collect())
    }

    fn checkout(&self, content: &Content, to: &Path, _: &Cancel) -> Result<(), Error> {
        if content.kind != ContentKind::Folder {
            fs::copy(self.folder.join(content.digest.hex()), to)?;
            return Ok(());
        }
        if to.exists() {
            fs::remove_dir_all(to)?;
        }
        fs::create_dir_all(to)?;
        for file in self.listing(content.digest)? {
            let path = to.join(&file.path);
            fs::create_dir_all(path.parent().unwrap())?;
            fs::copy(self.folder.join(file.digest.hex()), path)?;
        }
        Ok(())
    }

    fn files(&self, content: &Content) -> Result<Vec<StoredFile>, Error> {
        if content.kind != ContentKind::Folder {
            return Ok(vec![StoredFile {
                path: String::new(),
                digest: content.digest,
                bytes: content.bytes,
            }]);
        }
        let files = self.listing(content.digest)?.into_iter();
        Ok(files.map(|f| StoredFile { path: f.path, digest: f.digest, bytes: f.bytes }).collect())
    }

    fn open(&self, file: Digest) -> Result<Box<dyn Read + Send>, Error> {
        Ok(Box::new(fs::File::open(self.folder.join(file.hex()))?))
    }
}

/// A journal of JSON lines; a line that was cut off by a crash is ignored.
pub(crate) struct FileJournal {
    path: PathBuf,
    results: Mutex<HashMap<Digest, CachedStep>>,
    file: Mutex<fs::File>,
    pub(crate) aside: Mutex<Vec<SetAside>>,
}

impl FileJournal {
    pub(crate) fn open(path: PathBuf) -> Self {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let old = fs::read_to_string(&path).unwrap_or_default();
        let lines = old.lines().filter_map(|line| serde_json::from_str::<StepFinished>(line).ok());
        let results = lines.filter_map(|step| step.cached()).collect();
        let file = fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
        let (results, file) = (Mutex::new(results), Mutex::new(file));
        let mut journal = Self { path, results, file, aside: Mutex::default() };
        // So that the next line does not continue a torn one.
        journal.file.get_mut().unwrap().write_all(b"\n").unwrap();
        journal
    }

    /// Everything that was recorded.
    pub(crate) fn steps(&self) -> Vec<StepFinished> {
        let text = fs::read_to_string(&self.path).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// How often each step ran.
    pub(crate) fn runs(&self) -> BTreeMap<String, usize> {
        let mut runs = BTreeMap::new();
        for step in self.steps().into_iter().filter(|step| step.cached().is_some()) {
            *runs.entry(step.step).or_default() += 1;
        }
        runs
    }
}

impl Journal for FileJournal {
    fn lookup(&self, keys: &[Digest]) -> Result<Vec<Option<CachedStep>>, Error> {
        let results = self.results.lock().unwrap();
        Ok(keys.iter().map(|key| results.get(key).cloned()).collect())
    }

    fn run_started(&self, _: &RunStarted) -> Result<(), Error> {
        Ok(())
    }

    fn step_finished(&self, finished: &StepFinished) -> Result<(), Error> {
        let line = serde_json::to_string(finished).unwrap() + "\n";
        self.file.lock().unwrap().write_all(line.as_bytes())?;
        if let Some((key, cached)) = finished.cached() {
            self.results.lock().unwrap().insert(key, cached);
        }
        Ok(())
    }

    fn set_aside(&self, aside: &SetAside) -> Result<(), Error> {
        self.aside.lock().unwrap().push(aside.clone());
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    fn run_finished(&self, _: &RunFinished) -> Result<(), Error> {
        Ok(())
    }
}

/// `sql` steps: the text of the query decides what happens.
pub(crate) struct FakeBuiltin;

impl Builtin for FakeBuiltin {
    fn version(&self, _: &Step) -> String {
        "fake/1".to_owned()
    }

    fn run(&self, step: &Step, context: &StepContext<'_>) -> Result<(), StepFailure> {
        let Action::Sql { text, .. } = &step.action else { return Err(StepFailure::new("not a query")) };
        writeln!(context.log.lock().unwrap(), "query: {text}").unwrap();
        match text.as_str() {
            "panic" => panic!("as the test wants"),
            "forever" => {
                while !context.cancel.is_cancelled() {
                    std::thread::yield_now();
                }
                Err(StepFailure::cancelled())
            }
            "wrong" => Err(StepFailure::new("there is no table `x`").with_hint("did you mean `y`?")),
            "threads" => fs::write(context.root.join(&step.outs[0].path), context.threads.to_string())
                .map_err(|e| StepFailure::new(e.to_string())),
            text => fs::write(context.root.join(&step.outs[0].path), text)
                .map_err(|e| StepFailure::new(e.to_string())),
        }
    }
}

/// Keeps what it is told.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) lines: Mutex<Vec<String>>,
    pub(crate) events: Mutex<Vec<String>>,
    pub(crate) plan: Mutex<Option<Plan>>,
    /// Beginnings and ends of bodies.
    pub(crate) tracked: Mutex<Vec<String>>,
    /// Set the flag when a line is seen.
    pub(crate) cancel_on: Option<(String, Cancel)>,
}

impl Observer for Told {
    fn plan_ready(&self, plan: &Plan) {
        *self.plan.lock().unwrap() = Some(plan.clone());
    }
    fn step_started(&self, step: &Step, planned: &Planned) {
        self.events.lock().unwrap().push(format!("start {} {:?}", step.name, planned.decision));
    }
    fn step_line(&self, step: &str, line: &str) {
        self.lines.lock().unwrap().push(format!("{step}: {line}"));
        if let Some((text, cancel)) = &self.cancel_on
            && line == text
        {
            cancel.cancel();
        }
    }
    fn step_retry(&self, step: &str, _: &str, attempt: u32, wait: Duration) {
        self.events.lock().unwrap().push(format!("retry {step} {attempt} {wait:?}"));
    }
    fn step_finished(&self, report: &StepReport) {
        self.events.lock().unwrap().push(format!("end {} {:?}", report.step, report.state));
    }
    fn notice(&self, message: &str) {
        self.events.lock().unwrap().push(format!("notice {message}"));
    }
}

/// Gives each body a variable, and fails where a step's name asks for it.
impl Tracker for Told {
    fn step_started(&self, step: &Step) -> Result<BTreeMap<String, OsString>, StepFailure> {
        if step.name == "untrackable" {
            return Err(StepFailure::new("no run for it"));
        }
        self.tracked.lock().unwrap().push(format!("begin {}", step.name));
        Ok(BTreeMap::from([("TRACKED".to_owned(), format!("run of {}", step.name).into())]))
    }

    fn step_ended(&self, step: &Step, end: &StepEnd<'_>) -> Result<(), StepFailure> {
        let outs: Vec<&String> = end.outs.keys().collect();
        let failure = end.failure.unwrap_or("no failure");
        self.tracked.lock().unwrap().push(format!("end {} {:?} {outs:?}, {failure}", step.name, end.state));
        if step.name == "unrecordable" { Err(StepFailure::new("its end is not recorded")) } else { Ok(()) }
    }
}

/// A project in a folder of its own.
pub(crate) struct Project {
    _folder: Option<tempfile::TempDir>,
    pub(crate) root: PathBuf,
    pub(crate) contents: DirContents,
    pub(crate) journal: FileJournal,
    pub(crate) told: Told,
}

impl Project {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap().join("project");
        fs::create_dir_all(&root).unwrap();
        Self { _folder: Some(folder), ..Self::at(&root) }
    }

    pub(crate) fn at(root: &Path) -> Self {
        let own = root.join(".tidemill");
        Self {
            _folder: None,
            root: root.to_owned(),
            contents: DirContents::new(own.join("store")),
            journal: FileJournal::open(own.join("journal")),
            told: Told::default(),
        }
    }

    pub(crate) fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.root.join(path)).is_ok()
    }

    pub(crate) fn execute(&self, steps: &[Step], options: &RunOptions) -> Result<RunReport, Error> {
        self.told.events.lock().unwrap().clear();
        self.told.lines.lock().unwrap().clear();
        self.told.tracked.lock().unwrap().clear();
        let services = Services {
            contents: &self.contents,
            journal: &self.journal,
            builtin: &FakeBuiltin,
            executor: &LocalExecutor::new(&self.root.join(".tidemill")),
            tracker: &self.told,
            observer: &self.told,
            clock: &SystemClock,
        };
        execute(&self.root, &Dag::new(steps)?, &services, options)
    }

    pub(crate) fn run(&self, steps: &[Step]) -> RunReport {
        self.execute(steps, &options()).unwrap()
    }

    /// `name: State` of every step.
    pub(crate) fn states(&self, steps: &[Step]) -> Vec<String> {
        states(&self.run(steps))
    }
}

pub(crate) fn states(report: &RunReport) -> Vec<String> {
    report.steps.iter().map(|step| format!("{} {:?}", step.step, step.state)).collect()
}

/// The failure of a step.
pub(crate) fn failure(report: &RunReport, step: &str) -> StepFailure {
    let found = report.steps.iter().find(|report| report.step == step);
    found
        .and_then(|report| report.failure.clone())
        .unwrap_or_else(|| panic!("`{step}` did not fail: {report:#?}"))
}

pub(crate) fn options() -> RunOptions {
    let path = std::env::var_os("PATH").unwrap();
    let environment = [("PATH".to_owned(), path), ("SECRET_OF_MINE".to_owned(), "hidden".into())];
    RunOptions { grace: Duration::from_millis(300), ..RunOptions::new(run(), environment.into()) }
}

/// Another run's identifier at each call, also in other processes: recovery ends the processes of a run by it.
fn run() -> RunId {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let unique = format!("{} {}", std::process::id(), CALLS.fetch_add(1, Ordering::SeqCst));
    let mut entropy = [0; 16];
    entropy.copy_from_slice(&Digest::of(unique.as_bytes()).as_bytes()[..16]);
    RunId::from_entropy(entropy)
}

pub(crate) fn step(name: &str, command: &str, deps: &[&str], outs: &[&str]) -> Step {
    Step {
        name: name.to_owned(),
        action: Action::Run { command: command.to_owned() },
        inputs: Vec::new(),
        deps: deps.iter().map(|path| (*path).to_owned()).collect(),
        params: BTreeMap::new(),
        env: BTreeMap::new(),
        outs: outs
            .iter()
            .map(|path| Out { path: (*path).to_owned(), metrics: false, persist: false })
            .collect(),
        timeout: None,
        retry: Retry { times: 0, backoff: Duration::from_millis(1) },
        sandbox: Sandbox::On,
        reads: Vec::new(),
        description: None,
        line: 12,
    }
}

pub(crate) fn query(name: &str, text: &str, out: &str) -> Step {
    let action = Action::Sql { source: "tidemill.yaml".to_owned(), file: None, text: text.to_owned() };
    Step { action, ..step(name, "", &[], &[out]) }
}

/// Eight steps, each of which reads the one before and adds a line; the first one waits where a file `block` is.
pub(crate) fn chain() -> Vec<Step> {
    let make = |at: usize| {
        let before = if at == 0 { "in.txt".to_owned() } else { format!("s{}.txt", at - 1) };
        let out = format!("s{at}.txt");
        let command =
            format!("[ -e block ] && echo $$ > pid && exec sleep 1000; cat {before} in.txt > {out}");
        Step { sandbox: Sandbox::Off, ..step(&format!("s{at}"), &command, &[&before, "in.txt"], &[&out]) }
    };
    (0..8).map(make).collect()
}

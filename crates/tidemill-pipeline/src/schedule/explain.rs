//! Which undeclared file a sandboxed step tried to use, told from what it printed before it failed.
//!
//! The kernel only answers "permission denied" to the step; the step's own message usually names the file.

mod folder;

use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use fs_err as fs;
use tidemill_core::declare::{Action, Step};

use self::folder::Places;
use super::access::Declared;

/// How much of the end of a log is searched.
const SEARCHED: u64 = 256 << 10;
/// How many files are named at most.
const NAMED: usize = 5;

/// A message and a hint.
pub(super) type Explanation = (String, String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    Read,
    Write,
    /// Changing something that is declared as a dependency.
    Change,
    /// Removing or renaming an output.
    Replace,
    /// Writing outside of the project.
    Outside,
    /// Reading outside of the project.
    ReadOutside,
}

/// Reads the end of a log, not further back than `from`.
pub(super) fn end_of(log: &Path, from: u64) -> String {
    let read = || {
        let mut file = fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(SEARCHED).max(from)))?;
        let mut bytes = Vec::new();
        file.take(SEARCHED).read_to_end(&mut bytes)?;
        std::io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

/// Explains a failure under the sandbox, if its output points to one.
pub(super) fn explain(
    root: &Path,
    project_file: &str,
    step: &Step,
    declared: &Declared,
    output: &str,
) -> Option<Explanation> {
    let lines: Vec<&str> = output.lines().collect();
    let refused: Vec<usize> = (0..lines.len()).filter(|at| is_refusal(lines[*at])).collect();
    let places = match &step.action {
        Action::Run { command } => Places::of(root, command),
        Action::Sql { .. } | Action::Train(_) => Places::default(),
    };
    let mut found: Vec<(Attempt, String)> = Vec::new();
    for at in &refused {
        // Some programs name the file first and give the reason on a later line.
        for line in (at.saturating_sub(3)..=*at).rev().map(|at| lines[at]) {
            let attempts = attempts(root, &places, declared, line, true);
            let any = !attempts.is_empty();
            for attempt in attempts {
                if !found.contains(&attempt) {
                    found.push(attempt);
                }
            }
            if any {
                break;
            }
        }
    }
    let certain = !refused.is_empty();
    if found.is_empty() && !certain {
        for line in &lines[lines.len().saturating_sub(40)..] {
            let named = attempts(root, &places, declared, line, false);
            found.extend(
                named
                    .into_iter()
                    .filter(|(attempt, path)| *attempt == Attempt::Read && root.join(path).is_file()),
            );
        }
    }
    found.truncate(NAMED);
    let place = format!("step `{}` ({project_file}:{})", step.name, step.line);
    let Some((attempt, path)) = found.first().cloned() else {
        let hint = "the sandbox refuses what a step does not declare: add what it reads to `deps` and what it writes \
                    to `outs`, or set `sandbox: off` on the step to see whether that is the reason";
        return certain
            .then(|| (format!("step `{}` was refused access to a file", step.name), hint.to_owned()));
    };
    let paths = |wanted: Attempt, quote: &str| {
        let paths = found.iter().filter(|(attempt, _)| *attempt == wanted);
        paths.map(|(_, path)| format!("{quote}{path}{quote}")).collect::<Vec<_>>().join(", ")
    };
    let all = |key: &str, wanted: Attempt| format!("add {} to `{key}:` of {place}", paths(wanted, "`"));
    let name = &step.name;
    Some(match attempt {
        Attempt::Read if certain => (
            format!("step `{name}` tried to read `{path}`, which it does not declare"),
            all("deps", Attempt::Read),
        ),
        Attempt::Read => (
            format!("step `{name}` failed, and its output names `{path}`, which it does not declare"),
            format!("if it reads that file, {}", all("deps", Attempt::Read)),
        ),
        Attempt::Write => (
            format!("step `{name}` tried to write `{path}`, which it does not declare"),
            format!("{}, or write temporary files to `$TMPDIR`", all("outs", Attempt::Write)),
        ),
        Attempt::Change => (
            format!("step `{name}` tried to change `{path}`, which it declares as something it reads"),
            format!("write to another path and declare that in `outs:` of {place}"),
        ),
        Attempt::Replace => (
            format!("step `{name}` tried to remove or rename its output `{path}`"),
            "write into it: Tidemill removes old outputs before a step runs, and keeps their place"
                .to_owned(),
        ),
        Attempt::ReadOutside => (
            format!("step `{name}` tried to read `{path}`, which is outside of the project folder"),
            format!(
                "data belongs into the project, where a change of it is noticed; to read it where it is, add `sandbox: \
                 {{read: [{}]}}` to {place}",
                paths(Attempt::ReadOutside, "")
            ),
        ),
        Attempt::Outside => (
            format!("step `{name}` tried to write `{path}`, which is outside of the project folder"),
            format!(
                "write below the project folder and declare it in `outs:`, or set `sandbox: off` on {place}"
            ),
        ),
    })
}

/// An output of the step of which its output says that it exists already.
pub(super) fn existing_out<'a>(step: &'a Step, output: &str) -> Option<&'a str> {
    let exists = |path: &str| output.lines().any(|line| line.contains("File exists") && line.contains(path));
    step.outs.iter().map(|out| out.path.as_str()).find(|path| exists(path))
}

fn is_refusal(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    [
        "permission denied",
        "permissionerror",
        "eacces",
        "os error 13",
        "cross-device link",
        "operation not permitted",
    ]
    .iter()
    .any(|sign| line.contains(sign))
}

fn is_write(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    [
        "cannot create",
        "cannot touch",
        "cannot make",
        "cannot remove",
        "cannot move",
        "cannot overwrite",
        "can't create",
        "for writing",
        "to write",
        "not writable",
        "couldn't write",
        "mkdir",
    ]
    .iter()
    .any(|sign| line.contains(sign))
}

fn is_removal(line: &str) -> bool {
    ["cannot remove", "cannot move", "cannot unlink", "rename", "cross-device"]
        .iter()
        .any(|sign| line.contains(sign))
}

/// What a line says was attempted, for every path in it that is not declared.
fn attempts(
    root: &Path,
    places: &Places,
    declared: &Declared,
    line: &str,
    refused: bool,
) -> Vec<(Attempt, String)> {
    let mut found: Vec<(Attempt, String)> = Vec::new();
    for Candidate { text, certain } in candidates(line) {
        let folders = places.folders(line, &text);
        let mut here: Vec<String> = folders.iter().filter_map(|folder| inside(root, folder, &text)).collect();
        // What exists is what was meant; the sort keeps the order of the folders otherwise.
        here.sort_by_key(|path| fs::symlink_metadata(root.join(path)).is_err());
        let attempt = here.into_iter().find_map(|path| {
            let attempt = classify(root, declared, line, &path, refused, certain)?;
            Some((attempt, path))
        });
        let outside = || {
            // Lines of a trace back name sources that were read.
            if !(refused && certain && is_write_or_plain(line)) {
                return None;
            }
            let path = folders.iter().find_map(|folder| beyond(root, folder, &text))?;
            let place = path.parent().is_some_and(Path::is_dir) && path.components().count() > 2;
            // What is there already is read, unless the line says otherwise.
            let read = path.exists() && !is_write(line);
            if read && path.is_file() && fs::File::open(&path).is_err() {
                // Nobody may read it, whatever the sandbox does.
                return None;
            }
            let attempt = if read { Attempt::ReadOutside } else { Attempt::Outside };
            place.then(|| (attempt, path.display().to_string()))
        };
        if let Some(attempt) = attempt.or_else(outside)
            && !found.contains(&attempt)
        {
            found.push(attempt);
        }
    }
    // A path in the project says more than an interpreter or library outside of it that the line also names.
    let within = |attempt: &Attempt| !matches!(attempt, Attempt::Outside | Attempt::ReadOutside);
    if found.iter().any(|(attempt, _)| within(attempt)) {
        found.retain(|(attempt, _)| within(attempt));
    }
    found
}

/// The absolute path of something outside of the project.
fn beyond(root: &Path, folder: &str, candidate: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in root.join(folder).join(candidate).components() {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    // A word of a message is no path.
    let named = candidate.contains('/');
    (named && !path.starts_with(root)).then_some(path)
}

fn classify(
    root: &Path,
    declared: &Declared,
    line: &str,
    path: &str,
    refused: bool,
    certain: bool,
) -> Option<Attempt> {
    let full = root.join(path);
    let exists = fs::symlink_metadata(&full).is_ok();
    if declared.may_write(path) {
        return (refused && is_removal(line) && declared.outs.iter().any(|out| out == path))
            .then_some(Attempt::Replace);
    }
    if declared.may_read(path) {
        let change = refused && full.is_file() && declared.reads.iter().any(|read| read == path);
        return (change && is_write_or_plain(line)).then_some(Attempt::Change);
    }
    if exists {
        return Some(if is_write(line) { Attempt::Write } else { Attempt::Read });
    }
    let folder = full.parent().is_some_and(Path::is_dir);
    // A bare word of a message is no path; a name that does not exist yet must look like one.
    let named = path.contains(['/', '.']) || is_write(line);
    (refused && certain && folder && named).then_some(Attempt::Write)
}

/// A declared file may be read, so a refusal that names it is about writing; lines of a trace back name sources.
fn is_write_or_plain(line: &str) -> bool {
    !line.trim_start().starts_with("File \"")
}

/// A piece of a line that may be a path.
#[derive(Debug, PartialEq)]
struct Candidate {
    text: String,
    /// It stands in quotes or where messages name the file, so it is taken for a path even if nothing is there.
    certain: bool,
}

const VERBS: [&str; 6] =
    ["cannot create ", "cannot open ", "can't create ", "can't open ", "cannot read ", "cannot touch "];

/// Between quotes, in front of the reason, then between colons and between spaces.
fn candidates(line: &str) -> Vec<Candidate> {
    let line = line.trim();
    let mut certain = Vec::new();
    for (open, close) in [('\'', '\''), ('"', '"'), ('`', '`'), ('‘', '’'), ('“', '”'), ('`', '\'')] {
        let mut from = 0;
        while let Some(at) = line[from..].find(open).map(|at| from + at) {
            let start = at + open.len_utf8();
            // An apostrophe inside of a word opens nothing.
            let opens = !line[..at].ends_with(char::is_alphanumeric);
            let Some(end) = line[start..].find(close).filter(|_| opens).map(|end| start + end) else {
                from = start;
                continue;
            };
            certain.push(&line[start..end]);
            from = end + close.len_utf8();
        }
    }
    if let Some((before, _)) =
        line.split_once("Permission denied").or_else(|| line.split_once("permission denied"))
    {
        let named = before.trim_end_matches([' ', ':', '(']).rsplit(": ").next().unwrap_or(before);
        let named = VERBS.iter().find_map(|verb| named.strip_prefix(verb)).unwrap_or(named);
        if !named.contains(['\'', '"', '`', '[']) {
            certain.push(named);
        }
    }
    let mut possible: Vec<&str> = line.split(": ").collect();
    for word in line.split_whitespace() {
        let word = word.trim_matches(|c: char| "()[]{}<>,;:'\"`‘’“”".contains(c));
        possible.push(word);
        possible.extend(word.split_once(':').map(|(path, _)| path));
        possible.extend(word.split_once('=').map(|(_, path)| path));
    }
    let all =
        certain.into_iter().map(|text| (text, true)).chain(possible.into_iter().map(|text| (text, false)));
    let mut unique: Vec<Candidate> = Vec::new();
    for (text, certain) in all {
        let text = text.strip_prefix("file://").unwrap_or(text);
        let fits = !text.is_empty() && text.len() < 4096 && !text.contains('\0');
        if fits && !unique.iter().any(|known| known.text == text) {
            unique.push(Candidate { text: text.to_owned(), certain });
        }
    }
    unique
}

/// The path relative to the project, if it names something below it that is not Tidemill's own.
fn inside(root: &Path, folder: &str, candidate: &str) -> Option<String> {
    let path = Path::new(candidate);
    let relative = if path.is_absolute() {
        path.strip_prefix(root).ok()?.to_owned()
    } else {
        Path::new(folder).join(path)
    };
    let mut parts: Vec<&str> = Vec::new();
    for component in relative.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => drop(parts.pop()?),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty() && parts[0] != ".tidemill").then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tidemill_core::declare::{Out, Retry, Sandbox};

    use super::*;

    fn step(command: &str) -> Step {
        Step {
            name: "train".to_owned(),
            action: Action::Run { command: command.to_owned() },
            inputs: Vec::new(),
            deps: Vec::new(),
            params: BTreeMap::new(),
            env: BTreeMap::new(),
            outs: vec![Out { path: "model.bin".to_owned(), metrics: false, persist: false }],
            timeout: None,
            retry: Retry::default(),
            sandbox: Sandbox::On,
            reads: Vec::new(),
            description: None,
            line: 12,
        }
    }

    fn check(command: &str, output: &str, expected: Option<(&str, &str)>) {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        for path in [
            "data/x.csv",
            "data/my file.csv",
            "declared.csv",
            "sub/deep.py",
            "sub/helpers.py",
            "helpers.py",
            "model.bin",
        ] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), "x").unwrap();
        }
        let declared = Declared {
            reads: vec!["declared.csv".to_owned()],
            outs: vec!["model.bin".to_owned()],
            tools: vec![".venv".to_owned()],
        };
        let output = output.replace("ROOT", root.to_str().unwrap());
        let found = explain(&root, "tidemill.yaml", &step(command), &declared, &output);
        let found = found.as_ref().map(|(message, hint)| (message.as_str(), hint.as_str()));
        let prefix = |pair: Option<(&str, &str)>| pair.map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(prefix(found), prefix(expected), "{output}");
    }

    #[test]
    fn the_undeclared_file_is_named() {
        let read = |path: &str| {
            (
                format!("step `train` tried to read `{path}`, which it does not declare"),
                format!("add `{path}` to `deps:` of step `train` (tidemill.yaml:12)"),
            )
        };
        for (command, output, path) in [
            ("", "cat: data/x.csv: Permission denied", "data/x.csv"),
            ("", "cat: 'data/my file.csv': Permission denied", "data/my file.csv"),
            ("", "cat: data/my file.csv: Permission denied", "data/my file.csv"),
            ("", "PermissionError: [Errno 13] Permission denied: './data/x.csv'", "data/x.csv"),
            ("", "PermissionError: [Errno 13] Permission denied: 'ROOT/helpers.py'", "helpers.py"),
            (
                "",
                "Error: cannot open `data/x.csv`\n\nCaused by:\n    Permission denied (os error 13)",
                "data/x.csv",
            ),
            ("", "java.io.FileNotFoundException: data/x.csv (Permission denied)", "data/x.csv"),
            (
                "cd sub && python deep.py",
                "python: can't open file 'deep.py': [Errno 13] Permission denied",
                "sub/deep.py",
            ),
            // The same name is in both folders.
            ("cd sub && cat helpers.py", "cat: helpers.py: Permission denied", "sub/helpers.py"),
            ("cd sub && cat ../helpers.py", "cat: ../helpers.py: Permission denied", "helpers.py"),
            ("(cd sub; true) && cat helpers.py", "cat: helpers.py: Permission denied", "helpers.py"),
            ("", "sh: 1: cannot open data/x.csv: Permission denied", "data/x.csv"),
        ] {
            let (message, hint) = read(path);
            check(command, output, Some((&message, &hint)));
        }
    }

    #[test]
    fn writes_are_told_from_reads() {
        let place = "step `train` (tidemill.yaml:12)";
        let write = |path: &str| {
            (
                format!("step `train` tried to write `{path}`, which it does not declare"),
                format!("add `{path}` to `outs:` of {place}, or write temporary files to `$TMPDIR`"),
            )
        };
        for (output, path) in [
            ("sh: 1: cannot create data/new.csv: Permission denied", "data/new.csv"),
            ("PermissionError: [Errno 13] Permission denied: 'log.txt'", "log.txt"),
            ("mkdir: cannot create directory 'plots': Permission denied", "plots"),
            ("touch: cannot touch 'data/x.csv': Permission denied", "data/x.csv"),
        ] {
            let (message, hint) = write(path);
            check("", output, Some((&message, &hint)));
        }
        let change = "step `train` tried to change `declared.csv`, which it declares as something it reads";
        let hint = format!("write to another path and declare that in `outs:` of {place}");
        check("", "sh: 1: cannot create declared.csv: Permission denied", Some((change, &hint)));
        let replace = "step `train` tried to remove or rename its output `model.bin`";
        let hint = "write into it: Tidemill removes old outputs before a step runs, and keeps their place";
        check("", "rm: cannot remove 'model.bin': Permission denied", Some((replace, hint)));
    }

    #[test]
    fn data_outside_of_the_project_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let data = fs::canonicalize(folder.path()).unwrap().join("data.csv");
        fs::write(&data, "1").unwrap();
        let data = data.display().to_string();
        let message = format!("step `train` tried to read `{data}`, which is outside of the project folder");
        let hint = format!(
            "data belongs into the project, where a change of it is noticed; to read it where it is, add `sandbox: {{read: \
             [{data}]}}` to step `train` (tidemill.yaml:12)"
        );
        for line in [
            "cat: DATA: Permission denied",
            "PermissionError: [Errno 13] Permission denied: 'DATA'",
            "IO Error: Cannot open file \"DATA\": Permission denied",
            "Error in file(file, \"rt\") : cannot open file 'DATA': Permission denied",
        ] {
            check("", &line.replace("DATA", &data), Some((&message, &hint)));
        }
        let new = data.replace("data.csv", "new.csv");
        let message = format!("step `train` tried to write `{new}`, which is outside of the project folder");
        let hint = "write below the project folder and declare it in `outs:`, or set `sandbox: off` on step `train` \
                    (tidemill.yaml:12)";
        check("", &format!("sh: 1: cannot create {new}: Permission denied"), Some((&message, hint)));
    }

    #[test]
    fn other_failures_are_not_blamed_on_the_sandbox() {
        check("", "ValueError: could not convert string to float: 'abc'", None);
        check("", "  File \"ROOT/declared.csv\", line 3, in main\nKeyError: 'x'", None);
        let message = "step `train` failed, and its output names `data/x.csv`, which it does not declare";
        let hint = "if it reads that file, add `data/x.csv` to `deps:` of step `train` (tidemill.yaml:12)";
        check("", "[Fatal] Could not open data file data/x.csv", Some((message, hint)));
        let (message, hint) = (
            "step `train` was refused access to a file",
            "the sandbox refuses what a step does not declare: add what it reads to `deps` and what it writes to \
             `outs`, or set `sandbox: off` on the step to see whether that is the reason",
        );
        check("", "fatal: Permission denied", Some((message, hint)));
    }
}

//! `tidemill init`: a working project, from a table and a target column if they are named.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use tidemill_core::declare::{Expectation, Severity, SplitBy, TaskKind};
use tidemill_core::{Name, did_you_mean};
use tidemill_data::infer::{ColumnProposal, Role};
use tidemill_data::{Proposal, Table, propose};

use crate::app::{PROJECT_FILE, git, reason};
use crate::cli::{Global, Init};
use crate::failure::Failure;
use crate::output::{Console, plural};

pub(crate) fn run(args: &Init, global: &Global, console: &Console) -> anyhow::Result<()> {
    let root = match &global.project {
        Some(dir) => dir.clone(),
        None => std::env::current_dir().context("cannot tell the current folder")?,
    };
    if !root.is_dir() {
        fs_err::create_dir_all(&root).map_err(|error| {
            Failure::new(format!("cannot create `{}`: {}", root.display(), reason(&error)))
        })?;
    }
    let root = fs_err::canonicalize(&root)?;
    let file = root.join(PROJECT_FILE);
    if file.exists() && !args.force {
        return Err(Failure::usage(format!("`{}` exists already", file.display()))
            .hint("`--force` overwrites it")
            .into());
    }
    let name = project_name(args.name.as_deref(), &root)?;
    let files = match (&args.data, &args.target, &args.dvc) {
        (Some(data), Some(target), _) => from_table(&name, data, target, &root, console)?,
        (_, _, Some(dvc)) => from_dvc(&name, dvc, global, console)?,
        _ => empty(&name),
    };
    let created: Vec<PathBuf> = files.iter().map(|(path, _)| path.clone()).collect();
    // The project file comes last: it is there only when everything that it names is.
    for (path, text) in files {
        write(&root.join(&path), &text)?;
    }
    add_lines(&root.join(".gitattributes"), &["tidemill.lock merge=tidemill"])?;
    add_lines(&root.join(".gitignore"), &["/.tidemill/"])?;
    install_merge_driver(&root);
    if console.json() {
        return console.value(&json!({"project": name, "folder": root, "created": created}));
    }
    console.line(format!("created {}", file.display()));
    console.hint("`tidemill check` looks at it, `tidemill run` runs it");
    Ok(())
}

fn project_name(given: Option<&str>, root: &Path) -> anyhow::Result<Name> {
    if let Some(text) = given {
        return Name::new(text)
            .map_err(|error| Failure::usage(format!("`{text}` cannot name a project: {error}")).into());
    }
    let folder = root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let text: String = folder
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
        .collect();
    Ok(Name::new(text.trim_start_matches(['-', '.'])).or_else(|_| Name::new("project"))?)
}

/// Writes a file whole or not at all.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent)?;
    }
    let temporary = path.with_extension("tidemill-tmp");
    let written = fs_err::write(&temporary, text).and_then(|()| fs_err::rename(&temporary, path));
    if let Err(error) = written {
        let _ = fs_err::remove_file(&temporary);
        return Err(Failure::new(format!("cannot write `{}`: {}", path.display(), reason(&error))).into());
    }
    Ok(())
}

/// Adds lines to a file where they are missing.
fn add_lines(path: &Path, lines: &[&str]) -> anyhow::Result<()> {
    let mut text = fs_err::read_to_string(path).unwrap_or_default();
    let before = text.len();
    for line in lines {
        if !text.lines().any(|known| known == *line) {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(line);
            text.push('\n');
        }
    }
    if text.len() == before { Ok(()) } else { write(path, &text) }
}

/// Tells Git, where the project is in a repository, how the lock file is merged. Every clone has its own settings, so
/// the guide names the command too; a driver that is set already stays.
fn install_merge_driver(root: &Path) {
    const KEY: &str = "merge.tidemill.driver";
    if git(root, &["rev-parse", "--git-dir"]).is_some() && git(root, &["config", KEY]).is_none() {
        git(root, &["config", "--local", "merge.tidemill.name", "steps of tidemill.lock"]);
        git(root, &["config", "--local", KEY, "tidemill merge-lock %O %A %B"]);
    }
}

/// The pipeline of a `dvc.yaml` as a project file. Data that DVC tracks stay where they are.
fn from_dvc(
    name: &Name,
    dvc: &Path,
    global: &Global,
    console: &Console,
) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let path = global.project.as_ref().map_or_else(|| dvc.to_owned(), |root| root.join(dvc));
    let text = fs_err::read_to_string(&path).map_err(|error| {
        Failure::usage(format!("cannot read `{}`: {}", path.display(), reason(&error)))
            .hint("`--dvc` takes the path of a dvc.yaml, and looks in the project folder without one")
    })?;
    let imported = tidemill_project::from_dvc(&text)?;
    for line in imported.lines().filter_map(|line| line.strip_prefix("# Not carried over: ")) {
        console.warn(format!("not carried over: {line}"));
    }
    let named = imported.replacen("project: imported\n", &format!("project: {}\n", scalar(name.as_str())), 1);
    Ok(vec![(PathBuf::from(PROJECT_FILE), named)])
}

/// A project to start from: one command, one file.
fn empty(name: &Name) -> Vec<(PathBuf, String)> {
    let text = format!(
        "# Every key is described by `tidemill schema` and in docs/reference/project-file.md.
project: {name}

# data:
#   customers: {{path: data/customers.parquet, expect: [{{not_null: [id]}}]}}

params:
  greeting: hello

pipeline:
  # A step runs again when its command, its inputs or the parameters that it names change.
  hello:
    run: echo \"${{greeting}}, world\" > hello.txt
    outs: [hello.txt]
"
    );
    vec![(PathBuf::from(PROJECT_FILE), text)]
}

/// A project that learns `target` from a table.
fn from_table(
    name: &Name,
    data: &Path,
    target: &str,
    root: &Path,
    console: &Console,
) -> anyhow::Result<Vec<(PathBuf, String)>> {
    if !data.exists() {
        return Err(Failure::usage(format!("there is no file `{}`", data.display()))
            .hint("`--data` is relative to the current folder")
            .into());
    }
    let table = Table::open(&[data.to_owned()], None)?;
    if table.column(target).is_err() {
        let names = table.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>();
        return Err(Failure::usage(format!("`{}` has no column `{target}`", data.display()))
            .hint_maybe(did_you_mean(target, names))
            .into());
    }
    let proposal = propose(&table, target)?;
    let path = placed(data, root)?;
    let dataset = dataset_name(data);
    report(&proposal, data, console);
    let features = features_sql(&proposal, &dataset);
    let project = project_text(name, &dataset, &path, &proposal)?;
    Ok(vec![(PathBuf::from("sql/features.sql"), features), (PathBuf::from(PROJECT_FILE), project)])
}

/// The table's path in the project; a table outside of it is copied to `data/`.
fn placed(data: &Path, root: &Path) -> anyhow::Result<String> {
    let absolute = fs_err::canonicalize(data)?;
    if let Ok(inside) = absolute.strip_prefix(root) {
        return Ok(inside.to_string_lossy().into_owned());
    }
    let name = absolute.file_name().context("the table has no file name")?;
    let relative = Path::new("data").join(name);
    let dest = root.join(&relative);
    if !dest.exists() {
        fs_err::create_dir_all(root.join("data"))?;
        let temporary = dest.with_extension("tidemill-tmp");
        fs_err::copy(&absolute, &temporary)?;
        fs_err::rename(&temporary, &dest)?;
    }
    Ok(relative.to_string_lossy().into_owned())
}

/// A name for the dataset that is also a plain table name in SQL.
fn dataset_name(data: &Path) -> String {
    let stem = data.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = stem.split('.').next().unwrap_or_default();
    let text: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    let reserved = ["table", "select", "from", "where", "order", "group", "values", "features"];
    match text.chars().next() {
        Some(first) if first.is_ascii_alphabetic() && !reserved.contains(&text.as_str()) => text,
        _ => format!("data_{text}"),
    }
}

fn report(proposal: &Proposal, data: &Path, console: &Console) {
    let kind = match proposal.task.kind {
        TaskKind::Classification => "classification",
        TaskKind::Regression => "regression",
    };
    console.note(format!("{}: {}", data.display(), plural(proposal.rows, "row")));
    console.note(format!("  {kind} of `{}`: {}", proposal.task.target, proposal.task_reason));
    console.note(format!("  split: {}", proposal.split_reason));
    for column in proposal.columns.iter().filter(|column| proposal.drop.contains(&column.name)) {
        console.note(format!("  leaves out `{}`: {}", column.name, column.reason));
    }
    for note in &proposal.notes {
        console.note(format!("  {note}"));
    }
}

/// The feature query: every column that is learnt from, one a line, ready to be edited.
fn features_sql(proposal: &Proposal, dataset: &str) -> String {
    let keep = |name: &String| {
        !proposal.drop.contains(name) || proposal.time.as_ref() == Some(name) || proposal.key.contains(name)
    };
    let columns: Vec<String> = proposal
        .columns
        .iter()
        .filter(|column| column.role == Role::Target || keep(&column.name))
        .map(|column| format!("  {}", selected(column)))
        .collect();
    format!(
        "-- One row for each example: the columns to learn from, and the target.\n-- Take out what is known only \
         after the fact.\nselect\n{}\nfrom {dataset}\n",
        columns.join(",\n")
    )
}

/// A column of the feature query.
fn selected(column: &ColumnProposal) -> String {
    let name = quoted(&column.name);
    match column.role {
        Role::DecimalComma { grouped: false } => {
            format!("cast(replace({name}, ',', '.') as double) as {name}")
        }
        Role::DecimalComma { grouped: true } => {
            format!("cast(replace(replace({name}, '.', ''), ',', '.') as double) as {name}")
        }
        _ => name,
    }
}

/// An SQL identifier, quoted where it has to be.
fn quoted(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && name.chars().next().is_some_and(|c| !c.is_ascii_digit());
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn project_text(name: &Name, dataset: &str, path: &str, proposal: &Proposal) -> anyhow::Result<String> {
    let classification = proposal.task.kind == TaskKind::Classification;
    let mut text = format!("project: {name}\n\nobjective:\n");
    let task = serde_json::to_value(&proposal.task)?;
    let _ =
        writeln!(text, "  # Say which decision the model supports, and what errors cost:\n  # decision: …");
    if classification && proposal.task.positive.is_some() {
        let _ = writeln!(text, "  # costs: {{currency: EUR, false_negative: 100, false_positive: 10}}");
    }
    let _ = writeln!(text, "  task: {}", flow(&task));
    if let Some(time) = &proposal.time {
        let _ = writeln!(text, "  time: {}", scalar(time));
    }
    let _ = write!(text, "\ndata:\n  {dataset}:\n    path: {}\n", scalar(path));
    if let Some(time) = &proposal.time {
        let _ = writeln!(text, "    time: {}", scalar(time));
    }
    if !proposal.key.is_empty() {
        let _ = writeln!(text, "    key: {}", flow(&serde_json::to_value(&proposal.key)?));
    }
    if !proposal.expect.is_empty() {
        text.push_str("    expect:\n");
        for expectation in &proposal.expect {
            let _ = writeln!(text, "      - {}", entry(expectation)?);
        }
    }
    let _ = write!(
        text,
        "\npipeline:\n  features:\n    sql: sql/features.sql\n    inputs: [{dataset}]\n    outs: [features.parquet]\n"
    );
    let simple = if classification { "logistic" } else { "ridge" };
    for (step, algorithm, comment) in
        [("train", "gbdt", None), ("simple", simple, Some("What a simple model reaches on the same rows."))]
    {
        if let Some(comment) = comment {
            let _ = writeln!(text, "  # {comment}");
        }
        let _ = write!(
            text,
            "  {step}:\n    train:\n      algorithm: {algorithm}\n      features: features.parquet\n"
        );
        // Columns that only identify a row or say when it happened are kept for joins and splits, not learnt from.
        let mut drop: Vec<&String> = proposal.key.iter().collect();
        if let Some(time) = proposal.time.as_ref().filter(|_| proposal.split.by != SplitBy::Time) {
            drop.push(time);
        }
        drop.sort();
        drop.dedup();
        if !drop.is_empty() {
            let _ = writeln!(text, "      drop: {}", flow(&serde_json::to_value(&drop)?));
        }
        if !proposal.categorical.is_empty() {
            let _ =
                writeln!(text, "      categorical: {}", flow(&serde_json::to_value(&proposal.categorical)?));
        }
        let _ = writeln!(text, "      split: {}", flow(&serde_json::to_value(&proposal.split)?));
        if algorithm == "gbdt" {
            let _ = writeln!(text, "      gbdt: {{rounds: 300, early_stopping: 20}}");
        }
        let _ = write!(text, "      seed: 7\n    outs: [{}]\n", if step == "train" { "model" } else { step });
    }
    text.push_str("\ntests:\n  - baseline: {beats: prior}\n");
    Ok(text)
}

/// An expectation as an entry of a list; the severity only where it is not the default.
pub(crate) fn entry(expectation: &Expectation) -> anyhow::Result<String> {
    let mut value = serde_json::to_value(expectation)?;
    if let Some(map) = value.as_object_mut() {
        map.remove("severity");
    }
    let rule = flow(&value);
    Ok(match expectation.severity() {
        severity if severity == Expectation::new(expectation.rule.clone()).severity() => {
            rule.trim_start_matches('{').strip_suffix('}').unwrap_or(&rule).to_owned()
        }
        Severity::Error => format!("{}, severity: error}}", rule.strip_suffix('}').unwrap_or(&rule)),
        Severity::Warn => format!("{}, severity: warn}}", rule.strip_suffix('}').unwrap_or(&rule)),
    })
}

/// A value as YAML in one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let parts: Vec<String> =
                map.iter().map(|(key, value)| format!("{}: {}", scalar(key), flow(value))).collect();
            format!("{{{}}}", parts.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(text) => scalar(text),
        // As people write it: 4, not 4.0.
        Value::Number(found) => match found.as_f64() {
            Some(whole) if found.is_f64() && whole.fract() == 0.0 && whole.abs() < 1e15 => whole.to_string(),
            _ => found.to_string(),
        },
        Value::Null | Value::Bool(_) => value.to_string(),
    }
}

/// A text as a YAML scalar: plain where every reader agrees that it is text, quoted as JSON otherwise.
fn scalar(text: &str) -> String {
    let plain = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let word = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    if plain && !word.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        Value::String(text.to_owned()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_one_line() {
        let value =
            serde_json::json!({"between": {"column": "a b", "min": 0, "max": null}, "values": ["no", "x"]});
        let text = flow(&value);
        assert!(text.contains(r#""a b""#) && text.contains(r#"["no", x]"#), "{text}");
    }

    #[test]
    fn table_names_are_plain() {
        for (file, name) in [
            ("customers.csv", "customers"),
            ("2013-01.parquet", "data_2013_01"),
            ("My Data.csv.gz", "my_data"),
        ] {
            assert_eq!(dataset_name(Path::new(file)), name);
        }
    }

    #[test]
    fn identifiers_are_quoted_where_they_must_be() {
        assert_eq!(
            (quoted("a_1"), quoted("Total"), quoted("a\"b")),
            ("a_1".into(), "\"Total\"".into(), "\"a\"\"b\"".into())
        );
    }
}

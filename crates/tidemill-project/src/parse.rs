//! From bytes to a checked project.

use serde::Deserialize;

use crate::check::check;
use crate::node::Kind;
use crate::report::{Diagnostic, Report};
use crate::schema::{Walk, project_schema};
use crate::source::Source;
use crate::{Project, yaml};

/// Parses and checks a project file. `file` is its name in messages.
///
/// Checks everything that can be known from the text alone: shape, types, names, references between sections,
/// outputs, cycles. Parameter files are not read here: see [`crate::resolve`].
///
/// # Errors
/// Every problem that was found, each with its place, what was expected and a hint.
pub fn parse(text: &str, file: &str) -> Result<Project, Report> {
    parse_bytes(text.as_bytes(), file)
}

/// [`parse`] for bytes that may not even be text.
pub fn parse_bytes(bytes: &[u8], file: &str) -> Result<Project, Report> {
    let text = yaml::text_of(bytes, file)?;
    let mut tree = yaml::parse(&text, file)?;
    crate::alias::apply(&mut tree);
    let mut report = Report::default();
    match &tree.kind {
        Kind::Map(_) => {}
        Kind::Null => {
            let hint = "begin with `project: NAME`, or let `tidemill init` write the file".to_owned();
            report.push(file, &text, Diagnostic::new(&(0..0), "the file is empty").hint(Some(hint)));
            return Err(report);
        }
        _ => {
            let problem =
                Diagnostic::new(&tree.span, format!("a project file is a map, not {}", tree.describe()));
            let hint = "begin with `project: NAME`".to_owned();
            report.push(file, &text, problem.expected("`key: value` lines").hint(Some(hint)));
            return Err(report);
        }
    }
    let mut walk = Walk::new(project_schema(), true);
    let first = tree.entries().first().map_or(0..0, |entry| entry.key_span.clone());
    walk.compare(&tree, project_schema(), &first);
    for problem in walk.problems {
        report.push(file, &text, problem);
    }
    let mut report_or = |project: Project| std::mem::take(&mut report).into_result(project);
    let mut project = match Project::deserialize(tree.clone()) {
        Ok(project) => report_or(project)?,
        Err(error) => {
            if report.diagnostics.is_empty() {
                report.push(file, &text, Diagnostic::new(&first, error.to_string()));
            }
            return Err(report.into_result(()).err().unwrap_or_default());
        }
    };
    project.source = Source::new(file, text, tree);
    check(&project).into_result(project)
}

/// Writes a project as YAML. What is printed parses to an equal project.
///
/// # Errors
/// Values that YAML files cannot hold: numbers that are not finite.
pub fn print(project: &Project) -> Result<String, serde_json::Error> {
    let json = serde_json::to_string(project)?;
    Ok(yaml::print(&serde_json::from_str(&json)?))
}

/// What a fuzzer calls: parses, and where that goes well prints, parses again and resolves. Panics only where
/// this crate is wrong.
pub fn fuzz_entry(data: &[u8]) {
    struct Nothing;
    impl crate::Files for Nothing {
        fn read(&self, _: &str) -> std::io::Result<String> {
            Ok("a: {b: [1, 2]}\nc: text\n".to_owned())
        }
    }
    match parse_bytes(data, crate::FILE_NAME) {
        Ok(project) => {
            let again = print(&project).ok().map(|text| parse(&text, crate::FILE_NAME));
            assert!(
                again.is_none_or(|again| again.is_ok_and(|again| again == project)),
                "a printed project does not read back"
            );
            if let Err(report) = crate::resolve(&project, &Nothing, &[]) {
                let _ = report.render(false);
            }
        }
        Err(report) => {
            assert!(!report.diagnostics.is_empty(), "an error without a reason");
            let _ = (report.render(true), report.to_string());
        }
    }
}

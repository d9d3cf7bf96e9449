//! `tidemill schema`, and the reference pages that are generated from this program.

use std::fmt::Write as _;

use clap::CommandFactory as _;

use crate::cli::{Cli, DocsPage};
use crate::output::Console;

pub(crate) fn schema(console: &Console) -> anyhow::Result<()> {
    console.value(&tidemill_project::json_schema())
}

pub(crate) fn run(page: DocsPage, console: &Console) -> anyhow::Result<()> {
    match page {
        DocsPage::Schema => schema(console)?,
        DocsPage::ProjectFile => console.line(tidemill_project::reference().trim_end()),
        DocsPage::Cli => console.line(commands().trim_end()),
    }
    Ok(())
}

/// The page of all commands, from their own help.
fn commands() -> String {
    let mut root = Cli::command();
    root.build();
    let mut page = String::from(
        "# Command line\n\nGenerated from the program's own help. Data go to standard output, all else to standard \
         error; see [exit codes](exit-codes.md).\n",
    );
    describe(&mut root, "tidemill", &mut page);
    page
}

fn describe(command: &mut clap::Command, path: &str, page: &mut String) {
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    let _ = write!(page, "\n## `{path}`\n\n```text\n{}\n```\n", help.join("\n"));
    for child in command.get_subcommands_mut() {
        if !child.is_hide_set() && child.get_name() != "help" {
            let path = format!("{path} {}", child.get_name());
            describe(child, &path, page);
        }
    }
}

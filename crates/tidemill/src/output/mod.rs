//! Everything that is printed: data goes to standard output, all else to standard error.

mod bar;
mod plain;
mod table;

use std::cell::Cell;
use std::io::{IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

pub(crate) use bar::Bar;
pub(crate) use plain::{bytes, count, duration, number, percent, plural};
pub(crate) use table::{Align, Table};

use crate::cli::{ColorWhen, Global};

/// Bold.
pub(crate) const STRONG: Style = Style::new().bold();
/// What is good.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What needs attention.
pub(crate) const CAUTION: Style = AnsiColor::Yellow.on_default();
/// What failed.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// What may be overlooked.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// Where a command prints.
pub(crate) struct Console {
    json: bool,
    quiet: bool,
    out_color: bool,
    err_color: bool,
    terminal: bool,
    closed: Cell<bool>,
}

impl Console {
    /// Looks once at the options, the terminal and `NO_COLOR`.
    pub(crate) fn new(global: &Global) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let color = |terminal: bool| match global.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => terminal && !plain,
        };
        let terminal = std::io::stderr().is_terminal();
        Self {
            json: global.json,
            quiet: global.quiet,
            out_color: color(std::io::stdout().is_terminal()),
            err_color: color(terminal),
            terminal,
            closed: Cell::new(false),
        }
    }

    /// Whether data are to be printed as JSON.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// Whether standard error is a terminal that shows progress.
    pub(crate) fn shows_progress(&self) -> bool {
        self.terminal && !self.quiet && !self.json
    }

    /// Whether only results, warnings and errors are wanted.
    pub(crate) fn quiet(&self) -> bool {
        self.quiet
    }

    /// Whether standard error is coloured.
    pub(crate) fn err_color(&self) -> bool {
        self.err_color
    }

    /// One line of data.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        self.write_out(text.as_ref());
    }

    /// Data as they are, which need not be text.
    pub(crate) fn bytes(&self, data: &[u8]) {
        let mut out = std::io::stdout().lock();
        if !self.closed.get() && out.write_all(data).and_then(|()| out.flush()).is_err() {
            self.closed.set(true);
        }
    }

    /// One value as JSON, in one line each if `compact`.
    pub(crate) fn value<T: Serialize + ?Sized>(&self, value: &T) -> anyhow::Result<()> {
        self.write_out(&serde_json::to_string_pretty(value)?);
        Ok(())
    }

    /// One value as one line of JSON.
    pub(crate) fn json_line<T: Serialize + ?Sized>(&self, value: &T) -> anyhow::Result<()> {
        self.write_out(&serde_json::to_string(value)?);
        Ok(())
    }

    /// A table of data.
    pub(crate) fn table(&self, table: &Table) {
        for line in table.lines(if self.out_color { Some(STRONG) } else { None }) {
            self.write_out(&line);
        }
    }

    /// A remark for people; not printed with `--quiet`.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            self.write_err(text.as_ref());
        }
    }

    /// Something that needs attention and does not stop the command.
    pub(crate) fn warn(&self, text: impl AsRef<str>) {
        let head = self.err(CAUTION.bold(), "warning");
        self.write_err(&format!("{head}: {}", text.as_ref()));
    }

    /// The error that ends the command, with its causes and a hint.
    pub(crate) fn error(&self, message: &str, causes: &[String], hint: Option<&str>) {
        if self.json {
            let value = serde_json::json!({"error": {"message": message, "causes": causes, "hint": hint}});
            self.write_out(&value.to_string());
        }
        let head = self.err(BAD.bold(), "error");
        self.write_err(&format!("{head}: {message}"));
        for cause in causes {
            self.write_err(&format!("  {} {cause}", self.err(FAINT, "caused by:")));
        }
        if let Some(hint) = hint {
            self.hint(hint);
        }
    }

    /// Text that is laid out already.
    pub(crate) fn problem(&self, text: &str) {
        self.write_err(text.trim_end());
    }

    /// What to do next.
    pub(crate) fn hint(&self, text: &str) {
        let head = self.err(AnsiColor::Cyan.on_default().bold(), "hint");
        let text = text.replace('\n', "\n      ");
        self.write_err(&format!("{head}: {text}"));
    }

    /// `text` in `style` where standard output is coloured.
    pub(crate) fn out(&self, style: Style, text: impl std::fmt::Display) -> String {
        if self.out_color { format!("{style}{text}{style:#}") } else { text.to_string() }
    }

    /// `text` in `style` where standard error is coloured.
    pub(crate) fn err(&self, style: Style, text: impl std::fmt::Display) -> String {
        if self.err_color { format!("{style}{text}{style:#}") } else { text.to_string() }
    }

    fn write_out(&self, text: &str) {
        // A reader that went away (`| head`) is not an error of ours; the rest is simply not wanted.
        if !self.closed.get() && writeln!(std::io::stdout().lock(), "{text}").is_err() {
            self.closed.set(true);
        }
    }

    fn write_err(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
}

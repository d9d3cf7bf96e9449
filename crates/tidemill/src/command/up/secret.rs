//! The file that holds the server's token.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tidemill_server::Token;

use crate::app::reason;
use crate::failure::Failure;
use crate::output::Console;

/// Shorter secrets can be guessed.
const SHORT: usize = 16;

/// Reads the token that clients are asked for.
pub(super) fn read(file: &Path, console: &Console) -> anyhow::Result<Token> {
    text(file, console).map(|secret| Token::new(&secret))
}

/// Reads a token: the file's only line.
pub(in crate::command) fn text(file: &Path, console: &Console) -> anyhow::Result<String> {
    line(file, "token", console)
}

/// Reads a secret: the file's only line. `what` is what people call it.
pub(super) fn line(file: &Path, what: &str, console: &Console) -> anyhow::Result<String> {
    const MAKE: &str = "for example `openssl rand -hex 32 > FILE && chmod 600 FILE`";
    let shown = file.display();
    let unreadable = |error: std::io::Error| {
        Failure::usage(format!("cannot read the {what} in `{shown}`: {}", reason(&error))).hint(MAKE)
    };
    let text = fs_err::read_to_string(file).map_err(unreadable)?;
    let secret = text.trim();
    if secret.is_empty() {
        return Err(Failure::usage(format!("the file `{shown}` holds no {what}")).hint(MAKE).into());
    }
    if secret.lines().count() > 1 || secret.chars().any(char::is_control) {
        return Err(Failure::usage(format!("the file `{shown}` holds more than one line")).hint(MAKE).into());
    }
    let mode = fs_err::metadata(file).map_err(unreadable)?.mode();
    if mode & 0o044 != 0 {
        console.warn(format!("other users can read the {what} in `{shown}`; `chmod 600` it"));
    }
    if secret.len() < SHORT {
        console.warn(format!("the {what} in `{shown}` is short enough to be guessed; {MAKE}"));
    }
    Ok(secret.to_owned())
}

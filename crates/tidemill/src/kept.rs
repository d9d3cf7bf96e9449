//! Work by hand that a run found in the place of an output: a line for each in `.tidemill/kept`, which protects what
//! was stored of it from collections for some time.

use std::io::Write as _;
use std::path::Path;

use tidemill_core::Timestamp;
use tidemill_pipeline::SetAside;

/// The file's name in `.tidemill/`.
const FILE: &str = "kept";
/// How long it stays: thirty days.
const KEPT_MS: i64 = 30 * 24 * 3600 * 1000;

/// Adds a line; durable on return.
pub(crate) fn add(home: &Path, aside: &SetAside) -> std::io::Result<()> {
    // It continues no line that a crash cut off: begun on a line of its own, it can be read whatever is before it.
    let mut line = vec![b'\n'];
    serde_json::to_writer(&mut line, aside)?;
    line.push(b'\n');
    let mut file = fs_err::OpenOptions::new().append(true).create(true).open(home.join(FILE))?;
    file.write_all(&line)?;
    file.sync_all()?;
    fs_err::File::open(home)?.sync_all()
}

/// What is still kept at this time. A line that a crash cut off says nothing.
pub(crate) fn read(home: &Path, now: Timestamp) -> std::io::Result<Vec<SetAside>> {
    let text = match fs_err::read(home.join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let lines = text.split(|byte| *byte == b'\n');
    let all = lines.filter_map(|line| serde_json::from_slice::<SetAside>(line).ok());
    Ok(all.filter(|aside| aside.at.millis().saturating_add(KEPT_MS) > now.millis()).collect())
}

/// Forgets what has been kept long enough.
pub(crate) fn forget_old(home: &Path, now: Timestamp) -> std::io::Result<()> {
    if !home.join(FILE).exists() {
        return Ok(());
    }
    let mut text = Vec::new();
    for aside in read(home, now)? {
        text.extend(serde_json::to_vec(&aside)?);
        text.push(b'\n');
    }
    let new = home.join(format!(".{FILE}.{}.tmp", std::process::id()));
    let mut file = fs_err::File::create(&new)?;
    file.write_all(&text)?;
    // Only what is on the disk may take the place of what protects.
    file.sync_all()?;
    fs_err::rename(new, home.join(FILE))
}

#[cfg(test)]
mod tests {
    use tidemill_core::{Digest, RunId};
    use tidemill_pipeline::{Content, ContentKind};

    use super::*;

    #[test]
    fn kept_for_thirty_days() {
        let folder = tempfile::tempdir().unwrap();
        let day = |day: i64| Timestamp::from_millis(day * 24 * 3600 * 1000);
        let aside = |at| SetAside {
            run: RunId::from_entropy([1; 16]),
            at,
            step: "a".to_owned(),
            path: "out".to_owned(),
            content: Content { digest: Digest::of(b"x"), kind: ContentKind::File, bytes: 1 },
        };
        assert_eq!(read(folder.path(), day(0)).unwrap(), []);
        for at in [1, 20] {
            add(folder.path(), &aside(day(at))).unwrap();
        }
        // As a crash leaves it.
        let file = folder.path().join(FILE);
        let text = fs_err::read_to_string(&file).unwrap();
        fs_err::write(&file, format!("{text}{}", &text[..20])).unwrap();
        assert_eq!(read(folder.path(), day(30)).unwrap(), [aside(day(1)), aside(day(20))]);
        // What is kept next is not lost with it.
        add(folder.path(), &aside(day(25))).unwrap();
        assert_eq!(read(folder.path(), day(30)).unwrap(), [aside(day(1)), aside(day(20)), aside(day(25))]);
        assert_eq!(read(folder.path(), day(32)).unwrap(), [aside(day(20)), aside(day(25))]);
        forget_old(folder.path(), day(32)).unwrap();
        assert_eq!(read(folder.path(), day(2)).unwrap(), [aside(day(20)), aside(day(25))]);
    }
}

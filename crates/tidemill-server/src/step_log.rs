//! What steps of the pipeline printed: the end of it for pages, and all of it. A log that is stored is looked at once; one
//! that is being written only as far as it has grown.

use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use futures::stream;
use tidemill_core::{Digest, RunId};
use tidemill_pipeline::log_file;
use tidemill_registry::{Code, Error};
use tokio::task::spawn_blocking;

use crate::App;

/// Bytes at the end of a log that are shown.
const END: usize = 256 << 10;
/// Bytes that are read at once.
const BLOCK: usize = 128 << 10;
/// Logs of each kind that are remembered.
const KEPT: usize = 16;

/// The end of a log, from the beginning of a line on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// Lines before it.
    pub(crate) before: usize,
    /// What it says. Where a single line is too long, it begins with an ellipsis.
    pub(crate) text: String,
}

/// Ends of logs that were looked at.
#[derive(Default)]
pub(crate) struct Ends(Mutex<Known>);

#[derive(Default)]
struct Known {
    stored: Vec<(Digest, Arc<End>)>,
    files: Vec<(PathBuf, Counted)>,
}

/// How far the lines of a file were counted.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    bytes: u64,
    lines: usize,
    /// Whether a line goes on there.
    inside: bool,
}

/// Takes bytes and keeps the last of them.
#[derive(Default)]
struct Ending {
    kept: Vec<u8>,
    left_out: Counted,
}

impl Counted {
    fn pass(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.lines += bytes.iter().filter(|byte| **byte == b'\n').count();
        if let Some(last) = bytes.last() {
            self.inside = *last != b'\n';
        }
    }
}

impl Ending {
    fn take(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        // Cut now and then, so that a long log is moved a few times only.
        if self.kept.len() > 2 * END {
            self.leave_out(self.kept.len() - END);
        }
    }

    fn leave_out(&mut self, count: usize) {
        self.left_out.pass(&self.kept[..count]);
        self.kept.drain(..count);
    }

    fn done(mut self) -> End {
        self.leave_out(self.kept.len().saturating_sub(END));
        // The rest of a line without its beginning goes as well, where others follow.
        let next = self.kept.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        if let Some(next) = next.filter(|next| self.left_out.inside && *next < self.kept.len()) {
            self.leave_out(next);
        }
        let cut = if self.left_out.inside { "…" } else { "" };
        End { before: self.left_out.lines, text: format!("{cut}{}", String::from_utf8_lossy(&self.kept)) }
    }
}

fn keep<K: PartialEq, V>(known: &mut Vec<(K, V)>, key: K, value: V) {
    known.retain(|(other, _)| *other != key);
    known.push((key, value));
    let more = known.len().saturating_sub(KEPT);
    known.drain(..more);
}

impl Ends {
    fn known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The end of a log that will not change any more; nothing where it is not there to be opened.
    fn of_stored(
        &self,
        digest: Digest,
        open: impl FnOnce() -> io::Result<Option<Source>>,
    ) -> io::Result<Option<Arc<End>>> {
        let find = |known: &mut Known| known.stored.iter().find(|(key, _)| *key == digest).cloned();
        if let Some((_, end)) = self.known(find) {
            return Ok(Some(end));
        }
        let Some(mut source) = open()? else { return Ok(None) };
        let (mut ending, mut block) = (Ending::default(), vec![0; BLOCK]);
        loop {
            match source.read(&mut block)? {
                0 => break,
                count => ending.take(&block[..count]),
            }
        }
        let end = Arc::new(ending.done());
        self.known(|known| keep(&mut known.stored, digest, Arc::clone(&end)));
        Ok(Some(end))
    }

    /// The end of a file that may grow. What was counted before is not read again.
    fn of_file(&self, path: &Path) -> io::Result<End> {
        let mut file = fs_err::File::open(path)?;
        let size = file.metadata()?.len();
        let find =
            |known: &mut Known| known.files.iter().find(|(key, _)| key == path).map(|(_, found)| *found);
        let mut counted = self.known(find).unwrap_or_default();
        let start = size.saturating_sub(END as u64);
        if counted.bytes > start {
            // It is a new file of this name.
            counted = Counted::default();
        }
        file.seek(SeekFrom::Start(counted.bytes))?;
        let mut block = vec![0; BLOCK];
        while counted.bytes < start {
            let wanted = usize::try_from(start - counted.bytes).unwrap_or(BLOCK).min(BLOCK);
            match file.read(&mut block[..wanted])? {
                0 => break,
                count => counted.pass(&block[..count]),
            }
        }
        self.known(|known| keep(&mut known.files, path.to_owned(), counted));
        let mut ending = Ending { kept: Vec::new(), left_out: counted };
        file.take(END as u64).read_to_end(&mut ending.kept)?;
        Ok(ending.done())
    }
}

type Source = Box<dyn Read + Send>;

/// A log in the store; nothing where it is not there any more.
fn stored(app: &App, digest: Digest) -> io::Result<Option<Source>> {
    let store = app.registry().store();
    if !store.contains(&digest).map_err(io::Error::other)? {
        return Ok(None);
    }
    Ok(Some(Box::new(store.read(&digest).map_err(io::Error::other)?)))
}

/// The file that a step prints into while it runs, where this server is on the same machine.
fn file(app: &App, run: RunId, step: &str) -> Option<PathBuf> {
    let folder = app.config().step_logs.as_ref()?;
    let named = log_file(run, step);
    Some(folder.join(named.strip_prefix(".tidemill/runs/")?))
}

async fn reading<T: Send + 'static>(
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let read = spawn_blocking(read).await.map_err(io::Error::other).and_then(|read| read);
    read.map_err(|error| {
        let mut failure = Error::new(Code::InternalError, "the log of a step cannot be read");
        failure.source = Some(Box::new(error));
        failure
    })
}

/// The end of what a step printed, from its stored log or else its file; empty where there is neither.
pub(crate) async fn end(app: &App, run: RunId, step: &str, log: Option<Digest>) -> Result<Arc<End>, Error> {
    let (app, file) = (app.clone(), file(app, run, step));
    reading(move || {
        if let Some(digest) = log
            && let Some(end) = app.log_ends().of_stored(digest, || stored(&app, digest))?
        {
            return Ok(end);
        }
        // A file that cannot be read is as one that is not there: steps of other machines print elsewhere.
        let found = file.and_then(|file| app.log_ends().of_file(&file).ok());
        Ok(Arc::new(found.unwrap_or_default()))
    })
    .await
}

/// All that a step printed, as it is read; nothing where it is neither in the store nor in a file.
pub(crate) async fn whole(
    app: &App,
    run: RunId,
    step: &str,
    log: Option<Digest>,
) -> Result<Option<Body>, Error> {
    let (app, file) = (app.clone(), file(app, run, step));
    let source = reading(move || {
        if let Some(digest) = log
            && let Some(source) = stored(&app, digest)?
        {
            return Ok(Some(source));
        }
        let Some(file) = file.and_then(|file| fs_err::File::open(file).ok()) else { return Ok(None) };
        // What is printed meanwhile is left out: a step may be faster than whoever reads.
        let size = file.metadata()?.len();
        Ok(Some(Box::new(file.take(size)) as Source))
    })
    .await?;
    Ok(source.map(|source| {
        // Threads are held only while they read.
        Body::from_stream(stream::try_unfold(source, |mut source| async move {
            let read = spawn_blocking(move || {
                let mut block = Vec::with_capacity(BLOCK);
                source.by_ref().take(BLOCK as u64).read_to_end(&mut block).map(|_| (block, source))
            });
            let (block, source) = read.await.map_err(io::Error::other)??;
            Ok::<_, io::Error>((!block.is_empty()).then(|| (Bytes::from(block), source)))
        }))
    }))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn lines(from: usize, to: usize) -> String {
        (from..to).map(|n| format!("line {n} of a log that is long enough\n")).collect()
    }

    fn end_of(text: &str) -> End {
        let mut ending = Ending::default();
        text.as_bytes().chunks(1000).for_each(|bytes| ending.take(bytes));
        ending.done()
    }

    #[test]
    fn lines_before_the_end_are_counted() {
        for count in [3, 20_000, 100_000] {
            let end = end_of(&lines(0, count));
            assert!(end.text.len() <= END);
            assert!(end.text.starts_with(&format!("line {} ", end.before)), "{count}: {}", &end.text[..40]);
            assert_eq!(end.before + end.text.lines().count(), count);
        }
    }

    #[test]
    fn a_line_that_is_too_long_shows_that_it_is_cut() {
        let end = end_of(&format!("first\n{}", "x".repeat(END * 2)));
        assert!(end.text.starts_with("…xxx"));
        assert_eq!((end.before, end.text.lines().count()), (1, 1));
        assert_eq!(end_of("one\ntwo"), End { before: 0, text: "one\ntwo".into() });
    }

    #[test]
    fn a_file_that_grows_is_counted_once() {
        let (folder, ends) = (tempfile::tempdir().unwrap(), Ends::default());
        let path = folder.path().join("step.log");
        let mut file = fs_err::File::create(&path).unwrap();
        let mut from = 0;
        for to in [2, 9_000, 9_001, 30_000] {
            file.write_all(lines(from, to).as_bytes()).unwrap();
            let end = ends.of_file(&path).unwrap();
            assert_eq!(end, end_of(&lines(0, to)), "{to}");
            from = to;
        }
        // Half a line is not the beginning of one.
        file.write_all(b"half").unwrap();
        assert!(ends.of_file(&path).unwrap().text.ends_with("half"));
        fs_err::write(&path, "anew\n").unwrap();
        assert_eq!(ends.of_file(&path).unwrap(), End { before: 0, text: "anew\n".into() });
    }

    #[test]
    fn a_stored_log_is_read_once() {
        let (ends, digest) = (Ends::default(), Digest::of(b"log"));
        assert_eq!(ends.of_stored(digest, || Ok(None)).unwrap(), None);
        let first = ends.of_stored(digest, || Ok(Some(Box::new(io::Cursor::new(lines(0, 10)))))).unwrap();
        let again = ends.of_stored(digest, || Err(io::Error::other("read again"))).unwrap();
        assert!(first.is_some() && first == again);
    }
}

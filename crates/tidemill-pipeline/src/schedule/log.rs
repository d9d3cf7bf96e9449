//! A step's output: to its log file byte for byte, to the observer line by line, and the last lines kept for the
//! message when it fails. Memory is bounded whatever the step prints.

use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;

use fs_err as fs;
use tidemill_core::{Digest, RunId};

use crate::executor::Output;
use crate::{Error, Observer};

/// Longer lines are shown in pieces of this many bytes.
const LONGEST: usize = 8 << 10;
/// Lines kept.
const TAIL: usize = 20;
/// Characters kept of each of them.
const TAIL_WIDTH: usize = 2_000;

/// The file, relative to the project folder, that a step of a run prints into while it runs. Bytes that may not stand
/// in a file name are written `%XX`; a name too long for a file ends in its digest.
pub fn log_file(run: RunId, step: &str) -> String {
    let mut name = String::new();
    for byte in step.bytes() {
        if byte.is_ascii_alphanumeric() || b"_-.@=,".contains(&byte) {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    if name.len() > 200 {
        name.truncate(180);
        name.push_str(&Digest::of(step.as_bytes()).short());
    }
    format!(".tidemill/runs/{run}/{name}.log")
}

pub(super) struct StepLog<'a> {
    file: fs::File,
    observer: &'a dyn Observer,
    step: &'a str,
    line: Vec<u8>,
    /// A carriage return came last: the line is overwritten unless it ends here.
    returned: bool,
    tail: VecDeque<String>,
    /// Bytes in the file.
    length: u64,
    attempt_start: u64,
}

impl<'a> StepLog<'a> {
    /// Creates the log file, with its folder.
    pub(super) fn create(path: &Path, observer: &'a dyn Observer, step: &'a str) -> Result<Self, Error> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = fs::File::create(path)?;
        Ok(Self {
            file,
            observer,
            step,
            line: Vec::new(),
            returned: false,
            tail: VecDeque::new(),
            length: 0,
            attempt_start: 0,
        })
    }

    /// Adds a line of our own.
    pub(super) fn remark(&mut self, text: &str) -> Result<(), Error> {
        self.finish_line();
        self.length += text.len() as u64 + 1;
        Ok(writeln!(self.file, "{text}")?)
    }

    /// Ends the last line if the step did not.
    pub(super) fn finish_line(&mut self) {
        if !self.line.is_empty() {
            self.emit();
        }
        self.returned = false;
    }

    /// The last lines.
    pub(super) fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }

    /// Forgets the last lines, before another attempt.
    pub(super) fn begin_attempt(&mut self) {
        self.tail.clear();
        self.attempt_start = self.length;
    }

    /// Where in the file the current attempt's output begins.
    pub(super) const fn attempt_start(&self) -> u64 {
        self.attempt_start
    }

    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let (text, end) = match piece.split_last() {
                Some((end @ (b'\n' | b'\r'), text)) => (text, Some(*end)),
                _ => (piece, None),
            };
            if self.returned && (!text.is_empty() || end == Some(b'\r')) {
                self.line.clear();
                self.returned = false;
            }
            for part in text.chunks(LONGEST) {
                if self.line.len() + part.len() > LONGEST {
                    self.emit();
                }
                self.line.extend_from_slice(part);
            }
            match end {
                Some(b'\n') => {
                    self.emit();
                    self.returned = false;
                }
                Some(_) => self.returned = true,
                None => {}
            }
        }
    }

    fn emit(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        self.observer.step_line(self.step, &line);
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line.chars().take(TAIL_WIDTH).collect());
        self.line.clear();
    }
}

impl Output for StepLog<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        self.take(bytes);
        Ok(())
    }
}

impl Write for StepLog<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Output::write(self, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl Observer for Lines {
        fn step_line(&self, _: &str, line: &str) {
            self.0.lock().unwrap().push(line.to_owned());
        }
    }

    #[test]
    fn output_becomes_lines_however_it_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let text = b"one\r\ntwo\n10%\r20%\r\n\n\xffx\nlast";
        for size in 1..=text.len() {
            let (lines, path) = (Lines::default(), folder.path().join("a/b.log"));
            let mut log = StepLog::create(&path, &lines, "s").unwrap();
            for piece in text.chunks(size) {
                Output::write(&mut log, piece).unwrap();
            }
            log.finish_line();
            let expected = ["one", "two", "20%", "", "\u{fffd}x", "last"];
            assert_eq!(log.tail(), expected, "pieces of {size}");
            assert_eq!(*lines.0.lock().unwrap(), expected);
            assert_eq!(fs::read(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory() {
        let folder = tempfile::tempdir().unwrap();
        let lines = Lines::default();
        let mut log = StepLog::create(&folder.path().join("b.log"), &lines, "s").unwrap();
        for _ in 0..100 {
            Output::write(&mut log, &[b'x'; 10_000]).unwrap();
            assert!(log.line.capacity() <= 4 * LONGEST);
        }
        log.finish_line();
        assert!(log.tail().len() <= TAIL && log.tail().iter().all(|line| line.len() <= TAIL_WIDTH));
        assert_eq!(lines.0.lock().unwrap().iter().map(String::len).sum::<usize>(), 1_000_000);
    }
}

//! `tidemill rollout judge`: the judge as a filter between other programs.

use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};

use clap::Args;
use tidemill_deliver::filter::{Filter, MAX_LINE};

use crate::failure::{Exit, Said};
use crate::output::{Console, plural};

/// Reads JSON lines from standard input, one look of one run each, and answers exactly one line for each on standard
/// output: `{"run":…,"seq":…,"decision":"continue"}`, `"rollback"` or `"promote"`. A decision is final for its run. A line
/// that is wrong is answered by `{"run":…,"seq":…,"error":…}`, changes nothing, and makes the exit code 1 at the end.
#[derive(Debug, Args)]
pub(crate) struct Judge {
    /// Refuse lines of further runs after so many
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    max_runs: usize,
}

pub(super) fn run(args: &Judge, console: &Console) -> anyhow::Result<()> {
    let mut filter = Filter::new(args.max_runs);
    match answer_all(&mut filter, io::stdin().lock(), io::stdout().lock()) {
        // Whoever reads the answers has enough of them.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
        other => other?,
    }
    match filter.refused() {
        0 => Ok(()),
        refused => {
            console.warn(format!("{} could not be judged; their answers say why", plural(refused, "line")));
            Err(Said(Exit::Failed).into())
        }
    }
}

/// Answers every line. Answers leave at once when no further line is there yet, so that a router may wait for each.
fn answer_all(filter: &mut Filter, input: impl Read, output: impl Write) -> io::Result<()> {
    let mut input = BufReader::with_capacity(MAX_LINE, input);
    let mut output = BufWriter::new(output);
    let mut line = Vec::new();
    while next_line(&mut input, &mut line)? {
        writeln!(output, "{}", filter.answer(&line))?;
        if input.buffer().is_empty() {
            output.flush()?;
        }
    }
    output.flush()
}

/// Reads a line without its end; `false` at the end of the input. Of a line that is too long, only the beginning is kept.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut is_there = false;
    loop {
        let buffer = match input.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        };
        if buffer.is_empty() {
            break;
        }
        is_there = true;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        let room = (MAX_LINE + 1).saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        let used = end.map_or(buffer.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            break;
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(is_there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_answered_also_the_last_and_the_endless_one() {
        let mut text = b"nonsense\r\n\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 3 * MAX_LINE));
        text.extend_from_slice(b"\nlast");
        let (mut filter, mut answers) = (Filter::new(10), Vec::new());
        answer_all(&mut filter, text.as_slice(), &mut answers).unwrap();
        let answers = String::from_utf8(answers).unwrap();
        let lines: Vec<&str> = answers.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[1].contains("the line is empty") && lines[2].contains("longer than"), "{answers}");
        assert_eq!(filter.refused(), 4);
    }
}

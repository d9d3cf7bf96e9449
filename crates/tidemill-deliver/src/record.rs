//! What an environment runs, as a file for Git: written for people and for programs that compare it with what they see.
//!
//! The text is a function of what the log says of one change, so that writing it twice gives the same bytes.

use tidemill_core::{Digest, Timestamp};

use crate::release::Release;

/// What an environment runs after a change.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvironmentRecord {
    /// The environment.
    pub environment: String,
    /// The endpoint.
    pub endpoint: String,
    /// What answers its requests; nothing where the first release of all went back.
    pub runs: Option<Release>,
    /// The release that went back with this change, and why.
    pub rolled_back: Option<(Release, String)>,
    /// The rollout whose end the change is.
    pub rollout: u64,
    /// When.
    pub at: Timestamp,
    /// Who made the release of the rollout.
    pub by: String,
    /// The event that the rollout goes back to, in words; nothing where somebody released by hand.
    pub cause: Option<String>,
}

impl EnvironmentRecord {
    /// The file, as YAML.
    pub fn text(&self) -> String {
        let Self { environment, endpoint, rollout, .. } = self;
        let mut lines = vec![
            format!("# What `{environment}` runs at `{endpoint}`. Written after each change, never read."),
            format!("environment: {}", scalar(environment)),
            format!("endpoint: {}", scalar(endpoint)),
        ];
        match &self.runs {
            Some(release) => {
                lines.push("runs:".to_owned());
                lines.extend(described(release));
            }
            None => lines.push("runs: null".to_owned()),
        }
        if let Some((release, reason)) = &self.rolled_back {
            lines.push("rolled_back:".to_owned());
            lines.extend(described(release));
            lines.push(format!("  reason: {}", scalar(reason)));
        }
        lines.extend([
            "changed:".to_owned(),
            format!("  at: {}", scalar(&self.at.to_string())),
            format!("  rollout: {rollout}"),
            format!("  by: {}", scalar(&self.by)),
        ]);
        lines.extend(self.cause.iter().map(|cause| format!("  cause: {}", scalar(cause))));
        lines.join("\n") + "\n"
    }

    /// The message of the commit; its last line names the text, so that it is found again.
    pub fn message(&self) -> String {
        let Self { environment, endpoint, rollout, by, .. } = self;
        let name = |release: &Release| format!("{}@{}", release.model, release.version);
        let runs = self.runs.as_ref().map_or_else(|| "nothing".to_owned(), name);
        let (title, why) = match &self.rolled_back {
            None => (format!("{environment} runs {runs} at {endpoint}"), None),
            Some((release, why)) => {
                let title = format!("{environment} went back from {} at {endpoint}", name(release));
                (title, Some(format!("It runs {runs}. Why: {why}\n\n")))
            }
        };
        let cause = self.cause.as_ref().map(|cause| format!(", because of {cause}")).unwrap_or_default();
        format!(
            "{title}\n\n{}Rollout {rollout}, released by {by}{cause}.\n\n{}\n",
            why.unwrap_or_default(),
            self.mark()
        )
    }

    /// The line of the message by which a commit of this record is known.
    pub fn mark(&self) -> String {
        format!("{MARK} {}", Digest::of(self.text().as_bytes()))
    }
}

/// How the line begins by which commits of records are known.
pub const MARK: &str = "Tidemill-Record:";

fn described(release: &Release) -> Vec<String> {
    let mut lines = vec![
        format!("  model: {}", scalar(&release.model)),
        format!("  version: {}", release.version),
        format!("  release: {}", release.digest()),
        format!("  files: {}", release.content),
    ];
    lines.extend(release.threshold.map(|threshold| format!("  threshold: {threshold}")));
    lines.extend(release.commit.iter().map(|commit| format!("  commit: {}", scalar(commit))));
    lines
}

/// A text as YAML takes it for a text.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./@".contains(c))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    // JSON's strings are YAML's, too.
    if is_plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: u64) -> Release {
        Release {
            model: "late".into(),
            version,
            content: Digest::of(b"model"),
            threshold: Some(0.37),
            signature: None,
            runtime: "tidemill".into(),
            commit: None,
            evidence: Vec::new(),
        }
    }

    fn record() -> EnvironmentRecord {
        EnvironmentRecord {
            environment: "prod".into(),
            endpoint: "late".into(),
            runs: Some(release(2)),
            rolled_back: None,
            rollout: 7,
            at: Timestamp::from_millis(1_800_000_000_000),
            by: "ada".into(),
            cause: None,
        }
    }

    #[test]
    fn a_release_that_runs() {
        let (digest, files) = (release(2).digest(), Digest::of(b"model"));
        let text = format!(
            "# What `prod` runs at `late`. Written after each change, never read.\n\
             environment: prod\nendpoint: late\nruns:\n  model: late\n  version: 2\n  release: {digest}\n  \
             files: {files}\n  threshold: 0.37\nchanged:\n  at: \"2027-01-15T08:00:00Z\"\n  rollout: 7\n  by: ada\n"
        );
        assert_eq!(record().text(), text);
        let mark = Digest::of(text.as_bytes());
        let message =
            format!("prod runs late@2 at late\n\nRollout 7, released by ada.\n\nTidemill-Record: {mark}\n");
        assert_eq!(record().message(), message);
    }

    #[test]
    fn a_release_that_went_back() {
        let why = "ada: it says \"no\"\nto all".to_owned();
        let cause = Some("job 3 of data-rows".to_owned());
        let back = EnvironmentRecord { rolled_back: Some((release(3), why)), cause, ..record() };
        let text = back.text();
        assert!(text.contains("rolled_back:\n  model: late\n  version: 3\n"), "{text}");
        assert!(text.contains("  reason: \"ada: it says \\\"no\\\"\\nto all\"\n"), "{text}");
        assert!(text.ends_with("  by: ada\n  cause: \"job 3 of data-rows\"\n"), "{text}");
        let message = back.message();
        assert!(
            message.starts_with("prod went back from late@3 at late\n\nIt runs late@2. Why: ada"),
            "{message}"
        );
        assert!(message.contains("released by ada, because of job 3 of data-rows."), "{message}");
        let nothing = EnvironmentRecord { runs: None, ..back };
        assert!(nothing.text().contains("\nruns: null\nrolled_back:\n"), "{}", nothing.text());
        assert!(nothing.message().contains("It runs nothing."), "{}", nothing.message());
    }

    #[test]
    fn texts_stay_texts() {
        for (text, written) in [
            ("prod", "prod"),
            ("late.staging", "late.staging"),
            ("No", "\"No\""),
            ("1e3", "\"1e3\""),
            ("a: b", "\"a: b\""),
            ("", "\"\""),
            ("late@3", "late@3"),
            ("#x", "\"#x\""),
        ] {
            assert_eq!(scalar(text), written);
        }
    }
}

//! What is kept of requests where an endpoint declares nothing itself: of the command line, else of the project file.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use tidemill_project::Redaction;
use tidemill_serve::record::{RecordsSpec, Redact};

use crate::failure::Failure;

/// A day in seconds.
const DAY: u64 = 86_400;

/// The options of servers.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RecordDefaults {
    /// Record this share of the requests, 0 to 1, of endpoints that do not declare it themselves
    #[arg(long, value_name = "SHARE")]
    pub(crate) record_sample: Option<f64>,
    /// Keep these columns as keyed hashes or not at all; `entity` is what a request is about
    #[arg(long, value_delimiter = ',', value_name = "COLUMN=hash|drop,…", value_parser = column)]
    pub(crate) record_redact: Vec<(String, Redact)>,
    /// Remove records and outcomes after this time, in whole days, as in `90d`
    #[arg(long, value_name = "TIME", value_parser = days)]
    pub(crate) record_keep: Option<u32>,
    /// Remove the oldest records of an endpoint while all have more bytes than this
    #[arg(long, value_name = "BYTES")]
    pub(crate) record_keep_bytes: Option<u64>,
}

impl RecordDefaults {
    /// With what the project file says of what was not given.
    pub(crate) fn spec(
        &self,
        project: Option<&tidemill_project::RecordDefaults>,
    ) -> Result<RecordsSpec, Failure> {
        let own = RecordsSpec {
            sample: self.record_sample,
            redact: self.record_redact.iter().cloned().collect(),
            keep_days: self.record_keep,
            keep_bytes: self.record_keep_bytes,
        };
        own.check().map_err(Failure::usage)?;
        Ok(own.or(&project.map(of_project).unwrap_or_default()))
    }
}

fn of_project(declared: &tidemill_project::RecordDefaults) -> RecordsSpec {
    let how = |redaction: &Redaction| match redaction {
        Redaction::Hash => Redact::Hash,
        Redaction::Drop => Redact::Drop,
    };
    let redact: BTreeMap<String, Redact> =
        declared.redact.iter().map(|(column, redaction)| (column.clone(), how(redaction))).collect();
    RecordsSpec {
        sample: declared.sample,
        redact,
        keep_days: declared.keep.and_then(|keep| whole_days(keep.0)),
        keep_bytes: declared.keep_bytes,
    }
}

fn whole_days(time: Duration) -> Option<u32> {
    let is_whole = time.as_secs().is_multiple_of(DAY) && time.subsec_nanos() == 0 && !time.is_zero();
    is_whole.then(|| u32::try_from(time.as_secs() / DAY).ok()).flatten()
}

/// `90d`.
pub(crate) fn days(text: &str) -> Result<u32, String> {
    let tidemill_project::Period(time) = text.parse()?;
    whole_days(time).ok_or_else(|| format!("`{text}` is not a number of whole days, as in `90d`"))
}

/// `email=hash`.
pub(crate) fn column(text: &str) -> Result<(String, Redact), String> {
    let (name, how) = text
        .rsplit_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| format!("`{text}` is not COLUMN=hash or COLUMN=drop"))?;
    let how = match how {
        "hash" => Redact::Hash,
        "drop" => Redact::Drop,
        other => return Err(format!("`{other}` is neither `hash` nor `drop`")),
    };
    Ok((name.to_owned(), how))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_counts_more_than_the_project_file() {
        let file =
            "project: p\nserving:\n  records: {sample: 0.5, redact: {email: hash, zip: drop}, keep: 4w}\n";
        let project = tidemill_project::parse(file, "tidemill.yaml").unwrap();
        let declared = project.serving.unwrap().records;
        let options = RecordDefaults {
            record_sample: Some(0.25),
            record_redact: vec![column("email=drop").unwrap()],
            ..RecordDefaults::default()
        };
        let spec = options.spec(declared.as_ref()).unwrap();
        assert_eq!(spec.words().as_deref(), Some("sample: 25 %, email: drop, zip: drop, 28 days"));
        let wrong = RecordDefaults { record_sample: Some(25.0), ..options };
        assert!(wrong.spec(None).unwrap_err().to_string().contains("`records.sample` is 25"));
        assert_eq!((days("90d"), days("2w")), (Ok(90), Ok(14)));
        assert!(days("36h").is_err() && days("0d").is_err() && column("email").is_err());
        assert!(column("email=blur").is_err() && column("=hash").is_err());
        for (text, why) in [
            ("sample: 2", "`sample` is too large: 2"),
            ("keep: 36h", "whole days"),
            ("keep_bytes: 0", "is 0"),
        ] {
            let file = format!("project: p\nserving:\n  records: {{{text}}}\n");
            let report = tidemill_project::parse(&file, "tidemill.yaml").unwrap_err().to_string();
            assert!(report.contains(why), "{report}");
        }
    }
}

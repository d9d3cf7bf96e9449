//! `tidemill endpoint`: what is behind the names that requests for predictions go to. A change is in effect where a server
//! of this home, or of the same database, sees it in the log: within a tenth of a second.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use serde_json::json;
use tidemill_core::Actor;
use tidemill_db::endpoints::Endpoint as Stored;
use tidemill_serve::gateway::endpoint::EndpointSpec;
use tidemill_serve::gateway::route::Arm;
use tidemill_serve::gateway::settings::ServingSettings;
use tidemill_serve::gateway::source::{ModelSource as _, Which};
use tidemill_serve::record::Redact;
use tidemill_server::{RegistrySource, endpoints};

use crate::cli::Global;
use crate::failure::Failure;
use crate::home::Opened;
use crate::output::{Align, Console, Table};
use crate::records::{column, days};

/// Endpoints that are read at once.
const PAGE: usize = 500;

#[derive(Debug, Subcommand)]
pub(crate) enum Endpoint {
    /// List endpoints with their arms
    List(Where),
    /// Print the declaration of an endpoint as JSON
    Show(Named),
    /// Make an endpoint, or change what is given of one and leave the rest
    Set(Box<Set>),
    /// Delete an endpoint; its history stays
    Delete(Named),
}

#[derive(Debug, Args)]
pub(crate) struct Where {
    /// The folder of database and store; `.tidemill` of the project, or of the current folder, where not given
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) home: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The endpoint
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) at: Where,
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    #[command(flatten)]
    pub(crate) named: Named,
    /// Begin with the declaration in FILE (JSON, as `show` prints it) instead of the one that is in effect
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// An arm that answers and its part of the requests, as in `champion=churn@3:95` or `next=churn@challenger:5`; all that are
    /// given replace those of before
    #[arg(long, value_name = "NAME=MODEL[@VERSION][:WEIGHT]", value_parser = arm)]
    pub(crate) arm: Vec<Arm>,
    /// An arm that is only shown requests, and how many percent of them, as in `idea=idea@2:20`
    #[arg(long, value_name = "NAME=MODEL[@VERSION][:PERCENT]", value_parser = arm)]
    pub(crate) shadow: Vec<Arm>,
    /// Record this share of the requests, 0 to 1
    #[arg(long, value_name = "SHARE")]
    pub(crate) sample: Option<f64>,
    /// Keep these columns as keyed hashes, not at all, or as they are; `entity` is what a request is about
    #[arg(long, value_delimiter = ',', value_name = "COLUMN=hash|drop|keep,…", value_parser = redaction)]
    pub(crate) redact: Vec<(String, Option<Redact>)>,
    /// Remove records and outcomes after this time, in whole days, as in `90d`
    #[arg(long, value_name = "TIME", value_parser = days)]
    pub(crate) keep: Option<u32>,
    /// Remove the oldest records while all have more bytes than this
    #[arg(long, value_name = "BYTES")]
    pub(crate) keep_bytes: Option<u64>,
    /// Count outcomes as late that come later than this after their requests
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(crate) late_after: Option<u64>,
    /// Join outcomes about an entity with a request at most so long before
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(crate) tolerance: Option<u64>,
    /// Only replace this revision; 0 where the endpoint must not be there yet
    #[arg(long, value_name = "N")]
    pub(crate) revision: Option<u64>,
}

pub(crate) fn run(args: &Endpoint, global: &Global, console: &Console) -> anyhow::Result<()> {
    match args {
        Endpoint::List(at) => list(&open(at, global, console)?, console),
        Endpoint::Show(named) => show(&open(&named.at, global, console)?, &named.name, console),
        Endpoint::Set(set) => change(&open(&set.named.at, global, console)?, set, console),
        Endpoint::Delete(named) => delete(&open(&named.at, global, console)?, &named.name, console),
    }
}

fn open(at: &Where, global: &Global, console: &Console) -> anyhow::Result<Opened> {
    Opened::at(at.home.as_deref(), global, console)
}

fn list(opened: &Opened, console: &Console) -> anyhow::Result<()> {
    let mut found = Vec::new();
    loop {
        let after = found.last().map(|last: &Stored| last.name.clone());
        let page = opened.block(opened.registry.db().endpoints_after(after.as_deref(), PAGE))?;
        let is_last = page.len() < PAGE;
        found.extend(page);
        if is_last {
            break;
        }
    }
    if console.json() {
        let all = found.iter().map(|stored| {
            Ok(json!({"name": stored.name, "revision": stored.revision, "spec": declared(stored)?}))
        });
        return console.value(&json!({ "endpoints": all.collect::<Result<Vec<_>, Failure>>()? }));
    }
    if found.is_empty() {
        console.note("there is no endpoint; `tidemill endpoint set NAME --arm champion=MODEL` makes one");
        return Ok(());
    }
    let mut table = Table::new(&[
        ("endpoint", Align::Left),
        ("revision", Align::Right),
        ("arms", Align::Left),
        ("records", Align::Left),
    ]);
    for stored in &found {
        let spec = declared(stored)?;
        let records = spec.records.words().unwrap_or_default();
        table.row([
            stored.name.clone(),
            stored.revision.to_string(),
            endpoints::words(&spec).join("; "),
            records,
        ]);
    }
    table.lines(None).into_iter().for_each(|line| console.line(line));
    Ok(())
}

fn show(opened: &Opened, name: &str, console: &Console) -> anyhow::Result<()> {
    let stored = opened.block(opened.registry.db().endpoint(name))?.ok_or_else(|| missing(name))?;
    let mut spec = declared(&stored)?;
    // Worked out anew for every change, so nothing that anybody declares.
    spec.allotment.clear();
    console.value(&serde_json::to_value(&spec)?)
}

fn delete(opened: &Opened, name: &str, console: &Console) -> anyhow::Result<()> {
    let actor = actor();
    let deleted = endpoints::delete(&opened.registry, None, &actor, name);
    if !opened.block(deleted).map_err(refused)? {
        return Err(missing(name).into());
    }
    if console.json() {
        return console.value(&json!({ "name": name, "deleted": true }));
    }
    console.line(format!("deleted the endpoint {name}; its history and its records stay"));
    Ok(())
}

fn change(opened: &Opened, args: &Set, console: &Console) -> anyhow::Result<()> {
    let name = args.named.name.as_str();
    let stored = opened.block(opened.registry.db().endpoint(name))?;
    let before = match (&args.file, &stored) {
        (Some(file), _) => {
            let text = fs_err::read_to_string(file)?;
            serde_json::from_str(&text).map_err(|error| {
                Failure::usage(format!("`{}` is no declaration of an endpoint: {error}", file.display()))
                    .hint("`tidemill endpoint show NAME` prints one")
            })?
        }
        (None, Some(stored)) => declared(stored)?,
        (None, None) => EndpointSpec::default(),
    };
    let spec = changed(before, args);
    for (model, which) in spec.targets() {
        is_there(opened, model, &which)?;
    }
    // What was changed is what was read.
    let read = stored.filter(|_| args.file.is_none()).map(|stored| stored.revision);
    let expected = args.revision.or(read);
    let actor = actor();
    let put = endpoints::put(&opened.registry, None, &actor, name, spec, expected);
    let change = opened.block(put).map_err(refused)?;
    if console.json() {
        return console.value(&json!({"name": name, "revision": change.revision, "spec": change.spec}));
    }
    let records = change.spec.records.words().map(|words| format!("; records: {words}")).unwrap_or_default();
    let arms = endpoints::words(&change.spec).join("; ");
    console.line(format!("{name} is at revision {}: {arms}{records}", change.revision));
    Ok(())
}

fn declared(stored: &Stored) -> Result<EndpointSpec, Failure> {
    endpoints::read(stored).map_err(|error| Failure::new(error.message))
}

/// The declaration with what was given.
fn changed(mut spec: EndpointSpec, args: &Set) -> EndpointSpec {
    if !args.arm.is_empty() {
        spec.arms.retain(|arm| arm.shadow);
        spec.arms.splice(0..0, args.arm.iter().cloned());
    }
    if !args.shadow.is_empty() {
        spec.arms.retain(|arm| !arm.shadow);
        spec.arms.extend(args.shadow.iter().map(|arm| Arm { shadow: true, ..arm.clone() }));
    }
    let records = &mut spec.records;
    records.sample = args.sample.or(records.sample);
    records.keep_days = args.keep.or(records.keep_days);
    records.keep_bytes = args.keep_bytes.or(records.keep_bytes);
    for (column, how) in &args.redact {
        match how {
            Some(how) => records.redact.insert(column.clone(), *how),
            None => records.redact.remove(column),
        };
    }
    spec.outcomes.late_after_s = args.late_after.or(spec.outcomes.late_after_s);
    spec.outcomes.tolerance_s = args.tolerance.or(spec.outcomes.tolerance_s);
    spec
}

/// Refuses a model that nobody registered, which a server could only complain about.
fn is_there(opened: &Opened, model: &str, which: &Which) -> anyhow::Result<()> {
    let scratch = opened.home.dir.join("tmp");
    let source =
        RegistrySource::new(opened.registry.clone(), Vec::new(), scratch, ServingSettings::default());
    let found = opened.block(source.resolve(model, which));
    found.map(drop).map_err(|error| Failure::new(error.to_string()).hint("register the model first").into())
}

fn actor() -> Actor {
    Actor::user(crate::app::user_name())
}

fn refused(refusal: endpoints::Refusal) -> Failure {
    Failure::new(refusal.error.message).hint(refusal.hint)
}

fn missing(name: &str) -> Failure {
    Failure::new(format!("there is no endpoint `{name}`")).hint("`tidemill endpoint list` shows them")
}

/// `champion=churn@3:95`.
fn arm(text: &str) -> Result<Arm, String> {
    let wrong = || format!("`{text}` is not NAME=MODEL, NAME=MODEL@VERSION or NAME=MODEL@VERSION:WEIGHT");
    let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
    let (model, weight) = match rest.rsplit_once(':') {
        Some((model, weight)) => (model, weight.parse().map_err(|_| wrong())?),
        None => (rest, 100.0),
    };
    let (model, version) = match model.rsplit_once('@') {
        // An alias is told by its first character, as everywhere else.
        Some((model, version)) if version.parse::<u64>().is_ok() => (model, Some(version.to_owned())),
        Some((model, alias)) => (model, Some(format!("@{alias}"))),
        None => (model, None),
    };
    if name.is_empty() || model.is_empty() || version.as_deref() == Some("@") {
        return Err(wrong());
    }
    Ok(Arm {
        name: name.to_owned(),
        model: model.to_owned(),
        version,
        weight,
        shadow: false,
        threshold: None,
    })
}

fn redaction(text: &str) -> Result<(String, Option<Redact>), String> {
    match text.strip_suffix("=keep") {
        Some(name) if !name.is_empty() => Ok((name.to_owned(), None)),
        _ => column(text).map(|(name, how)| (name, Some(how))),
    }
}

fn seconds(text: &str) -> Result<u64, String> {
    text.parse().map(|tidemill_project::Period(time)| time.as_secs())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn set(words: &[&str]) -> Box<Set> {
        let all = ["tidemill", "endpoint", "set", "churn"].iter().chain(words);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Endpoint(Endpoint::Set(set)) => set,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_given_changes_and_the_rest_stays() {
        let first = set(&[
            "--arm",
            "champion=churn@3:95",
            "--arm",
            "next=churn@challenger:5",
            "--redact",
            "email=hash,zip=drop",
        ]);
        let spec = changed(EndpointSpec::default(), &first);
        let arms: Vec<_> =
            spec.arms.iter().map(|arm| (arm.model.as_str(), arm.version.as_deref(), arm.weight)).collect();
        assert_eq!(arms, [("churn", Some("3"), 95.0), ("churn", Some("@challenger"), 5.0)]);
        let second = set(&[
            "--shadow",
            "idea=idea:20",
            "--redact",
            "zip=keep",
            "--sample",
            "0.5",
            "--keep",
            "90d",
            "--late-after",
            "1d",
        ]);
        let spec = changed(spec, &second);
        assert_eq!(spec.arms.iter().map(|arm| arm.shadow).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(spec.records.words().as_deref(), Some("sample: 50 %, email: hash, 90 days"));
        assert_eq!(spec.outcomes.late_after_s, Some(86_400));
        let third = changed(spec.clone(), &set(&["--arm", "only=churn"]));
        assert_eq!(third.arms.iter().map(|arm| arm.name.as_str()).collect::<Vec<_>>(), ["only", "idea"]);
        assert_eq!(third.records, spec.records);
    }

    #[test]
    fn arms_that_are_none() {
        for text in ["churn", "=churn", "a=", "a=churn@", "a=churn:x", "a=@3"] {
            assert!(arm(text).is_err(), "{text}");
        }
        assert_eq!(arm("a=b@c@7").unwrap().model, "b@c");
    }
}

//! What the forms of the pages of delivery do. Each goes through the functions that command line and API use.

use axum::extract::Path;
use axum::response::Response;
use tidemill_core::{Digest, Timestamp};
use tidemill_registry::Error;
use tidemill_ui::href;

use super::answer;
use super::sign_in::{Sent, see, value};
use crate::delivery::{Action, Known, Lift, NewFreeze, act, freeze, lift_freeze, lift_quarantine};

/// Text that somebody wrote into a form.
fn text<'a>(fields: &'a [(String, String)], name: &str) -> Result<&'a str, Error> {
    let text = value(fields, name).trim();
    if text.contains('\0') {
        return Err(Error::invalid("the form holds the character NUL, which stands in no text"));
    }
    Ok(text)
}

/// Approves, lets a stage pass, takes a candidate out, or ends a rollout, for a form of its page.
pub(super) async fn rollout(
    Path((id, action)): Path<(String, String)>,
    Known(identity): Known,
    sent: Sent,
) -> Response {
    let done = async {
        let fields = sent.fields()?;
        let missing = || Error::missing(format!("there is no rollout {id}"));
        let number: u64 = id.parse().map_err(|_| missing())?;
        let why = || match text(&fields, "reason")? {
            "" => Err(Error::invalid("a reason is missing: it stands in the log")),
            reason => Ok(reason.to_owned()),
        };
        let action = match action.as_str() {
            "approve" => {
                // What is approved is what was on the page that was looked at.
                let inputs: Digest = text(&fields, "inputs")?.parse().map_err(|_| {
                    Error::invalid("the form does not say what was looked at; load the page again")
                })?;
                Action::Approve { inputs: Some(inputs) }
            }
            "proceed" => Action::Proceed { why: why()? },
            "abort" => Action::Abort { why: why()? },
            "rollback" => Action::Rollback { why: why()? },
            "drop" => Action::Drop {
                candidate: text(&fields, "candidate")?.to_owned(),
                why: why()?,
                harm: text(&fields, "harm")? == "yes",
            },
            other => return Err(Error::missing(format!("`{other}` is nothing that is done to a rollout"))),
        };
        let registry = sent.app.registry();
        let by = (&sent.actor, identity);
        act(registry.db(), registry.clock().as_ref(), by, number, &action).await.map(|_| number)
    };
    match done.await {
        Ok(id) => see(&href(&["delivery", "rollouts", &id.to_string()], &[])),
        Err(error) => answer::answer(&sent.shown, Err(error)),
    }
}

/// Begins a freeze, for the form of the page of delivery.
pub(super) async fn set_freeze(sent: Sent) -> Response {
    let done = async {
        let fields = sent.fields()?;
        let endpoint = Some(text(&fields, "endpoint")?).filter(|name| !matches!(*name, "" | "all"));
        let from = match text(&fields, "from")? {
            "" | "now" => None,
            time => Some(moment(time)?),
        };
        let until = match text(&fields, "until")? {
            "" | "until lifted" => None,
            time => Some(moment(time)?),
        };
        let new = NewFreeze {
            endpoint: endpoint.map(str::to_owned),
            reason: text(&fields, "reason")?.to_owned(),
            from,
            until,
        };
        let registry = sent.app.registry();
        freeze(registry.db(), registry.clock().as_ref(), &sent.actor, &new).await
    };
    match done.await {
        Ok(_) => see("/delivery#freezes"),
        Err(error) => answer::answer(&sent.shown, Err(error)),
    }
}

/// A time as people write it: with or without seconds, in UTC.
fn moment(text: &str) -> Result<Timestamp, Error> {
    let wrong = || Error::invalid(format!("`{text}` is not a time; write it as 2026-12-24 18:00"));
    let text = text.trim_end_matches('Z').replace(' ', "T");
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        _ => format!("{text}Z"),
    };
    Timestamp::parse(&whole).ok_or_else(wrong)
}

/// Lifts a freeze, for the form of the page of delivery.
pub(super) async fn end_freeze(Path(id): Path<String>, sent: Sent) -> Response {
    let done = async {
        sent.fields()?;
        let number: u64 = id.parse().map_err(|_| Error::missing(format!("there is no freeze {id}")))?;
        let registry = sent.app.registry();
        lift_freeze(registry.db(), registry.clock().as_ref(), &sent.actor, number).await
    };
    match done.await {
        Ok(()) => see("/delivery#freezes"),
        Err(error) => answer::answer(&sent.shown, Err(error)),
    }
}

/// Says that a release may leave its quarantine, for the form of the page of delivery.
pub(super) async fn end_quarantine(sent: Sent) -> Response {
    let done = async {
        let fields = sent.fields()?;
        let unclear = || Error::invalid("the form does not say which release is meant; load the page again");
        let (release, environment) = text(&fields, "release")?.split_once(' ').ok_or_else(unclear)?;
        let wanted = Lift {
            release: release.parse().map_err(|_| unclear())?,
            environment: environment.to_owned(),
            reason: text(&fields, "reason")?.to_owned(),
        };
        let registry = sent.app.registry();
        lift_quarantine(registry.db(), registry.clock().as_ref(), &sent.actor, &wanted).await
    };
    match done.await {
        Ok(_) => see("/delivery#quarantine"),
        Err(error) => answer::answer(&sent.shown, Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn times_are_read_as_people_write_them() {
        for text in ["2026-12-24 18:00", "2026-12-24T18:00:00Z", "2026-12-24 18:00:00"] {
            assert_eq!(moment(text).unwrap().to_string(), "2026-12-24T18:00:00Z", "{text}");
        }
        assert!(moment("2026-12-24").is_ok());
        for text in ["tomorrow", "", "2026-13-01", "24.12.2026"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}

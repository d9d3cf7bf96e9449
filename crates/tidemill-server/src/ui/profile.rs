//! What the rows of a dataset look like: figures and histograms of its newest profile, and how far its columns moved from version to
//! version.

use tidemill_core::{Digest, EventKind};
use tidemill_data::drift::{DriftOptions, between_profiles};
use tidemill_data::profile::{ColumnStats, TableStats};
use tidemill_data::{ColumnType, Profile};
use tidemill_db::{DatasetVersion, EventFilter, Order};
use tidemill_registry::{Code, Error};
use tidemill_ui::chart::{Bar, Bars};
use tidemill_ui::{Block, Cell, Empty, Figure, Heat, HeatColumn, Link, Section, Table, number};
use tokio::task::spawn_blocking;

use super::ask::Ask;
use super::data::left_out;
use super::rollout::{names, title};
use super::{difference, evidence};

/// Versions that the heat map compares.
const VERSIONS: usize = 12;
/// Columns that are drawn, and columns of the heat map.
const DRAWN: usize = 24;
const ROWS: usize = 60;
/// Bars of one picture.
const BARS: usize = 24;
/// Bytes of a profile that are read.
const LARGEST: u64 = 64 << 20;
/// The share of rows that would have to change from which on a column is marked.
const MOVED: f64 = 0.1;
/// Moves of environments in which releases are looked for.
const RELEASES: usize = 200;

/// A version with its profile.
struct Known {
    version: u64,
    profile: Profile,
}

/// The sections of a dataset's page that its profiles fill. Versions come newest first.
pub(super) async fn sections(
    ask: &Ask,
    name: &str,
    versions: &[DatasetVersion],
) -> Result<Vec<Block>, Error> {
    let known = read(ask, versions).await?;
    let Some(newest) = known.last() else {
        let empty = Empty::new(
            "No version has a profile yet",
            "A profile is made at its first use and kept with the content; it says of every column what its values look like:",
        )
        .code(format!("tidemill data profile {name}"));
        return Ok(vec![Block::Section(Section::new("profile", "Profile", vec![Block::Empty(empty)]))]);
    };
    let hidden = ask.app.config().about.as_ref().map(|about| about.redact(name));
    let mut stats = newest.profile.stats();
    match &hidden {
        Some(hidden) => stats.redact(hidden),
        // Without the project file nobody says which values may be shown.
        None => {
            let all: Vec<String> = stats.columns.iter().map(|column| column.name.clone()).collect();
            stats.redact(&all);
        }
    }
    let mut blocks = vec![Block::Table(table(&stats))];
    let figures: Vec<Figure> =
        stats.columns.iter().enumerate().filter_map(|(at, column)| figure(at, column)).take(DRAWN).collect();
    if !figures.is_empty() {
        blocks.push(Block::Figures(figures));
    }
    let mut note = format!("Of v{}, {} rows.", newest.version, tidemill_ui::count(stats.rows));
    if stats.columns.len() > DRAWN {
        note +=
            &format!(" Of {} columns the first {DRAWN} are drawn; the table has all.", stats.columns.len());
    }
    let profile = Section::new("profile", "Profile", blocks).note(note);
    let drift = drift(ask, name, versions, known).await?;
    Ok(vec![Block::Section(profile), Block::Section(drift)])
}

/// The kept profile of each of two versions, where there is one.
pub(super) async fn kept(ask: &Ask, versions: [&DatasetVersion; 2]) -> Result<[Option<Profile>; 2], Error> {
    let contents = versions.map(|version| version.content);
    let known = ask.app.registry().db().profiles_of(&contents).await?;
    let mut found = [None, None];
    for (place, content) in found.iter_mut().zip(contents) {
        if let Some((_, digest)) = known.iter().find(|(of, _)| *of == content) {
            *place = stored(ask, *digest).await?;
        }
    }
    Ok(found)
}

/// A profile that is kept; one of another version of the program is as one that is not there.
async fn stored(ask: &Ask, digest: Digest) -> Result<Option<Profile>, Error> {
    let bytes = evidence::tail(&ask.app, digest, LARGEST).await?;
    Ok(bytes.and_then(|bytes| Profile::from_bytes(&bytes).ok()))
}

/// The profiles that are kept, oldest version first: the newest ones, and the first of all as what they are compared with.
async fn read(ask: &Ask, versions: &[DatasetVersion]) -> Result<Vec<Known>, Error> {
    let contents: Vec<Digest> = versions.iter().map(|version| version.content).collect();
    let kept = ask.app.registry().db().profiles_of(&contents).await?;
    let find =
        |content: Digest| kept.iter().find(|(known, _)| *known == content).map(|(_, profile)| *profile);
    let mut found: Vec<(u64, Digest)> =
        versions.iter().filter_map(|version| Some((version.version, find(version.content)?))).collect();
    found.reverse();
    if found.len() > VERSIONS {
        found.drain(1..=found.len() - VERSIONS);
    }
    let mut known = Vec::with_capacity(found.len());
    for (version, digest) in found {
        if let Some(profile) = stored(ask, digest).await? {
            known.push(Known { version, profile });
        }
    }
    Ok(known)
}

fn table(stats: &TableStats) -> Table {
    let rows = stats.columns.iter().map(|column| {
        let end = |value: &Option<tidemill_data::Value>| {
            value.as_ref().map_or(Cell::None, |value| Cell::text(shown(value)))
        };
        let measure = |value: Option<f64>| value.map_or(Cell::None, Cell::Number);
        vec![
            Cell::text(column.name.clone()),
            Cell::text(column.column_type.to_string()),
            Cell::Text(format!("{} %", number((column.missing_share() * 10_000.0).round() / 100.0))),
            Cell::Count(column.distinct.estimate),
            end(&column.min),
            measure(column.mean),
            end(&column.max),
            measure(column.std),
            Cell::text(column.top.first().map(|top| shown(&top.value)).unwrap_or_default()),
        ]
    });
    let columns = [
        "column",
        "type",
        "missing",
        "different values",
        "least",
        "mean",
        "greatest",
        "deviation",
        "most frequent",
    ];
    Table::new("profile", "Figures of the columns", &columns).with(rows)
}

fn shown(value: &tidemill_data::Value) -> String {
    const MOST: usize = 60;
    let text = match value.as_str() {
        Some(text) => text.to_owned(),
        None => value.as_f64().map_or_else(|| value.to_string(), number),
    };
    if text.chars().count() > MOST { text.chars().take(MOST).chain(['…']).collect() } else { text }
}

/// The histogram of a column of numbers, or the most frequent values of another.
fn figure(at: usize, column: &ColumnStats) -> Option<Figure> {
    let is_number = matches!(column.column_type, ColumnType::Int | ColumnType::Float);
    let bars: Vec<Bar> = if is_number && column.histogram.len() > 1 {
        joined(column)
    } else {
        let top = column.top.iter().take(BARS);
        top.map(|top| Bar { name: shown(&top.value), value: top.count as f64 }).collect()
    };
    if bars.is_empty() {
        return None;
    }
    let rows = bars.iter().map(|bar| vec![Cell::text(bar.name.clone()), Cell::Number(bar.value)]);
    let table =
        Table::new(format!("histogram_{at}"), format!("Values of {}", column.name), &["value", "rows"])
            .with(rows);
    let picture = Bars { title: column.name.clone(), unit: "rows".into(), bars }.draw();
    let note = if is_number { String::new() } else { "The most frequent values.".to_owned() };
    Some(Figure {
        id: format!("column-{at}"),
        title: column.name.clone(),
        note,
        picture,
        table,
        ..Figure::default()
    })
}

/// Neighbouring bins put together until there are few enough to be drawn.
fn joined(column: &ColumnStats) -> Vec<Bar> {
    let each = column.histogram.len().div_ceil(BARS);
    column
        .histogram
        .chunks(each)
        .filter_map(|bins| {
            let (first, last) = (bins.first()?, bins.last()?);
            let name = format!("{} – {}", shown(&first.from), shown(&last.to));
            Some(Bar { name, value: bins.iter().map(|bin| bin.count).sum::<u64>() as f64 })
        })
        .collect()
}

/// How far each column of each version is from the first one.
async fn drift(
    ask: &Ask,
    name: &str,
    versions: &[DatasetVersion],
    known: Vec<Known>,
) -> Result<Section, Error> {
    let section = |blocks| Section::new("drift", "Drift", blocks);
    if known.len() < 2 {
        return Ok(section(vec![Block::Empty(
            Empty::new(
                "Nothing to compare yet",
                "How far columns moved is seen where two versions have a profile; comparing them makes both:",
            )
            .code(format!("tidemill data drift {name}@1 {name} --profiles")),
        )]));
    }
    let first = known[0].version;
    let compared = spawn_blocking(move || compare(&known)).await;
    let compared = compared.map_err(|error| Error::new(Code::InternalError, error.to_string()))?;
    let marks = releases(ask, versions).await?;
    let columns = compared.iter().map(|(version, _)| HeatColumn {
        head: Link::new(difference::place(name, first, *version), format!("v{version}")),
        mark: marks
            .iter()
            .find(|(known, _)| known == version)
            .map(|(_, mark)| mark.clone())
            .unwrap_or_default(),
    });
    let columns: Vec<HeatColumn> = columns.collect();
    let mut names: Vec<&String> =
        compared.iter().flat_map(|(_, shifts)| shifts.iter().map(|(name, _)| name)).collect();
    names.sort();
    names.dedup();
    let mut rows: Vec<(String, Vec<Option<f64>>)> = names
        .into_iter()
        .map(|name| {
            let shift = |shifts: &Vec<(String, f64)>| {
                shifts.iter().find(|(known, _)| known == name).map(|(_, shift)| *shift)
            };
            (name.clone(), compared.iter().map(|(_, shifts)| shift(shifts)).collect())
        })
        .collect();
    // What moved most stands above.
    let most = |values: &[Option<f64>]| values.iter().flatten().copied().fold(0.0, f64::max);
    rows.sort_by(|a, b| most(&b.1).total_cmp(&most(&a.1)).then(a.0.cmp(&b.0)));
    let left_out = left_out("columns", "the most moved", ROWS, rows.len());
    rows.truncate(ROWS);
    let heat = Heat {
        caption: format!("Share of rows that would have to change for a column to be as in v{first}"),
        columns,
        rows,
        most: 0.5,
        limit: MOVED,
        ..Heat::default()
    }
    .numbered("drift");
    let note = format!(
        "Each number is the share of rows that would have to change for a column to be as in v{first}, from 0 to 1; from {MOVED} on \
            it is marked. A triangle is a release that went out while the version was the newest. {left_out}"
    );
    Ok(section(vec![Block::Heat(heat)]).note(note.trim_end()))
}

/// The shift of every column of every version against the first.
fn compare(known: &[Known]) -> Vec<(u64, Vec<(String, f64)>)> {
    let options = DriftOptions { pairs: false, ..DriftOptions::default() };
    let Some((first, later)) = known.split_first() else { return Vec::new() };
    let compared = later.iter().map(|one| {
        let report = between_profiles(&first.profile, &one.profile, &options);
        let columns = report.map(|report| report.verdict.columns).unwrap_or_default();
        (one.version, columns.into_iter().map(|column| (column.name, column.shift)).collect())
    });
    compared.collect()
}

/// Releases that went out while a version was the newest.
async fn releases(ask: &Ask, versions: &[DatasetVersion]) -> Result<Vec<(u64, String)>, Error> {
    let filter = EventFilter {
        kind: Some("environment.moved".into()),
        limit: Some(RELEASES),
        order: Order::NewestFirst,
        ..EventFilter::default()
    };
    // Of each version the newest move, and how many more there are.
    let mut moves: Vec<(u64, String, Digest, usize)> = Vec::new();
    for event in ask.app.registry().db().events(&filter).await? {
        let EventKind::EnvironmentMoved { environment, to, .. } = event.kind else { continue };
        let Some(newest) = versions.iter().find(|version| version.created_at <= event.at) else { continue };
        match moves.iter_mut().find(|(known, ..)| *known == newest.version) {
            Some((.., more)) => *more += 1,
            None => moves.push((newest.version, environment, to, 0)),
        }
    }
    let names = names(ask, moves.iter().map(|(_, _, release, _)| *release)).await?;
    let mark = |(version, environment, release, more): (u64, String, Digest, usize)| {
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (version, format!("{} to {environment}{more}", title(&names, release)))
    };
    Ok(moves.into_iter().map(mark).collect())
}

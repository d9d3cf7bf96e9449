//! Pages with one of everything, written into a folder so that one can look at the style sheet without a server.

use std::path::PathBuf;

use tidemill_core::Timestamp;
use tidemill_ui::chart::{
    Axis, Bar, Bars, Dot, Graph, GraphNode, LineChart, Parallel, River, Scatter, Series, Station, Strand,
    spark,
};
use tidemill_ui::{
    Area, Badge, Block, Cell, Choice, Column, Control, Crumb, Empty, Facts, Figure, FilterBox, Find, Grid,
    GridRow, Heat, HeatColumn, Link, LogText, Page, Pager, Section, Sort, Stage, Stages, Tab, Table, Tone,
    Total, Viewer, asset, markdown,
};

/// When the pages are looked at.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn ago(seconds: i64) -> Cell {
    Cell::Time(Timestamp::from_millis(NOW.millis() - seconds * 1000), Some(NOW))
}

/// All pages by name; `word` stands wherever a user could have written something.
pub(crate) fn pages(word: &str) -> Vec<(&'static str, Page)> {
    vec![
        ("home", home(word)),
        ("runs", runs(word)),
        ("run", run(word)),
        ("curves", curves(word)),
        ("compare", compare(word)),
        ("pipeline", pipeline(word)),
        ("rollout", rollout(word)),
        ("empty", empty(word)),
    ]
}

fn table(id: &str, columns: &[&str], rows: Vec<Vec<Cell>>) -> Block {
    Block::Table(Table::new(id, id, columns).with(rows))
}

fn home(word: &str) -> Page {
    let station = |name: &str, figure: &str, unit: &str, tone, state: &str, moving| Station {
        name: name.into(),
        figure: figure.into(),
        unit: unit.into(),
        lines: vec![format!("{word} v3 newest"), "14 expectations hold".into()],
        tone,
        state: state.into(),
        href: "/data".into(),
        moving,
    };
    let river = River {
        stations: vec![
            station("Data", "7", "versions", Tone::Good, "as expected", false),
            station("Pipeline", "4", "steps", Tone::Busy, "last run running", true),
            station("Tests", "4/6", "passed", Tone::Warn, "2 not judged", false),
            station("Registry", "12", "versions", Tone::Good, "1 model", false),
            station("Serving", "2", "endpoints", Tone::Bad, "1 model cannot be loaded", false),
        ],
    };
    let moving =
        vec![vec![Cell::link("/runs/1", word), Cell::badge(Tone::Busy, "running"), Cell::Duration(83_000)]];
    let blocked = vec![vec![
        Cell::link("/serving", word),
        Cell::text(format!("{word} needs 3 inputs, the model has 2")),
    ]];
    let events = (0..6).map(|n| {
        vec![
            Cell::link("/log/1", format!("{}", 90 - n)),
            ago(n * 400),
            Cell::text("step.finished"),
            Cell::link("/runs/1", "run:0190c0ffee"),
            Cell::text(format!("step {word}, state ran, duration ms 1520")),
            Cell::text("user:ada"),
        ]
    });
    let events = events.collect();
    Page {
        title: word.to_owned(),
        lead: "From data to predictions and back: each place leads to its page.".into(),
        blocks: vec![
            Block::Figure(Box::new(river.figure("loop"))),
            Block::Columns(vec![
                vec![Block::Section(Section::new(
                    "now",
                    "What moves now",
                    vec![table("moving", &["what", "state", "for"], moving)],
                ))],
                vec![Block::Section(Section::new(
                    "waiting",
                    "What is blocked, and why",
                    vec![table("blocked", &["what", "why"], blocked)],
                ))],
            ]),
            Block::Section(
                Section::new(
                    "events",
                    "What happened last",
                    vec![table("events", &["event", "when", "what", "about", "more", "by"], events)],
                )
                .more("/log", "the whole log"),
            ),
        ],
        ..Page::default()
    }
}

fn runs(word: &str) -> Page {
    let sort = |descending| Some(Sort { href: "/experiments/1?order=x".into(), descending });
    let column = |label: &str, group: &str, sort| Column {
        label: label.into(),
        group: group.into(),
        sort,
        ..Column::default()
    };
    let columns = vec![
        column("Run", "", sort(None)),
        column("", "", None),
        column("Status", "", sort(None)),
        column("Began", "", sort(Some(true))),
        column("Took", "", None),
        column("log_loss", "Metrics", sort(None)),
        column("roc_auc", "Metrics", sort(Some(false))),
        column(word, "Parameters", sort(None)),
        column("learning_rate", "Parameters", sort(None)),
        column("Identifier", "", None),
    ];
    let rows = (0..24).map(|n: i64| {
        let state = [Tone::Good, Tone::Good, Tone::Busy, Tone::Bad, Tone::Warn][(n % 5) as usize];
        vec![
            Cell::link("/runs/1", format!("{word}-{n}")),
            Cell::Tick { name: "run".into(), value: format!("{n}"), label: format!("Compare {word}") },
            Cell::badge(state, ["finished", "finished", "running", "failed", "stopped"][(n % 5) as usize]),
            ago(n * 5000),
            Cell::Duration(n as u64 * 7000 + 900),
            Cell::Number(0.69 / (n + 1) as f64),
            if n == 7 { Cell::None } else { Cell::Number(0.7 + n as f64 / 150.0) },
            Cell::text(if n % 2 == 0 { word } else { "logistic" }),
            Cell::text("0.05"),
            Cell::Code(format!("{n:032x}")),
        ]
    });
    let table = Table {
        id: "runs".into(),
        caption: "Runs".into(),
        columns,
        rows: rows.collect(),
        pager: Some(Pager {
            next: Some("/experiments/1?page=x".into()),
            ..Pager::of(24, Some(Total::MoreThan(10_000)), ["run", "runs"])
        }),
        empty: None,
        pinned: true,
    };
    let choices =
        ["metrics.loss", "params.depth", "tags.team"].map(|key| Choice::new(key, key, true)).to_vec();
    let filter = FilterBox {
        action: "/experiments/1".into(),
        label: "Filter runs".into(),
        controls: vec![
            Control::Line {
                name: "filter".into(),
                label: "Filter".into(),
                value: format!("metrics.loss <> {word}"),
                example: "metrics.loss < 0.5".into(),
                wide: true,
            },
            Control::Select {
                name: "group".into(),
                label: "Group by".into(),
                choices: vec![Choice::new("", "nothing", true)],
            },
            Control::Several {
                name: "column".into(),
                label: "Columns".into(),
                choices,
                find: Some(Find {
                    name: "keys".into(),
                    label: "Find a key".into(),
                    value: word.to_owned(),
                    is_open: false,
                    note: format!("None holds {word}"),
                }),
            },
            Control::Tick { name: "deleted".into(), label: "deleted ones".into(), chosen: false },
        ],
        error: format!("Invalid comparator '<>' before {word}"),
        help: "metrics.loss < 0.5 AND params.depth = '3'".into(),
        button: "Apply".into(),
    };
    Page {
        title: word.to_owned(),
        area: Area::Experiments,
        crumbs: vec![Crumb::new("/experiments", "Experiments")],
        blocks: vec![
            Block::Filter(filter),
            Block::Section(Section::new(
                "runs",
                "",
                vec![Block::Choose(
                    "/compare".into(),
                    "Compare the ticked".into(),
                    vec![Block::Table(table)],
                )],
            )),
        ],
        ..Page::default()
    }
}

fn run(word: &str) -> Page {
    let params =
        ["algorithm", "depth", "rate"].map(|key| vec![Cell::text(key), Cell::Pre(word.to_owned())]).to_vec();
    let curve: Vec<f64> = (0..60).map(|n| 1.0 / f64::from(n + 2)).collect();
    let metrics = vec![
        vec![
            Cell::link("/runs/1", word),
            Cell::Number(0.731_234),
            Cell::Count(99),
            spark("small-0", &format!("{word} over steps"), "/runs/1/curves/x", &curve),
        ],
        vec![Cell::link("/runs/1", "log_loss"), Cell::Number(1.5e-7), Cell::Count(0), Cell::None],
        vec![Cell::link("/runs/1", "broken"), Cell::Number(f64::NAN), Cell::Count(12_345), Cell::None],
    ];
    let facts = Facts::new("run")
        .with("Began", Cell::Time(NOW, None))
        .with("Took", Cell::Duration(125_000))
        .with("Failure", Cell::Pre(word.to_owned()))
        .with("Size", Cell::Bytes(123_456_789))
        .with("Commit", Cell::Code("6f1ed002ab5595859014ebf0951522d9".into()));
    let log = LogText::tail("log", word, &format!("epoch 1\n{word}\n\u{1b}[32mdone\u{1b}[0m"), 100);
    Page {
        title: format!("{word}-1"),
        area: Area::Experiments,
        crumbs: vec![Crumb::new("/experiments", "Experiments"), Crumb::new("/experiments/1", word)],
        badges: vec![Badge::new(Tone::Good, "finished")],
        tabs: vec![
            Tab::new("/runs/1", "Overview", true),
            Tab::new("/runs/1?tab=metrics", "Curves (3)", false),
            Tab::new("/runs/1?tab=files", "Files", false),
        ],
        blocks: vec![
            Block::Markup(markdown(&format!("The **first** of three, see [the log](/log).\n\nNote: {word}"))),
            Block::Columns(vec![
                vec![
                    Block::Section(Section::new("facts", "", vec![Block::Facts(facts)])),
                    Block::Section(Section::new(
                        "parameters",
                        "Parameters",
                        vec![table("params", &["parameter", "value"], params)],
                    )),
                ],
                vec![Block::Section(Section::new(
                    "metrics",
                    "Metrics",
                    vec![table("metrics", &["metric", "value", "step", "curve"], metrics)],
                ))],
            ]),
            Block::Log(log),
            Block::Code(format!("{{\"harbour\": \"{word}\"}}")),
        ],
        ..Page::default()
    }
}

fn figure(id: &str, title: &str, picture: tidemill_ui::Markup, wide: bool) -> Figure {
    let table = Table::new(id, title, &["step", "value"]).with([vec![Cell::Count(1), Cell::Number(0.5)]]);
    Figure { id: id.into(), title: title.into(), picture, table, wide, ..Figure::default() }
}

fn curves(word: &str) -> Page {
    let line = |log, smoothed, names: &[&str]| {
        let series: Vec<Series> = names
            .iter()
            .enumerate()
            .map(|(run, name)| Series {
                name: (*name).to_owned(),
                points: (0..400)
                    .map(|n| {
                        let wave = f64::from(n * 37 % 11) / 60.0;
                        let gap = (150..180).contains(&n) && run == 0;
                        (
                            f64::from(n),
                            if gap { f64::NAN } else { (run + 1) as f64 / f64::from(n + 3) + wave },
                        )
                    })
                    .collect(),
            })
            .collect();
        let mean =
            |part: &[(f64, f64)]| (part[0].0, part.iter().map(|(_, y)| y).sum::<f64>() / part.len() as f64);
        let smooth = |one: &Series| one.points.windows(11).map(mean).collect();
        LineChart {
            title: word.into(),
            x: "step".into(),
            y: word.into(),
            smooth: if smoothed { series.iter().map(smooth).collect() } else { Vec::new() },
            series,
            log,
            zoom: "x",
            ..LineChart::default()
        }
        .draw()
    };
    let bars = Bars {
        title: word.into(),
        unit: "requests".into(),
        bars: ["up to 1 ms", word, "longer"]
            .iter()
            .enumerate()
            .map(|(n, name)| Bar { name: (*name).to_owned(), value: n as f64 * 20.0 + 3.0 })
            .collect(),
    };
    Page {
        title: format!("{word}-1"),
        area: Area::Experiments,
        blocks: vec![Block::Figures(vec![
            figure("one", word, line(false, false, &[word]), false),
            figure(
                "log",
                "loss, logarithmic",
                line(true, false, &[word, "second", "third", "fourth"]),
                false,
            ),
            figure("smooth", "smoothed", line(false, true, &[word, "other"]), false),
            figure("bars", "time to answer", bars.draw(), false),
            Figure {
                id: "later".into(),
                title: word.into(),
                later: Some("/runs/1?curve=x".into()),
                ..Figure::default()
            },
        ])],
        ..Page::default()
    }
}

fn compare(word: &str) -> Page {
    let value = |n: usize, k: usize| ((n * 7 + k * 13) % 17) as f64 / 17.0;
    let axis = |name: &str, words: &[&str], log| Axis {
        name: name.into(),
        words: words.iter().map(|w| (*w).to_owned()).collect(),
        log,
    };
    let parallel = Parallel {
        axes: vec![
            axis("algorithm", &["gbdt", word], false),
            axis("depth", &[], false),
            axis("rate", &[], true),
            axis("log_loss", &[], false),
            axis(word, &[], false),
        ],
        strands: (0..60)
            .map(|n| Strand {
                name: format!("{word}-{n}"),
                href: "/runs/1".into(),
                values: vec![
                    (n % 2) as f64,
                    value(n, 1) * 9.0,
                    0.001 + value(n, 2),
                    value(n, 3),
                    value(n, 4),
                ],
            })
            .collect(),
    };
    let scatter = Scatter {
        title: word.into(),
        x: "depth".into(),
        y: word.into(),
        dots: (0..80)
            .map(|n| Dot {
                x: value(n, 5) * 9.0,
                y: value(n, 2),
                name: format!("{word}-{n}"),
                href: "/runs/1".into(),
            })
            .collect(),
        ..Scatter::default()
    };
    Page {
        title: "Compare runs".into(),
        area: Area::Experiments,
        blocks: vec![
            Block::Figure(Box::new(figure("parallel", "A line for each run", parallel.draw(), true))),
            Block::Figure(Box::new(figure("scatter", word, scatter.draw(), true))),
        ],
        ..Page::default()
    }
}

fn pipeline(word: &str) -> Page {
    let node = |name: &str, tone, state: &str, needs: &[usize]| GraphNode {
        name: name.into(),
        detail: format!("SQL, {word}"),
        tone,
        state: state.into(),
        href: "/pipelines/1?step=x".into(),
        needs: needs.to_vec(),
    };
    let graph = Graph {
        title: "Steps".into(),
        nodes: vec![
            node("traffic", Tone::Calm, "unchanged", &[]),
            node(word, Tone::Good, "ran", &[0]),
            node("train", Tone::Busy, "at work", &[1]),
            node("simple", Tone::Bad, "failed", &[1]),
            node("report", Tone::Warn, "skipped", &[2, 3]),
        ],
    };
    let place = |n: usize| match n % 5 {
        0 => Some((Tone::Good, format!("{word}: ran"))),
        1 | 2 => Some((Tone::Calm, format!("{word}: unchanged"))),
        3 => Some((Tone::Bad, format!("{word}: failed"))),
        _ => None,
    };
    let grid = Grid {
        caption: "Steps of the last runs".into(),
        columns: (0..18).map(|n| Link::new("/pipelines/1", format!("0190{n:04x}"))).collect(),
        rows: ["traffic", word, "train"]
            .iter()
            .enumerate()
            .map(|(row, name)| GridRow {
                name: (*name).to_owned(),
                places: (0..18).map(|n| place(n + row)).collect(),
            })
            .collect(),
        legend: vec![(Tone::Good, "ran"), (Tone::Calm, "unchanged"), (Tone::Bad, "failed")],
        ..Grid::default()
    }
    .numbered("history", "step");
    Page {
        title: "Run 0190c0ff".into(),
        area: Area::Pipelines,
        crumbs: vec![Crumb::new("/pipelines", "Pipelines")],
        badges: vec![Badge::new(Tone::Busy, "running")],
        blocks: vec![
            Block::Figure(Box::new(figure("dag", "What reads what", graph.draw(), true))),
            Block::Grid(grid),
        ],
        live: vec!["step.finished"],
        growing: true,
        ..Page::default()
    }
}

fn rollout(word: &str) -> Page {
    let stage = |detail: &str, share, tone, here| Stage {
        name: word.to_owned(),
        detail: detail.to_owned(),
        state: Badge::new(tone, word),
        share,
        here,
    };
    let stages = vec![
        stage("over when 300 requests were seen", None, Tone::Good, false),
        stage(word, Some(0.25), Tone::Busy, true),
        stage("", Some(1.0), Tone::Plain, false),
    ];
    let head = |number: u8, mark: &str| HeatColumn {
        head: Link::new("/data/x", format!("{word} v{number}")),
        mark: mark.to_owned(),
    };
    let heat = Heat {
        caption: "Share of rows that moved".into(),
        columns: vec![head(2, ""), head(3, word)],
        rows: vec![
            (word.to_owned(), vec![Some(0.31), None]),
            ("carrier".into(), vec![Some(0.02), Some(0.2)]),
        ],
        most: 0.5,
        limit: 0.1,
        ..Heat::default()
    }
    .numbered("moved");
    Page {
        title: "Rollout 7".into(),
        area: Area::Delivery,
        blocks: vec![
            Block::Stages(Stages::new("stages", "Stages of the rollout", stages)),
            Block::Heat(heat),
        ],
        ..Page::default()
    }
}

fn empty(word: &str) -> Page {
    let empty =
        Empty::new(format!("No run fits {word}"), "Change the filter.").code("tidemill run").link("/", word);
    Page { title: "Models".into(), area: Area::Models, blocks: vec![Block::Empty(empty)], ..Page::default() }
}

/// The pages as a browser gets them, below `CARGO_TARGET_TMPDIR/pages`.
#[test]
fn pages_to_look_at() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pages");
    let files = ["app.css", "app.js", "icon.svg"].map(asset::path);
    for file in files {
        let place = folder.join(file.trim_start_matches('/'));
        fs_err::create_dir_all(place.parent().unwrap()).unwrap();
        fs_err::write(place, asset::find(file).unwrap().text).unwrap();
    }
    let viewer = Viewer { name: Some("ada".into()), csrf: "t".into(), address: "/runs/1?a=b".into() };
    for (name, page) in pages("flights") {
        let text = page.html(&viewer);
        assert!(text.len() < 200 << 10, "{name} has {} bytes", text.len());
        fs_err::write(folder.join(format!("{name}.html")), text).unwrap();
    }
}

//! What can be typed: commands, their options and their help. What they do is in `command/`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use tidemill_core::RunId;

use crate::records::RecordDefaults;

/// Continuous delivery for machine learning in one binary
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Work on the project in DIR instead of the current folder
    #[arg(short = 'C', long = "project", value_name = "DIR", global = true, value_hint = ValueHint::DirPath)]
    pub(crate) project: Option<PathBuf>,
    /// Print data as JSON on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Metadata database: a PostgreSQL URL, or a SQLite file
    #[arg(long, global = true, env = "TIDEMILL_DATABASE", value_name = "URL", hide_env_values = true)]
    pub(crate) database: Option<String>,
    /// Print less: only results, warnings and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Colour: auto, always or never; `NO_COLOR` is respected
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorWhen,
    /// The event of a job that the command is part of, and the process of the server whose job it is
    #[arg(long, global = true, hide = true, value_name = "EVENT:PROCESS", value_parser = JobOf::parse)]
    pub(crate) job: Option<JobOf>,
}

/// The job of a server that a command is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JobOf {
    /// The event with which the job began.
    pub(crate) event: u64,
    /// The server's process.
    pub(crate) server: i32,
}

impl JobOf {
    fn parse(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once(':')
            .and_then(|(event, server)| Some((event.parse().ok()?, server.parse().ok()?)));
        let (event, server) = parts.ok_or_else(|| "not EVENT:PROCESS".to_owned())?;
        Ok(Self { event, server })
    }
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// See the whole loop on a year of real flights: train, release, watch, retrain, judge, go back
    Demo(crate::command::Demo),
    /// Create a project, from a table and its target column if you name them
    Init(Init),
    /// Validate the project file and the data, and print what would run and why
    Check(Check),
    /// Run the steps that are out of date
    Run(Run),
    /// Show which steps are out of date, and why
    Status(Status),
    /// Show what changed between two runs, dataset versions or commits
    Diff(Diff),
    /// Show the log of every state change, or prove that it is intact
    Log(Log),
    /// Version data: add, list, get, compare, push, pull, verify
    #[command(subcommand)]
    Data(Data),
    /// Remove stored content that nothing refers to
    Gc(Gc),
    /// Repeat a recorded run in a clean folder and compare every output byte by byte
    Reproduce(Reproduce),
    /// Test a commit in a clean checkout as code, data and model, and release what it makes
    Ci(Ci),
    /// Show what starts work, fire a trigger by hand, show or stop what was started
    #[command(subcommand)]
    Trigger(Trigger),
    /// Serve the MLflow API, the registry and the metadata until stopped
    Up(Up),
    /// Answer requests for predictions alone, next to the traffic, until stopped
    Serve(Box<Serve>),
    /// Declare what is behind the names that requests for predictions go to
    #[command(subcommand)]
    Endpoint(crate::command::Endpoint),
    /// Score a table with a model
    Predict(crate::command::Predict),
    /// Show what was asked of models and what they answered
    Records(crate::command::Records),
    /// Send what became known of requests from a dataset or a file, to be joined with them by key
    Outcomes(crate::command::Outcomes),
    /// Release a version of a model to an environment
    Release(crate::command::Release),
    /// Show and steer releases on their way to an endpoint's requests
    #[command(subcommand)]
    Rollout(crate::command::Rollout),
    /// Show what is watched in production, and what would have fired
    #[command(subcommand)]
    Monitor(crate::command::Monitor),
    /// Stop all rollouts from raising traffic, for a reason
    Freeze(crate::command::Freeze),
    /// Show releases that did harm and must not run again, and let one of them
    #[command(subcommand)]
    Quarantine(crate::command::Quarantine),
    /// Show why a version of a model is where it is: cause, data, run, tests, gates, rollouts, now
    Why(crate::command::Why),
    /// Keep a page of the server as files: Markdown and its pictures, for a pull request or a document
    Report(crate::command::Report),
    /// Take over experiments, runs, artifacts and models from another tool
    #[command(subcommand)]
    Import(Import),
    /// Merge two versions of tidemill.lock, for Git: `tidemill merge-lock %O %A %B`
    #[command(hide = true)]
    MergeLock(MergeLock),
    /// Print the JSON Schema of the project file
    Schema,
    /// Print a completion script
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the reference pages that are generated from this program
    #[command(hide = true)]
    Docs {
        /// Which page
        page: DocsPage,
    },
}

/// A generated page.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum DocsPage {
    /// docs/reference/cli.md
    Cli,
    /// docs/reference/project-file.md
    ProjectFile,
    /// docs/reference/tidemill.schema.json
    Schema,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// A table to learn from: Parquet, CSV, JSON lines or Arrow
    #[arg(long, value_name = "FILE", requires = "target", value_hint = ValueHint::FilePath)]
    pub(crate) data: Option<PathBuf>,
    /// The column to predict
    #[arg(long, value_name = "COLUMN", requires = "data")]
    pub(crate) target: Option<String>,
    /// Take the pipeline over from a dvc.yaml
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        default_missing_value = "dvc.yaml",
        conflicts_with = "data",
        value_hint = ValueHint::FilePath
    )]
    pub(crate) dvc: Option<PathBuf>,
    /// The project's name; the folder's name where not given
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Overwrite an existing tidemill.yaml
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Set a parameter, as in `--param train.seed=8`
    #[arg(long = "param", value_name = "KEY=VALUE")]
    pub(crate) params: Vec<String>,
    /// Check the project file and the plan, but not the data
    #[arg(long)]
    pub(crate) no_data: bool,
    /// Propose expectations for a dataset
    #[arg(long, value_name = "DATASET")]
    pub(crate) suggest: Option<String>,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Run {
    /// Steps to bring up to date, with everything they need; all where none is named
    pub(crate) steps: Vec<String>,
    /// Also the steps that need the named ones
    #[arg(long)]
    pub(crate) downstream: bool,
    /// Print the plan with the reason for every step, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Run the named steps (or all) even if nothing changed
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Steps that run at the same time; the number of cores where not given
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
    /// Set a parameter, as in `--param train.seed=8`
    #[arg(long = "param", value_name = "KEY=VALUE")]
    pub(crate) params: Vec<String>,
    /// Run once for each value, as in `--sweep lr=0.05,0.1`; several multiply
    #[arg(long = "sweep", value_name = "KEY=V1,V2")]
    pub(crate) sweep: Vec<String>,
    /// Go on with steps that do not need a failed one
    #[arg(short, long)]
    pub(crate) keep_going: bool,
    /// Wait for another run in this project instead of failing
    #[arg(long)]
    pub(crate) wait: bool,
    /// Do not evaluate the expectations on data and the tests of models
    #[arg(long)]
    pub(crate) no_tests: bool,
    /// Do not register the model as a new version of the one below `release:`
    #[arg(long)]
    pub(crate) no_register: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Set a parameter, as in `--param train.seed=8`
    #[arg(long = "param", value_name = "KEY=VALUE")]
    pub(crate) params: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// A run, a Git commit, or NAME@VERSION of a dataset; the last run where not given
    pub(crate) from: Option<String>,
    /// What it is compared with; the workspace where not given
    pub(crate) to: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Log {
    #[command(subcommand)]
    pub(crate) action: Option<LogAction>,
    /// Show at most N entries
    #[arg(short = 'n', long, default_value_t = 30, value_name = "N", global = true)]
    pub(crate) limit: usize,
    /// Only entries about this, as in `run:3f2a…`, `dataset:flights`, `store`
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// Only entries of this kind, as in `run.finished`
    #[arg(long)]
    pub(crate) kind: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogAction {
    /// Recompute the Merkle tree and name the first bad entry
    Verify {
        /// A size and root that you noted earlier, as in `120:9f2c…`; the log must extend it
        #[arg(long, value_name = "SIZE:ROOT")]
        against: Option<String>,
    },
    /// Print entries as JSON lines, oldest first, for other programs
    Export,
    /// List the runs of the pipeline
    Runs,
    /// Show where an alias of a registered model pointed over time
    Alias {
        /// The registered model
        model: String,
        /// The alias, as in `champion`
        alias: String,
        /// Only where it pointed then: a time as in `2026-11-26T04:30:00Z`, a day, or the number of a log entry
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
    },
    /// Show what a step of a run printed, or list the steps of the run
    Step {
        /// The run: its id or the beginning of it; `last` for the newest
        run: String,
        /// The step; a list of all where not given
        step: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Data {
    /// Store a file or folder as the next version of a dataset
    Add {
        /// The dataset's name
        name: String,
        /// The file or folder
        #[arg(value_hint = ValueHint::AnyPath)]
        path: PathBuf,
        /// One line for people
        #[arg(short, long)]
        message: Option<String>,
    },
    /// List datasets, or the versions of one
    Ls {
        /// A dataset
        name: Option<String>,
    },
    /// Write a version into a folder
    Get {
        /// NAME or NAME@VERSION; or the digest (b3:…) of anything that is in the store, with --out
        dataset: String,
        /// Where to; the place in the project that it was added from where not given
        #[arg(short, long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
        out: Option<PathBuf>,
        /// Overwrite what is there
        #[arg(long)]
        force: bool,
    },
    /// Compare two versions: schema, rows, statistics
    Diff {
        /// NAME@VERSION, or a path
        from: String,
        /// NAME@VERSION, or a path; the newest version of the same dataset where not given
        to: Option<String>,
        /// Columns that identify a row
        #[arg(long, value_delimiter = ',', value_name = "COLUMN,…")]
        key: Vec<String>,
    },
    /// Describe a version: counts, quantiles, frequent values, correlations
    Profile {
        /// NAME, NAME@VERSION, or a path
        dataset: String,
        /// Also compare it with this: NAME, NAME@VERSION, or a path
        #[arg(long, value_name = "DATASET")]
        against: Option<String>,
        /// Write a page with charts to FILE, which needs no network
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        html: Option<PathBuf>,
    },
    /// Tell whether a version is distributed as another was; fails where it moved much
    Drift {
        /// What it should look like: NAME, NAME@VERSION, or a path
        reference: String,
        /// What is looked at: NAME, NAME@VERSION, or a path
        current: String,
        /// Only these columns
        #[arg(long, value_delimiter = ',', value_name = "COLUMN,…")]
        columns: Vec<String>,
        /// Not these columns
        #[arg(long, value_delimiter = ',', value_name = "COLUMN,…")]
        skip: Vec<String>,
        /// Columns of numbers that are codes: compare them as categories
        #[arg(long, value_delimiter = ',', value_name = "COLUMN,…")]
        categorical: Vec<String>,
        /// Compare the stored profiles instead of the rows: quick, and nearly as exact
        #[arg(long)]
        profiles: bool,
        /// The folder of a trained model: columns count by how much it uses them. Where not given, that of the project's training,
        /// if the table has all columns that it uses
        #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
        model: Option<PathBuf>,
    },
    /// Send stored content to the remote store
    Push(Transfer),
    /// Fetch content from the remote store
    Pull {
        #[command(flatten)]
        transfer: Transfer,
        /// Every version of the datasets instead of the newest (all names and numbers are always fetched)
        #[arg(long)]
        all_versions: bool,
    },
    /// Read every stored byte and name what is damaged
    Verify {
        /// Take out what is damaged, so that pulling, adding or running stores it anew; at a remote, put what is whole here
        /// in its place
        #[arg(long)]
        repair: bool,
        /// Read what is at this remote instead of what is here: its name in the project file, a folder, or an address; without
        /// a value the store's own address, or else the remote of the project
        #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "")]
        remote: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Transfer {
    /// Datasets (NAME or NAME@VERSION); everything the project refers to where none is named
    pub(crate) datasets: Vec<String>,
    /// The remote: its name in the project file, a folder, or an s3://, gs:// or az:// address; `store.remote` of the
    /// project file where not given
    #[arg(long, env = "TIDEMILL_REMOTE", value_name = "URL")]
    pub(crate) remote: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// Remove; without it the command only says what it would remove
    #[arg(long)]
    pub(crate) yes: bool,
    /// Keep what the last N runs of this project refer to; at a remote, what the last N lock files of each project name
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) keep_runs: u64,
    /// Collect at this remote instead of here: its name in the project file, a folder, or an address
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["without", "older_than", "run", "experiment", "logged_model"]
    )]
    pub(crate) remote: Option<String>,
    /// At a remote, or at the address of the store: leave alone what was sent within this time, and remove only what was found
    /// to be of no use so long ago; 24h where not given
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) grace: Option<Duration>,
    /// At the address of the store: keep nothing for this folder of a machine that is gone, as the command names it
    #[arg(long, value_name = "MACHINE:FOLDER", conflicts_with = "remote")]
    pub(crate) forget: Vec<String>,
    /// Keep nothing for the project in this folder, which uses the same store and cannot be asked what it needs
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) without: Vec<PathBuf>,
    /// Remove tracked runs, experiments and logged models for good that were deleted longer ago than this; 30d where not
    /// given, and any time ago where some are named
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) older_than: Option<Duration>,
    /// Of what was deleted, remove this tracked run; may be given several times
    #[arg(long, value_name = "ID")]
    pub(crate) run: Vec<RunId>,
    /// Of what was deleted, remove this experiment with all that is in it, by its number or its name
    #[arg(long, value_name = "EXPERIMENT")]
    pub(crate) experiment: Vec<String>,
    /// Of what was deleted, remove this logged model
    #[arg(long, value_name = "ID")]
    pub(crate) logged_model: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Reproduce {
    /// The run: its id or the beginning of it; `last` for the newest
    pub(crate) run: String,
    /// Keep the clean folder
    #[arg(long)]
    pub(crate) keep: bool,
    /// Steps that run at the same time
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Ci {
    /// A commit, branch or tag; what is checked out where not given
    #[arg(value_name = "REV")]
    pub(crate) revision: Option<String>,
    /// The same
    #[arg(long, value_name = "REV", conflicts_with = "revision")]
    pub(crate) commit: Option<String>,
    /// Fetch it from this remote if it is not here
    #[arg(long, default_value = "origin", value_name = "NAME")]
    pub(crate) remote: String,
    /// The environment that its model is released to; the first one below `release:` where not given
    #[arg(long, value_name = "ENVIRONMENT")]
    pub(crate) to: Option<String>,
    /// Only test it: nothing is registered and nothing is released
    #[arg(long, conflicts_with = "to")]
    pub(crate) no_release: bool,
    /// Keep the checkout
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) who: crate::command::SignIn,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Trigger {
    /// List the triggers, when they fire next, their open jobs, and how their brokers stand
    List,
    /// Show what triggers started and what they did not start, newest first
    History {
        /// A trigger; all where not given
        name: Option<String>,
        /// Show at most N entries
        #[arg(short = 'n', long, default_value_t = 30, value_name = "N")]
        limit: usize,
    },
    /// Fire a trigger by hand: the server of the project starts what it starts
    Fire {
        /// The trigger
        name: String,
    },
    /// Stop a job that waits or runs
    Cancel {
        /// The job's number
        #[arg(value_name = "JOB")]
        number: u64,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) listening: Listening,
    #[command(flatten)]
    pub(crate) gateway: GatewayOptions,
    /// Let webhooks deliver to addresses of the own network, also without TLS
    #[arg(long)]
    pub(crate) private_webhooks: bool,
    /// Serve MLflow's own web pages below `/mlflow/`; DIR is the folder of an installed Python package `mlflow`
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) mlflow_pages: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) users: UserOptions,
}

/// Users with passwords and permissions of their own.
#[derive(Debug, Args)]
pub(crate) struct UserOptions {
    /// Let users sign in with names and passwords, and hold them to what was permitted to them, as MLflow's `basic-auth` does
    #[arg(long)]
    pub(crate) users: bool,
    /// With --users: the administrator that is made where there is no user of this name
    #[arg(long, env = "MLFLOW_AUTH_ADMIN_USERNAME", default_value = "admin", value_name = "NAME")]
    pub(crate) admin: String,
    /// The administrator's first password, in a file; MLFLOW_AUTH_ADMIN_PASSWORD where not given
    #[arg(long, value_name = "FILE", requires = "users", value_hint = ValueHint::FilePath)]
    pub(crate) admin_password_file: Option<PathBuf>,
    /// With --users: what each of them may do with what nothing was granted on
    #[arg(long, default_value = "READ", value_name = "PERMISSION",
        value_parser = ["READ", "USE", "EDIT", "MANAGE", "NO_PERMISSIONS"])]
    pub(crate) default_permission: String,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Serve the models in DIR: each folder in it, or file `NAME.onnx`; folders of numbered folders are versions
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with_all = ["server"])]
    pub(crate) models: Option<PathBuf>,
    /// Serve this model: an ONNX file, or a folder that `log_model` or a training wrote
    #[arg(long, value_name = "NAME=PATH", conflicts_with_all = ["server"], value_parser = named_path)]
    pub(crate) model: Vec<(String, PathBuf)>,
    /// Serve models and endpoints of the Tidemill server at URL, and go on when it is away
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) server: Option<String>,
    /// The secret that the server at URL asks for, in a file
    #[arg(long, value_name = "FILE", requires = "server", value_hint = ValueHint::FilePath)]
    pub(crate) server_token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) listening: Listening,
    #[command(flatten)]
    pub(crate) gateway: GatewayOptions,
}

/// Where a server listens and whom it lets in.
#[derive(Debug, Args)]
pub(crate) struct Listening {
    /// Where to listen: HOST:PORT; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:5000", value_name = "ADDRESS")]
    pub(crate) listen: String,
    /// Keep database and store in DIR; in `.tidemill` of the project, or of the current folder, where not given
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) home: Option<PathBuf>,
    /// Ask every client for the secret in FILE: as a bearer token, or as password with any user name
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) auth_token_file: Option<PathBuf>,
    /// Also answer to this host name, as in `models.example.com` or `*.example.com`; `*` for all
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// Also let web pages of this origin in, as in `https://desk.example.com`; `*` for all
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<String>,
    /// How long requests may go on after SIGTERM
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = time)]
    pub(crate) drain: Duration,
    /// The form of the log on standard error; `TIDEMILL_LOG=info` shows every request
    #[arg(long, default_value = "text", value_name = "FORM")]
    pub(crate) log_format: LogFormat,
}

/// How requests for predictions are answered.
#[derive(Debug, Args)]
pub(crate) struct GatewayOptions {
    /// Also answer requests for predictions over gRPC here: HOST:PORT
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) grpc: Option<String>,
    /// The endpoint or model that `/invocations` asks; `/endpoints/NAME/invocations` asks any
    #[arg(long, value_name = "NAME")]
    pub(crate) default_endpoint: Option<String>,
    /// Run Python models with this interpreter, instead of making an environment from the requirements of each
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) python: Option<PathBuf>,
    /// ONNX Runtime's shared library, or a folder that holds it; the usual places are looked through where not given
    #[arg(long, env = "TIDEMILL_ONNXRUNTIME", value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) onnxruntime: Option<PathBuf>,
    /// What loaded models may occupy together, as in `2GiB`: the least recently used ones make room. As much as there is where not given
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) model_memory: Option<u64>,
    /// How long a request may take where neither its caller nor its endpoint says less
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = time)]
    pub(crate) model_timeout: Duration,
    /// Send spans of requests to the OpenTelemetry collector at URL, over OTLP/HTTP
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) otlp: Option<String>,
    /// Trace this share of the requests, 0 to 1, whose caller did not decide it
    #[arg(long, default_value_t = 1.0, value_name = "SHARE")]
    pub(crate) trace_share: f64,
    #[command(flatten)]
    pub(crate) records: RecordDefaults,
}

/// `churn=models/churn`.
fn named_path(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.to_owned(), path.into())),
        _ => Err(format!("`{text}` is not NAME=PATH")),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    /// Take over an MLflow tracking store and registry; what is here already stays as it is
    Mlflow(ImportMlflow),
}

#[derive(Debug, Args)]
pub(crate) struct ImportMlflow {
    /// A folder `mlruns`, `sqlite:///FILE`, or the address of a running server
    #[arg(long, value_name = "PLACE")]
    pub(crate) from: String,
    /// The folder behind `mlflow-artifacts:` addresses of a database: `--artifacts-destination` of the old server
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) artifacts: Option<PathBuf>,
    /// Import into DIR; into `.tidemill` of the project, or of the current folder, where not given
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) home: Option<PathBuf>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object in a line, for collectors
    Json,
}

/// As in the project file.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    text.parse().map(|tidemill_project::Period(time)| time)
}

/// `512MiB`, `2GB`, or a number of bytes.
fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 8] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
    ];
    let text = text.trim();
    let unit = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let (number, bytes) = unit.unwrap_or_else(|| (text.strip_suffix('B').unwrap_or(text), 1));
    let number: u64 =
        number.trim().parse().map_err(|_| "expected a size such as `512MiB` or `2GB`".to_owned())?;
    number
        .checked_mul(bytes)
        .filter(|size| *size > 0)
        .ok_or_else(|| "expected a size above 0 that fits".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct MergeLock {
    /// The common ancestor
    pub(crate) base: PathBuf,
    /// Our version; receives the result
    pub(crate) ours: PathBuf,
    /// Their version
    pub(crate) theirs: PathBuf,
}

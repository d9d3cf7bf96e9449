//! The project file `tidemill.yaml`: parsed into typed structs, checked, explained, resolved into steps.
//!
//! ```text
//! text ── parse ──▶ Project ── resolve (parameter files, overrides, templates, matrices) ──▶ Resolved
//!            │                     │
//!            └── Report ◀──────────┘   every problem with file, line, column, what was expected, a hint
//! ```
//!
//! This crate never touches disk or network: it works on texts that it is given, and reads parameter files
//! through [`Files`]. It runs nothing and knows no store.

mod alias;
mod check;
mod declared_step;
mod dvc;
mod envelope;
mod model_test;
mod monitor;
mod node;
mod outcome;
mod parse;
mod pattern;
mod project;
mod quantity;
mod receiver;
mod release;
mod render;
mod report;
mod resolve;
mod schema;
mod source;
mod template;
mod training;
mod trigger;
mod yaml;

pub use check::{TableColumn, check_outcome_columns, check_test_columns};
pub use declared_step::{
    Axis, EnvDecl, EnvFrom, Foreach, InputDecl, OutDecl, OutDetails, ParamRef, RetriesDecl, SandboxDecl,
    SandboxOpen, StepDecl, StepParams,
};
pub use dvc::from_dvc;
pub use envelope::{Envelope, MostFlips};
pub use model_test::{
    BaselineTest, CalibrationTest, ChampionTest, CostTest, DecideBy, DirectionTest, FairnessTest, FlipsTest,
    InvarianceTest, LatencyTest, LeakageTest, MetricTest, ModelTest, MustNot, ParityTest, RobustnessTest,
    SizeTest, SliceLoss, SliceTest, SmokeTest, StalenessTest, WorstSliceTest,
};
pub use monitor::{
    ChangeDirection, Columns, ColumnsWord, Detector, DriftMonitor, InputsMonitor, KpiMonitor, Monitor,
    NoData, Outcomes, PredictionDriftMonitor, QualityMonitor, Reference, ServiceMonitor, StaleMonitor,
    StreamMonitor, StreamOf,
};
pub use outcome::{
    OUTCOME_FIELDS, OUTCOME_KEYS, OutcomeColumns, OutcomeKey, OutcomeKeys, OutcomeTable, OutcomeValues,
    ServedEndpoint,
};
pub use parse::{fuzz_entry, parse, parse_bytes, print};
pub use pattern::Pattern;
pub use project::{
    Dataset, HeldOut, OneOrMany, Owner, Params, Project, RecordDefaults, Redaction, Remote, Serving,
    StoreDecl, StoreSettings,
};
pub use quantity::{Period, Share, Size, Templated};
pub use receiver::{
    AlertmanagerReceiver, CloudeventsReceiver, EmailReceiver, MailSecurity, Receiver, SlackReceiver,
    WebhookReceiver,
};
pub use release::{
    AgreementLimits, AgreementOf, Approval, Approve, ApproveWord, Canary, CanaryStage, Champion, CostLimits,
    Environment, Full, GitRecord, Judge, JudgeLimits, JudgeMetric, JudgeOutcomes, JudgeSlices, JudgeWord,
    KpiLimits, Power, PowerElse, QualityLimits, QualityMetric, RateLimits, Release, RequiredTests, Rollout,
    Route, Shadow, Stage, TellDecision, WaitFor, Windows,
};
pub use report::{Diagnostic, Report};
pub use resolve::{Files, Resolved, ResolvedDataset, resolve};
pub use schema::{json_schema, reference};
pub use source::Source;
pub use template::{Filled, template, template_used};
pub use training::TrainDecl;
pub use trigger::{
    CloudEventDecl, CloudEventFilter, GitBranch, GitDecl, LimitDecl, Listen, ListenAt, Message, ModelAlias,
    ModelDecl, Schedule, TriggerDecl, WhenDecl, ZonedSchedule,
};

/// The name of a project's file.
pub const FILE_NAME: &str = "tidemill.yaml";

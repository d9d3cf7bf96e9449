//! Which permissions there are, what each allows, and on what they can be granted: the rules of MLflow's authentication
//! plugin, version 3.17. Pure.

use std::fmt;

use crate::{Error, Result};

/// What somebody may do with a thing, in order: a greater one allows all that a smaller one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Nothing, whatever else was granted on the same kind of thing.
    Deny,
    /// Nothing, where nothing was granted.
    NoPermissions,
    /// Look at it.
    Read,
    /// Also let it work: ask an endpoint for predictions.
    Use,
    /// Also change it.
    Edit,
    /// Also delete it, and say who may do what with it.
    Manage,
}

/// What a request does with a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Looks at it.
    Read,
    /// Lets it work.
    Use,
    /// Changes it.
    Update,
    /// Deletes it or takes it back.
    Delete,
    /// Says who may do what with it.
    Manage,
    /// Makes one, or meets it on the way: nothing has to be granted, but it must not be denied.
    NotDenied,
}

impl Permission {
    /// All, the least first.
    pub const ALL: [Self; 6] =
        [Self::Deny, Self::NoPermissions, Self::Read, Self::Use, Self::Edit, Self::Manage];

    /// Its name on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deny => "DENY",
            Self::NoPermissions => "NO_PERMISSIONS",
            Self::Read => "READ",
            Self::Use => "USE",
            Self::Edit => "EDIT",
            Self::Manage => "MANAGE",
        }
    }

    /// The permission of this name.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.word() == word)
    }

    /// Whether it allows an action.
    pub fn allows(self, action: Action) -> bool {
        match action {
            Action::Read => self >= Self::Read,
            Action::Use => self >= Self::Use,
            Action::Update => self >= Self::Edit,
            Action::Delete | Action::Manage => self >= Self::Manage,
            Action::NotDenied => self != Self::Deny,
        }
    }

    /// What a grant comes to where everybody has `default`: never less than that, unless it denies.
    pub(super) fn at_least(self, default: Self) -> Self {
        if matches!(self, Self::Deny | Self::NoPermissions) { self } else { self.max(default) }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A kind of thing on which permissions are granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// All of a workspace: `USE` for its members, `MANAGE` for those who look after it.
    Workspace,
    /// An experiment, by its number.
    Experiment,
    /// A registered model, by its name.
    RegisteredModel,
    /// A prompt, by its name.
    Prompt,
    /// A scorer of an experiment.
    Scorer,
    /// A secret of a gateway.
    GatewaySecret,
    /// An endpoint that answers requests for predictions, by its name.
    GatewayEndpoint,
    /// What a gateway knows of a model.
    GatewayModelDefinition,
    /// A server of tools.
    McpServer,
    /// All runs.
    Run,
    /// All traces.
    Trace,
    /// All assessments of traces.
    Assessment,
    /// All logged models.
    LoggedModel,
    /// All queues of reviewers.
    ReviewQueue,
    /// All versions of registered models.
    RegisteredModelVersion,
    /// All versions of prompts.
    PromptVersion,
    /// All versions of scorers.
    ScorerVersion,
    /// All versions of servers of tools.
    McpServerVersion,
}

impl Resource {
    /// All.
    pub const ALL: [Self; 18] = [
        Self::Workspace,
        Self::Experiment,
        Self::RegisteredModel,
        Self::Prompt,
        Self::Scorer,
        Self::GatewaySecret,
        Self::GatewayEndpoint,
        Self::GatewayModelDefinition,
        Self::McpServer,
        Self::Run,
        Self::Trace,
        Self::Assessment,
        Self::LoggedModel,
        Self::ReviewQueue,
        Self::RegisteredModelVersion,
        Self::PromptVersion,
        Self::ScorerVersion,
        Self::McpServerVersion,
    ];

    /// Its name on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Experiment => "experiment",
            Self::RegisteredModel => "registered_model",
            Self::Prompt => "prompt",
            Self::Scorer => "scorer",
            Self::GatewaySecret => "gateway_secret",
            Self::GatewayEndpoint => "gateway_endpoint",
            Self::GatewayModelDefinition => "gateway_model_definition",
            Self::McpServer => "mcp_server",
            Self::Run => "run",
            Self::Trace => "trace",
            Self::Assessment => "assessment",
            Self::LoggedModel => "logged_model",
            Self::ReviewQueue => "review_queue",
            Self::RegisteredModelVersion => "registered_model_version",
            Self::PromptVersion => "prompt_version",
            Self::ScorerVersion => "scorer_version",
            Self::McpServerVersion => "mcp_server_version",
        }
    }

    /// The kind of this name.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.word() == word)
    }

    /// What a registered model is, which may be a prompt.
    pub const fn of_model(is_prompt: bool) -> Self {
        if is_prompt { Self::Prompt } else { Self::RegisteredModel }
    }

    /// Whether a permission can be granted on one of them, and not on all together only.
    pub const fn has_single_ones(self) -> bool {
        matches!(
            self,
            Self::Experiment
                | Self::RegisteredModel
                | Self::Prompt
                | Self::Scorer
                | Self::GatewaySecret
                | Self::GatewayEndpoint
                | Self::GatewayModelDefinition
                | Self::McpServer
        )
    }
}

/// Stands for all things of a kind.
pub const EVERY: &str = "*";

/// A kind of thing as a request names it.
pub(super) fn read_resource(word: &str) -> Result<Resource> {
    Resource::from_word(word).ok_or_else(|| {
        let known = Resource::ALL.map(Resource::word).join(", ");
        Error::invalid(format!("Invalid resource type '{word}'. Known are {known}."))
    })
}

/// Checks which things of a kind are meant.
pub(super) fn check_pattern(resource: Resource, pattern: &str) -> Result<()> {
    if pattern == EVERY || resource.has_single_ones() && !pattern.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "Invalid resource_pattern '{pattern}' for resource_type='{}'. Permissions on it are granted on all of them: '*'.",
        resource.word()
    )))
}

/// A permission that can be granted on a kind of thing.
pub(super) fn read_grantable(resource: Resource, word: &str) -> Result<Permission> {
    let unknown = || {
        let known = Permission::ALL.map(Permission::word).join(", ");
        Error::invalid(format!("Invalid permission '{word}'. Known are {known}."))
    };
    let permission = Permission::from_word(word).ok_or_else(unknown)?;
    let allowed: &[Permission] = if resource == Resource::Workspace {
        &[Permission::Use, Permission::Manage]
    } else {
        &[Permission::Deny, Permission::Read, Permission::Use, Permission::Edit, Permission::Manage]
    };
    if allowed.contains(&permission) {
        return Ok(permission);
    }
    let allowed: Vec<&str> = allowed.iter().map(|permission| permission.word()).collect();
    Err(Error::invalid(format!(
        "Invalid permission '{word}' for resource_type='{}'. What can be granted on it is {}.",
        resource.word(),
        allowed.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_permission_allows() {
        // In the order of the actions: read, use, update, delete, manage, not denied.
        for (permission, allowed) in [
            (Permission::Deny, "------"),
            (Permission::NoPermissions, "-----n"),
            (Permission::Read, "r----n"),
            (Permission::Use, "ru---n"),
            (Permission::Edit, "ruw--n"),
            (Permission::Manage, "ruwdmn"),
        ] {
            let actions = [
                (Action::Read, 'r'),
                (Action::Use, 'u'),
                (Action::Update, 'w'),
                (Action::Delete, 'd'),
                (Action::Manage, 'm'),
                (Action::NotDenied, 'n'),
            ];
            let found: String = actions
                .into_iter()
                .map(|(action, letter)| if permission.allows(action) { letter } else { '-' })
                .collect();
            assert_eq!(found, allowed, "{permission}");
            assert_eq!(Permission::from_word(permission.word()), Some(permission));
        }
        assert_eq!(Permission::from_word("read"), None);
    }

    #[test]
    fn what_can_be_granted() {
        for resource in Resource::ALL {
            assert_eq!(Resource::from_word(resource.word()), Some(resource));
            check_pattern(resource, EVERY).unwrap();
            assert_eq!(check_pattern(resource, "7").is_ok(), resource.has_single_ones(), "{resource:?}");
            let words: Vec<&str> = Permission::ALL
                .into_iter()
                .map(Permission::word)
                .filter(|word| read_grantable(resource, word).is_ok())
                .collect();
            if resource == Resource::Workspace {
                assert_eq!(words, ["USE", "MANAGE"]);
            } else {
                assert_eq!(words, ["DENY", "READ", "USE", "EDIT", "MANAGE"]);
            }
        }
        assert!(check_pattern(Resource::Experiment, "").is_err());
        assert!(read_grantable(Resource::Experiment, "OWN").is_err());
        assert!(read_resource("experiments").is_err());
    }
}

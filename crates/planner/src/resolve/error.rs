//! Why an Addon, its task and its Function do not make a Job.

/// Why a task could not be resolved. Every message is one sentence that names the object and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The session or restore names no Addon.
    #[error("no Addon is named: set addon.name, for example to workload-addon")]
    NoAddon,
    /// The session or restore names no task.
    #[error("no task of Addon {addon} is named: set addon.tasks[0].name to {example}")]
    NoTask {
        /// Name of the Addon.
        addon: String,
        /// A task that would do.
        example: &'static str,
    },
    /// The Addon has no such task.
    #[error("Addon {addon} has no task {task}: name one of {known}")]
    UnknownTask {
        /// Name of the Addon.
        addon: String,
        /// The task as written.
        task: String,
        /// The tasks that it has.
        known: String,
    },
    /// The task exists, but Orlop cannot run it.
    #[error("task {task} of Addon {addon} is not supported yet: {why}; use task {instead}")]
    UnsupportedTask {
        /// Name of the Addon.
        addon: String,
        /// The task.
        task: String,
        /// What stands in the way.
        why: String,
        /// A task that is supported.
        instead: &'static str,
    },
    /// Two tasks that would move the same data.
    #[error("Addon {addon} is asked for {count} tasks that move data: name one of them")]
    SeveralTasks {
        /// Name of the Addon.
        addon: String,
        /// How many.
        count: usize,
    },
    /// The task names no Function, or one that does not exist.
    #[error("Function {function} of task {task} in Addon {addon} does not exist: create it or install the catalogue")]
    FunctionMissing {
        /// Name of the Addon.
        addon: String,
        /// The task.
        task: String,
        /// The Function.
        function: String,
    },
    /// The Function has no image.
    #[error("Function {function} names no image: set spec.image")]
    NoImage {
        /// The Function.
        function: String,
    },
    /// A required parameter was not given.
    #[error("parameter {parameter} of task {task} in Addon {addon} is required: set addon.tasks[].params.{parameter}")]
    MissingParameter {
        /// Name of the Addon.
        addon: String,
        /// The task.
        task: String,
        /// The parameter.
        parameter: String,
    },
    /// A parameter is no plain value.
    #[error("parameter {parameter} of task {task} must be a string, a number or a boolean")]
    StructuredParameter {
        /// The task.
        task: String,
        /// The parameter.
        parameter: String,
    },
    /// A variable takes its value from another object.
    #[error("variable {variable} of task {task} takes its value from another object, which is not supported: give it a value")]
    ReferencedVariable {
        /// The task.
        task: String,
        /// The variable.
        variable: String,
    },
    /// A placeholder names a variable without a value and has no default.
    #[error("placeholder ${{{variable}}} in {place} has no value: set it in addon.tasks[].params or addon.tasks[].variables")]
    UnknownVariable {
        /// The variable.
        variable: String,
        /// Where the placeholder stands.
        place: String,
    },
    /// A placeholder that is not written as one.
    #[error("{text:?} in {place} holds a placeholder that is not ${{name}} or ${{name:=default}}")]
    MalformedPlaceholder {
        /// The text.
        text: String,
        /// Where it stands.
        place: String,
    },
    /// Substitution gave a value of the wrong shape.
    #[error("{place} does not fit its schema once its variables are filled in: {error}")]
    Shape {
        /// Where.
        place: String,
        /// What is wrong.
        error: String,
    },
    /// An override names a volume that the task does not have.
    #[error("addonVolumes names volume {volume}, which task {task} does not have: name one of {known}")]
    UnknownVolume {
        /// The task.
        task: String,
        /// The volume as written.
        volume: String,
        /// The volumes that it has.
        known: String,
    },
    /// A path that is not absolute or leaves its place.
    #[error("path {path:?} of task {task} must be absolute and without `..`")]
    BadPath {
        /// The task.
        task: String,
        /// The path.
        path: String,
    },
    /// The task backs up paths, but none was given and the target mounts no volume.
    #[error("task {task} names no paths and the target mounts no volume that could be backed up: set addon.tasks[].params.paths")]
    NoPaths {
        /// The task.
        task: String,
    },
}

impl ResolveError {
    /// The same cause in one word, for a condition's reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoAddon => "AddonNotNamed",
            Self::NoTask { .. } => "TaskNotNamed",
            Self::UnknownTask { .. } => "TaskUnknown",
            Self::UnsupportedTask { .. } => "TaskNotSupported",
            Self::SeveralTasks { .. } => "SeveralTasks",
            Self::FunctionMissing { .. } => "FunctionNotFound",
            Self::NoImage { .. } => "FunctionWithoutImage",
            Self::MissingParameter { .. } => "ParameterMissing",
            Self::StructuredParameter { .. } => "ParameterNotPlain",
            Self::ReferencedVariable { .. } => "VariableNotPlain",
            Self::UnknownVariable { .. } => "VariableWithoutValue",
            Self::MalformedPlaceholder { .. } => "PlaceholderMalformed",
            Self::Shape { .. } => "ShapeInvalid",
            Self::UnknownVolume { .. } => "VolumeUnknown",
            Self::BadPath { .. } => "PathInvalid",
            Self::NoPaths { .. } => "PathsMissing",
        }
    }

    /// Whether the cause may go away without a change of the session: an object may still appear.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::FunctionMissing { .. } | Self::NoImage { .. } | Self::NoPaths { .. })
    }
}

//! Why there is nothing to restore.

/// Why a RestoreSession has no data source. Every message is one sentence that names the object and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Nothing is named.
    #[error("no data source is named: set spec.dataSource.snapshot, and spec.dataSource.repository for latest or pitr")]
    NoSource,
    /// `latest` and `pitr` choose among a Repository's Snapshots.
    #[error("{what} chooses among the Snapshots of a Repository: set spec.dataSource.repository")]
    NoRepository {
        /// `snapshot: latest` or `pitr`.
        what: &'static str,
    },
    /// A point in time without a time.
    #[error("pitr names no time: set spec.dataSource.pitr.targetTime")]
    NoTime,
    /// The Repository does not exist.
    #[error("Repository {namespace}/{repository} does not exist: correct spec.dataSource.repository or namespace")]
    RepositoryMissing {
        /// Namespace.
        namespace: String,
        /// Name.
        repository: String,
    },
    /// The Snapshot does not exist.
    #[error("Snapshot {namespace}/{snapshot} does not exist: correct spec.dataSource.snapshot or namespace")]
    SnapshotMissing {
        /// Namespace.
        namespace: String,
        /// Name.
        snapshot: String,
    },
    /// The Snapshot belongs to another Repository than the one that is named.
    #[error("Snapshot {namespace}/{snapshot} belongs to Repository {actual}, not to {named}: correct spec.dataSource.repository")]
    OtherRepository {
        /// Namespace.
        namespace: String,
        /// Name.
        snapshot: String,
        /// Its Repository.
        actual: String,
        /// The one that is named.
        named: String,
    },
    /// The Snapshot is not complete.
    #[error("Snapshot {namespace}/{snapshot} is {phase}, only a Succeeded one can be restored: name another")]
    NotSucceeded {
        /// Namespace.
        namespace: String,
        /// Name.
        snapshot: String,
        /// Its phase.
        phase: String,
    },
    /// The Snapshot's data was removed by retention.
    #[error("the data of Snapshot {namespace}/{snapshot} was removed by its retention policy: name another")]
    DataRemoved {
        /// Namespace.
        namespace: String,
        /// Name.
        snapshot: String,
    },
    /// No Snapshot qualifies.
    #[error("Repository {namespace}/{repository} has no Succeeded Snapshot{condition}: make a backup first")]
    NoneQualifies {
        /// Namespace.
        namespace: String,
        /// Name.
        repository: String,
        /// A bound in time, or nothing.
        condition: String,
    },
    /// A component that the Snapshot does not have.
    #[error("Snapshot {snapshot} has no component {component}: name one of {known}")]
    UnknownComponent {
        /// The Snapshot.
        snapshot: String,
        /// The component as written.
        component: String,
        /// The components it has.
        known: String,
    },
    /// A component stored by another tool.
    #[error("component {component} of Snapshot {snapshot} was stored by {driver}, only Restic is supported yet")]
    OtherDriver {
        /// The Snapshot.
        snapshot: String,
        /// The component.
        component: String,
        /// The tool.
        driver: String,
    },
    /// A component without restic snapshots.
    #[error("component {component} of Snapshot {snapshot} names no restic snapshot: name another Snapshot")]
    Empty {
        /// The Snapshot.
        snapshot: String,
        /// The component.
        component: String,
    },
    /// Several components for a target that takes one.
    #[error("{target} takes one component and Snapshot {snapshot} has {components}: name one in spec.dataSource.components")]
    SeveralComponents {
        /// The Snapshot.
        snapshot: String,
        /// Its components.
        components: String,
        /// The target.
        target: String,
    },
    /// Hooks.
    #[error("hooks are not supported yet: remove spec.hooks or run them yourself")]
    Hooks,
    /// Manifests.
    #[error("manifests are not restored yet: remove spec.manifestOptions and name an existing target")]
    Manifests,
}

impl SourceError {
    /// The same cause in one word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoSource => "DataSourceMissing",
            Self::NoRepository { .. } => "RepositoryNotNamed",
            Self::NoTime => "TargetTimeMissing",
            Self::RepositoryMissing { .. } => "RepositoryNotFound",
            Self::SnapshotMissing { .. } => "SnapshotNotFound",
            Self::OtherRepository { .. } => "SnapshotOfOtherRepository",
            Self::NotSucceeded { .. } => "SnapshotNotSucceeded",
            Self::DataRemoved { .. } => "SnapshotDataRemoved",
            Self::NoneQualifies { .. } => "NoSnapshotQualifies",
            Self::UnknownComponent { .. } => "ComponentUnknown",
            Self::OtherDriver { .. } => "DriverNotSupported",
            Self::Empty { .. } => "ComponentEmpty",
            Self::SeveralComponents { .. } => "SeveralComponents",
            Self::Hooks => "HooksNotSupported",
            Self::Manifests => "ManifestsNotSupported",
        }
    }
}

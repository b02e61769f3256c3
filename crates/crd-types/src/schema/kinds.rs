//! What a definition says about a kind besides its schema.

use k8s_openapi::Resource;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};

use crate::{
    Addon, BackupBatch, BackupBlueprint, BackupConfiguration, BackupSession, BackupStorage, BackupVerificationSession,
    BackupVerifier, Function, HookTemplate, Repository, RestoreSession, RetentionPolicy, Snapshot,
};

/// Name, JSON path and type of a printer column.
type Column = (&'static str, &'static str, &'static str);

/// One kind.
pub(super) struct Kind {
    pub(super) kind: &'static str,
    pub(super) group: &'static str,
    pub(super) plural: &'static str,
    pub(super) short_name: Option<&'static str>,
    pub(super) categories: &'static [&'static str],
    pub(super) cluster_scoped: bool,
    pub(super) has_status: bool,
    pub(super) columns: &'static [Column],
    schema: fn(SchemaGenerator) -> Schema,
}

impl Kind {
    const fn of<K: Resource + JsonSchema>(columns: &'static [Column]) -> Self {
        Self {
            kind: K::KIND,
            group: K::GROUP,
            plural: K::URL_PATH_SEGMENT,
            short_name: None,
            categories: &["kubestash", "appscode", "all"],
            cluster_scoped: false,
            has_status: false,
            columns,
            schema: SchemaGenerator::into_root_schema_for::<K>,
        }
    }

    const fn cluster(mut self) -> Self {
        self.cluster_scoped = true;
        self
    }

    const fn status(mut self) -> Self {
        self.has_status = true;
        self
    }

    const fn short(mut self, name: &'static str) -> Self {
        self.short_name = Some(name);
        self
    }

    /// Leaves the kind out of `kubectl get all`.
    const fn not_in_all(mut self) -> Self {
        self.categories = &["kubestash", "appscode"];
        self
    }

    /// The singular is always the lower-case kind, also where the plural looks like one.
    pub(super) fn singular(&self) -> String {
        self.kind.to_lowercase()
    }

    pub(super) const fn scope(&self) -> &'static str {
        if self.cluster_scoped { "Cluster" } else { "Namespaced" }
    }

    /// The schema as the Rust types have it.
    pub(super) fn rust_schema(&self) -> Schema {
        (self.schema)(SchemaSettings::draft2020_12().into_generator())
    }
}

const AGE: Column = ("Age", ".metadata.creationTimestamp", "date");
const PHASE: Column = ("Phase", ".status.phase", "string");
const DURATION: Column = ("Duration", ".status.duration", "string");
const DELETION_POLICY: Column = ("Deletion-Policy", ".spec.deletionPolicy", "string");
const DEFAULT: Column = ("Default", ".spec.default", "boolean");

pub(super) static KINDS: [Kind; 14] = [
    Kind::of::<Addon>(&[AGE]).cluster(),
    Kind::of::<Function>(&[AGE]).cluster().short("fn"),
    Kind::of::<BackupBatch>(&[AGE]).status(),
    Kind::of::<BackupBlueprint>(&[AGE]),
    Kind::of::<BackupConfiguration>(&[PHASE, ("Paused", ".spec.paused", "boolean"), AGE]).status().short("bc"),
    Kind::of::<BackupSession>(&[
        ("Invoker-Type", ".spec.invoker.kind", "string"),
        ("Invoker-Name", ".spec.invoker.name", "string"),
        PHASE,
        DURATION,
        AGE,
    ])
    .status(),
    Kind::of::<BackupVerificationSession>(&[PHASE, DURATION, AGE]).status(),
    Kind::of::<BackupVerifier>(&[AGE]),
    // The published definition points the second column at a field that does not exist; it stays blank here too.
    Kind::of::<HookTemplate>(&[("Executor", ".spec.executor.type", "string"), ("Timeout", ".spec.timeout", "string"), AGE]),
    Kind::of::<RestoreSession>(&[("Repository", ".spec.dataSource.repository", "string"), PHASE, DURATION, AGE])
        .status()
        .short("restore"),
    Kind::of::<BackupStorage>(&[
        ("Provider", ".spec.storage.provider", "string"),
        DEFAULT,
        DELETION_POLICY,
        ("Total-Size", ".status.totalSize", "string"),
        PHASE,
        AGE,
    ])
    .status(),
    Kind::of::<Repository>(&[
        ("Integrity", ".status.integrity", "boolean"),
        ("Snapshot-Count", ".status.snapshotCount", "integer"),
        ("Size", ".status.size", "string"),
        PHASE,
        ("Last-Successful-Backup", ".status.lastBackupTime", "date"),
        AGE,
    ])
    .status()
    .short("repo"),
    Kind::of::<RetentionPolicy>(&[("Max-Retention-Period", ".spec.maxRetentionPeriod", "string"), DEFAULT, AGE]).not_in_all(),
    Kind::of::<Snapshot>(&[
        ("Repository", ".spec.repository", "string"),
        ("Session", ".spec.session", "string"),
        ("Snapshot-Time", ".status.snapshotTime", "string"),
        DELETION_POLICY,
        PHASE,
        AGE,
    ])
    .status()
    .not_in_all(),
];

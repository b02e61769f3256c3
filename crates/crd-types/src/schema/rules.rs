//! What our definitions say beyond the published ones. `docs/crd-differences.md` lists it all; a test keeps the two
//! together.
//!
//! Rules that look at one object only stand here, as KubeStash's admission webhooks have them (specification 1.6).
//! Rules across objects show on the consumer's `ValidationPassed`. Each rule is cheap, and where its cost depends on
//! the length of a list or string, that length has a generous limit.

use serde_json::{Map, Value, json};

use super::{SchemaError, facts::segments};

/// One addition to a definition.
struct Addition {
    kind: &'static str,
    path: &'static str,
    change: Change,
}

enum Change {
    /// A validation rule in CEL and the message for whoever breaks it.
    Rule(&'static str, &'static str),
    /// A limit of the schema.
    Limit(&'static str, u32),
    /// The list is a map by `type`, so that several writers can each own their conditions.
    MapByType,
}

use Change::{Limit, MapByType, Rule};

const fn at(kind: &'static str, path: &'static str, change: Change) -> Addition {
    Addition { kind, path, change }
}

/// More sessions, backends or repositories than anyone has; it bounds the cost of comparing them with each other.
const MANY: u32 = 64;
/// Length of a DNS subdomain, the longest name an object can have.
const NAME_LENGTH: u32 = 253;

const SELECTOR: Change = Rule(
    "!has(self.from) || self.from != 'Selector' || has(self.selector)",
    "from: Selector needs a selector; name the labels, or use All or Same",
);
const SESSION_PHASE: Change = Rule(
    "!has(oldSelf.status) || !has(oldSelf.status.phase) || !(oldSelf.status.phase in ['Succeeded', 'Failed', 'Skipped']) \
     || (has(self.status) && has(self.status.phase) && self.status.phase == oldSelf.status.phase)",
    "a session that has ended keeps its phase; make a new one instead",
);
const WORK_PHASE: Change = Rule(
    "!has(oldSelf.status) || !has(oldSelf.status.phase) || !(oldSelf.status.phase in ['Succeeded', 'Failed']) \
     || (has(self.status) && has(self.status.phase) && self.status.phase == oldSelf.status.phase)",
    "what has succeeded or failed keeps its phase; make a new one instead",
);
const IMMUTABLE_SPEC: Change = Rule(
    "!has(oldSelf.spec) || (has(self.spec) && self.spec == oldSelf.spec)",
    "the spec of a session cannot be changed; make a new session instead",
);

/// A condition that must hold while Repositories use a storage.
macro_rules! while_in_use {
    ($condition:expr) => {
        Rule(
            concat!(
                "!has(oldSelf.status) || !has(oldSelf.status.repositories) || size(oldSelf.status.repositories) == 0 ",
                "|| !has(oldSelf.spec) || !has(oldSelf.spec.storage) || (has(self.spec) && has(self.spec.storage) && ",
                $condition,
                ")"
            ),
            concat!(
                "the place of a storage cannot be changed while Repositories use it (status.repositories); ",
                "make a new BackupStorage instead"
            ),
        )
    };
}

/// A field below `spec.storage` that is as it was.
macro_rules! same {
    ($field:expr) => {
        concat!(
            "has(self.spec.storage.",
            $field,
            ") == has(oldSelf.spec.storage.",
            $field,
            ") && (!has(self.spec.storage.",
            $field,
            ") || self.spec.storage.",
            $field,
            " == oldSelf.spec.storage.",
            $field,
            ")"
        )
    };
}

/// A backend whose fields are all as they were.
macro_rules! same_backend {
    ($backend:literal, $first:literal $(, $more:literal)*) => {
        concat!(
            "has(self.spec.storage.", $backend, ") == has(oldSelf.spec.storage.", $backend, ") && (!has(self.spec.storage.", $backend,
            ") || (", same!(concat!($backend, ".", $first)), $(" && ", same!(concat!($backend, ".", $more)),)* "))"
        )
    };
}

static ADDITIONS: &[Addition] = &[
    at("BackupBatch", "status.conditions", MapByType),
    at("BackupBatch", "status.sessions[].conditions", MapByType),
    at("BackupConfiguration", "status.conditions", MapByType),
    at("BackupConfiguration", "status.sessions[].conditions", MapByType),
    at("BackupSession", "status.conditions", MapByType),
    at("BackupStorage", "status.conditions", MapByType),
    at("BackupVerificationSession", "status.conditions", MapByType),
    at("Repository", "status.conditions", MapByType),
    at("RestoreSession", "status.conditions", MapByType),
    at("Snapshot", "status.conditions", MapByType),
    // Phases that never change again.
    at("BackupSession", "", SESSION_PHASE),
    at("BackupVerificationSession", "", SESSION_PHASE),
    at("RestoreSession", "", WORK_PHASE),
    at("Snapshot", "", WORK_PHASE),
    // What cannot be changed.
    at("BackupSession", "", IMMUTABLE_SPEC),
    at("BackupVerificationSession", "", IMMUTABLE_SPEC),
    at(
        "Repository",
        "",
        Rule(
            "!has(oldSelf.spec) || !has(oldSelf.spec.path) \
             || (has(self.spec) && has(self.spec.path) && self.spec.path == oldSelf.spec.path)",
            "spec.path cannot be changed, because the data stays where it is; make a new Repository instead",
        ),
    ),
    // KubeStash compares all of spec.storage. Secret, endpoint and tuning do not say where the data is, and rotating a
    // Secret or renaming an endpoint must not need a new storage.
    at("BackupStorage", "", while_in_use!(same!("provider"))),
    at("BackupStorage", "", while_in_use!(same!("local"))),
    at("BackupStorage", "", while_in_use!(same_backend!("s3", "bucket", "region", "prefix"))),
    at("BackupStorage", "", while_in_use!(same_backend!("gcs", "bucket", "prefix"))),
    at("BackupStorage", "", while_in_use!(same_backend!("azure", "storageAccount", "container", "prefix"))),
    // Shape.
    at("BackupStorage", "spec.usagePolicy.allowedNamespaces", SELECTOR),
    at("RetentionPolicy", "spec.usagePolicy.allowedNamespaces", SELECTOR),
    at("BackupBlueprint", "spec.usagePolicy.allowedNamespaces", SELECTOR),
    at("HookTemplate", "spec.usagePolicy.allowedNamespaces", SELECTOR),
    at(
        "RetentionPolicy",
        "spec",
        Rule(
            "has(self.maxRetentionPeriod) || has(self.successfulSnapshots)",
            "a RetentionPolicy needs maxRetentionPeriod or successfulSnapshots; without either it would keep nothing",
        ),
    ),
    at("RetentionPolicy", "spec.maxRetentionPeriod", Limit("maxLength", 256)),
    at(
        "RetentionPolicy",
        "spec.maxRetentionPeriod",
        Rule(
            r"self.matches('^\\s*(-?[0-9]+(y|mo|w|d|h|m))*\\s*$')",
            "maxRetentionPeriod is a number with y, mo, w, d, h or m, several times if need be, such as 30d or 1y6mo",
        ),
    ),
    at("BackupBlueprint", "spec", Rule("has(self.backupConfigurationTemplate)", "a BackupBlueprint needs a template")),
    at("HookTemplate", "spec", Rule("has(self.executor)", "a HookTemplate needs an executor")),
    at(
        "HookTemplate",
        "spec",
        Rule(
            "has(self.action) || (has(self.executor) && has(self.executor.type) && self.executor.type == 'Function')",
            "a HookTemplate needs an action, unless its executor is a Function",
        ),
    ),
    at(
        "HookTemplate",
        "spec.executor",
        Rule(
            "!has(self.type) || self.type != 'Function' || has(self.__function__)",
            "an executor of type Function needs its function",
        ),
    ),
    at(
        "HookTemplate",
        "spec.executor",
        Rule(
            "!has(self.type) || self.type != 'Pod' || (has(self.pod) && has(self.pod.selector) && self.pod.selector != '')",
            "an executor of type Pod needs pod.selector",
        ),
    ),
    at(
        "RestoreSession",
        "spec",
        Rule("has(self.dataSource) || !(has(self.target) || has(self.addon))", "a RestoreSession needs a dataSource"),
    ),
    at(
        "RestoreSession",
        "spec.dataSource",
        Rule(
            "!has(self.pitr) || (has(self.pitr.targetTime) && has(self.repository) && self.repository != '')",
            "a restore to a point in time needs pitr.targetTime and repository",
        ),
    ),
    at(
        "RestoreSession",
        "spec.dataSource",
        Rule(
            "has(self.pitr) || (has(self.snapshot) && self.snapshot != '')",
            "a restore needs a snapshot, either a name or latest, or else pitr",
        ),
    ),
    at(
        "RestoreSession",
        "spec.dataSource",
        Rule(
            "has(self.pitr) || !has(self.snapshot) || self.snapshot != 'latest' || (has(self.repository) && self.repository != '')",
            "snapshot: latest needs the repository that it is the latest of",
        ),
    ),
    at("BackupConfiguration", "spec.backends", Limit("maxItems", MANY)),
    at("BackupConfiguration", "spec.backends[].name", Limit("maxLength", NAME_LENGTH)),
    at(
        "BackupConfiguration",
        "spec.backends",
        Rule(
            "self.all(a, self.exists_one(b, (has(a.name) ? a.name : '') == (has(b.name) ? b.name : '')))",
            "the names of backends must differ",
        ),
    ),
    at("BackupConfiguration", "spec.sessions", Limit("maxItems", MANY)),
    at("BackupConfiguration", "spec.sessions[].name", Limit("maxLength", NAME_LENGTH)),
    at(
        "BackupConfiguration",
        "spec.sessions",
        Rule(
            "self.all(a, self.exists_one(b, (has(a.name) ? a.name : '') == (has(b.name) ? b.name : '')))",
            "the names of sessions must differ",
        ),
    ),
    at("BackupConfiguration", "spec.sessions[]", Rule("has(self.name) && self.name != ''", "each session needs a name")),
    at("BackupConfiguration", "spec.sessions[]", Rule("has(self.scheduler)", "each session needs a scheduler")),
    at(
        "BackupConfiguration",
        "spec.sessions[]",
        Rule(
            "has(self.addon) && has(self.addon.name) && self.addon.name != '' && has(self.addon.tasks) && size(self.addon.tasks) > 0",
            "each session needs an addon with a name and at least one task",
        ),
    ),
    at("BackupConfiguration", "spec.sessions[].repositories", Limit("maxItems", MANY)),
    at(
        "BackupConfiguration",
        "spec.sessions[]",
        Rule("has(self.repositories) && size(self.repositories) > 0", "each session needs at least one repository"),
    ),
    at(
        "BackupConfiguration",
        "spec.sessions[].repositories[]",
        Rule(
            "has(self.name) && self.name != '' && has(self.directory) && self.directory != ''",
            "each repository needs a name and a directory",
        ),
    ),
];

/// Puts the additions of a kind into its schema.
pub(super) fn add(kind: &'static str, schema: &mut Value) -> Result<(), SchemaError> {
    for addition in ADDITIONS.iter().filter(|addition| addition.kind == kind) {
        let missing = || SchemaError::RulePath { kind, path: addition.path.to_owned() };
        let place = descend(schema, addition.path).ok_or_else(missing)?;
        match &addition.change {
            Rule(rule, message) => {
                let rules = place.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
                rules.as_array_mut().ok_or_else(missing)?.push(json!({ "rule": rule, "message": message }));
            }
            Limit(keyword, limit) => drop(place.insert((*keyword).to_owned(), json!(limit))),
            MapByType => {
                place.insert("x-kubernetes-list-type".to_owned(), json!("map"));
                place.insert("x-kubernetes-list-map-keys".to_owned(), json!(["type"]));
            }
        }
    }
    Ok(())
}

/// The schema at a path.
fn descend<'a>(schema: &'a mut Value, path: &str) -> Option<&'a mut Map<String, Value>> {
    let mut current = schema;
    for segment in segments(path) {
        current = match segment.as_str() {
            "[]" => current.get_mut("items")?,
            "{}" => current.get_mut("additionalProperties")?,
            name => current.get_mut("properties")?.get_mut(name)?,
        };
    }
    current.as_object_mut()
}

//! Which task of an Addon is meant, and whether Orlop can run it (specification §4.1, §6.4).

use crd_types::{Addon, AddonInfo, Task, TaskExecutor, TaskReference};

use super::{ResolveError, Verb};

/// The task that moves data, as the Addon defines it and as the session asks for it.
#[derive(Debug, Clone, Copy)]
pub struct SelectedTask<'a> {
    /// Its definition.
    pub definition: &'a Task,
    /// Its use.
    pub reference: &'a TaskReference,
    /// Name of the Addon.
    pub addon: &'a str,
    /// Name of the task, in today's spelling.
    pub name: &'a str,
    /// Name of its Function.
    pub function: &'a str,
}

/// Old spellings of task names that published manifests still carry.
const LEGACY_NAMES: [(&str, &str); 8] = [
    ("LogicalBackup", "logical-backup"),
    ("LogicalBackupRestore", "logical-backup-restore"),
    ("ManifestBackup", "manifest-backup"),
    ("ManifestRestore", "manifest-restore"),
    ("VolumeSnapshot", "volume-snapshot"),
    ("VolumeSnapshotRestore", "volume-snapshot-restore"),
    ("VolumeClone", "volume-clone"),
    ("LogicalRestore", "logical-backup-restore"),
];

/// Tasks of the public catalogue that Orlop does not run yet, and why.
const NOT_YET: [(&str, &str); 5] = [
    ("volume-snapshot", "volume snapshots are not taken yet"),
    ("volume-snapshot-restore", "volume snapshots are not restored yet"),
    ("volume-clone", "claims are not made from templates yet"),
    ("manifest-backup", "manifests are not backed up yet"),
    ("manifest-restore", "manifests are not restored yet"),
];

/// A task's name in today's spelling.
pub fn task_name(written: &str) -> &str {
    LEGACY_NAMES.iter().find(|(legacy, _)| *legacy == written).map_or(written, |(_, name)| name)
}

/// Finds the one task that a session or restore asks for.
///
/// # Errors
/// [`ResolveError`] when there is none, it is unknown, or it is not supported yet.
pub fn select<'a>(verb: Verb, addon: &'a Addon, info: &'a AddonInfo) -> Result<SelectedTask<'a>, ResolveError> {
    let addon_name = info.name.as_deref().filter(|name| !name.is_empty()).ok_or(ResolveError::NoAddon)?;
    let definitions = match verb {
        Verb::Backup => &addon.spec.backup_tasks,
        Verb::Restore => &addon.spec.restore_tasks,
    };
    let mut selected = Vec::new();
    for reference in &info.tasks {
        let written = reference.name.as_deref().unwrap_or_default();
        let name = task_name(written);
        let definition = definitions.iter().find(|task| task.name.as_deref().map(task_name) == Some(name));
        let Some(definition) = definition else {
            return Err(ResolveError::UnknownTask {
                addon: addon_name.to_owned(),
                task: written.to_owned(),
                known: names(definitions),
            });
        };
        supported(verb, addon_name, name, definition)?;
        let function = definition.function.as_deref().unwrap_or_default();
        selected.push(SelectedTask { definition, reference, addon: addon_name, name, function });
    }
    match selected.as_slice() {
        [] => Err(ResolveError::NoTask { addon: addon_name.to_owned(), example: verb.logical_task() }),
        [task] => Ok(*task),
        several => Err(ResolveError::SeveralTasks { addon: addon_name.to_owned(), count: several.len() }),
    }
}

fn supported(verb: Verb, addon: &str, name: &str, definition: &Task) -> Result<(), ResolveError> {
    let refuse = |why: String| ResolveError::UnsupportedTask {
        addon: addon.to_owned(),
        task: name.to_owned(),
        why,
        instead: verb.logical_task(),
    };
    if let Some((_, why)) = NOT_YET.iter().find(|(task, _)| *task == name) {
        return Err(refuse((*why).to_owned()));
    }
    match definition.driver.as_deref() {
        Some("Restic") => {}
        Some(driver) => return Err(refuse(format!("its driver is {driver}, only Restic is supported"))),
        None => return Err(refuse("it names no driver, only Restic is supported".to_owned())),
    }
    match definition.executor {
        None | Some(TaskExecutor::Job) => Ok(()),
        Some(executor) => Err(refuse(format!("its executor is {executor}, only Job is supported"))),
    }
}

fn names(tasks: &[Task]) -> String {
    let names: Vec<&str> = tasks.iter().filter_map(|task| task.name.as_deref()).collect();
    if names.is_empty() { "none: it has no tasks of this sort".to_owned() } else { names.join(", ") }
}

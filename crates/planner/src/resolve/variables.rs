//! The values that placeholders take.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{ResolveError, SelectedTask};

/// Name that `${RESTIC_CACHE_VOLUME}` stands for.
pub const RESTIC_CACHE_VOLUME: &str = "kubestash-tmp-volume";
/// Name that `${INTERIM_VOLUME}` stands for.
const INTERIM_VOLUME: &str = "kubestash-interim-volume";

/// Values by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// What every task may refer to: names of volumes, and the session it works for.
    pub fn of_session(namespace: &str, invoker_kind: &str, invoker_name: &str) -> Self {
        Self::default()
            .with("namespace", namespace)
            .with("invokerKind", invoker_kind)
            .with("invokerName", invoker_name)
            .with("RESTIC_CACHE_VOLUME", RESTIC_CACHE_VOLUME)
            .with("INTERIM_VOLUME", INTERIM_VOLUME)
    }

    /// The same with one more value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    /// Sets a value.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Takes over all values of `others`, which win.
    pub fn extend(&mut self, others: &Self) {
        self.0.extend(others.0.iter().map(|(name, value)| (name.clone(), value.clone())));
    }

    /// The values as [`super::substitute`] wants them.
    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Adds the defaults, parameters and variables of a task, in that order.
    ///
    /// # Errors
    /// [`ResolveError`] for a parameter that is no plain value and a variable that refers elsewhere.
    pub(super) fn add_task(&mut self, task: &SelectedTask<'_>) -> Result<(), ResolveError> {
        for parameter in &task.definition.parameters {
            if let (Some(name), Some(default)) = (&parameter.name, &parameter.default) {
                self.set(name, default);
            }
        }
        for (name, value) in &task.reference.params {
            let text = plain(value)
                .ok_or_else(|| ResolveError::StructuredParameter { task: task.name.to_owned(), parameter: name.clone() })?;
            self.set(name, text);
        }
        for variable in &task.reference.variables {
            if variable.value_from.is_some() {
                return Err(ResolveError::ReferencedVariable { task: task.name.to_owned(), variable: variable.name.clone() });
            }
            self.set(&variable.name, variable.value.clone().unwrap_or_default());
        }
        Ok(())
    }

    /// Checks that every required parameter has a value, but for those that may be derived.
    ///
    /// # Errors
    /// [`ResolveError::MissingParameter`].
    pub(super) fn require(&self, task: &SelectedTask<'_>, derived: &[&str]) -> Result<(), ResolveError> {
        let missing =
            task.definition.parameters.iter().filter(|parameter| parameter.required == Some(true)).find_map(|parameter| {
                let name = parameter.name.as_deref()?;
                (self.get(name).is_none() && !derived.contains(&name)).then_some(name)
            });
        match missing {
            None => Ok(()),
            Some(parameter) => Err(ResolveError::MissingParameter {
                addon: task.addon.to_owned(),
                task: task.name.to_owned(),
                parameter: parameter.to_owned(),
            }),
        }
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null => Some(String::new()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

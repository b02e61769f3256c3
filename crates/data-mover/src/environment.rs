//! What the pod's environment says: whom to call, and on whose behalf. No secret is ever in it.

use std::path::PathBuf;
use std::time::Duration;

use proto_api::common::v1alpha1::ObjectRef;
use proto_api::environment as names;
use service_kit::client::ClientTls;

/// The environment lacks something, or holds nonsense.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// A variable is not set.
    #[error("environment variable {0} is not set; a mover runs in a Job that the session-controller made, not by hand")]
    Missing(&'static str),
    /// A variable cannot be understood.
    #[error("environment variable {name} is {value:?}, expected {expected}")]
    Invalid {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
}

/// One of our services, as a client sees it.
#[derive(Clone, Debug)]
pub struct Service {
    /// `host:port`.
    pub address: String,
    /// Whom to trust, under which name.
    pub tls: ClientTls,
    /// File with the token for this service.
    pub token_file: PathBuf,
}

/// How long a mover waits for others. Only tests change the defaults.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Trying to attach (architecture §4.3).
    pub start_up: Duration,
    /// A refusal is believed after it was repeated for this long: a control plane that has just started may not know us yet.
    pub refusal: Duration,
    /// Asking a service that cannot answer.
    pub service: Duration,
    /// A target that makes no headway is begun again until this is over.
    pub outage: Duration,
    /// Waiting for the outcome's acknowledgement (architecture §5).
    pub acknowledgement: Duration,
    /// The same when the work was stopped, counted from the stop: somebody waits for the pod to end.
    pub hurried_acknowledgement: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        Self {
            start_up: minutes(5),
            refusal: Duration::from_secs(30),
            service: minutes(5),
            outage: minutes(5),
            acknowledgement: minutes(10),
            hurried_acknowledgement: Duration::from_millis(4750),
        }
    }
}

/// The environment of an agent.
#[derive(Clone, Debug)]
pub struct AgentEnvironment {
    /// The session-controller.
    pub session_service: Service,
    /// The storage-initializer.
    pub storage_service: Service,
    /// The session, with its UID.
    pub session: ObjectRef,
    /// Component of the session, for example `dump`.
    pub component: String,
    /// Attempt, from 1.
    pub attempt: u32,
    /// W3C trace context of the session.
    pub traceparent: Option<String>,
    /// Name of the pod.
    pub pod_name: String,
    /// UID of the pod.
    pub pod_uid: String,
    /// Where last words go.
    pub termination_log: PathBuf,
    /// How long to wait for others.
    pub patience: Patience,
}

/// The environment of a trigger.
#[derive(Clone, Debug)]
pub struct TriggerEnvironment {
    /// The scheduler.
    pub schedule_service: Service,
    /// The BackupConfiguration.
    pub backup_configuration: ObjectRef,
    /// Session of it.
    pub session: String,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Where last words go.
    pub termination_log: PathBuf,
    /// How long to wait for the scheduler; its own watchdog makes up for the slot after that.
    pub patience: Patience,
}

/// Looks variables up; a seam, so that tests need not touch the process's environment.
pub struct Variables<'a>(pub &'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn optional(&self, name: &'static str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &'static str) -> Result<String, EnvironmentError> {
        self.optional(name).ok_or(EnvironmentError::Missing(name))
    }

    fn service(
        &self,
        address: &'static str,
        server_name: &'static str,
        token_file: (&'static str, &'static str),
    ) -> Result<Service, EnvironmentError> {
        Ok(Service {
            address: self.required(address)?,
            tls: ClientTls { ca_pem: self.required(names::CA_BUNDLE)?, server_name: self.required(server_name)? },
            token_file: self.optional(token_file.0).unwrap_or_else(|| token_file.1.to_owned()).into(),
        })
    }
}

impl AgentEnvironment {
    /// Reads it.
    ///
    /// # Errors
    /// [`EnvironmentError`] for the first variable that is missing or malformed.
    pub fn read(variables: &Variables<'_>) -> Result<Self, EnvironmentError> {
        let session_token = (names::SESSION_TOKEN_FILE, names::SESSION_TOKEN_PATH);
        let storage_token = (names::STORAGE_TOKEN_FILE, names::STORAGE_TOKEN_PATH);
        let attempt = variables.optional(names::ATTEMPT).unwrap_or_else(|| "1".to_owned());
        Ok(Self {
            session_service: variables.service(names::SESSION_SERVICE, names::SESSION_SERVER_NAME, session_token)?,
            storage_service: variables.service(names::STORAGE_SERVICE, names::STORAGE_SERVER_NAME, storage_token)?,
            session: ObjectRef {
                kind: variables.required(names::SESSION_KIND)?,
                namespace: variables.required(names::SESSION_NAMESPACE)?,
                name: variables.required(names::SESSION_NAME)?,
                uid: variables.required(names::SESSION_UID)?,
            },
            component: match variables.optional(names::COMPONENT) {
                Some(component) => component,
                None => variables.required(names::COMPONENT_NAME)?,
            },
            attempt: attempt.parse().ok().filter(|attempt| *attempt > 0).ok_or(EnvironmentError::Invalid {
                name: names::ATTEMPT,
                value: attempt,
                expected: "a number from 1",
            })?,
            traceparent: variables.optional(names::TRACEPARENT),
            pod_name: variables.required(names::POD_NAME)?,
            pod_uid: variables.required(names::POD_UID)?,
            termination_log: names::TERMINATION_LOG_PATH.into(),
            patience: Patience::default(),
        })
    }
}

impl TriggerEnvironment {
    /// Reads it.
    ///
    /// # Errors
    /// [`EnvironmentError`] for the first variable that is missing.
    pub fn read(variables: &Variables<'_>) -> Result<Self, EnvironmentError> {
        let token = (names::SCHEDULE_TOKEN_FILE, names::SCHEDULE_TOKEN_PATH);
        Ok(Self {
            schedule_service: variables.service(names::SCHEDULE_SERVICE, names::SCHEDULE_SERVER_NAME, token)?,
            backup_configuration: ObjectRef {
                kind: "BackupConfiguration".to_owned(),
                namespace: variables.required(names::BACKUP_CONFIGURATION_NAMESPACE)?,
                name: variables.required(names::BACKUP_CONFIGURATION)?,
                uid: String::new(),
            },
            session: variables.required(names::SESSION)?,
            traceparent: variables.optional(names::TRACEPARENT),
            termination_log: names::TERMINATION_LOG_PATH.into(),
            patience: Patience { service: Duration::from_secs(4 * 60), ..Patience::default() },
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let error = AgentEnvironment::read(&Variables(&|_| None)).unwrap_err();
        assert!(error.to_string().contains(names::SESSION_SERVICE), "{error}");
        let zero = |name: &str| Some(if name == names::ATTEMPT { "0".to_owned() } else { "x".to_owned() });
        let error = AgentEnvironment::read(&Variables(&zero)).unwrap_err();
        assert!(error.to_string().contains(names::ATTEMPT), "{error}");
    }
}

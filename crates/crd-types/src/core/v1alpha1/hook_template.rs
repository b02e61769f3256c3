//! HookTemplate: an action that sessions run (specification 1.3.12).

use crate::{ParameterDefinition, UsagePolicy, macros::kind, macros::string_enum};
use k8s_openapi::api::core::v1::{EnvVar, ExecAction, HTTPGetAction, HTTPHeader, TCPSocketAction, Volume, VolumeMount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

kind! {
    /// An action that sessions run before or after their work.
    HookTemplate { group: "core.kubestash.com", plural: "hooktemplates", scope: Namespaced, spec: HookTemplateSpec }
}

/// An action and who runs it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookTemplateSpec {
    /// What is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<HookHandler>,
    /// Who does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executor: Option<HookExecutor>,
    /// Parameters the action takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<ParameterDefinition>,
    /// Namespaces that may use the template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_policy: Option<UsagePolicy>,
}

/// An action; exactly one of `exec`, `httpGet`, `httpPost` and `tcpSocket` is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookHandler {
    /// Container to act on; the first one when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    /// Run a command in the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecAction>,
    /// Send a GET request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HTTPGetAction>,
    /// Send a POST request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_post: Option<HttpPostAction>,
    /// Open a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TCPSocketAction>,
}

/// A POST request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpPostAction {
    /// Body of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Form fields, instead of a body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub form: Vec<FormEntry>,
    /// Host to connect to; the pod's address when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Headers of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http_headers: Vec<HTTPHeader>,
    /// Path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Port, by number or by name.
    pub port: IntOrString,
    /// `HTTP` or `HTTPS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
}

/// One form field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FormEntry {
    /// Name of the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// Who runs an action.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookExecutor {
    /// A Job of a Function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<FunctionHookExecutor>,
    /// A running pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodHookExecutor>,
    /// Which of them is meant.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<HookExecutorType>,
}

string_enum! {
    /// Who runs an action.
    pub enum HookExecutorType {
        /// A Job of a Function.
        Function,
        /// A running pod.
        Pod,
        /// The operator itself.
        Operator,
    }
}

/// A Job that runs an action.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FunctionHookExecutor {
    /// Environment of its container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Name of the Function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Mounts of its container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Volumes of its pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
}

/// Which pods run an action.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodHookExecutor {
    /// Owner that the pods must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerReference>,
    /// Labels that the pods must carry, as `key=value,…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// How many of them run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "ExecuteOnOne"))]
    pub strategy: Option<HookStrategy>,
}

string_enum! {
    /// How many pods run an action.
    pub enum HookStrategy {
        /// One of them.
        ExecuteOnOne,
        /// All of them.
        ExecuteOnAll,
    }
}

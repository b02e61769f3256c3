//! Which namespaces may refer to an object (specification 1.2.1).

use crate::macros::string_enum;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may use the object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsagePolicy {
    /// Namespaces that may refer to the object. Absent means its own namespace only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
}

/// A set of namespaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedNamespaces {
    /// How the set is described.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Same"))]
    pub from: Option<NamespacesFrom>,
    /// Labels that a namespace must carry when `from` is `Selector`; ignored otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

string_enum! {
    /// How the allowed namespaces are described.
    pub enum NamespacesFrom {
        /// Every namespace.
        All,
        /// Namespaces whose labels match the selector.
        Selector,
        /// The object's own namespace only.
        Same,
    }
}

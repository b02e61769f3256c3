//! Constructors of [`ObjectRef`], and with the feature `resources` conversions from Kubernetes objects.

use std::fmt;

use crate::common::v1alpha1::ObjectRef;

impl ObjectRef {
    /// Whichever object bears this name now.
    pub fn named(kind: impl Into<String>, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: kind.into(), namespace: namespace.into(), name: name.into(), uid: String::new() }
    }

    /// The same name, but only the life of it that has this UID.
    #[must_use]
    pub fn with_uid(mut self, uid: impl Into<String>) -> Self {
        self.uid = uid.into();
        self
    }

    /// `kind namespace/name`, for messages.
    pub fn display(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(move |formatter| write!(formatter, "{} {}/{}", self.kind, self.namespace, self.name))
    }
}

#[cfg(feature = "resources")]
mod resources {
    use crd_types::Condition as ResourceCondition;
    use kube::{Resource, ResourceExt as _};

    use crate::common::v1alpha1::{Condition, ObjectRef};

    impl ObjectRef {
        /// Names a Kubernetes object, with its UID if the API server gave one.
        pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
            Self {
                kind: K::kind(&()).into_owned(),
                namespace: object.namespace().unwrap_or_default(),
                name: object.name_any(),
                uid: object.uid().unwrap_or_default(),
            }
        }
    }

    impl From<&ResourceCondition> for Condition {
        fn from(condition: &ResourceCondition) -> Self {
            Self {
                r#type: condition.type_.clone(),
                status: condition.status.to_string(),
                reason: condition.reason.clone().unwrap_or_default(),
                message: condition.message.clone().unwrap_or_default(),
                last_transition_time: Some(crate::time::to_proto(condition.last_transition_time.0)),
            }
        }
    }
}

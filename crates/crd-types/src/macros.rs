//! The two macros that keep the kinds short: closed sets of strings, and root objects.

/// Declares a closed set of strings as a `Copy` enum.
///
/// A value outside the set deserialises as `Unrecognised` instead of failing, because one object that a newer
/// version wrote must not stop the watch of all others. It serialises as that word, which the API server refuses,
/// so it never replaces the original value unnoticed.
macro_rules! string_enum {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)+
            /// A value that this version does not know.
            Unrecognised,
        }

        impl $name {
            /// Every value of the set, in the order of the schema.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value as it stands in an object.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                    Self::Unrecognised => "Unrecognised",
                }
            }
        }

        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                Self::ALL.iter().copied().find(|known| known.as_str() == value).unwrap_or(Self::Unrecognised)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::convert::Infallible;

            fn from_str(value: &str) -> Result<Self, Self::Err> {
                Ok(Self::from(value))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = <std::borrow::Cow<'de, str> as serde::Deserialize<'de>>::deserialize(deserializer)?;
                Ok(Self::from(value.as_ref()))
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$(stringify!($variant)),+] })
            }
        }
    };
}

/// Declares the root object of a kind.
///
/// Kube's own derive makes `spec` mandatory. The published CRDs do not, so an object without one exists in clusters
/// and has to be read (specification 1.1).
macro_rules! kind {
    ($(#[$meta:meta])* $kind:ident {
        group: $group:literal, plural: $plural:literal, scope: $scope:ident, spec: $spec:ident $(, status: $status:ident)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct $kind {
            /// Name, namespace, labels, owners and the rest of the standard metadata.
            #[serde(default)]
            pub metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
            /// What the object asks for. An absent spec reads as an empty one.
            #[serde(default)]
            pub spec: $spec,
            $(
            /// What is known about the object.
            #[serde(default)]
            pub status: Option<$status>,
            )?
        }

        impl $kind {
            /// An object with a name and a spec, and nothing else.
            #[must_use]
            pub fn new(name: &str, spec: $spec) -> Self {
                Self {
                    metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                        name: Some(name.to_owned()),
                        ..Default::default()
                    },
                    spec,
                    $(status: None::<$status>,)?
                }
            }

            /// The same object in a namespace.
            #[must_use]
            pub fn within(mut self, namespace: &str) -> Self {
                self.metadata.namespace = Some(namespace.to_owned());
                self
            }
        }

        impl serde::Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("apiVersion", <Self as k8s_openapi::Resource>::API_VERSION)?;
                map.serialize_entry("kind", <Self as k8s_openapi::Resource>::KIND)?;
                map.serialize_entry("metadata", &self.metadata)?;
                map.serialize_entry("spec", &self.spec)?;
                $(
                if let Some(status) = &self.status {
                    map.serialize_entry::<str, $status>("status", status)?;
                }
                )?
                map.end()
            }
        }

        impl k8s_openapi::Resource for $kind {
            const API_VERSION: &'static str = concat!($group, "/v1alpha1");
            const GROUP: &'static str = $group;
            const KIND: &'static str = stringify!($kind);
            const VERSION: &'static str = "v1alpha1";
            const URL_PATH_SEGMENT: &'static str = $plural;
            type Scope = crate::macros::$scope;
        }

        impl k8s_openapi::Metadata for $kind {
            type Ty = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

            fn metadata(&self) -> &Self::Ty {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut Self::Ty {
                &mut self.metadata
            }
        }

        impl kube::core::object::HasSpec for $kind {
            type Spec = $spec;

            fn spec(&self) -> &$spec {
                &self.spec
            }

            fn spec_mut(&mut self) -> &mut $spec {
                &mut self.spec
            }
        }

        $(
        impl kube::core::object::HasStatus for $kind {
            type Status = $status;

            fn status(&self) -> Option<&$status> {
                self.status.as_ref()
            }

            fn status_mut(&mut self) -> &mut Option<$status> {
                &mut self.status
            }
        }
        )?
    };
}

pub(crate) use kind;
pub(crate) use string_enum;

/// Scope of kinds that live in a namespace, under the name that `kind!` uses.
pub(crate) type Namespaced = k8s_openapi::NamespaceResourceScope;
/// Scope of kinds that belong to the whole cluster, under the name that `kind!` uses.
pub(crate) type Cluster = k8s_openapi::ClusterResourceScope;

//! Labels of the objects we make (specification §1.7).

use std::collections::BTreeMap;

use crd_types::labels::is_gitops_mark;

use crate::names::label_value;

/// Labels and annotations that an object made for an owner takes over from it: all but the marks by which GitOps
/// tools would take the new object for their own (architecture §4.12).
pub fn inherit(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    labels.iter().filter(|(name, _)| !is_gitops_mark(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A set of labels in which values that do not fit are hashed.
pub(super) fn labelled<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), label_value(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Architecture §4.12: tracking labels are never inherited.
    #[test]
    fn tracking_labels_stay_behind() {
        let labels = [
            ("app.kubernetes.io/instance", "prod"),
            ("argocd.argoproj.io/instance", "prod"),
            ("kustomize.toolkit.fluxcd.io/name", "apps"),
            ("team", "red"),
        ];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(inherit(&labels).into_keys().collect::<Vec<_>>(), ["team"]);
    }
}

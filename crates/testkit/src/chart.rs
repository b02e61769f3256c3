//! What the chart lets a service do, against what the service was seen to do.
//!
//! The rules are read from the chart's templates as they stand in the workspace, so that a new call in a controller
//! fails its own test when nobody has granted it.

use std::{collections::BTreeMap, fs, path::Path};

use crate::{ApiServer, Recorded};

/// Rules of a service's ClusterRole and of its Role in Orlop's namespace.
#[derive(Debug)]
pub struct Permissions {
    everywhere: Vec<Rule>,
    at_home: Vec<Rule>,
}

#[derive(Debug, Default, Clone)]
struct Rule {
    groups: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    verbs: Vec<String>,
}

impl Permissions {
    /// Reads the rules of `storage-initializer`, `scheduler` or `session-controller`.
    ///
    /// # Panics
    /// When the chart has no such service.
    #[must_use]
    pub fn of_service(service: &str) -> Self {
        let shared = named_templates(&template("_service.tpl"));
        let text = template(&format!("{service}-rbac.yaml"));
        let mut permissions = Self { everywhere: Vec::new(), at_home: Vec::new() };
        for document in text.split("\n---\n") {
            let mut rules = rules_of(document);
            for (name, body) in &shared {
                if document.contains(&format!("include \"{name}\"")) {
                    rules.extend(rules_of(body));
                }
            }
            if document.contains("kind: ClusterRole\n") {
                permissions.everywhere.extend(rules);
            } else if document.contains("kind: Role\n") {
                permissions.at_home.extend(rules);
            }
        }
        assert!(!permissions.everywhere.is_empty(), "the chart has no rules for {service}");
        permissions
    }

    /// Whether a request is granted to a service that lives in `home`.
    #[must_use]
    pub fn grant(&self, request: &Recorded, home: &str) -> bool {
        let at_home = request.namespace == home && self.at_home.iter().any(|rule| rule.grants(request));
        at_home || self.everywhere.iter().any(|rule| rule.grants(request))
    }
}

impl Rule {
    fn grants(&self, request: &Recorded) -> bool {
        let resource = match request.subresource.as_str() {
            "" => request.resource.clone(),
            subresource => format!("{}/{subresource}", request.resource),
        };
        self.groups.contains(&request.group)
            && self.resources.contains(&resource)
            && self.verbs.iter().any(|verb| verb == request.verb)
            // The name of a Lease is computed in the template, and is the service's own.
            && (self.names.is_empty() || self.names.iter().any(|name| *name == request.name || name.starts_with("{{")))
    }
}

/// Fails the test when the service asked the server for something that the chart does not grant.
///
/// # Panics
/// With the requests that would be refused.
pub fn assert_granted(server: &ApiServer, service: &str, home: &str) {
    let permissions = Permissions::of_service(service);
    let refused: Vec<String> = server
        .requests()
        .iter()
        .filter(|request| !permissions.grant(request, home))
        .map(|request| {
            let Recorded { verb, group, resource, subresource, namespace, name, .. } = request;
            format!("{verb} {group}/{resource}/{subresource} {namespace}/{name}")
        })
        .collect();
    assert!(refused.is_empty(), "the chart does not grant orlop-{service}:\n{}", refused.join("\n"));
}

fn template(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/orlop/templates").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// Bodies of `define`d templates by name.
fn named_templates(text: &str) -> BTreeMap<String, String> {
    text.split("{{- define \"")
        .skip(1)
        .filter_map(|part| part.split_once('"'))
        .map(|(name, body)| (name.to_owned(), body.to_owned()))
        .collect()
}

/// Rules written as in our templates: each list on one line.
fn rules_of(text: &str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for line in text.lines().map(str::trim) {
        let Some((key, list)) = line.trim_start_matches("- ").split_once(": [") else { continue };
        let values: Vec<String> =
            list.trim_end_matches(']').split(',').map(|value| value.trim().trim_matches('"').to_owned()).collect();
        if key == "apiGroups" {
            rules.push(Rule { groups: values, ..Rule::default() });
        } else if let Some(rule) = rules.last_mut() {
            match key {
                "resources" => rule.resources = values,
                "resourceNames" => rule.names = values,
                "verbs" => rule.verbs = values,
                _ => {}
            }
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::Permissions;
    use crate::Recorded;

    fn request(verb: &'static str, group: &str, resource: &str, namespace: &str, name: &str) -> Recorded {
        Recorded {
            verb,
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: String::new(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            manager: String::new(),
            answer: 200,
        }
    }

    /// Architecture 7: nobody lists or watches Secrets, and nothing is granted wholesale.
    #[test]
    fn no_service_lists_secrets() {
        for service in ["storage-initializer", "scheduler", "session-controller"] {
            let permissions = Permissions::of_service(service);
            for verb in ["list", "watch", "delete"] {
                assert!(!permissions.grant(&request(verb, "", "secrets", "home", ""), "home"), "{service} {verb}");
            }
            assert!(permissions.grant(&request("get", "", "secrets", "home", &format!("orlop-{service}-tls")), "home"));
            assert!(permissions.grant(&request("create", "coordination.k8s.io", "leases", "home", ""), "home"));
            let everything = permissions.everywhere.iter().chain(&permissions.at_home);
            assert!(everything.flat_map(|rule| rule.verbs.iter().chain(&rule.resources)).all(|word| word != "*"));
        }
        let sessions = Permissions::of_service("session-controller");
        assert!(!sessions.grant(&request("get", "", "secrets", "shop", "anything"), "home"), "passwords are the initializer's");
        let scheduler = Permissions::of_service("scheduler");
        assert!(!scheduler.grant(&request("create", "batch", "jobs", "shop", ""), "home"), "Jobs are the session-controller's");
    }
}

//! Open watches and the history they start from.

use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{route::Route, selector::selects, state::Key};

/// One change.
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) key: Key,
    pub(super) before: Option<Value>,
    /// `None` when the object went.
    pub(super) after: Option<Value>,
}

pub(super) struct Watcher {
    route: Route,
    lines: mpsc::UnboundedSender<Bytes>,
}

impl Watcher {
    pub(super) fn new(route: Route) -> (Self, mpsc::UnboundedReceiver<Bytes>) {
        let (lines, receiver) = mpsc::unbounded_channel();
        (Self { route, lines }, receiver)
    }

    /// Sends the change if it concerns this watch; false when nobody listens any more.
    pub(super) fn tell(&self, change: &Change) -> bool {
        if !change.key.is_in(&self.route) {
            return !self.lines.is_closed();
        }
        let (labels, fields) = (self.route.parameter("labelSelector"), self.route.parameter("fieldSelector"));
        let was = change.before.as_ref().is_some_and(|object| selects(object, labels, fields));
        let now = change.after.as_ref().filter(|object| selects(object, labels, fields));
        let line = match (was, now) {
            (false, Some(object)) => json!({ "type": "ADDED", "object": object }),
            (true, Some(object)) => json!({ "type": "MODIFIED", "object": object }),
            (true, None) => {
                let mut object = change.before.clone().unwrap_or_default();
                object["metadata"]["resourceVersion"] = json!(change.version.to_string());
                json!({ "type": "DELETED", "object": object })
            }
            (false, None) => return !self.lines.is_closed(),
        };
        self.lines.send(Bytes::from(format!("{line}\n"))).is_ok()
    }
}

//! Scripted faults: the answers a real API server gives on a bad day.

use super::record::Recorded;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The request is refused with this HTTP status and reason, and nothing happens.
    Status(u16, &'static str),
    /// The request takes effect, and then this status is answered: the caller does not know that it worked.
    AfterCommit(u16),
    /// No answer ever comes, and nothing happens.
    Hang,
}

/// Which requests meet a fault. An unset field matches everything.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    verb: Option<&'static str>,
    resource: Option<&'static str>,
    subresource: Option<&'static str>,
    name: Option<String>,
}

impl Matcher {
    /// Every request.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests of this verb for this resource.
    #[must_use]
    pub fn of(verb: &'static str, resource: &'static str) -> Self {
        Self { verb: Some(verb), resource: Some(resource), ..Self::default() }
    }

    /// Only for this subresource; empty for the object itself.
    #[must_use]
    pub fn subresource(mut self, subresource: &'static str) -> Self {
        self.subresource = Some(subresource);
        self
    }

    /// Only for the object of this name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    fn matches(&self, request: &Recorded) -> bool {
        self.verb.is_none_or(|verb| verb == request.verb)
            && self.resource.is_none_or(|resource| resource == request.resource)
            && self.subresource.is_none_or(|subresource| subresource == request.subresource)
            && self.name.as_deref().is_none_or(|name| name == request.name)
    }
}

/// Faults still to come.
#[derive(Debug, Default)]
pub(super) struct Faults {
    scripted: Vec<(Fault, Matcher, usize)>,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault, matcher: Matcher, times: usize) {
        self.scripted.push((fault, matcher, times));
    }

    pub(super) fn clear(&mut self) {
        self.scripted.clear();
    }

    /// The fault this request meets, if any; it is used up by that.
    pub(super) fn meet(&mut self, request: &Recorded) -> Option<Fault> {
        let index = self.scripted.iter().position(|(_, matcher, _)| matcher.matches(request))?;
        let (fault, _, left) = &mut self.scripted[index];
        let fault = fault.clone();
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.scripted.remove(index);
        }
        Some(fault)
    }
}

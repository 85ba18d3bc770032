//! One route: where it is, what call it is, and what is told of it.

use super::Call;
use super::operation::Operation;
use crate::http::errors::Problem;
use crate::http::parameters::Parameters;

/// One method of one path.
pub(crate) struct Route {
    /// In capitals.
    pub(crate) method: &'static str,
    /// With `{names}` in the places of ids.
    pub(crate) path: &'static str,
    /// The call that it is, of the ids in the path and the parameters of the query.
    pub(super) call: Maker,
    /// What programs and people are told of it.
    pub(crate) about: Operation,
}

/// Makes a call of ids and parameters.
pub(super) type Maker = fn(&mut Ids<'_>, &mut Parameters) -> Result<Call, Problem>;

/// The ids of a path, in their order.
pub(super) struct Ids<'a> {
    names: std::str::Split<'a, char>,
    segments: std::slice::Iter<'a, &'a str>,
}

impl<'a> Ids<'a> {
    pub(super) fn of(path: &'a str, segments: &'a [&'a str]) -> Self {
        Self { names: path.trim_start_matches('/').split('/'), segments: segments.iter() }
    }

    /// The next one; empty if the path has no more, which is never asked for: a test asks all routes.
    pub(super) fn take(&mut self) -> String {
        let mut both = self.names.by_ref().zip(self.segments.by_ref());
        both.find(|(name, _)| is_id(name)).map(|(_, id)| (*id).to_owned()).unwrap_or_default()
    }
}

pub(super) fn is_id(name: &str) -> bool {
    name.starts_with('{')
}

impl Route {
    /// Whether this is the path of a request, in parts. An id is not empty.
    pub(super) fn is_at(&self, segments: &[&str]) -> bool {
        let mut names = self.path.trim_start_matches('/').split('/');
        let mut same = segments.iter().map(|segment| match names.next() {
            Some(name) if is_id(name) => !segment.is_empty(),
            Some(name) => name == *segment,
            None => false,
        });
        same.all(|same| same) && names.next().is_none()
    }

    /// The call, if the parameters are what they should be.
    pub(super) fn call(&self, segments: &[&str], parameters: &mut Parameters) -> Result<Call, Problem> {
        (self.call)(&mut Ids::of(self.path, segments), parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_asked_for_and_not_there_would_be_seen() {
        let mut ids = Ids::of("/a/{id}/b/{other}", &["a", "1", "b", "2"]);
        assert_eq!([ids.take(), ids.take(), ids.take()], ["1", "2", ""]);
    }
}

//! How a route is described: what is sent, what comes back, and what may be refused. Data only.

/// What is told of a route.
pub(crate) struct Operation {
    /// A name for programs.
    pub(crate) id: &'static str,
    /// The heading under which it stands.
    pub(crate) group: &'static str,
    /// One sentence for a person.
    pub(crate) says: &'static str,
    pub(crate) parameters: &'static [Parameter],
    pub(crate) body: Body,
    pub(crate) answer: Answer,
    /// Statuses beside 200 and those of [`EVERYWHERE`].
    pub(crate) refused: &'static [u16],
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Path,
    Query,
    Header,
}

/// One parameter.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) needed: bool,
    /// The schema of it, by name.
    pub(crate) schema: &'static str,
    pub(crate) says: &'static str,
}

/// What is sent.
pub(crate) enum Body {
    None,
    /// JSON of this schema.
    Json(&'static str),
    /// JSON of this schema, or the compact form of the same.
    Either(&'static str),
    /// The compact form only.
    Compact,
}

/// What comes back with 200.
pub(crate) enum Answer {
    /// JSON of this schema.
    Json(&'static str),
    /// JSON of this schema, or the compact form of the same.
    Either(&'static str),
    /// A page of items of this schema.
    PageOf(&'static str),
    /// The compact form only.
    Compact,
    /// Items of this schema, line by line or as server-sent events.
    Stream(&'static str),
    /// Text of this kind.
    Text(&'static str),
}

/// Statuses that every call may have.
pub(crate) const EVERYWHERE: &[u16] = &[400, 401, 403, 405, 421, 500, 503];

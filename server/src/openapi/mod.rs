//! The interface described for programs, as an OpenAPI 3.1 document, and the same as a page for people. Knows what can
//! be called and what comes back; a test compares it with what the routes take and with the table of errors.
//!
//! What can be called stands in the table of routes (`http/routes/table`), `schemas` says what goes in and comes back, `document` puts them together, and
//! `page` makes a page of the document.

mod document;
mod page;
mod schemas;

pub use document::document;

use std::sync::LazyLock;

/// The document as text. Made once.
#[must_use]
pub fn text() -> &'static [u8] {
    static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| document().to_string().into_bytes());
    &TEXT
}

/// The document as a page of HTML, without scripts. Made once.
#[must_use]
pub fn page() -> &'static str {
    static PAGE: LazyLock<String> = LazyLock::new(|| page::page(&document()));
    &PAGE
}

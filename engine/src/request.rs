//! What a caller asks for: one tracking request, as plain data.
//!
//! The fields are text as the sender wrote it. `Engine::track` checks and parses them once
//! (`prepare.rs`); whoever fills them needs to check nothing but that JSON is JSON ([`crate::Json`]).

use crate::json::Json;
use crate::time::Timestamp;
use bincode::{Decode, Encode};

/// One request: events of one session and one profile, stored whole or not at all.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct TrackRequest {
    /// Name of the source; without it the source `default`.
    pub source: Option<String>,
    /// Session id made by the client; without it every event opens a session of its own.
    pub session: Option<String>,
    /// Profile id kept by the device.
    pub profile: Option<String>,
    /// When the sender's clock says that this attempt was sent; corrects a wrong clock.
    pub sent_at: Option<Timestamp>,
    /// Facts that hold for all events: page, locale, screen, campaign.
    pub context: Option<Json>,
    /// The user agent that the sender names; device class, operating system and browser come from it.
    pub user_agent: Option<String>,
    /// Store the events with their session and no profile.
    pub profile_less: bool,
    /// Where the request comes from. An import corrects no clock; a library names its devices itself.
    pub origin: Origin,
    /// The events, at most [`crate::limits::REQUEST_MAX_EVENTS`].
    pub events: Vec<Event>,
}

/// Whether a request is happening now or is history, and who names the devices in it.
///
/// Written into the log by its place in this list: new ones go to the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub enum Origin {
    /// Sent now by a device or a server.
    #[default]
    Live,
    /// Read from an archive: times are taken as they are.
    Import,
    /// Sent now by a client library that was made for another service.
    Library,
    /// The same, read from an archive.
    LibraryImport,
}

impl Origin {
    /// Whether times are taken as they are.
    #[must_use]
    pub const fn is_import(self) -> bool {
        matches!(self, Self::Import | Self::LibraryImport)
    }

    /// Whether the request comes from a client library that was made for another service. Such a library names its
    /// devices itself, reads no reply, and knows of no session:
    ///
    /// - `profile` is the library's id of the device: a client-made profile id in the id space of the source, known or
    ///   not, whatever the source's `profile_ids` say;
    /// - without one, and if the source's key is secret, the event's identifier names the device, as in a source
    ///   marked `server`;
    /// - a session that is sent groups events and never chooses a profile where either of these does; without one,
    ///   sessions are made from inactivity.
    #[must_use]
    pub const fn is_library(self) -> bool {
        matches!(self, Self::Library | Self::LibraryImport)
    }

    /// The origin of the same request where it is read from an archive.
    #[must_use]
    pub const fn imported(self) -> Self {
        if self.is_library() { Self::LibraryImport } else { Self::Import }
    }
}

/// Something a customer did.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct Event {
    /// Chosen by the sender; sending it again in the same session is safe. Without it the server draws one.
    pub id: Option<String>,
    /// What happened, such as `page-view`.
    pub event_type: String,
    /// When it happened; without it the time of receipt.
    pub time: Option<Timestamp>,
    /// A JSON object.
    pub properties: Option<Json>,
    /// A JSON object of facts that hold for this event alone.
    pub context: Option<Json>,
    /// Namespace and value, in the order sent.
    pub identifiers: Vec<(String, String)>,
    /// What this event says about the customer.
    pub traits: TraitOperations,
    /// Purpose and answer, in the order sent.
    pub consents: Vec<(String, Consent)>,
}

/// Operations on traits, each list in the order sent.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct TraitOperations {
    /// The latest holds. `null` removes.
    pub set: Vec<(String, Json)>,
    /// Acts only where nothing is held at its time.
    pub set_once: Vec<(String, Json)>,
    /// Removes the value.
    pub unset: Vec<String>,
    /// Adds a number to a counter.
    pub add: Vec<(String, Json)>,
    /// Adds an item, or each item of an array, to a collection.
    pub append: Vec<(String, Json)>,
    /// Takes an item, or each item of an array, out of a collection.
    pub remove: Vec<(String, Json)>,
}

/// The customer's answer for one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Consent {
    /// Yes.
    Granted,
    /// No.
    Refused,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::codec::encode_into;

    #[test]
    fn each_origin_keeps_its_number_in_the_log() {
        let origins = [Origin::Live, Origin::Import, Origin::Library, Origin::LibraryImport];
        for (number, origin) in (0..).zip(origins) {
            let mut bytes = Vec::new();
            encode_into(&mut bytes, &origin);
            assert_eq!(bytes, [number], "{origin:?}");
            assert_eq!(origin.imported().is_library(), origin.is_library());
            assert!(origin.imported().is_import());
        }
    }
}

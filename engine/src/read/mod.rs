//! Reads: everything is answered from one version, on the caller's thread; the writer is never touched.

mod blocked;
mod changes;
mod events;
mod history;
mod identity;
mod past;
mod profile;
mod requests;
mod session;

use crate::core::root::{fragment_row, members_of, oldest_of, root_of};
use crate::core::rows::{NameKey, NameKind};
use crate::core::view::View;
use crate::error::{Error, Rejection};
use crate::ids::{EventSeq, FragmentNo, ProfileKey, SessionNo, SpaceNo};
use crate::limits::{PAGE_DEFAULT_ITEMS, PAGE_MAX_ITEMS};
use crate::model::{PageRequest, ReadError};
use crate::store::codec::encode;
use crate::store::layers::Version;
use crate::store::mailbox::Shared;
use crate::store::published::Pinned;
use std::sync::Arc;

/// A snapshot: everything as it was at one position, whatever is written meanwhile. It may be kept for
/// [`crate::limits::SNAPSHOT_MAX_AGE_MS`].
#[derive(Debug)]
pub struct Snapshot {
    pinned: Pinned,
    shared: Arc<Shared>,
}

/// The word before the colon that names an id made by the server.
const SERVER_SPACE: &str = "server";

impl Snapshot {
    pub(crate) fn new(shared: &Arc<Shared>, for_ever: bool) -> Self {
        Self { pinned: shared.published.pin(for_ever), shared: Arc::clone(shared) }
    }

    pub(crate) fn version(&self) -> Result<&Version, Error> {
        self.pinned.version()
    }

    /// The last sequence number that it shows.
    ///
    /// # Errors
    /// [`Error::SnapshotTooOld`].
    pub fn position(&self) -> Result<EventSeq, Error> {
        Ok(self.version()?.counters.seq)
    }

    /// The fragment that an id names: `space:id`, or the bare id while it names one only.
    pub(crate) fn fragment_of(&self, id: &str) -> Result<FragmentNo, ReadError> {
        let version = self.version()?;
        let mut found: Vec<FragmentNo> = Vec::new();
        if let Some((space, id)) = id.split_once(':') {
            if space == SERVER_SPACE {
                found.extend(server_id(version, id)?);
            } else if let Some(space) = space_no(version, space)? {
                let row = version.client_ids(&id.into())?;
                let of = row.iter().flat_map(|row| &row.0).find(|(of, _)| *of == space);
                found.extend(of.map(|(_, fragment)| *fragment));
            }
        }
        // The qualified form always works, whatever bare ids look like it.
        if let Some(fragment) = found.first() {
            return Ok(*fragment);
        }
        found.extend(server_id(version, id)?);
        if let Some(row) = version.client_ids(&id.into())? {
            found.extend(row.0.iter().map(|(_, fragment)| *fragment));
        }
        found.sort_unstable();
        found.dedup();
        match *found.as_slice() {
            [] => Err(ReadError::NotFound),
            [fragment] => Ok(fragment),
            _ => {
                let candidates = found.iter().map(|fragment| self.qualified_id(*fragment));
                Err(ReadError::AmbiguousId { candidates: candidates.collect::<Result<_, Error>>()? })
            }
        }
    }

    fn qualified_id(&self, fragment: FragmentNo) -> Result<String, Error> {
        let version = self.version()?;
        match &fragment_row(version, fragment)?.key {
            ProfileKey::Server(id) => Ok(format!("{SERVER_SPACE}:{id}")),
            ProfileKey::Client { space, id } => Ok(format!("{}:{id}", space_name(version, *space)?)),
        }
    }

    /// A fragment's id as its device knows it. It is the same for ever; where other id spaces have come to use
    /// the same id, only `space:id` finds it.
    pub(crate) fn fragment_id(&self, fragment: FragmentNo) -> Result<String, Error> {
        Ok(crate::words::key_text(&fragment_row(self.version()?, fragment)?.key))
    }

    pub(crate) fn members(&self, fragment: FragmentNo) -> Result<Vec<FragmentNo>, Error> {
        let version = self.version()?;
        members_of(version, root_of(version, fragment)?)
    }

    pub(crate) fn primary_id(&self, fragment: FragmentNo) -> Result<String, Error> {
        let version = self.version()?;
        self.fragment_id(oldest_of(version, root_of(version, fragment)?)?)
    }

    /// The session that an id names, aliases followed.
    pub(crate) fn session_of(&self, id: &str) -> Result<SessionNo, ReadError> {
        let version = self.version()?;
        let mut found: Vec<(SpaceNo, SessionNo)> = Vec::new();
        if let Some((space, id)) = id.split_once(':')
            && let Some(space) = space_no(version, space)?
        {
            found.extend(session_in(version, space, id)?.map(|session| (space, session)));
        }
        if let Some((_, session)) = found.first() {
            return Ok(crate::core::session::session_row(version, *session)?.0);
        }
        for space in 1..=version.counters.names.get(NameKind::Space.index()).copied().unwrap_or(0) {
            found.extend(session_in(version, SpaceNo(space), id)?.map(|session| (SpaceNo(space), session)));
        }
        found.sort_unstable();
        found.dedup();
        match *found.as_slice() {
            [] => Err(ReadError::NotFound),
            [(_, session)] => Ok(crate::core::session::session_row(version, session)?.0),
            _ => {
                let name =
                    |(space, _): &(SpaceNo, SessionNo)| Ok(format!("{}:{id}", space_name(version, *space)?));
                let candidates = found.iter().map(name);
                Err(ReadError::AmbiguousId { candidates: candidates.collect::<Result<_, Error>>()? })
            }
        }
    }

    /// The name of a number.
    pub(crate) fn text(&self, kind: NameKind, no: u32) -> Result<Arc<str>, Error> {
        let row = self.version()?.texts(&(kind, no))?;
        Ok(row.map_or_else(|| Arc::from(""), |row| Arc::from(&*row.text)))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

fn server_id(version: &Version, id: &str) -> Result<Option<FragmentNo>, Error> {
    match uuid::Uuid::parse_str(id) {
        Ok(id) => Ok(version.server_ids(&id)?.map(|fragment| *fragment)),
        Err(_) => Ok(None),
    }
}

fn space_no(version: &Version, name: &str) -> Result<Option<SpaceNo>, Error> {
    let row = version.names(&NameKey { kind: NameKind::Space, text: name.into() })?;
    Ok(row.map(|row| SpaceNo(row.no)))
}

fn space_name(version: &Version, space: SpaceNo) -> Result<Box<str>, Error> {
    let row = version.texts(&(NameKind::Space, space.0))?;
    Ok(row.map_or_else(|| "".into(), |row| row.text.clone()))
}

fn session_in(version: &Version, space: SpaceNo, id: &str) -> Result<Option<SessionNo>, Error> {
    let key = crate::core::rows::SessionKey { space, id: id.into() };
    Ok(version.session_ids(&key)?.map(|session| *session))
}

/// How many items a page takes.
fn limit_of(request: &PageRequest) -> Result<usize, ReadError> {
    match request.limit {
        0 => Ok(PAGE_DEFAULT_ITEMS),
        limit if limit <= PAGE_MAX_ITEMS => Ok(limit),
        limit => {
            let message = format!("{limit} items; a page takes at most {PAGE_MAX_ITEMS}");
            Err(ReadError::Rejected(Rejection::new("limit_invalid", "limit", message)))
        }
    }
}

/// A list of which pages are asked for. Its cursors name it, so that one of another list, or of the same with
/// another filter, is refused and does not skip what it never showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listing<'a> {
    request: &'a PageRequest,
    /// Hash of what is listed and of the filter, which is enough against mistakes.
    mark: u64,
    limit: usize,
    after: Option<Cursor>,
}

impl<'a> Listing<'a> {
    /// The `route`, such as "profile-events", of an id, in pages as `request` says.
    fn of(route: &str, id: &str, request: &'a PageRequest) -> Result<Self, ReadError> {
        let limit = limit_of(request)?;
        let filter = (&request.event_type, request.from, request.to);
        let mark = xxhash_rust::xxh3::xxh3_64(&encode(&(route, id, filter))) >> 32;
        let after = request.cursor.as_deref().map(|text| cursor_of(text, mark)).transpose()?;
        Ok(Self { request, mark, limit, after })
    }

    fn cursor_text(&self, cursor: Cursor) -> String {
        cursor_text(cursor, self.mark)
    }
}

/// A place in an order of two numbers; in an answer it is text that nobody should read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cursor(u64, u64);

/// A cursor ends with a sum of its place and of what is listed, so that one which was altered is refused too.
fn cursor_text(cursor: Cursor, mark: u64) -> String {
    let sum = xxhash_rust::xxh3::xxh3_64(&encode(&(cursor.0, cursor.1, mark))) >> 32;
    format!("{}-{}-{}", base36(cursor.0), base36(cursor.1), base36(sum))
}

fn cursor_of(text: &str, mark: u64) -> Result<Cursor, ReadError> {
    let mut numbers = text.split('-').map(|digits| u64::from_str_radix(digits, 36));
    match (numbers.next(), numbers.next()) {
        (Some(Ok(one)), Some(Ok(other))) if cursor_text(Cursor(one, other), mark) == text => {
            Ok(Cursor(one, other))
        }
        _ => {
            let message = "not a cursor of an answer before to the same question";
            Err(ReadError::Rejected(Rejection::new("cursor_invalid", "cursor", message)))
        }
    }
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = u32::try_from(number % 36).unwrap_or(0);
        digits.push(char::from_digit(digit, 36).unwrap_or('0'));
        number /= 36;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_question_or_an_altered_one_is_refused() {
        let text = cursor_text(Cursor(4_711, 3), 8);
        assert_eq!(cursor_of(&text, 8).ok(), Some(Cursor(4_711, 3)));
        assert!(cursor_of(&text, 9).is_err());
        let (one, rest) = text.split_once('-').unwrap();
        let (other, sum) = rest.split_once('-').unwrap();
        for altered in [
            format!("{one}-{other}0-{sum}"),
            format!("{one}0-{other}-{sum}"),
            format!("0{one}-{other}-{sum}"),
            format!("+{one}-{other}-{sum}"),
            format!("{one}-{other}-{sum}-0"),
            format!("{one}-{other}"),
            text.to_uppercase(),
            String::new(),
        ] {
            assert!(cursor_of(&altered, 8).is_err(), "{altered}");
        }
    }
}

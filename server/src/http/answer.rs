//! What a call of the interface is answered with: the store is asked, and its answer is text. Knows no request and no
//! status; called by the routes, and by the commands where no server runs.

use super::routes::Read;
use crate::access::KeyCall;
use crate::access::keyring::{ChangeError, Keyring};
use crate::protocol::identity;
use crate::protocol::keys;
use crate::protocol::request;
use crate::protocol::write::{self, CheckBody};
use crate::store::Store;
use spoor::model::{Explanation, Page, ReadError, StoredEvent};
use spoor::{Act, ActError, Rejection};

/// Answers a read, as JSON.
///
/// # Errors
/// What the store says.
pub fn read(store: &dyn Store, read: &Read) -> Result<Vec<u8>, ReadError> {
    Ok(match read {
        Read::Profile(id, as_of) => write::text(&write::profile(&store.profile_as_of(id, *as_of)?)),
        Read::ProfileOf(identifier, as_of) => {
            write::text(&write::profile(&store.profile_of_identifier(identifier, *as_of)?))
        }
        Read::ProfileEvents(id, page) => {
            write::text(&write::page(&store.profile_events(id, page)?, write::event))
        }
        Read::ProfileSessions(id, page) => {
            write::text(&write::page(&store.profile_sessions(id, page)?, write::session))
        }
        Read::ProfileLinks(id, page) => {
            write::text(&write::page(&store.profile_links(id, page)?, identity::link))
        }
        Read::ProfileHistory(id, page) => {
            write::text(&write::page(&store.profile_history(id, page)?, identity::history_entry))
        }
        Read::Explain { from, to } => write::text(&identity::explanation(&explained(store, from, to)?)),
        Read::Quarantine(page) => write::text(&write::page(&store.quarantine(page)?, identity::quarantined)),
        Read::Blocked(page) => write::text(&write::page(&store.blocked(page)?, identity::blocked)),
        Read::Session(id) => write::text(&write::session(&store.session(id)?)),
        Read::SessionEvents(id, page) => {
            write::text(&write::page(&store.session_events(id, page)?, write::event))
        }
        Read::Events { after, limit } => {
            write::text(&write::page(&log_page(store.events_after(*after, *limit)?, *limit), write::event))
        }
        Read::Requests { after, limit } => {
            let items = store.requests_after(*after, *limit)?;
            let cursor = items.last().map(|(seq, _)| seq.0.to_string());
            write::text(&write::page(&Page { items, cursor }, |(seq, sent)| request::logged(*seq, sent)))
        }
        Read::Check => write::text(&CheckBody::from(store.check()?)),
    })
}

/// Of two ids, the one that nothing has is named.
fn explained(store: &dyn Store, from: &str, to: &str) -> Result<Explanation, ReadError> {
    store.explain(from, to).map_err(|error| match error {
        ReadError::NotFound => {
            let found = store.explain(from, from).is_ok();
            let (field, id) = if found { ("to", to) } else { ("from", from) };
            ReadError::Rejected(Rejection::new("not_found", field, format!("nothing here has the id {id:?}")))
        }
        error => error,
    })
}

/// Does an act, or says what it would do; as JSON.
///
/// # Errors
/// What the store says.
pub fn act(store: &dyn Store, act: Act, dry_run: bool) -> Result<Vec<u8>, ActError> {
    Ok(write::text(&identity::act_reply(&store.act(act, dry_run)?)))
}

/// Answers what is asked of keys, as JSON. A change is durable, and holds, when this returns.
///
/// # Errors
/// [`ChangeError`].
pub fn keys(keyring: &Keyring, call: KeyCall) -> Result<Vec<u8>, ChangeError> {
    Ok(match call {
        KeyCall::List => keys::list(&keyring.list()),
        KeyCall::Add(new) => {
            let (key, secret) = keyring.add(new)?;
            keys::key(&key, Some(&secret))
        }
        KeyCall::Revoke { id } => keys::key(&keyring.revoke(&id)?, None),
    })
}

/// A page in log order: the cursor is what to send as `after`.
fn log_page(items: Vec<StoredEvent>, limit: usize) -> Page<StoredEvent> {
    let cursor = items.last().filter(|_| items.len() >= limit).map(|event| event.seq.0.to_string());
    Page { items, cursor }
}

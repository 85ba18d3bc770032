//! The keys of a running server: asked on every call, changed now and then, and kept in `keys.json`.
//!
//! 1. Where nobody ever made a key, everybody may do everything; the listener sees to it that this is this machine.
//! 2. With the first key that is over at once, also for streams that are under way, and it stays over: a server whose
//!    last key was revoked lets nobody in. It does not open itself again.
//! 3. A change is durable before it holds, and holds when it is answered.
//! 4. Commands on this machine come with a key that is drawn at each start and stands in `server.json`: whoever may
//!    read the data directory can do everything anyway.

use super::file;
use super::secret::{self, Hash, Secret};
use super::{Key, NewKey, Right, SourceName};
use crate::limits::KEYS_MAX;
use spoor::{Rejection, Timestamp};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// A key as it is kept.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) key: Key,
    pub(super) hash: Hash,
}

/// The right that a caller came with, for as long as it holds.
#[derive(Debug)]
struct Pass {
    /// `None` of a call that needs no right.
    right: Option<Right>,
    /// Whether a key was shown at all.
    by_key: bool,
    revoked: watch::Sender<bool>,
}

impl Pass {
    fn new(right: Option<Right>, by_key: bool) -> Arc<Self> {
        Arc::new(Self { right, by_key, revoked: watch::Sender::new(false) })
    }
}

/// Who calls: what they may do, until their key is revoked.
#[derive(Debug, Clone)]
pub struct Caller(Arc<Pass>);

impl Caller {
    /// Whoever makes a call that needs no right; may do nothing else.
    #[must_use]
    pub fn nobody() -> Self {
        Self(Pass::new(None, false))
    }

    /// What they may do; `None` of a call that needs no right.
    #[must_use]
    pub fn right(&self) -> Option<&Right> {
        self.0.right.as_ref()
    }

    /// The source that a write key is for.
    #[must_use]
    pub fn source(&self) -> Option<&SourceName> {
        self.right().and_then(Right::source)
    }

    /// Whether they have shown a key, and not only come to a server that has none.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.0.by_key
    }

    /// Whether what they came with holds no longer.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        *self.0.revoked.borrow()
    }

    /// Waits until [`Self::is_revoked`]; for what goes on after it has begun.
    pub async fn revoked(&self) {
        // It does not fail, since this handle keeps the sender.
        let _ = self.0.revoked.subscribe().wait_for(|revoked| *revoked).await;
    }
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// No key was shown.
    Missing,
    /// It is no key, or one that was revoked.
    Invalid,
}

/// Why the keys did not change.
#[derive(Debug)]
pub enum ChangeError {
    /// What was asked cannot be.
    Rejected(Rejection),
    /// They could not be written: the old ones hold.
    Failed(io::Error),
}

impl From<io::Error> for ChangeError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// All keys of a data directory.
#[derive(Debug)]
pub struct Keyring {
    /// `None`: they last as long as the process.
    data_dir: Option<PathBuf>,
    table: RwLock<Table>,
    /// Held by the one who changes anything, while the file is written; nobody who only asks waits for it.
    changing: Mutex<()>,
    command_key: Secret,
    commands: (Hash, Arc<Pass>),
}

#[derive(Debug)]
struct Table {
    /// There until there is a key.
    everybody: Option<Arc<Pass>>,
    keys: BTreeMap<String, (Kept, Arc<Pass>)>,
}

/// The id in the key of commands; ids of keys are hexadecimal digits.
const COMMANDS: &str = "commands";

impl Keyring {
    /// The keys of a data directory, which need not be there yet.
    ///
    /// # Errors
    /// The file of the keys cannot be read or understood.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        Self::new(Some(data_dir.to_owned()), file::read(data_dir)?)
    }

    /// No keys yet, and those that are made last as long as the process.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn in_memory() -> io::Result<Self> {
        Self::new(None, None)
    }

    fn new(data_dir: Option<PathBuf>, kept: Option<Vec<Kept>>) -> io::Result<Self> {
        let everybody = kept.is_none().then(|| Pass::new(Some(Right::Admin), false));
        let keys = kept.unwrap_or_default().into_iter().map(entry).collect();
        let command_key = Secret::draw(COMMANDS)?;
        let commands = (command_key.hash(), Pass::new(Some(Right::Admin), true));
        let table = RwLock::new(Table { everybody, keys });
        Ok(Self { data_dir, table, changing: Mutex::new(()), command_key, commands })
    }

    /// Whether everybody may do everything, since nobody ever made a key.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.table().everybody.is_some()
    }

    /// Whether there is any key that a client could show.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        !self.table().keys.is_empty()
    }

    /// The key of commands on this machine, good until the process ends.
    #[must_use]
    pub fn command_key(&self) -> &Secret {
        &self.command_key
    }

    /// Who shows this key, or none. Where nobody needs one, what is shown is not looked at.
    ///
    /// # Errors
    /// [`Stranger`].
    pub fn caller(&self, shown: Option<&str>) -> Result<Caller, Stranger> {
        let table = self.table();
        if let Some(everybody) = &table.everybody {
            return Ok(Caller(Arc::clone(everybody)));
        }
        let shown = shown.ok_or(Stranger::Missing)?;
        // The id is no secret, so that finding the key by it tells nothing; the rest is compared in constant time.
        let id = secret::claimed_id(shown).ok_or(Stranger::Invalid)?;
        let (hash, pass) = match table.keys.get(id) {
            Some((kept, pass)) => (&kept.hash, pass),
            None if id == COMMANDS => (&self.commands.0, &self.commands.1),
            None => return Err(Stranger::Invalid),
        };
        if hash.is(&Hash::of(shown)) { Ok(Caller(Arc::clone(pass))) } else { Err(Stranger::Invalid) }
    }

    /// All keys, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.table().keys.values().map(|(kept, _)| kept.key.clone()).collect();
        keys.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        keys
    }

    /// Makes a key, which [`NewKey::check`] found good. Its secret is told this once. When this returns the key is
    /// durable and good; from the first on, everybody needs one.
    ///
    /// # Errors
    /// `keys_max`; or the file could not be written, and there is no such key, but perhaps after the next start.
    pub fn add(&self, new: NewKey) -> Result<(Key, Secret), ChangeError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = self.kept();
        if kept.len() >= KEYS_MAX {
            let message = format!("there are {KEYS_MAX} keys already: revoke those that nobody uses");
            return Err(ChangeError::Rejected(Rejection { code: "keys_max", message, field: None }));
        }
        let id = self.new_id()?;
        let secret = Secret::draw(&id)?;
        let key = Key { id, name: new.name.trim().to_owned(), right: new.right, created_at: now() };
        let added = Kept { key: key.clone(), hash: secret.hash() };
        kept.push(added.clone());
        self.write(&kept)?;
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let (id, entry) = entry(added);
        table.keys.insert(id, entry);
        if let Some(everybody) = table.everybody.take() {
            everybody.revoked.send_replace(true);
        }
        tracing::info!(id = key.id, right = key.right.word(), "a key was made");
        Ok((key, secret))
    }

    /// Makes a key no key any more. When this returns, and after any stop, it is good for nothing, and what it began
    /// ends.
    ///
    /// # Errors
    /// `key_unknown`; or the file could not be written, and the key is good until the next start at least.
    pub fn revoke(&self, id: &str) -> Result<Key, ChangeError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = self.kept();
        let Some(index) = kept.iter().position(|kept| kept.key.id == id) else {
            let rejection = Rejection::new("key_unknown", "id", "no key has this id");
            return Err(ChangeError::Rejected(rejection));
        };
        let Kept { key, .. } = kept.remove(index);
        self.write(&kept)?;
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pass)) = table.keys.remove(id) {
            pass.revoked.send_replace(true);
        }
        tracing::info!(id = key.id, right = key.right.word(), "a key was revoked");
        Ok(key)
    }

    fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> Vec<Kept> {
        self.table().keys.values().map(|(kept, _)| kept.clone()).collect()
    }

    fn new_id(&self) -> io::Result<String> {
        loop {
            let id = secret::draw_id()?;
            if !self.table().keys.contains_key(&id) {
                return Ok(id);
            }
        }
    }

    fn write(&self, kept: &[Kept]) -> io::Result<()> {
        self.data_dir.as_deref().map_or(Ok(()), |data_dir| file::write(data_dir, kept.iter()))
    }
}

fn entry(kept: Kept) -> (String, (Kept, Arc<Pass>)) {
    let pass = Pass::new(Some(kept.key.right.clone()), true);
    (kept.key.id.clone(), (kept, pass))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(right: Right) -> NewKey {
        NewKey { name: " the shop ".to_owned(), right }
    }

    fn right(keyring: &Keyring, shown: Option<&str>) -> Result<Right, Stranger> {
        keyring.caller(shown).map(|caller| caller.right().unwrap().clone())
    }

    #[test]
    fn with_the_first_key_everybody_needs_one_and_it_stays_so() {
        let keyring = Keyring::in_memory().unwrap();
        let everybody = keyring.caller(None).unwrap();
        assert_eq!((everybody.right(), everybody.has_key()), (Some(&Right::Admin), false));
        assert_eq!(right(&keyring, Some("anything")), Ok(Right::Admin));
        let (key, secret) = keyring.add(new(Right::Read)).unwrap();
        assert_eq!((key.name.as_str(), keyring.list()), ("the shop", vec![key.clone()]));
        assert!(everybody.is_revoked());
        assert_eq!(right(&keyring, None), Err(Stranger::Missing));
        assert_eq!(right(&keyring, Some(secret.text())), Ok(Right::Read));
        assert_eq!(right(&keyring, Some(keyring.command_key().text())), Ok(Right::Admin));
        keyring.revoke(&key.id).unwrap();
        assert_eq!(right(&keyring, Some(secret.text())), Err(Stranger::Invalid));
        assert_eq!(right(&keyring, None), Err(Stranger::Missing));
        assert!(!keyring.is_open() && !keyring.has_keys());
    }

    #[test]
    fn what_is_like_a_key_is_none() {
        let keyring = Keyring::in_memory().unwrap();
        let write = Right::Write(SourceName::new("shop"));
        let (_, secret) = keyring.add(new(write.clone())).unwrap();
        let text = secret.text();
        assert_eq!(right(&keyring, Some(text)), Ok(write));
        let other = Secret::draw(secret::claimed_id(text).unwrap()).unwrap();
        let commands = Secret::draw(COMMANDS).unwrap();
        for shown in [
            "",
            &text[..text.len() - 1],
            &format!("{text}0"),
            &text.to_uppercase(),
            other.text(),
            commands.text(),
            "spoor_0_0",
        ] {
            assert_eq!(right(&keyring, Some(shown)), Err(Stranger::Invalid), "{shown}");
        }
    }

    #[test]
    fn keys_outlive_the_process_and_those_of_commands_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let first = Keyring::open(dir.path()).unwrap();
        let (kept, secret) = first.add(new(Right::Admin)).unwrap();
        let (gone, revoked) = first.add(new(Right::Read)).unwrap();
        first.revoke(&gone.id).unwrap();
        let second = Keyring::open(dir.path()).unwrap();
        assert_eq!(second.list(), vec![kept.clone()]);
        assert_eq!(right(&second, Some(secret.text())), Ok(Right::Admin));
        for shown in [revoked.text(), first.command_key().text()] {
            assert_eq!(right(&second, Some(shown)), Err(Stranger::Invalid));
        }
        second.revoke(&kept.id).unwrap();
        let third = Keyring::open(dir.path()).unwrap();
        assert_eq!(
            right(&third, None),
            Err(Stranger::Missing),
            "a server that had keys opens itself to nobody"
        );
    }

    #[test]
    fn what_cannot_be_written_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(dir.path()).unwrap();
        let (key, secret) = keyring.add(new(Right::Read)).unwrap();
        dir.close().unwrap();
        assert!(matches!(keyring.revoke(&key.id), Err(ChangeError::Failed(_))));
        assert!(matches!(keyring.add(new(Right::Admin)), Err(ChangeError::Failed(_))));
        assert_eq!(keyring.list(), vec![key]);
        assert_eq!(right(&keyring, Some(secret.text())), Ok(Right::Read));
        assert!(matches!(keyring.revoke("x"), Err(ChangeError::Rejected(no)) if no.code == "key_unknown"));
    }

    #[test]
    fn there_are_not_more_keys_than_may_be() {
        let keyring = Keyring::in_memory().unwrap();
        for _ in 0..KEYS_MAX {
            keyring.add(new(Right::Read)).unwrap();
        }
        assert!(
            matches!(keyring.add(new(Right::Read)), Err(ChangeError::Rejected(no)) if no.code == "keys_max")
        );
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_it() {
        let keyring = Keyring::in_memory().unwrap();
        let (key, secret) = keyring.add(new(Right::Read)).unwrap();
        let caller = keyring.caller(Some(secret.text())).unwrap();
        let hears = tokio::spawn({
            let caller = caller.clone();
            async move { caller.revoked().await }
        });
        assert!(!caller.is_revoked());
        keyring.revoke(&key.id).unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(10), hears).await.unwrap().unwrap();
        assert!(caller.is_revoked());
    }
}

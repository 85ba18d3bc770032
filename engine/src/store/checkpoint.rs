//! Writes a frozen generation to the index, in one transaction with the position of the log.
//!
//! Runs on its own thread, off the writer's path; the next base comes back to the writer. It knows where
//! rows go, and nothing of what they mean but one thing: a fragment lists its parts by last event.

use super::base::Base;
use super::codec::{KeyBytes, decode, encode};
use super::index::{CheckpointWriter, Index, TableId};
use super::log::LogPosition;
use super::overlay::{Generation, Keyed};
use super::postings::{CHUNK_MAX_EVENTS, chunk_key, encode_chunk};
use crate::core::rows::{Counters, ListKind, PartRow};
use crate::error::Error;
use crate::ids::{FragmentNo, PartNo};
use crate::time::Timestamp;
use bincode::{Decode, Encode};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::hash::Hash;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked whether a reader that still held what was let go of has ended.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What the index says of itself, in one transaction with its rows.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Meta {
    /// Where the log was; `None` in the middle of a rebuild, which begins anew if it is cut off.
    pub position: Option<LogPosition>,
    /// The numbers.
    pub counters: Counters,
}

impl Meta {
    /// The meta of an index, if it ever had a checkpoint.
    ///
    /// # Errors
    /// [`Error`] if it could not be read.
    pub fn read(index: &Index, path: &Path) -> Result<Option<Self>, Error> {
        index.reader()?.meta()?.map(|bytes| decode(&bytes, path)).transpose()
    }
}

/// What the checkpoint thread is asked for.
#[derive(Debug)]
pub enum Errand {
    /// Write a checkpoint.
    Write(Job),
    /// Let go of a base that nobody asks any more and the generation that is in the next: freeing them takes a
    /// while.
    LetGo(Arc<Base>, Option<Arc<Generation>>),
}

/// What was let go of and some reader still looks at. Were it freed by whoever drops it last, that reader would stand
/// still for as long as that takes: a hundred milliseconds, on a thread that many requests share.
#[derive(Default)]
pub struct Leaving(Vec<Arc<dyn Send + Sync>>);

impl Leaving {
    /// Keeps it until nobody else does.
    pub fn add(&mut self, what: Arc<dyn Send + Sync>) {
        self.0.push(what);
    }

    /// Waits for the next errand, and frees meanwhile what nobody looks at any more. `None` when no more will come.
    pub fn meanwhile(&mut self, errands: &Receiver<Errand>) -> Option<Errand> {
        loop {
            self.0.retain(|what| Arc::strong_count(what) > 1);
            if self.0.is_empty() {
                return errands.recv().ok();
            }
            match errands.recv_timeout(LOOK_AGAIN_AFTER) {
                Ok(errand) => return Some(errand),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

/// A generation to be written, and what the index is to say of itself then.
#[derive(Debug)]
pub struct Job {
    /// The rows.
    pub frozen: Arc<Generation>,
    /// Position and numbers at which it was frozen.
    pub meta: Meta,
    /// What the index holds now.
    pub base: Arc<Base>,
}

/// Writes a generation; durable when it returns. Returns the base that it leaves.
///
/// # Errors
/// [`Error`] if the index could not be written; it is then as it was, or as it was to be, and takes no
/// further checkpoint.
pub fn write(index: &Index, job: &Job, cache_bytes: usize) -> Result<Base, Error> {
    index.checkpoint(&encode(&job.meta), |writer| fill(writer, &job.frozen, &job.base))?;
    Ok(Base::new(index.reader()?, job.meta.counters, cache_bytes, job.base.path()))
}

macro_rules! fill_tables {
    ($($(#[$doc:meta])* $get:ident, $put:ident: $key:ty => $row:ty, $id:ident;)*) => {
        fn fill_tables(writer: &mut CheckpointWriter<'_>, frozen: &Generation) -> Result<(), Error> {
            $(write_table(writer, TableId::$id, &frozen.$get)?;)*
            Ok(())
        }
    };
}
crate::for_each_table!(fill_tables);

fn fill(writer: &mut CheckpointWriter<'_>, frozen: &Generation, base: &Base) -> Result<(), Error> {
    fill_tables(writer, frozen)?;
    write_repeats(writer, frozen)?;
    write_postings(writer, frozen)?;
    write_session_parts(writer, frozen)?;
    write_lists(writer, frozen)?;
    write_fragment_parts(writer, frozen, base)?;
    write_due(writer, frozen)
}

fn write_table<K, R>(
    writer: &mut CheckpointWriter<'_>,
    table: TableId,
    keyed: &Keyed<K, R>,
) -> Result<(), Error>
where
    K: Hash + Eq + Ord + Clone + KeyBytes,
    R: Encode,
{
    if keyed.length() == 0 {
        return Ok(());
    }
    let mut rows: Vec<(Vec<u8>, Arc<R>)> =
        keyed.newest().into_iter().map(|(key, row)| (key.key_bytes(), row)).collect();
    rows.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    let encoded = rows.iter().map(|(key, row)| (key, Some(encode(&**row))));
    writer.write(table, encoded)
}

fn write_repeats(writer: &mut CheckpointWriter<'_>, frozen: &Generation) -> Result<(), Error> {
    let mut rows = frozen.repeats.all();
    rows.sort_unstable();
    writer.write_repeats(rows)
}

fn write_postings(writer: &mut CheckpointWriter<'_>, frozen: &Generation) -> Result<(), Error> {
    let mut lists = frozen.postings.all();
    lists.sort_unstable_by_key(|(part, _)| *part);
    let rows = lists.iter().flat_map(|(part, events)| {
        events
            .chunks(CHUNK_MAX_EVENTS)
            .filter_map(|chunk| Some((chunk_key(*part, chunk.first()?.seq), Some(encode_chunk(chunk)))))
    });
    writer.write(TableId::Postings, rows)
}

fn write_session_parts(writer: &mut CheckpointWriter<'_>, frozen: &Generation) -> Result<(), Error> {
    let mut keys = Vec::new();
    for (session, parts) in frozen.session_parts.all() {
        for (_, part) in parts {
            let mut key = session.key_bytes();
            part.write_key(&mut key);
            keys.push(key);
        }
    }
    keys.sort_unstable();
    writer.write(TableId::SessionParts, keys.into_iter().map(|key| (key, Some([]))))
}

fn write_lists(writer: &mut CheckpointWriter<'_>, frozen: &Generation) -> Result<(), Error> {
    let mut keys = Vec::with_capacity(frozen.lists.length());
    for (list, items) in frozen.lists.all() {
        if list.kind == ListKind::Identifiers {
            // A link has a row of its own, under the same fragment.
            continue;
        }
        for (_, item) in items {
            let mut key = list.key_bytes();
            key.extend_from_slice(&item.to_be_bytes());
            keys.push(key);
        }
    }
    keys.sort_unstable();
    keys.dedup();
    writer.write(TableId::Lists, keys.into_iter().map(|key| (key, Some([]))))
}

/// Key of a part in its fragment's list: latest event first.
#[must_use]
pub fn fragment_part_key(fragment: FragmentNo, last: Timestamp, part: PartNo) -> Vec<u8> {
    let mut key = fragment.key_bytes();
    key.extend_from_slice(&(u64::MAX - last.0.unsigned_abs()).to_be_bytes());
    part.write_key(&mut key);
    key
}

/// Each part that changed moves to its new place in its fragment's list.
fn write_fragment_parts(
    writer: &mut CheckpointWriter<'_>,
    frozen: &Generation,
    base: &Base,
) -> Result<(), Error> {
    let mut rows: Vec<(Vec<u8>, Option<[u8; 0]>)> = Vec::new();
    for (part, row) in frozen.parts.newest() {
        let Some(new) = place(part, &row) else { continue };
        if let Some(old) = base.parts(&part)?.and_then(|row| place(part, &row)) {
            if old == new {
                continue;
            }
            rows.push((old, None));
        }
        rows.push((new, Some([])));
    }
    rows.sort_unstable();
    writer.write(TableId::FragmentParts, rows)
}

fn place(part: PartNo, row: &PartRow) -> Option<Vec<u8>> {
    Some(fragment_part_key(row.fragment?, row.numbers.last?.time, part))
}

fn write_due(writer: &mut CheckpointWriter<'_>, frozen: &Generation) -> Result<(), Error> {
    let key = |(due_ms, session): &(u64, crate::ids::SessionNo)| {
        let mut key = due_ms.to_be_bytes().to_vec();
        session.write_key(&mut key);
        key
    };
    let done: Vec<_> = frozen.due_done.lock().iter().map(key).collect();
    let due: Vec<_> = frozen.due.lock().iter().map(key).collect();
    writer.write(TableId::Due, done.into_iter().map(|key| (key, None::<[u8; 0]>)))?;
    writer.write(TableId::Due, due.into_iter().map(|key| (key, Some([]))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{bounded, unbounded};
    use std::thread::ThreadId;

    /// Says on which thread it was freed.
    struct Told(crossbeam_channel::Sender<ThreadId>);

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(std::thread::current().id());
        }
    }

    #[test]
    fn what_a_reader_still_holds_is_freed_by_the_checkpoint_thread_after_it() {
        let (freed, where_freed) = unbounded();
        let held = Arc::new(Told(freed));
        let (errands, taken) = bounded(1);
        let given: Arc<dyn Send + Sync> = Arc::clone(&held) as _;
        let thread = std::thread::spawn(move || {
            let mut leaving = Leaving::default();
            leaving.add(given);
            leaving.meanwhile(&taken).is_none()
        });
        assert!(where_freed.recv_timeout(3 * LOOK_AGAIN_AFTER).is_err(), "a reader still holds it");
        drop(held);
        assert_eq!(where_freed.recv().unwrap(), thread.thread().id());
        drop(errands);
        assert!(thread.join().unwrap(), "no more will come");
    }
}

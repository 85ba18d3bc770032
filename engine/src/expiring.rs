//! Links that nobody said again in time are found and taken away.
//!
//! ```text
//! sweep: links in memory, then links of the index, slice by slice -> those that may be due, 256 at a time
//!        -> planned on a snapshot, on this thread -> the writer, if the plan still holds
//! ```
//!
//! Nothing is kept for it: a namespace may be told to let its links expire, or another time, whenever a store is
//! opened, and a link costs nothing more for it. A sweep reads every link once; the next begins after a fiftieth of
//! the shortest time after which links expire, and after fifty times as long as this one took.

use crate::core::acts::{Deed, plan};
use crate::core::decide::Stamp;
use crate::core::rows::{LinkKey, LinkRow};
use crate::error::Error;
use crate::ids::{FragmentNo, IdentifierNo};
use crate::limits::{ACT_MAX_ATTEMPTS, EXPIRE_MAX_LINKS};
use crate::store::codec::{KeyBytes, decode};
use crate::store::index::{Order, TableId};
use crate::store::layers::number_at;
use crate::store::mailbox::{ActJob, Acted, Door, Message};
use crate::time::Timestamp;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Links of the index that are looked at before others get their turn.
const SLICE_LINKS: usize = 4_096;
/// The rest between two slices.
const BETWEEN_SLICES: Duration = Duration::from_millis(5);
/// How many times as long as a sweep took the next is waited for, at least.
const REST_SHARE: u32 = 50;
/// The shortest and the longest rest between two sweeps.
const RESTS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60 * 60)];

/// Sweeps until the sender of `stop` is gone, or the store closes.
pub(crate) fn run(door: &Door, stop: &Receiver<()>) {
    let Some(soonest) = door.shared.registry.expires_soonest_ms() else { return };
    let fiftieth = Duration::from_millis(u64::try_from(soonest).unwrap_or(0)) / REST_SHARE;
    let mut rest = RESTS[0];
    while stop.recv_timeout(rest) == Err(RecvTimeoutError::Timeout) {
        let begun = Instant::now();
        match sweep(door, Some(stop)) {
            Ok(_) | Err(Error::Overloaded | Error::SnapshotTooOld) => {}
            Err(Error::Closed { .. }) => return,
            Err(error) => {
                // What cannot be read now will not be an hour later, and nobody waits for an answer.
                door.shared.fail(&error);
                return;
            }
        }
        rest = fiftieth.clamp(RESTS[0], RESTS[1]).max(begun.elapsed() * REST_SHARE);
    }
}

/// Takes away every link that has expired by now; durable and visible on return. Returns how many. With `stop`, it
/// rests between slices, and ends early when the sender is gone.
///
/// # Errors
/// [`Error::Closed`], or what made the store close.
pub(crate) fn sweep(door: &Door, stop: Option<&Receiver<()>>) -> Result<u64, Error> {
    let Some(soonest) = door.shared.registry.expires_soonest_ms() else { return Ok(0) };
    let said_before = Timestamp((door.shared.clock.now().millis() - soonest).saturating_mul(1_000) + 999);
    let mut sweep = Sweep { door, said_before, due: Vec::new(), expired: 0 };
    sweep.in_memory()?;
    sweep.in_index(stop)?;
    sweep.expire_all()?;
    Ok(sweep.expired)
}

struct Sweep<'a> {
    door: &'a Door,
    /// What was said later cannot have expired.
    said_before: Timestamp,
    /// Links that may have.
    due: Vec<LinkKey>,
    expired: u64,
}

impl Sweep<'_> {
    fn look_at(&mut self, key: LinkKey, row: &LinkRow) -> Result<(), Error> {
        if row.standing.holds() && row.last_seen <= self.said_before {
            self.due.push(key);
            if self.due.len() >= EXPIRE_MAX_LINKS {
                self.expire_all()?;
            }
        }
        Ok(())
    }

    /// Links that changed since the last checkpoint.
    fn in_memory(&mut self) -> Result<(), Error> {
        let version = self.door.shared.published.current();
        for generation in version.layers.frozen.iter().chain([&version.layers.active]) {
            for (key, row) in generation.links.newest() {
                self.look_at(key, &row)?;
            }
        }
        Ok(())
    }

    /// The others. What is said again while it reads is seen when it is planned.
    fn in_index(&mut self, stop: Option<&Receiver<()>>) -> Result<(), Error> {
        let mut from = Vec::new();
        loop {
            let version = self.door.shared.published.current();
            let mut read = 0;
            let rows = version.layers.base.reader().range(TableId::Links, &from, None, Order::Ascending)?;
            for row in rows.take(SLICE_LINKS) {
                let (key, value) = row?;
                let link = LinkKey {
                    fragment: FragmentNo(number_at(&key, 0)),
                    identifier: IdentifierNo(number_at(&key, 8)),
                };
                self.look_at(link, &decode(&value, version.layers.base.path())?)?;
                read += 1;
                // One byte more lies just behind it.
                from = link.key_bytes();
                from.push(0);
            }
            if read < SLICE_LINKS {
                return Ok(());
            }
            drop(version);
            if stop.is_some_and(|stop| stop.recv_timeout(BETWEEN_SLICES) != Err(RecvTimeoutError::Timeout)) {
                return Ok(());
            }
        }
    }

    fn expire_all(&mut self) -> Result<(), Error> {
        let mut due = std::mem::take(&mut self.due);
        due.sort_unstable();
        due.dedup();
        self.expire(&due)
    }

    /// Takes those away of some links that have expired: by one record, or by several if their profiles change
    /// meanwhile.
    fn expire(&mut self, links: &[LinkKey]) -> Result<(), Error> {
        let shared = &self.door.shared;
        for attempt in 1.. {
            let stamp = Stamp { received: shared.clock.now(), entropy: 0 };
            let deed = Deed::Expire { links: links.to_vec() };
            let pinned = shared.published.pin(false);
            let Ok(plan) = plan(pinned.version()?, &shared.registry, &deed, stamp)? else { return Ok(()) };
            drop(pinned);
            let (count, insist) = (plan.removed.len() as u64, attempt >= ACT_MAX_ATTEMPTS);
            let plan = Some(Box::new(plan));
            let job =
                |done| Message::Act(Box::new(ActJob { encoded: None, deed, entropy: 0, plan, insist, done }));
            match self.door.ask(job)? {
                Acted::Done(..) => {
                    self.expired += count;
                    return Ok(());
                }
                Acted::Refused(_) => return Ok(()),
                Acted::Stale if links.len() > 1 => {
                    let (one, other) = links.split_at(links.len() / 2);
                    self.expire(one)?;
                    return self.expire(other);
                }
                Acted::Stale => {}
            }
        }
        Ok(())
    }
}

//! The stores that hold events before anything is measured: each is filled once, when it is first asked for.

use super::Options;
use crate::Fault;
use crate::filled::{Filled, Peer};
use crate::machine::Machine;
use indicatif::{ProgressBar, ProgressStyle};
use spoor::Settings;
use std::collections::BTreeMap;

/// What was filled so far; the files go with it.
#[derive(Debug, Default)]
pub(super) struct Stores {
    filled: BTreeMap<(Peer, u64), Filled>,
}

impl Stores {
    /// A store of `peer` with `events` events.
    pub(super) fn with(
        &mut self,
        peer: Peer,
        events: u64,
        options: &Options,
        machine: &Machine,
        settings: &Settings,
    ) -> Result<&Filled, Fault> {
        let place = match self.filled.entry((peer, events)) {
            std::collections::btree_map::Entry::Occupied(there) => return Ok(there.into_mut()),
            std::collections::btree_map::Entry::Vacant(place) => place,
        };
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {human_pos}/{human_len} {elapsed}")?;
        let bar = ProgressBar::new(events).with_style(style).with_prefix(format!("filling {}", peer.file()));
        let (dir, shape) = (&options.dir, options.shape);
        let filled = Filled::new(peer, dir, settings, machine.memory_bytes, shape, events, &mut |made| {
            bar.set_position(made);
        })?;
        bar.finish_and_clear();
        Ok(place.insert(filled))
    }
}

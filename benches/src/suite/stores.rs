//! The stores that hold events before anything is measured: each is filled once, when it is first asked for.

use crate::Fault;
use crate::filled::{Contents, Filled, Peer};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

/// What was filled so far; the files go with it.
#[derive(Debug, Default)]
pub(super) struct Stores {
    filled: BTreeMap<(Peer, u64), Filled>,
}

impl Stores {
    /// A store of `peer` with `contents`, whose files are below `dir`. All of a run have the same shape and settings.
    pub(super) fn with(&mut self, peer: Peer, dir: &Path, contents: &Contents<'_>) -> Result<&Filled, Fault> {
        let events = contents.events;
        let place = match self.filled.entry((peer, events)) {
            Entry::Occupied(there) => return Ok(there.into_mut()),
            Entry::Vacant(place) => place,
        };
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {human_pos}/{human_len} {elapsed}")?;
        let bar = ProgressBar::new(events).with_style(style).with_prefix(format!("filling {}", peer.file()));
        let filled = Filled::new(peer, dir, contents, &mut |made| bar.set_position(made))?;
        bar.finish_and_clear();
        Ok(place.insert(filled))
    }
}

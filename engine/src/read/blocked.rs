//! Values that people blocked.

use super::{Cursor, Listing, Snapshot};
use crate::acting::effects_at;
use crate::core::decision::{Effect, Ends};
use crate::core::graph::link_row;
use crate::core::rows::{LinkKey, ListKey, ListKind, Standing};
use crate::core::view::View;
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo};
use crate::model::{BlockedValue, Page, PageRequest, ReadError};
use crate::store::record::RecordView;
use crate::words::identifier_text;

impl Snapshot {
    /// The values that people blocked and that are blocked still, the latest first. What the settings block is not
    /// among them.
    ///
    /// # Errors
    /// As [`Snapshot::profile_events`].
    pub fn blocked(&self, request: &PageRequest) -> Result<Page<BlockedValue>, ReadError> {
        let listing = Listing::of("blocked", "", request)?;
        let Listing { limit, after, .. } = listing;
        let version = self.version()?;
        let mut page = Page { items: Vec::new(), cursor: None };
        let mut last = Cursor(0, 0);
        for place in version.list(ListKey { kind: ListKind::Blocked, of: 0 }, usize::MAX)?.into_iter().rev() {
            if after.is_some_and(|after| place >= after.0) {
                continue;
            }
            let Some(blocked) = self.blocked_at(EventSeq(place))? else { continue };
            if page.items.len() == limit {
                page.cursor = Some(listing.cursor_text(last));
                return Ok(page);
            }
            page.items.push(blocked);
            last = Cursor(place, 0);
        }
        Ok(page)
    }

    /// The value that an act blocked, if it is blocked by that act still.
    fn blocked_at(&self, seq: EventSeq) -> Result<Option<BlockedValue>, Error> {
        let version = self.version()?;
        let Some(record) = version.log.record(seq)? else { return Ok(None) };
        let view = RecordView::parse(record.bytes(), &version.path)?;
        let decision = view.decision(&version.path)?;
        let blocked = effects_at(&decision, record.first_seq(), seq).find_map(|effect| match effect {
            Effect::Blocked { identifier, blocked: true } => Some(*identifier),
            _ => None,
        });
        let Some(identifier) = blocked else { return Ok(None) };
        if version.identifiers(&identifier)?.is_none_or(|row| row.blocked != Some(seq)) {
            return Ok(None);
        }
        let mut suspended = 0;
        for no in version.list(ListKey { kind: ListKind::Carriers, of: identifier.0 }, usize::MAX)? {
            let key = LinkKey { fragment: FragmentNo(no), identifier };
            let row = link_row(version, Ends::Identifier(key))?;
            suspended += u64::from(matches!(row.standing, Standing::Suspended(_)));
        }
        let (namespace, value) = self.identifier_name(identifier)?;
        let identifier = identifier_text(&namespace, &value);
        Ok(Some(BlockedValue { identifier, seq, at: view.stamp.received, suspended }))
    }
}

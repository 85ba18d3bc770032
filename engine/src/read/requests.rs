//! The requests of the log, as an import into another store takes them.

use super::Snapshot;
use crate::core::decision::Effect;
use crate::error::Error;
use crate::ids::EventSeq;
use crate::request::TrackRequest;
use crate::store::log::Record;
use crate::store::record::{RecordView, seqs_of};

impl Snapshot {
    /// The requests after the position `after`, oldest first, each with its last position: as they were sent, and
    /// to be sent again as an import. An event that came without a time, or by a wrong clock, has the time that was
    /// found for it. They end where they have `limit` events or more; there is at least one if there is any.
    ///
    /// # Errors
    /// [`Error`] if the log could not be read.
    pub fn requests_after(&self, after: u64, limit: usize) -> Result<Vec<(EventSeq, TrackRequest)>, Error> {
        let version = self.version()?;
        let (mut requests, mut events) = (Vec::new(), 0);
        for record in version.log.records_from(EventSeq(after.saturating_add(1))) {
            let record = record?;
            if events >= limit || record.first_seq() > version.counters.seq {
                break;
            }
            // A position within a request stands for all of it.
            if record.first_seq().0 <= after {
                continue;
            }
            if let Some((last, request)) = self.request_in(&record)? {
                events += request.events.len();
                requests.push((last, request));
            }
        }
        Ok(requests)
    }

    /// `None` if the engine decided by itself.
    fn request_in(&self, record: &Record) -> Result<Option<(EventSeq, TrackRequest)>, Error> {
        let path = &self.version()?.path;
        let view = RecordView::parse(record.bytes(), path)?;
        let Some(mut request) = view.command(path)? else { return Ok(None) };
        let decision = view.decision(path)?;
        let last = record.first_seq().0 + u64::from(seqs_of(&decision).saturating_sub(1));
        for effect in decision.effects {
            if let Effect::Event(effect) = effect
                && let Some(event) = request.events.get_mut(usize::from(effect.index))
                && event.time.map(|time| time.millis()) != Some(effect.time.millis())
            {
                event.time = Some(effect.time);
            }
        }
        // It told how wrong the clock was, and the times are right now.
        request.sent_at = None;
        request.origin = request.origin.imported();
        Ok(Some((EventSeq(last), request)))
    }
}

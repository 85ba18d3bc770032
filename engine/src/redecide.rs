//! Decides the log again and compares with what was recorded.
//!
//! A store applies recorded decisions and never decides twice, so that no change of rules rewrites history. This
//! asks the other question: would the rules of now decide the same? It reads the log and changes nothing.
//!
//! 1. A request is prepared as it was then. Its ids were drawn and stored with it, so none is drawn.
//! 2. It is decided with the stamp of its record, on a state that the decisions before it made.
//! 3. The effects must be those of the record, all of them and in their order.
//! 4. A record without a request is applied: when the clock was looked at (session ends) is not decided, and an act
//!    was by a person. A hand-over names an id and nothing else, so it is planned again like a request.

use crate::act::Act;
use crate::core::acts::{Deed, plan};
use crate::core::agents::Agents;
use crate::core::memory::MemoryState;
use crate::core::prepare::prepare;
use crate::core::sources::Registry;
use crate::core::view::View;
use crate::error::Error;
use crate::ids::EventSeq;
use crate::store::layers::Version;
use crate::store::record::RecordView;
use uuid::Uuid;

/// The first position at which deciding again gives another decision.
pub(crate) fn decide_again(
    version: &Version,
    registry: &Registry,
    agents: &Agents,
) -> Result<Option<EventSeq>, Error> {
    let mut state = MemoryState::default();
    for record in version.log.records_from(EventSeq(1)) {
        let record = record?;
        let first_seq = record.first_seq();
        if first_seq > version.counters.seq {
            break;
        }
        if first_seq != state.counters().seq.next() {
            return Err(Error::Damaged {
                path: version.path.to_path_buf(),
                offset: 0,
                reason: format!("position {} follows {}", first_seq.0, state.counters().seq.0),
            });
        }
        let view = RecordView::parse(record.bytes(), &version.path)?;
        if !same_again(&mut state, &view, version, registry, agents)? {
            return Ok(Some(first_seq));
        }
    }
    Ok(None)
}

/// Whether a record is decided as it was.
fn same_again(
    state: &mut MemoryState,
    record: &RecordView<'_>,
    version: &Version,
    registry: &Registry,
    agents: &Agents,
) -> Result<bool, Error> {
    let recorded = record.decision(&version.path)?;
    if let Some(act) = record.act(&version.path)? {
        let same = match Deed::of_handover(state, &act)? {
            Some(deed) => matches!(
                plan(state, registry, &deed, record.stamp)?,
                Ok(plan) if plan.decision == recorded
            ),
            // What another act names is looked up in a store, and its plan was checked when it was applied.
            None => !matches!(act, Act::Handover { .. }),
        };
        state.apply(record.stamp.received, &recorded)?;
        return Ok(same);
    }
    let Some(request) = record.command(&version.path)? else {
        state.apply(record.stamp.received, &recorded)?;
        return Ok(true);
    };
    // An id that was not stored with its request would be drawn here, and then hash to another number.
    let Ok(command) = prepare(request, registry, agents, &mut Uuid::nil) else { return Ok(false) };
    let (decision, _, _) = state.decide(registry, &command, record.stamp)?;
    Ok(decision == recorded)
}

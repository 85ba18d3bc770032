//! Links that expire: those of a namespace with `expires_after` that nobody said again in time.
//!
//! A part of planning acts, though nobody acts: what depends on time passing enters the log as a record of its own.
//! Time is event time, that of the latest event that said it; so what expires does not depend on the order of
//! arrival. What is said again makes its link hold again: expiry is no decision against it.

use super::acts::{Done, Planner, refuse};
use super::apply::missing;
use super::decision::Ends;
use super::rows::{LinkKey, Standing};
use super::view::View;
use crate::ids::FragmentNo;

impl<V: View> Planner<'_, '_, V> {
    pub(super) fn expire(&mut self, links: &[LinkKey]) -> Done {
        let now = self.decider.stamp.received;
        let mut due = Vec::new();
        for key in links {
            // One that was found in what is not shown yet is found again.
            let Some(row) = self.decider.state.links(key)? else { continue };
            let name =
                &self.decider.state.identifiers(&key.identifier)?.ok_or_else(|| missing("identifier"))?.key;
            let settings = self.decider.settings_of(name.namespace)?;
            let expired = settings.is_some_and(|settings| settings.has_expired(row.last_seen, now));
            if expired && row.standing.holds() {
                due.push((key.fragment, name.value.clone(), *key));
            }
        }
        if due.is_empty() {
            return Ok(refuse("nothing_due", "none of the links has expired"));
        }
        // In an order that can be told from outside.
        due.sort_unstable();
        for (_, _, key) in &due {
            self.loosen(Ends::Identifier(*key), Standing::Expired)?;
        }
        let fragments: Vec<FragmentNo> = due.into_iter().map(|(fragment, ..)| fragment).collect();
        self.touched.extend(&fragments);
        self.regroup(&fragments)?;
        Ok(Ok(()))
    }
}

//! Consents: what a customer allowed or refused, per purpose.
//!
//! Owns the answers that one fragment keeps and the answer of a profile that several fragments make up. Event time is
//! not looked at: what counts is the order of receipt, so that a wrong clock or a late event gives no permission.
//!
//! The rule between fragments: *a refusal stands until a grant received after the link that joined the two*. So a
//! merge never turns a refusal into a grant. What was said on one device before anybody knew that it is the same
//! person does not answer what was refused on another.

use crate::ids::{ConsentNo, EventSeq, FragmentNo};
use crate::request::Consent;
use bincode::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

/// The answers of one fragment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct ConsentStates {
    purposes: BTreeMap<ConsentNo, ConsentState>,
}

/// The answers of one fragment for one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ConsentState {
    /// The answer received last.
    pub latest: Consent,
    /// With which event.
    pub latest_seq: EventSeq,
    /// With which event the last grant was received, if there was one.
    pub granted_seq: Option<EventSeq>,
}

impl ConsentStates {
    /// Takes an answer, in any order of arrival, and says whether anything changed. Of two answers in one event the
    /// refusal holds.
    pub fn apply(&mut self, purpose: ConsentNo, seq: EventSeq, consent: Consent) -> bool {
        let granted_seq = (consent == Consent::Granted).then_some(seq);
        let new = ConsentState { latest: consent, latest_seq: seq, granted_seq };
        let Some(state) = self.purposes.get_mut(&purpose) else {
            self.purposes.insert(purpose, new);
            return true;
        };
        let before = *state;
        // `Consent` orders a refusal after a grant.
        if (new.latest_seq, new.latest) > (state.latest_seq, state.latest) {
            state.latest = new.latest;
            state.latest_seq = new.latest_seq;
        }
        state.granted_seq = state.granted_seq.max(granted_seq);
        *state != before
    }

    /// What is kept for a purpose.
    #[must_use]
    pub fn get(&self, purpose: ConsentNo) -> Option<&ConsentState> {
        self.purposes.get(&purpose)
    }

    /// The purposes that were answered, in order of their numbers.
    pub fn purposes(&self) -> impl Iterator<Item = ConsentNo> + '_ {
        self.purposes.keys().copied()
    }

    /// How many purposes were answered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.purposes.len()
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.purposes.is_empty()
    }
}

/// The answers of a profile, by purpose.
///
/// `joined_at` gives, for two different fragments of the profile, the position of the link that put them into one
/// profile; it is asked for pairs only, and is symmetrical. A purpose is refused if some fragment's latest answer is
/// a refusal and no fragment of the profile received a grant both after that refusal and after the link that joined
/// it to the refusing fragment. A grant in the very event that made the link is not after it.
///
/// Costs, per purpose, the refusing fragments times those that granted later.
#[must_use]
pub fn profile_consents(
    fragments: &[(FragmentNo, &ConsentStates)],
    joined_at: impl Fn(FragmentNo, FragmentNo) -> EventSeq,
) -> Vec<(ConsentNo, Consent)> {
    let purposes: BTreeSet<ConsentNo> = fragments.iter().flat_map(|(_, states)| states.purposes()).collect();
    purposes.into_iter().map(|purpose| (purpose, profile_consent(purpose, fragments, &joined_at))).collect()
}

fn profile_consent(
    purpose: ConsentNo,
    fragments: &[(FragmentNo, &ConsentStates)],
    joined_at: &impl Fn(FragmentNo, FragmentNo) -> EventSeq,
) -> Consent {
    let answered = || fragments.iter().filter_map(|(no, states)| Some((*no, states.get(purpose)?)));
    // Only the last grant of a fragment needs to be tried: if an earlier one lifts a refusal, it does so too.
    let mut grants: Vec<_> = answered().filter_map(|(no, state)| Some((state.granted_seq?, no))).collect();
    grants.sort_unstable_by(|one, other| other.cmp(one));
    let lifted = |refusing: FragmentNo, refused_seq: EventSeq| {
        grants.iter().take_while(|(granted_seq, _)| *granted_seq > refused_seq).any(
            |(granted_seq, granting)| *granting != refusing && *granted_seq > joined_at(refusing, *granting),
        )
    };
    let refused = answered()
        .filter(|(_, state)| state.latest == Consent::Refused)
        .any(|(no, state)| !lifted(no, state.latest_seq));
    if refused { Consent::Refused } else { Consent::Granted }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Consent::{Granted, Refused};
    use proptest::prelude::*;

    const PURPOSE: ConsentNo = ConsentNo(7);
    const FRAGMENTS: usize = 3;

    /// One thing that happens, at the position of its place in a history.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Say(usize, Consent),
        Join(usize, usize),
    }

    /// A history replayed: the states, the components, and when each pair came into one.
    #[derive(Debug, Clone)]
    struct World {
        states: Vec<ConsentStates>,
        component: Vec<usize>,
        joined: BTreeMap<(usize, usize), EventSeq>,
        said: Vec<(EventSeq, usize, Consent)>,
    }

    impl World {
        fn new() -> Self {
            Self {
                states: vec![ConsentStates::default(); FRAGMENTS],
                component: (0..FRAGMENTS).collect(),
                joined: BTreeMap::new(),
                said: vec![],
            }
        }

        fn step(&mut self, seq: EventSeq, step: Step) {
            match step {
                Step::Say(fragment, consent) => {
                    self.states[fragment].apply(PURPOSE, seq, consent);
                    self.said.push((seq, fragment, consent));
                }
                Step::Join(one, other) => {
                    let (one, other) = (self.component[one], self.component[other]);
                    for left in self.members(one) {
                        for right in self.members(other) {
                            self.joined.entry((left, right)).or_insert(seq);
                            self.joined.entry((right, left)).or_insert(seq);
                        }
                    }
                    self.component.iter_mut().filter(|root| **root == other).for_each(|root| *root = one);
                }
            }
        }

        fn members(&self, component: usize) -> Vec<usize> {
            (0..FRAGMENTS).filter(|fragment| self.component[*fragment] == component).collect()
        }

        fn answer(&self, component: usize) -> Option<Consent> {
            let members = self.members(component);
            let states: Vec<_> =
                members.iter().map(|no| (FragmentNo(*no as u64), &self.states[*no])).collect();
            let consents = profile_consents(&states, |one, other| {
                let place = |no: FragmentNo| usize::try_from(no.0).unwrap();
                self.joined[&(place(one), place(other))]
            });
            assert!(consents.len() <= 1);
            consents.first().map(|(_, consent)| *consent)
        }

        /// The rule in its own words, over everything that was said.
        fn naive(&self, component: usize) -> Option<Consent> {
            let said: Vec<_> =
                self.said.iter().filter(|(_, fragment, _)| self.component[*fragment] == component).collect();
            let stands = |refused: &(EventSeq, usize, Consent)| {
                refused.2 == Refused
                    && !said.iter().any(|(seq, fragment, consent)| {
                        *consent == Granted
                            && *seq > refused.0
                            && (*fragment == refused.1 || *seq > self.joined[&(*fragment, refused.1)])
                    })
            };
            let any_stands = said.iter().any(|said| stands(said));
            (!said.is_empty()).then_some(if any_stands { Refused } else { Granted })
        }
    }

    fn alphabet() -> Vec<Step> {
        let says = (0..FRAGMENTS).flat_map(|no| [Step::Say(no, Granted), Step::Say(no, Refused)]);
        says.chain([Step::Join(0, 1), Step::Join(1, 2), Step::Join(0, 2)]).collect()
    }

    fn explore(world: &World, seq: u64, depth: usize, visit: &mut impl FnMut(&World, Step, &World)) {
        if depth == 0 {
            return;
        }
        for step in alphabet() {
            let mut next = world.clone();
            next.step(EventSeq(seq), step);
            visit(world, step, &next);
            explore(&next, seq + 1, depth - 1, visit);
        }
    }

    #[test]
    fn every_small_history_follows_the_rule_and_no_merge_makes_a_grant_of_a_refusal() {
        let mut refusals_kept = 0;
        explore(&World::new(), 1, 5, &mut |before, step, after| {
            for component in 0..FRAGMENTS {
                assert_eq!(after.answer(component), after.naive(component), "{after:?}");
            }
            let Step::Join(one, other) = step else { return };
            let joined = after.answer(after.component[one]);
            let sides = [one, other].map(|no| before.answer(before.component[no]));
            if sides.contains(&Some(Refused)) {
                assert_eq!(joined, Some(Refused), "{before:?} {step:?}");
                refusals_kept += 1;
            } else {
                assert_eq!(joined, sides[0].or(sides[1]), "{before:?} {step:?}");
            }
        });
        assert!(refusals_kept > 0);
    }

    #[test]
    fn the_last_word_of_a_joined_profile_holds() {
        let mut world = World::new();
        let steps = [
            (Step::Say(0, Refused), Refused),
            (Step::Say(1, Granted), Refused),
            (Step::Join(0, 1), Refused),
            (Step::Say(1, Granted), Granted),
            (Step::Join(1, 2), Granted),
            (Step::Say(2, Refused), Refused),
            (Step::Say(0, Granted), Granted),
        ];
        for (seq, (step, expected)) in (1..).zip(steps) {
            world.step(EventSeq(seq), step);
            assert_eq!(world.answer(world.component[0]), Some(expected), "after {step:?}");
        }
    }

    #[test]
    fn a_grant_with_the_event_that_made_the_link_is_not_after_it() {
        let (mut refusing, mut granting) = (ConsentStates::default(), ConsentStates::default());
        refusing.apply(PURPOSE, EventSeq(1), Refused);
        granting.apply(PURPOSE, EventSeq(5), Granted);
        let fragments = [(FragmentNo(1), &refusing), (FragmentNo(2), &granting)];
        let answer = |link| profile_consents(&fragments, |_, _| EventSeq(link));
        assert_eq!(answer(5), [(PURPOSE, Refused)]);
        assert_eq!(answer(4), [(PURPOSE, Granted)]);
    }

    #[test]
    fn purposes_are_apart_and_in_order() {
        let mut states = ConsentStates::default();
        assert!(states.is_empty());
        assert!(states.apply(ConsentNo(2), EventSeq(1), Refused));
        assert!(states.apply(ConsentNo(1), EventSeq(2), Granted));
        assert!(!states.apply(ConsentNo(1), EventSeq(2), Granted), "nothing new");
        assert_eq!(states.len(), 2);
        let consents = profile_consents(&[(FragmentNo(1), &states)], |_, _| unreachable!());
        assert_eq!(consents, [(ConsentNo(1), Granted), (ConsentNo(2), Refused)]);
    }

    proptest! {
        #[test]
        fn any_arrival_gives_one_state(
            said in prop::collection::vec((0..3_u32, 1..6_u64, any::<bool>()), 0..12)
                .prop_flat_map(|said| (Just(said.clone()), Just(said).prop_shuffle()))
        ) {
            let state = |said: &[(u32, u64, bool)]| {
                let mut states = ConsentStates::default();
                for (purpose, seq, granted) in said {
                    states.apply(ConsentNo(*purpose), EventSeq(*seq), if *granted { Granted } else { Refused });
                }
                states
            };
            let states = state(&said.1);
            prop_assert_eq!(&states, &state(&said.0));
            for purpose in states.purposes() {
                let last = said.0.iter().filter(|said| said.0 == purpose.0).map(|said| said.1).max().unwrap();
                let refused = said.0.iter().any(|said| said.0 == purpose.0 && said.1 == last && !said.2);
                prop_assert_eq!(states.get(purpose).unwrap().latest, if refused { Refused } else { Granted });
            }
        }
    }
}

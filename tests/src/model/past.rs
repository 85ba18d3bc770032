//! The past: what was taken in, played again up to a time.

use super::{Input, Model};
use spoor::model::{AsOf, Profile, ReadError};
use spoor::{Rejection, Settings, Timestamp};

impl Model {
    /// The profile that an id finds, as of a past.
    ///
    /// # Errors
    /// As [`Model::profile`]; for a time before everything.
    pub fn profile_as_of(&self, id: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        self.fragment_by_id(id)?;
        let then = self.as_known_at(as_of.at)?;
        let fragment = then.fragment_by_id(id)?;
        Ok(then.profile_of(fragment, as_of.until))
    }

    /// The profile that has an identifier, as of a past.
    ///
    /// # Errors
    /// As [`Model::profile_as_of`]; for what cannot be an identifier; where several profiles have it.
    pub fn profile_of_identifier(&self, identifier: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        let then = self.as_known_at(as_of.at)?;
        let wanted = then
            .parsed(identifier)
            .map_err(|code| ReadError::Rejected(Rejection::new(code, "identifier", "the model says no")))?;
        if let Some(owner) = then.owner(&wanted) {
            return Ok(then.profile_of(owner[0], as_of.until));
        }
        let mut oldest: Vec<usize> = (0..then.fragments.len())
            .map(|fragment| then.person(fragment))
            .filter(|person| then.has(person, &wanted))
            .map(|person| person[0])
            .collect();
        oldest.sort_unstable();
        oldest.dedup();
        match oldest.as_slice() {
            [] => Err(ReadError::NotFound),
            [one] => Ok(then.profile_of(*one, as_of.until)),
            several => Err(ReadError::AmbiguousId {
                candidates: several.iter().map(|&fragment| then.fragments[fragment].id.clone()).collect(),
            }),
        }
    }

    /// The model as it was when it had received nothing later than a time.
    fn as_known_at(&self, at: Option<Timestamp>) -> Result<Self, ReadError> {
        let Some(at) = at else { return Ok(self.clone()) };
        let mut then = Self::new(Settings::clone(&self.settings));
        for input in &self.inputs {
            match input {
                Input::Request { stamp, received, request } if *stamp <= at => {
                    drop(then.track(request, *received));
                }
                Input::Act { stamp, received, act } if *stamp <= at => {
                    drop(then.act(act, false, *received));
                }
                Input::Tick(now) if *now <= at => {
                    then.tick(*now);
                }
                _ => {}
            }
        }
        if then.sequence == 0 {
            let before = Rejection::new("at_before_beginning", "at", "the model says no");
            return Err(ReadError::Rejected(before));
        }
        Ok(then)
    }
}

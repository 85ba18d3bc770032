//! Webhooks: what happens is posted to addresses of the operator's, in the order of the log, until each has taken it.
//!
//! Each has a thread, which reads changes after its place, posts some of them at once, and waits until they are taken:
//! one batch is on its way at a time, so that nothing overtakes anything. Its place is kept in the data directory; what
//! was posted when a stop came between the two is posted again. Knows no route, and nothing of what a change means
//! but the type of an event.

mod place;
mod sender;
pub mod signature;

use crate::limits::WEBHOOK_FAREWELL_MS;
use crate::settings::{Configuration, SettingsError};
use crate::store::Store;
use place::Place;
use sender::Sender;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use ureq::Agent;

/// What each webhook posts with, by its name: made before anything is opened, since files may be wrong.
#[derive(Debug)]
pub(crate) struct Agents(BTreeMap<String, Agent>);

impl Agents {
    /// For those of `configuration`.
    ///
    /// # Errors
    /// Names the webhook whose receiver could not be verified by what there is.
    pub(crate) fn of(configuration: &Configuration) -> Result<Self, SettingsError> {
        let agent = |(name, settings)| Ok((String::clone(name), sender::agent(name, settings)?));
        configuration.webhooks.iter().map(agent).collect::<Result<_, _>>().map(Self)
    }
}

/// The webhooks of a server. They end when this is dropped; what is on its way then is waited for, but not long.
#[derive(Debug)]
pub(crate) struct Webhooks(Arc<Bell>);

impl Webhooks {
    /// Starts those of `configuration`, with what was made for them, on `store`.
    ///
    /// # Errors
    /// What the system says where a thread cannot be started, or a place not be read or written.
    pub(crate) fn start(
        configuration: &Configuration,
        mut agents: Agents,
        store: &Arc<dyn Store>,
    ) -> std::io::Result<Self> {
        let bell = Arc::new(Bell::default());
        // Dropped where one of them cannot be started, so that the others end.
        let webhooks = Self(Arc::clone(&bell));
        if configuration.webhooks.is_empty() {
            return Ok(webhooks);
        }
        let told = Arc::downgrade(&bell);
        store.on_published(Box::new(move |seq| match told.upgrade() {
            Some(bell) => {
                bell.ring(seq.0);
                true
            }
            None => false,
        }));
        bell.ring(store.status().position);
        for (name, settings) in &configuration.webhooks {
            let Some(agent) = agents.0.remove(name) else { continue };
            let place = Place::new(&configuration.data_dir, name);
            let sender = Sender::new(name, settings, agent, place, Arc::clone(store), Arc::clone(&bell))?;
            let running = Running::begin(&bell);
            let run = move || {
                let _running = running;
                sender.run();
            };
            std::thread::Builder::new().name(format!("spoor-hook-{name}")).spawn(run)?;
        }
        Ok(webhooks)
    }
}

impl Drop for Webhooks {
    fn drop(&mut self) {
        self.0.stop(Duration::from_millis(WEBHOOK_FAREWELL_MS));
    }
}

/// A thread that has not ended.
#[derive(Debug)]
struct Running(Arc<Bell>);

impl Running {
    fn begin(bell: &Arc<Bell>) -> Self {
        bell.state().running += 1;
        Self(Arc::clone(bell))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.state().running -= 1;
        self.0.changed.notify_all();
    }
}

/// Wakes senders: there is a new position, or it is time to stop.
#[derive(Debug, Default)]
struct Bell {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    position: u64,
    stopped: bool,
    running: usize,
}

impl Bell {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self, position: u64) {
        let mut state = self.state();
        state.position = state.position.max(position);
        drop(state);
        self.changed.notify_all();
    }

    /// Returns once all have ended, or after the time given for that.
    fn stop(&self, patience: Duration) {
        let mut state = self.state();
        state.stopped = true;
        self.changed.notify_all();
        drop(self.changed.wait_timeout_while(state, patience, |state| state.running > 0));
    }

    /// Waits until there is something after `position`. False once it is time to stop.
    fn wait_beyond(&self, position: u64) -> bool {
        let waits = |state: &mut State| !state.stopped && state.position <= position;
        let state = self.changed.wait_while(self.state(), waits).unwrap_or_else(PoisonError::into_inner);
        !state.stopped
    }

    /// Waits for so long. False once it is time to stop.
    fn rest(&self, time: Duration) -> bool {
        let waiting = self.changed.wait_timeout_while(self.state(), time, |state| !state.stopped);
        let (state, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        !state.stopped
    }
}

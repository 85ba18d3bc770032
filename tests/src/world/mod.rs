//! Small worlds of people: a few devices, a few identifiers, and every sequence of so many steps in them.
//!
//! It owns the walk: a tree, so that sequences share what they begin with, and after each step the engine's core on
//! a state in memory must say what the model says (`seen`), and hold together by itself (`faults`). No file is
//! written. It knows no rule of identity.
//!
//! Devices are interchangeable, and so are the values of one namespace where a [`Shape`] says so: a sequence brings
//! them in order of number, since any other is the same under other names.

mod faults;
mod place;
mod seen;

pub use faults::faults;
pub use place::Place;

use spoor::Settings;
use spoor::core::agents::Agents;
use spoor::core::sources::Registry;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Steps that are taken before the walk is shared out to threads.
const SHARED_STEPS: usize = 2;

/// A small world.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Sources, all of one id space and trusted with profile ids, and namespaces.
    pub settings: Settings,
    /// Names of the sources that events come from.
    pub sources: Vec<&'static str>,
    /// How many devices there are.
    pub devices: usize,
    /// What events bring, as namespace and value; up to two with one event.
    pub identifiers: Vec<(&'static str, &'static str)>,
    /// Whether those of one namespace are brought in the order in which they stand there.
    pub in_order: bool,
    /// Whether a step may undo the latest merge, with a guard or without.
    pub undo: bool,
    /// Looks at a place in a way of its own, after each step.
    pub look: fn(&Place),
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Letter {
    /// An event.
    Event {
        /// Its source.
        source: &'static str,
        /// Its device, from 0.
        device: usize,
        /// What it brings, as places in [`Shape::identifiers`].
        identifiers: Vec<usize>,
    },
    /// The latest merge is undone.
    Undo {
        /// Whether the two are kept apart from then on.
        keep_apart: bool,
    },
}

/// A world, and how far it is walked.
#[derive(Debug)]
pub struct World {
    shape: Shape,
    registry: Registry,
    agents: Agents,
    letters: Vec<Letter>,
    steps_max: usize,
}

impl World {
    /// A world of sequences of up to so many steps.
    ///
    /// # Panics
    /// If the settings are not sound.
    #[must_use]
    pub fn new(shape: Shape, steps_max: usize) -> Self {
        let registry = Registry::new(&shape.settings).expect("sound settings");
        let letters = letters(&shape);
        Self { shape, registry, agents: Agents::default(), letters, steps_max }
    }

    /// Takes every sequence, on all cores; returns how many there are.
    ///
    /// # Panics
    /// Where the core and the model disagree, or a state does not hold together; the sequence is told.
    #[must_use]
    pub fn walk(&self) -> u64 {
        let mut sequences = 0;
        let mut begun = vec![self.begin()];
        for _ in 0..self.steps_max.min(SHARED_STEPS) {
            begun = begun.iter().flat_map(|place| self.after(place)).collect();
            sequences += begun.len() as u64;
        }
        let (next, further) = (AtomicUsize::new(0), AtomicU64::new(0));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(place) = begun.get(next.fetch_add(1, Ordering::Relaxed)) {
                        further.fetch_add(self.walk_from(place), Ordering::Relaxed);
                    }
                });
            }
        });
        sequences + further.into_inner()
    }

    /// Before any step.
    #[must_use]
    pub fn begin(&self) -> Place {
        Place::new(&self.shape.settings)
    }

    /// Takes one step and looks at what came of it.
    ///
    /// # Panics
    /// As [`World::walk`].
    pub fn step(&self, place: &mut Place, letter: &Letter) {
        place.take(letter, &self.shape, &self.registry, &self.agents);
        place.compare();
        let faults = faults(&place.state, &self.shape.settings);
        assert_eq!(faults, Vec::<String>::new(), "after {:#?}", place.path);
        (self.shape.look)(place);
    }

    fn walk_from(&self, place: &Place) -> u64 {
        if place.path.len() >= self.steps_max {
            return 0;
        }
        self.after(place).map(|next| 1 + self.walk_from(&next)).sum()
    }

    /// One step on, in every direction.
    fn after<'a>(&'a self, place: &'a Place) -> impl Iterator<Item = Place> + 'a {
        self.letters.iter().filter(|letter| self.is_new(place, letter)).map(|letter| {
            let mut next = place.clone();
            self.step(&mut next, letter);
            next
        })
    }

    /// Whether a step is not another one under other names.
    fn is_new(&self, place: &Place, letter: &Letter) -> bool {
        let Letter::Event { device, identifiers, .. } = letter else { return place.has_merges() };
        let namespace = |at: usize| self.shape.identifiers[at].0;
        let brought = |at: usize| place.brought.contains(&at) || identifiers.contains(&at);
        let in_order =
            |at: &usize| (0..*at).all(|before| namespace(before) != namespace(*at) || brought(before));
        *device <= place.devices && (!self.shape.in_order || identifiers.iter().all(in_order))
    }
}

/// All steps of a world: what comes to every device from every source, with none, one or two of the identifiers.
fn letters(shape: &Shape) -> Vec<Letter> {
    let count = shape.identifiers.len();
    let mut brought = vec![Vec::new()];
    brought.extend((0..count).map(|one| vec![one]));
    brought.extend((0..count).flat_map(|one| (one + 1..count).map(move |other| vec![one, other])));
    let mut letters = Vec::new();
    for device in 0..shape.devices {
        for identifiers in &brought {
            // An event that names nobody is the same from any source.
            let sources = if identifiers.is_empty() { 1 } else { shape.sources.len() };
            letters.extend(shape.sources.iter().take(sources).map(|source| Letter::Event {
                source,
                device,
                identifiers: identifiers.clone(),
            }));
        }
    }
    if shape.undo {
        letters.extend([false, true].map(|keep_apart| Letter::Undo { keep_apart }));
    }
    letters
}

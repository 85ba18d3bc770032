//! How Spoor is tested: tests are data wherever they can be.
//!
//! - [`scenario`] reads `scenarios/*.txt`, plays them against a target and compares what it answers.
//! - [`target`] is what can be played against: the model, the engine in this process, the server over HTTP.
//! - [`model`] is a second, naive reading of the rules: everything in plain lists, no index, no engine logic.
//! - [`history`] makes random histories, which two targets must answer alike.
//! - [`crowd`] makes random requests in which nothing is decided for good.
//! - [`shop`] reads the sample of a web shop's traffic.
//! - [`subscription`] follows the stream of changes, and [`receiver`] is told of them.
//! - [`orders`] puts requests into other orders and groupings, and imports each into a fresh store.
//! - [`truth`] compares who is one profile with what is known of it from elsewhere.
//! - [`world`] takes every sequence of a few steps in a small world, in memory, and compares with the model.
//! - [`browser`] drives a real browser, [`site`] is the website that it visits, and [`visits`] what happens there.
//! - [`libraries`] installs the genuine client libraries of other services.
//! - [`kill`] kills a server under load and compares what is left with what its clients were told.
//!
//! Ids that a target draws are renamed in order of appearance before anything is compared, so that the
//! answers of two targets are equal as text or differ in meaning.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    reason = "a test crate: a panic is its report"
)]

pub mod browser;
pub mod connection;
pub mod crowd;
pub mod history;
pub mod kill;
pub mod libraries;
pub mod model;
pub mod orders;
pub mod receiver;
pub mod scenario;
pub mod shop;
pub mod site;
pub mod subscription;
pub mod target;
pub mod truth;
pub mod visits;
pub mod world;

//! Appends each request to a plain file, durably, and answers: what any durable server must do at least. One thread
//! writes what waits when it comes round, with one write and one `fdatasync`, and answers everybody.
//!
//! The file is as good as a file can be for this: its blocks are written beforehand, since a sync that has none to
//! give out costs half as much, and the writing begins again at its beginning when it is full.

use super::{Numbers, Take, stored};
use crate::Fault;
use crossbeam_channel::{Receiver, Sender, bounded};
use spoor::store::record::encode_command;
use spoor::{Error, TrackRequest};
use spoor_server::store::Done;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;

/// Size of the file, in bytes.
const FILE_BYTES: u64 = 16 << 20;
/// Requests that wait at most.
const WAITING_MAX: usize = 4_096;
/// Bytes written at once at most, but for one request that is larger.
const GROUP_MAX_BYTES: usize = 4 << 20;

struct Job {
    request: TrackRequest,
    bytes: Vec<u8>,
    done: Done,
}

/// A plain file and the thread that writes it.
#[derive(Debug)]
pub struct AppendOnly {
    /// `None` once it is closed.
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    numbers: Numbers,
    failed: OnceLock<Arc<str>>,
}

impl AppendOnly {
    /// Makes the file at `path`.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(path: &Path) -> Result<Self, Fault> {
        let file = File::create_new(path)?;
        let zeros = vec![0; 1 << 20];
        for offset in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, offset)?;
        }
        file.sync_all()?;
        let shared = Arc::new(Shared::default());
        let (sender, receiver) = bounded(WAITING_MAX);
        let writer = Writer {
            file,
            path: path.to_owned(),
            shared: Arc::clone(&shared),
            offset: 0,
            bytes: Vec::new(),
            group: Vec::new(),
        };
        let thread = std::thread::Builder::new().name("append-only".to_owned());
        let thread = thread.spawn(move || writer.run(&receiver))?;
        Ok(Self { jobs: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), shared })
    }

    fn sender(&self) -> Option<Sender<Job>> {
        self.jobs.lock().ok()?.clone()
    }
}

impl Take for AppendOnly {
    fn submit(&self, request: TrackRequest, done: Done) {
        let bytes = encode_command(&request);
        let Some(sender) = self.sender() else {
            return done(Err(Error::Closed { reason: "it was closed".into() }.into()));
        };
        if let Err(refused) = sender.try_send(Job { request, bytes, done }) {
            (refused.into_inner().done)(Err(Error::Overloaded.into()));
        }
    }

    fn events(&self) -> u64 {
        self.shared.numbers.last()
    }

    fn failure(&self) -> Option<Arc<str>> {
        self.shared.failed.get().cloned()
    }

    fn close(&self) -> Result<(), Error> {
        if let Ok(mut jobs) = self.jobs.lock() {
            jobs.take();
        }
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            // What it could not do it has told those who waited.
            let _ = thread.join();
        }
        Ok(())
    }
}

struct Writer {
    file: File,
    path: PathBuf,
    shared: Arc<Shared>,
    offset: u64,
    bytes: Vec<u8>,
    group: Vec<(TrackRequest, Done)>,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            self.add(job);
            while self.bytes.len() < GROUP_MAX_BYTES {
                let Ok(job) = jobs.try_recv() else { break };
                self.add(job);
            }
            let written = self.write();
            for (request, done) in self.group.drain(..) {
                match &written {
                    Ok(()) => {
                        let first = self.shared.numbers.take(&request);
                        done(Ok(Box::new(move || stored(request, first))));
                    }
                    Err(error) => done(Err(error.clone().into())),
                }
            }
            if let Err(error) = written {
                // Only the first reason counts.
                let _ = self.shared.failed.set(error.to_string().into());
                return;
            }
        }
    }

    fn add(&mut self, job: Job) {
        self.bytes.extend_from_slice(&(job.bytes.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(&job.bytes);
        self.group.push((job.request, job.done));
    }

    fn write(&mut self) -> Result<(), Error> {
        let length = self.bytes.len() as u64;
        if self.offset + length > FILE_BYTES {
            self.offset = 0;
        }
        let written = self.file.write_all_at(&self.bytes, self.offset).and_then(|()| self.file.sync_data());
        self.offset += length;
        self.bytes.clear();
        written.map_err(Error::io(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{Shape, Traffic};
    use spoor::Timestamp;
    use std::sync::mpsc::channel;

    #[test]
    fn what_is_answered_is_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("appended");
        let store = AppendOnly::create(&path).unwrap();
        let mut traffic = Traffic::new(Shape { seed: 4, sessions: 9, ..Shape::default() }).unwrap();
        let (sender, answers) = channel();
        let mut expected = Vec::new();
        for _ in 0..300 {
            let request = traffic.next(Timestamp(7)).0;
            let bytes = encode_command(&request);
            expected.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            expected.extend_from_slice(&bytes);
            let sender = sender.clone();
            store.submit(request, Box::new(move |answer| sender.send(answer.map(|reply| reply())).unwrap()));
        }
        let seqs: Vec<u64> = (0..300).map(|_| answers.recv().unwrap().unwrap().events[0].seq.0).collect();
        assert_eq!(seqs, (1..=300).collect::<Vec<_>>());
        assert!(std::fs::read(&path).unwrap().starts_with(&expected));
        store.close().unwrap();
        store.submit(traffic.next(Timestamp(7)).0, Box::new(move |answer| assert!(answer.is_err())));
        assert_eq!(store.events(), 300);
    }
}

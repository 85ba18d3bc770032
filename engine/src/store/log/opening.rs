//! Opening: finds the segments and the end of the log, and decides between a torn tail and damage.
//!
//! At most one frame was unsynced at any time, and it was the last. So, for a place where the chain of
//! checksums ends:
//!
//! 1. only zeros follow: the end of the log;
//! 2. something follows, but no head of a later frame, no later segment that was begun, and the index knows
//!    of nothing beyond: a torn frame, which nobody was told of. It is dropped;
//! 3. anything else: damage. Nothing is changed, and opening fails with the file and the offset.
//!
//! Nothing is changed on disk before all segments were looked at. Then what an interrupted stop left is
//! removed, and the unfinished segment is sealed: copied to a new file and synced, since what was read of it
//! may be in memory only, and must not be built on. For the same reason a sealed segment whose source is still
//! there is copied before the source is removed: nobody can tell whether its sync had failed.

use super::LogPosition;
use super::checksum::Keys;
use super::frame::{Frames, Remains, remains};
use super::identity;
use super::pace::Pace;
use super::seal::seal_again;
use super::sealed::{SealedSegment, read_footer};
use super::sealer::replace;
use super::segment::{FIRST_FRAME_AT, FileName, Kind, OpenSegment, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::shared::{Segment, Shared};
use super::{LogOptions, frame};
use crate::error::Error;
use crate::ids::EventSeq;
use crate::store::disk::{Disk, parent};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A log that was opened.
pub(super) struct Opened {
    pub(super) shared: Arc<Shared>,
    pub(super) end: LogPosition,
    /// Full segments that were not sealed yet.
    pub(super) unsealed: Vec<Arc<OpenSegment>>,
}

/// See the module.
///
/// # Errors
/// [`Error::Io`], [`Error::Damaged`].
pub(super) fn open(
    disk: Arc<dyn Disk>,
    dir: &Path,
    options: &LogOptions,
    known: Option<&LogPosition>,
) -> Result<Opened, Error> {
    disk.create_dir_all(dir).map_err(Error::io(dir))?;
    let above = parent(dir);
    // A relative name of one part lies in the directory that the process is in.
    let above = if above.as_os_str().is_empty() { PathBuf::from(".") } else { above };
    disk.sync_dir(&above).map_err(Error::io(&above))?;
    let names = disk.list(dir).map_err(Error::io(dir))?;
    let mut files: Vec<_> = names.iter().filter_map(|name| FileName::parse(name)).collect();
    files.sort_unstable();
    let store = identity::open_or_create(&*disk, dir, &names, !files.is_empty(), options.new_store_id)?;
    let keys = Keys::new(store);
    let mut walk = Walk::new(&*disk, dir, keys);
    for generations in files.chunk_by(|left, right| left.segment == right.segment) {
        walk.visit(generations)?;
    }
    walk.reaches(known)?;
    let Walk { mut segments, end, useless, replaced, .. } = walk;
    remove_all(&*disk, dir, &useless)?;
    for (number, _) in &replaced {
        let place = segments.iter_mut().find(|segment| segment.number() == *number);
        if let Some(Segment::Sealed(sealed)) = place {
            let old = sealed.path.clone();
            *sealed = Arc::new(seal_again(&*disk, dir, sealed)?);
            disk.remove(&old).map_err(Error::io(&old))?;
        }
    }
    remove_all(&*disk, dir, replaced.iter().flat_map(|(_, paths)| paths))?;
    let mut unsealed: Vec<_> = segments.iter().filter_map(Segment::unsealed).collect();
    let ends_open = segments.last().is_some_and(|last| last.unsealed().is_some());
    let tail = if ends_open { unsealed.pop() } else { None };
    let shared = Arc::new(Shared::new(disk, dir.to_owned(), keys, segments, options.cache_bytes));
    if let Some(tail) = tail {
        let pace = Pace::default();
        pace.hurry();
        replace(&shared, &tail, &pace)?;
    }
    Ok(Opened { shared, end, unsealed })
}

/// Removes files, durably.
fn remove_all<'a>(
    disk: &dyn Disk,
    dir: &Path,
    paths: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<(), Error> {
    let mut some = false;
    for path in paths {
        disk.remove(path).map_err(Error::io(path))?;
        some = true;
    }
    if some { disk.sync_dir(dir).map_err(Error::io(dir)) } else { Ok(()) }
}

struct Walk<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    keys: Keys,
    segments: Vec<Segment>,
    end: LogPosition,
    /// Where the last segment that has frames ended with something that is none.
    torn: Option<(PathBuf, u64)>,
    /// A segment that was prepared, but in which no frame is whole: nothing may follow it.
    unstarted: Option<PathBuf>,
    /// Unfinished, or without a frame.
    useless: Vec<PathBuf>,
    /// By segment: the older generations of one that is sealed, not to be removed before it is surely durable.
    replaced: Vec<(u64, Vec<PathBuf>)>,
}

impl<'a> Walk<'a> {
    fn new(disk: &'a dyn Disk, dir: &'a Path, keys: Keys) -> Self {
        let end = LogPosition::start(&keys);
        let (segments, useless, replaced) = (Vec::new(), Vec::new(), Vec::new());
        Self { disk, dir, keys, segments, end, torn: None, unstarted: None, useless, replaced }
    }

    /// Takes in one segment, given all its files in the order of generations.
    fn visit(&mut self, generations: &[FileName]) -> Result<(), Error> {
        let mut chosen = false;
        let mut broken = None;
        for name in generations.iter().rev() {
            let path = self.dir.join(name.to_string());
            if chosen {
                match self.replaced.last_mut().filter(|(segment, _)| *segment == name.segment) {
                    Some((_, paths)) => paths.push(path),
                    None => self.replaced.push((name.segment, vec![path])),
                }
                continue;
            }
            chosen = match name.kind {
                Kind::Sealed => self.visit_sealed(*name, &path)?,
                Kind::Open => self.visit_open(*name, &path).map(|()| true)?,
            };
            if !chosen {
                self.useless.push(path.clone());
                broken.get_or_insert(path);
            }
        }
        match broken {
            // Its source is gone, so it was whole once.
            Some(path) if !chosen => Err(damaged(&path, 0, "the foot of this sealed segment is not whole")),
            _ => Ok(()),
        }
    }

    /// `false` if the file was not finished.
    fn visit_sealed(&mut self, name: FileName, path: &Path) -> Result<bool, Error> {
        let Some(footer) = read_footer(self.disk, path, name, &self.keys)? else { return Ok(false) };
        self.follows(name.segment, footer.first_seq, footer.chain_before, path)?;
        let end = LogPosition {
            segment: name.segment,
            offset: footer.end_offset,
            checksum: footer.chain_end,
            next_seq: EventSeq(footer.next_seq),
        };
        let sealed = SealedSegment { name, path: path.to_owned(), footer, keys: self.keys };
        self.segments.push(Segment::Sealed(Arc::new(sealed)));
        self.end = end;
        Ok(true)
    }

    fn visit_open(&mut self, name: FileName, path: &Path) -> Result<(), Error> {
        let file = self.disk.open(path, false).map_err(Error::io(path))?;
        let mut head = [0; SEGMENT_HEADER_BYTES];
        let read = file.read_at(&mut head, 0).map_err(Error::io(path))?;
        let header = head.get(..read).and_then(|head| SegmentHeader::decode(head, name.segment, &self.keys));
        let Some(header) = header else {
            let key = self.keys.segment(name.segment);
            let remains = remains(&file, path, key, 0, self.end.next_seq.0)?;
            return self.unstarted(path, &remains);
        };
        self.follows(name.segment, header.first_seq, header.chain_before, path)?;
        let open = OpenSegment::new(name, path.to_owned(), file, header, self.keys);
        let (end, remains) = scan(&open)?;
        if end.offset == FIRST_FRAME_AT {
            let begun = if remains == Remains::Blank { Remains::Torn } else { remains };
            return self.unstarted(path, &begun);
        }
        match remains {
            Remains::Blank => {}
            Remains::Torn => self.torn = Some((path.to_owned(), end.offset)),
            Remains::LaterFrame(at) => return Err(later_frame(path, end.offset, at)),
        }
        self.segments.push(Segment::Open(Arc::new(open)));
        self.end = end;
        Ok(())
    }

    /// A segment without a whole frame. If anything was written to it, the one before it had been synced.
    fn unstarted(&mut self, path: &Path, remains: &Remains) -> Result<(), Error> {
        match (remains, &self.torn) {
            (Remains::LaterFrame(at), _) => return Err(later_frame(path, 0, *at)),
            (Remains::Torn, Some((torn, at))) => {
                return Err(damaged(
                    torn,
                    *at,
                    "a frame is not what was written, and a later segment was begun",
                ));
            }
            _ => {}
        }
        self.unstarted.get_or_insert_with(|| path.to_owned());
        self.useless.push(path.to_owned());
        Ok(())
    }

    /// Whether a segment continues the log where it ended so far.
    fn follows(&self, segment: u64, first_seq: u64, chain_before: u64, path: &Path) -> Result<(), Error> {
        if let Some((torn, at)) = &self.torn {
            return Err(damaged(torn, *at, "a frame is not what was written, and a later segment follows"));
        }
        if let Some(unstarted) = &self.unstarted {
            return Err(damaged(unstarted, 0, "no frame of this segment is whole, and a later one follows"));
        }
        if segment != self.end.segment + 1 {
            let reason = format!("the segment before it, {}, is missing", self.end.segment + 1);
            return Err(damaged(path, 0, &reason));
        }
        if (first_seq, chain_before) != (self.end.next_seq.0, self.end.checksum) {
            let reason = "this segment does not continue the one before it";
            return Err(damaged(path, 0, reason));
        }
        Ok(())
    }

    /// Whether the log reaches as far as the index knows it to.
    fn reaches(&self, known: Option<&LogPosition>) -> Result<(), Error> {
        let Some(known) = known else { return Ok(()) };
        let place = |position: &LogPosition| (position.segment, position.offset);
        if place(known) <= place(&self.end) && known.next_seq <= self.end.next_seq {
            return Ok(());
        }
        let path = match self.segments.last() {
            Some(Segment::Open(open)) => &open.path,
            Some(Segment::Sealed(sealed)) => &sealed.path,
            None => self.dir,
        };
        Err(damaged(path, self.end.offset, "the log ends here, and the index was built from more of it"))
    }
}

/// Follows the chain of a segment, making its frames visible.
fn scan(open: &OpenSegment) -> Result<(LogPosition, Remains), Error> {
    let start = (FIRST_FRAME_AT, open.header.first_seq, open.header.chain(&open.keys));
    let mut frames = Frames::new(&open.file, &open.path, &open.keys, open.key(), start);
    let mut places = Vec::new();
    loop {
        let at = frames.offset;
        let Some(frame) = frames.next()? else { break };
        places.clear();
        let (mut seq, mut place) = (frame.header.first_seq, 0);
        for record in frame.records() {
            let record = record.ok_or_else(|| damaged(&open.path, at, "a record is not what was written"))?;
            places.push((seq, place));
            seq = seq.saturating_add(u64::from(record.seqs));
            place += (frame::RECORD_HEADER_BYTES + record.bytes.len()) as u64;
        }
        let payload_at = frame.payload_at;
        if seq != frames.seq {
            return Err(damaged(&open.path, at, "the records of a frame do not fit its numbers"));
        }
        let end = LogPosition {
            segment: open.header.segment,
            offset: frames.offset,
            checksum: frames.chain,
            next_seq: EventSeq(frames.seq),
        };
        open.publish(payload_at, places.iter().copied(), end);
    }
    let (offset, seq, checksum) = (frames.offset, frames.seq, frames.chain);
    let remains = remains(&open.file, &open.path, open.key(), offset, seq)?;
    let end = LogPosition { segment: open.header.segment, offset, checksum, next_seq: EventSeq(seq) };
    Ok((end, remains))
}

fn later_frame(path: &Path, offset: u64, at: u64) -> Error {
    damaged(path, offset, &format!("a frame is not what was written, and a later one follows at byte {at}"))
}

fn damaged(path: &Path, offset: u64, reason: &str) -> Error {
    Error::Damaged { path: path.to_owned(), offset, reason: reason.to_owned() }
}

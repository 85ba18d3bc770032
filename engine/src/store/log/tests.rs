//! The log as a whole: round trips, damage, power cuts and faults, against a list of what was appended.

use super::*;
use crate::store::disk::sim::{Fault, SimDisk, Trial};
use crate::store::disk::{Disk, DiskFile, DiskLock, RealDisk};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// A record as the model holds it.
type Model = Vec<(u32, Vec<u8>)>;

const DIR: &str = "/data/log";

fn options(segment_bytes: u64) -> LogOptions {
    LogOptions { segment_bytes, cache_bytes: 256 << 10, new_store_id: 0x5eed }
}

fn open(disk: &SimDisk, segment_bytes: u64, known: Option<&LogPosition>) -> Result<Log, Error> {
    Log::open(Arc::new(disk.clone()), Path::new(DIR), &options(segment_bytes), known)
}

/// A record that differs from all others, of about `bytes` bytes.
fn record(number: usize, bytes: usize) -> Vec<u8> {
    let mut text = format!("record {number} of a test, ").into_bytes();
    let pattern = (number % 251) as u8;
    text.extend((0..bytes).map(|at| pattern.wrapping_mul(at as u8) ^ 0x55));
    text
}

fn append(log: &mut Log, records: &[(u32, Vec<u8>)]) -> Result<LogPosition, Error> {
    let mut group = log.group();
    for (seqs, bytes) in records {
        let (left, right) = bytes.split_at(bytes.len() / 3);
        group.push(*seqs, &[left, right]).unwrap();
    }
    log.append(&mut group)
}

/// Reads everything in both ways; the records must be the beginning of `model`, and no error.
fn read_all(log: &Log, model: &Model) -> Result<usize, Error> {
    let reader = log.reader();
    let mut count = 0;
    let mut seq = 1;
    for found in reader.records_from(EventSeq(0)) {
        let found = found?;
        let (seqs, bytes) = &model[count];
        assert_eq!((found.first_seq(), found.seqs()), (EventSeq(seq), *seqs));
        assert_eq!(found.bytes(), bytes, "record {count}");
        for covered in [seq, seq + u64::from(*seqs) - 1] {
            let single = reader.record(EventSeq(covered))?.expect("it was in the sequence");
            assert_eq!((single.first_seq().0, single.bytes()), (seq, found.bytes()));
        }
        seq += u64::from(*seqs);
        count += 1;
    }
    assert_eq!(log.position().next_seq, EventSeq(seq), "the end is where the records end");
    assert!(reader.record(EventSeq(seq))?.is_none());
    assert!(reader.record(EventSeq(0))?.is_none());
    Ok(count)
}

#[track_caller]
fn assert_holds(log: &Log, model: &Model) {
    assert_eq!(read_all(log, model).unwrap(), model.len());
}

fn sealed_files(disk: &SimDisk) -> (usize, usize) {
    let names = disk.list(Path::new(DIR)).unwrap();
    let count = |end: &str| names.iter().filter(|name| name.ends_with(end)).count();
    (count(".sealed"), count(".open"))
}

fn files(disk: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let names = disk.list(Path::new(DIR)).unwrap();
    names
        .iter()
        .map(|name| {
            let path = Path::new(DIR).join(name);
            let file = disk.open(&path, false).unwrap();
            let mut bytes = vec![0; usize::try_from(file.length().unwrap()).unwrap()];
            file.read_at(&mut bytes, 0).unwrap();
            (path, bytes)
        })
        .collect()
}

fn disk_of(files: &BTreeMap<PathBuf, Vec<u8>>) -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new(DIR)).unwrap();
    for (path, bytes) in files {
        let file = disk.open(path, true).unwrap();
        file.write_at(bytes, 0).unwrap();
        file.sync().unwrap();
    }
    disk.sync_dir(Path::new(DIR)).unwrap();
    disk
}

#[test]
fn an_empty_log_opens_again_and_again() {
    let disk = SimDisk::new();
    let start = open(&disk, 4096, None).unwrap().position();
    assert_eq!(start.next_seq, EventSeq(1));
    for _ in 0..3 {
        let log = open(&disk, 4096, Some(&start)).unwrap();
        assert_eq!(log.position(), start);
        assert!(log.confirms(&start).unwrap());
        assert_holds(&log, &Vec::new());
        assert_eq!(log.close().unwrap(), start);
        assert_eq!(sealed_files(&disk), (0, 0));
    }
}

#[test]
fn records_come_back_on_a_real_disk_in_every_state() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let options = LogOptions { segment_bytes: 200_000, ..LogOptions::new(9) };
    let reopen = || Log::open(Arc::new(RealDisk), &path, &options, None).unwrap();
    let mut model = Model::new();
    let mut log = reopen();
    for group in 0..300 {
        let size = 1 + group % 7;
        let records: Vec<_> =
            (0..size).map(|at| (1 + (group % 3) as u32, record(model.len() + at, 500 * (at % 4)))).collect();
        append(&mut log, &records).unwrap();
        model.extend(records);
        if group == 100 {
            log.wait_sealed().unwrap();
        }
        if group == 200 {
            drop(log);
            log = reopen();
        }
    }
    assert_holds(&log, &model);
    log.wait_sealed().unwrap();
    assert_holds(&log, &model);
    let end = log.close().unwrap();
    let log = reopen();
    assert_eq!(log.position(), end);
    assert_holds(&log, &model);
    drop(log);
    let names = RealDisk.list(&path).unwrap();
    assert!(names.iter().all(|name| name == "store" || name.ends_with(".sealed")), "{names:?}");
}

#[test]
fn a_record_of_the_group_being_filled_can_be_read() {
    let log = open(&SimDisk::new(), 4096, None).unwrap();
    let mut group = log.group();
    group.push(2, &[b"first"]).unwrap();
    group.push(0, &[b"sec", b"ond"]).unwrap();
    let first = EventSeq(10);
    let at = |seq| group.record(first, EventSeq(seq)).map(|found| (found.first_seq.0, found.bytes));
    assert_eq!(at(9), None);
    assert_eq!(at(10), Some((10, b"first".as_slice())));
    assert_eq!(at(11), Some((10, b"first".as_slice())));
    assert_eq!(at(12), Some((12, b"second".as_slice())));
    assert_eq!(at(13), None);
    assert_eq!(group.events(), 3);
    group.clear();
    assert!(group.is_empty() && group.bytes() == 0 && group.record(first, first).is_none());
}

#[test]
fn a_record_larger_than_a_frame_is_refused_and_the_group_stays() {
    let disk = SimDisk::new();
    let mut log = open(&disk, 4096, None).unwrap();
    let mut group = log.group();
    group.push(1, &[b"small"]).unwrap();
    assert_eq!(group.push(1, &[&vec![0; FRAME_MAX_BYTES]]), Err(GroupFull));
    let rest = FRAME_MAX_BYTES - FRAME_HEADER_BYTES - group.bytes() - frame::RECORD_HEADER_BYTES;
    let large = record(1, rest - record(1, 0).len());
    group.push(1, &[&large]).unwrap();
    assert_eq!(group.push(1, &[]), Err(GroupFull));
    log.append(&mut group).unwrap();
    let model = vec![(1, b"small".to_vec()), (1, large)];
    assert_holds(&log, &model);
    drop(log);
    let log = open(&disk, 4096, None).unwrap();
    assert_holds(&log, &model);
}

#[test]
fn every_frame_end_is_confirmed_and_nothing_else() {
    let disk = SimDisk::new();
    let mut log = open(&disk, 4096, None).unwrap();
    let mut positions = vec![log.position()];
    let mut number = 0;
    for group in 0..60 {
        let records: Vec<_> = (0..=group % 3)
            .map(|_| {
                (
                    2,
                    record(
                        {
                            number += 1;
                            number
                        },
                        90,
                    ),
                )
            })
            .collect();
        positions.push(append(&mut log, &records).unwrap());
    }
    let check = |log: &Log| {
        for position in &positions {
            assert!(log.confirms(position).unwrap(), "{position:?}");
            for wrong in [
                LogPosition { checksum: position.checksum ^ 1, ..*position },
                LogPosition { next_seq: position.next_seq.next(), ..*position },
                LogPosition { segment: position.segment + 50, ..*position },
            ] {
                assert!(!log.confirms(&wrong).unwrap(), "{wrong:?}");
            }
        }
    };
    check(&log);
    log.close().unwrap();
    let log = open(&disk, 4096, positions.last()).unwrap();
    check(&log);
    let beyond = LogPosition { next_seq: EventSeq(100_000), ..log.position() };
    drop(log);
    assert!(matches!(open(&disk, 4096, Some(&beyond)), Err(Error::Damaged { .. })));
}

/// A log of `groups` frames in one unsealed segment, as a kill leaves it, and what it holds.
fn unsealed(groups: usize) -> (BTreeMap<PathBuf, Vec<u8>>, Model, Vec<LogPosition>) {
    let disk = SimDisk::new();
    let mut log = open(&disk, 4096, None).unwrap();
    let (mut model, mut positions) = (Model::new(), Vec::new());
    for group in 0..groups {
        let records = vec![(1, record(group, 40)), (3, record(group + 100, 10))];
        positions.push(append(&mut log, &records).unwrap());
        model.extend(records);
    }
    let files = files(&disk);
    let log_file = &files[&Path::new(DIR).join("000000000001-0000.open")];
    let last = positions.last().unwrap();
    assert!(last.segment == 1 && log_file.len() == 4096 && last.offset < 4000, "it fits into one segment");
    (files, model, positions)
}

#[test]
fn every_truncation_of_an_unsealed_log_keeps_whole_frames_in_order() {
    let (files, model, positions) = unsealed(5);
    let path = Path::new(DIR).join("000000000001-0000.open");
    for length in 0..=positions[4].offset as usize {
        let mut files = files.clone();
        files.get_mut(&path).unwrap().truncate(length);
        let disk = disk_of(&files);
        let whole = positions.iter().filter(|position| position.offset <= length as u64).count();
        // What was cut off is gone without a trace: only the index can tell.
        let log = open(&disk, 4096, None).unwrap();
        assert_eq!(read_all(&log, &model).unwrap(), 2 * whole, "cut to {length}");
        drop(log);
        let disk = disk_of(&files);
        let known = open(&disk, 4096, positions.last());
        assert_eq!(known.is_ok(), whole == 5, "cut to {length}");
    }
}

#[test]
fn every_changed_byte_of_an_unsealed_log_is_found() {
    let (files, model, positions) = unsealed(4);
    let path = Path::new(DIR).join("000000000001-0000.open");
    let (before_last, end) = (positions[2].offset as usize, positions[3].offset as usize);
    for at in 0..end + 100 {
        for flip in [1 << (at % 8), 0xff] {
            let mut files = files.clone();
            files.get_mut(&path).unwrap()[at] ^= flip;
            match open(&disk_of(&files), 4096, None) {
                Ok(log) => {
                    let frames = if at < end { 3 } else { 4 };
                    assert!(at >= before_last, "the change at {at} was not found");
                    assert_eq!(read_all(&log, &model).unwrap(), 2 * frames, "changed at {at}");
                }
                Err(Error::Damaged { path: found, .. }) => {
                    assert_eq!(found, path);
                    assert!(at < before_last, "the last frame may be a torn one, at {at}");
                }
                Err(other) => panic!("{other}"),
            }
            let known = open(&disk_of(&files), 4096, positions.last());
            assert_eq!(known.is_ok(), at >= end, "changed at {at}, and the index knows the end");
        }
    }
}

#[test]
fn a_zeroed_piece_in_the_middle_is_damage() {
    let (files, _, positions) = unsealed(6);
    let path = Path::new(DIR).join("000000000001-0000.open");
    for pair in positions.windows(2).take(4) {
        let mut files = files.clone();
        let (from, to) = (pair[0].offset as usize, pair[1].offset as usize);
        files.get_mut(&path).unwrap()[from..to].fill(0);
        let error = open(&disk_of(&files), 4096, None).unwrap_err();
        assert!(matches!(error, Error::Damaged { offset, .. } if offset == from as u64), "{error}");
    }
}

#[test]
fn damage_is_reported_before_anything_is_changed() {
    let (mut files, ..) = unsealed(4);
    files.get_mut(&Path::new(DIR).join("000000000001-0000.open")).unwrap()[100] ^= 1;
    files.insert(Path::new(DIR).join("000000000001-0001.sealed"), b"unfinished".to_vec());
    let disk = disk_of(&files);
    open(&disk, 4096, None).unwrap_err();
    assert_eq!(self::files(&disk), files);
}

#[test]
fn every_changed_byte_of_a_sealed_log_is_found() {
    let disk = SimDisk::new();
    let mut log = open(&disk, 1 << 20, None).unwrap();
    let mut model = Model::new();
    for group in 0..10 {
        let records: Vec<_> = (0..17).map(|at| (2, record(group * 17 + at, 3))).collect();
        append(&mut log, &records).unwrap();
        model.extend(records);
    }
    log.close().unwrap();
    let files = files(&disk);
    assert_eq!(files.len(), 2);
    for (path, bytes) in &files {
        for at in 0..bytes.len() {
            let mut files = files.clone();
            files.get_mut(path).unwrap()[at] ^= 1 << (at % 8);
            let found = open(&disk_of(&files), 1 << 20, None).and_then(|log| read_all(&log, &model));
            let right = matches!(&found, Err(Error::Damaged { path: named, .. })
                if named == path || path.ends_with("store"));
            assert!(right, "{} at {at}: {found:?}", path.display());
        }
        for length in 0..bytes.len() {
            let mut files = files.clone();
            files.get_mut(path).unwrap().truncate(length);
            let found = open(&disk_of(&files), 1 << 20, None);
            assert!(matches!(found, Err(Error::Damaged { .. })), "{} cut to {length}", path.display());
        }
    }
}

#[test]
fn a_missing_file_is_damage() {
    let disk = SimDisk::new();
    let mut log = open(&disk, 4096, None).unwrap();
    for number in 0..100 {
        append(&mut log, &[(1, record(number, 300))]).unwrap();
    }
    let end = log.close().unwrap();
    let files = files(&disk);
    assert!(files.len() > 5);
    let last = files.keys().rev().nth(1).unwrap();
    for path in files.keys() {
        let mut files = files.clone();
        files.remove(path);
        let known = (path == last).then_some(&end);
        let found = open(&disk_of(&files), 4096, known);
        assert!(matches!(found, Err(Error::Damaged { .. })), "without {}: {found:?}", path.display());
    }
}

/// What a client was told.
#[derive(Default)]
struct Told {
    acknowledged: Model,
    /// The group whose fate is not known.
    pending: Model,
}

/// Appends groups in several segments, seals, closes, reopens and appends again, until it is done or fails.
fn work(disk: &Arc<dyn Disk>, told: &mut Told) -> Result<(), Error> {
    let mut number = 0;
    for round in 0..2 {
        let mut log = Log::open(Arc::clone(disk), Path::new(DIR), &options(4096), None)?;
        for group in 0..8 {
            told.pending = (0..=group % 3)
                .map(|at| {
                    (
                        1 + at,
                        record(
                            {
                                number += 1;
                                number
                            },
                            700,
                        ),
                    )
                })
                .collect();
            append(&mut log, &told.pending)?;
            told.acknowledged.append(&mut told.pending);
            if group == 3 {
                log.wait_sealed()?;
            }
        }
        if round == 0 {
            log.close()?;
        }
    }
    Ok(())
}

/// Opens after whatever happened; everything acknowledged must be there, and the last group whole or not.
fn assert_nothing_lost(disk: &SimDisk, told: &Told, context: &str) -> usize {
    let mut model = told.acknowledged.clone();
    model.extend(told.pending.iter().cloned());
    let mut log = open(disk, 4096, None).unwrap_or_else(|error| panic!("{context}: {error}"));
    let count = read_all(&log, &model).unwrap_or_else(|error| panic!("{context}: {error}"));
    let (least, most) = (told.acknowledged.len(), model.len());
    assert!(count == least || count == most, "{context}: {count} records, {least} or {most} were expected");
    model.truncate(count);
    let more = vec![(1, record(9999, 10))];
    append(&mut log, &more).unwrap();
    model.extend(more);
    log.close().unwrap();
    let log = open(disk, 4096, None).unwrap();
    assert_holds(&log, &model);
    assert_eq!(sealed_files(disk).1, 0);
    count
}

/// Operations that a whole run takes, more or less: threads take turns as they like.
fn operations_of_a_run() -> u64 {
    let disk = SimDisk::new();
    let mut told = Told::default();
    work(&disk.shared(), &mut told).unwrap();
    assert_nothing_lost(&disk.kill(), &told, "without a fault");
    assert_eq!(told.acknowledged.len(), 30);
    disk.operations()
}

fn try_everywhere(faults: &[Fault], seeds: u64) {
    for trial in Trial::all(0..operations_of_a_run() + 5, faults, seeds) {
        let (told, left) = trial.run(|disk| {
            let mut told = Told::default();
            let _ = work(disk, &mut told);
            told
        });
        assert_nothing_lost(&left, &told, &trial.to_string());
    }
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_acknowledged() {
    try_everywhere(&[Fault::PowerCut], 4);
}

#[test]
fn a_power_cut_while_recovering_from_one_loses_nothing() {
    for seed in 0..60 {
        let disk = SimDisk::new();
        disk.fault_at(40 + seed * 2, Fault::PowerCut);
        let mut told = Told::default();
        let _ = work(&disk.shared(), &mut told);
        let mut disk = disk.power_cut(seed);
        for again in 0..4 {
            disk.fault_at(disk.operations() + 3 + again * 7 + seed % 11, Fault::PowerCut);
            let _ = open(&disk, 4096, None);
            disk = disk.power_cut(seed + again);
        }
        assert_nothing_lost(&disk, &told, &format!("seed {seed}"));
    }
}

#[test]
fn a_fault_at_any_operation_loses_nothing_acknowledged() {
    // Two seeds: the machine goes on, or its power goes in the end.
    try_everywhere(&[Fault::Fails, Fault::FailsForGood], 2);
}

#[test]
fn after_a_failed_sync_nothing_is_accepted() {
    let disk = SimDisk::new();
    let mut log = open(&disk, 4096, None).unwrap();
    let mut model = vec![(1, record(0, 10))];
    append(&mut log, &model).unwrap();
    // The next operation is the write of the frame, the one after it its sync.
    disk.fault_at(disk.operations() + 1, Fault::Fails);
    let error = append(&mut log, &[(1, record(1, 10))]).unwrap_err();
    assert!(matches!(error, Error::Indeterminate { .. }) && !error.nothing_written(), "{error}");
    let error = append(&mut log, &[(1, record(2, 10))]).unwrap_err();
    assert!(matches!(error, Error::Closed { .. }) && error.nothing_written(), "{error}");
    assert_eq!(log.position().next_seq, EventSeq(2));
    assert_holds(&log, &model);
    assert!(log.close().is_err());
    let log = open(&disk.kill(), 4096, None).unwrap();
    model.push((1, record(1, 10)));
    assert!(read_all(&log, &model).unwrap() >= 1);
}

#[test]
fn what_was_read_after_a_kill_is_durable_before_anything_builds_on_it() {
    for seed in 0..20 {
        let disk = SimDisk::new();
        let mut log = open(&disk, 4096, None).unwrap();
        let model: Model = (0..3).map(|number| (1, record(number, 50))).collect();
        append(&mut log, &model[..1]).unwrap();
        // The second frame reaches the system's memory, but never the disk.
        disk.fault_at(disk.operations() + 1, Fault::Fails);
        append(&mut log, &model[1..2]).unwrap_err();
        let disk = disk.kill();
        drop(log);
        let mut log = open(&disk, 4096, None).unwrap();
        assert_holds(&log, &model[..2].to_vec());
        append(&mut log, &model[2..]).unwrap();
        let disk = disk.power_cut(seed);
        drop(log);
        assert_holds(&open(&disk, 4096, None).unwrap(), &model);
    }
}

#[test]
fn when_sealing_fails_the_log_closes_and_keeps_everything() {
    let disk = SimDisk::new();
    let mut log = open(&disk, 4096, None).unwrap();
    let model = vec![(1, record(1, 100))];
    append(&mut log, &model).unwrap();
    disk.fault_at(disk.operations(), Fault::Fails);
    log.roll();
    assert!(matches!(log.wait_sealed(), Err(Error::Io { .. })));
    let error = append(&mut log, &[(1, record(2, 100))]).unwrap_err();
    assert!(matches!(error, Error::Closed { .. }), "{error}");
    assert_holds(&log, &model);
    drop(log);
    assert_holds(&open(&disk, 4096, None).unwrap(), &model);
}

/// What is shown of a file whose sync failed may be in the system's memory only: its source must stay until a copy
/// is durable.
#[test]
fn a_sealed_segment_whose_sync_failed_is_not_built_on() {
    let model: Model = (0..3).map(|number| (1, record(number, 50))).collect();
    let mut failed = 0;
    for operation in 0..30 {
        for seed in 0..4 {
            let disk = SimDisk::new();
            let mut log = open(&disk, 4096, None).unwrap();
            append(&mut log, &model).unwrap();
            disk.fault_at(disk.operations() + operation, Fault::Fails);
            log.roll();
            failed += u32::from(log.wait_sealed().is_err());
            let disk = disk.kill();
            drop(log);
            let log = open(&disk, 4096, None).unwrap();
            assert_holds(&log, &model);
            let disk = disk.power_cut(seed);
            drop(log);
            let log = open(&disk, 4096, None).unwrap_or_else(|error| panic!("{operation}: {error}"));
            assert_holds(&log, &model);
        }
    }
    assert!(failed >= 40, "{failed} of 120 faults met the sealing");
}

/// A disk whose syncs do nothing: what the tests of power cuts must find out.
#[derive(Debug)]
struct LyingDisk(SimDisk);

#[derive(Debug)]
struct LyingFile(Arc<dyn DiskFile>);

impl Disk for LyingDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(LyingFile(self.0.open(path, create)?)))
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir_all(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.0.lock(path)
    }
}

impl DiskFile for LyingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_length(length)
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_does_not_sync_is_found_out() {
    let lost = (0..20).any(|seed| {
        let disk = SimDisk::new();
        let mut told = Told::default();
        work(&(Arc::new(LyingDisk(disk.clone())) as Arc<dyn Disk>), &mut told).unwrap();
        let after = disk.power_cut(seed);
        open(&after, 4096, None).and_then(|log| read_all(&log, &told.acknowledged)).ok()
            != Some(told.acknowledged.len())
    });
    assert!(lost, "these tests could not fail");
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<(u32, usize)>),
    Roll,
    Wait,
    Close,
    Drop,
    PowerCut(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = prop_oneof![8 => 0usize..400, 2 => 400usize..5_000, 1 => 5_000usize..90_000];
    let group = prop::collection::vec((1u32..200, size), 0..12);
    let step = prop_oneof![
        12 => group.prop_map(Step::Append),
        2 => Just(Step::Roll),
        1 => Just(Step::Wait),
        1 => Just(Step::Close),
        1 => Just(Step::Drop),
        1 => any::<u64>().prop_map(Step::PowerCut),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_history_reads_back(steps in steps(), segment_bytes in 4096u64..100_000) {
        let mut disk = SimDisk::new();
        let mut log = open(&disk, segment_bytes, None).unwrap();
        let mut model = Model::new();
        for step in steps {
            let end = log.position();
            match step {
                Step::Append(shapes) => {
                    let start = model.len();
                    let records = shapes.iter().enumerate();
                    model.extend(records.map(|(at, (seqs, size))| (*seqs, record(start + at, *size))));
                    append(&mut log, &model[start..]).unwrap();
                    continue;
                }
                Step::Roll => log.roll(),
                Step::Wait => log.wait_sealed().unwrap(),
                Step::Close => {
                    log.close().unwrap();
                    log = open(&disk, segment_bytes, Some(&end)).unwrap();
                }
                Step::Drop => {
                    drop(log);
                    log = open(&disk, segment_bytes, Some(&end)).unwrap();
                }
                Step::PowerCut(seed) => {
                    let after = disk.power_cut(seed);
                    drop(log);
                    disk = after;
                    log = open(&disk, segment_bytes, Some(&end)).unwrap();
                }
            }
            prop_assert_eq!(log.position(), end);
            prop_assert!(log.confirms(&end).unwrap());
            prop_assert_eq!(read_all(&log, &model).unwrap(), model.len());
        }
        prop_assert_eq!(read_all(&log, &model).unwrap(), model.len());
    }

    #[test]
    fn opening_any_bytes_is_total(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        name in prop_oneof![Just("000000000001-0000.open"), Just("000000000001-0001.sealed"), Just("store")],
        known in any::<bool>(),
    ) {
        let disk = SimDisk::new();
        open(&disk, 4096, None).unwrap();
        let mut files = files(&disk);
        files.insert(Path::new(DIR).join(name), bytes);
        let position = LogPosition { segment: 1, offset: 100, checksum: 1, next_seq: EventSeq(2) };
        match open(&disk_of(&files), 4096, known.then_some(&position)) {
            Ok(log) => assert_holds(&log, &Vec::new()),
            Err(error) => prop_assert!(matches!(error, Error::Damaged { .. }), "{}", error),
        }
    }
}

#[test]
fn readers_on_other_threads_see_a_growing_prefix() {
    let disk = SimDisk::new();
    let mut log = open(&disk, 40_000, None).unwrap();
    let model: Model = (0..2_000).map(|number| (1, record(number, 120))).collect();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (reader, model) = (log.reader(), &model);
            scope.spawn(move || {
                let mut seen = 0;
                while seen < model.len() {
                    let before = seen;
                    for found in reader.records_from(EventSeq(seen as u64 + 1)) {
                        assert_eq!(found.unwrap().bytes(), model[seen].1);
                        seen += 1;
                    }
                    if seen > before {
                        let middle = reader.record(EventSeq(seen as u64 / 2 + 1)).unwrap().unwrap();
                        assert_eq!(middle.bytes(), model[seen / 2].1);
                    }
                    std::thread::yield_now();
                }
            });
        }
        for records in model.chunks(20) {
            append(&mut log, records).unwrap();
        }
    });
    log.close().unwrap();
}

/// Page views as a web shop's tracker sends them, one a request: 560 bytes on average. Ids are random, and
/// pages, referrers and user agents few, as they are.
fn page_view(random: &mut impl FnMut() -> u64) -> Vec<u8> {
    const AGENTS: [&str; 5] = [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
        "Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0 Mobile Safari/537.36",
        "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    ];
    const REFERRERS: [&str; 4] =
        ["https://www.google.com/", "https://www.bing.com/", "", "https://shop.example/category/shoes"];
    let mut pick = |count: usize| random() as usize % count;
    let mut id = || {
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            pick(1 << 32),
            pick(1 << 16),
            pick(1 << 12),
            pick(1 << 12),
            pick(1 << 48)
        )
    };
    let (session, profile, message) = (id(), id(), id());
    let time = format!("2026-11-21T{:02}:{:02}:{:02}.{:03}Z", pick(24), pick(60), pick(60), pick(1000));
    let (product, price) = (pick(20_000), pick(50_000));
    let (agent, referrer) = (AGENTS[pick(5)], REFERRERS[pick(4)]);
    let context =
        format!(r#"{{"user_agent":"{agent}","locale":"en-AU","screen":"{}x1080"}}"#, 1200 + 16 * pick(60));
    let properties = format!(
        r#"{{"url":"https://shop.example/product/{product}","referrer":"{referrer}","title":"Product {product}","price":{}.{:02}}}"#,
        price / 100,
        price % 100,
    );
    format!(
        r#"{{"source":"web","session":"{session}","profile":"{profile}","sent_at":"{time}","context":{context},"events":[{{"id":"{message}","type":"page-view","time":"{time}","properties":{properties}}}]}}"#,
    ).into_bytes()
}

#[test]
fn real_requests_take_at_most_a_third_when_sealed() {
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state ^ (state >> 29)
    };
    let requests: Model = (0..5_000).map(|_| (1, page_view(&mut random))).collect();
    let plain: usize = requests.iter().map(|(_, bytes)| bytes.len()).sum();
    for per_frame in [1, 64] {
        let disk = SimDisk::new();
        let mut log = open(&disk, SEGMENT_BYTES, None).unwrap();
        for group in requests.chunks(per_frame) {
            append(&mut log, group).unwrap();
        }
        log.close().unwrap();
        let stored: usize = files(&disk).values().map(Vec::len).sum();
        assert!(stored * 3 <= plain, "{} bytes take {}, {per_frame} a frame", plain / 5_000, stored / 5_000);
    }
}

//! Every operation of the disk fails once, is the last before a kill, and is the last before a power cut.
//! After it the index opens with the checkpoint that was promised, or the one under way, whole.

use super::disk::FaultyDisk;
use super::*;

const PATH: &str = "/data/index.redb";
const CHECKPOINTS: u64 = 3;
/// Before this one the index is rewritten.
const REWRITTEN_BEFORE: u64 = 2;
/// Power cuts tried at each operation; each loses other writes.
const CUTS: u64 = 3;

/// Creates an index and writes to it until it fails; on the way it is rewritten. Returns how many checkpoints
/// were promised.
fn work(disk: &FaultyDisk) -> Result<u64, u64> {
    let mut index = open(disk, Path::new(PATH)).map_err(|_| 0_u64)?;
    for number in 0..CHECKPOINTS {
        if number == REWRITTEN_BEFORE {
            index.rewrite(disk, OPTIONS, number).map_err(|_| number)?;
            index = open(disk, Path::new(PATH)).map_err(|_| number)?;
            assert_eq!(index.rewritten().map_err(|_| number)?, number);
        }
        write(&index, number).map_err(|_| number)?;
    }
    index.close().map_err(|_| CHECKPOINTS)?;
    Ok(CHECKPOINTS)
}

fn check(disk: &FaultyDisk, promised: u64, what: &str) {
    let index = open(disk, Path::new(PATH)).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = whole(&index.reader().unwrap()).map_or(0, |last| last + 1);
    assert!(found == promised || found == promised + 1, "{what}: found {found}, promised {promised}");
    // And it can be gone on with.
    write(&index, found).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(whole(&index.reader().unwrap()), Some(found), "{what}");
    index.close().unwrap();
    assert!(disk.list(Path::new("/data")).unwrap().iter().all(|name| !name.contains(".new")), "{what}");
}

fn operations_of_a_run() -> u64 {
    let disk = FaultyDisk::default();
    work(&disk).unwrap();
    check(&disk, CHECKPOINTS, "no fault");
    let disk = FaultyDisk::default();
    work(&disk).unwrap();
    disk.operations()
}

#[test]
fn a_failed_operation_loses_nothing_promised() {
    for operation in 1..=operations_of_a_run() {
        let disk = FaultyDisk::failing_at(operation, false);
        let promised = work(&disk).unwrap_or_else(|promised| promised);
        check(&disk.after_kill(), promised, &format!("operation {operation} failed"));
        for seed in 0..CUTS {
            let what = format!("operation {operation} failed, power cut {seed}");
            check(&disk.after_power_cut(seed), promised, &what);
        }
    }
}

#[test]
fn a_kill_or_power_cut_at_any_operation_loses_nothing_promised() {
    for operation in 1..=operations_of_a_run() {
        let disk = FaultyDisk::failing_at(operation, true);
        let promised = work(&disk).expect_err("the last operation is not reached");
        check(&disk.after_kill(), promised, &format!("killed at operation {operation}"));
        for seed in 0..CUTS {
            let what = format!("operation {operation}, power cut {seed}");
            check(&disk.after_power_cut(seed), promised, &what);
        }
    }
}

#[test]
fn a_disk_that_does_not_sync_is_found_out() {
    // These tests prove something only if they fail where a sync does nothing.
    let disk = FaultyDisk::lying();
    work(&disk).unwrap();
    let found_out = (0..50).any(|seed| {
        let left = disk.after_power_cut(seed);
        std::thread::spawn(move || check(&left, CHECKPOINTS, "never synced")).join().is_err()
    });
    assert!(found_out);
}

#[test]
fn opening_after_a_kill_does_not_walk_the_file() {
    let disk = FaultyDisk::default();
    let index = open(&disk, Path::new(PATH)).unwrap();
    let rows = (0..20_000_u64).map(|number| (number.to_be_bytes(), Some([7; 100])));
    index.checkpoint(b"", |writer| writer.write(TableId::Sessions, rows)).unwrap();
    let killed = disk.after_kill();
    index.close().unwrap();
    let closed = disk.after_kill();
    let operations = [killed, closed].map(|disk| {
        let index = open(&disk, Path::new(PATH)).unwrap();
        let operations = disk.operations();
        drop(index);
        operations
    });
    // Debug builds of redb walk the file at every opening; after a kill they may not do so once more.
    let [after_kill, after_close] = operations;
    assert!(after_kill < after_close + 50, "{after_kill} operations after a kill, else {after_close}");
}

//! The index through its public face, on the real disk and on one that fails and loses power.

mod disk;
mod faults;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::limits::INDEX_SLICE_BYTES;
use crate::store::disk::RealDisk;

/// Small enough that checkpoints spill pages to the file before they commit.
const OPTIONS: IndexOptions = IndexOptions { cache_bytes: 256 << 10, format: 7, verify: false };

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;
type Contents = BTreeMap<TableId, Rows>;

/// Urgent, so that tests do not wait.
fn pace() -> Arc<Pace> {
    let pace = Pace::new();
    pace.set_urgency(Pace::URGENCY_MAX);
    Arc::new(pace)
}

fn open(disk: &dyn Disk, path: &Path) -> Result<Index, Error> {
    Index::open(disk, path, OPTIONS, pace())
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index.redb");
    (dir, path)
}

/// A key of several numbers.
fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// What checkpoint `number` changes: appended, replaced, scattered and removed rows.
fn changes(number: u64) -> BTreeMap<TableId, BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
    let mut changes: BTreeMap<TableId, BTreeMap<Vec<u8>, Option<Vec<u8>>>> = BTreeMap::new();
    let mut put = |table, key: Vec<u8>, value| {
        changes.entry(table).or_default().insert(key, value);
    };
    for row in 0..20 {
        let dense = number * 20 + row;
        let scattered = dense.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        put(TableId::Sessions, dense.to_be_bytes().into(), Some(vec![number as u8; 100]));
        put(TableId::SessionIds, format!("id-{scattered:x}").into(), Some(dense.to_le_bytes().into()));
        put(TableId::Gaps, vec![row as u8], Some(vec![number as u8; 60 + row as usize]));
        let repeat = (u128::from(dense) << 64) | u128::from(scattered);
        put(TableId::Repeats, repeat.to_be_bytes().into(), Some(dense.to_be_bytes().into()));
        put(TableId::Due, numbers(&[dense, 7]), Some(Vec::new()));
        put(TableId::FragmentParts, numbers(&[1, scattered, dense]), Some(Vec::new()));
        put(TableId::Lists, [&[row as u8 % 3][..], &numbers(&[scattered, dense])].concat(), Some(Vec::new()));
        if let Some(before) = dense.checked_sub(20) {
            put(TableId::Due, numbers(&[before, 7]), None);
        }
    }
    // Longer than a page.
    put(TableId::Postings, numbers(&[number, 3]), Some(vec![number as u8; 9_000]));
    changes
}

/// What the index holds after the checkpoints up to `number`.
fn contents(number: Option<u64>) -> Contents {
    let mut contents: Contents = TableId::ALL.iter().map(|table| (*table, Rows::new())).collect();
    for (table, rows) in number.iter().flat_map(|last| 0..=*last).flat_map(changes) {
        for (key, value) in rows {
            match value {
                Some(value) => contents.get_mut(&table).unwrap().insert(key, value),
                None => contents.get_mut(&table).unwrap().remove(&key),
            };
        }
    }
    contents
}

fn write(index: &Index, number: u64) -> Result<(), Error> {
    index.checkpoint(&number.to_le_bytes(), |writer| {
        for (table, rows) in changes(number) {
            writer.write(table, rows)?;
        }
        Ok(())
    })
}

/// The number of the checkpoint that the reader sees; fails unless it sees all of it and nothing else.
fn whole(reader: &IndexReader) -> Option<u64> {
    let number = reader.meta().unwrap().map(|meta| u64::from_le_bytes(meta.try_into().unwrap()));
    for (table, rows) in contents(number) {
        let found: Rows =
            reader.range(table, &[], None, Order::Ascending).unwrap().map(Result::unwrap).collect();
        assert_eq!(found, rows, "{table:?} at {number:?}");
        assert_eq!(reader.length(table).unwrap(), rows.len() as u64);
        for (key, value) in rows {
            assert_eq!(reader.get(table, &key, <[u8]>::to_vec).unwrap(), Some(value));
        }
    }
    number
}

#[test]
fn a_new_index_is_empty_and_what_is_written_is_there_after_reopening() {
    let (_dir, path) = place();
    let index = open(&RealDisk, &path).unwrap();
    assert_eq!(whole(&index.reader().unwrap()), None);
    for number in 0..5 {
        write(&index, number).unwrap();
        assert_eq!(whole(&index.reader().unwrap()), Some(number));
    }
    index.close().unwrap();
    let index = open(&RealDisk, &path).unwrap();
    assert_eq!(whole(&index.reader().unwrap()), Some(4));
    write(&index, 5).unwrap();
    drop(index);
    assert_eq!(whole(&open(&RealDisk, &path).unwrap().reader().unwrap()), Some(5));
}

#[test]
fn a_reader_keeps_its_state_while_checkpoints_go_on() {
    let (_dir, path) = place();
    let index = open(&RealDisk, &path).unwrap();
    write(&index, 0).unwrap();
    let done = AtomicBool::new(false);
    let first = index.reader().unwrap();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut seen = Vec::new();
            while !done.load(Ordering::Relaxed) || seen.is_empty() {
                assert_eq!(whole(&first), Some(0));
                seen.push(whole(&index.reader().unwrap()).unwrap());
            }
            seen
        });
        for number in 1..20 {
            write(&index, number).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(reading.join().unwrap().is_sorted());
    });
    assert_eq!(whole(&first), Some(0));
    assert_eq!(whole(&index.reader().unwrap()), Some(19));
}

#[test]
fn ranges_go_both_ways_and_their_bounds_may_be_of_any_length() {
    let (_dir, path) = place();
    let index = open(&RealDisk, &path).unwrap();
    let keys: Vec<[u8; 8]> = [0, 1, 255, 256, 257, 1 << 40].map(u64::to_be_bytes).into();
    index
        .checkpoint(b"", |writer| {
            writer.write(TableId::Sessions, keys.iter().map(|key| (key, Some(b"v"))))?;
            writer.write(TableId::Names, keys.iter().map(|key| (key, Some(b"v"))))
        })
        .unwrap();
    let reader = index.reader().unwrap();
    let mut bounds: Vec<Vec<u8>> =
        vec![vec![], vec![0], vec![0, 0, 0, 0, 0, 0, 1], vec![0, 0, 1], vec![255; 9]];
    for key in &keys {
        bounds.push(key.to_vec());
        bounds.push([key.as_slice(), &[0]].concat());
        bounds.push([key.as_slice(), &[9, 9]].concat());
    }
    for table in [TableId::Sessions, TableId::Names] {
        for from in &bounds {
            for to in bounds.iter().map(Some).chain([None]) {
                let inside = |key: &&[u8; 8]| {
                    key.as_slice() >= from.as_slice() && to.is_none_or(|to| key.as_slice() < to.as_slice())
                };
                let mut expected: Vec<Vec<u8>> = keys.iter().filter(inside).map(|key| key.to_vec()).collect();
                for order in [Order::Ascending, Order::Descending] {
                    let rows = reader.range(table, from, to.map(Vec::as_slice), order).unwrap();
                    let found: Vec<_> = rows.map(|row| row.unwrap().0).collect();
                    assert_eq!(found, expected, "{table:?} {from:?} {to:?} {order:?}");
                    expected.reverse();
                }
            }
        }
    }
}

#[test]
fn rows_in_any_order_give_the_same_table() {
    let (_dir, path) = place();
    let index = open(&RealDisk, &path).unwrap();
    let key = |number: u64| number.to_be_bytes();
    let orders: [&[(u64, Option<&str>)]; 3] = [
        &[(1, Some("a")), (2, Some("b")), (3, None), (4, Some("d")), (5, Some("e"))],
        &[(9, Some("x")), (2, Some("b2")), (4, None), (11, Some("y")), (10, Some("z")), (11, Some("y2"))],
        &[(12, Some("p")), (12, None), (13, Some("q")), (1, None)],
    ];
    for rows in orders {
        index
            .checkpoint(b"", |writer| {
                writer.write(TableId::Sessions, rows.iter().map(|(number, value)| (key(*number), *value)))
            })
            .unwrap();
    }
    let reader = index.reader().unwrap();
    let rows = reader.range(TableId::Sessions, &[], None, Order::Ascending).unwrap().map(Result::unwrap);
    let found: Vec<_> = rows.map(|(key, value)| (key[7], String::from_utf8(value).unwrap())).collect();
    let expected = [(2, "b2"), (5, "e"), (9, "x"), (10, "z"), (11, "y2"), (13, "q")];
    assert_eq!(found, expected.map(|(key, value)| (key, value.to_owned())));
}

#[test]
fn repeats_are_found_by_number() {
    let (_dir, path) = place();
    let index = open(&RealDisk, &path).unwrap();
    index.checkpoint(b"", |writer| writer.write_repeats([(1, 10), (u128::MAX, 20), (2, 30)])).unwrap();
    let reader = index.reader().unwrap();
    let found = [1, 2, 3, u128::MAX].map(|key| reader.repeat(key).unwrap());
    assert_eq!(found, [Some(10), Some(30), None, Some(20)]);
}

#[test]
fn the_writer_reads_what_was_there_before() {
    let (_dir, path) = place();
    let index = open(&RealDisk, &path).unwrap();
    for (before, after) in [(None, b"1"), (Some(b"1".to_vec()), b"2")] {
        index
            .checkpoint(b"", |writer| {
                writer.write(TableId::Names, [("name", Some(after))])?;
                assert_eq!(writer.old().get(TableId::Names, b"name", <[u8]>::to_vec)?, before);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn a_checkpoint_that_fails_leaves_nothing_and_is_the_last() {
    let (_dir, path) = place();
    let misfit = |writer: &mut CheckpointWriter<'_>| writer.write(TableId::Sessions, [("short", Some(""))]);
    type Fill<'a> = &'a dyn Fn(&mut CheckpointWriter<'_>) -> Result<(), Error>;
    let fills: [Fill<'_>; 3] = [
        &|_| Err(Error::Overloaded),
        &|writer| misfit(writer),
        // Not handed on.
        &|writer| {
            misfit(writer).unwrap_err();
            Ok(())
        },
    ];
    let index = open(&RealDisk, &path).unwrap();
    write(&index, 0).unwrap();
    index.close().unwrap();
    for fill in fills {
        let index = open(&RealDisk, &path).unwrap();
        let reader = index.reader().unwrap();
        index
            .checkpoint(b"lost", |writer| {
                writer.write(TableId::Names, [("name", Some("value"))])?;
                fill(writer)
            })
            .unwrap_err();
        assert!(matches!(write(&index, 1), Err(Error::Closed { .. })));
        assert!(matches!(index.reader(), Err(Error::Closed { .. })));
        assert_eq!(whole(&reader), Some(0));
        drop((reader, index));
        assert_eq!(whole(&open(&RealDisk, &path).unwrap().reader().unwrap()), Some(0));
    }
}

#[test]
fn a_key_of_another_width_is_an_error_and_not_a_miss() {
    let (_dir, path) = place();
    let reader = open(&RealDisk, &path).unwrap().reader().unwrap();
    assert!(matches!(reader.get(TableId::Sessions, b"short", |_| ()), Err(Error::Io { .. })));
    assert!(reader.get(TableId::Names, b"short", |_| ()).unwrap().is_none());
}

#[test]
fn readers_of_a_closed_index_say_so() {
    let (_dir, path) = place();
    let index = open(&RealDisk, &path).unwrap();
    for number in 0..50 {
        write(&index, number).unwrap();
    }
    index.close().unwrap();
    let index = open(&RealDisk, &path).unwrap();
    let reader = index.reader().unwrap();
    index.close().unwrap();
    assert!(matches!(
        reader.get(TableId::Sessions, &900_u64.to_be_bytes(), |_| ()),
        Err(Error::Closed { .. })
    ));
}

#[test]
fn files_that_cannot_be_used_are_told_from_disks_that_fail() {
    let (dir, path) = place();
    let index = open(&RealDisk, &path).unwrap();
    write(&index, 0).unwrap();
    index.close().unwrap();
    let good = std::fs::read(&path).unwrap();

    let other = IndexOptions { format: 8, ..OPTIONS };
    assert!(matches!(Index::open(&RealDisk, &path, other, pace()), Err(Error::IndexUnusable { .. })));

    let mut none_of_ours = good.clone();
    none_of_ours[..9].fill(b'?');
    for bytes in [&b""[..], b"no index", &good[..4_096], &good[..good.len() / 2], &none_of_ours] {
        std::fs::write(&path, bytes).unwrap();
        let refused = open(&RealDisk, &path);
        assert!(matches!(refused, Err(Error::IndexUnusable { .. })), "{} bytes: {refused:?}", bytes.len());
    }

    let nowhere = dir.path().join("missing").join("index.redb");
    assert!(matches!(open(&RealDisk, &nowhere), Err(Error::Io { .. })));
}

#[test]
fn verifying_finds_changed_bytes() {
    let (_dir, path) = place();
    let index = open(&RealDisk, &path).unwrap();
    write(&index, 0).unwrap();
    index.close().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    // In a key of an outside id, where a plain opening does not look.
    let key = bytes.windows(3).position(|window| window == b"id-").unwrap();
    bytes[key] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let verify = IndexOptions { verify: true, ..OPTIONS };
    assert!(matches!(Index::open(&RealDisk, &path, verify, pace()), Err(Error::IndexUnusable { .. })));
}

/// Bytes of a file that is open are changed, page by page: every read gives a row or an error, and no thread dies.
#[test]
fn a_read_that_meets_a_damaged_page_is_an_error() {
    use std::os::unix::fs::FileExt;
    let (_dir, path) = place();
    let index = open(&RealDisk, &path).unwrap();
    for number in 0..30 {
        write(&index, number).unwrap();
    }
    let reader = index.reader().unwrap();
    index.close().unwrap();
    drop(reader);
    let good = std::fs::read(&path).unwrap();
    let mut failed = 0;
    for filling in [0xff, 0, 0x5a] {
        std::fs::write(&path, &good).unwrap();
        let index = open(&RealDisk, &path).unwrap();
        let reader = index.reader().unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        // The first page is redb's own and in memory.
        for page in 1..good.len() / 4_096 {
            file.write_all_at(&[filling; 2_000], page as u64 * 4_096).unwrap();
        }
        for table in TableId::ALL {
            let rows = reader.range(table, &[], None, Order::Descending);
            failed += usize::from(rows.map_or(true, |mut rows| rows.any(|row| row.is_err())));
        }
        for dense in 0..600_u64 {
            let repeat = (u128::from(dense) << 64) | u128::from(dense.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            failed += usize::from(reader.repeat(repeat).is_err());
            failed += usize::from(reader.get(TableId::Sessions, &dense.to_be_bytes(), |_| ()).is_err());
        }
        drop(reader);
        // Closing finds the damage, or does not look at it.
        let _ = index.close();
    }
    assert!(failed > 0, "nothing was damaged");
}

#[test]
fn a_removed_index_is_made_anew_and_a_half_made_one_is_no_hindrance() {
    let (_dir, path) = place();
    let index = open(&RealDisk, &path).unwrap();
    write(&index, 0).unwrap();
    index.close().unwrap();
    std::fs::write(unfinished(&path), b"half").unwrap();
    Index::remove(&RealDisk, &path).unwrap();
    Index::remove(&RealDisk, &path).unwrap();
    assert_eq!(RealDisk.list(&parent(&path)).unwrap(), Vec::<String>::new());
    std::fs::write(unfinished(&path), b"half").unwrap();
    let index = open(&RealDisk, &path).unwrap();
    assert_eq!(whole(&index.reader().unwrap()), None);
    assert_eq!(RealDisk.list(&parent(&path)).unwrap(), ["index.redb"]);
}

#[test]
fn a_rewritten_index_has_the_same_rows_on_fewer_pages() {
    let (_dir, path) = place();
    let index = open(&RealDisk, &path).unwrap();
    assert_eq!(index.rewritten().unwrap(), 0);
    for number in 0..20 {
        write(&index, number).unwrap();
        // Every other row, and then those in between, as sessions that go on at once.
        let rows = (0..4_000_u128).map(|row| ((row * 20 + u128::from(number)) << 64, number));
        index.checkpoint(&number.to_le_bytes(), |writer| writer.write_repeats(rows)).unwrap();
    }
    let rows = |index: &Index| {
        let reader = index.reader().unwrap();
        TableId::ALL.map(|table| {
            let rows = reader.range(table, &[], None, Order::Ascending).unwrap();
            rows.map(Result::unwrap).collect::<Vec<_>>()
        })
    };
    let (before, old_bytes) = (rows(&index), std::fs::metadata(&path).unwrap().len());
    index.rewrite(&RealDisk, OPTIONS, 42).unwrap();
    let index = open(&RealDisk, &path).unwrap();
    assert_eq!(
        (index.rewritten().unwrap(), index.reader().unwrap().meta().unwrap()),
        (42, Some(19_u64.to_le_bytes().into()))
    );
    assert!(rows(&index) == before);
    let new_bytes = std::fs::metadata(&path).unwrap().len();
    assert!(new_bytes * 3 < old_bytes * 2, "{old_bytes} bytes became {new_bytes}");
    write(&index, 20).unwrap();
}

#[test]
fn a_rewriting_that_was_cut_off_leaves_nothing() {
    let (_dir, path) = place();
    open(&RealDisk, &path).unwrap().close().unwrap();
    std::fs::write(unfinished(&path), b"half of a page").unwrap();
    open(&RealDisk, &path).unwrap();
    assert!(!unfinished(&path).exists());
}

#[test]
fn a_large_checkpoint_is_synced_in_slices_and_no_more_often() {
    let (_dir, path) = place();
    let pace = pace();
    let index = Index::open(&RealDisk, &path, OPTIONS, pace.clone()).unwrap();
    let before = pace.traffic();
    let row = [7; 1_000];
    let rows = (0..8_000_u64).map(|number| (number.to_be_bytes(), Some(row)));
    index.checkpoint(b"", |writer| writer.write(TableId::Sessions, rows)).unwrap();
    let after = pace.traffic();
    let slices = (after.bytes_written - before.bytes_written) / INDEX_SLICE_BYTES;
    let syncs = after.syncs - before.syncs;
    assert!(slices >= 8_000 * 1_000 / INDEX_SLICE_BYTES, "{before:?} {after:?}");
    // Beside the slices, redb syncs each time the file grows, and twice to commit.
    assert!(syncs >= slices && syncs <= slices + 16, "{slices} slices, {syncs} syncs");
}

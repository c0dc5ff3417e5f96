//! The model against the real mount, through `std::fs` alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};

fn sync_folder(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

/// A file whose content is durable; its name is where its folder is synced.
fn write_synced(path: &Path, bytes: &[u8]) {
    let mut file = File::create(path).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The kernel tells the disk of a file's last close after `close` has returned.
fn wait_until_used(disk: &Disk, bytes: u64) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while disk.used() != bytes {
        assert!(
            std::time::Instant::now() < end,
            "{} bytes used",
            disk.used()
        );
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap()
}

#[test]
fn it_is_an_ordinary_file_system_while_the_power_is_on() {
    let disk = Disk::mount().unwrap();
    let root = disk.path();
    fs::create_dir_all(root.join("a/b/c")).unwrap();
    let path = root.join("a/b/file");
    let bytes: Vec<u8> = (0..1_000_003u32).map(|at| (at % 251) as u8).collect();
    fs::write(&path, &bytes).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);
    let mut appended = OpenOptions::new().append(true).open(&path).unwrap();
    appended.write_all(b"tail").unwrap();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    file.seek(SeekFrom::End(-6)).unwrap();
    let mut end = String::new();
    let before = [bytes[1_000_001], bytes[1_000_002]];
    file.read_exact(&mut [0; 2]).unwrap();
    file.read_to_string(&mut end).unwrap();
    assert_eq!(end, "tail");
    let mut read = [0; 2];
    file.read_exact_at(&mut read, 1_000_001).unwrap();
    assert_eq!(read, before);
    file.write_all_at(b"xyz", 4094).unwrap();
    file.set_len(4096).unwrap();
    file.set_len(10_000).unwrap();
    let now = fs::read(&path).unwrap();
    assert_eq!(
        (&now[4094..4096], now[4096..].iter().all(|byte| *byte == 0)),
        (&b"xy"[..], true)
    );
    assert_eq!(file.metadata().unwrap().len(), 10_000);
    // Over another, away from under an open handle, and gone with the last name.
    fs::write(root.join("a/other"), "other").unwrap();
    let held = File::open(root.join("a/other")).unwrap();
    fs::rename(&path, root.join("a/other")).unwrap();
    assert_eq!(io::read_to_string(&held).unwrap(), "other");
    fs::hard_link(root.join("a/other"), root.join("again")).unwrap();
    assert_eq!(fs::metadata(root.join("again")).unwrap().nlink(), 2);
    std::os::unix::fs::symlink("a/other", root.join("link")).unwrap();
    assert_eq!(fs::read(root.join("link")).unwrap().len(), 10_000);
    let exclusive = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(root.join("again"));
    assert_eq!(errno(&exclusive.unwrap_err()), libc::EEXIST);
    assert_eq!(
        errno(&fs::remove_dir(root.join("a/b")).unwrap_err()),
        libc::ENOTEMPTY
    );
    assert_eq!(names(root), ["a", "again", "link"]);
    // Locks are the kernel's.
    file.try_lock().unwrap();
    let second = OpenOptions::new()
        .write(true)
        .open(root.join("again"))
        .unwrap();
    assert!(second.try_lock().is_err());
    for number in 0..500 {
        fs::write(root.join(format!("a/b/c/{number}")), "x").unwrap();
    }
    fs::remove_dir_all(root.join("a")).unwrap();
    assert_eq!(names(root), ["again", "link"]);
    drop((appended, file, held, second));
    fs::remove_file(root.join("again")).unwrap();
    fs::remove_file(root.join("link")).unwrap();
    wait_until_used(&disk, 0);
}

#[test]
fn a_file_that_is_mapped_reads_as_one_that_is_not() {
    let disk = Disk::mount().unwrap();
    let path = disk.path().join("mapped");
    let bytes = vec![7; 1 << 20];
    fs::write(&path, &bytes).unwrap();
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap(&path).unwrap();
    assert_eq!(hasher.finalize(), blake3::hash(&bytes));
}

#[test]
fn a_write_without_a_sync_is_lost_and_one_with_it_is_kept() {
    let disk = Disk::mount().unwrap();
    let path = disk.path().join("file");
    write_synced(&path, b"first");
    sync_folder(disk.path());
    fs::write(&path, "second, which is longer").unwrap();
    disk.cut_power(Loss::Everything);
    assert_eq!(fs::read(&path).unwrap(), b"first");
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"FI", 0).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(b"RS", 2).unwrap();
    disk.cut_power(Loss::Everything);
    assert_eq!(fs::read(&path).unwrap(), b"FIrst");
}

#[test]
fn a_name_is_durable_when_its_folder_is_synced_and_not_before() {
    let disk = Disk::mount().unwrap();
    let root = disk.path();
    write_synced(&root.join("unnamed"), b"content");
    disk.cut_power(Loss::Everything);
    assert_eq!(names(root), [""; 0]);
    // A folder's own sync does not give the folder a durable name.
    fs::create_dir_all(root.join("one/two")).unwrap();
    write_synced(&root.join("one/two/file"), b"content");
    sync_folder(&root.join("one/two"));
    sync_folder(&root.join("one"));
    disk.cut_power(Loss::Everything);
    assert_eq!(names(root), [""; 0]);
    fs::create_dir_all(root.join("one/two")).unwrap();
    write_synced(&root.join("one/two/file"), b"content");
    for folder in ["one/two", "one", ""] {
        sync_folder(&root.join(folder));
    }
    disk.cut_power(Loss::Everything);
    assert_eq!(fs::read(root.join("one/two/file")).unwrap(), b"content");
    // A name without content is an empty file.
    fs::write(root.join("one/hollow"), "content").unwrap();
    sync_folder(&root.join("one"));
    disk.cut_power(Loss::Everything);
    assert_eq!(fs::read(root.join("one/hollow")).unwrap(), b"");
}

#[test]
fn a_rename_without_a_sync_of_the_folder_is_lost_and_never_half_done() {
    let disk = Disk::mount().unwrap();
    let root = disk.path();
    write_synced(&root.join("old"), b"old");
    sync_folder(root);
    write_synced(&root.join("new"), b"new");
    fs::rename(root.join("new"), root.join("old")).unwrap();
    disk.cut_power(Loss::Everything);
    assert_eq!(fs::read(root.join("old")).unwrap(), b"old");
    write_synced(&root.join("new"), b"new");
    fs::rename(root.join("new"), root.join("old")).unwrap();
    sync_folder(root);
    disk.cut_power(Loss::Everything);
    assert_eq!(names(root), ["old"]);
    assert_eq!(fs::read(root.join("old")).unwrap(), b"new");
    // Two names exchanged: both or neither.
    write_synced(&root.join("other"), b"other");
    sync_folder(root);
    let exchange = || {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        let (one, other) = (root.join("old"), root.join("other"));
        renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
    };
    exchange();
    disk.cut_power(Loss::Everything);
    assert_eq!(fs::read(root.join("old")).unwrap(), b"new");
    exchange();
    sync_folder(root);
    disk.cut_power(Loss::Everything);
    assert_eq!(fs::read(root.join("old")).unwrap(), b"other");
    assert_eq!(fs::read(root.join("other")).unwrap(), b"new");
    fs::rename(root.join("other"), root.join("old")).unwrap();
    sync_folder(root);
    // From one folder to another: a sync of the one that it comes from suffices.
    fs::create_dir(root.join("there")).unwrap();
    sync_folder(root);
    fs::rename(root.join("old"), root.join("there/moved")).unwrap();
    disk.cut_power(Loss::Everything);
    assert_eq!(names(&root.join("there")), [""; 0]);
    fs::rename(root.join("old"), root.join("there/moved")).unwrap();
    sync_folder(root);
    disk.cut_power(Loss::Everything);
    assert_eq!(names(root), ["there"]);
    assert_eq!(fs::read(root.join("there/moved")).unwrap(), b"new");
}

#[test]
fn a_file_that_was_removed_comes_back_until_the_removal_is_synced() {
    let disk = Disk::mount().unwrap();
    let path = disk.path().join("file");
    write_synced(&path, b"content");
    sync_folder(disk.path());
    fs::remove_file(&path).unwrap();
    wait_until_used(&disk, 0);
    disk.cut_power(Loss::Everything);
    assert_eq!(fs::read(&path).unwrap(), b"content");
    for seed in 0..20 {
        // Gone or whole, never in parts.
        fs::remove_file(&path).unwrap();
        disk.cut_power(Loss::Some(seed));
        match fs::read(&path) {
            Ok(bytes) => assert_eq!(bytes, b"content"),
            Err(_) => write_synced(&path, b"content"),
        }
        sync_folder(disk.path());
    }
    fs::remove_file(&path).unwrap();
    sync_folder(disk.path());
    disk.cut_power(Loss::Everything);
    assert_eq!(names(disk.path()), [""; 0]);
}

#[test]
fn a_part_that_is_lost_is_drawn_from_the_seed_by_blocks_and_first_names_stay() {
    let block = usize::try_from(BLOCK_BYTES).unwrap();
    let left = |seed: u64| {
        let disk = Disk::mount().unwrap();
        let path = disk.path().join("file");
        write_synced(&path, &vec![1; 20 * block]);
        sync_folder(disk.path());
        fs::write(&path, vec![2; 30 * block]).unwrap();
        for number in 0..10 {
            File::create(disk.path().join(format!("name {number}"))).unwrap();
        }
        disk.cut_power(Loss::Some(seed));
        (fs::read(&path).unwrap(), names(disk.path()))
    };
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let (bytes, names) = left(seed);
        assert_eq!((bytes.clone(), names.clone()), left(seed), "seed {seed}");
        assert!(bytes.len() == 20 * block || bytes.len() == 30 * block);
        for part in bytes.chunks(block) {
            assert!(part.iter().all(|byte| *byte == part[0]), "a torn block");
            kinds.insert(part[0]);
        }
        let kept = names.len() - 1;
        let first = (0..kept).map(|number| format!("name {number}"));
        assert!(names.iter().skip(1).cloned().eq(first), "seed {seed}");
        kinds.insert(100 + u8::try_from(kept).unwrap());
    }
    // Old blocks, new ones and holes, and several numbers of names.
    assert!(
        [0, 1, 2].iter().all(|kind| kinds.contains(kind)),
        "{kinds:?}"
    );
    assert!(
        kinds.iter().filter(|kind| **kind >= 100).count() > 3,
        "{kinds:?}"
    );
}

#[test]
fn a_disk_that_stopped_fails_everything_until_the_power_comes_back() {
    let disk = Disk::mount().unwrap();
    let path = disk.path().join("file");
    let mut file = File::create(&path).unwrap();
    // Two more changes pass: the write and its sync.
    disk.stop_after(2);
    file.write_all(b"content").unwrap();
    file.sync_all().unwrap();
    assert!(!disk.is_stopped());
    assert_eq!(
        errno(&File::open(disk.path()).unwrap().sync_all().unwrap_err()),
        libc::EIO
    );
    assert!(disk.is_stopped());
    assert_eq!(errno(&fs::read(&path).unwrap_err()), libc::EIO);
    disk.cut_power(Loss::Everything);
    assert_eq!(names(disk.path()), [""; 0]);
    // What was open before stays useless.
    assert!(file.write_all(b"late").is_err());
    assert!(file.sync_all().is_err());
    fs::write(&path, "again").unwrap();
}

#[test]
fn a_full_disk_takes_no_more_and_says_how_full_it_is() {
    let disk = Disk::mount().unwrap();
    let path = disk.path().join("file");
    disk.limit(8 * BLOCK_BYTES);
    let error = fs::write(&path, vec![1; 10 * 4096]).unwrap_err();
    assert_eq!(errno(&error), libc::ENOSPC);
    assert_eq!(disk.used(), 8 * BLOCK_BYTES);
    // One block is the file's own.
    assert_eq!(fs::metadata(&path).unwrap().len(), 7 * BLOCK_BYTES);
    assert_eq!(
        errno(&fs::create_dir(disk.path().join("more")).unwrap_err()),
        libc::ENOSPC
    );
    // Writing over what is there needs no room.
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[2; 4096], 0).unwrap();
    file.set_len(3 * BLOCK_BYTES).unwrap();
    assert_eq!(disk.used(), 4 * BLOCK_BYTES);
    let room = rustix::fs::statvfs(disk.path()).unwrap();
    assert_eq!(
        (room.f_blocks, room.f_bavail, room.f_bsize),
        (8, 4, BLOCK_BYTES)
    );
    disk.no_limit();
    fs::create_dir(disk.path().join("more")).unwrap();
    fs::remove_file(&path).unwrap();
    drop(file);
    wait_until_used(&disk, BLOCK_BYTES);
}

#[test]
fn reads_and_writes_fail_where_a_pattern_says_so() {
    let disk = Disk::mount().unwrap();
    let root = disk.path();
    fs::create_dir(root.join("folder")).unwrap();
    fs::write(root.join("folder/one"), "one").unwrap();
    fs::write(root.join("folder/two"), "two").unwrap();
    disk.fail_reads("folder/o*");
    disk.fail_writes("*/two");
    assert_eq!(
        errno(&fs::read(root.join("folder/one")).unwrap_err()),
        libc::EIO
    );
    assert_eq!(fs::read(root.join("folder/two")).unwrap(), b"two");
    let file = OpenOptions::new()
        .write(true)
        .open(root.join("folder/two"))
        .unwrap();
    assert_eq!(errno(&file.write_all_at(b"x", 0).unwrap_err()), libc::EIO);
    assert_eq!(disk.counts().failed, 2);
    disk.heal();
    assert_eq!(fs::read(root.join("folder/one")).unwrap(), b"one");
    assert_eq!(fs::read(root.join("folder/two")).unwrap(), b"two");
}

#[test]
fn a_failed_sync_makes_nothing_durable_and_neither_does_a_later_one() {
    let disk = Disk::mount().unwrap();
    let path = disk.path().join("file");
    write_synced(&path, b"old");
    sync_folder(disk.path());
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"new", 0).unwrap();
    disk.fail_syncs("file");
    assert_eq!(errno(&file.sync_all().unwrap_err()), libc::EIO);
    disk.heal();
    // As Linux has it: the error was told once, and the blocks count as clean.
    file.sync_all().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    disk.cut_power(Loss::Everything);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    // A folder's names stay as they were too, but a later sync of it works.
    fs::write(disk.path().join("name"), "").unwrap();
    disk.fail_syncs("");
    assert!(File::open(disk.path()).unwrap().sync_all().is_err());
    disk.heal();
    sync_folder(disk.path());
    disk.cut_power(Loss::Everything);
    assert_eq!(names(disk.path()), ["file", "name"]);
}

#[test]
fn it_is_unmounted_also_while_a_file_on_it_is_open() {
    let disk = Disk::mount().unwrap();
    let place = disk.path().to_owned();
    let mut file = File::create(place.join("file")).unwrap();
    drop(disk);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(place.to_str().unwrap()), "{mounts}");
    assert!(!place.exists());
    assert!(file.write_all(b"nobody is there").is_err());
}

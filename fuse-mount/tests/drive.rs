//! A drive as people use it: objects stored on a whole network in this process, mounted through the
//! kernel, and compared with what was stored.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../../client/tests/loopback/network.rs"]
mod network;

use holdfast_client::published::current;
use holdfast_fuse::mount::{Mounted, mount};
use network::{Network, noise, options, put};
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

const LARGE: usize = 3 * (1 << 20) + 11;
const SIZES: [usize; 6] = [0, 1, (16 << 10) - 1, 16 << 10, (1 << 20) + 7, LARGE];

/// Whether this machine can mount at all; where it cannot, there is nothing to be seen here.
fn can_mount() -> bool {
    let helper = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join("fusermount3").exists())
    });
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
    let can = helper && device.is_ok();
    if !can {
        eprintln!("not run: this machine has no /dev/fuse or no fusermount3");
    }
    can
}

/// Files of all sizes, names and modes, old times, folders in folders, a link.
fn tree(root: &Path) {
    std::fs::create_dir_all(root.join("deep/er/empty")).unwrap();
    for (seed, length) in SIZES.into_iter().enumerate() {
        let path = root.join(format!("deep/file of {length}"));
        std::fs::write(path, noise(seed as u64, length)).unwrap();
    }
    std::fs::write(root.join("deep/er/ünï\u{1f980}"), b"crab").unwrap();
    std::fs::write(root.join(OsStr::from_bytes(b"\xff odd")), b"not a text").unwrap();
    for number in 0..300 {
        std::fs::write(root.join(format!("deep/er/small {number}")), [number as u8]).unwrap();
    }
    symlink("deep/file of 1", root.join("link")).unwrap();
    let set = |name: &str, mode, seconds, nanos| {
        let file = File::open(root.join(name)).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
        file.set_modified(time).unwrap();
        file.set_permissions(Permissions::from_mode(mode)).unwrap();
    };
    set("deep/file of 1", 0o755, 1_000_000_000, 123_456_789);
    set("deep/file of 0", 0o640, 1, 1);
    set("deep/er/empty", 0o700, 1_600_000_000, 999_999_999);
}

fn names(folder: &Path) -> Vec<OsString> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

fn digest(path: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    let mut file = File::open(path).unwrap();
    let mut part = vec![0; 100_000];
    loop {
        match file.read(&mut part).unwrap() {
            0 => return hasher.finalize(),
            length => hasher.update(&part[..length]),
        };
    }
}

/// Kind, name, size, mode (without the right to write), time, bytes: of this and all below it.
fn compare(stored: &Path, mounted: &Path) -> usize {
    let (one, other) = (
        stored.symlink_metadata().unwrap(),
        mounted.symlink_metadata().unwrap(),
    );
    let name = stored.display();
    assert_eq!(one.file_type(), other.file_type(), "{name}");
    assert_eq!(
        (one.mtime(), one.mtime_nsec()),
        (other.mtime(), other.mtime_nsec()),
        "{name}"
    );
    if one.is_symlink() {
        let target = |path: &Path| std::fs::read_link(path).unwrap();
        assert_eq!(target(stored), target(mounted), "{name}");
        return 1;
    }
    assert_eq!(other.mode() & 0o7777, one.mode() & 0o555, "{name}");
    if one.is_file() {
        assert_eq!(one.len(), other.len(), "{name}");
        assert_eq!(digest(stored), digest(mounted), "{name}");
        return 1;
    }
    let children = names(stored);
    assert_eq!(children, names(mounted), "{name}");
    let compared = children
        .iter()
        .map(|child| compare(&stored.join(child), &mounted.join(child)));
    1 + compared.sum::<usize>()
}

/// Several threads at once read one file at places that none of them shares, and one from its start
/// to its end.
fn read_from_all_sides(path: &Path, expected: &[u8]) {
    std::thread::scope(|scope| {
        for thread in 0..6u64 {
            scope.spawn(move || {
                let file = File::open(path).unwrap();
                let places = noise(1000 + thread, 16 * 40);
                for place in places.chunks_exact(16) {
                    let number = |part: &[u8]| u64::from_le_bytes(part.try_into().unwrap());
                    let start = number(&place[..8]) as usize % expected.len();
                    let length = number(&place[8..]) as usize % 200_000;
                    let end = (start + length).min(expected.len());
                    let mut bytes = vec![0; end - start];
                    file.read_exact_at(&mut bytes, start as u64).unwrap();
                    assert!(bytes == expected[start..end], "{start}..{end}");
                }
                // At the end there is nothing, and beyond it too.
                let mut one = [0];
                for at in [expected.len() as u64, 1 << 40] {
                    assert_eq!(file.read_at(&mut one, at).unwrap(), 0);
                }
            });
        }
        scope.spawn(move || assert!(std::fs::read(path).unwrap() == expected));
    });
}

/// Nothing that would change the drive does.
fn refuse_writes(root: &Path) {
    let file = root.join("deep/file of 1");
    let write = || OpenOptions::new().write(true).open(&file);
    let refusals: [(&str, io::Result<()>); 9] = [
        ("a new file", File::create(root.join("new")).map(drop)),
        ("writing", write().map(drop)),
        ("cutting", File::create(&file).map(drop)),
        ("a folder", std::fs::create_dir(root.join("folder"))),
        ("removing", std::fs::remove_file(&file)),
        (
            "removing a folder",
            std::fs::remove_dir(root.join("deep/er/empty")),
        ),
        ("renaming", std::fs::rename(&file, root.join("other"))),
        ("a link", symlink("x", root.join("y"))),
        (
            "a mode",
            std::fs::set_permissions(&file, Permissions::from_mode(0o777)),
        ),
    ];
    for (what, result) in refusals {
        let kind = result.expect_err(what).kind();
        let expected = [
            io::ErrorKind::ReadOnlyFilesystem,
            io::ErrorKind::PermissionDenied,
        ];
        assert!(expected.contains(&kind), "{what}: {kind:?}");
    }
    let opened = File::open(&file).unwrap();
    assert!(opened.set_modified(SystemTime::now()).is_err());
    assert!(opened.write_at(b"x", 0).is_err());
}

fn is_mounted(folder: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.contains(folder.to_str().unwrap())
}

async fn away<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mounted_drive_shows_every_byte_name_mode_and_time_and_takes_no_change() {
    if !can_mount() {
        return;
    }
    let network = Network::start(6, 16).await;
    let session = network.session();
    let (source, note) = (network.path("tree"), network.path("note.txt"));
    tree(&source);
    std::fs::write(&note, b"a file alone").unwrap();
    for (path, name) in [(&source, "photos"), (&note, "a note")] {
        put(&session, path, &options(name, false)).await.unwrap();
    }
    let folder = network.path("drive");
    std::fs::create_dir(&folder).unwrap();
    let catalogue = current(&session).await.unwrap();
    let mounted = mount(&session, &catalogue, &folder).await.unwrap();
    assert_eq!((mounted.objects(), mounted.skipped().len()), (2, 0));

    let (drive, stored) = (folder.clone(), source.clone());
    away(move || {
        assert!(is_mounted(&drive));
        assert_eq!(names(&drive), ["a note", "photos"]);
        let large = drive.join(format!("photos/deep/file of {LARGE}"));
        let expected = std::fs::read(stored.join(format!("deep/file of {LARGE}"))).unwrap();
        read_from_all_sides(&large, &expected);
        // The tree, three folders, six files of all sizes, two of odd names, the link, the small ones.
        assert_eq!(
            compare(&stored, &drive.join("photos")),
            1 + 3 + 6 + 2 + 1 + 300
        );
        assert_eq!(
            std::fs::read(drive.join("a note")).unwrap(),
            b"a file alone"
        );
        let missing = std::fs::metadata(drive.join("photos/nothing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        refuse_writes(&drive.join("photos"));
    })
    .await;
    unmount(mounted, &folder).await;
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_drive_whose_nodes_die_is_read_from_those_that_are_left() {
    if !can_mount() {
        return;
    }
    let network = Network::start(6, 16).await;
    let session = network.session();
    let file = network.path("large");
    let bytes = noise(9, LARGE);
    std::fs::write(&file, &bytes).unwrap();
    put(&session, &file, &options("large", true)).await.unwrap();
    let folder = network.path("drive");
    std::fs::create_dir(&folder).unwrap();
    let catalogue = current(&session).await.unwrap();
    let mounted = mount(&session, &catalogue, &folder).await.unwrap();
    let drive = folder.join("large");
    let (path, start) = (drive.clone(), bytes[..100_000].to_vec());
    away(move || {
        let mut read = vec![0; start.len()];
        File::open(path).unwrap().read_exact(&mut read).unwrap();
        assert!(read == start);
    })
    .await;
    // Those that have the data shards, in the middle of it.
    for node in &network.nodes[..3] {
        node.kill().await;
    }
    away(move || assert!(std::fs::read(drive).unwrap() == bytes)).await;
    unmount(mounted, &folder).await;
    session.close().await;
}

async fn unmount(mounted: Mounted, folder: &Path) {
    away(move || mounted.unmount()).await.unwrap();
    assert!(!is_mounted(folder));
    assert_eq!(names(folder), Vec::<OsString>::new());
}

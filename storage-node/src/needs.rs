//! Whether a sector can be sealed on this machine: asked before it is begun, since a disk that is
//! filled to its last byte, or memory that is taken from others, serves nobody.

use crate::error::NodeError;
use holdfast_proofs::durable::above;
use holdfast_proofs::seal::{Needs, check_memory};
use holdfast_proofs::sector::SectorClass;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Whether there is memory for sealing a sector in `folder`, and room on its disk, beside `others` that
/// are being sealed; the files that lie there already have taken theirs.
///
/// # Errors
/// [`NodeError::Memory`] or [`NodeError::Disk`], with what is needed and what there is.
pub(crate) fn check(
    class: SectorClass,
    folder: &Path,
    others: &[(SectorClass, PathBuf)],
) -> Result<(), NodeError> {
    let beside: Vec<SectorClass> = others.iter().map(|(class, _)| *class).collect();
    check_memory(class, &beside).map_err(|source| NodeError::Memory {
        path: folder.to_owned(),
        source,
    })?;
    let mut free = free_space(folder)?;
    for (class, folder) in others {
        let wanted = Needs::of(*class).disk.saturating_sub(size_of(folder)?);
        free = free.saturating_sub(wanted);
    }
    fit(class, folder, free.saturating_add(size_of(folder)?), free)
}

/// Whether a disk has room, of which so much is free or taken by the sector's own files.
fn fit(class: SectorClass, folder: &Path, room: u64, free: u64) -> Result<(), NodeError> {
    let needed = Needs::of(class).disk;
    if room >= needed {
        return Ok(());
    }
    Err(NodeError::Disk {
        class,
        path: folder.to_owned(),
        more: needed.saturating_sub(room).saturating_add(free),
        free,
    })
}

/// Bytes that are free where a folder is or will be.
fn free_space(folder: &Path) -> Result<u64, NodeError> {
    let mut at = folder;
    loop {
        match fs4::available_space(at) {
            Err(error) if error.kind() == ErrorKind::NotFound && above(at) != at => at = above(at),
            free => return free.map_err(NodeError::file(at)),
        }
    }
}

/// Bytes of the files in a folder and below it; none where there is no folder.
///
/// # Errors
/// A folder that cannot be read.
fn size_of(folder: &Path) -> Result<u64, NodeError> {
    let mut bytes = 0u64;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.map_err(NodeError::file(&folder))?,
        };
        for entry in entries {
            let entry = entry.map_err(NodeError::file(&folder))?;
            // A file may go while it is looked at.
            match entry.metadata() {
                Ok(found) if found.is_dir() => folders.push(entry.path()),
                Ok(found) => bytes = bytes.saturating_add(found.len()),
                Err(_) => {}
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_disk_without_room_is_refused_with_what_it_lacks_and_what_lies_there_counts() {
        let folder = tempfile::tempdir().unwrap();
        let sector = folder.path().join("sectors/7");
        let class = SectorClass::Mib8;
        // Neither the folder nor the one above it is there yet.
        check(class, &sector, &[]).unwrap();
        assert!(!sector.exists());
        assert_eq!(size_of(&sector).unwrap(), 0);
        std::fs::create_dir_all(sector.join("groups")).unwrap();
        std::fs::write(sector.join("layer-1"), [0; 1000]).unwrap();
        std::fs::write(sector.join("groups/00-0.replica"), [0; 234]).unwrap();
        assert_eq!(size_of(&sector).unwrap(), 1234);
        let needed = Needs::of(class).disk;
        fit(class, &sector, needed, 0).unwrap();
        let refused = fit(class, &sector, needed - 1, 500).unwrap_err();
        let text = refused.to_string();
        for part in [
            "8MiB",
            "sectors/7",
            "501 more bytes",
            "500 are free",
            "make room",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(matches!(
            refused,
            NodeError::Disk {
                more: 501,
                free: 500,
                ..
            }
        ));
        if let Err(NodeError::Memory { path, source }) = check(SectorClass::Gib32, &sector, &[]) {
            assert_eq!(path, sector);
            assert!(source.to_string().contains("32GiB"), "{source}");
        }
        // What others still need of the disk and of the memory is not free.
        let many = vec![(SectorClass::Gib4, folder.path().join("other")); 1 << 20];
        check(class, &sector, &many).unwrap_err();
        let file = sector.join("layer-1");
        let error = check(class, &file, &[]).unwrap_err().to_string();
        assert!(error.contains("layer-1"), "{error}");
    }
}

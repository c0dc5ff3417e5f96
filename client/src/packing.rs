//! From a walked source to packs: first the plan (keys and places of everything), then the bytes,
//! one pack at a time.

use crate::catalogue::{Catalogue, ObjectId, ObjectRecord};
use crate::error::ClientError;
use crate::journal::{Plan, StorageTerms};
use crate::layout::Layout;
use crate::manifest::{Content, Entry, EntryName, Extent, Kind, Manifest};
use crate::seal::{Purpose, WrappingKey};
use crate::stream::{CHUNK_BYTES, Chunks, Cipher, ContentKey};
use crate::walk::{FoundKind, Source, WalkError, named};
use holdfast_market_core::units::{ByteCount, PackId};
use rand::rngs::OsRng;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// The catalogue may grow by so much between plan and last pack without a new plan.
const CATALOGUE_SLACK: u64 = 4096;

/// A name under which an object may be kept.
///
/// # Errors
/// A name that no folder could hold: the drive shows objects as files and folders.
pub fn check_name(name: &str) -> Result<(), ClientError> {
    EntryName::new(name.as_bytes()).map(drop).ok_or_else(|| {
        ClientError::failed(
            format!("`{name}` cannot be the name of an object"),
            "give one of 1 to 255 bytes without `/` with --name",
        )
    })
}

/// Gives every file a key and a place, and the manifest too.
///
/// # Errors
/// A source that is too large for one object.
pub fn plan(
    source: Source,
    name: &str,
    terms: StorageTerms,
    capacity: ByteCount,
    catalogue: &Catalogue,
    begun: u64,
) -> Result<Plan, ClientError> {
    let mut layout = Layout::new(capacity)?;
    let mut entries = Vec::with_capacity(source.found.len());
    for (number, found) in (0u32..).zip(&source.found) {
        let kind = match &found.kind {
            FoundKind::Directory => Kind::Directory,
            FoundKind::Symlink { target } => Kind::Symlink {
                target: target.clone(),
            },
            FoundKind::File { size } => Kind::File {
                size: *size,
                content: place(&mut layout, number, *size)?,
            },
        };
        entries.push(Entry {
            parent: found.parent,
            name: found.name.clone(),
            mode: found.mode,
            modified: found.modified,
            kind,
        });
    }
    let manifest = Manifest::new(entries)?;
    let length = ByteCount(manifest.encode()?.len() as u64);
    let number = manifest_number(&manifest);
    let manifest_content = Content {
        key: ContentKey::random(&mut OsRng),
        extents: layout.place(number, Chunks::of(length)?)?,
    };
    let mut plan = Plan::new(
        name.to_owned(),
        source,
        terms,
        manifest,
        manifest_content,
        Vec::new(),
        Extent {
            pack: 0,
            offset: ByteCount(0),
            length: ByteCount(0),
        },
        begun,
    );
    // One pack more than there are now: the block may begin a new one.
    let packs = vec![Some(PackId([0; 32])); layout.packs().len().saturating_add(1)];
    let mut with_this = catalogue.clone();
    with_this.insert(record(&plan, packs, &WrappingKey::random())?);
    let block = with_this.to_block(&WrappingKey::random(), &mut OsRng)?;
    let room = ByteCount((block.len() as u64).saturating_add(CATALOGUE_SLACK));
    plan.catalogue = layout.reserve_tail(room)?;
    plan.packs = layout.packs().to_vec();
    Ok(plan)
}

/// The number under which the manifest was placed: the one after its last entry.
fn manifest_number(manifest: &Manifest) -> u32 {
    u32::try_from(manifest.entries().len()).unwrap_or(u32::MAX)
}

fn place(
    layout: &mut Layout,
    number: u32,
    size: ByteCount,
) -> Result<Option<Content>, ClientError> {
    if size.0 == 0 {
        return Ok(None);
    }
    Ok(Some(Content {
        key: ContentKey::random(&mut OsRng),
        extents: layout.place(number, Chunks::of(size)?)?,
    }))
}

/// What the catalogue says of the planned object, once its packs have names.
///
/// # Errors
/// A manifest that cannot be written.
pub fn record(
    plan: &Plan,
    packs: Vec<Option<PackId>>,
    key: &WrappingKey,
) -> Result<ObjectRecord, ClientError> {
    let plain = plan.manifest.encode()?;
    let sealed = crate::stream::seal_all(&plan.manifest_content.key, &plain)?;
    let first = plan.manifest.entries().first();
    Ok(ObjectRecord {
        id: ObjectId::of(&sealed),
        name: plan.name.clone(),
        directory: first.is_some_and(|entry| entry.kind == Kind::Directory),
        files: plan.source.files(),
        bytes: plan.source.bytes(),
        stored: plan.begun,
        data_shards: plan.terms.data_shards,
        total_shards: plan.terms.total_shards,
        packs,
        manifest_key: key.wrap(Purpose::Manifest, &plan.manifest_content.key, &mut OsRng)?,
        manifest_length: ByteCount(plain.len() as u64),
        manifest: plan.manifest_content.extents.clone(),
    })
}

/// The sealed bytes of one planned pack, without the catalogue's block at the end of the last.
/// Files that are not as the plan found them are refused, also where they changed meanwhile.
///
/// # Errors
/// A file that cannot be read or has changed, by name.
pub fn seal_pack(plan: &Plan, pack: usize) -> Result<Vec<u8>, ClientError> {
    let Some(packed) = plan.packs.get(pack) else {
        return Ok(Vec::new());
    };
    let capacity = usize::try_from(packed.length.0).unwrap_or(0);
    let mut sealed = Vec::with_capacity(capacity.saturating_add(1 << 20));
    for part in &packed.parts {
        let run = part.first..part.first.saturating_add(part.chunks);
        if part.content == manifest_number(&plan.manifest) {
            let plain = plan.manifest.encode()?;
            let key = &plan.manifest_content.key;
            let cipher = Cipher::new(key, Chunks::of(ByteCount(plain.len() as u64))?)?;
            let mut chunks = plain.chunks(CHUNK_BYTES).zip(0u64..);
            for (chunk, number) in chunks.by_ref().filter(|(_, number)| run.contains(number)) {
                cipher.seal(number, chunk, &mut sealed)?;
            }
        } else {
            seal_file(plan, part.content, run, &mut sealed)?;
        }
    }
    Ok(sealed)
}

fn seal_file(
    plan: &Plan,
    number: u32,
    run: std::ops::Range<u64>,
    sealed: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let index = usize::try_from(number).unwrap_or(usize::MAX);
    let Some(Kind::File {
        size,
        content: Some(content),
    }) = plan.manifest.entries().get(index).map(|entry| &entry.kind)
    else {
        return Ok(());
    };
    let path = plan.source.path_of(index);
    // Before: a chunk is sealed under its nonce for one plain text only.
    plan.source.check_unchanged(index)?;
    let cipher = Cipher::new(&content.key, Chunks::of(*size)?)?;
    let mut file = File::open(&path).map_err(|error| named(&path, error))?;
    let start = run.start.saturating_mul(CHUNK_BYTES as u64);
    file.seek(SeekFrom::Start(start))
        .map_err(|error| named(&path, error))?;
    let mut plain = vec![0; CHUNK_BYTES];
    for chunk in run {
        let part = plain
            .get_mut(..cipher.chunks().plain_bytes(chunk))
            .unwrap_or_default();
        file.read_exact(part).map_err(|error| {
            if error.kind() == std::io::ErrorKind::UnexpectedEof {
                WalkError::Changed(path.clone())
            } else {
                named(&path, error)
            }
        })?;
        cipher.seal(chunk, part, sealed)?;
    }
    // After: what was read is of one state.
    plan.source.check_unchanged(index)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )]
    use super::*;
    use crate::stream::{SEALED_CHUNK_BYTES, open_all};
    use holdfast_market_core::units::Periods;
    use std::path::Path;

    const TERMS: StorageTerms = StorageTerms {
        data_shards: 3,
        total_shards: 6,
        term: Periods(5),
    };

    fn planned(root: &Path, capacity: u64) -> Plan {
        let source = Source::walk(root).unwrap();
        plan(
            source,
            "o",
            TERMS,
            ByteCount(capacity),
            &Catalogue::default(),
            1,
        )
        .unwrap()
    }

    fn tree(folder: &Path) -> std::path::PathBuf {
        let root = folder.join("tree");
        std::fs::create_dir_all(root.join("empty")).unwrap();
        for (name, length) in [("a", 10), ("b", 200_000), ("c", 0), ("d", 65_536)] {
            let bytes: Vec<u8> = (0..length).map(|i: u32| i.to_le_bytes()[1]).collect();
            std::fs::write(root.join(name), bytes).unwrap();
        }
        root
    }

    fn gather(packs: &[Vec<u8>], content: &Content) -> Vec<u8> {
        let mut sealed = Vec::new();
        for extent in &content.extents {
            let start = extent.offset.0 as usize;
            let end = start + extent.length.0 as usize;
            sealed.extend_from_slice(&packs[extent.pack as usize][start..end]);
        }
        open_all(&content.key, &sealed).unwrap()
    }

    #[test]
    fn every_file_and_the_manifest_open_from_where_the_plan_put_them() {
        let folder = tempfile::tempdir().unwrap();
        let root = tree(folder.path());
        for capacity in [2 * SEALED_CHUNK_BYTES as u64, 1 << 20] {
            let plan = planned(&root, capacity);
            let packs: Vec<Vec<u8>> = (0..plan.packs.len())
                .map(|pack| seal_pack(&plan, pack).unwrap())
                .collect();
            assert!(packs.iter().all(|pack| pack.len() as u64 <= capacity));
            for (index, entry) in plan.manifest.entries().iter().enumerate() {
                let Kind::File { content, size } = &entry.kind else {
                    continue;
                };
                let plain = std::fs::read(plan.source.path_of(index)).unwrap();
                assert_eq!(plain.len() as u64, size.0);
                if let Some(content) = content {
                    assert!(gather(&packs, content) == plain, "{:?}", entry.name);
                }
            }
            let manifest = Manifest::decode(&gather(&packs, &plan.manifest_content)).unwrap();
            assert_eq!(manifest, plan.manifest);
            let last = packs.last().unwrap();
            assert_eq!(last.len() as u64, plan.catalogue.offset.0);
            assert_eq!(plan.catalogue.pack as usize, packs.len() - 1);
        }
    }

    #[test]
    fn sealing_a_pack_again_gives_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let plan = planned(&tree(folder.path()), 1 << 20);
        assert_eq!(seal_pack(&plan, 0).unwrap(), seal_pack(&plan, 0).unwrap());
    }

    #[test]
    fn a_file_that_changed_since_the_plan_is_never_sealed_under_the_same_nonces() {
        let folder = tempfile::tempdir().unwrap();
        let root = tree(folder.path());
        let plan = planned(&root, 1 << 20);
        std::fs::write(root.join("a"), "0123456789").unwrap();
        let error = seal_pack(&plan, 0).unwrap_err();
        assert!(error.to_string().contains("/a changed"), "{error}");
        assert!(error.next().contains("again"));
    }

    #[test]
    fn no_two_contents_have_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let plan = planned(&tree(folder.path()), 1 << 20);
        let mut keys: Vec<[u8; 39]> = vec![*plan.manifest_content.key.as_bytes()];
        for entry in plan.manifest.entries() {
            if let Kind::File {
                content: Some(content),
                ..
            } = &entry.kind
            {
                keys.push(*content.key.as_bytes());
            }
        }
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 4);
    }

    #[test]
    fn an_empty_folder_and_an_empty_file_are_stored_as_their_manifest_alone() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("nothing");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(folder.path().join("empty"), "").unwrap();
        for root in [root, folder.path().join("empty")] {
            let plan = planned(&root, 1 << 20);
            assert_eq!(plan.packs.len(), 1);
            let sealed = seal_pack(&plan, 0).unwrap();
            let manifest = Manifest::decode(&gather(&[sealed], &plan.manifest_content)).unwrap();
            assert_eq!(manifest.entries().len(), 1);
        }
    }

    #[test]
    fn a_name_that_no_folder_holds_is_refused() {
        for name in ["", ".", "..", "a/b"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        check_name("holiday photos").unwrap();
    }
}

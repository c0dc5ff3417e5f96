//! A layer on disk: its rows, then a trailer that says whose layer it is and ends in a checksum.

// Levels and layers are below 11.
#![allow(clippy::cast_possible_truncation)]

use super::SealError;
use crate::crash::crash_point;
use crate::durable::Unfinished;
use crate::files::{Named, beside, give_name, nodes_of, open, sync_parent};
use crate::node::Node;
use crate::poseidon2::lanes::Row;
use crate::replica::ReplicaId;
use crate::sector::{LAYERS, SectorClass};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of a row.
pub(crate) const ROW_BYTES: usize = 256;
/// What a trailer begins with.
const MAGIC: &[u8; 8] = b"HFlayer1";
/// Magic, class, layer, replica id.
const OWNER_BYTES: usize = 8 + 1 + 1 + 32;
/// The owner and a BLAKE3 of everything before.
const TRAILER_BYTES: usize = OWNER_BYTES + 32;
/// Rows read or written at a time: 1 MiB.
const CHUNK_ROWS: usize = 4096;

/// Which layer of which sector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerFile {
    pub(crate) class: SectorClass,
    pub(crate) replica: ReplicaId,
    pub(crate) layer: u32,
}

impl LayerFile {
    /// Reads the layer through and compares its checksum.
    pub(crate) fn check(self, dir: &Path) -> Result<(), SealError> {
        let mut reader = LayerReader::open(dir, self)?;
        while reader.left > 0 {
            reader.rows(CHUNK_ROWS)?;
        }
        Ok(())
    }

    fn owner(self) -> [u8; OWNER_BYTES] {
        let mut owner = [0; OWNER_BYTES];
        let fields = MAGIC
            .iter()
            .copied()
            .chain([self.class.levels() as u8, self.layer as u8])
            .chain(self.replica.node().to_bytes());
        for (slot, byte) in owner.iter_mut().zip(fields) {
            *slot = byte;
        }
        owner
    }
}

/// Where a layer lies, 1 to 8.
pub(crate) fn layer_path(dir: &Path, layer: u32) -> PathBuf {
    dir.join(format!("layer-{layer}"))
}

/// Writes a layer as it is made; it has its name only once it is whole and durable.
pub(crate) struct LayerWriter {
    file: LayerFile,
    path: PathBuf,
    writer: File,
    /// Rows that are neither hashed nor written yet: the hash is several times faster on many.
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
}

impl LayerWriter {
    pub(crate) fn create(dir: &Path, file: LayerFile) -> Result<Self, SealError> {
        let path = layer_path(dir, file.layer);
        let temporary = beside(&path);
        let writer = File::create(&temporary).named("create", &temporary)?;
        Ok(LayerWriter {
            file,
            path,
            writer,
            buffer: Vec::with_capacity(CHUNK_ROWS * ROW_BYTES),
            hasher: blake3::Hasher::new(),
        })
    }

    pub(crate) fn push(&mut self, row: &Row) -> Result<(), SealError> {
        self.buffer
            .extend_from_slice(row.map(Node::to_bytes).as_flattened());
        if self.buffer.len() < CHUNK_ROWS * ROW_BYTES {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), SealError> {
        self.hasher.update(&self.buffer);
        self.writer
            .write_all(&self.buffer)
            .named("write", &beside(&self.path))?;
        self.buffer.clear();
        Ok(())
    }

    /// Finishes the file, or gives up what is written so far where `made` says that it was not all.
    pub(crate) fn finish_if(self, made: Result<(), SealError>) -> Result<(), SealError> {
        match made {
            Ok(()) => self.finish(),
            Err(error) => {
                drop(Unfinished(&beside(&self.path)));
                Err(error)
            }
        }
    }

    fn finish(mut self) -> Result<(), SealError> {
        let temporary = beside(&self.path);
        let unfinished = Unfinished(&temporary);
        self.flush()?;
        let owner = self.file.owner();
        self.hasher.update(&owner);
        let write = |writer: &mut File| {
            writer.write_all(&owner)?;
            writer.write_all(self.hasher.finalize().as_bytes())?;
            writer.sync_all()
        };
        write(&mut self.writer).named("write", &temporary)?;
        crash_point(&format!("seal.layer-{}.written", self.file.layer));
        give_name(&temporary, &self.path)?;
        unfinished.finished();
        sync_parent(&self.path)?;
        crash_point(&format!("seal.layer-{}.named", self.file.layer));
        Ok(())
    }
}

/// Reads layers front to back and checks each at its end.
pub(crate) struct LayerReader {
    path: PathBuf,
    file: File,
    owner: [u8; OWNER_BYTES],
    hasher: blake3::Hasher,
    left: u64,
}

impl LayerReader {
    /// Opens a layer, if it is there at its full length and this sector's.
    pub(crate) fn open(dir: &Path, file: LayerFile) -> Result<Self, SealError> {
        let path = layer_path(dir, file.layer);
        let damaged = || SealError::Damaged { path: path.clone() };
        let handle = open(&path)?;
        let length = handle.metadata().named("read", &path)?.len();
        if length != file.class.bytes() + TRAILER_BYTES as u64 {
            return Err(damaged());
        }
        let mut owner = [0; OWNER_BYTES];
        handle
            .read_exact_at(&mut owner, file.class.bytes())
            .named("read", &path)?;
        if owner != file.owner() {
            // Another's is left to whoever sealed it; what is nobody's is made again.
            return Err(match is_anothers(&handle, &path, file, owner)? {
                true => SealError::OtherReplica { path },
                false => damaged(),
            });
        }
        Ok(LayerReader {
            path,
            file: handle,
            owner,
            hasher: blake3::Hasher::new(),
            left: file.class.lane_nodes(),
        })
    }

    /// The next rows, at most `most`; the checksum is compared at the last.
    pub(crate) fn rows(&mut self, most: usize) -> Result<Vec<Row>, SealError> {
        let count = usize::try_from(self.left).map_or(most, |left| left.min(most));
        let mut bytes = vec![0; count * ROW_BYTES];
        self.file.read_exact(&mut bytes).named("read", &self.path)?;
        self.hasher.update(&bytes);
        self.left -= count as u64;
        if self.left == 0 {
            let mut trailer = [0; TRAILER_BYTES];
            self.file
                .read_exact(&mut trailer)
                .named("read", &self.path)?;
            self.hasher.update(&self.owner);
            if !trailer.ends_with(self.hasher.finalize().as_bytes()) {
                return Err(SealError::Damaged {
                    path: self.path.clone(),
                });
            }
        }
        let nodes = nodes_of(&bytes, &self.path)?;
        let (rows, _) = nodes.as_chunks::<8>();
        Ok(rows.to_vec())
    }
}

/// Whether a layer whose trailer says another owner was written so, for another replica: neither a
/// trailer that is damaged nor a layer of this replica under another one's name.
fn is_anothers(
    handle: &File,
    path: &Path,
    file: LayerFile,
    owner: [u8; OWNER_BYTES],
) -> Result<bool, SealError> {
    let of_this = |layer| LayerFile { layer, ..file }.owner() == owner;
    if (1..=LAYERS as u32).any(of_this) {
        return Ok(false);
    }
    let mut hasher = blake3::Hasher::new();
    let mut rows = vec![0; CHUNK_ROWS * ROW_BYTES];
    let mut at = 0;
    while at < file.class.bytes() {
        // A layer is whole chunks, the smallest class's too.
        handle.read_exact_at(&mut rows, at).named("read", path)?;
        hasher.update(&rows);
        at += rows.len() as u64;
    }
    hasher.update(&owner);
    let mut checksum = [0; TRAILER_BYTES - OWNER_BYTES];
    handle
        .read_exact_at(&mut checksum, file.class.bytes() + OWNER_BYTES as u64)
        .named("read", path)?;
    Ok(checksum == *hasher.finalize().as_bytes())
}

/// Reads a whole layer. False where it is missing, damaged or unreadable, and so has to be made.
pub(crate) fn read_layer(
    dir: &Path,
    file: LayerFile,
    into: &mut Vec<Row>,
) -> Result<bool, SealError> {
    into.clear();
    let mut read = || {
        let mut reader = LayerReader::open(dir, file)?;
        while reader.left > 0 {
            into.extend(reader.rows(CHUNK_ROWS)?);
        }
        Ok(())
    };
    match read() {
        Ok(()) => Ok(true),
        Err(SealError::Damaged { .. } | SealError::Missing { .. } | SealError::Io { .. }) => {
            // What was read before the damage is of no layer: one that is made from nothing, the
            // first, would take it for the one before.
            into.clear();
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

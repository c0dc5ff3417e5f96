//! Files that are whole or absent: written beside, synced, renamed.

use crate::crash::crash_point;
use crate::durable::{Unfinished, above, sync_folder};
use crate::node::Node;
use crate::seal::SealError;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Puts the file's name to an error of the system.
pub(crate) trait Named<T> {
    fn named(self, doing: &'static str, path: &Path) -> Result<T, SealError>;
}

impl<T> Named<T> for io::Result<T> {
    fn named(self, doing: &'static str, path: &Path) -> Result<T, SealError> {
        self.map_err(|source| SealError::Io {
            doing,
            path: path.into(),
            source,
        })
    }
}

/// Where a file is written before it has its name.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// Makes `path` hold what `write` writes, all of it or, after a crash, what it held before.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&mut io::BufWriter<File>) -> Result<(), SealError>,
) -> Result<(), SealError> {
    let temporary = beside(path);
    let file = File::create(&temporary).named("create", &temporary)?;
    let unfinished = Unfinished(&temporary);
    let mut writer = io::BufWriter::with_capacity(1 << 20, file);
    write(&mut writer)?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error);
    file.and_then(|file| file.sync_all())
        .named("write", &temporary)?;
    crash_point("file.written");
    give_name(&temporary, path)?;
    unfinished.finished();
    crash_point("file.named");
    sync_parent(path)
}

/// Gives a file its name. An empty folder that has that name goes: nothing is lost with it.
pub(crate) fn give_name(file: &Path, path: &Path) -> Result<(), SealError> {
    match fs::rename(file, path) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => fs::remove_dir(path)
            .and_then(|()| fs::rename(file, path))
            .named("replace the folder", path),
        renamed => renamed.named("rename", file),
    }
}

/// Opens a file that was written: one that is not there is missing.
pub(crate) fn open(path: &Path) -> Result<File, SealError> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(SealError::Missing { path: path.into() })
        }
        opened => opened.named("open", path),
    }
}

/// Reads a file of at most `limit` bytes; a longer one is refused as invalid, not cut.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the file is longer than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

/// Makes names given, changed or removed in a file's folder durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), SealError> {
    let folder = above(path);
    sync_folder(folder).named("sync", folder)
}

/// Removes a file if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), SealError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.named("remove", path),
    }
}

/// Writes nodes one after the other.
pub(crate) fn write_nodes<'a>(
    writer: &mut impl Write,
    nodes: impl IntoIterator<Item = &'a Node>,
) -> io::Result<()> {
    nodes
        .into_iter()
        .try_for_each(|node| writer.write_all(node.as_bytes()))
}

/// Reads `count` nodes from node index `start` of a file; an element that is not canonical names
/// the file as damaged.
pub(crate) fn read_nodes(
    file: &File,
    path: &Path,
    start: u64,
    count: usize,
) -> Result<Vec<Node>, SealError> {
    let mut bytes = vec![0; count * 32];
    match file.read_exact_at(&mut bytes, start * 32) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(SealError::Damaged { path: path.into() });
        }
        other => other.named("read", path)?,
    }
    nodes_of(&bytes, path)
}

/// The nodes in bytes read from a file.
pub(crate) fn nodes_of(bytes: &[u8], path: &Path) -> Result<Vec<Node>, SealError> {
    let (elements, _) = bytes.as_chunks::<32>();
    let nodes = elements.iter().map(|element| Node::from_bytes(*element));
    nodes
        .collect::<Result<_, _>>()
        .map_err(|_| SealError::Damaged { path: path.into() })
}

//! What the kernel asks of the drive.

use crate::index::{Inode, InodeKind, TreeIndex};
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenAccMode, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen,
    ReplyStatfs, Request,
};
use holdfast_client::reader::OpenObject;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// What is stored does not change under its name while it is mounted: the kernel may keep it.
const KEPT: Duration = Duration::from_secs(3600);
/// The kernel counts in these.
const BLOCK_BYTES: u64 = 512;
/// What the reader fetches best.
const PREFERRED_BYTES: u32 = 1 << 20;

/// A read-only file system of opened objects.
pub struct Drive {
    index: TreeIndex,
    objects: Vec<Arc<OpenObject>>,
    runtime: Handle,
    owner: (u32, u32),
}

impl Drive {
    /// A drive of these objects, in the order in which `index` has them. Everything belongs to
    /// `owner` (user, group); contents are read on `runtime`.
    pub fn new(
        index: TreeIndex,
        objects: Vec<Arc<OpenObject>>,
        runtime: Handle,
        owner: (u32, u32),
    ) -> Self {
        Self {
            index,
            objects,
            runtime,
            owner,
        }
    }

    fn attributes(&self, number: u64, inode: &Inode) -> FileAttr {
        let (size, links) = match &inode.kind {
            InodeKind::Directory => (0, self.index.folders_in(number).saturating_add(2)),
            InodeKind::File { size } => (*size, 1),
            InodeKind::Symlink { target } => (target.len() as u64, 1),
        };
        FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(BLOCK_BYTES),
            atime: inode.modified,
            mtime: inode.modified,
            ctime: inode.modified,
            crtime: inode.modified,
            kind: file_type(inode),
            perm: inode.mode,
            nlink: links,
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: PREFERRED_BYTES,
            flags: 0,
        }
    }
}

const fn file_type(inode: &Inode) -> FileType {
    match inode.kind {
        InodeKind::Directory => FileType::Directory,
        InodeKind::File { .. } => FileType::RegularFile,
        InodeKind::Symlink { .. } => FileType::Symlink,
    }
}

impl Filesystem for Drive {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.index.lookup(parent.0, name);
        match found.and_then(|number| Some((number, self.index.get(number)?))) {
            Some((number, inode)) => {
                reply.entry(&KEPT, &self.attributes(number, inode), Generation(0));
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.index.get(number.0) {
            Some(inode) => reply.attr(&KEPT, &self.attributes(number.0, inode)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn readlink(&self, _request: &Request, number: INodeNo, reply: ReplyData) {
        match self.index.get(number.0).map(|inode| &inode.kind) {
            Some(InodeKind::Symlink { target }) => reply.data(target),
            Some(_) => reply.error(Errno::EINVAL),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match self.index.get(number.0).map(|inode| &inode.kind) {
            None => reply.error(Errno::ENOENT),
            Some(InodeKind::Directory) => reply.error(Errno::EISDIR),
            Some(_) if flags.acc_mode() != OpenAccMode::O_RDONLY => reply.error(Errno::EROFS),
            Some(_) => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
        }
    }

    fn read(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(inode) = self.index.get(number.0) else {
            return reply.error(Errno::ENOENT);
        };
        if inode.kind == InodeKind::Directory {
            return reply.error(Errno::EISDIR);
        }
        let opened = inode.place.and_then(|place| {
            let object = self.objects.get(place.object)?;
            Some(object.content(place.entry))
        });
        match opened {
            // No content: an empty file.
            Some(Ok(None)) => reply.data(&[]),
            Some(Ok(Some(content))) => {
                let length = usize::try_from(size).unwrap_or(0);
                // The reply goes out when the bytes are here; other requests do not wait for it.
                self.runtime.spawn(async move {
                    match content.read(offset, length).await {
                        Ok(plain) => reply.data(&plain),
                        Err(error) => {
                            tracing::warn!(%error, inode = number.0, offset, "a read failed");
                            reply.error(Errno::EIO);
                        }
                    }
                });
            }
            Some(Err(error)) => {
                tracing::warn!(%error, inode = number.0, "a file cannot be read");
                reply.error(Errno::EIO);
            }
            None => reply.error(Errno::EIO),
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let Some(listed) = self.index.list(number.0, offset) else {
            return reply.error(Errno::ENOTDIR);
        };
        for ((child, inode, name), line) in listed.into_iter().zip(offset.saturating_add(1)..) {
            if reply.add(INodeNo(child), line, file_type(inode), name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _number: INodeNo, reply: ReplyStatfs) {
        reply.statfs(0, 0, 0, 0, 0, PREFERRED_BYTES, 255, PREFERRED_BYTES);
    }
}

//! What the kernel asks of the disk.

use super::Shared;
use super::content::Content;
use super::model::{FIRST_COOKIE, Kind, Model};
use super::names::Names;
use fuser::{
    BsdFileFlags, Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The kernel keeps nothing: after a cut everything may be another.
const KEPT: Duration = Duration::ZERO;
/// Bits of a mode that are permissions.
const PERMISSIONS: u32 = 0o7777;
/// The longest name.
const LONGEST_NAME: u32 = 255;
/// Files and folders that a disk says that it could hold.
const FILES: u64 = 1 << 20;
const BLOCK: u32 = 4096;

/// The file system.
pub(super) struct Served(Shared);

impl Served {
    pub(super) fn new(model: Shared) -> Self {
        Self(model)
    }

    fn entry(&self, reply: ReplyEntry, found: impl FnOnce(&mut Model) -> Result<u64, Errno>) {
        let mut model = self.0.lock();
        let found = found(&mut model).and_then(|number| model.attributes(number));
        drop(model);
        match found {
            Ok(attributes) => reply.entry(&KEPT, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn done(&self, reply: ReplyEmpty, does: impl FnOnce(&mut Model) -> Result<(), Errno>) {
        let done = does(&mut self.0.lock());
        match done {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }
}

fn permissions(mode: u32, umask: u32) -> u16 {
    u16::try_from(mode & !umask & PERMISSIONS).unwrap_or(0)
}

fn owner(request: &Request) -> (u32, u32) {
    (request.uid(), request.gid())
}

impl Filesystem for Served {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Files are mapped though their content is not kept; a kernel before 6.6 refuses to map.
        let _ = config.add_capabilities(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(reply, |model| model.lookup(parent.0, name));
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let attributes = self.0.lock().attributes(number.0);
        match attributes {
            Ok(attributes) => reply.attr(&KEPT, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _request: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _changed: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _created: Option<SystemTime>,
        _flagged: Option<SystemTime>,
        _backed_up: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut model = self.0.lock();
        let model = &mut *model;
        let mut set = || {
            if let Some(size) = size {
                model.set_length(number.0, size)?;
            }
            if let Some(mode) = mode {
                model.set_mode(number.0, permissions(mode, 0))?;
            }
            if uid.is_some() || gid.is_some() {
                let old = model.inode(number.0)?.owner;
                model.set_owner(number.0, (uid.unwrap_or(old.0), gid.unwrap_or(old.1)))?;
            }
            match modified {
                Some(TimeOrNow::SpecificTime(time)) => model.set_modified(number.0, time)?,
                Some(TimeOrNow::Now) => model.set_modified(number.0, SystemTime::now())?,
                None => {}
            }
            model.attributes(number.0)
        };
        match set() {
            Ok(attributes) => reply.attr(&KEPT, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn readlink(&self, _request: &Request, number: INodeNo, reply: ReplyData) {
        let model = self.0.lock();
        match model.inode(number.0).map(|inode| &inode.kind) {
            Ok(Kind::Link(target)) => reply.data(target.as_os_str().as_encoded_bytes()),
            Ok(_) => reply.error(Errno::EINVAL),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let mode = permissions(mode, umask);
        self.entry(reply, |model| {
            let kind = Kind::Folder(Names::default());
            model.make(parent.0, name, kind, mode, owner(request))
        });
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        self.entry(reply, |model| {
            let kind = Kind::Link(target.into());
            model.make(parent.0, name, kind, 0o777, owner(request))
        });
    }

    fn link(
        &self,
        _request: &Request,
        number: INodeNo,
        parent: INodeNo,
        name: &OsStr,
        reply: ReplyEntry,
    ) {
        self.entry(reply, |model| {
            model.link(number.0, parent.0, name)?;
            Ok(number.0)
        });
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.done(reply, |model| model.remove(parent.0, name, false));
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.done(reply, |model| model.remove(parent.0, name, true));
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (from, to) = ((parent.0, name), (new_parent.0, new_name));
        self.done(reply, |model| match flags {
            flags if flags.is_empty() => model.rename(from, to, true),
            RenameFlags::RENAME_NOREPLACE => model.rename(from, to, false),
            RenameFlags::RENAME_EXCHANGE => model.exchange(from, to),
            _ => Err(Errno::EINVAL),
        });
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let mode = permissions(mode, umask);
        let mut model = self.0.lock();
        let model = &mut *model;
        let mut make = || {
            let number = match model.lookup(parent.0, name) {
                // Another process was quicker.
                Ok(number) if flags & libc::O_EXCL == 0 => number,
                Ok(_) => return Err(Errno::EEXIST),
                Err(Errno::ENOENT) => {
                    let kind = Kind::File(Content::default());
                    model.make(parent.0, name, kind, mode, owner(request))?
                }
                Err(error) => return Err(error),
            };
            model.opened(number)?;
            model.attributes(number)
        };
        match make() {
            Ok(attributes) => reply.created(
                &KEPT,
                &attributes,
                Generation(0),
                FileHandle(0),
                FopenFlags::FOPEN_DIRECT_IO,
            ),
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let mut model = self.0.lock();
        let model = &mut *model;
        let mut open = || {
            if flags.0 & libc::O_TRUNC != 0 {
                model.set_length(number.0, 0)?;
            }
            model.opened(number.0)
        };
        match open() {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(error) => reply.error(error),
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
        let size = usize::try_from(size).unwrap_or(0);
        let read = self.0.lock().read(number.0, offset, size);
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.0.lock().write(number.0, offset, data);
        match written {
            Ok(written) => reply.written(u32::try_from(written).unwrap_or(u32::MAX)),
            Err(error) => reply.error(error),
        }
    }

    fn flush(
        &self,
        _request: &Request,
        _number: INodeNo,
        _handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        self.done(reply, |model| model.alive());
    }

    fn release(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.0.lock().closed(number.0);
        reply.ok();
    }

    fn fsync(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        self.done(reply, |model| model.sync(number.0));
    }

    fn opendir(&self, _request: &Request, number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let opened = self.0.lock().opened(number.0);
        match opened {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
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
        let listed = self.0.lock().list(number.0, offset);
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => return reply.error(error),
        };
        for (cookie, name) in [(1, "."), (2, "..")] {
            if cookie > offset && reply.add(number, cookie, FileType::Directory, name) {
                return reply.ok();
            }
        }
        let model = self.0.lock();
        for (cookie, entry, name) in listed {
            debug_assert!(cookie >= FIRST_COOKIE);
            let kind = model.attributes(entry.inode).map(|one| one.kind);
            let kind = kind.unwrap_or(FileType::RegularFile);
            if reply.add(INodeNo(entry.inode), cookie, kind, name) {
                break;
            }
        }
        drop(model);
        reply.ok();
    }

    fn releasedir(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.0.lock().closed(number.0);
        reply.ok();
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        self.done(reply, |model| model.sync_folder(number.0));
    }

    fn statfs(&self, _request: &Request, _number: INodeNo, reply: ReplyStatfs) {
        let (blocks, free) = self.0.lock().room();
        reply.statfs(blocks, free, free, FILES, FILES, BLOCK, LONGEST_NAME, BLOCK);
    }

    fn fallocate(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let Some(end) = offset.checked_add(length) else {
            return reply.error(Errno::EFBIG);
        };
        let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        self.done(reply, |model| match mode {
            0 => model.reserve(number.0, end, true),
            libc::FALLOC_FL_KEEP_SIZE => model.reserve(number.0, end, false),
            mode if mode == punch => model.punch(number.0, offset, end),
            _ => Err(Errno::EOPNOTSUPP),
        });
    }
}

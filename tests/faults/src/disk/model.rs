//! What is on the disk: files and folders, what of them is durable, and what is to fail.

use super::Loss;
use super::content::{BLOCK_BYTES, Content};
use super::faults::{Act, Faults};
use super::names::{Change, Entry, Names, Pending};
use fuser::{Errno, FileAttr, FileType, INodeNo};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::SystemTime;

/// The root's number.
pub(super) const ROOT: u64 = INodeNo::ROOT.0;
/// Listings begin with `.` and `..`, after which the cookies go on.
pub(super) const FIRST_COOKIE: u64 = 3;
/// What a disk without a limit says that it has.
const UNLIMITED: u64 = 1 << 40;
/// The kernel counts in these.
const SECTOR_BYTES: u64 = 512;

/// What has been done on a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Everything that changes it: writes, syncs, names made, changed and removed.
    pub changes: u64,
    /// Reads of files.
    pub reads: u64,
    /// Writes to files.
    pub writes: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Syncs of folders.
    pub folder_syncs: u64,
    /// Operations that failed because a test wanted it, "no space" included.
    pub failed: u64,
}

/// What a number stands for.
pub(super) enum Kind {
    File(Content),
    Folder(Names),
    Link(PathBuf),
}

/// A file, folder or symbolic link.
pub(super) struct Inode {
    pub(super) kind: Kind,
    pub(super) mode: u16,
    pub(super) owner: (u32, u32),
    pub(super) modified: SystemTime,
    /// Names that it has.
    links: u32,
    /// How often it is open.
    open: u32,
    /// The folder and name that it was last given.
    home: (u64, OsString),
}

/// Everything that a [`super::Disk`] knows.
pub(super) struct Model {
    inodes: BTreeMap<u64, Inode>,
    pending: Pending,
    next_inode: u64,
    next_cookie: u64,
    /// Blocks of content that is now.
    blocks: u64,
    stop: Option<u64>,
    stopped: bool,
    pub(super) limit: Option<u64>,
    pub(super) faults: Faults,
    pub(super) counts: Counts,
}

type Answer<T> = Result<T, Errno>;

impl Model {
    pub(super) fn new() -> Self {
        let root = Inode {
            kind: Kind::Folder(Names::default()),
            mode: 0o777,
            owner: (0, 0),
            modified: SystemTime::now(),
            links: 1,
            open: 0,
            home: (ROOT, OsString::new()),
        };
        Self {
            inodes: BTreeMap::from([(ROOT, root)]),
            pending: Pending::default(),
            next_inode: ROOT + 1,
            next_cookie: FIRST_COOKIE,
            blocks: 0,
            stop: None,
            stopped: false,
            limit: None,
            faults: Faults::default(),
            counts: Counts::default(),
        }
    }

    // ---- what the test asks

    pub(super) fn stop_after(&mut self, changes: Option<u64>) {
        self.stop = changes;
        if changes == Some(0) {
            self.stopped = true;
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    pub(super) fn used(&self) -> u64 {
        (self.blocks + self.inodes_in_use()) * BLOCK_BYTES
    }

    /// Files, folders and links other than the root that somebody can still reach.
    fn inodes_in_use(&self) -> u64 {
        let used = self.inodes.values().filter(|one| one.links + one.open > 0);
        used.count().saturating_sub(1) as u64
    }

    /// All blocks, and those that are free.
    pub(super) fn room(&self) -> (u64, u64) {
        let limit = self.limit.unwrap_or(UNLIMITED);
        let free = limit.saturating_sub(self.used());
        (limit / BLOCK_BYTES, free / BLOCK_BYTES)
    }

    pub(super) fn cut_power(&mut self, loss: Loss) {
        let mut draw = match loss {
            Loss::Everything => None,
            Loss::Some(seed) => Some(ChaCha8Rng::seed_from_u64(seed)),
        };
        let kept = self.pending.take_first(|count| match &mut draw {
            None => 0,
            Some(draw) => draw.gen_range(0..=count),
        });
        self.apply(kept);
        let old = std::mem::replace(self, Self::new());
        self.limit = old.limit;
        self.faults = old.faults;
        self.counts = old.counts;
        // Numbers are never used twice, so that whoever still holds something open gets errors.
        self.next_inode = old.next_inode;
        self.rebuild(&old.inodes, &mut draw);
    }

    /// Builds the tree anew from what is durable in `old`.
    fn rebuild(&mut self, old: &BTreeMap<u64, Inode>, draw: &mut Option<ChaCha8Rng>) {
        let mut renumbered = BTreeMap::from([(ROOT, ROOT)]);
        let mut folders = vec![ROOT];
        while let Some(folder) = folders.pop() {
            let Some(Inode {
                kind: Kind::Folder(names),
                ..
            }) = old.get(&folder)
            else {
                continue;
            };
            let here = renumbered.get(&folder).copied().unwrap_or(ROOT);
            for (name, number) in &names.durable {
                let Some(inode) = old.get(number) else {
                    continue;
                };
                let known = renumbered.get(number).copied();
                let new = known.unwrap_or_else(|| self.number());
                if known.is_none() {
                    renumbered.insert(*number, new);
                    let kind = match &inode.kind {
                        Kind::File(content) => {
                            let content = content.after_power_loss(draw.as_mut());
                            self.blocks += content.allocated();
                            Kind::File(content)
                        }
                        Kind::Folder(_) => {
                            folders.push(*number);
                            Kind::Folder(Names::default())
                        }
                        Kind::Link(target) => Kind::Link(target.clone()),
                    };
                    let inode = Inode {
                        kind,
                        mode: inode.mode,
                        owner: inode.owner,
                        modified: inode.modified,
                        links: 0,
                        open: 0,
                        home: (here, name.clone()),
                    };
                    self.inodes.insert(new, inode);
                }
                self.put_name(here, name, new);
                if let Some(names) = self.names_mut(here) {
                    names.durable.insert(name.clone(), new);
                }
            }
        }
    }

    // ---- numbers and names

    fn number(&mut self) -> u64 {
        let number = self.next_inode;
        self.next_inode += 1;
        number
    }

    pub(super) fn inode(&self, number: u64) -> Answer<&Inode> {
        self.alive()?;
        self.inodes.get(&number).ok_or(Errno::ESTALE)
    }

    fn names_mut(&mut self, folder: u64) -> Option<&mut Names> {
        match self.inodes.get_mut(&folder) {
            Some(Inode {
                kind: Kind::Folder(names),
                ..
            }) => Some(names),
            _ => None,
        }
    }

    fn names(&self, folder: u64) -> Answer<&Names> {
        match &self.inode(folder)?.kind {
            Kind::Folder(names) => Ok(names),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn put_name(&mut self, folder: u64, name: &OsStr, inode: u64) {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        if let Some(names) = self.names_mut(folder) {
            names.now.insert(name.into(), Entry { inode, cookie });
        }
        if let Some(inode) = self.inodes.get_mut(&inode) {
            inode.links += 1;
            inode.home = (folder, name.into());
        }
    }

    fn take_name(&mut self, folder: u64, name: &OsStr) -> Option<u64> {
        let entry = self.names_mut(folder)?.now.remove(name)?;
        if let Some(inode) = self.inodes.get_mut(&entry.inode) {
            inode.links = inode.links.saturating_sub(1);
        }
        Some(entry.inode)
    }

    /// The path on the disk, without a slash before it.
    fn path(&self, number: u64) -> String {
        let mut parts = Vec::new();
        let mut at = number;
        // A folder that was removed while open may have lost its way to the root.
        while let Some(inode) = self.inodes.get(&at).filter(|_| at != ROOT) {
            let (folder, name) = &inode.home;
            parts.push(name.to_string_lossy().into_owned());
            at = *folder;
        }
        parts.reverse();
        parts.join("/")
    }

    pub(super) fn lookup(&self, folder: u64, name: &OsStr) -> Answer<u64> {
        let entry = self.names(folder)?.now.get(name);
        entry.map(|entry| entry.inode).ok_or(Errno::ENOENT)
    }

    /// The names in a folder after a cookie, in the order of the cookies.
    pub(super) fn list(&self, folder: u64, after: u64) -> Answer<Vec<(u64, Entry, OsString)>> {
        let names = self.names(folder)?;
        let mut listed: Vec<_> = names
            .now
            .iter()
            .filter(|(_, entry)| entry.cookie > after)
            .map(|(name, entry)| (entry.cookie, *entry, name.clone()))
            .collect();
        listed.sort_unstable_by_key(|(cookie, ..)| *cookie);
        Ok(listed)
    }

    pub(super) fn attributes(&self, number: u64) -> Answer<FileAttr> {
        let inode = self.inode(number)?;
        let (kind, size, blocks) = match &inode.kind {
            Kind::File(content) => (FileType::RegularFile, content.length(), content.allocated()),
            Kind::Folder(_) => (FileType::Directory, BLOCK_BYTES, 1),
            Kind::Link(target) => (FileType::Symlink, target.as_os_str().len() as u64, 0),
        };
        Ok(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: blocks * (BLOCK_BYTES / SECTOR_BYTES),
            atime: inode.modified,
            mtime: inode.modified,
            ctime: inode.modified,
            crtime: inode.modified,
            kind,
            perm: inode.mode,
            nlink: inode.links.max(1),
            uid: inode.owner.0,
            gid: inode.owner.1,
            rdev: 0,
            blksize: u32::try_from(BLOCK_BYTES).unwrap_or(SECTOR_BYTES as u32),
            flags: 0,
        })
    }

    // ---- what may fail

    pub(super) fn alive(&self) -> Answer<()> {
        match self.stopped {
            true => Err(Errno::EIO),
            false => Ok(()),
        }
    }

    /// Before anything that changes the disk.
    fn change(&mut self) -> Answer<()> {
        self.alive()?;
        if let Some(left) = &mut self.stop {
            match left.checked_sub(1) {
                Some(less) => *left = less,
                None => {
                    self.stopped = true;
                    return Err(Errno::EIO);
                }
            }
        }
        self.counts.changes += 1;
        Ok(())
    }

    fn fault(&mut self, act: Act, number: u64) -> Answer<()> {
        if self.faults.concern(act) && self.faults.hit(act, &self.path(number)) {
            self.counts.failed += 1;
            return Err(Errno::EIO);
        }
        Ok(())
    }

    fn full(&mut self) -> Errno {
        self.counts.failed += 1;
        Errno::ENOSPC
    }

    // ---- content

    fn content(&mut self, number: u64) -> Answer<&mut Content> {
        match self.inodes.get_mut(&number) {
            Some(Inode {
                kind: Kind::File(content),
                modified,
                ..
            }) => {
                *modified = SystemTime::now();
                Ok(content)
            }
            Some(Inode {
                kind: Kind::Folder(_),
                ..
            }) => Err(Errno::EISDIR),
            Some(_) => Err(Errno::EINVAL),
            None => Err(Errno::ESTALE),
        }
    }

    pub(super) fn read(&mut self, number: u64, offset: u64, size: usize) -> Answer<Vec<u8>> {
        self.alive()?;
        self.fault(Act::Read, number)?;
        self.counts.reads += 1;
        match &self.inode(number)?.kind {
            Kind::File(content) => Ok(content.read(offset, size)),
            Kind::Folder(_) => Err(Errno::EISDIR),
            Kind::Link(_) => Err(Errno::EINVAL),
        }
    }

    pub(super) fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Answer<usize> {
        self.change()?;
        self.fault(Act::Write, number)?;
        let (_, room) = self.room();
        let content = self.content(number)?;
        let before = content.allocated();
        let written = content.write(offset, bytes, room);
        let after = content.allocated();
        self.blocks = self.blocks + after - before;
        self.counts.writes += 1;
        self.counts.bytes_written += written as u64;
        match written {
            0 if !bytes.is_empty() => Err(self.full()),
            written => Ok(written),
        }
    }

    pub(super) fn set_length(&mut self, number: u64, length: u64) -> Answer<()> {
        self.change()?;
        self.reshape(number, |content| content.set_length(length))
    }

    pub(super) fn punch(&mut self, number: u64, from: u64, to: u64) -> Answer<()> {
        self.change()?;
        self.reshape(number, |content| content.punch(from, to))
    }

    fn reshape(&mut self, number: u64, change: impl FnOnce(&mut Content)) -> Answer<()> {
        let content = self.content(number)?;
        let before = content.allocated();
        change(content);
        let after = content.allocated();
        self.blocks = self.blocks + after - before;
        Ok(())
    }

    /// Room is not set apart, but there has to be some.
    pub(super) fn reserve(&mut self, number: u64, end: u64, grow: bool) -> Answer<()> {
        self.change()?;
        let (_, room) = self.room();
        let content = self.content(number)?;
        let more = end
            .div_ceil(BLOCK_BYTES)
            .saturating_sub(content.allocated());
        if more > room {
            return Err(self.full());
        }
        if grow && end > content.length() {
            content.set_length(end);
        }
        Ok(())
    }

    pub(super) fn sync(&mut self, number: u64) -> Answer<()> {
        self.change()?;
        self.counts.syncs += 1;
        let failed = self.fault(Act::Sync, number);
        if let Kind::File(content) = &mut self.inodes.get_mut(&number).ok_or(Errno::ESTALE)?.kind {
            match failed {
                Ok(()) => content.sync(),
                Err(_) => content.fail_sync(),
            }
        }
        failed
    }

    pub(super) fn sync_folder(&mut self, number: u64) -> Answer<()> {
        self.change()?;
        self.counts.folder_syncs += 1;
        self.names(number)?;
        self.fault(Act::Sync, number)?;
        let durable = self.pending.take_for(number);
        self.apply(durable);
        self.forget_unreachable();
        Ok(())
    }

    fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            if let Some(names) = self.names_mut(change.folder) {
                match change.inode {
                    Some(inode) => names.durable.insert(change.name, inode),
                    None => names.durable.remove(&change.name),
                };
            }
        }
    }

    /// Drops what has no name, is not open, and would not come back with a loss of power.
    fn forget_unreachable(&mut self) {
        let mut reached: BTreeSet<u64> = self.pending.inodes().collect();
        reached.insert(ROOT);
        let held = self.inodes.iter().filter(|(_, one)| one.open > 0);
        reached.extend(held.map(|(number, _)| *number));
        let mut walk: Vec<u64> = reached.iter().copied().collect();
        while let Some(number) = walk.pop() {
            if let Some(Inode {
                kind: Kind::Folder(names),
                ..
            }) = self.inodes.get(&number)
            {
                let now = names.now.values().map(|entry| entry.inode);
                for child in now.chain(names.durable.values().copied()) {
                    if reached.insert(child) {
                        walk.push(child);
                    }
                }
            }
        }
        self.inodes.retain(|number, _| reached.contains(number));
    }

    /// Gives back the room of a file that nobody can reach any more.
    fn let_go(&mut self, number: u64) {
        if let Some(Inode {
            kind: Kind::File(content),
            links: 0,
            open: 0,
            ..
        }) = self.inodes.get_mut(&number)
        {
            self.blocks = self.blocks.saturating_sub(content.allocated());
            content.let_go();
        }
    }

    pub(super) fn opened(&mut self, number: u64) -> Answer<()> {
        self.alive()?;
        let inode = self.inodes.get_mut(&number).ok_or(Errno::ESTALE)?;
        inode.open += 1;
        Ok(())
    }

    /// Also on a disk that has stopped: it is the kernel that asks, not a process.
    pub(super) fn closed(&mut self, number: u64) {
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.open = inode.open.saturating_sub(1);
        }
        self.let_go(number);
    }

    pub(super) fn set_mode(&mut self, number: u64, mode: u16) -> Answer<()> {
        self.change()?;
        self.inodes.get_mut(&number).ok_or(Errno::ESTALE)?.mode = mode;
        Ok(())
    }

    pub(super) fn set_modified(&mut self, number: u64, time: SystemTime) -> Answer<()> {
        self.change()?;
        self.inodes.get_mut(&number).ok_or(Errno::ESTALE)?.modified = time;
        Ok(())
    }

    pub(super) fn set_owner(&mut self, number: u64, owner: (u32, u32)) -> Answer<()> {
        self.change()?;
        self.inodes.get_mut(&number).ok_or(Errno::ESTALE)?.owner = owner;
        Ok(())
    }

    // ---- names made, changed and removed

    pub(super) fn make(
        &mut self,
        folder: u64,
        name: &OsStr,
        kind: Kind,
        mode: u16,
        owner: (u32, u32),
    ) -> Answer<u64> {
        self.change()?;
        if self.names(folder)?.now.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        if self.room().1 == 0 {
            return Err(self.full());
        }
        let number = self.number();
        let inode = Inode {
            kind,
            mode,
            owner,
            modified: SystemTime::now(),
            links: 0,
            open: 0,
            home: (folder, name.into()),
        };
        self.inodes.insert(number, inode);
        self.put_name(folder, name, number);
        self.pending.push(vec![named(folder, name, Some(number))]);
        Ok(number)
    }

    pub(super) fn link(&mut self, number: u64, folder: u64, name: &OsStr) -> Answer<()> {
        self.change()?;
        self.inode(number)?;
        if self.names(folder)?.now.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        self.put_name(folder, name, number);
        self.pending.push(vec![named(folder, name, Some(number))]);
        Ok(())
    }

    pub(super) fn remove(&mut self, folder: u64, name: &OsStr, is_folder: bool) -> Answer<()> {
        self.change()?;
        let number = self.lookup(folder, name)?;
        match &self.inode(number)?.kind {
            Kind::Folder(_) if !is_folder => return Err(Errno::EISDIR),
            Kind::Folder(names) if !names.now.is_empty() => return Err(Errno::ENOTEMPTY),
            Kind::File(_) | Kind::Link(_) if is_folder => return Err(Errno::ENOTDIR),
            _ => {}
        }
        self.take_name(folder, name);
        self.pending.push(vec![named(folder, name, None)]);
        self.let_go(number);
        Ok(())
    }

    pub(super) fn rename(
        &mut self,
        from: (u64, &OsStr),
        to: (u64, &OsStr),
        replace: bool,
    ) -> Answer<()> {
        self.change()?;
        let moved = self.lookup(from.0, from.1)?;
        let over = self.names(to.0)?.now.get(to.1).map(|entry| entry.inode);
        if over == Some(moved) {
            return Ok(());
        }
        if let Some(over) = over {
            if !replace {
                return Err(Errno::EEXIST);
            }
            let is_folder = matches!(self.inode(moved)?.kind, Kind::Folder(_));
            match &self.inode(over)?.kind {
                Kind::Folder(names) if is_folder && names.now.is_empty() => {}
                Kind::Folder(_) if is_folder => return Err(Errno::ENOTEMPTY),
                Kind::Folder(_) => return Err(Errno::EISDIR),
                _ if is_folder => return Err(Errno::ENOTDIR),
                _ => {}
            }
            self.take_name(to.0, to.1);
        }
        self.take_name(from.0, from.1);
        self.put_name(to.0, to.1, moved);
        let step = vec![named(from.0, from.1, None), named(to.0, to.1, Some(moved))];
        self.pending.push(step);
        if let Some(over) = over {
            self.let_go(over);
        }
        Ok(())
    }

    pub(super) fn exchange(&mut self, one: (u64, &OsStr), other: (u64, &OsStr)) -> Answer<()> {
        self.change()?;
        let (first, second) = (self.lookup(one.0, one.1)?, self.lookup(other.0, other.1)?);
        self.take_name(one.0, one.1);
        self.take_name(other.0, other.1);
        self.put_name(one.0, one.1, second);
        self.put_name(other.0, other.1, first);
        let step = vec![
            named(one.0, one.1, Some(second)),
            named(other.0, other.1, Some(first)),
        ];
        self.pending.push(step);
        Ok(())
    }
}

fn named(folder: u64, name: &OsStr, inode: Option<u64>) -> Change {
    Change {
        folder,
        name: name.into(),
        inode,
    }
}

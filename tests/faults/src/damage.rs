//! Damage to files: what a disk does to them, and the table of every kind of file that a node, a
//! market or a client keeps. It needs nothing but the standard library, so that every crate's tests
//! can walk their own real folders by it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// One bit is another.
    Flip {
        /// In which byte.
        byte: u64,
        /// Which bit of it.
        bit: u8,
    },
    /// It ends here.
    Cut(u64),
    /// Reading it is an error: a folder has its name.
    Unreadable,
    /// It is gone.
    Gone,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flip { byte, bit } => write!(f, "bit {bit} of byte {byte} flipped"),
            Self::Cut(length) => write!(f, "cut to {length} bytes"),
            Self::Unreadable => f.write_str("unreadable"),
            Self::Gone => f.write_str("gone"),
        }
    }
}

impl Damage {
    /// Flips at the start, the middle, the end and `more` places between; cut to nothing, to half
    /// and by one byte; unreadable; gone. The same for the same seed.
    pub fn all(length: u64, more: u64, seed: u64) -> Vec<Self> {
        let mut draws = Draws(seed);
        let mut all = Vec::new();
        if let Some(last) = length.checked_sub(1) {
            let places = [0, last / 2, last].into_iter();
            let places = places.chain((0..more).map(|_| draws.next() % length));
            for byte in places.collect::<Vec<_>>() {
                let bit = (draws.next() % 8) as u8;
                all.push(Self::Flip { byte, bit });
            }
            all.extend([0, length / 2, last].map(Self::Cut));
        }
        all.extend([Self::Unreadable, Self::Gone]);
        all.dedup();
        all
    }

    /// Flips its bit where it lies, in a file that somebody may have open.
    ///
    /// # Panics
    /// Where the file is gone or too short, and for any other damage.
    pub fn apply_in_place(self, path: &Path) {
        use std::os::unix::fs::FileExt;
        let Self::Flip { byte, bit } = self else {
            panic!("{self} is not done in place");
        };
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        let mut one = [0];
        file.read_exact_at(&mut one, byte).unwrap();
        file.write_all_at(&[one[0] ^ (1 << bit)], byte).unwrap();
    }

    /// Does it to a file.
    pub fn apply(self, path: &Path) {
        match self {
            Self::Flip { byte, bit } => {
                let mut bytes = fs::read(path).unwrap();
                bytes[usize::try_from(byte).unwrap()] ^= 1 << bit;
                fs::write(path, bytes).unwrap();
            }
            Self::Cut(length) => {
                let file = fs::OpenOptions::new().write(true).open(path).unwrap();
                file.set_len(length).unwrap();
            }
            Self::Unreadable => {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            }
            Self::Gone => fs::remove_file(path).unwrap(),
        }
    }
}

/// Does every damage to a copy of a folder, one after the other: to the file at `below` in it. `then`
/// looks at the copy.
pub fn each(
    folder: &Path,
    below: &Path,
    more: u64,
    seed: u64,
    mut then: impl FnMut(&Path, Damage),
) {
    let length = fs::metadata(folder.join(below)).unwrap().len();
    for damage in Damage::all(length, more, seed) {
        let place = Scratch::of(folder);
        damage.apply(&place.0.join(below));
        then(&place.0, damage);
    }
}

/// A copy of a folder, beside it, that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn of(folder: &Path) -> Self {
        let mut name = folder.as_os_str().to_owned();
        name.push(".damaged");
        let scratch = Self(name.into());
        copy(folder, &scratch.0);
        scratch
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What must hold of any damage: an error that names the file, or the same as without it.
pub fn assert_named_or_same<T: PartialEq + fmt::Debug>(
    found: Result<T, String>,
    whole: &T,
    name: &str,
    what: &dyn fmt::Display,
) -> bool {
    match found {
        Ok(found) => {
            assert_eq!(&found, whole, "{name}, {what}: passes as something else");
            false
        }
        Err(error) => {
            assert!(error.contains(name), "{name}, {what}: {error}");
            true
        }
    }
}

/// SplitMix64: a few numbers from a seed, without another crate.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Whose folder a file lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A node's data folder.
    Node,
    /// A market's data folder.
    Market,
    /// A wallet's folder.
    Wallet,
    /// What `--network` takes, the testnet's record and logs in it.
    Network,
    /// The cache of proving parameters.
    Parameters,
}

/// What becomes of damage to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Becomes {
    /// A typed error that names the file; nothing is changed.
    Refused,
    /// Put right by the program: from a copy, from the network, or by making it again.
    Healed,
    /// Nothing that anybody relies on is in it.
    Harmless,
}

/// A kind of file.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// In whose folder.
    pub owner: Owner,
    /// Its path there; `*` is any part of a name.
    pub path: &'static str,
    /// What becomes of damage to it.
    pub becomes: Becomes,
    /// The test that damages it and shows so.
    pub test: &'static str,
}

const fn kind(owner: Owner, path: &'static str, becomes: Becomes, test: &'static str) -> Kind {
    Kind {
        owner,
        path,
        becomes,
        test,
    }
}

const JOURNAL: &str = "damage_to_any_file_of_the_journal_is_refused_by_name_or_changes_nothing";
const LEDGER: &str = "damage_to_any_file_of_the_ledger_is_refused_by_name_or_changes_nothing";
const PHRASE: &str = "a_damaged_phrase_is_refused_by_name";
const FOLDER: &str = "a_damaged_identity_is_refused_by_name_and_a_damaged_lock_is_none";
const SHARD: &str = "a_shard_whose_file_is_damaged_is_rebuilt_from_others_of_its_pack";
const MANIFEST: &str =
    "a_manifest_that_is_damaged_or_gone_comes_back_from_its_copy_and_the_copy_from_it";
const LAYERS: &str = "layers_and_columns_come_back_from_a_seal_beside";
const REPLICA: &str = "a_sector_with_damaged_groups_is_put_right_and_misses_no_deadline";
const STAGED: &str = "an_embed_whose_files_are_damaged_is_written_again_and_proven";
const UPLOAD: &str = "a_damaged_journal_of_an_upload_is_named_with_the_way_out";
const NETWORK: &str = "a_damaged_network_folder_is_refused_by_name";
const PARAMETERS: &str = "damaged_parameters_are_refused_by_name";
const MAKING: &str =
    "a_testnet_whose_start_and_stop_are_killed_is_started_and_stopped_by_the_same_commands";
const LOG: &str = "the_end_of_a_log_is_told_as_it_is_and_one_that_cannot_be_read_is_said_to_be";

/// Every kind of file.
pub const KINDS: &[Kind] = &[
    kind(Owner::Node, "phrase.key", Becomes::Refused, PHRASE),
    kind(Owner::Node, "folder.json", Becomes::Refused, FOLDER),
    kind(Owner::Node, "lock", Becomes::Harmless, FOLDER),
    kind(
        Owner::Node,
        "status.json",
        Becomes::Refused,
        "a_damaged_report_stops_nobody_and_is_told",
    ),
    kind(Owner::Node, "node.db.mark", Becomes::Healed, JOURNAL),
    kind(Owner::Node, "node.db/CURRENT", Becomes::Refused, JOURNAL),
    kind(Owner::Node, "node.db/MANIFEST-*", Becomes::Refused, JOURNAL),
    kind(Owner::Node, "node.db/*.log", Becomes::Refused, JOURNAL),
    kind(Owner::Node, "node.db/*.sst", Becomes::Refused, JOURNAL),
    kind(Owner::Node, "node.db/OPTIONS-*", Becomes::Harmless, JOURNAL),
    kind(Owner::Node, "node.db/IDENTITY", Becomes::Harmless, JOURNAL),
    kind(Owner::Node, "node.db/LOCK", Becomes::Harmless, JOURNAL),
    kind(Owner::Node, "node.db/LOG*", Becomes::Harmless, JOURNAL),
    kind(Owner::Node, "shards/*-*", Becomes::Healed, SHARD),
    kind(
        Owner::Node,
        "sectors/*/sector.json",
        Becomes::Healed,
        MANIFEST,
    ),
    kind(
        Owner::Node,
        "sectors/*/sector.copy.json",
        Becomes::Healed,
        MANIFEST,
    ),
    kind(Owner::Node, "sectors/*/lock", Becomes::Harmless, FOLDER),
    kind(Owner::Node, "sectors/*/layer-*", Becomes::Healed, LAYERS),
    kind(Owner::Node, "sectors/*/columns", Becomes::Healed, LAYERS),
    kind(
        Owner::Node,
        "sectors/*/groups/*.replica",
        Becomes::Healed,
        REPLICA,
    ),
    kind(
        Owner::Node,
        "sectors/*/groups/*.data",
        Becomes::Healed,
        REPLICA,
    ),
    kind(
        Owner::Node,
        "sectors/*/groups/*.key",
        Becomes::Healed,
        STAGED,
    ),
    kind(
        Owner::Market,
        "validator.key",
        Becomes::Refused,
        "a_damaged_validator_key_is_refused_by_name",
    ),
    kind(
        Owner::Market,
        "consensus.signed",
        Becomes::Refused,
        "a_damaged_guard_is_refused_by_name",
    ),
    kind(
        Owner::Market,
        "consensus-1.wal",
        Becomes::Refused,
        "a_damaged_log_of_the_engine_is_healed_or_refused_by_name",
    ),
    kind(
        Owner::Market,
        "consensus-watch.wal",
        Becomes::Harmless,
        "a_validator_whose_log_is_gone_watches_at_every_start_until_its_height_is_decided",
    ),
    kind(
        Owner::Market,
        "candidates/*-*",
        Becomes::Healed,
        "a_damaged_candidate_is_dropped",
    ),
    kind(Owner::Market, "folder.json", Becomes::Refused, FOLDER),
    kind(Owner::Market, "lock", Becomes::Harmless, FOLDER),
    kind(Owner::Market, "ledger.mark", Becomes::Healed, LEDGER),
    kind(Owner::Market, "ledger/CURRENT", Becomes::Refused, LEDGER),
    kind(Owner::Market, "ledger/MANIFEST-*", Becomes::Refused, LEDGER),
    kind(Owner::Market, "ledger/*.log", Becomes::Refused, LEDGER),
    kind(Owner::Market, "ledger/*.sst", Becomes::Refused, LEDGER),
    kind(Owner::Market, "ledger/OPTIONS-*", Becomes::Harmless, LEDGER),
    kind(Owner::Market, "ledger/IDENTITY", Becomes::Harmless, LEDGER),
    kind(Owner::Market, "ledger/LOCK", Becomes::Harmless, LEDGER),
    kind(Owner::Market, "ledger/LOG*", Becomes::Harmless, LEDGER),
    kind(Owner::Wallet, "phrase.key", Becomes::Refused, PHRASE),
    kind(Owner::Wallet, "folder.json", Becomes::Refused, FOLDER),
    kind(Owner::Wallet, "lock", Becomes::Harmless, FOLDER),
    kind(
        Owner::Wallet,
        "catalogue.sealed",
        Becomes::Healed,
        "a_catalogue_that_is_damaged_or_lost_is_read_from_the_network_again",
    ),
    kind(Owner::Wallet, "journal/*/plan", Becomes::Refused, UPLOAD),
    kind(
        Owner::Wallet,
        "journal/*/progress",
        Becomes::Refused,
        UPLOAD,
    ),
    kind(
        Owner::Wallet,
        "receipts/*",
        Becomes::Refused,
        "a_damaged_receipt_shows_nothing",
    ),
    kind(Owner::Network, "network.toml", Becomes::Refused, NETWORK),
    kind(Owner::Network, "genesis.cbor", Becomes::Refused, NETWORK),
    kind(
        Owner::Network,
        "verifying-keys.cbor",
        Becomes::Refused,
        NETWORK,
    ),
    kind(
        Owner::Network,
        "testnet.json",
        Becomes::Refused,
        "a_damaged_record_is_refused_by_name",
    ),
    kind(
        Owner::Network,
        "light.json",
        Becomes::Refused,
        "a_file_that_is_damaged_late_or_of_another_network_is_refused_with_a_way_out",
    ),
    kind(Owner::Network, ".making", Becomes::Harmless, MAKING),
    kind(Owner::Network, "logs/*", Becomes::Harmless, LOG),
    kind(Owner::Parameters, "*.params", Becomes::Refused, PARAMETERS),
    kind(Owner::Parameters, "*.key", Becomes::Refused, PARAMETERS),
    kind(Owner::Parameters, "*.digest", Becomes::Refused, PARAMETERS),
    kind(
        Owner::Parameters,
        "lock",
        Becomes::Harmless,
        "processes_that_ask_at_once_share_one_making",
    ),
];

/// Files that lie there for a moment, under a name that says so: whoever finds one left behind by a
/// kill removes it or writes over it.
const PASSING: &[&str] = &[".new", ".part", ".tmp"];

/// The kind of a file at a path below its owner's folder.
pub fn kind_of(owner: Owner, below: &Path) -> Option<&'static Kind> {
    KINDS
        .iter()
        .find(|kind| kind.owner == owner && matches(Path::new(kind.path), below))
}

/// Files below an owner's folder that no row of the table names.
pub fn unknown(owner: Owner, folder: &Path) -> Vec<PathBuf> {
    let passing = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| PASSING.iter().any(|end| name.ends_with(end)))
    };
    files(folder)
        .into_iter()
        .filter(|path| {
            let below = path.strip_prefix(folder).unwrap();
            kind_of(owner, below).is_none() && !passing(path)
        })
        .collect()
}

/// Files of a whole testnet's folder that no row of the table names.
pub fn unknown_in_testnet(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let owner = match name {
            name if name == "market" || name.starts_with("market-") => Owner::Market,
            "wallet" => Owner::Wallet,
            name if name.starts_with("node-") => Owner::Node,
            _ => continue,
        };
        found.extend(unknown(owner, &path));
    }
    let ours = |path: &PathBuf| {
        let below = path.strip_prefix(folder).unwrap();
        let first = below.iter().next().unwrap().to_str().unwrap();
        let theirs = ["market-", "node-"];
        !["market", "wallet"].contains(&first)
            && !theirs.iter().any(|begin| first.starts_with(begin))
    };
    found.extend(unknown(Owner::Network, folder).into_iter().filter(ours));
    found
}

/// Every file below a folder, in order.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn matches(pattern: &Path, path: &Path) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.iter().collect(), path.iter().collect());
    pattern.len() == path.len()
        && pattern.iter().zip(path).all(|(pattern, name)| {
            let (pattern, name) = (pattern.to_str().unwrap(), name.to_str().unwrap());
            fits(pattern, name)
        })
}

/// Whether a name has the pattern's parts in order, the first at its beginning and the last at its
/// end.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        last = Some(part);
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    match last {
        None => rest.is_empty(),
        Some(end) => end.is_empty() || name.ends_with(end),
    }
}

/// A folder and everything in it, to be damaged.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in files(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&path, target).unwrap();
    }
}

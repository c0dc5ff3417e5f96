//! The wallet: a phrase that was shown as made, a catalogue and an upload's journal that were saved.

use super::{loss, with_seeds};
use holdfast_client::catalogue::Catalogue;
use holdfast_client::error::ClientError;
use holdfast_client::journal::{Journal, Plan, StorageTerms};
use holdfast_client::manifest::{Kind, Manifest};
use holdfast_client::packing::{plan, record};
use holdfast_client::restore::Restoration;
use holdfast_client::walk::Source;
use holdfast_client::wallet::Wallet;
use holdfast_faults::disk::{Disk, Loss};
use holdfast_market_core::units::{ByteCount, NetworkId, PackId, Periods};
use holdfast_testnet::Tree;
use rand::Rng;
use std::io::Write;
use std::path::{Path, PathBuf};

const NETWORK: NetworkId = NetworkId([4; 32]);

fn a_plan(source: &Path, name: &str) -> Plan {
    let terms = StorageTerms {
        data_shards: 3,
        total_shards: 6,
        term: Periods(9),
    };
    let source = Source::walk(source).unwrap();
    plan(
        source,
        name,
        terms,
        ByteCount(1 << 20),
        &Catalogue::default(),
        17,
    )
    .unwrap()
}

#[test]
fn a_wallet_is_there_once_it_was_shown_as_made_and_whole_or_absent_before() {
    with_seeds(20, |disk, draw| {
        let path = disk.path().join("deep/in/wallet");
        disk.stop_after(draw.gen_range(1..14));
        let made = Wallet::create(&path, None).map(|wallet| wallet.address());
        disk.cut_power(loss(draw));
        match (made, Wallet::open(&path)) {
            (Ok(address), wallet) => assert_eq!(wallet.unwrap().address(), address),
            (Err(_), Ok(_)) => {}
            (Err(_), Err(error)) => {
                assert!(error.to_string().contains("has no wallet"), "{error}");
                Wallet::create(&path, None).unwrap();
            }
        }
    });
}

/// What one life of a wallet has acknowledged.
#[derive(Default)]
struct Saved {
    /// Names in the catalogue that was saved last, and one that may have been.
    catalogue: Catalogue,
    tried: Option<Catalogue>,
    /// How often the upload's progress was saved, and whether once more was tried.
    progress: Option<u64>,
    trying: bool,
    /// Whether the upload was forgotten, and whether that was tried.
    removed: bool,
    removing: bool,
    receipts: Vec<String>,
}

impl Saved {
    /// Works until something fails.
    fn work(&mut self, wallet: &Wallet, source: &Path, steps: u64) -> Result<(), ClientError> {
        let _held = wallet.lock(NETWORK)?;
        let key = || wallet.wrapping_key();
        for step in 0..steps {
            let plan = a_plan(source, "upload");
            let found = Journal::find(&wallet.journal()?, key(), &plan.source.root, "upload")?;
            let mut journal = match found {
                Some(journal) => journal,
                None => {
                    self.trying = true;
                    let journal = Journal::begin(&wallet.journal()?, key(), plan)?;
                    (self.progress, self.trying) = (Some(0), false);
                    (self.removed, self.removing) = (false, false);
                    journal
                }
            };
            journal.progress.version += 1;
            self.trying = true;
            journal.save()?;
            (self.progress, self.trying) = (Some(journal.progress.version), false);

            let receipt = format!("receipt-{}.json", self.receipts.len());
            let folder = wallet.receipts()?;
            holdfast_wire::atomic::write(&folder.join(&receipt), b"{}", 0o600).map_err(
                |source| ClientError::Io {
                    path: folder,
                    source,
                },
            )?;
            self.receipts.push(receipt);

            let mut next = self.catalogue.clone();
            let name = format!("object {}", next.objects().len());
            let pack = Some(PackId([1; 32]));
            next.insert(record(&a_plan(source, &name), vec![pack], &key())?);
            self.tried = Some(next.clone());
            wallet.save_catalogue(&next)?;
            (self.catalogue, self.tried) = (next, None);

            if step % 3 == 2 {
                self.removing = true;
                journal.remove()?;
                (self.removed, self.progress) = (true, None);
            }
        }
        Ok(())
    }

    fn check(&mut self, wallet: &Wallet, source: &Path) {
        let found = wallet.catalogue().unwrap();
        assert!(found == self.catalogue || Some(&found) == self.tried.as_ref());
        (self.catalogue, self.tried) = (found, None);
        for receipt in &self.receipts {
            let path = wallet.path().join("receipts").join(receipt);
            assert_eq!(std::fs::read(&path).unwrap(), b"{}", "{}", path.display());
        }
        let root = Source::walk(source).unwrap().root;
        let journals = wallet.path().join("journal");
        let journal = Journal::find(&journals, wallet.wrapping_key(), &root, "upload");
        match journal.unwrap() {
            Some(journal) => {
                assert!(
                    !self.removed || self.trying,
                    "an upload that was done is begun again"
                );
                let saved = self.progress.unwrap_or(0);
                let version = journal.progress.version;
                assert!(
                    version == saved || self.trying && version == saved + 1,
                    "{saved} was saved, {version} is there"
                );
                self.progress = Some(version);
            }
            None => {
                assert!(
                    self.progress.is_none() || self.removing,
                    "an upload was forgotten"
                );
                self.progress = None;
            }
        }
        (self.trying, self.removed, self.removing) = (false, false, false);
    }
}

#[test]
fn a_catalogue_a_receipt_and_an_uploads_progress_survive_a_loss_of_power_at_any_moment() {
    let source = tempfile::tempdir().unwrap();
    let source = source.path().join("file");
    std::fs::write(&source, "some bytes").unwrap();
    with_seeds(12, |disk, draw| {
        let path = disk.path().join("home/wallet");
        let address = Wallet::create(&path, None).unwrap().address();
        let mut saved = Saved::default();
        for _ in 0..4 {
            let wallet = Wallet::open(&path).unwrap();
            assert_eq!(wallet.address(), address);
            saved.check(&wallet, &source);
            disk.stop_after(draw.gen_range(1..120));
            let _ = saved.work(&wallet, &source, draw.gen_range(1..8));
            disk.cut_power(loss(draw));
        }
        let wallet = Wallet::open(&path).unwrap();
        saved.check(&wallet, &source);
        saved.work(&wallet, &source, 3).unwrap();
        saved.check(&wallet, &source);
    });
}

/// Writes a tree as `get` does: old or new, whole.
fn restore(manifest: &Manifest, to: &Path) -> Result<PathBuf, ClientError> {
    let restoration = Restoration::begin(manifest, to, true)?;
    for (index, entry) in manifest.entries().iter().enumerate() {
        if let Kind::File { size, .. } = &entry.kind {
            let (mut file, path) = restoration.create(index)?;
            let bytes = vec![7; usize::try_from(size.0).unwrap()];
            file.write_all(&bytes)
                .map_err(|source| ClientError::Io { path, source })?;
        }
    }
    restoration.finish()
}

#[test]
fn what_a_get_has_put_in_place_is_there_and_whole_after_a_loss_of_power_and_on_a_full_disk() {
    let source = tempfile::tempdir().unwrap();
    let tree = source.path().join("tree");
    std::fs::create_dir_all(tree.join("inner/empty")).unwrap();
    for name in ["one", "inner/two"] {
        std::fs::write(tree.join(name), vec![7; 20_000]).unwrap();
    }
    let manifest = a_plan(&tree, "tree").manifest;
    let whole = |path: &Path| {
        Tree::read(&tree)
            .unwrap()
            .differences(&Tree::read(path).unwrap())
    };
    with_seeds(12, |disk, draw| {
        let to = disk.path().join("deep/back");
        let mut there = false;
        for _ in 0..4 {
            disk.stop_after(draw.gen_range(1..45));
            there |= restore(&manifest, &to).is_ok();
            disk.cut_power(loss(draw));
            let found = to.join("tree");
            match found.exists() {
                true => assert_eq!(whole(&found), Vec::<String>::new()),
                false => assert!(!there, "a get that was done is gone"),
            }
            there = found.exists();
        }
        // What the interrupted ones have left is cleared away first, and would make room.
        restore(&manifest, &to).unwrap();
        disk.limit(disk.used() + draw.gen_range(0..9) * 4096);
        let sentence = restore(&manifest, &to).unwrap_err().to_string();
        assert!(sentence.contains("No space left"), "{sentence}");
        assert_eq!(whole(&to.join("tree")), Vec::<String>::new());
        disk.no_limit();
        restore(&manifest, &to).unwrap();
        assert_eq!(whole(&to.join("tree")), Vec::<String>::new());
        // What was interrupted left nothing beside it.
        assert_eq!(std::fs::read_dir(&to).unwrap().count(), 1);
    });
}

#[test]
fn a_wallet_on_a_full_disk_says_so_in_one_sentence_and_goes_on_when_there_is_room() {
    let source = tempfile::tempdir().unwrap();
    let source = source.path().join("file");
    std::fs::write(&source, "some bytes").unwrap();
    let mut places = 0;
    for blocks in 0.. {
        let disk = Disk::mount().unwrap();
        let path = disk.path().join("wallet");
        Wallet::create(&path, None).unwrap();
        let wallet = Wallet::open(&path).unwrap();
        let mut saved = Saved::default();
        saved.work(&wallet, &source, 1).unwrap();
        disk.limit(disk.used() + blocks * 4096);
        match saved.work(&wallet, &source, 4) {
            Ok(()) => break,
            Err(error) => {
                let sentence = error.to_string();
                assert!(sentence.contains("No space left"), "{sentence}");
                assert!(sentence.contains(path.to_str().unwrap()), "{sentence}");
                assert!(!sentence.contains('\n'), "{sentence}");
            }
        }
        saved.check(&wallet, &source);
        let left: Vec<_> = std::fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".new"))
            .collect();
        assert!(left.is_empty(), "half-written files stay: {left:?}");
        disk.no_limit();
        saved.work(&wallet, &source, 3).unwrap();
        saved.check(&wallet, &source);
        disk.cut_power(Loss::Everything);
        saved.check(&wallet, &source);
        places += 1;
    }
    assert!(places > 3, "the disk was full at {places} places only");
}

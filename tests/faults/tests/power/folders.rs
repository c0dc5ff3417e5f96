//! Data folders, network folders and single files: whole or absent, and there once acknowledged.

use super::{loss, with_seeds};
use holdfast_faults::disk::{Disk, Loss};
use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::message::encode;
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::units::NetworkId;
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_wire::atomic;
use holdfast_wire::folder::{DataFolder, FolderKind};
use holdfast_wire::network::NetworkFolder;
use rand::Rng;
use std::path::Path;

#[test]
fn a_file_written_whole_is_the_old_or_the_new_and_the_new_once_acknowledged() {
    with_seeds(40, |disk, draw| {
        let path = disk.path().join("file");
        atomic::write(&path, &[1; 9000], 0o600).unwrap();
        let mut last = 1;
        for number in 2..=9 {
            disk.stop_after(draw.gen_range(0..9));
            if atomic::write(&path, &[number; 9000], 0o600).is_ok() {
                last = number;
            }
            disk.cut_power(loss(draw));
            let read = std::fs::read(&path).unwrap();
            assert!(
                read == [last; 9000] || read == [number; 9000],
                "{} bytes of {:?} instead of {last} or {number}",
                read.len(),
                read.first()
            );
            last = read[0];
        }
    });
}

#[test]
fn a_write_that_finds_no_room_leaves_the_old_file_and_nothing_beside_it() {
    let disk = Disk::mount().unwrap();
    let path = disk.path().join("file");
    atomic::write(&path, b"old", 0o600).unwrap();
    disk.limit(disk.used() + 8192);
    let error = atomic::write(&path, &[1; 100_000], 0o600).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(disk.path()).unwrap().count(), 1);
    disk.no_limit();
    atomic::write(&path, &[1; 100_000], 0o600).unwrap();
}

#[test]
fn a_data_folder_that_was_opened_is_its_networks_and_kinds_after_a_loss_of_power() {
    let network = NetworkId([1; 32]);
    with_seeds(20, |disk, draw| {
        let path = disk.path().join("deep/in/data");
        disk.stop_after(draw.gen_range(1..16));
        let opened = DataFolder::open(&path, FolderKind::Node, network).is_ok();
        disk.cut_power(loss(draw));
        let other = DataFolder::open(&path, FolderKind::Node, NetworkId([2; 32]));
        if opened {
            assert!(
                other
                    .unwrap_err()
                    .to_string()
                    .contains("belongs to network")
            );
        }
    });
}

#[test]
fn a_network_folder_is_whole_once_made_and_can_be_made_again_where_it_was_not() {
    let keys = VerifyingKeys::new();
    let genesis = Genesis {
        name: "test".into(),
        time: 0,
        parameters: Parameters::dev(),
        verifying_keys: keys.digest(),
        balances: vec![],
        validators: vec![],
    };
    let keys = encode(&keys).unwrap();
    let make = |path: &Path| {
        NetworkFolder::create(path, &genesis, &keys, "http://127.0.0.1:1", Path::new("p"))
    };
    with_seeds(20, |disk, draw| {
        let path = disk.path().join("deep/in/network");
        disk.stop_after(draw.gen_range(1..30));
        let made = make(&path).is_ok();
        disk.cut_power(loss(draw));
        let whole = NetworkFolder::open(&path).and_then(|folder| folder.verifying_keys());
        if made {
            whole.unwrap();
        } else {
            make(&path).unwrap();
        }
    });
    // The settings come last: where they are, everything is.
    let disk = Disk::mount().unwrap();
    make(&disk.path().join("network")).unwrap();
    disk.cut_power(Loss::Everything);
    NetworkFolder::open(&disk.path().join("network")).unwrap();
}

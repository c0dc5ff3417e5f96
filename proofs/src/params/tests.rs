#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;
use crate::sector::SectorClass;
use rand::SeedableRng;
use std::sync::Mutex;

/// The smallest circuit that a network could use.
const SMALL: CircuitId = CircuitId::embed(SectorClass::Mib8, 1);

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn ensure_counting(dir: &Path) -> (VerifyingKeys, usize) {
    let mut made = 0;
    let keys = ensure(dir, &[SMALL], &mut |progress| {
        made += usize::from(progress == ParametersProgress::Made(SMALL));
    })
    .unwrap();
    (keys, made)
}

#[test]
fn parameters_are_kept_and_read_back_by_both_libraries() {
    let dir = folder();
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
    let made = Parameters::create(SMALL, &mut rng).unwrap();
    made.save(dir.path()).unwrap();
    let keys: VerifyingKeys = [(SMALL, made.verifying_key())].into_iter().collect();
    let read_back = Parameters::load(dir.path(), SMALL, &keys).unwrap();
    assert!(read_back.inner == made.inner);
    let bytes = fs::read(Files::of(dir.path(), SMALL).params).unwrap();
    let pure =
        bellman::groth16::Parameters::<bls12_381::Bls12>::read(bytes.as_slice(), false).unwrap();
    let mut written = Vec::new();
    pure.write(&mut written).unwrap();
    assert!(written == bytes);

    // Whole, and of another network.
    let other = Parameters::create(SMALL, &mut rng).unwrap();
    let others: VerifyingKeys = [(SMALL, other.verifying_key())].into_iter().collect();
    for network in [others, VerifyingKeys::new()] {
        assert!(matches!(
            Parameters::load(dir.path(), SMALL, &network),
            Err(ParametersError::OtherNetwork { .. })
        ));
    }
    // Another circuit's file under this name.
    let files = Files::of(dir.path(), SMALL);
    let digests = files.digests(SMALL).unwrap();
    let renamed = digests.text(CircuitId::embed(SectorClass::Mib8, 2));
    fs::write(&files.digest, renamed).unwrap();
    assert!(matches!(
        Parameters::load(dir.path(), SMALL, &keys),
        Err(ParametersError::Damaged { .. })
    ));
}

#[test]
fn processes_that_ask_at_once_share_one_making() {
    let dir = folder();
    let total = Mutex::new(0);
    let keys: Vec<VerifyingKeys> = std::thread::scope(|scope| {
        let ask = || {
            let (keys, made) = ensure_counting(dir.path());
            *total.lock().unwrap() += made;
            keys
        };
        let threads = [scope.spawn(ask), scope.spawn(ask)];
        threads.map(|thread| thread.join().unwrap()).into()
    });
    assert_eq!(keys[0], keys[1]);
    assert_eq!(*total.lock().unwrap(), 1);
    let names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!names.iter().any(|name| name.contains("tmp")), "{names:?}");
    assert_eq!(names.len(), 4, "{names:?}");

    // Nothing missing: found. Something damaged or half written: made anew, or refused to load.
    assert_eq!(ensure_counting(dir.path()), (keys[0].clone(), 0));
    let files = Files::of(dir.path(), SMALL);
    let mut bytes = fs::read(&files.params).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&files.params, &bytes).unwrap();
    let error = Parameters::load(dir.path(), SMALL, &keys[0]).err().unwrap();
    assert!(matches!(error, ParametersError::Damaged { .. }), "{error}");
    assert!(
        error.to_string().contains("embed-8MiB-1.v1.params"),
        "{error}"
    );
    // Made anew they are another network's, so that is no advice.
    assert!(
        error.to_string().contains("a copy of the same file"),
        "{error}"
    );
    fs::remove_file(&files.digest).unwrap();
    assert!(matches!(
        Parameters::load(dir.path(), SMALL, &keys[0]),
        Err(ParametersError::Missing { .. })
    ));
    let (new, made) = ensure_counting(dir.path());
    assert_eq!(made, 1);
    assert_ne!(new, keys[0]);
    assert!(Parameters::load(dir.path(), SMALL, &new).is_ok());
}

#[test]
fn damaged_parameters_are_refused_by_name() {
    use crate::damage;
    let dir = folder();
    let data = dir.path().join("params");
    fs::create_dir(&data).unwrap();
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(3);
    let made = Parameters::create(SMALL, &mut rng).unwrap();
    made.save(&data).unwrap();
    let keys: VerifyingKeys = [(SMALL, made.verifying_key())].into_iter().collect();
    let name = format!("{SMALL}.v{CIRCUIT_VERSION}");
    for end in ["params", "digest", "key"] {
        let below = format!("{name}.{end}");
        damage::each(&data, Path::new(&below), 2, 17, |folder, damage| {
            // The key's own file is what the next network is made from, the others what a prover
            // loads.
            let found = if end == "key" {
                Files::of(folder, SMALL)
                    .key(SMALL)
                    .map(|key| key == made.verifying_key())
            } else {
                let loaded = Parameters::load(folder, SMALL, &keys);
                loaded.map(|loaded| loaded.inner == made.inner)
            };
            let found = found.map_err(|error| error.to_string());
            let named = folder.to_str().unwrap();
            damage::assert_named_or_same(found, &true, named, &damage);
        });
    }
}

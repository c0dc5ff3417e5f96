//! Filecoin's seal as `storage-proofs-porep` does it on processors: labels (its pre-commit phase 1),
//! then columns and trees (phase 2).

use crate::measure::Failure;
use crate::sealing::Cost;
use filecoin_hashers::poseidon::PoseidonHasher;
use filecoin_hashers::sha256::Sha256Hasher;
use generic_array::typenum::{U0, U8};
use holdfast_proofs::measure::core_seconds;
use merkletree::store::StoreConfig;
use std::fs::{File, create_dir};
use std::path::Path;
use storage_proofs_core::Data;
use storage_proofs_core::api_version::ApiVersion;
use storage_proofs_core::cache_key::CacheKey;
use storage_proofs_core::drgraph::BASE_DEGREE;
use storage_proofs_core::merkle::{BinaryMerkleTree, LCTree, create_base_merkle_tree};
use storage_proofs_core::proof::ProofScheme;
use storage_proofs_core::util::NODE_SIZE;
use storage_proofs_porep::stacked::{
    Challenges, EXP_DEGREE, SetupParams, StackedDrg, generate_replica_id,
};

/// As many as in the network's sectors of 32 and 64 GiB; the library gives two to smaller ones.
const LAYERS: usize = 11;
/// The shape of a sector of 8 MiB: octal up to the root.
type Tree = LCTree<PoseidonHasher, U8, U0, U0>;
type Drg<'a> = StackedDrg<'a, Tree, Sha256Hasher>;

/// Says where the library keeps every node's parents.
const PARENTS: &str = "FIL_PROOFS_PARENT_CACHE";

/// Whether this processor has instructions for SHA-256 that the library can use.
pub fn sha_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("sha");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Refuses to measure the library at less than its best, and to leave files behind.
pub fn check() -> Result<(), Failure> {
    // It calls one function an instruction unless all of it is compiled for them.
    if sha_instructions() && !cfg!(target_feature = "sha") {
        return Err("this was compiled without the SHA-256 instructions that the processor has, and Filecoin's labels would be slow; run ./dev figures peers".into());
    }
    if std::env::var_os(PARENTS).is_none() {
        return Err(format!("{PARENTS} is not set, so Filecoin's library would leave files in /var/tmp; run ./dev figures peers").into());
    }
    Ok(())
}

/// Seals a sector of zeros in an empty folder.
pub fn seal(folder: &Path, bytes: usize) -> Result<Cost, Failure> {
    let setup = SetupParams {
        nodes: bytes / NODE_SIZE,
        degree: BASE_DEGREE,
        expansion_degree: EXP_DEGREE,
        porep_id: [5; 32],
        challenges: Challenges::new_interactive(2),
        num_layers: LAYERS,
        api_version: ApiVersion::V1_2_0,
        api_features: Vec::new(),
    };
    let public = Drg::setup(&setup)?;
    let (cache, replica) = (folder.join("cache"), folder.join("replica"));
    create_dir(&cache)?;
    File::create_new(&replica)?.set_len(bytes as u64)?;
    let mut data = vec![0; bytes];
    // The tree over the data is not measured: our sectors are sealed without any.
    let config = StoreConfig::new(&cache, CacheKey::CommDTree.to_string(), 0);
    let data_tree: BinaryMerkleTree<Sha256Hasher> =
        create_base_merkle_tree(Some(config), setup.nodes, &data)?;
    let replica_id = generate_replica_id::<PoseidonHasher, _>(
        &[1; 32],
        1,
        &[0; 32],
        data_tree.root(),
        &setup.porep_id,
    );

    let start = core_seconds()?;
    let (labels, _) = Drg::replicate_phase1(&public, &replica_id, &cache)?;
    let labelled = core_seconds()?;
    Drg::replicate_phase2(
        &public,
        labels,
        Data::new(&mut data, replica.clone()),
        Some(data_tree),
        cache,
        replica,
    )?;
    Ok(Cost {
        label: labelled - start,
        commit: core_seconds()? - labelled,
    })
}

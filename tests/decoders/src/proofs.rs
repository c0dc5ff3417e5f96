//! Elements, points, proofs, keys, parameters, sectors.

use crate::read::{answer, json, object, usual};
use crate::{Answer, Bounds, Decoder, FEW_CALLS, Form, files, sample};
use bls12_381::{G1Affine, G1Projective, G2Affine, Scalar};
use ff::PrimeField;
use holdfast_market_core::message::encode;
use holdfast_proofs::challenge::spacetime_challenges;
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::node::Node;
use holdfast_proofs::params::{Parameters, ParametersError};
use holdfast_proofs::piece::{PieceShape, pack, unpack};
use holdfast_proofs::proof::{CircuitId, ProofBytes};
use holdfast_proofs::replica::ReplicaId;
use holdfast_proofs::seal::SealError;
use holdfast_proofs::sealed::Sealed;
use holdfast_proofs::sector::SectorClass;
use holdfast_proofs::statement::{SpacetimeStatement, Statement};
use holdfast_proofs::verify::{Verifier, VerifyError};
use serde_json::json;
use std::path::Path;
use std::sync::OnceLock;

pub(crate) fn decoders() -> Vec<Decoder> {
    let curve = |name, form, decode, seeds, calls| Decoder {
        bounds: Bounds::HEAVY,
        calls,
        ..usual(name, form, decode, seeds)
    };
    vec![
        usual("node", Form::Bytes, node, || {
            let minus_one = Node::from_scalar(&-Scalar::one());
            [Node::ZERO, minus_one, sample::node(9)]
                .map(|node| node.to_bytes().to_vec())
                .into()
        }),
        usual("circuit-name", Form::Text, circuit_name, || {
            ids()
                .iter()
                .map(|id| id.to_string().into_bytes())
                .chain([b"8MiB".to_vec()])
                .collect()
        }),
        usual("piece-packing", Form::Bytes, piece_packing, || {
            vec![
                nodes(&pack(&sample::shard()[..1_270])),
                nodes(&pack(&[0xff; 127])),
            ]
        }),
        // A piece of 32 GiB in the smallest subtrees there are has two million of them.
        Decoder {
            bounds: Bounds::HEAVY,
            ..usual("piece-shape", Form::Bytes, piece_shape, || {
                [(50_000, 4), (1, 3), (16_256, 8), (34_091_302_912u64, 8)]
                    .map(|(length, levels): (u64, u32)| {
                        [&length.to_le_bytes()[..], &levels.to_le_bytes()].concat()
                    })
                    .into()
            })
        },
        usual("verifying-keys", Form::Cbor, verifying_keys, || {
            vec![encode(made_keys()).unwrap(), encode(&few_keys()).unwrap()]
        }),
        usual(
            "verifying-keys-json",
            Form::Json,
            verifying_keys_json,
            || vec![serde_json::to_vec(&few_keys()).unwrap()],
        ),
        curve(
            "verifying-key-points",
            Form::Bytes,
            key_points,
            || vec![few_keys().get(spacetime()).unwrap().to_vec()],
            300,
        ),
        curve("proof", Form::Bytes, proof, proofs, 800),
        curve(
            "parameters",
            Form::Bytes,
            parameters,
            || vec![made_parameters()],
            300,
        ),
        Decoder {
            calls: FEW_CALLS,
            ..usual("parameters-digest", Form::Text, parameters_digest, || {
                vec![digest_text(&made_parameters())]
            })
        },
        Decoder {
            calls: FEW_CALLS,
            ..usual("sector-manifest", Form::Json, sector_manifest, || {
                vec![serde_json::to_vec(&made_sector()).unwrap()]
            })
        },
    ]
}

fn nodes(nodes: &[Node]) -> Vec<u8> {
    nodes.iter().flat_map(|node| node.to_bytes()).collect()
}

/// Both libraries and our own comparison agree on what is an element.
pub(crate) fn node(bytes: &[u8]) -> Answer {
    let Ok(bytes) = <[u8; 32]>::try_from(bytes) else {
        return Answer::Refused;
    };
    let ours = Node::from_bytes(bytes).ok();
    let pure: Option<Scalar> = Option::from(Scalar::from_repr(bytes));
    let blst: Option<blstrs::Scalar> = Option::from(blstrs::Scalar::from_repr(bytes));
    assert_eq!(ours, pure.as_ref().map(Node::from_scalar));
    assert_eq!(ours, blst.as_ref().map(Node::from_scalar));
    let cbor = serde_ipld_dagcbor::to_vec(&serde_bytes(&bytes)).unwrap();
    assert_eq!(ours, object::<Node>(&cbor));
    answer(ours)
}

/// A byte string as the encoder takes one.
fn serde_bytes(bytes: &[u8; 32]) -> holdfast_market_core::units::TreeRoot {
    holdfast_market_core::units::TreeRoot(*bytes)
}

fn circuit_name(bytes: &[u8]) -> Answer {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Answer::Refused;
    };
    if let Ok(class) = text.parse::<SectorClass>() {
        assert_eq!(class.to_string(), text);
        return Answer::Read;
    }
    let Ok(id) = text.parse::<CircuitId>() else {
        return Answer::Refused;
    };
    assert_eq!(id.to_string(), text);
    // A claim of many challenges is a number, not work.
    let _ = id.public_input_count();
    Answer::Read
}

/// Nodes that hold data are what that data packs to.
fn piece_packing(bytes: &[u8]) -> Answer {
    let (elements, rest) = bytes.as_chunks::<32>();
    let read: Option<Vec<Node>> = elements
        .iter()
        .map(|element| Node::from_bytes(*element).ok())
        .collect();
    let Some(read) = read.filter(|read| rest.is_empty() && read.len().is_multiple_of(4)) else {
        return Answer::Refused;
    };
    match unpack(&read) {
        Err(_) => Answer::Refused,
        Ok(data) => {
            assert!(
                pack(&data) == read,
                "data packs to other nodes than it was read from"
            );
            Answer::Read
        }
    }
}

/// A shape covers its piece and wastes less than a unit.
fn piece_shape(bytes: &[u8]) -> Answer {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Answer::Refused;
    };
    let Ok(levels) = <[u8; 4]>::try_from(rest) else {
        return Answer::Refused;
    };
    let length = u64::from_le_bytes(*length);
    match PieceShape::of(length, u32::from_le_bytes(levels)) {
        Err(_) => Answer::Refused,
        Ok(shape) => {
            let covered = shape.units() * holdfast_proofs::sector::UNIT_DATA_BYTES;
            assert!(
                covered >= length && covered < length + holdfast_proofs::sector::UNIT_DATA_BYTES
            );
            assert!(shape.subtrees().is_sorted_by(|one, next| one >= next));
            Answer::Read
        }
    }
}

fn spacetime() -> CircuitId {
    CircuitId::spacetime(sample::CLASS)
}

fn ids() -> [CircuitId; 3] {
    [
        CircuitId::seal(sample::CLASS, 2),
        CircuitId::embed(sample::CLASS, 8),
        spacetime(),
    ]
}

/// A key as `bellman` writes it: well-formed points that belong to no circuit.
fn made_key(inputs: usize) -> Vec<u8> {
    let one = G1Affine::generator().to_uncompressed();
    let two = G2Affine::generator().to_uncompressed();
    let mut bytes = Vec::new();
    // Alpha, beta twice, gamma, delta twice, then the inputs.
    bytes.extend(one);
    bytes.extend(one);
    bytes.extend(two);
    bytes.extend(two);
    bytes.extend(one);
    bytes.extend(two);
    let inputs = u32::try_from(inputs + 1).unwrap();
    bytes.extend(inputs.to_be_bytes());
    for _ in 0..inputs {
        bytes.extend(one);
    }
    bytes
}

/// Keys of every circuit of the development network.
pub(crate) fn made_keys() -> &'static VerifyingKeys {
    static KEYS: OnceLock<VerifyingKeys> = OnceLock::new();
    KEYS.get_or_init(|| {
        holdfast_market_core::parameters::Parameters::dev()
            .circuits()
            .into_iter()
            .map(|id| (id, made_key(id.public_input_count())))
            .collect()
    })
}

/// The one key that the points of proofs are read under.
fn few_keys() -> VerifyingKeys {
    let id = spacetime();
    [(id, made_key(id.public_input_count()))]
        .into_iter()
        .collect()
}

fn verifying_keys(bytes: &[u8]) -> Answer {
    answer(object::<VerifyingKeys>(bytes))
}

fn verifying_keys_json(bytes: &[u8]) -> Answer {
    answer(json::<VerifyingKeys>(bytes))
}

/// Both libraries read a key's points alike: [`Verifier::from_keys`] says where they do not.
fn key_points(bytes: &[u8]) -> Answer {
    let keys: VerifyingKeys = [(spacetime(), bytes.to_vec())].into_iter().collect();
    match Verifier::from_keys(&keys) {
        Ok(_) => Answer::Read,
        Err(holdfast_proofs::verify::KeyError::Disagreement { id }) => {
            panic!("the libraries disagree on the key of {id}")
        }
        Err(_) => Answer::Refused,
    }
}

fn statement() -> SpacetimeStatement {
    let replica = ReplicaId(sample::node(3));
    SpacetimeStatement {
        class: sample::CLASS,
        lanes: [sample::node(4); 8],
        challenges: spacetime_challenges(&[7; 32], replica, sample::CLASS),
    }
}

/// Two proofs of the statement under the made key, whose discrete logarithms everybody knows, and
/// points that prove nothing.
fn proofs() -> Vec<Vec<u8>> {
    let inputs = Statement::Spacetime(statement()).public_inputs(16).unwrap();
    let sum: Scalar = inputs[0]
        .iter()
        .map(|input| input.to_scalar::<Scalar>())
        .sum();
    // e(A, B) = e(alpha, beta) e(IC(x), gamma) e(C, delta), all of them generators.
    let proof = |b: u64, c: u64| {
        let (b, c) = (Scalar::from(b), Scalar::from(c));
        let product = Scalar::from(2) + sum + c;
        let a = product * b.invert().unwrap();
        let points = [
            G1Affine::from(G1Projective::generator() * a)
                .to_compressed()
                .to_vec(),
            G2Affine::from(bls12_381::G2Projective::generator() * b)
                .to_compressed()
                .to_vec(),
            G1Affine::from(G1Projective::generator() * c)
                .to_compressed()
                .to_vec(),
        ];
        points.concat()
    };
    let (one, two) = (G1Affine::generator(), G2Affine::generator());
    let nothing = [
        &one.to_compressed()[..],
        &two.to_compressed(),
        &one.to_compressed(),
    ];
    vec![proof(1, 1), proof(3, 5), nothing.concat()]
}

/// Both libraries give the same answer on a proof. What verifies has points of the right groups.
fn proof(bytes: &[u8]) -> Answer {
    static VERIFIER: OnceLock<Verifier> = OnceLock::new();
    let verifier = VERIFIER.get_or_init(|| Verifier::from_keys(&few_keys()).unwrap());
    let Ok(proof) = <[u8; 192]>::try_from(bytes).map(ProofBytes) else {
        return Answer::Refused;
    };
    match verifier.verify_both(&Statement::Spacetime(statement()), &[proof]) {
        Ok(()) => Answer::Read,
        Err(VerifyError::Refused { proof: 0 }) => Answer::Read,
        Err(VerifyError::Point { .. }) => Answer::Refused,
        Err(other) => panic!("{other}"),
    }
}

/// Parameters as `bellman` writes them, with few and arbitrary points.
fn made_parameters() -> Vec<u8> {
    let one = G1Affine::generator().to_uncompressed();
    let two = G2Affine::generator().to_uncompressed();
    let mut bytes = made_key(spacetime().public_input_count());
    for points in [&one[..], &one, &one, &one, &two] {
        bytes.extend(2u32.to_be_bytes());
        bytes.extend(points.repeat(2));
    }
    bytes
}

/// The digest file of such parameters.
fn digest_text(parameters: &[u8]) -> Vec<u8> {
    let key = made_key(spacetime().public_input_count());
    format!(
        "{} v{}\nparams {}\nkey {}\n",
        spacetime(),
        holdfast_proofs::circuit::CIRCUIT_VERSION,
        blake3::hash(parameters).to_hex(),
        blake3::hash(&key).to_hex()
    )
    .into_bytes()
}

fn parameter_files(folder: &Path, parameters: &[u8], digest: &[u8]) -> Answer {
    let name = format!(
        "{}.v{}",
        spacetime(),
        holdfast_proofs::circuit::CIRCUIT_VERSION
    );
    std::fs::write(folder.join(format!("{name}.params")), parameters).unwrap();
    std::fs::write(folder.join(format!("{name}.digest")), digest).unwrap();
    match Parameters::load(folder, spacetime(), &few_keys()) {
        Ok(_) => Answer::Read,
        Err(ParametersError::Io { source, .. })
            if source.kind() != std::io::ErrorKind::InvalidData =>
        {
            panic!("{source}")
        }
        Err(_) => Answer::Refused,
    }
}

/// Whatever the parameters are whose digest fits, they are taken or refused.
fn parameters(bytes: &[u8]) -> Answer {
    let folder = files::folder("parameters");
    parameter_files(&folder, bytes, &digest_text(bytes))
}

/// One digest file only fits parameters.
fn parameters_digest(bytes: &[u8]) -> Answer {
    let folder = files::folder("parameters-digest");
    let parameters = made_parameters();
    let read = parameter_files(&folder, &parameters, bytes);
    if read == Answer::Read {
        let honest = String::from_utf8(digest_text(&parameters)).unwrap();
        let text = std::str::from_utf8(bytes).unwrap();
        // The verifying key's own digest is for its own file, which loading does not read.
        let lines = |text: &str| text.lines().take(2).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(text), lines(&honest), "another digest file is taken");
    }
    read
}

/// A sector just sealed.
fn made_sector() -> serde_json::Value {
    let node = |number| sample::node(number).to_string();
    let nodes = |number, count| vec![node(number); count];
    let staged = json!({
        "9": { "generation": 1, "data_root": node(7), "written": [node(8), node(9)] }
    });
    json!({
        "version": 1,
        "class": sample::CLASS.name(),
        "replica": node(3),
        "commitment": {
            "columns": nodes(1, 8),
            "keys": nodes(2, 8),
            "key_groups": nodes(4, 64),
        },
        "groups": vec![json!({ "generation": 0, "root": node(4), "embedded": null }); 63]
            .into_iter()
            .chain([json!({
                "generation": 2,
                "root": node(5),
                "embedded": { "rho": node(6), "data_root": node(7), "data_kept": true },
            })])
            .collect::<Vec<_>>(),
        "staged": staged,
        "next": 3,
    })
}

/// A sector's manifest is taken, whatever then becomes of its missing files, or named as damaged.
fn sector_manifest(bytes: &[u8]) -> Answer {
    let folder = files::folder("sector-manifest");
    let path = folder.join("sector.json");
    std::fs::write(&path, bytes).unwrap();
    // What the last call left is not asked instead.
    let _ = std::fs::remove_file(folder.join("sector.copy.json"));
    match Sealed::open(&folder, sample::CLASS, ReplicaId(sample::node(3))) {
        Err(SealError::Damaged { path: damaged }) if damaged == path => Answer::Refused,
        _ => Answer::Read,
    }
}

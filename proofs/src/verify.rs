//! Verifying: in pure Rust (`bls12_381`), with feature `prove` also in assembly (`blstrs`) where that
//! is asked for.
//!
//! A batch takes its coefficients from a hash of all keys, inputs and proofs, because the ledger
//! has no randomness of its own; on failure it bisects down to the proofs that do not hold.

pub use crate::groth16::PointError;

use crate::groth16::{Item, Key, Library, all_hold, read_proof, scalars};
use crate::keys::VerifyingKeys;
use crate::node::{Node, derive_reader};
use crate::proof::{Circuit, CircuitId, ProofBytes};
use crate::sector::SectorClass;
use crate::statement::{Statement, StatementError};
use std::collections::BTreeMap;

/// A set of verifying keys that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A key's bytes are no verifying key.
    #[error("the verifying key of {id} cannot be read, a point in it is wrong: {why}")]
    Point {
        /// The circuit.
        id: CircuitId,
        /// What is wrong with a point of it.
        why: PointError,
    },
    /// A key takes another number of public inputs than its circuit has.
    #[error("the verifying key of {id} takes {found} public inputs, its circuit has {expected}")]
    InputCount {
        /// The circuit.
        id: CircuitId,
        /// Public inputs of the circuit.
        expected: usize,
        /// Public inputs that the key takes.
        found: usize,
    },
    /// Two keys for the same circuit and class: a proof would not say which is meant.
    #[error(
        "{first} and {second} are both there; a network has one size of proof for each circuit and class"
    )]
    Ambiguous {
        /// One of them.
        first: CircuitId,
        /// The other.
        second: CircuitId,
    },
    /// The two libraries disagree, which is a defect in one of them.
    #[error(
        "the two pairing libraries disagree on the verifying key of {id}; do not rely on either"
    )]
    Disagreement {
        /// The circuit.
        id: CircuitId,
    },
}

#[cfg(feature = "prove")]
impl KeyError {
    /// The key that is at fault.
    const fn id(&self) -> CircuitId {
        match self {
            Self::Point { id, .. } | Self::InputCount { id, .. } | Self::Disagreement { id } => *id,
            Self::Ambiguous { second, .. } => *second,
        }
    }
}

/// Why proofs do not show a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The network has no key for the statement.
    #[error("there is no verifying key for the {circuit} circuit of class {class}")]
    MissingKey {
        /// The circuit.
        circuit: Circuit,
        /// The class.
        class: SectorClass,
    },
    /// The statement cannot be proven at all.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// Too many or too few proofs.
    #[error("the statement takes {expected} proofs, {found} were given")]
    ProofCount {
        /// Proofs that the statement takes.
        expected: usize,
        /// Proofs that were given.
        found: usize,
    },
    /// A proof's bytes are no proof.
    #[error("point {point} of proof {proof} is wrong: {why}")]
    Point {
        /// Which proof.
        proof: usize,
        /// Which of its points: A, B or C.
        point: char,
        /// What is wrong with it.
        why: PointError,
    },
    /// The equation does not hold.
    #[error("proof {proof} does not show the statement")]
    Refused {
        /// Which proof.
        proof: usize,
    },
    /// The two libraries disagree, which is a defect in one of them.
    #[error("the two pairing libraries disagree on the proofs; do not rely on either")]
    Disagreement,
}

/// Told of each verification before it runs: of which circuit, and how many proofs. What it gives
/// back is called when the verification is done. So a caller with a clock can time the work; this
/// crate has none.
pub type Watch = Box<dyn Fn(Circuit, usize) -> Box<dyn FnOnce()> + Send + Sync>;

/// The keys of a network, ready for use.
pub struct Verifier {
    digest: [u8; 32],
    watch: Option<Watch>,
    pure: Keys<bls12_381::Bls12>,
    #[cfg(feature = "prove")]
    blst: Keys<blstrs::Bls12>,
    /// Whether whoever names no library is answered by blstrs.
    #[cfg(feature = "prove")]
    by_blst: bool,
}

impl Verifier {
    /// Reads every key, with both libraries where both are there.
    ///
    /// # Errors
    /// A key that is malformed or does not fit its circuit, or two for one circuit and class.
    pub fn from_keys(keys: &VerifyingKeys) -> Result<Self, KeyError> {
        let pure = Keys::read(keys);
        #[cfg(feature = "prove")]
        let (pure, blst) = match (pure, Keys::read(keys)) {
            (Ok(pure), Ok(blst)) => (Ok(pure), blst),
            (Err(error), Err(_)) => return Err(error),
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => {
                return Err(KeyError::Disagreement { id: error.id() });
            }
        };
        Ok(Self {
            digest: keys.digest(),
            watch: None,
            pure: pure?,
            #[cfg(feature = "prove")]
            blst,
            #[cfg(feature = "prove")]
            by_blst: false,
        })
    }

    /// Has [`Self::verify`], [`Self::verify_batch`] and [`Self::verify_all`] answered by blstrs from
    /// now on. For those who verify every block while it waits; whoever audits stays with pure Rust.
    #[cfg(feature = "prove")]
    pub fn use_blst(&mut self) {
        self.by_blst = true;
    }

    /// Has every verification that names no library told to `watch` from now on.
    pub fn watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    fn watched<T>(
        &self,
        statement: Option<&Statement>,
        proofs: usize,
        work: impl FnOnce() -> T,
    ) -> T {
        let done = match (&self.watch, statement) {
            (Some(watch), Some(statement)) => Some(watch(statement.circuit(), proofs)),
            _ => None,
        };
        let result = work();
        if let Some(done) = done {
            done();
        }
        result
    }

    /// Challenges in one proof of that circuit and class, where there is a key.
    pub fn per_proof(&self, circuit: Circuit, class: SectorClass) -> Option<u32> {
        self.pure
            .find(circuit, class)
            .map(|entry| entry.id.per_proof)
    }

    /// Whether the proofs show the statement.
    ///
    /// # Errors
    /// The reason why they do not.
    pub fn verify(&self, statement: &Statement, proofs: &[ProofBytes]) -> Result<(), VerifyError> {
        self.watched(Some(statement), proofs.len(), || {
            #[cfg(feature = "prove")]
            if self.by_blst {
                return self.blst.verify(statement, proofs);
            }
            self.pure.verify(statement, proofs)
        })
    }

    /// Verifies many statements at once; one answer for each. A watch is told of the
    /// first one's circuit: a message proves statements of one kind.
    pub fn verify_batch(
        &self,
        batch: &[(Statement, Vec<ProofBytes>)],
    ) -> Vec<Result<(), VerifyError>> {
        let proofs = batch.iter().map(|(_, proofs)| proofs.len()).sum();
        let first = batch.first().map(|(statement, _)| statement);
        self.watched(first, proofs, || {
            #[cfg(feature = "prove")]
            if self.by_blst {
                return self.blst.verify_batch(&self.digest, batch);
            }
            self.pure.verify_batch(&self.digest, batch)
        })
    }

    /// Whether all of these statements hold: one check of all their proofs together.
    /// Where they do not, one that does not is found at the cost of no more than a second check of
    /// all, however many there are. A watch is told as in [`Self::verify_batch`].
    ///
    /// # Errors
    /// The number of the first statement that cannot be checked at all, or else of the first that
    /// is not shown; and the reason.
    pub fn verify_all(
        &self,
        batch: &[(Statement, Vec<ProofBytes>)],
    ) -> Result<(), (usize, VerifyError)> {
        let proofs = batch.iter().map(|(_, proofs)| proofs.len()).sum();
        let first = batch.first().map(|(statement, _)| statement);
        self.watched(first, proofs, || {
            #[cfg(feature = "prove")]
            if self.by_blst {
                return self.blst.verify_all(&self.digest, batch);
            }
            self.pure.verify_all(&self.digest, batch)
        })
    }

    /// As [`Self::verify`], with blstrs.
    ///
    /// # Errors
    /// The reason why the proofs do not show the statement.
    #[cfg(feature = "prove")]
    pub fn verify_blst(
        &self,
        statement: &Statement,
        proofs: &[ProofBytes],
    ) -> Result<(), VerifyError> {
        self.blst.verify(statement, proofs)
    }

    /// As [`Self::verify_batch`], with blstrs.
    #[cfg(feature = "prove")]
    pub fn verify_batch_blst(
        &self,
        batch: &[(Statement, Vec<ProofBytes>)],
    ) -> Vec<Result<(), VerifyError>> {
        self.blst.verify_batch(&self.digest, batch)
    }

    /// As [`Self::verify_all`], with blstrs.
    ///
    /// # Errors
    /// The number of the first statement that is not shown, and the reason.
    #[cfg(feature = "prove")]
    pub fn verify_all_blst(
        &self,
        batch: &[(Statement, Vec<ProofBytes>)],
    ) -> Result<(), (usize, VerifyError)> {
        self.blst.verify_all(&self.digest, batch)
    }

    /// Verifies with both libraries.
    ///
    /// # Errors
    /// The reason that both give, or [`VerifyError::Disagreement`].
    #[cfg(feature = "prove")]
    pub fn verify_both(
        &self,
        statement: &Statement,
        proofs: &[ProofBytes],
    ) -> Result<(), VerifyError> {
        let pure = self.pure.verify(statement, proofs);
        if pure == self.verify_blst(statement, proofs) {
            pure
        } else {
            Err(VerifyError::Disagreement)
        }
    }
}

/// One key and its circuit.
struct Entry<E: Library> {
    id: CircuitId,
    number: usize,
    key: Key<E>,
}

/// A proof ready for its equation, and its public inputs as nodes.
type Ready<'k, E> = (Item<'k, E>, Vec<Node>);

/// A batch ready for its check.
struct Prepared<'k, E: Library> {
    /// For each statement: what is wrong before any equation is looked at.
    answers: Vec<Result<(), VerifyError>>,
    items: Vec<Item<'k, E>>,
    /// For each item: the statement that it belongs to, and which of its proofs it is.
    places: Vec<(usize, usize)>,
}

/// The keys in one library's form.
struct Keys<E: Library> {
    keys: BTreeMap<(Circuit, SectorClass), Entry<E>>,
}

impl<E: Library> Keys<E> {
    fn read(source: &VerifyingKeys) -> Result<Self, KeyError> {
        let mut keys: BTreeMap<_, Entry<E>> = BTreeMap::new();
        for (number, (id, bytes)) in source.iter().enumerate() {
            let key = Key::read(bytes).map_err(|why| KeyError::Point { id, why })?;
            if key.input_count() != id.public_input_count() {
                return Err(KeyError::InputCount {
                    id,
                    expected: id.public_input_count(),
                    found: key.input_count(),
                });
            }
            let entry = Entry { id, number, key };
            if let Some(first) = keys.insert((id.circuit, id.class), entry) {
                return Err(KeyError::Ambiguous {
                    first: first.id,
                    second: id,
                });
            }
        }
        Ok(Self { keys })
    }

    fn find(&self, circuit: Circuit, class: SectorClass) -> Option<&Entry<E>> {
        self.keys.get(&(circuit, class))
    }

    /// The proofs with their keys and inputs. The first fault in the order statement, count,
    /// points is the one reported.
    fn items(
        &self,
        statement: &Statement,
        proofs: &[ProofBytes],
    ) -> Result<Vec<Ready<'_, E>>, VerifyError> {
        let (circuit, class) = (statement.circuit(), statement.class());
        let entry = self
            .find(circuit, class)
            .ok_or(VerifyError::MissingKey { circuit, class })?;
        let expected = statement.proof_count(entry.id.per_proof)?;
        if proofs.len() != expected {
            return Err(VerifyError::ProofCount {
                expected,
                found: proofs.len(),
            });
        }
        let inputs = statement.public_inputs(entry.id.per_proof)?;
        proofs
            .iter()
            .zip(inputs)
            .enumerate()
            .map(|(proof, (bytes, nodes))| {
                let item = Item {
                    key: &entry.key,
                    key_number: entry.number,
                    proof: read_proof(bytes).map_err(|(point, why)| VerifyError::Point {
                        proof,
                        point,
                        why,
                    })?,
                    inputs: scalars(&nodes),
                    coefficient: 1,
                };
                Ok((item, nodes))
            })
            .collect()
    }

    fn verify(&self, statement: &Statement, proofs: &[ProofBytes]) -> Result<(), VerifyError> {
        for (proof, (item, _)) in self.items(statement, proofs)?.iter().enumerate() {
            if !item.holds() {
                return Err(VerifyError::Refused { proof });
            }
        }
        Ok(())
    }

    /// Every statement's proofs with the batch's coefficients.
    fn prepare(
        &self,
        digest: &[u8; 32],
        batch: &[(Statement, Vec<ProofBytes>)],
    ) -> Prepared<'_, E> {
        let mut answers = Vec::with_capacity(batch.len());
        let (mut items, mut places) = (Vec::new(), Vec::new());
        let mut transcript = blake3::Hasher::new();
        for (statement_number, (statement, proofs)) in batch.iter().enumerate() {
            answers.push(match self.items(statement, proofs) {
                Err(error) => Err(error),
                Ok(found) => {
                    for (number, ((item, nodes), bytes)) in
                        found.into_iter().zip(proofs).enumerate()
                    {
                        transcript.update(&(item.key_number as u64).to_le_bytes());
                        transcript.update(&(nodes.len() as u64).to_le_bytes());
                        for node in &nodes {
                            transcript.update(node.as_bytes());
                        }
                        transcript.update(bytes.as_bytes());
                        places.push((statement_number, number));
                        items.push(item);
                    }
                    Ok(())
                }
            });
        }
        let mut reader = derive_reader(
            "holdfast 2026 batch coefficients v1",
            &[digest, transcript.finalize().as_bytes()],
        );
        for item in &mut items {
            let mut bytes = [0u8; 16];
            reader.fill(&mut bytes);
            item.coefficient = u128::from_le_bytes(bytes).max(1);
        }
        Prepared {
            answers,
            items,
            places,
        }
    }

    fn verify_all(
        &self,
        digest: &[u8; 32],
        batch: &[(Statement, Vec<ProofBytes>)],
    ) -> Result<(), (usize, VerifyError)> {
        let prepared = self.prepare(digest, batch);
        for (number, answer) in prepared.answers.into_iter().enumerate() {
            answer.map_err(|why| (number, why))?;
        }
        let refused = first_refused(&prepared.items);
        match refused.and_then(|number| prepared.places.get(number)) {
            Some((statement, proof)) => Err((*statement, VerifyError::Refused { proof: *proof })),
            None => Ok(()),
        }
    }

    fn verify_batch(
        &self,
        digest: &[u8; 32],
        batch: &[(Statement, Vec<ProofBytes>)],
    ) -> Vec<Result<(), VerifyError>> {
        let Prepared {
            mut answers,
            items,
            places,
        } = self.prepare(digest, batch);
        let mut refused = Vec::new();
        bisect(&items, 0, &mut refused);
        for number in refused {
            if let Some((statement, proof)) = places.get(number)
                && let Some(answer) = answers.get_mut(*statement)
                && answer.is_ok()
            {
                *answer = Err(VerifyError::Refused { proof: *proof });
            }
        }
        answers
    }
}

/// The first item whose equation does not hold. Once all together do not, each step checks half of
/// what is left: where the first half holds, the one that is sought lies in the second.
fn first_refused<E: Library>(items: &[Item<'_, E>]) -> Option<usize> {
    if items.is_empty() || all_hold(items) {
        return None;
    }
    let (mut rest, mut offset) = (items, 0);
    while rest.len() > 1 {
        let middle = rest.len() / 2;
        let (left, right) = rest.split_at(middle);
        if all_hold(left) {
            (rest, offset) = (right, offset + middle);
        } else {
            rest = left;
        }
    }
    Some(offset)
}

/// Finds, in order, the items whose equations do not hold. A good batch costs one check; every bad
/// proof costs a path of halves down to it.
fn bisect<E: Library>(items: &[Item<'_, E>], offset: usize, refused: &mut Vec<usize>) {
    match items {
        [] => {}
        [item] => {
            if !item.holds() {
                refused.push(offset);
            }
        }
        _ => {
            if !all_hold(items) {
                let middle = items.len() / 2;
                let (left, right) = items.split_at(middle);
                bisect(left, offset, refused);
                bisect(right, offset + middle, refused);
            }
        }
    }
}

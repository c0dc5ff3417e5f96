//! The audit audited: one byte of a ledger is changed in one place after another, and each such ledger
//! must be refused. An auditor sees here on the ledger at hand that an audit which finds nothing would
//! have found something.

use super::source::{Change, Source};
use super::{Audit, AuditError, Options, Watch, audit_with};
use holdfast_market_core::block::{Certificate, CertifiedBlock};
use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::message::{Body, encode};
use holdfast_market_core::units::{Blocks, Height, MessageId};
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::proof::Circuit;
use serde::Serialize;
use std::sync::Arc;

/// Header and certificate are changed half way up the ledger, and no higher than here, so that a long
/// ledger is not replayed to its middle for each of them.
const HIGHEST: Height = Height(1_000);

/// The byte of a proof that is changed: in its point C.
const PROOF_BYTE: usize = 150;

/// What became of the changed ledgers.
#[derive(Debug, Serialize)]
pub struct Drill {
    /// The audit of the ledger as it is.
    pub unchanged: Audit,
    /// Each place, in the order in which they were tried.
    pub places: Vec<Place>,
}

/// A byte that was changed.
#[derive(Debug, Serialize)]
pub struct Place {
    /// Of what.
    pub part: &'static str,
    /// Where, unless the ledger has no such part.
    pub byte: Option<Byte>,
    /// What the audit said of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Where the byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Byte {
    /// In which block; 0 is what is beside the blocks: the genesis, and where the ledger says it stands.
    pub block: Height,
    /// Which of its bytes, counted from 0.
    pub offset: usize,
}

/// What an audit says of a changed ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It is refused, as it must be.
    Refused {
        /// The block that was named, where it was one.
        block: Option<Height>,
        /// The message that was named, where it was one.
        message: Option<MessageId>,
        /// In one sentence.
        reason: String,
    },
    /// It is refused, and for something else than what was changed.
    Astray {
        /// The block that was named.
        block: Height,
        /// In one sentence.
        reason: String,
    },
    /// The audit has not seen it.
    Passed,
    /// This ledger has nothing of the kind.
    Absent,
}

impl Drill {
    /// The parts of which the audit has not seen the change, or not said that it was this.
    pub fn missed(&self) -> Vec<&'static str> {
        let missed =
            |place: &&Place| matches!(place.verdict, Verdict::Passed | Verdict::Astray { .. });
        self.places
            .iter()
            .filter(missed)
            .map(|one| one.part)
            .collect()
    }

    /// How many changed ledgers were refused.
    pub fn refused(&self) -> usize {
        let refused = |place: &&Place| matches!(place.verdict, Verdict::Refused { .. });
        self.places.iter().filter(refused).count()
    }
}

/// A part of a block, and how a bit of it is changed where the block has it.
struct Part {
    name: &'static str,
    /// Whether every block has it.
    everywhere: bool,
    /// Words of what must be said of it.
    said: &'static str,
    flip: fn(&mut CertifiedBlock) -> bool,
}

/// Flips the lowest bit of one of these bytes, where there is one.
fn flip(bytes: &mut [u8], place: usize) -> bool {
    match bytes.get_mut(place) {
        Some(byte) => {
            *byte ^= 1;
            true
        }
        None => false,
    }
}

/// Flips a bit of the block's first proof of that kind, where it has one.
fn flip_proof(block: &mut CertifiedBlock, circuit: Circuit) -> bool {
    let bodies = block.block.messages.iter_mut();
    let mut proofs = bodies.filter_map(|signed| match (&mut signed.message.body, circuit) {
        (Body::ProveSeal { proofs, .. }, Circuit::Seal)
        | (Body::ProveEmbed { proofs, .. }, Circuit::Embed) => proofs.first_mut(),
        (Body::ProveSpacetime { proofs, .. }, Circuit::Spacetime) => {
            proofs.first_mut().map(|one| &mut one.proof)
        }
        _ => None,
    });
    let first = proofs.next();
    first.is_some_and(|proof| flip(&mut proof.0, PROOF_BYTE))
}

const PARTS: [Part; 10] = [
    Part {
        name: "a header's parent",
        everywhere: true,
        said: "the header's parent",
        flip: |block| flip(&mut block.block.header.parent.0, 7),
    },
    Part {
        name: "a header's state root",
        everywhere: true,
        said: "it says the state before it has root",
        flip: |block| flip(&mut block.block.header.state_root.0, 7),
    },
    Part {
        name: "a header's root of outcomes",
        everywhere: true,
        said: "the header's receipts_root",
        flip: |block| flip(&mut block.block.header.receipts_root.0, 7),
    },
    Part {
        name: "a header's beacon",
        everywhere: true,
        said: "the header's beacon",
        flip: |block| flip(&mut block.block.header.beacon.0, 80),
    },
    Part {
        name: "a certificate's signature",
        everywhere: true,
        said: "it is the certificate that is wrong",
        flip: |block| match &mut block.certificate {
            Certificate::Embedded { signature } => flip(&mut signature.0, 7),
            Certificate::Bft { precommits, .. } => match precommits.last_mut() {
                Some(precommit) => flip(&mut precommit.signature.0, 7),
                None => false,
            },
        },
    },
    Part {
        name: "a message's fee",
        everywhere: false,
        said: "is not what its sender signed",
        flip: |block| match block.block.messages.last_mut() {
            Some(signed) => {
                signed.message.fee.0 ^= 1;
                true
            }
            None => false,
        },
    },
    Part {
        name: "a message's signature",
        everywhere: false,
        said: "is not what its sender signed",
        flip: |block| match block.block.messages.last_mut() {
            Some(signed) => flip(&mut signed.signature.0, 7),
            None => false,
        },
    },
    Part {
        name: "a seal proof",
        everywhere: false,
        said: "the proof of sector",
        flip: |block| flip_proof(block, Circuit::Seal),
    },
    Part {
        name: "an embed proof",
        everywhere: false,
        said: "the proof of sector",
        flip: |block| flip_proof(block, Circuit::Embed),
    },
    Part {
        name: "a spacetime proof",
        everywhere: false,
        said: "the proof of sector",
        flip: |block| flip_proof(block, Circuit::Spacetime),
    },
];

/// Audits the ledger as it is, and then with one byte changed in each place. `step` is told how many
/// places are done, and of how many.
///
/// # Errors
/// A ledger that does not hold as it is, or that cannot be read.
pub async fn drill(
    genesis: &Genesis,
    keys: &VerifyingKeys,
    source: Source,
    watch: Watch,
    step: impl Fn(usize, usize),
) -> Result<Drill, AuditError> {
    let (unchanged, _) = audit_with(genesis, keys, &source, Options::default(), watch).await?;
    let found = find(&source, unchanged.height).await?;
    let all = found.len().saturating_add(2);
    let source = Arc::new(source);
    let mut places = Vec::with_capacity(all);
    step(places.len(), all);
    places.push(other_genesis(genesis, keys, &source).await?);
    for (part, found) in PARTS.iter().zip(found) {
        step(places.len(), all);
        places.push(match found {
            None => Place {
                part: part.name,
                byte: None,
                verdict: Verdict::Absent,
            },
            Some((byte, block)) => {
                let change = Change::Block(Box::new(block));
                let expected = (byte.block, part.said);
                Place {
                    part: part.name,
                    byte: Some(byte),
                    verdict: tried(genesis, keys, &source, change, expected).await?,
                }
            }
        });
    }
    step(places.len(), all);
    // An API's ledger has grown since: what it claims is of a block as high or higher.
    let expected = (unchanged.height, "the ledger says its state has root");
    places.push(Place {
        part: "the state root that the ledger says it has",
        byte: Some(Byte {
            block: Height(0),
            offset: 0,
        }),
        verdict: tried(genesis, keys, &source, Change::StateRoot, expected).await?,
    });
    Ok(Drill { unchanged, places })
}

/// For each part the first block that is to be changed in it, as it is when it is changed.
async fn find(
    source: &Source,
    head: Height,
) -> Result<[Option<(Byte, CertifiedBlock)>; PARTS.len()], AuditError> {
    let middle = HIGHEST.min(Height(head.0 / 2));
    let mut found = [const { None }; PARTS.len()];
    let mut height = Height(0);
    while height < head && found.iter().any(Option::is_none) {
        let blocks = source.blocks(height.after(Blocks(1)), head).await?;
        if blocks.is_empty() {
            break;
        }
        for mut block in blocks {
            height = block.block.header.height;
            for (part, found) in PARTS.iter().zip(&mut found) {
                if found.is_none() && (!part.everywhere || height >= middle) {
                    *found = changed(&mut block, part.flip)?;
                }
            }
        }
    }
    Ok(found)
}

/// The block with one of its bytes changed, where it has the part. The block itself is as it was
/// afterwards: a bit that is flipped twice is the same.
fn changed(
    block: &mut CertifiedBlock,
    flip: fn(&mut CertifiedBlock) -> bool,
) -> Result<Option<(Byte, CertifiedBlock)>, AuditError> {
    if !flip(block) {
        return Ok(None);
    }
    let other = block.clone();
    flip(block);
    let height = block.block.header.height;
    let byte = Byte {
        block: height,
        offset: differing(&encode(block)?, &encode(&other)?, height)?,
    };
    Ok(Some((byte, other)))
}

/// The one byte in which these differ.
fn differing(one: &[u8], other: &[u8], height: Height) -> Result<usize, AuditError> {
    let mut places = one.iter().zip(other).enumerate();
    let mut next = || places.find_map(|(place, (one, other))| (one != other).then_some(place));
    match (next(), next()) {
        (Some(first), None) if one.len() == other.len() => Ok(first),
        _ => Err(AuditError::Stopped(format!(
            "block {height} with one bit changed is not written as one byte changed"
        ))),
    }
}

async fn other_genesis(
    genesis: &Genesis,
    keys: &VerifyingKeys,
    source: &Arc<Source>,
) -> Result<Place, AuditError> {
    let part = "a balance of the genesis";
    let mut other = genesis.clone();
    let Some(first) = other.balances.first_mut() else {
        return Ok(Place {
            part,
            byte: None,
            verdict: Verdict::Absent,
        });
    };
    first.amount.0 ^= 1;
    let block = Height(0);
    let offset = differing(&encode(genesis)?, &encode(&other)?, block)?;
    Ok(Place {
        part,
        byte: Some(Byte { block, offset }),
        verdict: verdict(&other, keys, source).await?,
    })
}

async fn tried(
    genesis: &Genesis,
    keys: &VerifyingKeys,
    source: &Arc<Source>,
    change: Change,
    (least, said): (Height, &str),
) -> Result<Verdict, AuditError> {
    let in_block = matches!(change, Change::Block(_));
    let changed = Source::Changed {
        source: Arc::clone(source),
        change,
    };
    Ok(match verdict(genesis, keys, &changed).await? {
        Verdict::Refused {
            block: Some(block),
            reason,
            ..
        } if !reason.contains(said) || block < least || (in_block && block > least) => {
            Verdict::Astray { block, reason }
        }
        other => other,
    })
}

/// What an audit says; what keeps it from saying anything is an error.
async fn verdict(
    genesis: &Genesis,
    keys: &VerifyingKeys,
    source: &Source,
) -> Result<Verdict, AuditError> {
    let silent: Watch = Arc::new(|_| ());
    match audit_with(genesis, keys, source, Options::default(), silent).await {
        Ok(_) => Ok(Verdict::Passed),
        Err(AuditError::Finding(finding)) => Ok(Verdict::Refused {
            block: Some(finding.height),
            message: finding.message,
            reason: finding.reason,
        }),
        Err(error @ AuditError::OtherNetwork { .. }) => Ok(Verdict::Refused {
            block: None,
            message: None,
            reason: error.to_string(),
        }),
        Err(error) => Err(error),
    }
}

//! The portable receipt: one file that shows, without asking anybody, that providers signed for an
//! object and that its deals are on the chain.

use crate::catalogue::ObjectId;
use crate::error::ClientError;
use crate::versioned::{self, Unreadable};
use holdfast_market_core::block::{Certificate, Header, Outcome, OutcomeResult, Validator};
use holdfast_market_core::list::Membership;
use holdfast_market_core::message::{Body, PackHeader, SignedMessage, SigningContext, encode};
use holdfast_market_core::receipt::SignedReceipt;
use holdfast_market_core::units::{Address, Blocks, Height, NetworkId, PackId};
use holdfast_proofs::checked::without_check_or_old;
use holdfast_wire::ledger::LedgerClient;
use holdfast_wire::light::{FollowError, LightClient};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The version of receipts that this program writes and reads.
pub const RECEIPT_VERSION: u32 = 1;

/// A receipt for one stored object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortableReceipt {
    /// Of this layout.
    pub version: u32,
    /// On which network.
    pub network: NetworkId,
    /// The object.
    pub object: ObjectId,
    /// Its packs.
    pub packs: Vec<PackReceipt>,
}

/// What shows one pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackReceipt {
    /// Its name.
    pub pack: PackId,
    /// What it is.
    pub header: PackHeader,
    /// What its providers signed, in shard order.
    pub signed: Vec<WorkerReceipt>,
    /// Where its deals stand on the chain.
    pub anchor: Anchor,
}

/// A provider's promise and the key that signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerReceipt {
    /// The provider's worker, as the ledger named it when the object was stored.
    pub worker: Address,
    /// What it signed.
    pub receipt: SignedReceipt,
}

/// A block in which a message stands, and the next one, which says what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// The block's header.
    pub header: Header,
    /// Why it is final.
    pub certificate: Certificate,
    /// The proposal of the deals.
    pub message: SignedMessage,
    /// That it is in the block.
    pub place: Membership,
    /// The header of the block after.
    pub next: Header,
    /// Why that is final.
    pub next_certificate: Certificate,
    /// What came of the proposal.
    pub outcome: Outcome,
    /// That the block after says so.
    pub outcome_place: Membership,
}

impl Anchor {
    /// Fetches what shows that the deals of `pack` were proposed at `height` and stand.
    ///
    /// # Errors
    /// The ledger does not answer, or does not have that message there.
    pub async fn fetch(
        ledger: &LedgerClient,
        pack: PackId,
        height: Height,
    ) -> Result<Self, ClientError> {
        let missing = || {
            ClientError::failed(
                format!("the ledger does not show the deals of pack {pack} at height {height}"),
                "run the same command again",
            )
        };
        let after = height.after(Blocks(1));
        ledger.wait_until(after).await?;
        let mut blocks = ledger.blocks(height, 2).await?;
        if blocks.len() < 2 {
            blocks.extend(ledger.blocks(after, 1).await?);
        }
        let outcomes = ledger.outcomes(height).await?;
        let mut blocks = blocks.into_iter();
        let (Some(first), Some(second)) = (blocks.next(), blocks.next()) else {
            return Err(missing());
        };
        let messages = first.block.messages;
        let index = messages
            .iter()
            .position(|message| proposes(message, pack))
            .ok_or_else(missing)?;
        let encoded =
            |items: &[SignedMessage]| items.iter().map(encode).collect::<Result<Vec<_>, _>>();
        let number = u32::try_from(index).map_err(|_| missing())?;
        let place = Membership::prove(&encoded(&messages)?, number).ok_or_else(missing)?;
        let results: Vec<Vec<u8>> = outcomes
            .iter()
            .map(Outcome::leaf)
            .collect::<Result<_, _>>()?;
        let outcome_place = Membership::prove(&results, number).ok_or_else(missing)?;
        Ok(Self {
            header: first.block.header,
            certificate: first.certificate,
            message: messages.into_iter().nth(index).ok_or_else(missing)?,
            place,
            next: second.block.header,
            next_certificate: second.certificate,
            outcome: outcomes.into_iter().nth(index).ok_or_else(missing)?,
            outcome_place,
        })
    }
}

fn proposes(message: &SignedMessage, pack: PackId) -> bool {
    matches!(&message.message.body, Body::ProposeDealSet(proposal)
        if proposal.pack.id().is_ok_and(|id| id == pack))
}

/// Why a receipt shows nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not the JSON of one.
    #[error("this is no receipt: {0}")]
    Malformed(String),
    /// Of a later program.
    #[error("this receipt has version {0}; this program reads version 1, use a newer one")]
    Version(u32),
    /// Another network's.
    #[error("this receipt is of network {found}, and this is {wanted}")]
    OtherNetwork {
        /// Whose it is.
        found: NetworkId,
        /// Which was asked for.
        wanted: NetworkId,
    },
    /// It names no pack, and nothing is stored in none.
    #[error("this receipt shows nothing: it names no pack")]
    Empty,
    /// Its blocks are not final by the network's first validators.
    #[error(
        "the receipt of pack {pack} is of blocks that the network's first validators did not make final: it is forged, or others have ordered them; with --follow the chain is followed to them"
    )]
    OtherValidators {
        /// Which pack.
        pack: PackId,
    },
    /// It contradicts itself or a signature does not hold.
    #[error("the receipt of pack {pack} does not hold: {reason}")]
    Broken {
        /// Which pack.
        pack: PackId,
        /// Why.
        reason: &'static str,
    },
}

impl PortableReceipt {
    /// Reads a receipt's file.
    ///
    /// # Errors
    /// Bytes that are no receipt, or say something beside it that nobody would check.
    pub fn parse(text: &[u8]) -> Result<Self, ReceiptError> {
        let text = without_check_or_old(text)
            .ok_or_else(|| ReceiptError::Malformed("the file is damaged".into()))?;
        versioned::read_json(RECEIPT_VERSION, &text).map_err(|error| match error {
            Unreadable::Version(version) => ReceiptError::Version(version),
            Unreadable::Malformed(reason) => ReceiptError::Malformed(reason),
        })
    }

    /// Whether it holds, by itself and the network's first validators: every provider signed for
    /// exactly its shard, the deals were proposed on exactly those terms in a final block, and the
    /// ledger took them. (Which worker belongs to which provider is the ledger's to say; the
    /// receipt states what it said when the object was stored.)
    ///
    /// This asks nobody, and trusts more than two thirds of the power of `validators`: they could
    /// sign for such blocks beside the chain, also when they do not order it any more. A receipt of
    /// blocks that others ordered is refused; [`PortableReceipt::verify_on`] follows the chain to it.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn verify(&self, network: NetworkId, validators: &[Validator]) -> Result<(), ReceiptError> {
        self.packs_hold(network)?;
        for pack in &self.packs {
            if !pack.anchor.is_signed(network, validators) {
                return Err(ReceiptError::OtherValidators { pack: pack.pack });
            }
        }
        Ok(())
    }

    /// The same, by a chain that is followed: its blocks are on it, whoever ordered them. The
    /// certificates in the receipt are not looked at.
    ///
    /// # Errors
    /// The first thing that does not hold, or a ledger that does not.
    pub async fn verify_on(&self, light: &mut LightClient) -> Result<(), ClientError> {
        self.packs_hold(light.chain().network())?;
        for pack in &self.packs {
            let next = &pack.anchor.next;
            let shown = light.shows(next.height, next.id()?).await;
            shown.map_err(|error| match error {
                FollowError::NotOnChain { .. } => ReceiptError::Broken {
                    pack: pack.pack,
                    reason: "its block is not on the chain",
                }
                .into(),
                other => ClientError::from(other),
            })?;
        }
        Ok(())
    }

    /// What holds whoever ordered the blocks.
    fn packs_hold(&self, network: NetworkId) -> Result<(), ReceiptError> {
        if self.network != network {
            return Err(ReceiptError::OtherNetwork {
                found: self.network,
                wanted: network,
            });
        }
        if self.packs.is_empty() {
            return Err(ReceiptError::Empty);
        }
        let mut seen = BTreeSet::new();
        for pack in &self.packs {
            let broken = |reason| ReceiptError::Broken {
                pack: pack.pack,
                reason,
            };
            if !seen.insert(pack.pack) {
                return Err(broken("it stands in the receipt twice"));
            }
            pack.verify(network).map_err(broken)?;
        }
        Ok(())
    }
}

impl PackReceipt {
    fn verify(&self, network: NetworkId) -> Result<(), &'static str> {
        let holds = |held: bool, reason| if held { Ok(()) } else { Err(reason) };
        let header = &self.header;
        holds(
            header.id().is_ok_and(|id| id == self.pack),
            "its header has another name",
        )?;
        let Body::ProposeDealSet(proposal) = &self.anchor.message.message.body else {
            return Err("its message proposes no deals");
        };
        holds(
            proposal.pack == *header,
            "its message proposes another pack",
        )?;
        let n = usize::from(header.n);
        let complete =
            self.signed.len() == n && proposal.terms.len() == n && header.shard_roots.len() == n;
        holds(complete, "it has not one receipt for each shard")?;
        let shards = (0..=u8::MAX).zip(&header.shard_roots);
        for ((signed, terms), (shard, root)) in self.signed.iter().zip(&proposal.terms).zip(shards)
        {
            let receipt = &signed.receipt.receipt;
            let same = receipt.pack == self.pack
                && receipt.shard.0 == shard
                && receipt.root == *root
                && receipt.length == header.shard_length;
            holds(same, "a provider signed for other bytes")?;
            let agreed = receipt.provider == terms.provider
                && receipt.tier == terms.tier
                && receipt.price == terms.price
                && receipt.term == terms.term
                && receipt.fund_by == terms.fund_by;
            holds(agreed, "a deal has other terms than its receipt")?;
            let signature = SigningContext::Receipt.verify(
                network,
                signed.worker.as_bytes(),
                receipt,
                &signed.receipt.signature,
            );
            holds(signature, "a provider's signature does not hold")?;
        }
        self.anchor.verify(network, header.owner)
    }
}

impl Anchor {
    /// Whether these validators made both its blocks final.
    fn is_signed(&self, network: NetworkId, validators: &[Validator]) -> bool {
        let first = &self.certificate;
        let next = &self.next_certificate;
        first.is_final(&self.header, network, validators)
            && next.is_final(&self.next, network, validators)
    }

    fn verify(&self, network: NetworkId, owner: Address) -> Result<(), &'static str> {
        let holds = |held: bool, reason| if held { Ok(()) } else { Err(reason) };
        let message = &self.message.message;
        holds(
            message.sender == owner,
            "another account proposed its deals",
        )?;
        let signed = SigningContext::Message.verify(
            network,
            message.sender.as_bytes(),
            message,
            &self.message.signature,
        );
        holds(signed, "the proposal's signature does not hold")?;
        let included = encode(&self.message)
            .is_ok_and(|bytes| self.place.holds(self.header.transactions_root, &bytes));
        holds(included, "the proposal is not in the block")?;
        let follows = self.header.id().is_ok_and(|id| id == self.next.parent);
        holds(follows, "the second block does not follow the first")?;
        let told = self
            .outcome
            .leaf()
            .is_ok_and(|bytes| self.outcome_place.holds(self.next.receipts_root, &bytes));
        holds(
            told && self.outcome_place.index == self.place.index,
            "the next block says something else of the proposal",
        )?;
        holds(
            self.outcome.result == OutcomeResult::Done,
            "the ledger refused the proposal",
        )
    }
}

//! What of a block holds whatever the state is: its signatures. Whoever has several cores finds that
//! out ahead of the execution, which then asks for what was found and checks what was not. Found or
//! not, what comes out is the same.

use crate::admit::Signed;
use crate::beacon;
use crate::block::{CertifiedBlock, MAX_MESSAGES, Validator};
use crate::finality::MOST_VALIDATORS;
use crate::message::{SignedMessage, SigningContext};
use crate::units::{Beacon, BeaconKey, BlockId, NetworkId};

/// What was found of one block's signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Messages that are their senders'.
    pub(crate) signed: Signed,
    /// Whether each signature of the certificate is its signer's.
    certificate: Vec<bool>,
    /// Under which key and after which beacon the block's beacon was found to be signed.
    beacon: Option<(BeaconKey, Beacon)>,
}

impl Facts {
    /// Whether the certificate's signature of that number is its signer's, where it was looked at.
    pub(crate) fn certificate(&self, index: usize) -> Option<bool> {
        self.certificate.get(index).copied()
    }

    /// Whether the block's beacon was found to be that key's after that beacon.
    pub(crate) fn beacon(&self, key: &BeaconKey, previous: Beacon) -> bool {
        self.beacon
            .as_ref()
            .is_some_and(|found| found == &(*key, previous))
    }
}

/// Whether a message is its sender's.
pub(crate) fn is_signed(network: NetworkId, signed: &SignedMessage) -> bool {
    SigningContext::Message.verify(
        network,
        signed.message.sender.as_bytes(),
        &signed.message,
        &signed.signature,
    )
}

/// A block whose signatures were looked at ahead of its execution.
#[derive(Clone, Debug)]
pub struct Checked {
    pub(crate) certified: CertifiedBlock,
    pub(crate) facts: Facts,
    pub(crate) named: Option<BlockId>,
}

impl Checked {
    /// Looks at the signatures of a block of `network` that comes after the beacon `previous`. The
    /// builder's beacon key is taken from `validators`; where it is another by then, the beacon is
    /// verified again when the block is executed.
    pub fn of(
        network: NetworkId,
        certified: CertifiedBlock,
        previous: Beacon,
        validators: &[Validator],
    ) -> Self {
        let header = &certified.block.header;
        // What is too large is refused for that, and not looked at.
        let signed = match certified.block.messages.len() {
            0..=MAX_MESSAGES => {
                let messages = certified.block.messages.iter();
                let signed = messages.filter(|one| is_signed(network, one));
                signed.filter_map(|one| one.id().ok()).collect()
            }
            _ => Signed::default(),
        };
        let certificate = match certified.certificate.signature_count() {
            0..=MOST_VALIDATORS => certified.certificate.signatures_hold(header, network),
            _ => Vec::new(),
        };
        let builder = validators.iter().find(|one| one.key == header.builder);
        let beacon = builder
            .filter(|one| {
                let height = header.height;
                beacon::is_signed(&one.beacon, network, previous, height, &header.beacon)
            })
            .map(|one| (one.beacon, previous));
        let facts = Facts {
            signed,
            certificate,
            beacon,
        };
        Self {
            certified,
            facts,
            named: None,
        }
    }

    /// The same, with the name that the next block has for it: where its certificate does not hold,
    /// that tells whether the header or the certificate was changed.
    pub fn named(self, named: BlockId) -> Self {
        Self {
            named: Some(named),
            ..self
        }
    }

    /// The block.
    pub fn certified(&self) -> &CertifiedBlock {
        &self.certified
    }
}

impl From<CertifiedBlock> for Checked {
    /// Nothing was looked at.
    fn from(certified: CertifiedBlock) -> Self {
        Self {
            certified,
            facts: Facts::default(),
            named: None,
        }
    }
}

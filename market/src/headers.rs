//! Headers, certificates and validators, for who follows the chain without its messages.

use crate::ledger::{Ledger, LedgerError, MOST_BLOCK_BYTES};
use crate::store::StoreError;
use holdfast_market_core::block::{Certificate, Header, Validator, validators_root};
use holdfast_market_core::light::LightBlock;
use holdfast_market_core::message::encode;
use holdfast_market_core::units::{Blocks, Height, TreeRoot};
use holdfast_wire::ledger::HEADER_PAGE;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The bytes of one answer, where it has more than one header.
const MOST_HEADER_BYTES: usize = 4 << 20;

/// A stored block, whose messages are passed over: they were checked when it was committed.
#[derive(Deserialize)]
struct Lean {
    block: LeanBlock,
    certificate: Certificate,
}

#[derive(Deserialize)]
struct LeanBlock {
    header: Header,
    #[serde(rename = "messages")]
    _messages: IgnoredAny,
}

/// The blocks from a height on as they are followed, at most [`HEADER_PAGE`] and `limit`. The last
/// one has its certificate, and so has each that names other validators than the one before it, with
/// their list. Fewer where they are large: no more is read than an answer with whole blocks has.
///
/// # Errors
/// The store fails or is damaged.
pub fn after(ledger: &Ledger, from: Height, limit: usize) -> Result<Vec<LightBlock>, LedgerError> {
    let count = limit.min(HEADER_PAGE);
    let range = from..=ledger.head().height;
    let mut named = named_before(ledger, from)?;
    let mut page: Vec<LightBlock> = Vec::new();
    let mut size = 0usize;
    for (height, bytes) in ledger.store().blocks(range, count, MOST_BLOCK_BYTES)? {
        let lean = lean(ledger, height, &bytes)?;
        let changes = named != Some(lean.block.header.next_validators);
        let mut block = LightBlock {
            header: lean.block.header,
            certificate: Some(lean.certificate),
            next_validators: None,
        };
        if changes {
            block.next_validators = Some(validators(ledger, &block.header)?);
        }
        size = size.saturating_add(encode(&block)?.len());
        if !page.is_empty() && size > MOST_HEADER_BYTES {
            break;
        }
        // The one before is the last no more.
        if let Some(before) = page.last_mut()
            && before.next_validators.is_none()
        {
            before.certificate = None;
        }
        named = Some(block.header.next_validators);
        page.push(block);
    }
    Ok(page)
}

/// One block with its certificate and the validators that it names: where a follower can begin.
///
/// # Errors
/// The store fails or is damaged.
pub fn one(ledger: &Ledger, height: Height) -> Result<Option<LightBlock>, LedgerError> {
    let stored = ledger.store().blocks(height..=height, 1, 0)?;
    let Some((height, bytes)) = stored.into_iter().next() else {
        return Ok(None);
    };
    let lean = lean(ledger, height, &bytes)?;
    Ok(Some(LightBlock {
        next_validators: Some(validators(ledger, &lean.block.header)?),
        header: lean.block.header,
        certificate: Some(lean.certificate),
    }))
}

/// What the block before names; nothing where it is not kept here.
fn named_before(ledger: &Ledger, height: Height) -> Result<Option<TreeRoot>, LedgerError> {
    let before = height.before(Blocks(1));
    if before == Height(0) {
        return Ok(Some(validators_root(&ledger.genesis().validators)?));
    }
    let stored = ledger.store().blocks(before..=before, 1, 0)?;
    let header = stored
        .into_iter()
        .next()
        .map(|(height, bytes)| lean(ledger, height, &bytes))
        .transpose()?;
    Ok(header.map(|lean| lean.block.header.next_validators))
}

fn lean(ledger: &Ledger, height: Height, bytes: &[u8]) -> Result<Lean, StoreError> {
    serde_ipld_dagcbor::from_slice(bytes)
        .map_err(|error| ledger.store().damaged(height, &error.to_string()))
}

fn validators(ledger: &Ledger, header: &Header) -> Result<Vec<Validator>, LedgerError> {
    if let Some(stored) = ledger.store().validators(header.next_validators)? {
        return Ok(stored);
    }
    let genesis = &ledger.genesis().validators;
    match validators_root(genesis)? == header.next_validators {
        true => Ok(genesis.clone()),
        false => Err(ledger
            .store()
            .damaged(header.height, "the validators that it names are missing")
            .into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )]
    use super::*;
    use crate::store::{Commit, Head};
    use crate::testing::Network;
    use crate::validator::ValidatorKeys;
    use holdfast_market_core::block::{Block, CertifiedBlock};
    use holdfast_market_core::light::LightChain;
    use holdfast_market_core::message::SigningContext;
    use holdfast_market_core::tree;
    use holdfast_market_core::units::BeaconSignature;
    use holdfast_market_core::view::Writes;

    #[test]
    fn a_page_has_what_a_follower_needs_and_no_more() {
        let network = Network::new("headers");
        let ledger = network.open();
        let blocks = network.grow(&ledger, 7);
        let page = after(&ledger, Height(1), usize::MAX).unwrap();
        assert_eq!(page.len(), 7);
        for (light, whole) in page.iter().zip(&blocks) {
            assert_eq!(light.header, whole.block.header);
            assert_eq!(light.next_validators, None);
            let last = light.header.height == Height(7);
            assert_eq!(light.certificate.is_some(), last);
        }
        let mut chain = LightChain::begin(&network.genesis).unwrap();
        chain.follow(&page).unwrap();
        assert_eq!(chain.block(), ledger.head().block);
        // Short pages, pages from the middle, and none after the head.
        assert_eq!(after(&ledger, Height(3), 2).unwrap(), {
            let mut two = page[2..4].to_vec();
            two[1].certificate = Some(blocks[3].certificate.clone());
            two
        });
        assert_eq!(after(&ledger, Height(8), 9).unwrap(), []);
        assert_eq!(after(&ledger, Height(3), 0).unwrap(), []);
        // A block to begin at names its validators.
        let four = one(&ledger, Height(4)).unwrap().unwrap();
        assert_eq!(
            four.next_validators,
            Some(network.genesis.validators.clone())
        );
        let place = (Height(4), four.header.id().unwrap());
        let mut chain = LightChain::trust(ledger.network(), place, four).unwrap();
        chain
            .follow(&after(&ledger, Height(5), usize::MAX).unwrap())
            .unwrap();
        assert_eq!(chain.block(), ledger.head().block);
        assert_eq!(one(&ledger, Height(8)).unwrap(), None);
        assert_eq!(one(&ledger, Height(0)).unwrap(), None);
    }

    /// Commits blocks to a ledger's store as they are: block h is signed by `signers[h - 1]` and
    /// names `signers[h]`.
    fn committed(ledger: &Ledger, signers: &[&ValidatorKeys]) {
        for (pair, height) in signers.windows(2).zip(1..) {
            let [signer, next] = pair else { unreachable!() };
            let head = ledger.store().head().unwrap();
            let named = vec![next.validator(1)];
            let header = Header {
                height: Height(height),
                parent: head.block,
                state_root: head.state_root,
                transactions_root: TreeRoot([0; 32]),
                receipts_root: TreeRoot([0; 32]),
                time: 0,
                builder: signer.address(),
                beacon: BeaconSignature([0; 96]),
                next_validators: validators_root(&named).unwrap(),
            };
            let signature = SigningContext::Block
                .sign(ledger.network(), signer.consensus(), &header)
                .unwrap();
            let writes: Writes = [(b"test".to_vec(), Some(vec![height as u8]))].into();
            let nodes = ledger.store().tree();
            let (state_root, tree) = tree::apply(&nodes, Height(height), &writes).unwrap();
            let head = Head {
                height: Height(height),
                block: header.id().unwrap(),
                state_root,
                time: 0,
            };
            let certified = CertifiedBlock {
                block: Block {
                    header,
                    messages: vec![],
                },
                certificate: Certificate::Embedded { signature },
            };
            let commit = Commit {
                certified: &certified,
                outcomes: &[],
                writes: &writes,
                tree: &tree,
                head: &head,
                named: &named,
            };
            ledger.store().commit(&commit).unwrap();
        }
    }

    #[test]
    fn a_page_has_the_certificates_and_lists_of_validators_that_change() {
        let network = Network::new("changes");
        let others = Network::of_several("others", 3);
        let (a, b, c) = (
            network.validator(),
            others[0].validator(),
            others[2].validator(),
        );
        let ledger = network.open();
        committed(&ledger, &[&a, &a, &b, &b, &b, &c, &a, &a, &a]);
        drop(ledger);
        let ledger = network.open();
        let page = after(&ledger, Height(1), usize::MAX).unwrap();
        let with_list: Vec<u64> = page
            .iter()
            .filter(|block| block.next_validators.is_some())
            .map(|block| block.header.height.0)
            .collect();
        assert_eq!(with_list, [2, 5, 6]);
        let with_certificate: Vec<u64> = page
            .iter()
            .filter(|block| block.certificate.is_some())
            .map(|block| block.header.height.0)
            .collect();
        assert_eq!(with_certificate, [2, 5, 6, 8]);
        for size in 1..=8 {
            let mut chain = LightChain::begin(&network.genesis).unwrap();
            while chain.height() < Height(8) {
                let next = Height(chain.height().0 + 1);
                chain.follow(&after(&ledger, next, size).unwrap()).unwrap();
            }
            assert_eq!(chain.block(), ledger.head().block);
        }
        for height in 1..=7 {
            let begun = one(&ledger, Height(height)).unwrap().unwrap();
            let place = (Height(height), begun.header.id().unwrap());
            let mut chain = LightChain::trust(ledger.network(), place, begun).unwrap();
            let next = Height(height + 1);
            chain.follow(&after(&ledger, next, 9).unwrap()).unwrap();
            assert_eq!(chain.block(), ledger.head().block);
        }
    }
}

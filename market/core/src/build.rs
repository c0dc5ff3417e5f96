//! Building a block: which messages, and the header that the rules will find right.

use crate::admit::{self, AdmitError, Known, Signed};
use crate::beacon::BeaconSecret;
use crate::block::{
    Block, Header, MAX_BYTES, MAX_MESSAGES, transactions_root, validators_root, work_fits,
};
use crate::execute::BlockError;
use crate::message::{SignedMessage, encode};
use crate::query;
use crate::quote;
use crate::refusal::Refusal;
use crate::rules::Rules;
use crate::state::Account;
use crate::units::{Address, Amount, Height, TreeRoot};
use crate::view::{ReadView, ViewError};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// What a builder brings.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Its consensus key.
    pub builder: Address,
    /// Its beacon key.
    pub beacon: BeaconSecret,
    /// Milliseconds since the Unix epoch by its clock; raised to the parent's where it is behind.
    pub time: u64,
    /// The state tree's root after the parent.
    pub state_root: TreeRoot,
}

/// What is left of candidates once those that no next block may hold are sorted out.
#[derive(Debug, Default)]
pub struct Selection {
    /// In the order of the candidates: they fit into one block together.
    pub kept: Vec<SignedMessage>,
    /// Not for this block, but perhaps for a later one: numbers with a gap before them, or no room.
    pub later: Vec<SignedMessage>,
    /// For no block any more, and why.
    pub dropped: Vec<(SignedMessage, AdmitError)>,
}

/// Chooses messages for the next block in one pass. Whatever is kept is executable together: a
/// block's fees are taken before its first body, so each sender's balance at the head must pay all
/// of its fees. Signatures in `known` are not checked again.
///
/// # Errors
/// The store cannot be read.
pub fn select(
    view: &impl ReadView,
    rules: &Rules,
    candidates: Vec<SignedMessage>,
    known: &Signed,
) -> Result<Selection, ViewError> {
    let height = Height(query::chain(view)?.height.0.saturating_add(1));
    let economy = query::economy(view)?;
    // Each account once the fees of what was kept are paid, and its balance at the head.
    let mut accounts: BTreeMap<Address, (Account, Amount)> = BTreeMap::new();
    let mut selection = Selection::default();
    let (mut room, mut done) = (MAX_BYTES, 0usize);
    for signed in candidates {
        let sender = signed.message.sender;
        let (account, whole) = match accounts.entry(sender) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let account = query::account(view, &sender)?;
                let whole = account.balance;
                unknown.insert((account, whole))
            }
        };
        let fee = signed.message.fee;
        let checked = encode(&signed).map_err(Refusal::from).and_then(|encoded| {
            let known = Known::of(&encoded, known);
            admit::check(
                rules.network,
                &economy,
                &signed,
                known,
                height,
                account.nonce,
            )?;
            admit::check_funds(*whole, fee).map(|()| known.bytes)
        });
        match checked {
            Err(why) => selection.dropped.push((signed, why.into())),
            Ok(size) => {
                let work = quote::work(&signed.message.body);
                let fits =
                    size <= room && selection.kept.len() < MAX_MESSAGES && work_fits(done, work);
                let paid = account.balance.checked_sub(fee);
                if let Some(rest) = paid
                    && signed.message.nonce == account.nonce
                    && fits
                {
                    room = room.saturating_sub(size);
                    done = done.saturating_add(work);
                    account.balance = rest;
                    account.nonce = account.nonce.saturating_add(1);
                    selection.kept.push(signed);
                } else {
                    selection.later.push(signed);
                }
            }
        }
    }
    Ok(selection)
}

/// The next block with these messages.
///
/// # Errors
/// State that cannot be read, or a message that cannot be encoded.
pub fn block(
    view: &impl ReadView,
    rules: &Rules,
    turn: &Turn,
    messages: Vec<SignedMessage>,
) -> Result<Block, BlockError> {
    let chain = query::chain(view)?;
    let height = Height(chain.height.0.saturating_add(1));
    let previous = query::beacon(view, chain.height)?
        .ok_or_else(|| ViewError("the last beacon is missing from state".into()))?;
    Ok(Block {
        header: Header {
            height,
            parent: chain.last,
            state_root: turn.state_root,
            transactions_root: transactions_root(&messages)?,
            receipts_root: chain.receipts_root,
            time: turn.time.max(chain.time),
            builder: turn.builder,
            beacon: turn.beacon.sign(rules.network, previous, height),
            next_validators: validators_root(&query::validators(view)?.after)?,
        },
        messages,
    })
}

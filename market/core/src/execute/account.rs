//! What any account may ask: transfers and names.

use super::Context;
use crate::refusal::{Refusal, Stop, require, require_range};
use crate::state::Name;
use crate::units::{Address, Amount};
use crate::view::ReadView;

/// Bytes of a name's label, at most.
pub const MAX_LABEL_BYTES: usize = 64;
/// Bytes of a name's content identifier, at most.
pub const MAX_ROOT_BYTES: usize = 64;

impl<V: ReadView> Context<'_, V> {
    pub(super) fn transfer(
        &mut self,
        from: &Address,
        to: &Address,
        amount: Amount,
    ) -> Result<(), Stop> {
        require(amount != Amount::ZERO, || Refusal::Empty("the amount"))?;
        self.ledger.debit(from, amount)?;
        self.ledger.credit(to, amount)
    }

    pub(super) fn publish_name(
        &mut self,
        owner: &Address,
        label: &str,
        version: u64,
        root: &[u8],
    ) -> Result<(), Stop> {
        require_range(
            "the label's length",
            label.len() as u64,
            1,
            MAX_LABEL_BYTES as u64,
        )?;
        require_range(
            "the root's length",
            root.len() as u64,
            1,
            MAX_ROOT_BYTES as u64,
        )?;
        let malformed = |why: String| Refusal::Malformed {
            what: "the content identifier",
            why,
        };
        let cid = cid::Cid::try_from(root).map_err(|error| malformed(error.to_string()))?;
        require(cid.to_bytes() == root, || {
            malformed("it is not in its shortest form".into())
        })?;
        if let Some(before) = self.ledger.name(owner, label)? {
            // The last version of all has none after it.
            require(version > before.version, || Refusal::Range {
                what: "the version",
                found: version,
                least: before.version.saturating_add(1),
                most: u64::MAX,
            })?;
        }
        let name = Name {
            version,
            root: root.to_vec(),
            at: self.height,
        };
        self.ledger.put_name(owner, label, &name)
    }
}

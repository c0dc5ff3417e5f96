//! Names: what they point at, who may say so now, and whose they become.
//!
//! A name is its owner and its label. Whoever follows one trusts its owner, so nothing but the owner's
//! word changes either: a name that is given away leaves behind where it went, and its old owner cannot
//! put another there.

use super::Context;
use crate::message::LeaseClaim;
use crate::refusal::{Refusal, Stop, require, require_range};
use crate::state::{Lease, Name};
use crate::units::{Address, Blocks, Height};
use crate::view::ReadView;

/// Bytes of a name's label, at most.
pub const MAX_LABEL_BYTES: usize = 64;
/// Bytes of a name's content identifier, at most.
pub const MAX_ROOT_BYTES: usize = 64;
/// A lease lasts so many blocks at most: it is renewed while it is used, and a holder that is gone
/// keeps a name from others no longer than that.
pub const MAX_LEASE: Blocks = Blocks(14_400);
/// By so much a version rises at most where it is published under a lease.
const MOST_STEP: u64 = 1 << 20;

impl<V: ReadView> Context<'_, V> {
    pub(super) fn publish_name(
        &mut self,
        sender: &Address,
        label: &str,
        version: u64,
        root: &[u8],
        lease: Option<LeaseClaim>,
    ) -> Result<(), Stop> {
        check_label(label)?;
        check_root(root)?;
        let owner = lease.map_or(*sender, |lease| lease.owner);
        self.require_not_moved(&owner, label)?;
        let before = self.ledger.name(&owner, label)?;
        match lease {
            Some(lease) => self.require_held(before.as_ref(), sender, lease.token)?,
            None => self.require_unleased(before.as_ref())?,
        }
        let name = match before {
            Some(before) => {
                // Who holds a lease cannot use up the owner's versions, of which the last has none after it.
                let most = match lease {
                    Some(_) => before.version.saturating_add(MOST_STEP),
                    None => u64::MAX,
                };
                let in_turn = before.version < version && version <= most;
                require(in_turn, || Refusal::Range {
                    what: "the version",
                    found: version,
                    least: before.version.saturating_add(1),
                    most,
                })?;
                Name {
                    version,
                    root: root.to_vec(),
                    at: self.height,
                    ..before
                }
            }
            None => Name {
                version,
                root: root.to_vec(),
                at: self.height,
                lease: None,
                offered: None,
            },
        };
        self.ledger.put_name(&owner, label, &name)
    }

    /// An owner offers its name, or the account that it was offered to takes it: nobody is given one
    /// that it does not want, since a client may look for a name of its own under that label.
    pub(super) fn transfer_name(
        &mut self,
        sender: &Address,
        owner: &Address,
        label: &str,
        to: &Address,
    ) -> Result<(), Stop> {
        check_label(label)?;
        self.require_not_moved(owner, label)?;
        let mut name = self.named(owner, label)?;
        if sender == owner {
            name.offered = (to != owner).then_some(*to);
            return self.ledger.put_name(owner, label, &name);
        }
        require(sender == to && name.offered == Some(*to), || {
            Refusal::NotOwner(format!("the name `{label}`, and whom it is offered to,"))
        })?;
        // Who holds a lease has been promised to publish it, and to publish it as this owner's.
        self.require_unleased(Some(&name))?;
        let there = || Refusal::Exists(format!("a name `{label}` of {to}"));
        require(self.ledger.name(to, label)?.is_none(), there)?;
        // Where a name went from there, whoever follows it must not find another; to give one back
        // is no other.
        let went = self.ledger.moved_name(to, label)?;
        require(went.is_none_or(|went| went == *owner), there)?;
        name.offered = None;
        self.ledger.move_name(owner, to, label, &name)
    }

    pub(super) fn acquire_lease(
        &mut self,
        sender: &Address,
        label: &str,
        holder: &Address,
        blocks: Blocks,
        token: Option<u64>,
    ) -> Result<(), Stop> {
        check_label(label)?;
        require_range("the number of blocks", blocks.0, 1, MAX_LEASE.0)?;
        self.require_not_moved(sender, label)?;
        let mut name = self.named(sender, label)?;
        let token = match token {
            Some(token) => {
                self.require_held(Some(&name), holder, token)?;
                token
            }
            None => {
                self.require_unleased(Some(&name))?;
                let last = name.lease.as_ref().map_or(0, |lease| lease.token);
                last.checked_add(1).ok_or(Refusal::Overflow)?
            }
        };
        name.lease = Some(Lease {
            holder: *holder,
            token,
            until: self.height.after(Blocks(blocks.0.saturating_sub(1))),
        });
        self.ledger.put_name(sender, label, &name)
    }

    pub(super) fn release_lease(
        &mut self,
        sender: &Address,
        label: &str,
        claim: LeaseClaim,
    ) -> Result<(), Stop> {
        check_label(label)?;
        let owner = claim.owner;
        self.require_not_moved(&owner, label)?;
        let mut name = self.named(&owner, label)?;
        let refused = || Refusal::NoLease {
            sender: *sender,
            token: claim.token,
        };
        // With the token, so that a word that comes late ends no later lease.
        let mut lease = name.held(self.height).cloned().ok_or_else(refused)?;
        let may = *sender == lease.holder || *sender == owner;
        require(may && lease.token == claim.token, refused)?;
        lease.until = Height(self.height.0.saturating_sub(1));
        name.lease = Some(lease);
        self.ledger.put_name(&owner, label, &name)
    }

    fn named(&self, owner: &Address, label: &str) -> Result<Name, Stop> {
        let name = self.ledger.name(owner, label)?;
        Ok(name.ok_or_else(|| Refusal::NoName {
            owner: *owner,
            label: label.into(),
        })?)
    }

    fn require_not_moved(&self, owner: &Address, label: &str) -> Result<(), Stop> {
        match self.ledger.moved_name(owner, label)? {
            None => Ok(()),
            Some(to) => Err(Refusal::NameMoved {
                label: label.into(),
                to,
            }
            .into()),
        }
    }

    /// Nobody holds a lease of it now.
    fn require_unleased(&self, name: Option<&Name>) -> Result<(), Stop> {
        match name.and_then(|name| name.held(self.height)) {
            None => Ok(()),
            Some(lease) => Err(Refusal::Leased {
                holder: lease.holder,
                token: lease.token,
                until: lease.until,
            }
            .into()),
        }
    }

    /// `holder` holds the lease with that token now.
    fn require_held(&self, name: Option<&Name>, holder: &Address, token: u64) -> Result<(), Stop> {
        let held = name.and_then(|name| name.held(self.height));
        let holds = held.is_some_and(|lease| lease.holder == *holder && lease.token == token);
        require(holds, || Refusal::NoLease {
            sender: *holder,
            token,
        })
    }
}

fn check_label(label: &str) -> Result<(), Stop> {
    require_range(
        "the label's length",
        label.len() as u64,
        1,
        MAX_LABEL_BYTES as u64,
    )
}

fn check_root(root: &[u8]) -> Result<(), Stop> {
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
    })
}

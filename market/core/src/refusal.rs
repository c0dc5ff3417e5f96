//! Why a message's body is refused, in one sentence each.

use crate::equivocation::NoEquivocation;
use crate::governance::ChangeError;
use crate::message::Unencodable;
use crate::quote::Unpayable;
use crate::units::{
    Address, Amount, DealId, Height, PackId, ProposalId, ProviderId, SectorId, Stake,
};
use crate::view::ViewError;
use holdfast_proofs::sector::Group;
use holdfast_proofs::verify::VerifyError;

/// A message, or its body, that the rules do not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The signature is not the sender's for this network.
    #[error("the signature is not the sender's for this network")]
    Signature,
    /// Larger than a message may be.
    #[error("the message has {bytes} bytes, the most is {most}; split it")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most.
        most: usize,
    },
    /// It cannot be encoded.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
    /// The number was used.
    #[error(
        "the message has number {found}, the account's next is {next}; number it {next} and sign again"
    )]
    NonceUsed {
        /// What it carries.
        found: u64,
        /// What the account has next.
        next: u64,
    },
    /// Messages before it are missing.
    #[error(
        "the message has number {found}, but the account's next is {next}; send those before it first"
    )]
    NonceGap {
        /// What it carries.
        found: u64,
        /// What the account has next.
        next: u64,
    },
    /// Too late.
    #[error(
        "the message expired at height {expiry} and this is {height}; sign it again with a later expiry"
    )]
    Expired {
        /// Its last height.
        expiry: Height,
        /// This height.
        height: Height,
    },
    /// The fee is below the least.
    #[error("the fee is {offered}, the least for this message is {least}")]
    FeeTooLow {
        /// What it offers.
        offered: Amount,
        /// What it costs.
        least: Amount,
    },
    /// The account cannot pay.
    #[error("the account has {have} and this takes {need}; fund it with {missing} more")]
    Funds {
        /// What is there.
        have: Amount,
        /// What it takes.
        need: Amount,
        /// The difference.
        missing: Amount,
    },
    /// Collateral that is free does not suffice.
    #[error("the provider has {have} of free collateral and this needs {need}; add {missing} more")]
    Collateral {
        /// What is free.
        have: Amount,
        /// What it takes.
        need: Amount,
        /// The difference.
        missing: Amount,
    },
    /// Beyond the numbers.
    #[error("an amount is beyond the numbers of the ledger")]
    Overflow,
    /// A price beyond the numbers.
    #[error(transparent)]
    Unpayable(#[from] Unpayable),
    /// Nothing is done by it.
    #[error("{0} is empty; name at least one")]
    Empty(&'static str),
    /// Something is listed more than once, or out of order.
    #[error("{0} must be listed once each, in ascending order")]
    NotAscending(&'static str),
    /// A number that must lie in a range does not.
    #[error("{what} is {found}; it must be between {least} and {most}")]
    Range {
        /// What.
        what: &'static str,
        /// As given.
        found: u64,
        /// The least allowed.
        least: u64,
        /// The most allowed.
        most: u64,
    },
    /// Two things that must be equal are not.
    #[error("{what} is {found}; it must be {expected}")]
    Mismatch {
        /// What.
        what: &'static str,
        /// As given.
        found: String,
        /// As it must be.
        expected: String,
    },
    /// No such provider.
    #[error("there is no provider {0}")]
    NoProvider(ProviderId),
    /// No such sector.
    #[error("there is no sector {0}")]
    NoSector(SectorId),
    /// No such deal set.
    #[error("there is no deal set of pack {0}")]
    NoDealSet(PackId),
    /// No such deal.
    #[error("there is no deal {0}")]
    NoDeal(DealId),
    /// No such channel.
    #[error(
        "there is no channel to provider {provider} of this payer on which {reader} signs; it opens with a deposit"
    )]
    NoChannel {
        /// Whose end.
        provider: ProviderId,
        /// Whose vouchers.
        reader: Address,
    },
    /// A channel that closes takes nothing more.
    #[error("the channel to provider {provider} closes at height {end}; open it anew after that")]
    ChannelCloses {
        /// Whose end.
        provider: ProviderId,
        /// When.
        end: Height,
    },
    /// A voucher that its reader did not sign.
    #[error("the voucher is not signed by {0} for this network")]
    VoucherSignature(Address),
    /// A voucher for what was paid already, or for more than there is.
    #[error(
        "the voucher is for {amount}; it must be above the {redeemed} that was paid and at most the deposit of {deposit}"
    )]
    Voucher {
        /// What it says.
        amount: Amount,
        /// What was paid.
        redeemed: Amount,
        /// What is there.
        deposit: Amount,
    },
    /// A repair budget that does not pay for what is claimed.
    #[error(
        "the repair budget has {have} and this repair needs {need}; top it up with {missing} more"
    )]
    RepairBudget {
        /// What is there.
        have: Amount,
        /// What it takes.
        need: Amount,
        /// The difference.
        missing: Amount,
    },
    /// Enough shards are there.
    #[error(
        "{living} shards of pack {pack} are there or being repaired, and its owner has repairs below {threshold} only"
    )]
    RepairNotDue {
        /// Of which.
        pack: PackId,
        /// So many.
        living: u8,
        /// The owner's threshold.
        threshold: u8,
    },
    /// No such name.
    #[error("{owner} has no name `{label}`; it begins with its first publication")]
    NoName {
        /// Whose.
        owner: Address,
        /// Which.
        label: String,
    },
    /// The name is another account's by now.
    #[error("the name `{label}` was given to {to}; follow it there")]
    NameMoved {
        /// Which.
        label: String,
        /// Whose it became.
        to: Address,
    },
    /// A name that is leased to somebody.
    #[error(
        "the name is leased to {holder} with token {token} until height {until}; act under that lease, release it, or wait"
    )]
    Leased {
        /// Who publishes it.
        holder: Address,
        /// The lease's token.
        token: u64,
        /// Its last height.
        until: Height,
    },
    /// A lease that is over, or another's.
    #[error(
        "{sender} holds no lease of this name with token {token}; look at the name and acquire a lease anew"
    )]
    NoLease {
        /// Who acts under it.
        sender: Address,
        /// The token that it names.
        token: u64,
    },
    /// Nobody stakes here.
    #[error("this network's validators are those of its genesis; nothing can be staked here")]
    FixedValidators,
    /// Nobody votes here.
    #[error("this network's numbers are those of its genesis; there are no votes on them")]
    FixedParameters,
    /// No such proposal.
    #[error("there is no proposal {0}")]
    NoProposal(ProposalId),
    /// A number that cannot be.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// No such validator.
    #[error("there is no validator {0}")]
    NoValidator(Address),
    /// Nothing at stake there.
    #[error(
        "the sender has {have} HOLD at stake with validator {validator}, and this needs {need}"
    )]
    NoStake {
        /// With whom.
        validator: Address,
        /// What there is.
        have: Stake,
        /// What it takes.
        need: Stake,
    },
    /// A beacon key without its secret.
    #[error("the proof of possession is not of this beacon key; make it with the key's secret")]
    Possession,
    /// Two statements that show nothing.
    #[error(transparent)]
    NoEquivocation(#[from] NoEquivocation),
    /// Only the owner may.
    #[error("only the owner of {0} may do this")]
    NotOwner(String),
    /// Only the worker may.
    #[error("only the worker of provider {0} may do this")]
    NotWorker(ProviderId),
    /// It exists already.
    #[error("{0} exists already")]
    Exists(String),
    /// Not in the state that this needs.
    #[error("{what} is {found}; this needs {needed}")]
    State {
        /// What.
        what: String,
        /// How it stands.
        found: &'static str,
        /// How it must stand.
        needed: &'static str,
    },
    /// Before its time.
    #[error("{what} cannot be included before height {first}; this is {height}")]
    TooEarly {
        /// What.
        what: &'static str,
        /// The first height.
        first: Height,
        /// This height.
        height: Height,
    },
    /// After its time.
    #[error("{what} was due by height {last}; this is {height}")]
    TooLate {
        /// What.
        what: &'static str,
        /// The last height.
        last: Height,
        /// This height.
        height: Height,
    },
    /// A beacon that state no longer (or not yet) has.
    #[error("the beacon of height {0} is not known to the ledger (any more)")]
    NoBeacon(Height),
    /// Roots that do not hash up.
    #[error("{0} do not hash to the root that the ledger has")]
    Roots(&'static str),
    /// A layout that cannot be.
    #[error("group {}: {why}", .group.index())]
    Layout {
        /// Which group.
        group: Group,
        /// What is wrong.
        why: String,
    },
    /// Text that is malformed.
    #[error("{what} is not well formed: {why}")]
    Malformed {
        /// What.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The proof does not hold.
    #[error("the proof of sector {sector} was refused: {why}")]
    Proof {
        /// Whose.
        sector: SectorId,
        /// What the verifier says.
        why: VerifyError,
    },
    /// The statement cannot even be formed.
    #[error("the proof's statement cannot be formed: {0}")]
    Statement(String),
    /// An opening that does not hold under one of its roots.
    #[error("the opening does not hold under {0}")]
    Opening(&'static str),
    /// Both roots are of the same bytes.
    #[error("both roots are of the same bytes here; there is no fraud to show")]
    NoFraud,
}

/// Why a rule stops: the message is at fault, or the state is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The message is refused; the block goes on.
    Refused(Refusal),
    /// State cannot be read, or is not what the rules wrote: nothing can go on.
    Broken(ViewError),
}

impl<T: Into<Refusal>> From<T> for Stop {
    fn from(refusal: T) -> Self {
        Stop::Refused(refusal.into())
    }
}

impl From<ViewError> for Stop {
    fn from(error: ViewError) -> Self {
        Stop::Broken(error)
    }
}

/// Refuses unless `holds`.
pub(crate) fn require(holds: bool, refusal: impl FnOnce() -> Refusal) -> Result<(), Stop> {
    if holds {
        Ok(())
    } else {
        Err(Stop::Refused(refusal()))
    }
}

/// Refuses a number outside its range.
pub(crate) fn require_range(
    what: &'static str,
    found: u64,
    least: u64,
    most: u64,
) -> Result<(), Stop> {
    require((least..=most).contains(&found), || Refusal::Range {
        what,
        found,
        least,
        most,
    })
}

/// Refuses where two things differ.
pub(crate) fn require_equal<T: PartialEq + ToString>(
    what: &'static str,
    found: &T,
    expected: &T,
) -> Result<(), Stop> {
    require(found == expected, || Refusal::Mismatch {
        what,
        found: found.to_string(),
        expected: expected.to_string(),
    })
}

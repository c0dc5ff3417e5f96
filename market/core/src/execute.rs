//! Executing a block: header, messages, block end.

mod account;
mod block_end;
mod channel;
mod deal;
mod due;
mod election;
mod embed;
mod governance;
mod name;
mod opening;
mod promise;
mod provider;
mod repair;
mod sector;
mod spacetime;
mod stake;
#[cfg(test)]
mod tests;
mod validator;

use crate::admit::{self, Known, Signed};
use crate::beacon;
use crate::block::{
    Block, Header, MAX_BYTES, MAX_MESSAGES, MAX_WORK, Outcome, OutcomeResult, encoded,
    receipts_root, validators_root, work_fits,
};
use crate::facts::Facts;
use crate::keys;
use crate::ledger::{Ledger, take};
use crate::message::{Body, Message, SignedMessage, Unencodable};
use crate::parameters::Parameters;
use crate::quote;
use crate::refusal::{Refusal, Stop};
use crate::rules::Rules;
use crate::schedule;
use crate::units::{Address, Height};
use crate::view::{ReadView, ViewError, Writes};
use holdfast_proofs::proof::ProofBytes;
use holdfast_proofs::statement::Statement;
use holdfast_proofs::verify::VerifyError;

/// What a block does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// What it changes.
    pub writes: Writes,
    /// What came of each message, in order.
    pub outcomes: Vec<Outcome>,
    /// Proofs that held.
    pub proofs: ProofTally,
}

/// Proofs that held, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProofTally {
    /// Groth16 proofs of seals.
    pub seal: u64,
    /// Groth16 proofs of embeds.
    pub embed: u64,
    /// Groth16 proofs of spacetime.
    pub spacetime: u64,
}

impl ProofTally {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.seal
            .saturating_add(self.embed)
            .saturating_add(self.spacetime)
    }

    /// Both together.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            seal: self.seal.saturating_add(other.seal),
            embed: self.embed.saturating_add(other.embed),
            spacetime: self.spacetime.saturating_add(other.spacetime),
        }
    }
}

/// Why a block cannot be executed: it is not a block of this chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Not the next.
    #[error("the block has height {found}, the next is {next}")]
    Height {
        /// As it says.
        found: Height,
        /// The next.
        next: Height,
    },
    /// A header field that does not fit state or messages.
    #[error("the header's {0} is not what the chain and the messages give")]
    Header(&'static str),
    /// Nobody who may build.
    #[error("{0} is not a validator and cannot build a block")]
    Builder(Address),
    /// The beacon signature does not verify.
    #[error("the header's beacon is not its builder's signature for this turn")]
    Beacon,
    /// Too much in it.
    #[error("the block has {found} {what}, at most {most} are allowed")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How much.
        found: usize,
        /// The most.
        most: usize,
    },
    /// A message that no block may hold.
    #[error("message {index} cannot be in this block: {why}")]
    Inadmissible {
        /// Which.
        index: usize,
        /// Why.
        why: Refusal,
    },
    /// It cannot be encoded.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
    /// State cannot be read, or is not what the rules wrote.
    #[error(transparent)]
    State(#[from] ViewError),
    /// The books do not balance: a defect in the rules. Nothing is written.
    #[error(
        "the token's books do not balance after {0}; this is a defect, the block is not executed"
    )]
    Books(&'static str),
}

impl BlockError {
    /// Which message makes the block impossible, where it is one: a builder leaves it out.
    pub fn message(&self) -> Option<usize> {
        match self {
            Self::Inadmissible { index, .. } => Some(*index),
            _ => None,
        }
    }
}

/// A statement and the proofs that are to show it.
pub type Claim = (Statement, Vec<ProofBytes>);

/// How a block's proofs are taken.
pub(crate) enum Proofs<'a> {
    /// Verified where a message brings them: what the rules say.
    Verified,
    /// Taken for true and kept, for an audit that verifies many blocks' proofs together: what is
    /// executed counts only once all of them were found to hold.
    Believed(&'a mut Vec<Claim>),
}

/// What rules work with while a block is executed.
pub(crate) struct Context<'a, V: ReadView> {
    pub rules: &'a Rules,
    /// The numbers of the rules as they stand in this block.
    pub parameters: Parameters,
    pub ledger: Ledger<'a, V>,
    pub height: Height,
    /// Who built the block.
    pub builder: Address,
    pub proofs: ProofTally,
    /// Deals and sectors whose late deadlines messages have closed, also where one was refused
    /// afterwards: the work was done.
    pub closed: usize,
    /// Whether who may order has changed.
    pub elects: bool,
    /// How proofs are taken.
    pub taken: Proofs<'a>,
}

/// Executes the next block on the state after the one before.
///
/// # Errors
/// A block that is not the chain's next: nothing of it is done.
pub fn execute<V: ReadView>(
    view: &V,
    rules: &Rules,
    block: &Block,
) -> Result<Execution, BlockError> {
    execute_knowing(view, rules, block, &Signed::default())
}

/// The same, without checking again the signatures that the caller has found right.
///
/// # Errors
/// As [`execute`].
pub fn execute_knowing<V: ReadView>(
    view: &V,
    rules: &Rules,
    block: &Block,
    signed: &Signed,
) -> Result<Execution, BlockError> {
    let ledger = Ledger::open(view)?;
    let encoded = check_header(&ledger, rules, block, &Facts::default())?;
    let known = encoded.iter().map(|bytes| Known::of(bytes, signed));
    run(ledger, rules, block, &known.collect::<Vec<_>>())
}

/// The same for an audit: some signatures were looked at before, and proofs may be verified later.
pub(crate) fn execute_given<'a, V: ReadView>(
    view: &'a V,
    rules: &'a Rules,
    block: &Block,
    facts: &Facts,
    taken: Proofs<'a>,
) -> Result<Execution, BlockError> {
    let ledger = Ledger::open(view)?;
    let encoded = check_header(&ledger, rules, block, facts)?;
    let known = encoded.iter().map(|bytes| Known::of(bytes, &facts.signed));
    run_taking(ledger, rules, block, &known.collect::<Vec<_>>(), taken)
}

/// What is wrong with the block's header, signatures of the certificate aside.
pub(crate) fn header_fault<V: ReadView>(
    view: &V,
    rules: &Rules,
    block: &Block,
) -> Option<BlockError> {
    let checked = Ledger::open(view)
        .map_err(BlockError::from)
        .and_then(|ledger| check_header(&ledger, rules, block, &Facts::default()));
    checked.err()
}

/// What the block's messages would do, whatever its header says and whoever signed them: for saying
/// what is wrong with a message of a block that is refused.
pub(crate) fn outcomes_of_content<V: ReadView>(
    view: &V,
    rules: &Rules,
    block: &Block,
) -> Result<Vec<Outcome>, BlockError> {
    let ledger = Ledger::open(view)?;
    let encoded = encoded(&block.messages)?;
    let signed = Signed::default();
    let known = encoded.iter().map(|bytes| Known {
        is_signed: true,
        ..Known::of(bytes, &signed)
    });
    run(ledger, rules, block, &known.collect::<Vec<_>>()).map(|done| done.outcomes)
}

/// What follows once the header is found right.
fn run<V: ReadView>(
    ledger: Ledger<'_, V>,
    rules: &Rules,
    block: &Block,
    known: &[Known],
) -> Result<Execution, BlockError> {
    run_taking(ledger, rules, block, known, Proofs::Verified)
}

/// The same, with proofs taken in one way or the other.
fn run_taking<'a, V: ReadView>(
    ledger: Ledger<'a, V>,
    rules: &'a Rules,
    block: &Block,
    known: &[Known],
    taken: Proofs<'a>,
) -> Result<Execution, BlockError> {
    let header = &block.header;
    let mut context = Context {
        rules,
        parameters: rules.parameters_at(&ledger)?,
        ledger,
        height: header.height,
        builder: header.builder,
        proofs: ProofTally::default(),
        closed: 0,
        elects: false,
        taken,
    };
    context.begin(header)?;
    context.charge_all(&block.messages, known)?;
    let mut outcomes = Vec::with_capacity(block.messages.len());
    for (signed, known) in block.messages.iter().zip(known) {
        outcomes.push(Outcome {
            message: known.id,
            result: context.message(&signed.message)?,
        });
    }
    context.ledger.mark();
    context.end_block().map_err(broken)?;
    context.ledger.chain.receipts_root = receipts_root(&outcomes)?;
    if !context.ledger.supply().balances_out() {
        return Err(BlockError::Books("the block"));
    }
    Ok(Execution {
        proofs: context.proofs,
        writes: context.ledger.finish()?,
        outcomes,
    })
}

/// Whether the header is the next one's; each message's canonical bytes.
fn check_header<V: ReadView>(
    ledger: &Ledger<'_, V>,
    rules: &Rules,
    block: &Block,
    facts: &Facts,
) -> Result<Vec<Vec<u8>>, BlockError> {
    let (header, chain) = (&block.header, &ledger.chain);
    let validators = crate::query::validators(ledger)?;
    let next = Height(chain.height.0.saturating_add(1));
    if header.height != next {
        return Err(BlockError::Height {
            found: header.height,
            next,
        });
    }
    if block.messages.len() > MAX_MESSAGES {
        return Err(BlockError::TooLarge {
            what: "messages",
            found: block.messages.len(),
            most: MAX_MESSAGES,
        });
    }
    let encoded = encoded(&block.messages)?;
    let fields = [
        ("parent", header.parent == chain.last),
        ("time", header.time >= chain.time),
        ("receipts_root", header.receipts_root == chain.receipts_root),
        (
            "transactions_root",
            header.transactions_root == crate::list::root(&encoded),
        ),
        (
            "next_validators",
            header.next_validators == validators_root(&validators.after)?,
        ),
    ];
    if let Some((field, _)) = fields.into_iter().find(|(_, holds)| !holds) {
        return Err(BlockError::Header(field));
    }
    let builder = validators
        .next
        .iter()
        .find(|validator| validator.key == header.builder)
        .ok_or(BlockError::Builder(header.builder))?;
    let previous = crate::query::beacon(ledger, chain.height)?
        .ok_or_else(|| ViewError("the last beacon is missing from state".into()))?;
    let found = facts.beacon(&builder.beacon, previous);
    if found
        || beacon::is_signed(
            &builder.beacon,
            rules.network,
            previous,
            header.height,
            &header.beacon,
        )
    {
        Ok(encoded)
    } else {
        Err(BlockError::Beacon)
    }
}

impl<V: ReadView> Context<'_, V> {
    /// What a block changes before its messages: the chain's place and the beacon.
    fn begin(&mut self, header: &Header) -> Result<(), BlockError> {
        let chain = &mut self.ledger.chain;
        chain.height = header.height;
        chain.time = header.time;
        chain.last = header.id()?;
        let value = beacon::value(&header.beacon);
        self.ledger
            .put_beacon(header.height, &value)
            .map_err(broken)?;
        let memory = schedule::beacon_memory(&self.rules.parameters);
        if let Some(old) = header.height.0.checked_sub(memory.0) {
            self.ledger.put(keys::beacon(Height(old)), None);
        }
        Ok(())
    }

    /// Takes every message's fee before any body is looked at: no body can empty an account whose
    /// later fees this block counts on, so what fills a block is always paid for.
    fn charge_all(
        &mut self,
        messages: &[SignedMessage],
        known: &[Known],
    ) -> Result<(), BlockError> {
        let (mut bytes, mut done) = (0usize, 0usize);
        for (index, (signed, known)) in messages.iter().zip(known).enumerate() {
            let message = &signed.message;
            let account = self.ledger.account(&message.sender)?;
            let (network, economy) = (self.rules.network, &self.parameters.economy);
            admit::check(network, economy, signed, *known, self.height, account.nonce)
                .and_then(|()| admit::check_nonce(message.nonce, account.nonce))
                .and_then(|()| admit::check_funds(account.balance, message.fee))
                .map_err(|why| BlockError::Inadmissible { index, why })?;
            bytes = bytes.saturating_add(known.bytes);
            if bytes > MAX_BYTES {
                return Err(BlockError::TooLarge {
                    what: "bytes of messages",
                    found: bytes,
                    most: MAX_BYTES,
                });
            }
            let work = quote::work(&message.body);
            if !work_fits(done, work) {
                return Err(BlockError::TooLarge {
                    what: "proofs and sectors of messages",
                    found: done.saturating_add(work),
                    most: MAX_WORK,
                });
            }
            done = done.saturating_add(work);
            self.charge(message).map_err(broken)?;
        }
        Ok(())
    }

    /// Tries the body; a refused one leaves no trace but the fee and the number.
    fn message(&mut self, message: &Message) -> Result<OutcomeResult, BlockError> {
        self.ledger.mark();
        let proofs = self.proofs;
        let result = match self.body(message) {
            Ok(()) if self.ledger.supply().balances_out() => Ok(OutcomeResult::Done),
            Ok(()) => Err(BlockError::Books("a message")),
            Err(Stop::Refused(why)) => Ok(OutcomeResult::Refused(why.to_string())),
            Err(Stop::Broken(error)) => Err(error.into()),
        }?;
        if result != OutcomeResult::Done {
            self.ledger.roll_back();
            self.proofs = proofs;
        }
        Ok(result)
    }

    /// Whether every statement is shown by its proofs, as far as that is looked at now.
    fn shown(&mut self, claims: Vec<Claim>) -> Result<(), (usize, VerifyError)> {
        match &mut self.taken {
            Proofs::Verified => self.rules.verifier.verify_all(&claims),
            Proofs::Believed(all) => {
                all.extend(claims);
                Ok(())
            }
        }
    }

    /// Burns the fee and uses up the number.
    fn charge(&mut self, message: &Message) -> Result<(), Stop> {
        let mut account = self.ledger.account(&message.sender)?;
        account.balance = take(account.balance, message.fee, "a balance")?;
        account.nonce = account.nonce.checked_add(1).ok_or(Refusal::Overflow)?;
        self.ledger.put_account(&message.sender, &account)?;
        self.ledger.burn(message.fee)
    }

    fn body(&mut self, message: &Message) -> Result<(), Stop> {
        let sender = &message.sender;
        match &message.body {
            Body::Transfer { to, amount } => self.transfer(sender, to, *amount),
            Body::RegisterValidator {
                owner,
                beacon,
                possession,
                commission_thousandths,
            } => self.register_validator(
                sender,
                owner,
                (beacon, possession),
                *commission_thousandths,
            ),
            Body::UpdateValidator {
                beacon,
                possession,
                commission_thousandths,
            } => self.update_validator(sender, (beacon, possession), *commission_thousandths),
            Body::Stake { validator, stake } => self.stake(sender, validator, *stake),
            Body::Delegate { validator, stake } => self.delegate(sender, validator, *stake),
            Body::Unstake { validator, stake } => self.unstake(sender, validator, *stake),
            Body::CollectReward { validator } => self.collect_reward(sender, validator),
            Body::ProposeParameter { change } => self.propose_parameter(sender, change),
            Body::Vote {
                proposal,
                validator,
                approve,
            } => self.vote(sender, *proposal, validator, *approve),
            Body::SubmitEquivocation { evidence } => self.submit_equivocation(sender, evidence),
            Body::PublishName {
                label,
                version,
                root,
                lease,
            } => self.publish_name(sender, label, *version, root, *lease),
            Body::TransferName { owner, label, to } => self.transfer_name(sender, owner, label, to),
            Body::AcquireLease {
                label,
                holder,
                blocks,
                token,
            } => self.acquire_lease(sender, label, holder, *blocks, *token),
            Body::ReleaseLease { lease, label } => self.release_lease(sender, label, *lease),
            Body::ProposeDealSet(proposal) => self.propose_deal_set(sender, proposal),
            Body::TopUpRepair { pack, amount } => self.top_up_repair(sender, pack, *amount),
            Body::ClaimRepair { deal, provider } => self.claim_repair(sender, deal, *provider),
            Body::CancelDealSet { pack } => self.cancel_deal_set(sender, pack),
            Body::RenewDealSet {
                pack,
                periods,
                least,
            } => self.renew_deal_set(sender, pack, *periods, *least),
            Body::RegisterProvider {
                worker,
                offer,
                collateral,
            } => self.register_provider(sender, worker, offer, *collateral),
            Body::UpdateProvider {
                provider,
                worker,
                offer,
            } => self.update_provider(sender, *provider, worker, offer),
            Body::AddCollateral { provider, amount } => {
                self.add_collateral(sender, *provider, *amount)
            }
            Body::WithdrawCollateral { provider, amount } => {
                self.withdraw_collateral(sender, *provider, *amount)
            }
            Body::Retire { provider } => self.retire(sender, *provider),
            Body::PreCommitSector(commit) => self.pre_commit(sender, commit),
            Body::ProveSeal { sector, proofs } => self.prove_seal(sender, *sector, proofs),
            Body::AcceptDeals { provider, deals } => self.accept_deals(sender, *provider, deals),
            Body::CommitEmbed(commit) => self.commit_embed(sender, commit),
            Body::CommitReplica(commit) => self.commit_replica(sender, commit),
            Body::ProveEmbed { sector, proofs } => self.prove_embed(sender, *sector, proofs),
            Body::ProveSpacetime {
                provider,
                period,
                deadline,
                proofs,
            } => self.prove_spacetime(sender, *provider, *period, *deadline, proofs),
            Body::DeclareFault { provider, sectors } => {
                self.declare_fault(sender, *provider, sectors)
            }
            Body::Recover { provider, sectors } => self.recover(sender, *provider, sectors),
            Body::EndSector { sector } => self.end_empty_sector(sender, *sector),
            Body::TerminateSector { sector } => self.terminate_sector(sender, *sector),
            Body::ClaimBrokenPromise { receipt } => self.claim_broken_promise(sender, receipt),
            Body::DemandOpening { deal, quad } => self.demand_opening(sender, deal, *quad),
            Body::AnswerOpening { deal, opening } => self.answer_opening(sender, deal, opening),
            Body::SubmitFraud { deal, opening } => self.submit_fraud(sender, deal, opening),
            Body::OpenChannel { provider, deposit } => {
                self.open_channel(sender, *provider, *deposit)
            }
            Body::AttachReadBudget {
                pack,
                reader,
                deposit,
                providers,
                until,
            } => self.attach_read_budget(sender, pack, reader, *deposit, *providers, *until),
            Body::RevokeGrant { reader, providers } => self.revoke_grant(sender, reader, providers),
            Body::CloseChannel { provider } => self.close_channel(sender, *provider),
            Body::RedeemVoucher { voucher } => self.redeem_voucher(sender, voucher),
        }
    }
}

/// Outside a body a refusal is a defect of state.
fn broken(stop: Stop) -> BlockError {
    BlockError::State(match stop {
        Stop::Broken(error) => error,
        Stop::Refused(why) => ViewError(format!("the block's own work was refused: {why}")),
    })
}

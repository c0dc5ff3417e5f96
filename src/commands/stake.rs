//! `holdfast stake`: who orders blocks, what is at stake with them, and the votes on numbers.

use super::client::{Place, hold, told};
use crate::output::{CommandError, Output, Table};
use holdfast_client::session::Session;
use holdfast_market_core::governance::{
    AmountParameter, ParameterChange, Proposal, ProposalStatus, ShareParameter,
};
use holdfast_market_core::message::Body;
use holdfast_market_core::stake::{ValidatorRecord, ValidatorStatus};
use holdfast_market_core::units::{Address, Height, MessageId, ProposalId, Stake};
use holdfast_wire::ledger::{Sender, StakesView};
use serde::Serialize;

/// Put tokens at stake with those who order blocks, and vote on the network's numbers.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast stake validators --network my-net\n  holdfast stake add thold1… 100 --network my-net\n  holdfast stake propose minimum_price 0.2 --network my-net\n  holdfast stake vote 0 for --network my-net"
)]
pub struct StakeArgs {
    #[command(subcommand)]
    command: StakeCommand,
}

#[derive(clap::Subcommand)]
enum StakeCommand {
    /// Who orders blocks, and who could.
    #[command(after_help = "Example:\n  holdfast stake validators --network my-net")]
    Validators {
        #[command(flatten)]
        place: Place,
    },
    /// What this wallet has at stake.
    #[command(after_help = "Example:\n  holdfast stake show --network my-net")]
    Show {
        #[command(flatten)]
        place: Place,
    },
    /// Put whole HOLD at stake with a validator.
    #[command(after_help = "Example:\n  holdfast stake add thold1… 100 --network my-net")]
    Add {
        /// The validator's key.
        validator: String,
        /// How many HOLD, a whole number.
        hold: u64,
        #[command(flatten)]
        place: Place,
    },
    /// Take a stake out; it is free once the unbonding is over.
    #[command(after_help = "Example:\n  holdfast stake remove thold1… 40 --network my-net")]
    Remove {
        /// The validator's key.
        validator: String,
        /// How many HOLD, a whole number.
        hold: u64,
        #[command(flatten)]
        place: Place,
    },
    /// Have what the stake with a validator earned paid to the account.
    #[command(after_help = "Example:\n  holdfast stake collect thold1… --network my-net")]
    Collect {
        /// The validator's key.
        validator: String,
        #[command(flatten)]
        place: Place,
    },
    /// What was proposed, and how the votes stand.
    #[command(after_help = "Example:\n  holdfast stake proposals --network my-net")]
    Proposals {
        #[command(flatten)]
        place: Place,
    },
    /// Propose that one of the network's numbers changes, for a deposit.
    #[command(
        after_help = "Examples:\n  holdfast stake propose minimum_price 0.2 --network my-net\n  holdfast stake propose burn_thousandths 120 --network my-net"
    )]
    Propose {
        /// The number's name, as in docs/ECONOMY.md.
        parameter: String,
        /// What it is to be: HOLD for an amount, a whole number for a share.
        value: String,
        #[command(flatten)]
        place: Place,
    },
    /// Vote with everything that this wallet has at stake.
    #[command(after_help = "Example:\n  holdfast stake vote 0 for --network my-net")]
    Vote {
        /// The proposal's number.
        proposal: u64,
        /// For it or against it.
        side: Side,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Side {
    /// It should pass.
    For,
    /// It should not.
    Against,
}

#[derive(Serialize)]
struct Validators {
    validators: Vec<ValidatorRecord>,
}

#[derive(Serialize)]
struct Proposals {
    proposals: Vec<Proposal>,
}

/// Messages that were executed.
#[derive(Serialize)]
struct Done {
    messages: Vec<MessageId>,
    /// Of the last one's block.
    height: Height,
    #[serde(skip)]
    words: String,
}

/// Runs the command.
pub async fn run(args: StakeArgs, output: &Output) -> Result<(), CommandError> {
    let (StakeCommand::Validators { place }
    | StakeCommand::Show { place }
    | StakeCommand::Add { place, .. }
    | StakeCommand::Remove { place, .. }
    | StakeCommand::Collect { place, .. }
    | StakeCommand::Proposals { place }
    | StakeCommand::Propose { place, .. }
    | StakeCommand::Vote { place, .. }) = &args.command;
    let session = place.open()?;
    let done = with(&session, &args.command, output).await;
    session.close().await;
    done
}

async fn with(
    session: &Session,
    command: &StakeCommand,
    output: &Output,
) -> Result<(), CommandError> {
    let ledger = session.ledger();
    match command {
        StakeCommand::Validators { .. } => {
            let validators = ledger.validators().await;
            let validators = validators.map_err(|error| told(error.into()))?;
            output.result(&Validators { validators }, |all| listed(session, all))
        }
        StakeCommand::Show { .. } => {
            let stakes = ledger.stakes(session.address()).await;
            let stakes = stakes.map_err(|error| told(error.into()))?;
            output.result(&stakes, |stakes| shown(session, stakes))
        }
        StakeCommand::Add {
            validator, hold, ..
        } => {
            let (validator, stake) = (key(session, validator)?, Stake(*hold));
            let record = ledger.validator(validator).await;
            let record = record.map_err(|error| told(error.into()))?;
            let body = if record.owner == session.address() {
                Body::Stake { validator, stake }
            } else {
                Body::Delegate { validator, stake }
            };
            let words = format!("{} at stake", stake.amount());
            output.result(&sent(session, [body], words).await?, said)
        }
        StakeCommand::Remove {
            validator, hold, ..
        } => {
            let (validator, stake) = (key(session, validator)?, Stake(*hold));
            let words = format!("{} are on their way out", stake.amount());
            let body = Body::Unstake { validator, stake };
            output.result(&sent(session, [body], words).await?, said)
        }
        StakeCommand::Collect { validator, .. } => {
            let validator = key(session, validator)?;
            let words = "what was earned is in the account".into();
            let body = Body::CollectReward { validator };
            output.result(&sent(session, [body], words).await?, said)
        }
        StakeCommand::Proposals { .. } => {
            let proposals = ledger.proposals().await;
            let proposals = proposals.map_err(|error| told(error.into()))?;
            output.result(&Proposals { proposals }, proposed)
        }
        StakeCommand::Propose {
            parameter, value, ..
        } => {
            let change = change(parameter, value)?;
            let words = "proposed; `holdfast stake proposals` shows its number".into();
            let body = Body::ProposeParameter { change };
            output.result(&sent(session, [body], words).await?, said)
        }
        StakeCommand::Vote { proposal, side, .. } => {
            let stakes = ledger.stakes(session.address()).await;
            let stakes = stakes.map_err(|error| told(error.into()))?;
            if stakes.stakes.is_empty() {
                return Err(CommandError::refused(
                    "this wallet has nothing at stake, and votes are by stake",
                    "`holdfast stake add` puts tokens at stake with a validator",
                ));
            }
            let votes = stakes.stakes.iter().map(|one| Body::Vote {
                proposal: ProposalId(*proposal),
                validator: one.validator,
                approve: matches!(side, Side::For),
            });
            let words = "voted".into();
            output.result(&sent(session, votes, words).await?, said)
        }
    }
}

async fn sent(
    session: &Session,
    bodies: impl IntoIterator<Item = Body>,
    words: String,
) -> Result<Done, CommandError> {
    send_all(session.sender(), bodies, words).await
}

async fn send_all(
    sender: &Sender,
    bodies: impl IntoIterator<Item = Body>,
    words: String,
) -> Result<Done, CommandError> {
    let mut done = Done {
        messages: Vec::new(),
        height: Height(0),
        words,
    };
    for body in bodies {
        let executed = sender.send(body).await;
        let executed = executed.map_err(|error| told(error.into()))?;
        done.messages.push(executed.id);
        done.height = executed.height;
    }
    Ok(done)
}

fn said(done: &Done) -> String {
    format!("{}, at height {}", done.words, done.height)
}

/// A validator's key as people or programs write it.
fn key(session: &Session, text: &str) -> Result<Address, CommandError> {
    let prefix = session.network().genesis().address_prefix();
    let hexadecimal = serde_json::from_value(text.into());
    match hexadecimal {
        Ok(key) => Ok(key),
        Err(_) => Ok(Address::from_text(text, prefix)?),
    }
}

fn change(name: &str, value: &str) -> Result<ParameterChange, CommandError> {
    let mut amounts = AmountParameter::ALL.into_iter();
    if let Some(parameter) = amounts.find(|one| one.name() == name) {
        let value = hold(value).map_err(|error| {
            CommandError::refused(error, "`holdfast stake propose --help` has an example")
        })?;
        return Ok(ParameterChange::Amount { parameter, value });
    }
    let mut shares = ShareParameter::ALL.into_iter();
    if let Some(parameter) = shares.find(|one| one.name() == name) {
        let value = value.parse().map_err(|_| {
            CommandError::refused(
                format!("{name} is a whole number"),
                "`holdfast stake propose --help` has an example",
            )
        })?;
        return Ok(ParameterChange::Share { parameter, value });
    }
    let known: Vec<&str> = AmountParameter::ALL
        .iter()
        .map(|one| one.name())
        .chain(ShareParameter::ALL.iter().map(|one| one.name()))
        .collect();
    Err(CommandError::not_found(
        format!("votes move no number of that name: {name}"),
        format!("they move {}", known.join(", ")),
    ))
}

fn listed(session: &Session, all: &Validators) -> String {
    if all.validators.is_empty() {
        return "this network's validators are those of its genesis".into();
    }
    let mut table = Table::new([
        "validator",
        "stands",
        "stake",
        "its own",
        "commission",
        "built",
        "owes",
    ]);
    for one in &all.validators {
        table.row([
            session.text_of(one.key),
            match one.status {
                ValidatorStatus::Waiting { until } => format!("waits until {until}"),
                ValidatorStatus::Ready => "ready".into(),
                ValidatorStatus::Resting => "rests".into(),
                ValidatorStatus::Slashed { height, .. } => format!("signed twice at {height}"),
            },
            one.stake.amount().to_string(),
            one.own.amount().to_string(),
            format!(
                "{}.{}%",
                one.commission_thousandths / 10,
                one.commission_thousandths % 10
            ),
            one.built.to_string(),
            one.owed.to_string(),
        ]);
    }
    table.to_string()
}

fn shown(session: &Session, stakes: &StakesView) -> String {
    if stakes.stakes.is_empty() && stakes.unbonding.is_empty() {
        return "this wallet has nothing at stake".into();
    }
    let mut table = Table::new(["validator", "stake", "earned", "free"]);
    for one in &stakes.stakes {
        table.row([
            session.text_of(one.validator),
            one.stake.amount().to_string(),
            one.earned.to_string(),
            "no".into(),
        ]);
    }
    for one in &stakes.unbonding {
        table.row([
            session.text_of(one.validator),
            one.amount.to_string(),
            "-".into(),
            format!("at height {}", one.due),
        ]);
    }
    table.to_string()
}

fn proposed(all: &Proposals) -> String {
    if all.proposals.is_empty() {
        return "nothing was proposed".into();
    }
    let mut table = Table::new(["proposal", "asks", "for", "against", "stands"]);
    for one in &all.proposals {
        table.row([
            one.id.to_string(),
            match &one.change {
                ParameterChange::Amount { parameter, value } => {
                    format!("{} {value}", parameter.name())
                }
                ParameterChange::Share { parameter, value } => {
                    format!("{} {value}", parameter.name())
                }
            },
            one.approving.amount().to_string(),
            one.rejecting.amount().to_string(),
            match one.status {
                ProposalStatus::Open => format!("voted on until {}", one.closes),
                ProposalStatus::Passed { at } => format!("in force after {at}"),
                ProposalStatus::Made => "in force".into(),
                ProposalStatus::Rejected => "did not pass".into(),
                ProposalStatus::Impossible => "passed, and could not be made".into(),
            },
        ]);
    }
    table.to_string()
}

//! `holdfast audit light`: the chain followed by its headers, and what a proof shows of its state.

use super::client::told;
use crate::output::{CommandError, Output};
use holdfast_market_core::channel::Parties;
use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::units::{
    Address, BlockId, Blocks, ByteCount, DealId, Height, NetworkId, PackId, ProviderId, SectorId,
    SectorNumber, ShardIndex, TreeRoot,
};
use holdfast_wire::ledger::LedgerClient;
use holdfast_wire::light::{FollowError, LIGHT_FILE, LightClient, Proven};
use holdfast_wire::network::NetworkFolder;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::de::value::{Error as ValueError, StrDeserializer};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// A chain's last block is late where it is older than so many block intervals…
const LATE_BLOCKS: u64 = 20;
/// … and than so many milliseconds.
const LATE_MS: u64 = 60_000;

/// Follow the chain by its headers and certificates alone, and show one object of its state by a
/// proof.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast audit light --network FOLDER\n  holdfast audit light --network FOLDER account thold1…\n  holdfast audit light --network FOLDER --trust 120000:BLOCK deal PACK/0\n\nWhat was followed is kept in a file, so that the next run goes on from there. Exits 0 if the chain\nholds and the object, or its absence, is shown."
)]
pub struct LightArgs {
    /// The network's folder; its genesis is all that is trusted, unless --trust names a block.
    #[arg(long, env = "HOLDFAST_NETWORK")]
    network: PathBuf,
    /// Ask this API instead of the one that the network's folder names.
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    /// Begin at this block, whose name is known from elsewhere, whatever was followed before.
    #[arg(long, value_name = "HEIGHT:BLOCK", value_parser = place)]
    trust: Option<(Height, BlockId)>,
    /// Where it is kept what was followed [default: light.json in the network's folder].
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    #[command(subcommand)]
    subject: Option<Subject>,
}

/// What is to be shown.
#[derive(clap::Subcommand)]
enum Subject {
    /// An account: its balance.
    #[command(
        after_help = "Example:\n  HOLDFAST_NETWORK=FOLDER holdfast audit light account thold1…"
    )]
    Account {
        /// Its address.
        address: String,
    },
    /// A provider.
    #[command(after_help = "Example:\n  HOLDFAST_NETWORK=FOLDER holdfast audit light provider 3")]
    Provider {
        /// Its number.
        number: u64,
    },
    /// A sector.
    #[command(after_help = "Example:\n  HOLDFAST_NETWORK=FOLDER holdfast audit light sector 3/0")]
    Sector {
        /// Provider and number.
        #[arg(value_name = "PROVIDER/NUMBER", value_parser = sector)]
        id: SectorId,
    },
    /// A deal: one shard of a pack.
    #[command(after_help = "Example:\n  HOLDFAST_NETWORK=FOLDER holdfast audit light deal PACK/0")]
    Deal {
        /// Pack and shard.
        #[arg(value_name = "PACK/SHARD", value_parser = deal)]
        id: DealId,
    },
    /// A name.
    #[command(
        after_help = "Example:\n  HOLDFAST_NETWORK=FOLDER holdfast audit light name thold1… drive"
    )]
    Name {
        /// Whose.
        owner: String,
        /// Its label.
        label: String,
    },
    /// A channel for paying a provider.
    #[command(
        after_help = "Example:\n  HOLDFAST_NETWORK=FOLDER holdfast audit light channel 3 thold1…"
    )]
    Channel {
        /// To which provider.
        provider: u64,
        /// Whose.
        payer: String,
        /// Who reads on it [default: whose it is].
        reader: Option<String>,
    },
}

#[derive(Serialize)]
struct Report {
    network: NetworkId,
    /// Where this run began.
    begun: Height,
    /// The last block that was followed.
    height: Height,
    block: BlockId,
    /// How many order the next one.
    validators: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    shown: Option<Shown>,
    /// What this does not show, in sentences.
    limits: Vec<String>,
}

#[derive(Serialize)]
struct Shown {
    subject: String,
    /// After which block.
    height: Height,
    state_root: TreeRoot,
    proof_bytes: ByteCount,
    /// As the ledger holds it; none where it is shown that it holds none.
    object: Option<serde_json::Value>,
}

/// Runs the command.
pub async fn run(args: LightArgs, output: &Output) -> Result<(), CommandError> {
    let folder = NetworkFolder::open(&args.network)?;
    let api = args.api.as_deref().unwrap_or(folder.api());
    let ledger = LedgerClient::new(api)?;
    let state = args.state.unwrap_or_else(|| folder.path().join(LIGHT_FILE));
    let light = match args.trust {
        None => LightClient::open(folder.genesis(), ledger, &state),
        Some(place) => LightClient::trust(folder.genesis(), ledger, &state, place).await,
    };
    let mut light = light?;
    let begun = light.chain().height();
    let begun_time = light
        .chain()
        .header()
        .map_or(folder.genesis().time, |one| one.time);
    let bar = watched(&mut light)?;
    let shown = match &args.subject {
        None => light.follow().await.map(|()| None).map_err(Into::into),
        Some(subject) => show(&mut light, &folder, subject).await.map(Some),
    };
    bar.finish_and_clear();
    let shown = shown?;
    let chain = light.chain();
    let validators = chain.validators().len();
    let mut limits = vec![rules_kept(validators)];
    let time = chain.header().map_or(0, |header| header.time);
    limits.extend(late(folder.genesis(), time));
    limits.extend(long_way(
        folder.genesis(),
        (begun, begun_time),
        chain.height(),
    ));
    let report = Report {
        network: chain.network(),
        begun,
        height: chain.height(),
        block: chain.block(),
        validators,
        shown,
        limits,
    };
    output.result(&report, text)
}

/// A light client of the network's folder, with a bar that says how far it is.
pub fn open(folder: &NetworkFolder) -> Result<(LightClient, ProgressBar), CommandError> {
    let ledger = LedgerClient::new(folder.api())?;
    let state = folder.path().join(LIGHT_FILE);
    let mut light = LightClient::open(folder.genesis(), ledger, &state)?;
    let bar = watched(&mut light)?;
    Ok((light, bar))
}

/// Hidden by indicatif where stderr is no terminal.
fn watched(light: &mut LightClient) -> Result<ProgressBar, CommandError> {
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
        "follow {bar:30} block {pos} of {len}",
    )?);
    let shown = bar.clone();
    light.watch(Box::new(move |height, to| {
        shown.set_length(to.0);
        shown.set_position(height.0);
    }));
    Ok(bar)
}

async fn show(
    light: &mut LightClient,
    folder: &NetworkFolder,
    subject: &Subject,
) -> Result<Shown, CommandError> {
    let prefix = folder.genesis().address_prefix();
    let address = |text: &str| Address::from_text(text, prefix);
    match subject {
        Subject::Account { address: text } => {
            let account = light.account(&address(text)?).await;
            shown(format!("account {text}"), account)
        }
        Subject::Provider { number } => {
            let provider = light.provider(ProviderId(*number)).await;
            shown(format!("provider {number}"), provider)
        }
        Subject::Sector { id } => shown(format!("sector {id}"), light.sector(*id).await),
        Subject::Deal { id } => shown(format!("deal {id}"), light.deal(id).await),
        Subject::Name { owner, label } => {
            let name = light.name(&address(owner)?, label).await;
            shown(format!("name {label} of {owner}"), name)
        }
        Subject::Channel {
            provider,
            payer,
            reader,
        } => {
            let payer_key = address(payer)?;
            let reader = reader.as_deref().map(address).transpose()?;
            let parties = Parties {
                payer: payer_key,
                reader: reader.unwrap_or(payer_key),
            };
            let channel = light.channel(ProviderId(*provider), &parties).await;
            shown(
                format!("channel to provider {provider} of {payer}"),
                channel,
            )
        }
    }
}

fn shown<T: Serialize>(
    subject: String,
    proven: Result<Proven<T>, FollowError>,
) -> Result<Shown, CommandError> {
    let proven = proven.map_err(|error| told(error.into()))?;
    Ok(Shown {
        subject,
        height: proven.height,
        state_root: proven.state_root,
        proof_bytes: proven.proof,
        object: proven.object.map(serde_json::to_value).transpose()?,
    })
}

/// Milliseconds since the Unix epoch by this machine's clock.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// That the last block is older than a chain that goes on would have it: a market can keep silent
/// about what came after.
fn late(genesis: &Genesis, time: u64) -> Option<String> {
    let interval = genesis.parameters.block_interval_ms;
    let behind = now().saturating_sub(time);
    (behind > interval.saturating_mul(LATE_BLOCKS).max(LATE_MS)).then(|| {
        format!(
            "The last block was built {} s ago by its builder's clock. The chain may stand still, or this market keeps silent about what came after: ask another.",
            behind / 1000
        )
    })
}

/// That who ordered the first of these blocks may have had the stake behind it back: by the blocks
/// that were followed, or by the time since, as a market shows no more blocks than it likes.
fn long_way(genesis: &Genesis, (begun, time): (Height, u64), height: Height) -> Option<String> {
    let bound = genesis.parameters.staking.as_ref()?.unbonding;
    let way = Blocks(height.0.saturating_sub(begun.0));
    let interval = genesis.parameters.block_interval_ms;
    let long_ago = now().saturating_sub(time) > interval.saturating_mul(bound.0);
    (way > bound || long_ago).then(|| {
        format!(
            "This run went {way} blocks from block {begun}, built {} s ago, and stake is bound for {bound} blocks: that validators who left since then have not signed another history is trusted. --trust begins at a newer block.",
            now().saturating_sub(time) / 1000
        )
    })
}

/// What following headers does not show.
fn rules_kept(validators: usize) -> String {
    let who = match validators {
        1 => "the one signer that orders this network's blocks".into(),
        many => format!("more than two thirds of the power of {many} validators"),
    };
    format!(
        "That the rules were kept is the word of {who}; `holdfast audit` replays every block instead."
    )
}

fn text(report: &Report) -> String {
    let mut text = format!(
        "The chain holds to block {}: {}.\n",
        report.height, report.block
    );
    if let Some(shown) = &report.shown {
        let proof = format!(
            "after block {} (state root {}), by a proof of {} bytes",
            shown.height, shown.state_root, shown.proof_bytes
        );
        match &shown.object {
            None => text.push_str(&format!("There is no {} {proof}.\n", shown.subject)),
            Some(object) => {
                text.push_str(&format!("The {} is, {proof}:\n", shown.subject));
                text.push_str(&lines(object));
            }
        }
    }
    for limit in &report.limits {
        text.push_str(&format!("Not shown: {limit}\n"));
    }
    text.trim_end().into()
}

/// The fields of an object, one a line.
fn lines(object: &serde_json::Value) -> String {
    let serde_json::Value::Object(fields) = object else {
        return format!("  {object}\n");
    };
    let line = |(name, value): (&String, &serde_json::Value)| match value {
        serde_json::Value::String(text) => format!("  {name}: {text}\n"),
        other => format!("  {name}: {other}\n"),
    };
    fields.iter().map(line).collect()
}

/// Reads hexadecimal of a fixed length.
fn hexadecimal<T: DeserializeOwned>(text: &str) -> Option<T> {
    T::deserialize(StrDeserializer::<ValueError>::new(text)).ok()
}

fn place(text: &str) -> Result<(Height, BlockId), String> {
    let parsed = text.split_once(':').and_then(|(height, block)| {
        Some((Height(height.parse().ok()?), hexadecimal::<BlockId>(block)?))
    });
    parsed.ok_or_else(|| {
        "give a height and the 64 digits of the block's name, with a colon between".into()
    })
}

fn sector(text: &str) -> Result<SectorId, String> {
    let parsed = text.split_once('/').and_then(|(provider, number)| {
        Some(SectorId {
            provider: ProviderId(provider.parse().ok()?),
            number: SectorNumber(number.parse().ok()?),
        })
    });
    parsed.ok_or_else(|| "give the provider's number and the sector's, as in 3/0".into())
}

fn deal(text: &str) -> Result<DealId, String> {
    let parsed = text.split_once('/').and_then(|(pack, shard)| {
        Some(DealId {
            pack: hexadecimal::<PackId>(pack)?,
            shard: ShardIndex(shard.parse().ok()?),
        })
    });
    parsed.ok_or_else(|| {
        "give the 64 digits of the pack and the shard's number, with a slash between".into()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_as_it_is_printed() {
        let block = BlockId([0xab; 32]);
        assert_eq!(place(&format!("17:{block}")), Ok((Height(17), block)));
        let id = DealId {
            pack: PackId([7; 32]),
            shard: ShardIndex(5),
        };
        assert_eq!(deal(&id.to_string()), Ok(id));
        let id = SectorId {
            provider: ProviderId(3),
            number: SectorNumber(9),
        };
        assert_eq!(sector(&id.to_string()), Ok(id));
        for wrong in ["", ":", "/", "1", "1:ab", "x/1", "1/x", "1/256/3"] {
            assert!(place(wrong).is_err() && deal(wrong).is_err(), "{wrong}");
            assert!(sector(wrong).is_err(), "{wrong}");
        }
    }
}

//! `holdfast node`: a storage node of the network.

use crate::output::{CommandError, Output, Table, bytes};
use holdfast_client::meter::Meter;
use holdfast_market_core::units::{Amount, ByteCount};
use holdfast_node::bench::{BenchConfig, BenchStage, bench as run_bench};
use holdfast_node::keys::NodeKeys;
use holdfast_node::node::{DEFAULT_PRICE, Node, NodeConfig};
use holdfast_node::pipeline::Goal;
use holdfast_node::progress::{SealStage, Sealing, Sealings};
use holdfast_node::report::{NodeReport, REPORT_FILE};
use holdfast_proofs::sector::SectorClass;
use holdfast_wire::folder::is_held;
use holdfast_wire::network::NetworkFolder;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Store for others and be paid: seal a disk's free room, keep shards, prove them.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  holdfast node init --data DIR\n  holdfast node run --network FOLDER --data DIR --listen 127.0.0.1:4700 --sectors 1 --class 8MiB"
)]
pub struct NodeArgs {
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(clap::Subcommand)]
enum NodeCommand {
    /// Make a node's keys and print its addresses.
    #[command(after_help = "Example:\n  holdfast node init --data DIR")]
    Init {
        /// The node's data folder.
        #[arg(long)]
        data: PathBuf,
    },
    /// Run a node until it is told to stop.
    #[command(
        after_help = "Example:\n  holdfast node run --network FOLDER --data DIR --listen 127.0.0.1:4700 --sectors 1 --class 8MiB"
    )]
    Run {
        /// The network's folder.
        #[arg(long, env = "HOLDFAST_NETWORK")]
        network: PathBuf,
        /// The node's data folder: keys, journal, shards, sectors.
        #[arg(long)]
        data: PathBuf,
        /// Where its QUIC end point listens, as peers reach it.
        #[arg(long, default_value = "127.0.0.1:4700")]
        listen: SocketAddr,
        /// How many sectors it is to have.
        #[arg(long, default_value_t = 1)]
        sectors: u32,
        /// Their class.
        #[arg(long, default_value = "8MiB")]
        class: SectorClass,
        /// The least price for a GiB and a period, in grains [default: 1 HOLD].
        #[arg(long)]
        price: Option<u128>,
        /// What reading a GiB from it costs, in grains, paid by vouchers as it is read.
        #[arg(long, default_value_t = 0, env = "HOLDFAST_READ_PRICE")]
        read_price: u128,
        /// Leave the network: take nothing new, keep what is promised until its term is over, then take
        /// the collateral home. It cannot be taken back.
        #[arg(long)]
        retire: bool,
    },
    /// Measure what a sector takes on this machine: sealed, proven, filled, unsealed, compared.
    #[command(
        after_help = "Example:\n  holdfast node bench --sector 512MiB\n\nA sector of 512 MiB takes about 5.5 GB of disk, 1.2 GB of memory and some 20 minutes where the\nprocessor has AVX-512 IFMA. Nothing is sent, and no network is needed."
    )]
    Bench {
        /// The sector's class.
        #[arg(long, default_value = "8MiB")]
        sector: SectorClass,
        /// Challenges of the seal and of the embed; the main network asks for 176.
        #[arg(long, default_value_t = 176, value_parser = clap::value_parser!(u32).range(1..=1024))]
        challenges: u32,
        /// Where a folder for the sector is made, and removed at the end; an interrupted run goes on
        /// in it [default: ~/.cache/holdfast].
        #[arg(long)]
        folder: Option<PathBuf>,
    },
    /// Show how the node of a data folder is.
    #[command(after_help = "Example:\n  holdfast node status --network FOLDER --data DIR")]
    Status {
        /// The network's folder; addresses are shown in its form.
        #[arg(long, env = "HOLDFAST_NETWORK")]
        network: Option<PathBuf>,
        /// The node's data folder.
        #[arg(long)]
        data: PathBuf,
    },
}

/// Runs the command.
pub async fn run(args: NodeArgs, output: &Output) -> Result<(), CommandError> {
    match args.command {
        NodeCommand::Init { data } => {
            let identity = NodeKeys::create(&data, &mut rand::rngs::OsRng)?;
            output.result(&identity, |identity| {
                format!(
                    "owner   {}\nworker  {}\nnode    {}\n\nThe recovery phrase is in {}; copy it to paper.\nSend the owner what its collateral takes, then `holdfast node run`.",
                    identity.owner,
                    identity.worker,
                    identity.node,
                    identity.phrase.display()
                )
            })
        }
        NodeCommand::Run {
            network,
            data,
            listen,
            sectors,
            class,
            price,
            read_price,
            retire,
        } => {
            let node = Node::open(NodeConfig {
                network: NetworkFolder::open(&network)?,
                data,
                listen,
                goal: Goal {
                    class,
                    sectors,
                    retire,
                },
                price: price.map_or(DEFAULT_PRICE, Amount),
                read_price: Amount(read_price),
            })?;
            serve(node).await
        }
        NodeCommand::Bench {
            sector,
            challenges,
            folder,
        } => bench(sector, challenges, folder, output),
        NodeCommand::Status { network, data } => status(network.as_deref(), &data, output),
    }
}

async fn serve(node: Node) -> Result<(), CommandError> {
    let (stop, stopped) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        // A node that has ended by itself listens no more.
        let _ = stop.send(true);
    });
    println!("ready node on {}", node.address());
    if std::io::stderr().is_terminal() {
        tokio::spawn(show(node.sealing()));
    }
    node.run(stopped).await;
    Ok(())
}

fn bench(
    class: SectorClass,
    challenges: u32,
    folder: Option<PathBuf>,
    output: &Output,
) -> Result<(), CommandError> {
    let parameters = holdfast_testnet::parameters_folder()
        .map_err(|error| CommandError::failed(error.to_string(), error.next()))?;
    let beside = || parameters.parent().unwrap_or(&parameters).to_owned();
    let config = BenchConfig {
        class,
        folder: folder.unwrap_or_else(beside),
        parameters: parameters.clone(),
        challenges,
        threads: std::thread::available_parallelism().unwrap_or(std::num::NonZeroUsize::MIN),
    };
    let meter = match std::io::stderr().is_terminal() {
        true => Meter::on_terminal(),
        false => Meter::hidden(),
    };
    let shown: Mutex<Option<&'static str>> = Mutex::default();
    let show = |stage: BenchStage| {
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, done, total) = match stage {
            BenchStage::Sealing(done, total) => ("sealing", done, total),
            BenchStage::Unsealing(done, total) => ("unsealing", done, total),
            BenchStage::Proving(what, done, total) => (what, done as u64, total as u64),
            BenchStage::Parameters(_) => ("making parameters", 0, 0),
            BenchStage::Embedding => ("embedding", 0, 0),
        };
        if *shown != Some(name) {
            *shown = Some(name);
            match stage {
                BenchStage::Proving(..) => meter.count(name, total),
                BenchStage::Parameters(_) | BenchStage::Embedding => meter.wait(name),
                _ => meter.begin(name, ByteCount(total)),
            }
        }
        meter.set(ByteCount(done));
    };
    let report = tokio::task::block_in_place(|| run_bench(&config, &show))?;
    drop(meter);
    output.result(&report, |report| {
        let mut table = Table::new(["figure", "value", "unit"]);
        for figure in &report.figures {
            table.row([
                figure.name.clone(),
                format!("{:.2}", figure.value),
                figure.unit.clone(),
            ]);
        }
        let machine = report
            .figures
            .first()
            .and_then(|figure| Some(figure.conditions.split_once("; ")?.1.to_owned()));
        format!(
            "A sector of {}, {} challenges ({})\n{table}",
            report.class,
            report.challenges,
            machine.unwrap_or_default()
        )
    })
}

/// Shows how far the seals under way are, with rate and time left, until the node ends.
async fn show(mut sealing: watch::Receiver<Sealings>) {
    // Dropped, and so taken from the terminal, when nothing is sealed.
    let mut shown: Option<(Meter, SealStage, ByteCount)> = None;
    while sealing.changed().await.is_ok() {
        let all = sealing.borrow_and_update().clone();
        // Where several are sealed, those that are least far are shown together.
        let Some(stage) = all.values().map(|one| one.stage).min() else {
            shown = None;
            continue;
        };
        let there = || all.values().filter(|one| one.stage == stage);
        let sum = |of: fn(&Sealing) -> ByteCount| {
            ByteCount(there().map(|one| of(one).0).fold(0, u64::saturating_add))
        };
        let (done, total) = (sum(|one| one.done), sum(|one| one.total));
        if let Some((meter, before, of)) = &shown
            && (*before, *of) == (stage, total)
        {
            meter.set(done);
            continue;
        }
        let meter = Meter::on_terminal();
        match stage {
            SealStage::Labels => meter.begin("seal: labels", total),
            SealStage::Trees => meter.begin("seal: columns, trees", total),
            SealStage::Proof => meter.wait("seal: proof"),
        }
        meter.set(done);
        shown = Some((meter, stage, total));
    }
}

fn status(network: Option<&Path>, data: &Path, output: &Output) -> Result<(), CommandError> {
    let prefix = match network {
        Some(folder) => Some(NetworkFolder::open(folder)?.genesis().address_prefix()),
        None => None,
    };
    let path = data.join(REPORT_FILE);
    if !path.exists() {
        return Err(CommandError::not_found(
            format!("{} holds no node that has ever run", data.display()),
            "start it with `holdfast node run`",
        ));
    }
    let mut report = NodeReport::read(&path)?;
    report.running = is_held(data);
    output.result(&report, |report| {
        let owner = match prefix {
            Some(prefix) => report.owner.to_text(prefix),
            None => report.owner.to_string(),
        };
        let provider = report
            .provider
            .map_or("not registered yet".into(), |id| format!("provider {id}"));
        let running = if report.running { "running" } else { "stopped" };
        let mut text = format!(
            "{provider}, {running}, followed to height {}, at {}\nowner    {owner} with {}\ncollateral {} ({} locked, {} vesting); paid {}, minted {}, fined {}\nroom     {} proven, {} free; {} shards staged ({}), {} stored ({})\n",
            report.status.height,
            report.endpoint,
            report.balance,
            report.collateral,
            report.locked,
            report.vesting,
            report.paid,
            report.rewarded,
            report.fined,
            bytes(report.status.capacity.0),
            bytes(report.status.free.0),
            report.staged,
            bytes(report.status.staged.0),
            report.stored,
            bytes(report.status.stored.0),
        );
        if let Some(since) = report.retiring {
            let held: u32 = report.sectors.iter().map(|sector| sector.deals).sum();
            text.push_str(&format!(
                "leaving  since height {since}; {held} deals still lie in its sectors\n"
            ));
        }
        if report.read_price.0 > 0 {
            text.push_str(&format!(
                "reading  {} a GiB; readers have signed for {}\n",
                report.read_price, report.vouchers
            ));
        }
        if let Some(height) = report.next_deadline {
            text.push_str(&format!("next deadline opens at height {height}\n"));
        }
        for work in &report.working {
            text.push_str(&format!("working on {work}\n"));
        }
        let mut sectors = Table::new(["sector", "class", "state", "deals", "groups", "embed", "proven"]);
        for sector in &report.sectors {
            sectors.row([
                sector.number.to_string(),
                sector.class.to_string(),
                sector.state.clone(),
                sector.deals.to_string(),
                sector.groups.to_string(),
                sector.embed.clone().unwrap_or_default(),
                sector
                    .proven
                    .map_or(String::new(), |period| format!("period {period}")),
            ]);
        }
        text.push_str(&format!("{sectors}\n"));
        let mut proofs = Table::new(["proof", "sector", "height", "seconds", "size"]);
        for proof in report.proofs.iter().rev().take(8) {
            proofs.row([
                proof.kind.to_string(),
                proof.sector.to_string(),
                proof.height.to_string(),
                format!("{:.1}", proof.seconds),
                bytes(proof.bytes.0),
            ]);
        }
        text.push_str(&proofs.to_string());
        for healed in &report.healed {
            text.push_str(&format!("\nhealed:  {healed}"));
        }
        for trouble in &report.troubles {
            text.push_str(&format!("\ntrouble: {trouble}"));
        }
        text
    })
}

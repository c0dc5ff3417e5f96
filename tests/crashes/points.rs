//! A network whose every process dies at each crash point that it comes to, once.

use super::state::{
    all_active, all_deals, audit_passes, comes_back, nobody_paid_for_it, said_once,
};
use super::{alone, binary, noise};
use holdfast_faults::damage::{self, Damage};
use holdfast_faults::network::{Network, patient_rules};
use holdfast_faults::{figures, points};
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Points that this network does not come to; each is killed at elsewhere.
const ELSEWHERE: [&str; 2] = ["testnet.", "validators."];
/// Messages of which each is interrupted when it is written down, when it is sent, and when it is
/// known to be executed.
const MESSAGES: [&str; 8] = [
    "register",
    "fund",
    "precommit",
    "seal",
    "accept",
    "embed-commit",
    "embed-replica",
    "embed-prove",
];
const NODES: u8 = 3;
const PATIENCE: Duration = Duration::from_secs(300);

/// The points that the processes have marked in their logs.
fn passed(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for log in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(log.unwrap().path()).unwrap();
        all.extend(text.lines().map(str::to_owned));
    }
    all
}

/// Runs a command again and again until it is done: it dies at every point on its way.
async fn done_at_last(network: &mut Network, arguments: &[&str], log: &Path) -> usize {
    let mut kills = 0;
    loop {
        let answer = network.run_dying(arguments, Some(log), None).await;
        // Killed after its last write it has nothing left to do, and says so.
        if answer.status.success() || (kills > 0 && answer.said.contains(" already")) {
            return kills;
        }
        // A provider that dies in the middle is an error that says to try again.
        let killed = answer.status.signal() == Some(9);
        assert!(
            killed || answer.status.code() == Some(1) || answer.status.code() == Some(3),
            "{}",
            answer.said
        );
        kills += usize::from(killed);
        assert!(kills < 100, "it dies again and again: {arguments:?}");
    }
}

/// Every group of a sector loses a bit of its keys: it is sealed again beside, though its node is
/// killed at each point of that too.
async fn a_sector_whose_keys_are_lost_comes_back(network: &mut Network) {
    let sectors = network.folder().join("node-0/sectors");
    let mut groups: Vec<_> = damage::files(&sectors.join("0/groups"));
    groups.retain(|path| path.extension().is_some_and(|end| end == "replica"));
    let whole: Vec<_> = groups
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    for path in &groups {
        Damage::Flip { byte: 3, bit: 3 }.apply_in_place(path);
    }
    network
        .until("the sector is put right", PATIENCE, async |_| {
            let now = groups
                .iter()
                .map(|path| std::fs::read(path).unwrap_or_default());
            now.eq(whole.iter().cloned()) && !sectors.join("0.again").exists()
        })
        .await;
}

fn put(source: &Path) -> [&str; 6] {
    let source = source.to_str().unwrap();
    ["put", source, "--data-shards", "2", "--total-shards", "3"]
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_point_in_turn_the_network_ends_as_if_it_had_not_been() {
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let source = path("kept");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("a"), noise(1, 300_000)).unwrap();
    std::fs::write(source.join("b"), noise(2, 70_000)).unwrap();
    let abandoned = path("abandoned");
    std::fs::write(&abandoned, noise(3, 50_000)).unwrap();
    let logs = path("points");
    std::fs::create_dir(&logs).unwrap();

    let mut network = Network::make(binary(), &path("net"), NODES, patient_rules()).await;
    for name in network.names() {
        network.die_at_points(&name, &logs.join(&name));
    }
    network.start_all().await;
    network
        .until_shown("all sectors are proven", PATIENCE, |view| {
            all_active(
                &view.providers.iter().collect::<Vec<_>>(),
                usize::from(NODES),
            )
        })
        .await;

    // One upload is begun, receipted, and never paid for: the nodes keep it for a while.
    let begun = network
        .run_dying(
            &put(&abandoned),
            Some(&logs.join("put")),
            Some("put.receipts-saved"),
        )
        .await;
    assert_eq!(begun.status.signal(), Some(9), "{}", begun.said);
    let mut client_kills = 1;
    client_kills += done_at_last(&mut network, &put(&source), &logs.join("put")).await;
    network
        .until_shown("all deals are proven", PATIENCE, |view| {
            view.deal_sets.len() == 1 && all_deals(view, "proven")
        })
        .await;

    let to = path("back");
    let arguments = ["get", "kept", "--to", to.to_str().unwrap()];
    client_kills += done_at_last(&mut network, &arguments, &logs.join("get")).await;
    // Nothing but the object is left of all those tries.
    let names: Vec<_> = std::fs::read_dir(&to)
        .unwrap()
        .map(|found| found.unwrap().file_name())
        .collect();
    assert_eq!(names, ["kept"]);

    let shards = |network: &Network| -> Vec<usize> {
        (0..NODES)
            .map(|node| network.folder().join(format!("node-{node}/shards")))
            .map(|folder| std::fs::read_dir(folder).unwrap().count())
            .collect()
    };
    network
        .until_shown("all deals are paid", PATIENCE, |view| {
            let mut deals = view.deal_sets.iter().flat_map(|set| &set.deals);
            deals.all(|deal| deal.paid_periods >= 1)
        })
        .await;
    network
        .until(
            "what nobody paid for is dropped",
            PATIENCE,
            async |network| shards(network) == [1; NODES as usize],
        )
        .await;

    let view = network.view().await.unwrap();
    assert!(all_deals(&view, "proven"), "{view:?}");
    nobody_paid_for_it(&view);
    let lost = comes_back(&mut network, &source, "kept", &path("again")).await;
    audit_passes(&mut network).await;
    said_once(&network.messages().await);

    a_sector_whose_keys_are_lost_comes_back(&mut network).await;

    // No kind of file was left out when it was decided what damage to each comes to.
    let unknown = damage::unknown_in_testnet(network.folder());
    assert_eq!(unknown, Vec::<PathBuf>::new());

    // Every point of the sources was one of them.
    let passed = passed(&logs);
    let distinct: BTreeSet<&String> = passed.iter().collect();
    let all = points::all(Path::new(env!("CARGO_MANIFEST_DIR")));
    let missing: Vec<_> = all
        .iter()
        .filter(|point| {
            !ELSEWHERE
                .iter()
                .any(|prefix| point.text().starts_with(prefix))
        })
        .filter(|point| !distinct.iter().any(|name| point.matches(name)))
        .collect();
    assert!(
        missing.is_empty(),
        "no process was killed at {missing:?}; at {distinct:?}"
    );
    for message in MESSAGES {
        for moment in ["journalled", "sent", "included"] {
            let name = format!("node.message.{message}.{moment}");
            assert!(
                distinct.contains(&name),
                "{name} was not passed: {distinct:?}"
            );
        }
    }
    // Each mark is one kill, and nothing else has ended a process.
    assert_eq!(passed.len(), network.kills() + client_kills);
    figures::record(
        "fail_points_killed",
        distinct.len() as f64,
        "points",
        &format!("all of the sources but testnet's; {} kills", passed.len()),
    );
    figures::record(
        "acknowledged_bytes_lost",
        lost as f64,
        "bytes",
        "fetched back after the last kill",
    );
}

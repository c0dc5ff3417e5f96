//! The demo's steps, and what each checks.

use super::{Demo, DemoError, DemoEvent, StoredReport, input};
use crate::error::{TestnetError, at};
use crate::network::Testnet;
use crate::tree::Tree;
use crate::view::{LedgerView, ProviderView};
use holdfast_market_core::block::CertifiedBlock;
use holdfast_market_core::units::{Amount, Blocks};
use serde::Deserialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the longest wait of a step may take on a busy machine. A demo that is not held up ends
/// within five minutes in all.
const PATIENCE: Duration = Duration::from_secs(480);
/// Proving periods that are waited for once everything is embedded.
const PAID_PERIODS: u64 = 2;

impl Demo<'_> {
    /// The parameters, and with them the network's genesis and folders.
    pub(super) async fn make(&mut self) -> Result<(), DemoError> {
        let options = self.up_options()?;
        // What cannot be read is said before minutes are spent on the rest.
        if let Some(path) = &self.options.path {
            Tree::read(path)?;
        }
        let say = &mut *self.say;
        let testnet = Testnet::prepare(&options, self.commands, &mut |text| {
            say(DemoEvent::Said(text));
        })
        .await?;
        self.testnet = Some(testnet);
        Ok(())
    }

    /// The processes.
    pub(super) async fn start(&mut self) -> Result<(), DemoError> {
        let stop_with_us = !self.options.keep;
        let commands = self.commands;
        let testnet = self.testnet()?;
        testnet.start(commands, stop_with_us).await?;
        let network = testnet.network()?;
        let text = format!(
            "market at {}, {} nodes, logs in {}",
            network.api(),
            testnet.record().nodes().count(),
            testnet.layout().logs().display()
        );
        self.say(text);
        Ok(())
    }

    /// Every node registers with collateral, seals its sector and proves it.
    pub(super) async fn seal(&mut self) -> Result<(), DemoError> {
        let nodes = usize::from(self.options.nodes);
        let active = |view: &LedgerView| count(view, |provider| sector_is(provider, "active"));
        let sealed = |view: &LedgerView| count(view, |provider| !provider.sectors.is_empty());
        let view = self
            .wait(
                |view| {
                    format!(
                        "{} of {nodes} registered, {} sealed, {} proven",
                        view.providers.len(),
                        sealed(view),
                        active(view)
                    )
                },
                |view| active(view) == nodes,
            )
            .await?;
        for provider in &view.providers {
            if provider.collateral == Amount::ZERO {
                return Err(broken(format!(
                    "provider {} has no collateral",
                    provider.id
                )));
            }
        }
        self.check(format!(
            "{nodes} providers registered with collateral, each with a proven sector of 8 MiB"
        ));
        Ok(())
    }

    /// The wallet has tokens, and what the user named goes in by assisted upload.
    pub(super) async fn store(&mut self) -> Result<(), DemoError> {
        let path = self.input()?;
        let tree = Tree::read(&path)?;
        let before = self.view().await?;
        if before.wallet.balance == Amount::ZERO {
            return Err(broken("the wallet has no tokens".into()));
        }
        self.say(format!(
            "the wallet has {}; storing {} ({} files, {} bytes)",
            before.wallet.balance,
            path.display(),
            tree.files(),
            tree.bytes()
        ));
        let (k, n) = self.code();
        let mut arguments: Vec<OsString> = vec!["put".into(), path.clone().into()];
        arguments.extend(["--data-shards".into(), k.to_string().into()]);
        arguments.extend(["--total-shards".into(), n.to_string().into()]);
        arguments.extend(self.network());
        let answer = self.commands.run(&arguments).await?;
        let name = answer
            .get("name")
            .and_then(serde_json::Value::as_str)
            .ok_or_else(|| broken("`holdfast put` does not say the object's name".into()))?
            .to_owned();

        let after = self.view().await?;
        let shards = after.deals().count();
        if shards == 0 {
            return Err(broken("the ledger knows no deal of the wallet's".into()));
        }
        for set in &after.deal_sets {
            let mut providers: Vec<_> = set.deals.iter().map(|deal| deal.provider).collect();
            providers.sort_unstable();
            providers.dedup();
            if (set.k, set.n) != (k, n) || providers.len() != usize::from(n) {
                return Err(broken(format!(
                    "pack {} is not {k} of {n} at {n} providers",
                    set.pack
                )));
            }
        }
        if after.wallet.balance >= before.wallet.balance {
            return Err(broken("the wallet has paid nothing".into()));
        }
        self.check(format!(
            "packs: {}, of {n} shards each, any {k} suffice; all funded, every receipt signed for the client's own roots",
            after.deal_sets.len()
        ));
        self.report.before = Some(before);
        self.report.stored = Some(StoredReport {
            path,
            name,
            files: tree.files(),
            bytes: tree.bytes(),
            k,
            n,
        });
        self.tree = Some(tree);
        Ok(())
    }

    /// The five steps of embedding, then the proving periods in which all are paid.
    pub(super) async fn embed(&mut self) -> Result<(), DemoError> {
        let before = self.before()?;
        let in_state =
            |view: &LedgerView, state| view.deals().filter(|deal| deal.state == state).count();
        let view = self
            .wait(
                |view| {
                    format!(
                        "{} deals proposed, {} accepted, {} embedded and proven",
                        in_state(view, "proposed"),
                        in_state(view, "accepted"),
                        in_state(view, "proven")
                    )
                },
                |view| view.deals().all(|deal| deal.state == "proven"),
            )
            .await?;
        self.check(format!(
            "{} shards embedded and proven by block {}",
            view.deals().count(),
            view.height
        ));
        let away = self.kill_a_validator().await?;
        let least = |view: &LedgerView| {
            let paid = view.deals().map(|deal| deal.paid_periods);
            paid.min().unwrap_or_default()
        };
        let view = self
            .wait(
                |view| {
                    format!(
                        "every deal was paid for {} of {PAID_PERIODS} periods, block {}",
                        least(view),
                        view.height
                    )
                },
                |view| least(view) >= PAID_PERIODS,
            )
            .await?;
        for provider in &view.providers {
            let earlier = earlier(&before, provider)?;
            if provider.paid <= earlier.paid || provider.rewarded <= earlier.rewarded {
                return Err(broken(format!("provider {} was not paid", provider.id)));
            }
            if provider.proven < earlier.proven.saturating_add(PAID_PERIODS) {
                return Err(broken(format!(
                    "provider {} did not prove its sector in {PAID_PERIODS} periods",
                    provider.id
                )));
            }
        }
        self.check(format!(
            "all {} providers met their deadlines and were paid for {PAID_PERIODS} periods",
            view.providers.len()
        ));
        match away {
            Some(market) => self.bring_back(&market).await,
            None => Ok(()),
        }
    }

    /// Where there are several validators, the last of them dies for two periods.
    async fn kill_a_validator(&mut self) -> Result<Option<String>, DemoError> {
        let markets: Vec<_> = self.testnet()?.record().markets().collect();
        let [_, .., last] = markets.as_slice() else {
            return Ok(None);
        };
        let (name, of) = (last.name.clone(), markets.len());
        self.testnet()?.kill(&name).await?;
        self.say(format!("killed {name}, one of {of} validators"));
        Ok(Some(name))
    }

    /// The validator that was away comes back and catches up with the others.
    async fn bring_back(&mut self, market: &str) -> Result<(), DemoError> {
        let (commands, stop_with_us) = (self.commands, !self.options.keep);
        let testnet = self.testnet()?;
        testnet.restart(market, commands, stop_with_us).await?;
        let back = testnet.ledger_of(market)?;
        let left = back.status().await?.height;
        let head = testnet.ledger()?.status().await?.height;
        let begun = Instant::now();
        while back.status().await?.height < head {
            if begun.elapsed() > PATIENCE {
                return Err(broken(format!("{market} does not catch up")));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let (one, other) = (
            back.blocks(head, 1).await?,
            self.testnet()?.ledger()?.blocks(head, 1).await?,
        );
        let block = |blocks: &[CertifiedBlock]| blocks.first().map(|one| one.block.clone());
        if block(&one).is_none() || block(&one) != block(&other) {
            return Err(broken(format!("{market} has another block {head}")));
        }
        self.check(format!(
            "{market} was away: the others went on from block {left} to {head} without it, and it has caught up"
        ));
        Ok(())
    }

    /// As many nodes die as the code can bear; everything comes back from the rest.
    pub(super) async fn kill_and_fetch(&mut self) -> Result<(), DemoError> {
        let (k, n) = self.code();
        // Every second one, then from the front: the last to be asked are not the ones that live.
        let names: Vec<_> = self
            .testnet()?
            .record()
            .nodes()
            .map(|node| node.name.clone())
            .collect();
        let odd = names.iter().skip(1).step_by(2);
        let even = names.iter().step_by(2);
        let killed: Vec<_> = odd
            .chain(even)
            .take(usize::from(n.saturating_sub(k)))
            .cloned()
            .collect();
        self.at_kill = Some(self.view().await?);
        for name in &killed {
            self.testnet()?.kill(name).await?;
        }
        self.say(format!("killed {}", killed.join(", ")));
        self.report.killed = killed;

        let stored = self
            .report
            .stored
            .clone()
            .ok_or_else(|| broken("nothing was stored".into()))?;
        let to = self.folder.join("fetched");
        let mut arguments: Vec<OsString> = vec!["get".into(), stored.name.clone().into()];
        arguments.extend(["--to".into(), to.clone().into()]);
        arguments.extend(self.network());
        self.commands.run(&arguments).await?;
        let back = stored
            .path
            .file_name()
            .map_or_else(|| to.join(&stored.name), |name| to.join(name));
        let back = Tree::read(&back)?;
        let differences = self
            .tree
            .as_ref()
            .map(|tree| tree.differences(&back))
            .unwrap_or_default();
        if !differences.is_empty() {
            return Err(broken(format!(
                "what came back differs: {}",
                differences.join("; ")
            )));
        }
        self.check(format!(
            "{} files, {} bytes came back from {k} of {n} nodes: every BLAKE3, name, mode and time is the same",
            back.files(),
            back.bytes()
        ));
        Ok(())
    }

    /// The dead miss a deadline and are fined; the living go on being paid.
    pub(super) async fn fine(&mut self) -> Result<(), DemoError> {
        let dead = self.report.killed.clone();
        let before = self
            .at_kill
            .clone()
            .ok_or_else(|| broken("nothing was killed".into()))?;
        let fined = |view: &LedgerView| {
            dead.iter()
                .filter(|name| {
                    let now = view.provider_of(name);
                    let then = before.provider_of(name);
                    now.zip(then).is_some_and(|(now, then)| {
                        now.missed > then.missed && now.fined > then.fined
                    })
                })
                .count()
        };
        let view = self
            .wait(
                |view| {
                    format!(
                        "{} of {} dead nodes fined, block {}",
                        fined(view),
                        dead.len(),
                        view.height
                    )
                },
                |view| fined(view) == dead.len(),
            )
            .await?;
        for provider in &view.providers {
            let living = provider
                .name
                .as_ref()
                .is_none_or(|name| !dead.contains(name));
            if living && provider.missed > earlier(&before, provider)?.missed {
                return Err(broken(format!(
                    "provider {} lives and has missed its deadline",
                    provider.id
                )));
            }
        }
        self.check(format!(
            "{} dead nodes missed their deadline and were fined; the living missed none",
            dead.len()
        ));
        Ok(())
    }

    /// A fresh process verifies everything again from the ledger's own data.
    pub(super) async fn audit(&mut self) -> Result<(), DemoError> {
        let mut arguments: Vec<OsString> = vec!["audit".into()];
        arguments.extend(self.network());
        let audit = self.commands.run(&arguments).await?;
        let proofs = audit.get("proofs").cloned().unwrap_or_default();
        self.report.proofs = serde_json::from_value(proofs)
            .map_err(|error| broken(format!("`holdfast audit` counts no proofs: {error}")))?;
        self.report.audit = Some(audit);
        self.time_proofs().await?;
        let counts = self.report.proofs.iter();
        let counts: Vec<_> = counts
            .map(|(kind, proofs)| format!("{} {kind}", proofs.count))
            .collect();
        if self.report.proofs.len() < 3 || self.report.proofs.values().any(|kind| kind.count == 0) {
            return Err(broken(format!(
                "the audit misses proofs of a kind: {}",
                counts.join(", ")
            )));
        }
        self.check(format!(
            "`holdfast audit` verified every signature, root and proof again ({})",
            counts.join(", ")
        ));

        let view = self.view().await?;
        let supply = &view.supply;
        let held = [
            supply.burnt,
            supply.balances,
            supply.collateral,
            supply.escrow,
            supply.stake,
        ]
        .into_iter()
        .try_fold(Amount::ZERO, Amount::checked_add);
        if held != Some(supply.minted) {
            return Err(broken("the token is not conserved".into()));
        }
        self.check(format!(
            "the token is conserved: {} minted = {} in accounts + {} collateral + {} escrow + {} stake + {} burnt",
            supply.minted, supply.balances, supply.collateral, supply.escrow, supply.stake, supply.burnt
        ));
        self.report.after = Some(view);
        Ok(())
    }

    /// What making the proofs took, from what each node remembers of its own.
    async fn time_proofs(&mut self) -> Result<(), DemoError> {
        let testnet = self.testnet()?;
        let layout = testnet.layout().clone();
        let nodes: Vec<_> = testnet
            .record()
            .nodes()
            .map(|node| layout.data(&node.name))
            .collect();
        let mut made = Vec::new();
        for data in nodes {
            let mut arguments: Vec<OsString> = vec!["node".into(), "status".into()];
            arguments.extend(["--data".into(), data.into()]);
            arguments.extend(self.network());
            let status = self.commands.run(&arguments).await?;
            let proofs = status.get("proofs").cloned().unwrap_or_default();
            let proofs: Vec<Made> = serde_json::from_value(proofs)
                .map_err(|error| broken(format!("`holdfast node status` is unclear: {error}")))?;
            made.extend(proofs);
        }
        for (kind, report) in &mut self.report.proofs {
            let of_kind = || made.iter().filter(|made| made.kind == *kind);
            let count: u32 = of_kind().map(|made| made.proofs).sum();
            let seconds: f64 = of_kind().map(|made| made.seconds).sum();
            report.making_seconds = seconds / f64::from(count.max(1));
        }
        Ok(())
    }

    /// What is stored: what the user named, or files picked from the clone.
    fn input(&mut self) -> Result<PathBuf, DemoError> {
        if let Some(path) = &self.options.path {
            return Ok(std::path::absolute(path).map_err(at(path))?);
        }
        let here = std::env::current_dir().map_err(at(Path::new(".")))?;
        let to = self.folder.join("picked");
        let picked = input::pick(&here, &to)?;
        if picked.is_empty() {
            return Err(broken(
                "no file was named, and this is no clone to pick some from".into(),
            ));
        }
        self.say(format!("picked {}", picked.join(", ")));
        Ok(to)
    }

    /// Waits until the ledger is as wished, block by block, and says what is waited for.
    async fn wait(
        &mut self,
        describe: impl Fn(&LedgerView) -> String,
        done: impl Fn(&LedgerView) -> bool,
    ) -> Result<LedgerView, DemoError> {
        let ledger = self.testnet()?.ledger()?;
        let until = Instant::now() + PATIENCE;
        loop {
            let view = self.view().await?;
            if done(&view) {
                return Ok(view);
            }
            if let Some(fallen) = self.testnet()?.fallen() {
                return Err(fallen.into());
            }
            if let Some(deal) = view
                .deals()
                .find(|deal| matches!(deal.state, "failed" | "broken"))
            {
                return Err(broken(format!(
                    "the deal of shard {} with provider {} is {}",
                    deal.shard, deal.provider, deal.state
                )));
            }
            let waiting = describe(&view);
            if Instant::now() > until {
                return Err(broken(format!("after {} s: {waiting}", PATIENCE.as_secs())));
            }
            (self.say)(DemoEvent::Waiting(waiting));
            ledger.wait(view.height.after(Blocks(1))).await?;
        }
    }

    async fn view(&mut self) -> Result<LedgerView, DemoError> {
        let testnet = self.testnet()?;
        Ok(LedgerView::read(testnet, &testnet.ledger()?).await?)
    }

    fn testnet(&mut self) -> Result<&mut Testnet, DemoError> {
        let folder = &self.folder;
        self.testnet.as_mut().ok_or_else(|| {
            DemoError::Testnet(TestnetError::Missing {
                folder: folder.clone(),
            })
        })
    }

    fn before(&self) -> Result<LedgerView, DemoError> {
        self.report
            .before
            .clone()
            .ok_or_else(|| broken("nothing was stored".into()))
    }

    /// Shards that suffice, and shards in all: half of the nodes, and all of them.
    fn code(&self) -> (u8, u8) {
        let n = self.options.nodes;
        ((n / 2).max(1), n)
    }

    fn network(&self) -> [OsString; 2] {
        ["--network".into(), self.folder.clone().into()]
    }

    fn check(&mut self, sentence: String) {
        self.say(sentence.clone());
        self.checks.push(sentence);
    }

    fn say(&mut self, text: String) {
        (self.say)(DemoEvent::Said(text));
    }
}

/// What a node remembers of a statement that it has proven.
#[derive(Deserialize)]
struct Made {
    kind: String,
    proofs: u32,
    seconds: f64,
}

fn broken(reason: String) -> DemoError {
    DemoError::Broken(reason)
}

fn count(view: &LedgerView, of: impl Fn(&ProviderView) -> bool) -> usize {
    view.providers
        .iter()
        .filter(|provider| of(provider))
        .count()
}

fn sector_is(provider: &ProviderView, state: &str) -> bool {
    provider.sectors.iter().any(|sector| sector.state == state)
}

fn earlier<'a>(
    before: &'a LedgerView,
    provider: &ProviderView,
) -> Result<&'a ProviderView, DemoError> {
    before
        .providers
        .iter()
        .find(|earlier| earlier.id == provider.id)
        .ok_or_else(|| broken(format!("provider {} came later", provider.id)))
}

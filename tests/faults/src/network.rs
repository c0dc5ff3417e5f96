//! A testnet of real processes that are killed and started again, one by one.
//!
//! Every process is the `holdfast` binary, started as `holdfast testnet up` starts it. What ends by
//! SIGKILL is started again at once, as a service manager would; what ends by itself fails the test
//! with the end of its log.

use holdfast_market_core::block::{Outcome, OutcomeResult};
use holdfast_market_core::message::Body;
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::units::{Blocks, Height};
use holdfast_proofs::crash::{CRASH_LOG, CRASH_ONLY};
use holdfast_proofs::sector::SectorClass;
use holdfast_testnet::{
    Commands, LedgerView, Peaks, ProcessRecord, STOP_WITH, Testnet, TestnetError, UpOptions,
};
use holdfast_wire::ledger::LedgerClient;
use rand::Rng;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Pause between two looks at the processes.
const LOOK: Duration = Duration::from_millis(50);
/// The first ports of networks.
const PORTS: std::ops::Range<u16> = 10_000..30_000;
/// Processes are given so long between their end and their next start.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// The rules for networks whose processes are killed on the way: as on a testnet, but what is due is
/// due later, so that a process that is killed twenty times at its work is late for nothing.
pub fn patient_rules() -> Parameters {
    Parameters {
        block_interval_ms: 500,
        period: Blocks(90),
        replica_due: Blocks(240),
        embed_due: Blocks(240),
        promise: Blocks(240),
        ..holdfast_testnet::rules(SectorClass::Mib8)
    }
}

/// A process of the network and whether it is to run.
struct Supervised {
    record: ProcessRecord,
    child: Option<Child>,
    wanted: bool,
    /// Where it marks the crash points that it has passed, where it is to die at them.
    crash_log: Option<PathBuf>,
    kills: usize,
    since: Instant,
}

/// What a command printed and how it ended.
pub struct Answer {
    /// How it ended.
    pub status: ExitStatus,
    /// The object that it printed; null where it printed none.
    pub object: Value,
    /// What it said besides.
    pub said: String,
}

/// A message that a block holds, and what came of it.
pub struct Message {
    /// In which block.
    pub height: Height,
    /// What it asked.
    pub body: Body,
    /// What came of it.
    pub outcome: Outcome,
}

/// A network under supervision; its processes end with it.
pub struct Network {
    testnet: Testnet,
    binary: PathBuf,
    processes: BTreeMap<String, Supervised>,
    /// What every process has in its environment besides.
    environment: Vec<(OsString, OsString)>,
}

impl Network {
    /// Makes a network of so many nodes with a sector each in `folder`; nothing runs yet.
    pub async fn make(binary: &Path, folder: &Path, nodes: u8, rules: Parameters) -> Self {
        Self::make_with(binary, folder, (1, nodes), rules).await
    }

    /// Makes a network of so many validators, and of nobody who stores; nothing runs yet.
    pub async fn of_validators(
        binary: &Path,
        folder: &Path,
        validators: u8,
        rules: Parameters,
    ) -> Self {
        Self::make_with(binary, folder, (validators, 0), rules).await
    }

    async fn make_with(
        binary: &Path,
        folder: &Path,
        (validators, nodes): (u8, u8),
        rules: Parameters,
    ) -> Self {
        let commands = Commands {
            binary: binary.to_owned(),
            peaks: Peaks::default(),
        };
        let mut options = UpOptions {
            folder: folder.to_owned(),
            validators,
            nodes,
            class: SectorClass::Mib8,
            sectors: 1,
            rules,
            first_port: None,
            parameters: holdfast_testnet::parameters_folder().unwrap(),
        };
        let mut tries = 0;
        let testnet = loop {
            // Below those that the system gives to whoever asks for any: nobody takes a process's
            // port while it is down.
            options.first_port = Some(rand::thread_rng().gen_range(PORTS));
            match Testnet::prepare(&options, &commands, &mut |_| {}).await {
                Err(TestnetError::PortInUse { .. }) if tries < 20 => tries += 1,
                testnet => break testnet.unwrap(),
            }
        };
        let processes = testnet.record().processes.iter().map(|record| {
            let supervised = Supervised {
                record: record.clone(),
                child: None,
                wanted: false,
                crash_log: None,
                kills: 0,
                since: Instant::now(),
            };
            (record.name.clone(), supervised)
        });
        Self {
            processes: processes.collect(),
            testnet,
            binary: binary.to_owned(),
            environment: Vec::new(),
        }
    }

    /// From their next start on its processes have this in their environment.
    pub fn set_environment(&mut self, environment: Vec<(OsString, OsString)>) {
        self.environment = environment;
    }

    /// Its folder: what `--network` takes.
    pub fn folder(&self) -> &Path {
        self.testnet.layout().folder()
    }

    /// Where a process listens.
    pub fn address(&self, name: &str) -> String {
        format!("127.0.0.1:{}", self.processes[name].record.port)
    }

    /// The names of its processes: `market`, `market-1`, `node-0` and so on.
    pub fn names(&self) -> Vec<String> {
        self.processes.keys().cloned().collect()
    }

    /// Lets a process die at every crash point that it reaches, once; marks them in `log`.
    pub fn die_at_points(&mut self, name: &str, log: &Path) {
        self.process(name).crash_log = Some(log.to_owned());
    }

    /// Starts a process and keeps it running from now on.
    pub fn start(&mut self, name: &str) {
        self.process(name).wanted = true;
        self.launch(name);
    }

    /// Starts every process, the markets first.
    pub async fn start_all(&mut self) {
        for name in self.names() {
            if name.starts_with("market") {
                self.start(&name);
            }
        }
        let ledger = self.ledger();
        let mut answers = false;
        for _ in 0..1200 {
            self.supervise();
            answers = ledger.status().await.is_ok();
            if answers {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        assert!(answers, "the market does not answer");
        for name in self.names() {
            if !name.starts_with("market") {
                self.start(&name);
            }
        }
    }

    fn process(&mut self, name: &str) -> &mut Supervised {
        self.processes.get_mut(name).unwrap()
    }

    fn launch(&mut self, name: &str) {
        let record = self.process(name).record.clone();
        let arguments = self.testnet.arguments(&record);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.testnet.layout().log(name))
            .unwrap();
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .env(STOP_WITH, std::process::id().to_string())
            .env_remove(CRASH_LOG)
            .envs(self.environment.clone())
            .process_group(0);
        let process = self.process(name);
        if let Some(log) = &process.crash_log {
            command.env(CRASH_LOG, log);
        }
        process.child = Some(command.spawn().unwrap());
        process.since = Instant::now();
    }

    /// Starts again what was killed, and fails where something ended otherwise.
    pub fn supervise(&mut self) {
        for name in self.names() {
            let log = self.testnet.layout().log(&name);
            let process = self.process(&name);
            if let Some(child) = &mut process.child
                && let Some(status) = child.try_wait().unwrap()
            {
                process.child = None;
                process.since = Instant::now();
                if status.signal() == Some(9) {
                    process.kills += 1;
                } else if process.wanted {
                    panic!("{name} ended ({status}):\n{}", end_of(&log, 30));
                }
            }
            if process.child.is_none() && process.wanted && process.since.elapsed() > RESTART_PAUSE
            {
                self.launch(&name);
            }
        }
    }

    /// Kills a process; it is started again when it is next looked after.
    pub fn kill(&mut self, name: &str) -> bool {
        match &mut self.process(name).child {
            Some(child) => child.kill().is_ok(),
            None => false,
        }
    }

    /// Kills a process and leaves it down.
    pub fn stop(&mut self, name: &str) {
        let process = self.process(name);
        process.wanted = false;
        if let Some(mut child) = process.child.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// The process's number while it runs.
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.processes[name].child.as_ref().map(Child::id)
    }

    /// How often processes were killed so far.
    pub fn kills(&self) -> usize {
        self.processes.values().map(|process| process.kills).sum()
    }

    /// Looks after the processes until something holds.
    pub async fn until(
        &mut self,
        what: &str,
        patience: Duration,
        mut holds: impl AsyncFnMut(&mut Self) -> bool,
    ) {
        let begun = Instant::now();
        loop {
            self.supervise();
            if holds(self).await {
                return;
            }
            if begun.elapsed() > patience {
                self.print_logs();
                panic!("not in {patience:?}: {what}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A client of one market's ledger.
    pub fn ledger_of(&self, market: &str) -> LedgerClient {
        self.testnet.ledger_of(market).unwrap()
    }

    /// A client of its ledger.
    pub fn ledger(&self) -> LedgerClient {
        self.testnet.ledger().unwrap()
    }

    /// What the ledger shows; nothing while the market is away.
    pub async fn view(&self) -> Option<LedgerView> {
        LedgerView::read(&self.testnet, &self.ledger()).await.ok()
    }

    /// Looks after the processes until the ledger shows something.
    pub async fn until_shown(
        &mut self,
        what: &str,
        patience: Duration,
        mut holds: impl FnMut(&LedgerView) -> bool,
    ) -> LedgerView {
        let mut last = None;
        self.until(what, patience, async |network| match network.view().await {
            Some(view) => {
                let held = holds(&view);
                last = Some(view);
                held
            }
            None => false,
        })
        .await;
        last.unwrap()
    }

    /// Runs a command on this network with `--json`, while the processes are looked after.
    pub async fn run(&mut self, arguments: &[&str]) -> Answer {
        self.run_dying(arguments, None, None).await
    }

    /// The same, dying at the crash points, beginning with `only` where that is given, that are not
    /// marked in the log yet.
    pub async fn run_dying(
        &mut self,
        arguments: &[&str],
        log: Option<&Path>,
        only: Option<&str>,
    ) -> Answer {
        let mut all: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        let folder = self.folder().to_owned();
        all.extend([OsStr::new("--network"), folder.as_os_str()]);
        let mut environment = self.environment.clone();
        if let Some(log) = log {
            environment.extend(dying(log, only));
        }
        let mut running = Running::begin(&self.binary, &all, &environment);
        loop {
            self.supervise();
            if let Some(answer) = running.ended() {
                return answer;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Runs a command again and again until it succeeds, as somebody would whose machine fails.
    pub async fn run_until_done(&mut self, arguments: &[&str], patience: Duration) -> Value {
        let begun = Instant::now();
        loop {
            let answer = self.run(arguments).await;
            if answer.status.success() {
                return answer.object;
            }
            if begun.elapsed() > patience {
                self.print_logs();
                panic!("{arguments:?} does not succeed: {}", answer.said);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Every message that the ledger holds, with its outcome, in order.
    pub async fn messages(&self) -> Vec<Message> {
        let ledger = self.ledger();
        let head = ledger.status().await.unwrap().height;
        let mut found = Vec::new();
        let mut next = Height(1);
        while next <= head {
            for certified in ledger.blocks(next, 64).await.unwrap() {
                let height = certified.block.header.height;
                next = height.after(Blocks(1));
                if certified.block.messages.is_empty() {
                    continue;
                }
                let outcomes = ledger.outcomes(height).await.unwrap();
                assert_eq!(outcomes.len(), certified.block.messages.len());
                for (message, outcome) in certified.block.messages.into_iter().zip(outcomes) {
                    found.push(Message {
                        height,
                        body: message.message.body,
                        outcome,
                    });
                }
            }
        }
        found
    }

    /// The messages that were refused, in words.
    pub async fn refusals(&self) -> Vec<String> {
        let refused = |message: Message| match message.outcome.result {
            OutcomeResult::Done => None,
            OutcomeResult::Refused(why) => Some(format!("{:?}: {why}", message.body)),
        };
        self.messages()
            .await
            .into_iter()
            .filter_map(refused)
            .collect()
    }

    /// The end of each log, so that a failure far away can be understood.
    pub fn print_logs(&self) {
        for name in self.processes.keys() {
            let log = self.testnet.layout().log(name);
            eprintln!("--- {}\n{}", log.display(), end_of(&log, 40));
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_logs();
        }
        for name in self.names() {
            self.stop(&name);
        }
    }
}

/// The environment of a process that dies at the points, beginning with `only` where that is given,
/// that are not marked in the log.
pub fn dying(log: &Path, only: Option<&str>) -> Vec<(OsString, OsString)> {
    let mut environment = vec![(CRASH_LOG.into(), log.into())];
    environment.extend(only.map(|only| (CRASH_ONLY.into(), only.into())));
    environment
}

/// A command under way.
pub struct Running {
    child: Child,
    out: PathBuf,
    _folder: tempfile::TempDir,
}

impl Running {
    /// Begins a command with `--json`.
    pub fn begin(
        binary: &Path,
        arguments: &[impl AsRef<OsStr>],
        environment: &[(OsString, OsString)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().to_owned();
        let file = |name: &str| std::fs::File::create(out.join(name)).unwrap();
        let mut command = Command::new(binary);
        command
            .args(arguments)
            .arg("--json")
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("err"))
            .env_remove(CRASH_LOG)
            .envs(environment.iter().cloned());
        Self {
            child: command.spawn().unwrap(),
            out,
            _folder: folder,
        }
    }

    /// Kills it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// What it said, once it has ended.
    pub fn ended(&mut self) -> Option<Answer> {
        let status = self.child.try_wait().unwrap()?;
        let text = |name: &str| std::fs::read_to_string(self.out.join(name)).unwrap_or_default();
        Some(Answer {
            status,
            object: serde_json::from_str(&text("out")).unwrap_or(Value::Null),
            said: text("err"),
        })
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Answer {
        loop {
            if let Some(answer) = self.ended() {
                return answer;
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of a file.
pub fn end_of(path: &Path, count: usize) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    let lines: Vec<_> = text.lines().collect();
    let skip = lines.len().saturating_sub(count);
    lines[skip..].join("\n")
}

//! A testnet: made once, started, broken and stopped.

use crate::command::{Commands, log_end};
use crate::error::{TestnetError, at};
use crate::record::{Layout, ProcessRecord, RECORD_FILE, Record, Role};
use crate::{genesis, parameters, ports, process};
use holdfast_market_core::parameters::Parameters;
use holdfast_proofs::crash::crash_point;
use holdfast_proofs::durable::{COMMON_MODE, create_folder};
use holdfast_proofs::sector::SectorClass;
use holdfast_wire::folder;
use holdfast_wire::ledger::LedgerClient;
use holdfast_wire::network::NetworkFolder;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::process::Child;

/// How long a process may take until it says that it is ready.
const READY: Duration = Duration::from_secs(60);
/// How long a process may take to stop cleanly before it is killed.
const STOP: Duration = Duration::from_secs(15);

/// What a testnet is to be.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// Its folder.
    pub folder: PathBuf,
    /// How many markets, each a validator of the same power.
    pub validators: u8,
    /// How many storage nodes.
    pub nodes: u8,
    /// The class of their sectors.
    pub class: SectorClass,
    /// How many sectors each seals.
    pub sectors: u32,
    /// The network's rules.
    pub rules: Parameters,
    /// The first port; free ones are chosen where it is not given.
    pub first_port: Option<u16>,
    /// The cache of proving parameters.
    pub parameters: PathBuf,
}

/// A testnet whose processes this one has started, or found in its folder.
#[derive(Debug)]
pub struct Testnet {
    layout: Layout,
    record: Record,
    /// Those that this process has started: they are to be waited for when they end.
    children: BTreeMap<String, Child>,
}

impl Testnet {
    /// Makes the network of a new folder, or takes up the one that is there; nothing runs yet.
    ///
    /// # Errors
    /// A folder that holds something else or a running testnet, a port in use, and whatever making
    /// the parts meets.
    pub async fn prepare(
        options: &UpOptions,
        commands: &Commands,
        report: &mut dyn FnMut(String),
    ) -> Result<Self, TestnetError> {
        let folder = std::path::absolute(&options.folder).map_err(at(&options.folder))?;
        if folder.join(RECORD_FILE).exists() {
            let mut found = Self::open(&folder)?;
            found.find_unrecorded();
            // Left where the one who made it was killed in its last step.
            let _ = std::fs::remove_file(folder.join(MAKING_FILE));
            if found.record.processes.iter().any(ProcessRecord::alive) {
                return Err(TestnetError::Running { folder });
            }
            report(format!(
                "taking up the network in {}; its nodes were away and may have missed deadlines",
                folder.display()
            ));
            return Ok(found);
        }
        let there_before = folder.exists();
        let making = Making::begin(&folder)?;
        let made = Self::make(&folder, options, commands, report).await;
        if made.is_err() {
            // Half a network serves nobody, and would stand in the way of the next try.
            let _ = making.clear().and_then(|()| making.done());
            if !there_before {
                let _ = std::fs::remove_dir_all(&folder);
            }
            return made;
        }
        making.done()?;
        made
    }

    async fn make(
        folder: &Path,
        options: &UpOptions,
        commands: &Commands,
        report: &mut dyn FnMut(String),
    ) -> Result<Self, TestnetError> {
        let layout = Layout::new(folder);
        let names: Vec<_> = (0..options.nodes)
            .map(|index| format!("node-{index}"))
            .collect();
        let markets: Vec<_> = (0..options.validators.max(1)).map(market_name).collect();
        let mut roles = vec![Role::Market; markets.len()];
        roles.resize(names.len().saturating_add(markets.len()), Role::Node);
        // Several markets meet at ports of their own, which come last.
        let meeting = if markets.len() > 1 { markets.len() } else { 0 };
        roles.resize(roles.len().saturating_add(meeting), Role::Market);
        // Said before the long work, where the ports are given.
        if options.first_port.is_some() {
            ports::choose(&roles, options.first_port)?;
        }
        let parameters = parameters::ensure(&options.parameters, &options.rules, report).await?;
        create_folder(&layout.logs(), COMMON_MODE).map_err(at(&layout.logs()))?;
        let mut validators = Vec::new();
        for name in &markets {
            let words = ["market", "init", "--data"];
            validators.push(init(commands, &words, &layout.data(name)).await?);
        }
        let mut owners = Vec::new();
        for name in &names {
            owners.push(init(commands, &["node", "init", "--data"], &layout.data(name)).await?);
        }
        let wallet = init(commands, &["wallet", "init", "--wallet"], &layout.wallet()).await?;
        crash_point("testnet.initialised");
        let genesis = genesis::make(&options.rules, &parameters, &validators, &wallet, &owners)?;

        let mut record = Record {
            version: Record::VERSION,
            class: options.class,
            sectors: options.sectors,
            processes: Vec::new(),
        };
        let ports = ports::choose(&roles, options.first_port)?;
        let (own, meeting) = ports.split_at(ports.len().saturating_sub(meeting));
        let mut meeting = meeting.iter();
        for ((name, role), port) in markets.into_iter().chain(names).zip(roles).zip(own) {
            record.processes.push(ProcessRecord {
                name,
                role,
                port: *port,
                meet: match role {
                    Role::Market => meeting.next().copied(),
                    Role::Node => None,
                },
                process: None,
            });
        }
        let api = format!("http://127.0.0.1:{}", record.market(folder)?.port);
        NetworkFolder::create(
            folder,
            &genesis,
            &parameters.verifying_keys,
            &api,
            &options.parameters,
        )?;
        crash_point("testnet.network-written");
        record.write(folder)?;
        crash_point("testnet.record-written");
        Ok(Self {
            layout,
            record,
            children: BTreeMap::new(),
        })
    }

    /// Takes note of processes that run on its data folders and that the record does not name:
    /// whoever started them was killed before it could write them down.
    fn find_unrecorded(&mut self) {
        for entry in &mut self.record.processes {
            if !entry.alive()
                && let Some(pid) = folder::holder(&self.layout.data(&entry.name))
            {
                entry.process = process::ProcessId::of(pid);
            }
        }
    }

    /// The testnet of a folder, as it is.
    ///
    /// # Errors
    /// A folder without a testnet.
    pub fn open(folder: &Path) -> Result<Self, TestnetError> {
        let folder = std::path::absolute(folder).map_err(at(folder))?;
        let record = Record::read(&folder)?;
        Ok(Self {
            layout: Layout::new(&folder),
            record,
            children: BTreeMap::new(),
        })
    }

    /// Starts the markets, then the nodes, and waits until each says that it is ready. If one does
    /// not come up, those that did are stopped.
    ///
    /// # Errors
    /// A port in use, and a process that stops or is not ready in time.
    pub async fn start(
        &mut self,
        commands: &Commands,
        stop_with_us: bool,
    ) -> Result<(), TestnetError> {
        let started = self.start_all(commands, stop_with_us).await;
        if started.is_err() {
            self.stop().await?;
        }
        started
    }

    async fn start_all(
        &mut self,
        commands: &Commands,
        stop_with_us: bool,
    ) -> Result<(), TestnetError> {
        let wanted = self.record.processes.clone();
        let places = wanted.iter().flat_map(|process| {
            [Some(process.port), process.meet].map(|port| (process.role, port))
        });
        for (role, port) in places {
            if let Some(port) = port.filter(|port| !ports::is_free(role, *port)) {
                return Err(TestnetError::PortInUse { port });
            }
        }
        // Nodes ask the market as they come up, so it is there first; they do not need each other.
        for role in [Role::Market, Role::Node] {
            let mut coming = Vec::new();
            for process in wanted.iter().filter(|process| process.role == role) {
                coming.push((process, self.launch(process, commands, stop_with_us)?));
            }
            for (process, log_before) in coming {
                self.wait_ready(process, log_before).await?;
            }
        }
        Ok(())
    }

    /// Starts a process again that was killed, and waits until it says that it is ready.
    ///
    /// # Errors
    /// No such process, or one that does not come up.
    pub async fn restart(
        &mut self,
        name: &str,
        commands: &Commands,
        stop_with_us: bool,
    ) -> Result<(), TestnetError> {
        let process = self.record.processes.iter().find(|one| one.name == name);
        let process = process.cloned().ok_or_else(|| TestnetError::Record {
            path: self.layout.folder().join(RECORD_FILE),
            reason: format!("it names no {name}"),
        })?;
        let log_before = self.launch(&process, commands, stop_with_us)?;
        self.wait_ready(&process, log_before).await
    }

    /// Starts one process and writes down which it is; answers how long its log was before.
    fn launch(
        &mut self,
        process: &ProcessRecord,
        commands: &Commands,
        stop_with_us: bool,
    ) -> Result<u64, TestnetError> {
        let log = self.layout.log(&process.name);
        let log_before = std::fs::metadata(&log).map_or(0, |metadata| metadata.len());
        let arguments = self.arguments(process);
        let child = process::serve(&commands.binary, &arguments, &log, stop_with_us)
            .map_err(at(&commands.binary))?;
        crash_point("testnet.launched");
        if let Some(pid) = child.id() {
            commands.peaks.watch(&process.name, pid);
            let id = process::ProcessId::of(pid);
            for entry in &mut self.record.processes {
                if entry.name == process.name {
                    entry.process.clone_from(&id);
                }
            }
        }
        self.children.insert(process.name.clone(), child);
        self.record.write(self.layout.folder())?;
        crash_point("testnet.launch-recorded");
        Ok(log_before)
    }

    /// What the binary is called with to be that process.
    pub fn arguments(&self, process: &ProcessRecord) -> Vec<OsString> {
        let what = match process.role {
            Role::Market => "market",
            Role::Node => "node",
        };
        let mut arguments: Vec<OsString> = vec![
            what.into(),
            "run".into(),
            "--network".into(),
            self.layout.folder().into(),
            "--data".into(),
            self.layout.data(&process.name).into(),
            "--listen".into(),
            format!("127.0.0.1:{}", process.port).into(),
        ];
        if let Some(meet) = process.meet {
            arguments.extend(["--meet".into(), format!("127.0.0.1:{meet}").into()]);
            let markets = self.record.markets();
            for other in markets.filter(|other| other.name != process.name) {
                if let Some(meet) = other.meet {
                    arguments.extend(["--peer".into(), format!("127.0.0.1:{meet}").into()]);
                }
                let api = format!("http://127.0.0.1:{}", other.port);
                arguments.extend(["--forward".into(), api.into()]);
            }
        }
        if process.role == Role::Node {
            arguments.extend([
                "--sectors".into(),
                self.record.sectors.to_string().into(),
                "--class".into(),
                self.record.class.name().into(),
            ]);
        }
        arguments
    }

    async fn wait_ready(
        &mut self,
        process: &ProcessRecord,
        log_before: u64,
    ) -> Result<(), TestnetError> {
        let log = self.layout.log(&process.name);
        let until = Instant::now() + READY;
        loop {
            if says_ready(&log, log_before) {
                return Ok(());
            }
            let ended = match self.children.get_mut(&process.name) {
                Some(child) => child.try_wait().map_err(at(&log))?,
                None => None,
            };
            if let Some(status) = ended {
                return Err(TestnetError::Stopped {
                    name: process.name.clone(),
                    status: status.to_string(),
                    last: log_end(&log, 2),
                    log,
                });
            }
            if Instant::now() > until {
                return Err(TestnetError::NotReady {
                    name: process.name.clone(),
                    seconds: READY.as_secs(),
                    log,
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Stops every process of the testnet: the nodes, then the markets; first they are asked, and
    /// after a while killed. Answers the names of those that were running.
    ///
    /// # Errors
    /// A record that cannot be written.
    pub async fn stop(&mut self) -> Result<Vec<String>, TestnetError> {
        let mut stopped = Vec::new();
        self.find_unrecorded();
        for role in [Role::Node, Role::Market] {
            let alive = |record: &Record| -> Vec<ProcessRecord> {
                record
                    .processes
                    .iter()
                    .filter(|process| process.role == role && process.alive())
                    .cloned()
                    .collect()
            };
            let running = alive(&self.record);
            for process in &running {
                stopped.push(process.name.clone());
                self.signal(process, Signal::TERM);
            }
            crash_point("testnet.stopping");
            let until = Instant::now() + STOP;
            while !alive(&self.record).is_empty() && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            for process in alive(&self.record) {
                self.signal(&process, Signal::KILL);
            }
        }
        for (_, mut child) in std::mem::take(&mut self.children) {
            // It has ended or was just killed; this only takes it off the system's list.
            let _ = child.wait().await;
        }
        for process in &mut self.record.processes {
            process.process = None;
        }
        crash_point("testnet.stopped");
        self.record.write(self.layout.folder())?;
        Ok(stopped)
    }

    /// Kills one process with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// A process that is not there.
    pub async fn kill(&mut self, name: &str) -> Result<(), TestnetError> {
        let process = self
            .record
            .processes
            .iter()
            .find(|process| process.name == name && process.alive())
            .cloned()
            .ok_or_else(|| TestnetError::Stopped {
                name: name.into(),
                status: "before it was to be killed".into(),
                last: log_end(&self.layout.log(name), 2),
                log: self.layout.log(name),
            })?;
        self.signal(&process, Signal::KILL);
        while process.alive() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if let Some(mut child) = self.children.remove(name) {
            let _ = child.wait().await;
        }
        Ok(())
    }

    fn signal(&self, process: &ProcessRecord, signal: Signal) {
        if let Some(id) = &process.process {
            id.signal(signal);
        }
    }

    /// A process that has ended although nobody stopped it, with the end of its log.
    pub fn fallen(&self) -> Option<TestnetError> {
        let process = self
            .record
            .processes
            .iter()
            .find(|process| self.children.contains_key(&process.name) && !process.alive())?;
        let log = self.layout.log(&process.name);
        Some(TestnetError::Stopped {
            name: process.name.clone(),
            status: "unasked".into(),
            last: log_end(&log, 2),
            log,
        })
    }

    /// Where its parts lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its processes.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Its network folder, checked.
    ///
    /// # Errors
    /// A folder whose files do not belong together.
    pub fn network(&self) -> Result<NetworkFolder, TestnetError> {
        Ok(NetworkFolder::open(self.layout.folder())?)
    }

    /// A client of one market's ledger.
    ///
    /// # Errors
    /// No such market.
    pub fn ledger_of(&self, market: &str) -> Result<LedgerClient, TestnetError> {
        let process = self.record.markets().find(|one| one.name == market);
        let process = process.ok_or_else(|| TestnetError::Record {
            path: self.layout.folder().join(RECORD_FILE),
            reason: format!("it names no {market}"),
        })?;
        let api = format!("http://127.0.0.1:{}", process.port);
        Ok(LedgerClient::new(&api)?)
    }

    /// A client of its ledger.
    ///
    /// # Errors
    /// As [`Testnet::network`].
    pub fn ledger(&self) -> Result<LedgerClient, TestnetError> {
        Ok(LedgerClient::new(self.network()?.api())?)
    }
}

/// The first market is everybody's; the others have numbers.
fn market_name(index: u8) -> String {
    match index {
        0 => "market".into(),
        index => format!("market-{index}"),
    }
}

/// A folder in which a testnet is being made. Until it is made, a file in it says so: what a process
/// that was killed has left half made is cleared away by the next.
struct Making {
    folder: PathBuf,
    /// Held by the process that makes it.
    _held: File,
}

/// The file that says so.
const MAKING_FILE: &str = ".making";

impl Making {
    /// Takes an empty or new folder, or one in which a process that was killed has begun.
    fn begin(folder: &Path) -> Result<Self, TestnetError> {
        create_folder(folder, COMMON_MODE).map_err(at(folder))?;
        let path = folder.join(MAKING_FILE);
        let occupied = std::fs::read_dir(folder)
            .map_err(at(folder))?
            .next()
            .is_some();
        if occupied && !path.exists() {
            return Err(TestnetError::NotEmpty {
                folder: folder.to_owned(),
            });
        }
        let held = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(at(&path))?;
        if held.try_lock().is_err() {
            return Err(TestnetError::BeingMade {
                folder: folder.to_owned(),
            });
        }
        let making = Self {
            folder: folder.to_owned(),
            _held: held,
        };
        making.clear()?;
        crash_point("testnet.making");
        Ok(making)
    }

    /// Removes what is in the folder, and the file that says so last.
    fn clear(&self) -> Result<(), TestnetError> {
        for entry in std::fs::read_dir(&self.folder).map_err(at(&self.folder))? {
            let path = entry.map_err(at(&self.folder))?.path();
            if path.ends_with(MAKING_FILE) {
                continue;
            }
            let removed = if path.is_dir() {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            removed.map_err(at(&path))?;
        }
        Ok(())
    }

    /// It is made.
    fn done(self) -> Result<(), TestnetError> {
        let path = self.folder.join(MAKING_FILE);
        std::fs::remove_file(&path).map_err(at(&path))
    }
}

/// Runs an `init` command on a data folder and answers what it prints.
async fn init(
    commands: &Commands,
    words: &[&str],
    data: &Path,
) -> Result<serde_json::Value, TestnetError> {
    let mut arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
    arguments.push(data.into());
    commands.run(&arguments).await
}

/// Whether a process has written its `ready` line after the first `from` bytes of its log.
fn says_ready(log: &Path, from: u64) -> bool {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(log)?;
        file.seek(SeekFrom::Start(from))?;
        let mut text = Vec::new();
        file.take(1 << 20).read_to_end(&mut text)?;
        Ok(text)
    };
    read().is_ok_and(|text| {
        String::from_utf8_lossy(&text)
            .lines()
            .any(|line| line.starts_with("ready"))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_ready_line_of_an_earlier_run_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        std::fs::write(&log, "ready 127.0.0.1:1\nstopped\n").unwrap();
        let before = std::fs::metadata(&log).unwrap().len();
        assert!(says_ready(&log, 0));
        assert!(!says_ready(&log, before));
        assert!(!says_ready(&folder.path().join("missing"), 0));
    }
}

//! Why a network on this machine was not started, looked at or stopped.

use std::io;
use std::path::{Path, PathBuf};

/// Why something about a testnet failed; [`TestnetError::next`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TestnetError {
    /// No testnet was ever made here.
    #[error("{folder} holds no testnet")]
    Missing {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder is somebody else's.
    #[error("{folder} is not empty and holds no testnet")]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// Another process makes a testnet there.
    #[error("another process is making a testnet in {folder}")]
    BeingMade {
        /// The folder.
        folder: PathBuf,
    },
    /// Its processes are alive.
    #[error("the testnet in {folder} is running already")]
    Running {
        /// The folder.
        folder: PathBuf,
    },
    /// `testnet.json` is not what this version wrote.
    #[error("{path} cannot be understood: {reason}")]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Something else listens there.
    #[error("port {port} of 127.0.0.1 is in use")]
    PortInUse {
        /// The port.
        port: u16,
    },
    /// So many ports do not exist above the first.
    #[error("there are not {count} ports from {first} on")]
    NoPorts {
        /// The first port.
        first: u16,
        /// How many are needed.
        count: usize,
    },
    /// A process ended that should serve.
    #[error("{name} stopped ({status}); the end of its log: {last}")]
    Stopped {
        /// Which process.
        name: String,
        /// How it ended.
        status: String,
        /// Its last words.
        last: String,
        /// Its log.
        log: PathBuf,
    },
    /// A process does not come up.
    #[error("{name} was not ready after {seconds} s")]
    NotReady {
        /// Which process.
        name: String,
        /// How long it was waited for.
        seconds: u64,
        /// Its log.
        log: PathBuf,
    },
    /// A command that was run as a user would failed.
    #[error("`holdfast {command}` failed: {reason}")]
    Command {
        /// The command with its arguments.
        command: String,
        /// What it said.
        reason: String,
        /// The next step that it named.
        next: String,
    },
    /// The proving parameters could not be made or read.
    #[error("the proving parameters in {folder} could not be made: {reason}")]
    Parameters {
        /// Their folder.
        folder: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The folder of the network is not right.
    #[error(transparent)]
    Network(#[from] holdfast_wire::network::NetworkError),
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] holdfast_wire::ledger::LedgerError),
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// The home folder is not known.
    #[error("the home folder is not known")]
    NoHome,
}

impl TestnetError {
    /// The next step of whoever meets this error.
    pub fn next(&self) -> String {
        match self {
            Self::Missing { folder } => format!("holdfast testnet up {}", folder.display()),
            Self::NotEmpty { .. } | Self::BeingMade { .. } => {
                "name an empty or a new folder".into()
            }
            Self::Running { folder } => {
                format!("stop it with `holdfast testnet down {}`", folder.display())
            }
            Self::Record { .. } => "start a new testnet in another folder".into(),
            Self::PortInUse { .. } | Self::NoPorts { .. } => {
                "name another first port with --port, or leave it out to have free ones chosen"
                    .into()
            }
            Self::Stopped { log, .. } | Self::NotReady { log, .. } => {
                format!("read {}", log.display())
            }
            Self::Command { next, .. } => next.clone(),
            Self::Parameters { .. } => {
                "see that the folder can be written and has 1 GiB free, or name another with HOLDFAST_PARAMS".into()
            }
            Self::NoHome => "name a folder".into(),
            Self::Network(_) | Self::Ledger(_) | Self::Io { .. } => String::new(),
        }
    }
}

/// Names the path in an operating system's error.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> TestnetError {
    let path = path.to_owned();
    move |source| TestnetError::Io { path, source }
}

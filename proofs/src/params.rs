//! Groth16 parameters: made with blstrs, kept in a folder, checked against a digest and loaded
//! without checking every point.
//!
//! A folder has three files for each circuit: `NAME.params` (what `bellman` writes; both libraries
//! read it), `NAME.key` (the verifying key alone) and `NAME.digest`, which is written last and says
//! that the other two are whole. The digest guards against damage; whether parameters are the
//! *network's* is decided by the verifying key that the network fixed.

pub(crate) mod generate;
pub mod listing;
#[cfg(test)]
mod tests;

use crate::circuit::{AnyCircuit, CIRCUIT_VERSION};
use crate::durable::{COMMON_MODE, create_folder};
use crate::groth16::{Key, PointError};
use crate::keys::VerifyingKeys;
use crate::proof::CircuitId;
use bellman::SynthesisError;
use generate::{Trapdoor, generate};
use rand_core::{CryptoRng, RngCore};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// To be shown wherever a network makes its own parameters, or takes those that this machine made
/// before.
pub const DEVELOPMENT_NOTICE: &str = "these parameters are made by one machine for development: \
     whoever made them could forge proofs, so a network of value needs a ceremony";

/// Three lines; more is no digest file.
const LONGEST_DIGEST: u64 = 4 << 10;
/// A point for each public input, and there are some dozens.
const LONGEST_KEY: u64 = 1 << 20;

/// Why parameters could not be made, kept or loaded.
#[derive(Debug, thiserror::Error)]
pub enum ParametersError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder has no parameters for the circuit.
    #[error("{dir} has no parameters for {id}; make or fetch them first")]
    Missing {
        /// The circuit.
        id: CircuitId,
        /// The folder.
        dir: PathBuf,
    },
    /// A file is not the one whose digest was written.
    #[error(
        "{path} is damaged: its digest is not the one beside it; a network that runs is helped only by a copy of the same file, since parameters made anew are another network's"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The parameters are whole, but those of another network.
    #[error(
        "the parameters of {id} in {dir} belong to another network: their verifying key is not the one that this network fixed"
    )]
    OtherNetwork {
        /// The circuit.
        id: CircuitId,
        /// The folder.
        dir: PathBuf,
    },
    /// The verifying key among the parameters cannot be used.
    #[error("the parameters of {id} have a wrong verifying key: {why}")]
    Key {
        /// The circuit.
        id: CircuitId,
        /// What is wrong with a point of it.
        why: PointError,
    },
    /// The circuit could not be turned into parameters.
    #[error("making the parameters of {id} failed: {source}")]
    Synthesis {
        /// The circuit.
        id: CircuitId,
        /// What `bellman` said.
        source: SynthesisError,
    },
}

/// What [`ensure`] is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParametersProgress {
    /// The parameters of a circuit were there, made by whoever could write to the folder:
    /// [`DEVELOPMENT_NOTICE`] applies.
    Found(CircuitId),
    /// They are being made, which takes seconds to minutes. [`DEVELOPMENT_NOTICE`] applies.
    Making(CircuitId),
    /// They were made and kept.
    Made(CircuitId),
}

/// The parameters of one circuit, ready for proving.
pub struct Parameters {
    id: CircuitId,
    pub(crate) inner: bellman::groth16::Parameters<blstrs::Bls12>,
    pub(crate) key: Key<blstrs::Bls12>,
}

impl Parameters {
    /// Makes parameters. Whoever knows what `rng` gave can forge proofs under them.
    ///
    /// # Errors
    /// What `bellman` reports; no circuit here is known to cause it.
    pub fn create<R: RngCore + CryptoRng>(
        id: CircuitId,
        rng: &mut R,
    ) -> Result<Self, ParametersError> {
        let trapdoor = Trapdoor::random(rng);
        let inner = generate(|| AnyCircuit::blank(id), &trapdoor)
            .map_err(|source| ParametersError::Synthesis { id, source })?;
        Self::from_inner(id, inner)
    }

    fn from_inner(
        id: CircuitId,
        inner: bellman::groth16::Parameters<blstrs::Bls12>,
    ) -> Result<Self, ParametersError> {
        let key = Key::read(&key_bytes(&inner)).map_err(|why| ParametersError::Key { id, why })?;
        Ok(Self { id, inner, key })
    }

    /// The circuit that they are for.
    pub const fn id(&self) -> CircuitId {
        self.id
    }

    /// The verifying key, as `bellman` writes it.
    pub fn verifying_key(&self) -> Vec<u8> {
        key_bytes(&self.inner)
    }

    /// Writes the parameters to a folder, whole or not at all.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn save(&self, dir: &Path) -> Result<(), ParametersError> {
        let files = Files::of(dir, self.id);
        remove(&files.digest)?;
        let params = write_whole(&files.params, |out| self.inner.write(out))?;
        let key = write_whole(&files.key, |out| out.write_all(&self.verifying_key()))?;
        let digests = Digests { params, key };
        write_whole(&files.digest, |out| {
            out.write_all(digests.text(self.id).as_bytes())
        })?;
        sync_folder(dir)
    }

    /// Loads parameters from a folder. Their digest is checked, their points are not: what makes
    /// them the network's is that their verifying key is the one in `network`.
    ///
    /// # Errors
    /// Parameters that are missing, damaged or another network's.
    pub fn load(
        dir: &Path,
        id: CircuitId,
        network: &VerifyingKeys,
    ) -> Result<Self, ParametersError> {
        let files = Files::of(dir, id);
        let digests = files.digests(id)?;
        let bytes = read(&files.params)?;
        let damaged = || ParametersError::Damaged {
            path: files.params.clone(),
        };
        if *blake3::hash(&bytes).as_bytes() != digests.params {
            return Err(damaged());
        }
        let inner =
            bellman::groth16::Parameters::read(bytes.as_slice(), false).map_err(|_| damaged())?;
        drop(bytes);
        let parameters = Self::from_inner(id, inner)?;
        if network.get(id) != Some(parameters.verifying_key().as_slice()) {
            return Err(ParametersError::OtherNetwork {
                id,
                dir: dir.into(),
            });
        }
        Ok(parameters)
    }
}

/// Makes what is missing in a folder, for a development network, and gives the verifying keys.
/// Several processes may do this at once: one makes them, the others wait and find them.
///
/// # Errors
/// Those of the file system and of making parameters.
pub fn ensure(
    dir: &Path,
    ids: &[CircuitId],
    progress: &mut dyn FnMut(ParametersProgress),
) -> Result<VerifyingKeys, ParametersError> {
    let at = |path: &Path| {
        let path = path.to_path_buf();
        move |source| ParametersError::Io { path, source }
    };
    create_folder(dir, COMMON_MODE).map_err(at(dir))?;
    let lock_path = dir.join("lock");
    let lock = File::create(&lock_path).map_err(at(&lock_path))?;
    // Released when the file is closed, also by a process that dies.
    lock.lock().map_err(at(&lock_path))?;
    let mut keys = VerifyingKeys::new();
    for id in ids {
        let key = match Files::of(dir, *id).key(*id) {
            Ok(key) => {
                progress(ParametersProgress::Found(*id));
                key
            }
            Err(ParametersError::Missing { .. } | ParametersError::Damaged { .. }) => {
                progress(ParametersProgress::Making(*id));
                let parameters = Parameters::create(*id, &mut rand::rngs::OsRng)?;
                parameters.save(dir)?;
                progress(ParametersProgress::Made(*id));
                parameters.verifying_key()
            }
            Err(other) => return Err(other),
        };
        keys.insert(*id, key);
    }
    Ok(keys)
}

/// The three files of a circuit.
struct Files {
    dir: PathBuf,
    params: PathBuf,
    key: PathBuf,
    digest: PathBuf,
}

/// Digests of the two files that matter.
struct Digests {
    params: [u8; 32],
    key: [u8; 32],
}

impl Digests {
    /// What the digest file says; another circuit or version writes something else.
    fn text(&self, id: CircuitId) -> String {
        let hex = |digest: &[u8; 32]| blake3::Hash::from_bytes(*digest).to_hex();
        format!(
            "{id} v{CIRCUIT_VERSION}\nparams {}\nkey {}\n",
            hex(&self.params),
            hex(&self.key)
        )
    }

    fn parse(text: &str, id: CircuitId) -> Option<Self> {
        Self::of_text(text).filter(|digests| digests.text(id) == text)
    }

    /// What a digest file says, of whatever circuit it is.
    fn of_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        lines.next()?;
        let mut digest = |name: &str| {
            let hex = lines.next()?.strip_prefix(name)?.strip_prefix(' ')?;
            Some(*blake3::Hash::from_hex(hex).ok()?.as_bytes())
        };
        Some(Self {
            params: digest("params")?,
            key: digest("key")?,
        })
    }
}

impl Files {
    fn of(dir: &Path, id: CircuitId) -> Self {
        Self::named(dir, &id.to_string(), &CIRCUIT_VERSION.to_string())
    }

    fn named(dir: &Path, circuit: &str, version: &str) -> Self {
        let file = |end: &str| dir.join(format!("{circuit}.v{version}.{end}"));
        Self {
            dir: dir.into(),
            params: file("params"),
            key: file("key"),
            digest: file("digest"),
        }
    }

    fn digests(&self, id: CircuitId) -> Result<Digests, ParametersError> {
        let text = match read_short(&self.digest, LONGEST_DIGEST) {
            Err(ParametersError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(ParametersError::Missing {
                    id,
                    dir: self.dir.clone(),
                });
            }
            other => other?,
        };
        String::from_utf8(text)
            .ok()
            .and_then(|text| Digests::parse(&text, id))
            .ok_or_else(|| ParametersError::Damaged {
                path: self.digest.clone(),
            })
    }

    /// The verifying key of parameters that are there; their own digest is checked on loading.
    fn key(&self, id: CircuitId) -> Result<Vec<u8>, ParametersError> {
        let digests = self.digests(id)?;
        let missing = |path: &Path| ParametersError::Damaged { path: path.into() };
        if !self.params.is_file() {
            return Err(missing(&self.params));
        }
        let key = read_short(&self.key, LONGEST_KEY).map_err(|_| missing(&self.key))?;
        if *blake3::hash(&key).as_bytes() != digests.key {
            return Err(missing(&self.key));
        }
        Ok(key)
    }
}

fn key_bytes(parameters: &bellman::groth16::Parameters<blstrs::Bls12>) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    let _ = parameters.vk.write(&mut bytes);
    bytes
}

fn read(path: &Path) -> Result<Vec<u8>, ParametersError> {
    fs::read(path).map_err(|source| ParametersError::Io {
        path: path.into(),
        source,
    })
}

/// Reads a file that has at most `limit` bytes; a longer one is damaged.
fn read_short(path: &Path, limit: u64) -> Result<Vec<u8>, ParametersError> {
    crate::files::read_bounded(path, limit).map_err(|source| match source.kind() {
        io::ErrorKind::InvalidData => ParametersError::Damaged { path: path.into() },
        _ => ParametersError::Io {
            path: path.into(),
            source,
        },
    })
}

fn remove(path: &Path) -> Result<(), ParametersError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(ParametersError::Io {
            path: path.into(),
            source,
        }),
        _ => Ok(()),
    }
}

fn sync_folder(dir: &Path) -> Result<(), ParametersError> {
    File::open(dir)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| ParametersError::Io {
            path: dir.into(),
            source,
        })
}

/// Writes beside the file, makes that durable and moves it over; gives the digest.
fn write_whole(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<[u8; 32], ParametersError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let write = || {
        let mut out = Hashing {
            out: BufWriter::with_capacity(1 << 20, File::create(&temporary)?),
            hasher: blake3::Hasher::new(),
        };
        fill(&mut out)?;
        let digest = *out.hasher.finalize().as_bytes();
        out.out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .sync_all()?;
        fs::rename(&temporary, path)?;
        Ok(digest)
    };
    let result: io::Result<[u8; 32]> = write();
    result.map_err(|source| {
        // The temporary file is of no use to anyone; the first error is the one that matters.
        let _ = fs::remove_file(&temporary);
        ParametersError::Io {
            path: path.into(),
            source,
        }
    })
}

/// Hashes what it writes.
struct Hashing<W> {
    out: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

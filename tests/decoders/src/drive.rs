//! Calls a decoder with hostile bytes, each call under its bounds.

use crate::meter::{Meter, Taken};
use crate::mutate::Mutator;
use crate::{Answer, Bounds, Decoder};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The stack that a decoder has: a quarter of what a thread of the runtime has.
pub const STACK: usize = 512 << 10;
/// The longest input that a failure prints whole.
const PRINTED: usize = 4 << 10;
/// A call that does not end in this time never will, and the process is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// What came of a decoder's calls.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which decoder.
    pub name: &'static str,
    /// How often it was called.
    pub calls: u32,
    /// How often it took the bytes.
    pub read: u32,
    /// The most memory of one call, in bytes.
    pub memory: usize,
    /// The longest processor time of one call.
    pub time: Duration,
    /// The first call that broke a bound or panicked.
    pub failure: Option<Failure>,
}

/// A call that broke a bound or panicked.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What happened.
    pub what: String,
    /// With which input.
    pub input: Vec<u8>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.input[..self.input.len().min(PRINTED)];
        write!(
            f,
            "{}; the input has {} bytes: {}",
            self.what,
            self.input.len(),
            hex::encode(shown)
        )?;
        if shown.len() < self.input.len() {
            write!(f, "…")?;
        }
        Ok(())
    }
}

/// Calls `decoder` with one input.
///
/// # Errors
/// A panic (a broken law is one), or a bound that was broken.
fn call(meter: &Meter, decoder: &Decoder, input: &[u8]) -> Result<(Answer, Taken), String> {
    let (answer, taken) =
        meter.measure(|| catch_unwind(AssertUnwindSafe(|| (decoder.decode)(input))));
    let answer = answer.map_err(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        format!("it panicked: {}", text.unwrap_or("without a word"))
    })?;
    let Bounds {
        memory,
        memory_per_byte,
        time,
        time_per_byte,
    } = decoder.bounds;
    let length = input.len();
    let most = memory.saturating_add(memory_per_byte.saturating_mul(length));
    if taken.memory > most {
        return Err(format!(
            "it held {} bytes of memory, and {most} are its bound for an input of {length}",
            taken.memory
        ));
    }
    let longest = time.saturating_add(time_per_byte.saturating_mul(length as u32));
    if taken.time > longest {
        return Err(format!(
            "it worked {:?}, and {longest:?} is its bound for an input of {length} bytes",
            taken.time
        ));
    }
    Ok((answer, taken))
}

/// The file in which the input of the call under way lies, so that one which ends the whole process
/// is known: its length in eight bytes, then the input. It is never cut, because that waits for the
/// disk.
struct Last {
    path: PathBuf,
    file: fs::File,
}

impl Last {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: fs::File::create(path)?,
        })
    }

    fn keep(&self, input: &[u8]) -> io::Result<()> {
        let length = input.len() as u64;
        self.file
            .write_all_at(&[&length.to_le_bytes(), input].concat(), 0)
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        // It is of use only after a process that died.
        let _ = fs::remove_file(&self.path);
    }
}

/// Gives the process up where no call ends for long: a thread cannot be stopped.
struct Watchdog(Option<(mpsc::Sender<()>, JoinHandle<()>)>);

impl Watchdog {
    fn start(name: &'static str, path: PathBuf) -> Self {
        let (alive, signs) = mpsc::channel();
        let watch = move || {
            let mut sign = Ok(());
            while sign.is_ok() {
                sign = signs.recv_timeout(PATIENCE);
            }
            if sign == Err(RecvTimeoutError::Timeout) {
                let input = path.display();
                // Past the test's capture, which a process that aborts never shows.
                let _ = writeln!(
                    io::stderr(),
                    "{name} did not end in {PATIENCE:?}; its input lies in {input}"
                );
                std::process::abort()
            }
        };
        Self(Some((alive, std::thread::spawn(watch))))
    }

    fn alive(&self) {
        if let Some((alive, _)) = &self.0 {
            let _ = alive.send(());
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Some((alive, thread)) = self.0.take() {
            drop(alive);
            let _ = thread.join();
        }
    }
}

/// Calls `decoder` with one input, for those who make inputs of their own.
///
/// # Errors
/// A panic, or a bound that was broken.
pub fn check(decoder: &Decoder, input: &[u8]) -> Result<Answer, String> {
    call(&Meter::take(), decoder, input).map(|(answer, _)| answer)
}

/// Calls `decoder` with so many mutations of its seeds, on a thread with a stack of [`STACK`]. The
/// input of the call under way lies in `last`.
pub fn drive(decoder: &Decoder, number: u64, calls: u32, last: &Path) -> Report {
    let decoder = *decoder;
    let last = last.to_owned();
    on_small_stack(move || {
        let name = blake3::hash(decoder.name.as_bytes());
        let name = u64::from_le_bytes(*name.as_bytes().first_chunk().unwrap());
        let mut mutator = Mutator::new(number ^ name, decoder.form, (decoder.seeds)());
        let kept = Last::create(&last).unwrap();
        let watchdog = Watchdog::start(decoder.name, last);
        let meter = Meter::take();
        let mut report = Report {
            name: decoder.name,
            calls: 0,
            read: 0,
            memory: 0,
            time: Duration::ZERO,
            failure: None,
        };
        while report.calls < calls && report.failure.is_none() {
            let input = mutator.next_input();
            kept.keep(&input).unwrap();
            watchdog.alive();
            report.calls += 1;
            match call(&meter, &decoder, &input) {
                Ok((answer, taken)) => {
                    report.read += u32::from(answer == Answer::Read);
                    report.memory = report.memory.max(taken.memory);
                    report.time = report.time.max(taken.time);
                }
                Err(what) => report.failure = Some(Failure { what, input }),
            }
        }
        report
    })
}

/// Calls `decoder` with these inputs, as [`drive`] does; gives each answer.
pub fn feed(decoder: &Decoder, inputs: Vec<Vec<u8>>, last: &Path) -> Vec<Result<Answer, String>> {
    let decoder = *decoder;
    let last = last.to_owned();
    on_small_stack(move || {
        let kept = Last::create(&last).unwrap();
        let watchdog = Watchdog::start(decoder.name, last);
        let meter = Meter::take();
        let answers = inputs.iter().map(|input| {
            kept.keep(input).unwrap();
            watchdog.alive();
            call(&meter, &decoder, input).map(|(answer, _)| answer)
        });
        answers.collect()
    })
}

/// Runs `work` on a thread with a stack of [`STACK`].
fn on_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(work);
    match thread.unwrap().join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Inputs that broke a decoder once: `regressions/DECODER/NAME.hex`, hexadecimal with lines of `#`
/// that say what it did.
///
/// # Errors
/// A folder that cannot be read, or a file that is not hexadecimal.
pub fn regressions() -> io::Result<Vec<(String, PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    for decoder in fs::read_dir(folder)? {
        let decoder = decoder?;
        for case in fs::read_dir(decoder.path())? {
            let path = case?.path();
            let text = fs::read_to_string(&path)?;
            let digits: String = text
                .lines()
                .filter(|line| !line.starts_with('#'))
                .flat_map(|line| line.chars().filter(|digit| !digit.is_whitespace()))
                .collect();
            let bytes = hex::decode(digits).map_err(io::Error::other)?;
            let name = decoder.file_name().to_string_lossy().into_owned();
            found.push((name, path, bytes));
        }
    }
    found.sort();
    Ok(found)
}

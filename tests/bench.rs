//! `holdfast node bench` as a user runs it: its figures, what it leaves, and going on after a kill.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than any step takes on a busy machine, the making of parameters included.
const PATIENCE: Duration = Duration::from_secs(300);

fn bench(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command
        .args(["node", "bench", "--sector", "8MiB", "--challenges", "2"])
        .args(["--json", "--folder"])
        .arg(folder);
    command
}

/// Runs it to its end and answers its figures by name.
fn figures(folder: &Path) -> Vec<(String, f64)> {
    let output = bench(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["class"], "8MiB");
    assert_eq!(object["challenges"], 2);
    let figures = object["figures"].as_array().unwrap().iter();
    let rows = figures.map(|figure| {
        assert!(figure["unit"].is_string() && figure["conditions"].is_string());
        let name = figure["name"].as_str().unwrap().to_owned();
        (name, figure["value"].as_f64().unwrap())
    });
    rows.collect()
}

/// Everything in a folder, with what files say.
fn content(folder: &Path) -> Vec<(String, Option<Vec<u8>>)> {
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).ok())
        })
        .collect();
    found.sort();
    found
}

/// A bench under way; killed with the test that fails.
struct Running(Child);

impl Running {
    fn start(folder: &Path) -> Self {
        let child = bench(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    /// Sends SIGKILL as soon as a file is there.
    fn kill_at(mut self, file: &Path) {
        let until = Instant::now() + PATIENCE;
        while !file.exists() {
            let ended = self.0.try_wait().unwrap();
            assert_eq!(ended, None, "it ended without {}", file.display());
            assert!(Instant::now() < until, "no {}", file.display());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.0.kill().unwrap();
        assert!(!self.0.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_bench_prints_its_figures_and_leaves_the_folder_that_it_was_given_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    // Also under names that a sector has.
    for name in ["notes.txt", "sector.json", "layer-1"] {
        std::fs::write(folder.path().join(name), format!("my {name}")).unwrap();
    }
    std::fs::create_dir(folder.path().join("groups")).unwrap();
    let before = content(folder.path());
    let figures = figures(folder.path());
    for name in [
        "label_core_s_per_gib",
        "commit_core_s_per_gib",
        "seal_constraints_2",
        "seal_prove_wall_s_2",
        "embed_group_wall_s",
        "embed_prove_peak_mib",
        "spacetime_8mib_wall_s_16",
        "unseal_core_s_per_gib",
    ] {
        let found = figures.iter().find(|(found, _)| found == name);
        assert!(
            found.is_some_and(|(_, value)| *value > 0.0),
            "{name}: {found:?}"
        );
    }
    assert_eq!(content(folder.path()), before);
}

#[test]
fn a_bench_that_was_killed_goes_on_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("holdfast-bench-8MiB");
    Running::start(folder.path()).kill_at(&own.join("layer-1"));
    assert!(own.join("layer-1").exists() && !own.join("sector.json").exists());
    // It goes on from there, to where a group is being embedded.
    Running::start(folder.path()).kill_at(&own.join("groups/00-1.data"));
    // And one was killed when it was all but gone.
    let done = folder.path().join("holdfast-bench-8MiB.done");
    std::fs::create_dir_all(done.join("groups")).unwrap();
    std::fs::write(done.join("groups/00-1.replica"), "half").unwrap();
    let figures = figures(folder.path());
    let measured = |name: &str| figures.iter().any(|(found, _)| found == name);
    assert!(measured("seal_prove_wall_s_2") && measured("unseal_core_s_per_gib"));
    // What the runs before did is not told as this one's.
    assert!(!measured("label_core_s_per_gib"));
    assert_eq!(content(folder.path()), []);
}

//! The command line without a network: help, exit codes, and what it says about bad input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::message::encode;
use holdfast_market_core::parameters::Parameters;
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_wire::network::NetworkFolder;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn holdfast(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(arguments)
        .env_remove("HOLDFAST_NETWORK")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The names of the subcommands in a help text.
fn subcommands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Walks all commands and answers each one's words and help.
fn every_help(words: &[String], all: &mut Vec<(Vec<String>, String)>) {
    let mut arguments: Vec<_> = words.iter().map(String::as_str).collect();
    arguments.push("--help");
    let output = holdfast(&arguments);
    assert!(output.status.success(), "{words:?}: {}", stderr(&output));
    let help = stdout(&output);
    for name in subcommands(&help) {
        let mut words = words.to_vec();
        words.push(name);
        every_help(&words, all);
    }
    all.push((words.to_vec(), help));
}

#[test]
fn a_node_whose_report_is_damaged_is_said_to_have_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("node");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("status.json"), b"{\"running\": true}").unwrap();
    let output = holdfast(&["node", "status", "--data", data.to_str().unwrap()]);
    assert!(!output.status.success());
    let said = stderr(&output);
    assert!(said.contains("status.json is damaged"), "{said}");
    assert!(said.contains("holdfast node run"), "{said}");
}

#[test]
fn every_command_has_help_with_an_example_and_takes_json() {
    let mut all = Vec::new();
    every_help(&[], &mut all);
    for wanted in [
        "node", "put", "get", "ls", "status", "mount", "market", "wallet", "audit", "testnet",
        "params",
    ] {
        assert!(
            all.iter()
                .any(|(words, _)| words.first().is_some_and(|word| word == wanted)),
            "there is no `holdfast {wanted}`"
        );
    }
    for (words, help) in all {
        let name = words.join(" ");
        assert!(
            help.contains("Example"),
            "`holdfast {name} --help` has no example"
        );
        assert!(
            help.contains(&format!("holdfast {name}")),
            "the example of `holdfast {name}` is another's"
        );
        assert!(help.contains("--json"), "`holdfast {name}` takes no --json");
        assert!(
            !help.contains('\u{1b}'),
            "colours where there is no terminal: {name}"
        );
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &["frobnicate"][..],
        &["testnet", "up", "--nodes", "0"],
        &["params", "list", "--no-such-flag"],
    ] {
        let output = holdfast(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains("error:"));
        assert!(stdout(&output).is_empty());
    }
}

#[test]
fn what_is_not_there_exits_with_4_and_says_the_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let missing = missing.to_str().unwrap();
    let output = holdfast(&["testnet", "status", missing]);
    assert_eq!(output.status.code(), Some(4));
    let said = stderr(&output);
    assert_eq!(
        said,
        format!("error: {missing} holds no testnet\nnext: holdfast testnet up {missing}\n")
    );

    let output = holdfast(&["testnet", "status", missing, "--json"]);
    assert_eq!(output.status.code(), Some(4));
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["error"], format!("{missing} holds no testnet"));
}

#[test]
fn a_folder_that_is_no_network_is_named_by_every_command_that_takes_one() {
    let folder = tempfile::tempdir().unwrap();
    let network = folder.path().to_str().unwrap();
    for arguments in [
        &["put", "Cargo.toml"][..],
        &["get", "name"],
        &["ls"],
        &["status"],
        &["wallet", "balance"],
        &["audit"],
        &["market", "run", "--data", network],
        &["node", "run", "--data", network],
    ] {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--network", network]);
        let output = holdfast(&arguments);
        let said = stderr(&output);
        assert!(
            matches!(output.status.code(), Some(1 | 4)),
            "{arguments:?}: {:?} {said}",
            output.status
        );
        assert!(said.contains("network.toml"), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_port_in_use_is_one_sentence_and_nothing_is_left_behind() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("net");
    let output = holdfast(&[
        "testnet",
        "up",
        at.to_str().unwrap(),
        "--port",
        &port.to_string(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        format!(
            "error: port {port} of 127.0.0.1 is in use\nnext: name another first port with --port, or leave it out to have free ones chosen\n"
        )
    );
    assert!(!at.exists());
}

#[test]
fn a_testnet_does_not_move_into_a_folder_with_something_in_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine"), b"precious").unwrap();
    let output = holdfast(&["testnet", "up", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is not empty and holds no testnet"));
    assert_eq!(
        std::fs::read(folder.path().join("mine")).unwrap(),
        b"precious"
    );
}

#[test]
fn parameters_are_listed_from_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let list = |json: &[&str]| {
        let mut arguments = vec![
            "params",
            "list",
            "--folder",
            folder.path().to_str().unwrap(),
        ];
        arguments.extend(json);
        let output = holdfast(&arguments);
        assert!(output.status.success());
        stdout(&output)
    };
    assert!(list(&[]).contains("No parameters"));
    let (params, key) = (vec![0; 2048], b"key".to_vec());
    let [params_digest, key_digest] =
        [&params, &key].map(|bytes| blake3::hash(bytes).to_hex().to_string());
    let digest = format!("seal-8MiB-2 v1\nparams {params_digest}\nkey {key_digest}\n");
    let write = |end: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(format!("seal-8MiB-2.v1.{end}")), bytes).unwrap();
    };
    write("params", &params);
    write("key", &key);
    write("digest", digest.as_bytes());
    let text = list(&[]);
    let row = text
        .lines()
        .find(|line| line.starts_with("seal-8MiB-2 "))
        .unwrap();
    for part in ["2.0 KiB", &params_digest[..16], &key_digest[..16], "whole"] {
        assert!(row.contains(part), "{row}");
    }
    // A file is another than was noted: said, and not passed over.
    write("key", b"kex");
    let object: Value = serde_json::from_str(&list(&["--json"])).unwrap();
    let listed = &object["circuits"][0];
    assert_eq!(
        (&listed["bytes"], &listed["state"]),
        (&2048.into(), &"damaged".into())
    );
    assert_eq!(listed["parameters"], params_digest);
}

#[test]
fn the_demo_says_at_once_that_its_file_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.bin");
    let at = folder.path().join("net");
    let begun = std::time::Instant::now();
    let output = holdfast(&[
        "testnet",
        "demo",
        missing.to_str().unwrap(),
        "--folder",
        at.to_str().unwrap(),
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        begun.elapsed().as_secs() < 30,
        "it made the parameters first"
    );
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["ok"], false);
    assert_eq!(object["failure"]["step"], "make or find the parameters");
    assert!(
        object["failure"]["reason"]
            .as_str()
            .unwrap()
            .contains("missing.bin")
    );
    assert!(!Path::new(&at).exists());
}

#[test]
fn a_node_whose_folder_another_process_holds_is_refused_by_name_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (network, data) = (folder.path().join("net"), folder.path().join("data"));
    let keys = VerifyingKeys::new();
    let genesis = Genesis {
        name: "test".into(),
        time: 0,
        parameters: Parameters::dev(),
        verifying_keys: keys.digest(),
        balances: vec![],
        validators: vec![],
    };
    let keys = encode(&keys).unwrap();
    let api = "http://127.0.0.1:1";
    NetworkFolder::create(&network, &genesis, &keys, api, Path::new("params")).unwrap();
    let (network, data) = (network.to_str().unwrap(), data.to_str().unwrap());
    assert!(holdfast(&["node", "init", "--data", data]).status.success());
    // This process is the other one.
    let lock = std::fs::File::create(format!("{data}/lock")).unwrap();
    lock.lock().unwrap();
    let run = ["node", "run", "--network", network, "--data", data];
    let output = holdfast(&[&run[..], &["--listen", "127.0.0.1:0"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("data is in use by another process"), "{said}");
    assert!(!stdout(&output).contains("ready"));
}

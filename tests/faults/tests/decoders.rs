//! Hostile bytes against every decoder: nothing panics, nothing takes memory or time that the input
//! does not account for, and what is taken is what honest encoders write.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use holdfast_decoders::drive::{drive, feed, regressions};
use holdfast_decoders::meter::{Counting, Meter};
use holdfast_decoders::{Answer, Bounds, Decoder, Form, all, find};
use holdfast_faults::figures::record;
use holdfast_faults::is_long;
use holdfast_wire::ledger::LedgerClient;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// So many times the calls where the environment asks for a long run.
const LONG: u32 = 30;
/// The number that the mutations of an ordinary run come from.
const NUMBER: u64 = 20_261_126;

/// Where the input of the call under way lies; a process that dies in a decoder leaves it there.
fn last(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("decoder-{name}.last"))
}

/// One test at a time: the meter counts what the whole process allocates.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn every_decoder_keeps_its_law_and_its_bounds_on_mutated_bytes() {
    let _alone = alone();
    let number = match std::env::var("HOLDFAST_SEED") {
        Ok(text) => text.parse().expect("HOLDFAST_SEED is a number"),
        Err(_) => NUMBER,
    };
    println!("HOLDFAST_SEED={number}");
    let only = std::env::var("HOLDFAST_DECODER").ok();
    let (mut decoders, mut calls) = (0u32, 0u32);
    let mut failures = Vec::new();
    for decoder in all() {
        if only.as_ref().is_some_and(|only| only != decoder.name) {
            continue;
        }
        let times = if is_long() { LONG } else { 1 };
        let start = std::time::Instant::now();
        let report = drive(&decoder, number, decoder.calls * times, &last(decoder.name));
        println!(
            "{:24} {:6} calls, {:5} read, at most {:8} bytes and {:8.1?}, {:.2?} in all",
            report.name,
            report.calls,
            report.read,
            report.memory,
            report.time,
            start.elapsed()
        );
        if let Some(failure) = report.failure {
            failures.push(format!("{}: {failure}", decoder.name));
        }
        decoders += 1;
        calls += report.calls;
    }
    assert!(
        failures.is_empty(),
        "seed {number}:\n{}",
        failures.join("\n")
    );
    println!("{decoders} decoders, {calls} calls");
    if only.is_none() {
        let each = f64::from(calls) / f64::from(decoders);
        let conditions = format!("{each:.0} calls of each on the average, seed {number}");
        record("decoders_fuzzed", decoders.into(), "decoders", &conditions);
        record(
            "decoder_calls",
            calls.into(),
            "calls",
            "mutations of honest bytes, each under its bounds",
        );
    }
}

#[test]
fn every_decoder_takes_what_honest_encoders_write() {
    let _alone = alone();
    for decoder in all() {
        let seeds = (decoder.seeds)();
        assert!(!seeds.is_empty(), "{} has no seeds", decoder.name);
        let answers = feed(&decoder, seeds.clone(), &last(decoder.name));
        for (seed, answer) in seeds.iter().zip(answers) {
            assert!(
                answer == Ok(Answer::Read),
                "{}: {answer:?} on {}",
                decoder.name,
                String::from_utf8_lossy(&seed[..seed.len().min(2_000)])
            );
        }
    }
}

/// Lists in lists, maps in maps, and lengths that are claimed and not there, whatever a decoder
/// expects; also in the place of a body after a frame's length.
fn bombs() -> Vec<Vec<u8>> {
    let depth = 100_000;
    let mut bombs: Vec<Vec<u8>> = vec![
        vec![],
        vec![0x81; depth],
        b"\xa1\x61a".repeat(depth),
        vec![b'['; depth],
        b"{\"a\":".repeat(depth),
        b"a=[".repeat(depth),
        [b"a=".as_slice(), &vec![b'['; depth]].concat(),
        b"[a.".repeat(depth),
        [b"[".as_slice(), &b"a.".repeat(depth), b"a]"].concat(),
        b"\"\\u0000".repeat(depth),
        vec![b'9'; depth],
        vec![b' '; depth],
        vec![0; depth],
        vec![0xff; depth],
        b"abandon ".repeat(depth / 8),
    ];
    for major in 0..8u8 {
        for claim in [u64::MAX, 1 << 60, 1 << 32, 0x7fff_ffff] {
            bombs.push(holdfast_decoders::cbor::long_head(major, claim));
            // Under a list of one, which most objects' first field is not.
            bombs.push([vec![0x81], holdfast_decoders::cbor::long_head(major, claim)].concat());
        }
        bombs.push(vec![major << 5 | 31; depth]);
    }
    let framed = bombs.clone().into_iter().map(|bomb| {
        let length = u32::try_from(bomb.len()).unwrap();
        [&length.to_be_bytes()[..], &bomb].concat()
    });
    bombs.extend(framed.collect::<Vec<_>>());
    bombs
}

#[test]
fn no_decoder_is_brought_down_by_nesting_or_by_claimed_lengths() {
    let _alone = alone();
    let bombs = bombs();
    for decoder in all() {
        let answers = feed(&decoder, bombs.clone(), &last(decoder.name));
        for (bomb, answer) in bombs.iter().zip(answers) {
            // Some decoders read nothing of nothing.
            let nothing = bomb.iter().all(|byte| *byte == 0);
            assert!(
                answer == Ok(Answer::Refused) || answer == Ok(Answer::Read) && nothing,
                "{}: {answer:?} on {:02x?}",
                decoder.name,
                &bomb[..bomb.len().min(40)]
            );
        }
    }
}

#[test]
fn inputs_that_broke_a_decoder_once_no_longer_do() {
    let _alone = alone();
    for (name, path, bytes) in regressions().unwrap() {
        let decoder = find(&name).unwrap_or_else(|| panic!("{} is of no decoder", path.display()));
        for answer in feed(&decoder, vec![bytes], &last(decoder.name)) {
            answer.unwrap_or_else(|what| panic!("{}: {what}", path.display()));
        }
    }
}

/// A ledger whose answers begin with `head` and go on with `more` as long as anybody reads.
fn endless(head: &'static str, more: &'static str) -> LedgerClient {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request);
        let more = more.repeat((64 << 10) / more.len());
        let mut sent = stream.write_all(head.as_bytes());
        while sent.is_ok() {
            sent = stream.write_all(more.as_bytes());
        }
    });
    LedgerClient::new(&format!("http://{address}")).unwrap()
}

#[test]
fn a_ledger_that_answers_without_end_is_left_at_a_limit() {
    let _alone = alone();
    /// An answer of 24 MiB, and what a vector that grows to it holds beside it.
    const MOST: usize = 96 << 20;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for (head, more) in [
        ("HTTP/1.1 200 OK\r\n\r\n", "[[["),
        ("HTTP/1.1 500 No\r\n\r\n", "{\"error\": "),
        ("HTTP/1.1 200 OK\r\n", "x: y\r\n"),
        ("HTTP/1.1 200 OK\r\nx: ", "yyyy"),
    ] {
        let client = endless(head, more);
        let meter = Meter::take();
        let (answer, taken) = meter.measure(|| runtime.block_on(client.status()));
        assert!(answer.is_err(), "{head:?}");
        assert!(taken.memory < MOST, "{head:?}: {} bytes", taken.memory);
    }
}

/// A decoder that does what none may.
fn faulty(decode: fn(&[u8]) -> Answer) -> Decoder {
    Decoder {
        name: "faulty",
        form: Form::Bytes,
        decode,
        seeds: || vec![vec![1; 64]],
        bounds: Bounds {
            memory: 1 << 20,
            memory_per_byte: 16,
            time: Duration::from_millis(100),
            time_per_byte: Duration::from_micros(1),
        },
        calls: 2_000,
    }
}

fn fault_found(decode: fn(&[u8]) -> Answer) -> String {
    let decoder = faulty(decode);
    let report = drive(&decoder, NUMBER, decoder.calls, &last("faulty"));
    report.failure.expect("the fault is found").what
}

#[test]
fn a_decoder_that_panics_hoards_or_dawdles_is_found() {
    let _alone = alone();
    let panics = fault_found(|bytes| {
        assert!(bytes.get(2) != Some(&0xff), "the third byte");
        Answer::Refused
    });
    assert!(panics.contains("the third byte"), "{panics}");
    // A length that is believed before the bytes are there.
    let hoards = fault_found(|bytes| {
        let claimed = bytes
            .first_chunk()
            .map_or(0, |first| u32::from_le_bytes(*first));
        std::hint::black_box(Vec::<u8>::with_capacity(claimed as usize));
        Answer::Refused
    });
    assert!(hoards.contains("bytes of memory"), "{hoards}");
    // Many bytes are compared with every other.
    let dawdles = fault_found(|bytes| {
        let equal = bytes
            .iter()
            .step_by(16)
            .map(|one| bytes.iter().filter(|other| *other == one).count())
            .sum::<usize>();
        std::hint::black_box(equal);
        Answer::Refused
    });
    assert!(dawdles.contains("it worked"), "{dawdles}");
}

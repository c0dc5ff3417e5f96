//! One decoder under libFuzzer: `HOLDFAST_DECODER` names it, the corpus folder is the first
//! argument and is given the honest encoders' bytes to begin with. Without a name the names are
//! printed.
#![no_main]

use holdfast_decoders::drive::check;
use holdfast_decoders::meter::Counting;
use holdfast_decoders::{Decoder, all, find};
use std::path::Path;
use std::sync::OnceLock;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static DECODER: OnceLock<Decoder> = OnceLock::new();

fn begin() -> Decoder {
    let Ok(name) = std::env::var("HOLDFAST_DECODER") else {
        for decoder in all() {
            println!("{}", decoder.name);
        }
        std::process::exit(0);
    };
    let Some(decoder) = find(&name) else {
        eprintln!("there is no decoder `{name}`; without a name the names are printed");
        std::process::exit(2);
    };
    let folder = std::env::args().nth(1).expect("a corpus folder");
    for (number, seed) in (decoder.seeds)().into_iter().enumerate() {
        let path = Path::new(&folder).join(format!("seed-{number}"));
        std::fs::write(path, seed).expect("the corpus folder can be written");
    }
    decoder
}

libfuzzer_sys::fuzz_target!(
    init: {
        DECODER.get_or_init(begin);
    },
    |bytes: &[u8]| {
        let decoder = DECODER.get_or_init(begin);
        if let Err(what) = check(decoder, bytes) {
            panic!("{}: {what}", decoder.name);
        }
    }
);

//! Measures the ledger on this machine and prints JSON rows of `{name, value, unit, conditions}`;
//! `./dev figures ledger` runs it. With the name of a part (`transfers`, `validators`, `proofs`,
//! `audit`, `sectors`) it measures that part alone.
//!
//! Everything is what a network runs: the store with its synced batches, the pool of messages, the
//! orderings, the API, signatures and proofs that are checked. `core_s` is processor time of all
//! threads, so that what else runs on the machine counts little.

mod audit;
mod market;
mod network;
mod proofs;
mod sealed;
mod sectors;
mod transfers;
mod validators;

use holdfast_proofs::measure::{Figure, machine};
use std::error::Error;

/// What a measurement gives, or why there is none.
type Measured<T = ()> = Result<T, Box<dyn Error>>;

/// Measures a part.
type Part = fn(&mut Figures) -> Measured;

/// The rows as they are measured.
struct Figures {
    rows: Vec<Figure>,
    machine: String,
}

impl Figures {
    /// What follows is measured beside what runs on the machine now.
    fn begin(&mut self, what: &str) {
        self.machine = machine();
        eprintln!("{what} ({})", self.machine);
    }

    fn row(&mut self, name: &str, value: f64, unit: &str, conditions: &str) {
        eprintln!("{name}: {value:.3} {unit}");
        self.rows.push(Figure {
            name: name.into(),
            value,
            unit: unit.into(),
            conditions: format!("{conditions}; {}", self.machine),
        });
    }
}

fn main() -> Measured {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let only = match arguments.as_slice() {
        ["market", plan] => return market::run(plan.as_ref()),
        [] => None,
        [part] => Some(*part),
        _ => return Err("give the name of one part, or nothing".into()),
    };
    let mut figures = Figures {
        rows: Vec::new(),
        machine: machine(),
    };
    let parts: [(&str, Part); 5] = [
        ("transfers", transfers::measure),
        ("validators", validators::measure),
        ("proofs", proofs::measure),
        ("audit", audit::measure),
        ("sectors", sectors::measure),
    ];
    if only.is_some_and(|only| !parts.iter().any(|(name, _)| *name == only)) {
        return Err("there is no part of that name".into());
    }
    for (name, measure) in parts {
        if only.is_none_or(|only| only == name) {
            figures.begin(name);
            measure(&mut figures)?;
        }
    }
    println!("{}", serde_json::to_string_pretty(&figures.rows)?);
    Ok(())
}

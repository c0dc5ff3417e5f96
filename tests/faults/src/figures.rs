//! What the fault tests measure, for `./dev figures faults`.
//!
//! Where [`FOLDER`] is set, each figure is a file of one row in that folder; `./dev` puts them together.
//! A test measures in any case and asserts what must be reached.

use serde_json::json;
use std::path::PathBuf;

/// The environment variable that names the folder.
pub const FOLDER: &str = "HOLDFAST_FIGURES";

/// Keeps a figure: its name, value and unit, and under what conditions it was measured.
pub fn record(name: &str, value: f64, unit: &str, conditions: &str) {
    println!("figure {name}: {value} {unit} ({conditions})");
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    std::fs::create_dir_all(&folder).unwrap();
    let row = json!({ "name": name, "value": value, "unit": unit, "conditions": conditions });
    std::fs::write(folder.join(format!("{name}.json")), format!("{row}\n")).unwrap();
}

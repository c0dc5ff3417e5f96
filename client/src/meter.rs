//! How far a long work is: a bar with rate and time left on a terminal, nothing elsewhere.

use holdfast_market_core::units::ByteCount;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Shows the progress of one command.
#[derive(Debug)]
pub struct Meter {
    bar: ProgressBar,
}

impl Meter {
    /// A bar on stderr; hidden where that is no terminal.
    pub fn on_terminal() -> Self {
        Self {
            bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
        }
    }

    /// Shows nothing.
    pub fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
        }
    }

    /// Begins a step whose bytes are counted.
    pub fn begin(&self, step: &'static str, total: ByteCount) {
        let template = "{msg:22} [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
        self.style(template);
        self.bar.set_length(total.0);
        self.bar.reset();
        self.bar.set_message(step);
    }

    /// Begins a step whose parts are counted.
    pub fn count(&self, step: &'static str, total: u64) {
        self.style("{msg:22} [{bar:24}] {pos}/{len} {eta} left");
        self.bar.set_length(total);
        self.bar.reset();
        self.bar.set_message(step);
    }

    /// How much of the step is done.
    pub fn set(&self, done: ByteCount) {
        self.bar.set_position(done.0);
    }

    /// So many bytes more are done.
    pub fn add(&self, more: ByteCount) {
        self.bar.inc(more.0);
    }

    /// Begins a step that waits for others.
    pub fn wait(&self, step: &'static str) {
        self.style("{spinner} {msg} ({elapsed})");
        self.bar.reset();
        self.bar.set_message(step);
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    fn style(&self, template: &str) {
        // The templates are ours: one that did not parse would leave the style as it was.
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.bar.disable_steady_tick();
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

//! Line charts as SVG, made on the server. Colours come of the page's style, so that they follow
//! light and dark.

use maud::{Markup, html};

/// One line of a chart.
pub struct Series {
    /// What it is.
    pub name: &'static str,
    /// Its values, from the left.
    pub values: Vec<u128>,
}

const WIDTH: u32 = 640;
const HEIGHT: u32 = 160;
/// Room above the highest value and below zero.
const MARGIN: u32 = 8;

/// A chart with a title, a legend and the highest value as `show` writes it. Fewer than two points
/// make no line: the chart says so.
pub fn lines(title: &str, series: &[Series], show: impl Fn(u128) -> String) -> Markup {
    let highest = series
        .iter()
        .flat_map(|one| one.values.iter().copied())
        .max()
        .unwrap_or(0);
    let points = series.iter().map(|one| one.values.len()).max().unwrap_or(0);
    html! {
        figure {
            figcaption { (title) }
            @if points < 2 {
                p.quiet { "The first points appear with the first deadlines." }
            } @else {
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(title) preserveAspectRatio="none" {
                    line.axis x1="0" x2=(WIDTH) y1=(HEIGHT - MARGIN) y2=(HEIGHT - MARGIN) {}
                    @for (index, one) in series.iter().enumerate() {
                        polyline class=(format!("line line-{index}")) points=(path(&one.values, highest)) {}
                    }
                }
                p.legend {
                    @for (index, one) in series.iter().enumerate() {
                        span class=(format!("key key-{index}")) {} (one.name) " "
                        strong { (one.values.last().map_or_else(String::new, |last| show(*last))) } " "
                    }
                    span.quiet { "top of the chart: " (show(highest)) }
                }
            }
        }
    }
}

/// The points of a line: from the left edge to the right, zero at the bottom.
fn path(values: &[u128], highest: u128) -> String {
    let steps = values.len().saturating_sub(1).max(1);
    let room = u128::from(HEIGHT - 2 * MARGIN);
    let mut text = String::new();
    for (index, value) in values.iter().enumerate() {
        let x = index.saturating_mul(WIDTH as usize) / steps;
        // Thousandths of the chart, so that the product stays in range for any amount.
        let share = thousandths(*value, highest);
        let up = share.saturating_mul(room) / 1000;
        let y = u128::from(HEIGHT - MARGIN).saturating_sub(up);
        text.push_str(&format!("{x},{y} "));
    }
    text
}

fn thousandths(value: u128, highest: u128) -> u128 {
    if highest == 0 {
        return 0;
    }
    match value.checked_mul(1000) {
        Some(scaled) => scaled / highest,
        None => value / (highest / 1000).max(1),
    }
    .min(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_spans_the_chart_from_zero_to_the_highest() {
        assert_eq!(path(&[0, 5, 10], 10), "0,152 320,80 640,8 ");
        assert_eq!(path(&[u128::MAX, 0], u128::MAX), "0,8 640,152 ");
        assert_eq!(path(&[0, 0], 0), "0,152 640,152 ");
    }

    #[test]
    fn one_point_makes_no_line() {
        let series = [Series {
            name: "bytes",
            values: vec![3],
        }];
        let page = lines("Proven", &series, |value| value.to_string()).into_string();
        assert!(!page.contains("<svg"));
        assert!(page.contains("first deadlines"));
    }
}

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

/// What the left and the right end of a chart are.
pub type Ends = Option<(String, String)>;

fn ends(ends: Ends) -> Markup {
    html! {
        @if let Some((first, last)) = ends {
            p.ends.quiet { span { (first) } span { (last) } }
        }
    }
}

/// A chart with a title, a legend and the highest value as `show` writes it. Fewer than two points
/// make no line: the chart says so.
pub fn lines(title: &str, series: &[Series], along: Ends, show: impl Fn(u128) -> String) -> Markup {
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
                (ends(along))
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

/// Bars of counts, each series on top of the one before. The legend says what all bars make.
pub fn bars(title: &str, series: &[Series], along: Ends) -> Markup {
    let count = series.iter().map(|one| one.values.len()).max().unwrap_or(0);
    let value = |one: &Series, bar: usize| one.values.get(bar).copied().unwrap_or(0);
    let height = |bar: usize| {
        let values = series.iter().map(|one| value(one, bar));
        values.fold(0u128, u128::saturating_add)
    };
    let highest = (0..count).map(height).max().unwrap_or(0);
    html! {
        figure.bars {
            figcaption { (title) }
            @if highest == 0 {
                p.quiet { "The first bars appear with the first deadlines of sealed sectors." }
            } @else {
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(title) preserveAspectRatio="none" {
                    line.axis x1="0" x2=(WIDTH) y1=(HEIGHT - MARGIN) y2=(HEIGHT - MARGIN) {}
                    @for bar in 0..count {
                        @let (left, width) = place(bar, count);
                        @let parts = stack(series.iter().map(|one| value(one, bar)), highest);
                        @for (index, (top, high)) in parts.into_iter().enumerate() {
                            @if high > 0 {
                                rect class=(format!("bar-{index}")) x=(left) y=(top) width=(width) height=(high) {}
                            }
                        }
                    }
                }
                (ends(along))
                p.legend {
                    @for (index, one) in series.iter().enumerate() {
                        span class=(format!("key key-{index}")) {} (one.name) " "
                        strong { (one.values.iter().copied().fold(0u128, u128::saturating_add)) } " "
                    }
                    span.quiet { "tallest bar: " (highest) }
                }
            }
        }
    }
}

/// Where a bar begins and how wide it is, in the chart's units.
fn place(bar: usize, count: usize) -> (usize, usize) {
    let width = WIDTH as usize;
    let left = bar.saturating_mul(width) / count.max(1);
    let right = bar.saturating_add(1).saturating_mul(width) / count.max(1);
    let whole = right.saturating_sub(left);
    // A gap between bars, and never a bar so wide that it reads as an area.
    let shown = whole.saturating_sub(whole / 5).clamp(1, 64);
    (left.saturating_add(whole.saturating_sub(shown) / 2), shown)
}

/// Top and height of each part of a bar, from the bottom up.
fn stack(values: impl Iterator<Item = u128>, highest: u128) -> Vec<(u128, u128)> {
    let room = u128::from(HEIGHT - 2 * MARGIN);
    let bottom = u128::from(HEIGHT - MARGIN);
    let (mut below, mut sum) = (0u128, 0u128);
    values
        .map(|value| {
            sum = sum.saturating_add(value);
            let up = thousandths(sum, highest).saturating_mul(room) / 1000;
            let high = up.saturating_sub(below);
            below = up;
            (bottom.saturating_sub(up), high)
        })
        .collect()
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
    fn the_parts_of_a_bar_stand_on_each_other() {
        assert_eq!(stack([3, 1].into_iter(), 4), [(44, 108), (8, 36)]);
        assert_eq!(stack([0, 2].into_iter(), 4), [(152, 0), (80, 72)]);
        assert_eq!(place(0, 10), (6, 52));
        assert_eq!(place(9, 10), (582, 52));
        assert_eq!(place(0, 1), (288, 64));
        let series = |values| {
            [Series {
                name: "proven",
                values,
            }]
        };
        let ends = || Some(("period 0".to_owned(), "period 1".to_owned()));
        let page = bars("Proofs", &series(vec![2, 0]), ends()).into_string();
        assert_eq!(page.matches("<rect").count(), 1);
        assert!(page.contains("period 1"));
        let empty = bars("Proofs", &series(vec![0, 0]), None).into_string();
        assert!(!empty.contains("<svg"));
    }

    #[test]
    fn one_point_makes_no_line() {
        let series = [Series {
            name: "bytes",
            values: vec![3],
        }];
        let page = lines("Proven", &series, None, |value| value.to_string()).into_string();
        assert!(!page.contains("<svg"));
        assert!(page.contains("first deadlines"));
    }
}

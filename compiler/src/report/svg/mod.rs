//! The arena as a drawing: steps across, addresses upwards, a rectangle for each life, and the live bytes above them.
//!
//! The text is plain SVG 1.1 without script, style sheet or anything from elsewhere, so that every viewer and converter
//! shows the same. Its size is bounded: beyond a number of lives the smallest are drawn without names, and it says so.

mod pieces;
mod scale;

use std::fmt::Write;

use super::chart::{Chart, class_name};
use super::kept::{Class, clipped};
use super::markup::escaped;
use super::words::{count, grouped, size};
use scale::{Cents, Scale, byte_ticks, pixels, px, step_distance, tick_label};

const WIDTH: Cents = pixels(1200);
const HEIGHT: Cents = pixels(640);
const LEFT: Cents = pixels(92);
const RIGHT: Cents = pixels(1176);
/// Of the strip with the live bytes.
const STRIP_TOP: Cents = pixels(100);
const STRIP_BOTTOM: Cents = pixels(176);
/// Of the addresses.
const TOP: Cents = pixels(196);
const BOTTOM: Cents = pixels(576);

const INK: &str = "#222222";
const FAINT: &str = "#666666";
const GRID: &str = "#dddddd";
const CURVE: &str = "#4477aa";
const PEAK: &str = "#aa3377";
/// Of names; their width is known well enough to say what fits.
const MONO: &str = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
const SANS: &str = "system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif";

/// Of pieces; light enough for black text, and told apart by colour-blind people too (Paul Tol's light scheme).
fn colour(class: Class) -> &'static str {
    match class {
        Class::Temporary => "#77aadd",
        Class::Tied => "#44bb99",
        Class::Output => "#ee8866",
        Class::Workspace => "#d4d4d4",
    }
}

const CLASSES: [Class; 4] = [Class::Temporary, Class::Tied, Class::Output, Class::Workspace];

/// The most steps that can each have a piece of the strip to point at.
const MOST_STEPS: usize = 2000;

/// Where everything is.
struct Sheet {
    steps: Scale,
    addresses: Scale,
    live: Scale,
}

/// The whole drawing.
pub(super) fn svg(chart: &Chart<'_>) -> String {
    let sheet = Sheet {
        steps: Scale { start: LEFT, span: RIGHT - LEFT, units: chart.steps.len().max(1) as u64 },
        addresses: Scale { start: BOTTOM, span: BOTTOM - TOP, units: chart.arena_bytes.max(1) },
        live: Scale { start: STRIP_BOTTOM, span: STRIP_BOTTOM - STRIP_TOP, units: chart.arena_bytes.max(1) },
    };
    let mut text = String::new();
    let name = escaped(&clipped(&chart.name, 80));
    let _ = writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" \
         font-family=\"{SANS}\" font-size=\"11\" fill=\"{INK}\">",
        px(WIDTH),
        px(HEIGHT),
    );
    let _ = writeln!(text, "<title>The arena of {name}</title>");
    let _ = writeln!(
        text,
        "<desc>Across: the steps of the plan. Upwards: the addresses of the arena in bytes. Each rectangle is a piece of \
         memory from the step that first writes it to the last that needs it. Above: the sum of live bytes.</desc>"
    );
    let _ = writeln!(text, "<rect width=\"{}\" height=\"{}\" fill=\"#ffffff\"/>", px(WIDTH), px(HEIGHT));
    head(chart, &name, &mut text);
    legend(chart, &mut text);
    grid(chart, &sheet, &mut text);
    peak(chart, &sheet, &mut text);
    let unnamed = pieces::pieces(chart, &sheet, &mut text);
    strip(chart, &sheet, &mut text);
    targets(chart, &sheet, &mut text);
    if unnamed > 0 {
        let said = format!("{} of {} are too small for a name here", grouped(unnamed as u64), grouped_lives(chart));
        let _ = writeln!(text, "{}", words(RIGHT, pixels(630), "end", FAINT, &said));
    }
    text.push_str("</svg>\n");
    text
}

fn grouped_lives(chart: &Chart<'_>) -> String {
    format!("{} pieces", grouped(chart.lives.len() as u64))
}

/// A line of text that is escaped already.
fn words(x: Cents, y: Cents, anchor: &str, fill: &str, said: &str) -> String {
    let anchor = if anchor == "start" { String::new() } else { format!(" text-anchor=\"{anchor}\"") };
    let fill = if fill == INK { String::new() } else { format!(" fill=\"{fill}\"") };
    format!("<text x=\"{}\" y=\"{}\"{anchor}{fill}>{said}</text>", px(x), px(y))
}

fn head(chart: &Chart<'_>, name: &str, text: &mut String) {
    let _ = writeln!(text, "<text x=\"{}\" y=\"30\" font-size=\"18\" font-weight=\"bold\">{name}</text>", px(LEFT));
    let (arena, load) = (chart.arena_bytes, chart.load);
    let ratio = if load == 0 { 1.0 } else { arena as f64 / load as f64 };
    let said = format!(
        "{}, arena {} bytes ({}), largest sum of live bytes {} at step {}, ratio {ratio:.3}",
        count(chart.steps.len(), "step"),
        grouped(arena),
        size(arena),
        grouped(load),
        chart.peak_step,
    );
    let _ = writeln!(text, "<text x=\"{}\" y=\"50\" font-size=\"13\" fill=\"{FAINT}\">{said}</text>", px(LEFT));
}

fn legend(chart: &Chart<'_>, text: &mut String) {
    let mut x = LEFT;
    let mut entry = |mark: &dyn Fn(Cents) -> String, said: &str| {
        let _ = writeln!(text, "{}{}", mark(x), words(x + pixels(18), pixels(72), "start", INK, said));
        x += pixels(42) + said.chars().count() as Cents * pixels(6);
    };
    for class in CLASSES {
        if chart.lives.iter().any(|life| life.class == class) {
            let fill = colour(class);
            entry(
                &|x| format!("<rect x=\"{}\" y=\"62\" width=\"12\" height=\"12\" fill=\"{fill}\"/>", px(x)),
                class_name(class),
            );
        }
    }
    let turns: Vec<bool> = chart.lives.iter().flat_map(|life| chart.turns(life)).map(|turn| turn.is_new).collect();
    for (is_new, said) in [(true, "the next value begins"), (false, "another part is written")] {
        if turns.contains(&is_new) {
            entry(&|x| format!("<path d=\"M{} 62v12\"{}/>", px(x + pixels(6)), pieces::turn_stroke(is_new)), said);
        }
    }
    entry(
        &|x| {
            let x = px(x);
            format!("<path d=\"M{x} 68h14\" stroke=\"{FAINT}\" stroke-dasharray=\"4 3\" fill=\"none\"/>")
        },
        "size of the arena",
    );
}

/// Axes with their labels, and the lines behind the pieces.
fn grid(chart: &Chart<'_>, sheet: &Sheet, text: &mut String) {
    let (left, right) = (px(LEFT), px(RIGHT));
    let mut lines = String::new();
    let mut labels = String::new();
    for tick in byte_ticks(chart.arena_bytes) {
        let y = sheet.addresses.up(tick);
        let _ = write!(lines, "M{left} {}H{right}", px(y));
        let said = tick_label(tick, chart.arena_bytes);
        let _ = writeln!(labels, "{}", words(LEFT - pixels(8), y + pixels(4), "end", FAINT, &said));
    }
    let steps = chart.steps.len() as u64;
    let distance = step_distance(steps, 24);
    for step in (0..steps).step_by(usize::try_from(distance).unwrap_or(usize::MAX)) {
        let (from, to) = (sheet.steps.across(step), sheet.steps.across(step + 1));
        let _ = write!(lines, "M{} {}V{}", px(from), px(TOP), px(BOTTOM));
        let middle = (from + to) / 2;
        let _ = writeln!(labels, "{}", words(middle, BOTTOM + pixels(16), "middle", FAINT, &step.to_string()));
        // A step that is wide enough is labelled with what it does.
        let room = (to - from).saturating_sub(pixels(4)) / 680;
        if distance == 1 && room >= 7 {
            let said = escaped(&clipped(&chart.steps[step as usize].label, room as usize));
            let _ = writeln!(labels, "{}", words(middle, BOTTOM + pixels(30), "middle", FAINT, &said));
        }
    }
    let _ = writeln!(text, "<path d=\"{lines}\" stroke=\"{GRID}\" fill=\"none\"/>");
    text.push_str(&labels);
    let _ = writeln!(text, "{}", words((LEFT + RIGHT) / 2, pixels(630), "middle", FAINT, "step"));
    for (middle, said) in [((TOP + BOTTOM) / 2, "address"), ((STRIP_TOP + STRIP_BOTTOM) / 2, "live bytes")] {
        let y = px(middle);
        let _ = writeln!(
            text,
            "<text x=\"18\" y=\"{y}\" text-anchor=\"middle\" fill=\"{FAINT}\" transform=\"rotate(-90 18 {y})\">{said}</text>"
        );
    }
}

/// The live bytes of each step.
fn strip(chart: &Chart<'_>, sheet: &Sheet, text: &mut String) {
    let (left, right, top, bottom) = (px(LEFT), px(RIGHT), px(STRIP_TOP), px(STRIP_BOTTOM));
    let _ = writeln!(
        text,
        "<path d=\"M{left} {top}H{right}\" stroke=\"{FAINT}\" stroke-dasharray=\"4 3\" fill=\"none\"/>\
         <path d=\"M{left} {bottom}H{right}\" stroke=\"{GRID}\" fill=\"none\"/>"
    );
    let _ =
        writeln!(text, "{}", words(LEFT - pixels(8), STRIP_TOP + pixels(4), "end", FAINT, &size(chart.arena_bytes)));
    let _ = writeln!(text, "{}", words(LEFT - pixels(8), STRIP_BOTTOM + pixels(4), "end", FAINT, "0"));
    let mut curve = String::new();
    let mut column: Option<(Cents, u64)> = None;
    let mut height = None;
    let mut draw = |x: Cents, sum: u64, curve: &mut String| {
        let y = sheet.live.up(sum);
        if height != Some(y) {
            let _ = match height {
                None => write!(curve, "M{} {}", px(x), px(y)),
                Some(_) => write!(curve, "H{}V{}", px(x), px(y)),
            };
            height = Some(y);
        }
    };
    // Thinner where edges would run together.
    let stroke = if sheet.steps.across(1) - LEFT < pixels(4) { "0.5" } else { "1.5" };
    // Of steps within one half of a pixel the largest sum is drawn.
    for (step, &sum) in chart.sums.iter().enumerate() {
        let x = sheet.steps.across(step as u64);
        match &mut column {
            Some((from, most)) if x / 50 == *from / 50 => *most = sum.max(*most),
            _ => {
                if let Some((from, most)) = column.replace((x, sum)) {
                    draw(from, most, &mut curve);
                }
            }
        }
    }
    if let Some((from, most)) = column {
        draw(from, most, &mut curve);
        let _ = write!(curve, "H{right}");
        let _ = writeln!(text, "<path d=\"{curve}V{bottom}H{left}Z\" fill=\"{CURVE}\" fill-opacity=\"0.2\"/>");
        let _ = writeln!(
            text,
            "<path class=\"live\" d=\"{curve}\" stroke=\"{CURVE}\" stroke-width=\"{stroke}\" fill=\"none\"/>"
        );
    }
}

/// The step with the most live bytes.
fn peak(chart: &Chart<'_>, sheet: &Sheet, text: &mut String) {
    if chart.steps.is_empty() {
        return;
    }
    let step = chart.peak_step as u64;
    let (from, to) = (sheet.steps.across(step), sheet.steps.across(step + 1));
    let (width, y) = ((to - from).max(pixels(1)), sheet.live.up(chart.load));
    let (left, right) = (px(from), px(from + width));
    let _ = writeln!(
        text,
        "<rect class=\"peak\" x=\"{left}\" y=\"{0}\" width=\"{1}\" height=\"{2}\" fill=\"{PEAK}\" fill-opacity=\"0.3\"/>\
         <path d=\"M{left} {3}V{4}M{right} {3}V{4}\" stroke=\"{PEAK}\" stroke-dasharray=\"3 3\" fill=\"none\"/>\
         <path d=\"M{left} {5}H{right}\" stroke=\"{PEAK}\" stroke-width=\"3\" fill=\"none\"/>",
        px(y),
        px(width),
        px(STRIP_BOTTOM - y),
        px(STRIP_BOTTOM),
        px(BOTTOM),
        px(BOTTOM + 250),
    );
    let middle = from + width / 2;
    let (x, anchor) = match middle {
        middle if middle < LEFT + pixels(170) => (from.max(LEFT), "start"),
        middle if middle > RIGHT - pixels(170) => ((from + width).min(RIGHT), "end"),
        middle => (middle, "middle"),
    };
    let label = escaped(&clipped(&chart.steps[chart.peak_step].label, 32));
    let said = format!("peak {} at step {step}: {label}", size(chart.load));
    let _ = writeln!(text, "{}", words(x, STRIP_TOP - pixels(5), anchor, PEAK, &said));
}

/// What each step is, for who points at the live bytes.
fn targets(chart: &Chart<'_>, sheet: &Sheet, text: &mut String) {
    if chart.steps.len() > MOST_STEPS {
        return;
    }
    let _ = writeln!(text, "<g fill=\"#ffffff\" fill-opacity=\"0\">");
    for (number, step) in chart.steps.iter().enumerate() {
        let (from, to) = (sheet.steps.across(number as u64), sheet.steps.across(number as u64 + 1));
        let said = format!("{}\n{} bytes live", chart.scene(number as u64, step), grouped(chart.sums[number]));
        let _ = writeln!(
            text,
            "<g class=\"step\"><title>{}</title><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/></g>",
            escaped(&said),
            px(from),
            px(STRIP_TOP),
            px(to - from),
            px(STRIP_BOTTOM - STRIP_TOP),
        );
    }
    text.push_str("</g>\n");
}

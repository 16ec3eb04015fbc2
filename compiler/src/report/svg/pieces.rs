//! The lives: rectangles with their names, what they are for who points at them, and the lines where one value gives way
//! to the next.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::scale::{Cents, pixels, px};
use super::{CLASSES, MONO, Sheet, colour};
use crate::report::chart::{Chart, Turn};
use crate::report::kept::{Life, clipped};
use crate::report::markup::escaped;
use crate::report::words::size;

/// The most lives that have names and something to point at.
const MOST_NAMED: usize = 4000;
/// Of a character of a name, at the size below.
const CHARACTER: Cents = 630;
const FONT_SIZE: &str = "10.5";
/// The least height of a line of text, and the room to leave at its ends.
const LINE: Cents = pixels(13);
const PADDING: Cents = pixels(8);
/// Turns nearer than this to the one before are not drawn.
const LEAST_BETWEEN: Cents = pixels(1);
/// A piece thinner than this has no white border, which would cover it.
const LEAST_BORDERED: Cents = pixels(3);

/// Where a life is drawn.
#[derive(Clone, Copy)]
struct Piece {
    x: Cents,
    y: Cents,
    width: Cents,
    height: Cents,
}

/// Draws all lives, and says how many of them have no name because they are among too many.
pub(super) fn pieces(chart: &Chart<'_>, sheet: &Sheet, text: &mut String) -> usize {
    let places: Vec<Piece> = chart.lives.iter().map(|life| place(life, sheet)).collect();
    let mut named: Vec<usize> = (0..places.len()).collect();
    if named.len() > MOST_NAMED {
        named.sort_by_key(|&life| (std::cmp::Reverse(places[life].width * places[life].height), life));
        named.truncate(MOST_NAMED);
        named.sort_unstable();
    }
    let mut is_named = vec![false; places.len()];
    named.iter().for_each(|&life| is_named[life] = true);
    let unnamed = || (0..places.len()).filter(|&life| !is_named[life]);
    for class in CLASSES {
        let members = |life: &usize| chart.lives[*life].class == class;
        let rest = merged(unnamed().filter(members).map(|life| places[life]));
        if !rest.is_empty() {
            let _ = writeln!(text, "<path class=\"rest\" d=\"{rest}\" fill=\"{}\"/>", colour(class));
        }
        let named: Vec<usize> = named.iter().copied().filter(members).collect();
        if named.is_empty() {
            continue;
        }
        let _ = writeln!(
            text,
            "<g class=\"{}\" fill=\"{}\" stroke=\"#ffffff\" stroke-width=\"0.7\">",
            class.name(),
            colour(class)
        );
        for life in named {
            rectangle(chart, &chart.lives[life], places[life], sheet, text);
        }
        text.push_str("</g>\n");
    }
    let _ = writeln!(
        text,
        "<g class=\"names\" font-family=\"{MONO}\" font-size=\"{FONT_SIZE}\" text-anchor=\"middle\" pointer-events=\"none\">"
    );
    for &life in &named {
        names(chart, &chart.lives[life], places[life], sheet, text);
    }
    text.push_str("</g>\n");
    places.len() - named.len()
}

fn place(life: &Life, sheet: &Sheet) -> Piece {
    let (x, end) = (sheet.steps.across(life.first_step), sheet.steps.across(life.last_step + 1));
    let (y, bottom) = (sheet.addresses.up(life.offset + life.bytes), sheet.addresses.up(life.offset));
    Piece { x, y, width: end - x, height: bottom - y }
}

/// One path of many pieces, each moved to whole half pixels; what falls together is drawn once.
fn merged(pieces: impl Iterator<Item = Piece>) -> String {
    let half = |cents: Cents| cents / 50;
    let cells: BTreeSet<(u64, u64, u64, u64)> = pieces
        .map(|piece| (half(piece.x), half(piece.y), half(piece.width).max(1), half(piece.height).max(1)))
        .collect();
    let mut path = String::new();
    for (x, y, width, height) in cells {
        let [x, y, width, height] = [x, y, width, height].map(|half| px(half * 50));
        let _ = write!(path, "M{x} {y}h{width}v{height}h-{width}z");
    }
    path
}

fn rectangle(chart: &Chart<'_>, life: &Life, piece: Piece, sheet: &Sheet, text: &mut String) {
    let Piece { x, y, width, height } = piece;
    let border = if width.min(height) < LEAST_BORDERED { " stroke=\"none\"" } else { "" };
    let _ = write!(
        text,
        "<g class=\"life\"><title>{}</title><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"{border}/>",
        escaped(&chart.described(life).join("\n")),
        px(x),
        px(y),
        px(width),
        px(height),
    );
    let turns = chart.turns(life);
    for is_new in [true, false] {
        let path = turns_path(turns.iter().filter(|turn| turn.is_new == is_new), sheet);
        if !path.is_empty() {
            let _ = write!(text, "<path d=\"{path}\"{}/>", turn_stroke(is_new));
        }
    }
    text.push_str("</g>\n");
}

fn turns_path<'a>(turns: impl Iterator<Item = &'a Turn<'a>>, sheet: &Sheet) -> String {
    let mut path = String::new();
    let mut before = None;
    for turn in turns {
        let x = sheet.steps.across(turn.step);
        if before.is_some_and(|before| x < before + LEAST_BETWEEN) {
            continue;
        }
        before = Some(x);
        let (top, bottom) = (sheet.addresses.up(turn.offset + turn.bytes), sheet.addresses.up(turn.offset));
        let _ = write!(path, "M{} {}V{}", px(x), px(top), px(bottom));
    }
    path
}

/// Attributes of the line where another value begins, or another part of one.
pub(super) fn turn_stroke(is_new: bool) -> &'static str {
    match is_new {
        true => " stroke=\"#222222\" stroke-width=\"1\" fill=\"none\"",
        false => " stroke=\"#222222\" stroke-width=\"1\" stroke-dasharray=\"1.5 2\" fill=\"none\"",
    }
}

/// The names of the values, each in the time that it has the bytes; where none of these is long enough, all of them along
/// the life.
fn names(chart: &Chart<'_>, life: &Life, piece: Piece, sheet: &Sheet, text: &mut String) {
    if piece.width.max(piece.height) < 4 * CHARACTER || piece.width.min(piece.height) < LINE {
        return;
    }
    let bytes = size(life.bytes);
    let end = piece.x + piece.width;
    let starts: Vec<(Cents, &str)> = std::iter::once((piece.x, life.values.first().map_or("", String::as_str)))
        .chain(
            chart.turns(life).iter().filter(|turn| turn.is_new).map(|turn| (sheet.steps.across(turn.step), turn.value)),
        )
        .collect();
    if starts.len() > 1 {
        let ends = starts.iter().skip(1).map(|start| start.0).chain([end]);
        let times: Vec<Piece> = starts
            .iter()
            .zip(ends)
            .map(|(start, end)| Piece { x: start.0, width: end.saturating_sub(start.0), ..piece })
            .collect();
        let widest = times.iter().map(|time| time.width).max();
        let mut bytes = Some(bytes.as_str());
        let mut is_told = false;
        for (time, (_, name)) in times.iter().zip(&starts) {
            let bytes = if Some(time.width) == widest { bytes.take() } else { None };
            is_told |= label(name, bytes, *time, text);
        }
        if is_told {
            return;
        }
    }
    let name = chart.label(life);
    // Between two lines, if there is room.
    let turns = chart.turns(life).into_iter().map(|turn| sheet.steps.across(turn.step));
    let edges: Vec<Cents> = [piece.x].into_iter().chain(turns).chain([end]).collect();
    let times = edges.windows(2).map(|edge| Piece { x: edge[0], width: edge[1].saturating_sub(edge[0]), ..piece });
    let widest = times.reduce(|widest, time| if time.width > widest.width { time } else { widest }).unwrap_or(piece);
    let between = if length(&name) + PADDING <= widest.width { widest } else { piece };
    label(&name, Some(&bytes), between, text);
}

/// Writes `name` in a piece, with `bytes` below it where there is room, along it or upwards. `false` if nothing fits.
fn label(name: &str, bytes: Option<&str>, piece: Piece, text: &mut String) -> bool {
    let Piece { x, y, width, height } = piece;
    let (across, upwards) = (x + width / 2, y + height / 2);
    let mut said = |x: Cents, y: Cents, turned: bool, name: &str| {
        let (x, y) = if turned { (x + 370, y) } else { (x, y + 370) };
        let turn = if turned { format!(" transform=\"rotate(-90 {} {})\"", px(x), px(y)) } else { String::new() };
        let _ = writeln!(text, "<text x=\"{}\" y=\"{}\"{turn}>{}</text>", px(x), px(y), escaped(name));
    };
    let flat = fitted(name, width).filter(|_| height >= LINE);
    let turned = fitted(name, height).filter(|_| width >= LINE);
    match (flat, turned) {
        (Some(flat), turned) if flat == name || turned.as_ref().is_none_or(|turned| turned.len() <= flat.len()) => {
            match bytes.filter(|bytes| height >= 2 * LINE + PADDING && length(bytes) + PADDING <= width) {
                Some(bytes) => {
                    said(across, upwards - LINE / 2, false, &flat);
                    said(across, upwards + LINE / 2, false, bytes);
                }
                None => said(across, upwards, false, &flat),
            }
        }
        (_, Some(turned)) => said(across, upwards, true, &turned),
        _ => return false,
    }
    true
}

/// As much of `name` as there is room for, if that is enough to know it by.
fn fitted(name: &str, room: Cents) -> Option<String> {
    let room = room.saturating_sub(PADDING);
    if length(name) <= room {
        return Some(name.to_string());
    }
    let mut most = (room / CHARACTER) as usize;
    while most >= 4 {
        let name = clipped(name, most);
        if length(&name) <= room {
            return Some(name);
        }
        most -= 1;
    }
    None
}

/// About the width of a name: characters beyond Latin, Greek and Cyrillic may be twice as wide.
fn length(name: &str) -> Cents {
    name.chars().map(|character| if character < '\u{1100}' { CHARACTER } else { 2 * CHARACTER }).sum()
}

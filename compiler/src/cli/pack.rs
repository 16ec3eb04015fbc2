//! `situ pack`: from a file of buffers to a file of offsets.

use std::io::{Read, Write};
use std::path::Path;

use serde_json::json;
use situ::plan::pack::{self, PackOptions, Packing, csv};

use super::failure::Failure;
use super::model;

/// The largest file that is read, in bytes.
const LIMIT: u64 = 1 << 30;

/// What was asked and what was found.
pub struct Packed {
    buffers: usize,
    options: PackOptions,
    packing: Packing,
}

/// States that the exact search may see by default: a state costs about as much as there are buffers.
fn default_budget(buffers: usize) -> u64 {
    match buffers {
        0..=500 => 1_000_000,
        _ => (200_000_000 / buffers as u64).max(10_000),
    }
}

/// Reads `file`, finds offsets, and writes them to `output` if they fit.
pub fn pack(
    file: &Path,
    capacity: Option<u64>,
    align: u64,
    budget: Option<u64>,
    output: Option<&Path>,
) -> Result<Packed, Failure> {
    if let Some(output) = output {
        model::refuse_same_file(file, output)?;
    }
    let name = model::file_name(file);
    let cannot = |error: std::io::Error| Failure::wrong(format!("{name}: {error}"));
    let mut bytes = Vec::new();
    let mut limited = std::fs::File::open(file).map_err(cannot)?.take(LIMIT + 1);
    limited.read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > LIMIT {
        return Err(Failure::wrong(format!("{name}: larger than {LIMIT} bytes")));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| Failure::wrong(format!("{name}: not UTF-8 at byte {}", error.utf8_error().valid_up_to())))?;
    let table = csv::read(&text).map_err(|mistakes| Failure::diagnostics(&mistakes, &name, &text))?;
    let intervals = table.intervals();
    let budget = budget.unwrap_or_else(|| default_budget(intervals.len()));
    let options = PackOptions { align, capacity, budget };
    let packing = pack::pack(&intervals, &options)
        .map_err(|error| Failure::diagnostics(&[table.refused(error)], &name, &text))?;
    let packed = Packed { buffers: intervals.len(), options, packing };
    if let Some(output) = output
        && packed.missed().is_none()
    {
        let written = table.write(&packed.packing.offsets);
        situ_runtime::file::replace(output, |mut file| file.write_all(&written))
            .map_err(|error| Failure::wrong(format!("{}: {error}", output.display())))?;
    }
    Ok(packed)
}

impl Packed {
    /// Why the capacity was not reached.
    pub fn missed(&self) -> Option<String> {
        let Packing { height, lower_bound, nodes, .. } = self.packing;
        let capacity = self.options.capacity.filter(|&capacity| height > capacity)?;
        Some(match lower_bound > capacity {
            true => format!("no packing fits into {capacity} bytes: proved, none is below {lower_bound}"),
            false => format!(
                "no packing into {capacity} bytes was found: given up after {nodes} states; the lowest found has \
                 {height} bytes, and there is none below {lower_bound}"
            ),
        })
    }

    pub fn text(&self) -> String {
        let Packing { height, load, lower_bound, proved, nodes, .. } = self.packing;
        let ratio = if load == 0 { 1.0 } else { height as f64 / load as f64 };
        let verdict = if proved { "proved optimal" } else { "not proved optimal" };
        format!(
            "buffers      {}\nheight       {height}  {ratio:.4} of the load, {verdict}\nload         {load}\n\
             lower bound  {lower_bound}\nstates       {nodes}\n",
            self.buffers
        )
    }

    pub fn json(&self) -> String {
        let Packing { height, load, lower_bound, proved, nodes, .. } = self.packing;
        let object = json!({
            "buffers": self.buffers,
            "align": self.options.align,
            "capacity": self.options.capacity,
            "budget": self.options.budget,
            "height": height,
            "load": load,
            "lower_bound": lower_bound,
            "proved_optimal": proved,
            "nodes": nodes,
        });
        format!("{object}\n")
    }
}

//! The forms of a report that are made from its JSON, whether a model was compiled just now or an executable kept it.

use situ::report::{self, Kept, NoChart};

use super::args::Format;
use super::failure::Failure;

/// `json`, a report, as `format`. `is_kept`: it comes from a file, which may be old or damaged, and not from us.
pub fn made(json: &str, format: Format, is_kept: bool) -> Result<String, Failure> {
    let wrong = |how: String| if is_kept { Failure::wrong(how) } else { Failure::fault(how) };
    let kept = Kept::read(json).map_err(wrong)?;
    let made = match format {
        Format::Text | Format::Json => Ok(json.to_string()),
        Format::Svg => report::svg(&kept),
        Format::Html => report::html(&kept),
        Format::Trace => report::trace(&kept),
    };
    made.map_err(|why| match why {
        NoChart::Lacking => Failure::usage(format!("{why}; give the model instead of the executable")),
        NoChart::Wrong(_) => wrong(why.to_string()),
    })
}

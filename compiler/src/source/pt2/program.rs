//! The description of a program in its archive, versions checked before the rest is believed.

use super::archive::Archive;
use super::schema::{self, ExportedProgram};
use crate::diagnostic::Diagnostic;

/// The largest description of a program that is read, in bytes.
const MAX_JSON: usize = 256 << 20;

/// The description of the program, its version checked before the rest is believed.
pub fn read(archive: &mut Archive, warnings: &mut Vec<String>) -> Result<ExportedProgram, Vec<Diagnostic>> {
    let wrong = |message: String| vec![Diagnostic::invalid("not a valid .pt2 file", message)];
    let refused = |message: String| vec![Diagnostic::unsupported("", message)];
    match archive.text("archive_format").map_err(wrong)?.as_deref() {
        Some("pt2") => {}
        Some(other) => return Err(wrong(format!("archive_format is {other:?}, expected \"pt2\""))),
        None if archive.has("serialized_exported_program.json") => {
            return Err(refused("the archive is of torch 2.7 or older: export it anew".into()));
        }
        None => return Err(wrong("the archive has no entry archive_format: save it with torch.export.save".into())),
    }
    match archive.text("byteorder").map_err(wrong)?.as_deref() {
        Some("little") | None => {}
        Some(other) => return Err(refused(format!("byte order {other:?}, only little is read"))),
    }
    let models: Vec<String> = archive.names_in("models/").map(str::to_string).collect();
    let entry = match models.as_slice() {
        [one] => one.clone(),
        [] => return Err(wrong("the archive has no program in models/".into())),
        several => match several.iter().find(|name| *name == "models/model.json") {
            Some(name) => {
                warnings.push(format!("the archive holds {} programs; models/model.json is read", several.len()));
                name.clone()
            }
            None => {
                return Err(refused(format!(
                    "the archive holds {} programs, none is models/model.json",
                    several.len()
                )));
            }
        },
    };
    let range = archive.entry(&entry).map_err(wrong)?;
    if range.len() > MAX_JSON {
        return Err(refused(format!("{entry} has {} bytes, at most {MAX_JSON} are read", range.len())));
    }
    let bytes = &archive.file[range];
    let json = |error: serde_json::Error| wrong(format!("{entry}: {error}"));
    let version = serde_json::from_slice::<schema::Versioned>(bytes).map_err(json)?.schema_version;
    let (major, minor) = schema::VERSION;
    if version.major != major {
        return Err(refused(format!(
            "schema version {}.{}, only {major} is read: export with torch 2.15",
            version.major, version.minor
        )));
    }
    if version.minor > minor {
        warnings.push(format!(
            "schema version {major}.{} is newer than {major}.{minor}: what it adds is not looked at",
            version.minor
        ));
    }
    let program: ExportedProgram = serde_json::from_slice(bytes).map_err(json)?;
    if !program.verifiers.iter().any(|verifier| verifier == "TRAINING" || verifier == "ATEN") {
        warnings.push(format!("the program is of the dialect {:?}, expected TRAINING", program.verifiers));
    }
    Ok(program)
}

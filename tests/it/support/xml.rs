//! Whether a text is well-formed XML: enough of the grammar for what the compiler writes, and strict in it.

/// An element that was opened, with its attributes.
pub struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    /// The `class` of the element around it.
    pub within: String,
}

impl Element {
    pub fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.iter().find(|(name, _)| name == attribute).map(|(_, value)| value.as_str())
    }

    pub fn number(&self, attribute: &str) -> f64 {
        self.get(attribute).and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no number {attribute}"))
    }
}

/// Every element in order, or what is wrong.
pub fn elements(text: &str) -> Result<Vec<Element>, String> {
    if let Some(bad) = text.chars().find(|&c| (c < ' ' && c != '\n' && c != '\t') || c == '\u{fffe}' || c == '\u{ffff}')
    {
        return Err(format!("a character that XML has not: {bad:?}"));
    }
    let mut elements = Vec::new();
    let mut open: Vec<(String, String)> = Vec::new();
    let mut roots = 0;
    let mut rest = text.strip_prefix("<!DOCTYPE html>").unwrap_or(text).trim_start();
    while !rest.is_empty() {
        let (before, tag) = rest.split_once('<').unwrap_or((rest, ""));
        references(before)?;
        if open.is_empty() && !before.trim().is_empty() {
            return Err(format!("text outside: {before:?}"));
        }
        if rest.len() == before.len() {
            break;
        }
        let (inside, after) = tag.split_once('>').ok_or("a tag does not end")?;
        rest = after;
        if let Some(name) = inside.strip_prefix('/') {
            let (opened, _) = open.pop().ok_or_else(|| format!("</{name}> closes nothing"))?;
            if opened != name {
                return Err(format!("</{name}> closes <{opened}>"));
            }
            continue;
        }
        let (inside, is_empty) = inside.strip_suffix('/').map_or((inside, false), |inside| (inside, true));
        let (name, attributes) = inside.split_once(|c: char| c.is_whitespace()).unwrap_or((inside, ""));
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(format!("an element called {name:?}"));
        }
        let attributes = pairs(attributes).map_err(|how| format!("<{name}>: {how}"))?;
        roots += usize::from(open.is_empty());
        let within = open.last().map_or(String::new(), |(_, class)| class.clone());
        let element = Element { name: name.to_string(), attributes, within };
        if !is_empty {
            open.push((name.to_string(), element.get("class").unwrap_or("").to_string()));
        }
        elements.push(element);
    }
    match (open.last(), roots) {
        (Some((name, _)), _) => Err(format!("<{name}> is not closed")),
        (None, 1) => Ok(elements),
        (None, roots) => Err(format!("{roots} roots")),
    }
}

fn pairs(mut text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    loop {
        text = text.trim_start();
        if text.is_empty() {
            return Ok(pairs);
        }
        let (name, after) = text.split_once("=\"").ok_or_else(|| format!("no value: {text:?}"))?;
        let (value, after) = after.split_once('"').ok_or("a value does not end")?;
        references(value)?;
        if pairs.iter().any(|(known, _)| known == name) {
            return Err(format!("{name} twice"));
        }
        pairs.push((name.to_string(), value.to_string()));
        text = after;
    }
}

fn references(text: &str) -> Result<(), String> {
    for (at, _) in text.match_indices('&') {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
        if !known.iter().any(|reference| text[at..].starts_with(reference)) {
            return Err(format!("a reference that is none: {:?}", text[at..].chars().take(8).collect::<String>()));
        }
    }
    Ok(())
}

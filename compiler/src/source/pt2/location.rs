//! Where in a Python program a node comes from.

use indexmap::IndexMap;

use crate::ir::Location;

/// The file and line of the program that asked for a node, and the module it belongs to: `net.py:98 in blocks.0.norm`.
/// Folders are left out, so that reports do not depend on where a program lies.
pub fn location(metadata: &IndexMap<String, String>, name: &str) -> Location {
    let frames = || {
        let lines = metadata.get("stack_trace").map(String::as_str).unwrap_or_default().lines();
        lines.filter_map(|line| {
            let (file, rest) = line.trim_start().strip_prefix("File \"")?.split_once('"')?;
            let number = rest.strip_prefix(", line ")?;
            let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
            Some((file, &number[..digits]))
        })
    };
    // Frames inside PyTorch itself, or in code that it made, say nothing about the program.
    let theirs = |file: &str| file.starts_with('<') || file.replace('\\', "/").contains("/torch/");
    let innermost = frames().rfind(|(file, _)| !theirs(file));
    let line = innermost.or_else(|| frames().next_back()).map(|(file, line)| {
        let file = file.rsplit(['/', '\\']).next().unwrap_or(file);
        format!("{file}:{line}")
    });
    // `key,path,class` for each module around the node, outermost first.
    let stack = metadata.get("nn_module_stack").map(String::as_str).unwrap_or_default();
    let module = stack.rsplit(';').next().and_then(|entry| entry.split(',').nth(1)).unwrap_or_default();
    let text = match (line, module) {
        (None, "") => name.to_string(),
        (None, module) => format!("{name} in {module}"),
        (Some(line), "") => line,
        (Some(line), module) => format!("{line} in {module}"),
    };
    // A name of megabytes helps nobody, and control characters would break lines of reports.
    let text = text.chars().filter(|c| !c.is_control()).take(200).collect();
    Location { text, line: 0, column: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_and_not_the_library_is_named() {
        let trace = "File \"/home/a/zoo.py\", line 98, in forward\n    y = self.n(x)\n  File \"/lib/torch/nn/modules/x.py\", line 7, in forward\n    return f(x)";
        let stack = "L__self__,,m.Net;L__self__n,n.0,torch.nn.X";
        let metadata =
            [("stack_trace", trace), ("nn_module_stack", stack)].map(|(key, text)| (key.into(), text.into()));
        assert_eq!(location(&IndexMap::from(metadata), "node").text, "zoo.py:98 in n.0");
        assert_eq!(location(&IndexMap::new(), "node").text, "node");
    }
}

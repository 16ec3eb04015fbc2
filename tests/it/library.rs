//! The library as others use it: crates outside the workspace, built and run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn outside(name: &str, executable: &Path) -> Output {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target: PathBuf = tests.parent().expect("the repository").join("target/outside");
    Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--offline", "--manifest-path"])
        .arg(tests.join("outside").join(name).join("Cargo.toml"))
        .arg("--")
        .arg(executable)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .expect("cargo runs")
}

fn stdout(name: &str, output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed:\n{stderr}");
    String::from_utf8(output.stdout).expect("text")
}

/// One crate builds, compiles, runs and saves; another, with the runtime alone, loads the file and gets the same bits.
#[test]
fn builder_and_runtime_alone() {
    let folder = std::env::temp_dir().join(format!("situ-library-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the executable");
    let file = folder.join("outside.situx");
    let built = stdout("builder", outside("builder", &file));
    let deployed = stdout("deployed", outside("deployed", &file));
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
    assert_eq!(built, deployed);
    let elements = built.trim().trim_matches(['[', ']']).split(", ");
    let elements: Vec<f32> = elements.map(|x| x.parse().expect("a number")).collect();
    assert_eq!(elements.len(), 8);
    assert!(elements.iter().any(|&x| x > 0.0) && elements.iter().all(|&x| x >= 0.0), "{elements:?}");
}

//! What is linked into the library and the program.
//!
//! ```text
//! cargo run -p linked -- sbom       the library's bill of materials: CycloneDX 1.5, JSON
//! cargo run -p linked -- licences   the licence texts of all that is linked into the library and the program
//! ```
//!
//! Run in the folder of the checkout. What is built and run at compile time alone (build scripts, procedural macros) is not
//! linked, and not listed. The same `Cargo.lock`, target and toolchain give the same bytes.

mod bundled;
mod crates;
mod licences;
mod sbom;

use std::io::Write;
use std::process::ExitCode;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let document = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["sbom"] => crates::linked(crates::Part::Library).and_then(|crates| sbom::document(&crates)),
        ["licences"] => crates::linked(crates::Part::Package).and_then(|crates| licences::document(&crates)),
        _ => {
            eprintln!("usage: linked sbom | licences");
            return ExitCode::from(2);
        }
    };
    match document.and_then(|text| Ok(std::io::stdout().write_all(text.as_bytes())?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

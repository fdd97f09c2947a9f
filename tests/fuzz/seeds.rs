//! Writes the seed corpus: every PSBT of the testkit, the byte of its script type in front.
//!
//! `seeds FOLDER`

use std::path::Path;
use std::{env, fs};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

#[path = "../support/mod.rs"]
mod support;

fn main() {
    let to = env::args_os().nth(1).expect("usage: seeds FOLDER");
    fs::create_dir_all(&to).expect("the folder can be made");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/vectors");
    for entry in fs::read_dir(from).expect("the testkit is there") {
        let path = entry.expect("readable").path();
        let text = fs::read_to_string(&path).expect("UTF-8");
        let (header, body) = text.split_once("\n\n").expect("a blank line behind the header");
        let script = header.lines().find_map(|line| line.strip_prefix("script: ")).expect("a script type");
        let number = support::scripts::SCRIPTS.iter().position(|known| known.name == script).expect("known");
        let psbt = STANDARD.decode(body.split_whitespace().collect::<String>()).expect("base64");
        let name = path.file_stem().expect("a name");
        let seed = [&[u8::try_from(number).expect("few")], &psbt[..]].concat();
        fs::write(Path::new(&to).join(name), seed).expect("it can be written");
    }
}

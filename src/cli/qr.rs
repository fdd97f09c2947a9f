//! QR codes of `otpauth://` URIs, for a terminal and as SVG.

use std::io::IsTerminal;

use qrcode::render::{svg, unicode::Dense1x2};
use qrcode::{EcLevel, QrCode};
use zeroize::Zeroizing;

use crate::error::CommandError;

/// The QR code for standard output, two modules a character, with its quiet zone.
///
/// Light modules are drawn and dark ones left out. On a terminal the colours are set as well, white on black,
/// so that it can be scanned on dark and light terminals.
pub(crate) fn for_terminal(uri: &str) -> Result<Zeroizing<String>, CommandError> {
    // A screen has no scratches, so the lowest correction level is enough and keeps the code small.
    let code = encode(uri, EcLevel::L)?;
    let image = Zeroizing::new(
        code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build(),
    );
    if !std::io::stdout().is_terminal() {
        return Ok(image);
    }
    let mut coloured = Zeroizing::new(String::with_capacity(2 * image.len()));
    for line in image.lines() {
        coloured.push_str("\x1b[97;40;38;5;231;48;5;16m");
        coloured.push_str(line);
        coloured.push_str("\x1b[0m\n");
    }
    coloured.pop();
    Ok(coloured)
}

/// The code as an SVG document.
pub(crate) fn as_svg(uri: &str) -> Result<Zeroizing<String>, CommandError> {
    let code = encode(uri, EcLevel::M)?;
    Ok(Zeroizing::new(code.render::<svg::Color<'_>>().min_dimensions(320, 320).build()))
}

fn encode(uri: &str, level: EcLevel) -> Result<QrCode, CommandError> {
    QrCode::with_error_correction_level(uri, level).map_err(|reason| {
        CommandError::new(
            format!("the otpauth URI does not fit into a QR code: {reason}"),
            "remove the user and add it again with a shorter name or issuer",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const URI: &str =
        "otpauth://totp/Countersign:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Countersign";

    #[test]
    fn the_quiet_zone_is_light_all_round() {
        let image = for_terminal(URI).expect("it fits");
        let lines: Vec<&str> = image.lines().map(|l| l.trim_matches(|c| !"█▀▄ ".contains(c))).collect();
        assert!(lines[0].chars().all(|c| c == '█') && lines[1].chars().all(|c| c == '█'));
        assert!(lines[2..lines.len() - 1].iter().all(|l| l.starts_with("████") && l.ends_with("████")));
    }

    #[test]
    fn svg_is_a_document() {
        let image = as_svg(URI).expect("it fits");
        assert!(image.starts_with("<?xml") && image.contains("</svg>") && !image.contains("secret"));
    }
}

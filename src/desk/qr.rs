//! QR codes (ISO/IEC 18004), as the path of an SVG within the page.

use core::fmt::Write as _;

use qrcode::{Color, QrCode};

/// The blank modules around a code.
const QUIET: usize = 4;

/// A QR code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Qr {
    /// The width and height, in modules.
    pub(crate) size: usize,
    /// The dark modules, as the commands of a path.
    pub(crate) path: String,
}

impl Qr {
    /// The code of a text, or none if it is too long for one.
    pub(crate) fn of(text: &str) -> Option<Qr> {
        let code = QrCode::new(text).ok()?;
        let width = code.width();
        let mut path = String::new();
        for (at, _) in code.to_colors().into_iter().enumerate().filter(|(_, color)| *color == Color::Dark) {
            let (x, y) = (at % width + QUIET, at / width + QUIET);
            write!(path, "M{x} {y}h1v1h-1z").expect("writing to a string does not fail");
        }
        Some(Qr { size: width + 2 * QUIET, path })
    }
}

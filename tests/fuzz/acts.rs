//! Fuzzes the text of an act, which comes from whoever reaches a door.
//!
//! Whatever it is: nothing panics. What is read is printed as it was, is printable ASCII in lines without blanks at their ends, has a
//! class, and tells what it changes in the same letters.

#![no_main]

use countersign::kernel::act::class::Class;
use countersign::kernel::motion::{ActText, Motion};
use countersign::kernel::officer::Council;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(council) = Council::parse(text) {
        assert_eq!(council.to_string(), text);
    }
    let Ok(act) = ActText::parse(text) else { return };
    assert_eq!(act.print().as_deref(), Ok(text));
    assert!(text.lines().all(|line| !line.ends_with(' ') && line.bytes().all(is_printable)));
    let differences = act.motion.differences();
    let sides = differences.iter().flat_map(|row| [row.old.as_deref(), row.new.as_deref(), Some(&*row.what)]);
    assert!(sides.flatten().all(|side| side.bytes().all(is_printable)));
    // What changes nothing but the order of the users tells no row.
    let is_order = matches!(&act.motion, Motion::WalletSet(_) | Motion::KeySet(_));
    assert!(!differences.is_empty() || (is_order && act.motion.class() == Class::Neutral));
});

fn is_printable(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte)
}

//! Fuzzes the text of a statement, which comes from whoever shows one and asks whether it is right.
//!
//! Whatever it is: nothing panics. What is read is printed as it was, is printable ASCII in lines without blanks at their ends, and has
//! one line for each payment.

#![no_main]

use countersign::kernel::consent::Statement;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(statement) = Statement::parse(text) else { return };
    assert_eq!(statement.print().as_deref(), Ok(text));
    assert!(
        text.lines()
            .all(|line| !line.ends_with(' ') && line.bytes().all(|byte| (b' '..=b'~').contains(&byte)))
    );
    let payments = text.lines().filter(|line| line.starts_with("pay ")).count();
    assert_eq!((payments, text.lines().count()), (statement.payouts.len(), 7 + statement.payouts.len()));
});

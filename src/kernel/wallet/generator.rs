//! Multiples of the generator, for the keys of addresses (BIP 32, "Public parent key → public child key").
//!
//! A child key is its parent plus a multiple of the generator. libsecp256k1 computes the multiple by doubling
//! a point 128 times. Checking a PSBT derives a key for each place in the script of each input, and that was
//! most of its work. So the multiples for every digit are computed once, and libsecp256k1 adds those that
//! make up a tweak: 38 points instead of some 170 operations.
//!
//! The digits of a tweak decide which points are read. That is safe only because these tweaks are not secret:
//! anybody with the extended public key can compute them. No secret key is multiplied here.

use std::sync::LazyLock;

use bitcoin::secp256k1::constants::GENERATOR_X;
use bitcoin::secp256k1::{PublicKey, Scalar};

use super::WalletError;

/// Bits of a digit. Seven give 37 rows of 127 points, 301 kB and some 40 ms of work, once in a process.
const DIGIT_BITS: usize = 7;
const DIGITS: usize = 256_usize.div_ceil(DIGIT_BITS);
/// The number of digits other than zero, which needs no point.
const ROW: usize = (1 << DIGIT_BITS) - 1;

/// The generator times each digit at each position, row by row.
static MULTIPLES: LazyLock<Vec<PublicKey>> = LazyLock::new(multiples);

/// `point` plus `tweak` times the generator. Fails if that is the point at infinity, which is no key.
pub(super) fn add_multiple(point: &PublicKey, tweak: &Scalar) -> Result<PublicKey, WalletError> {
    let mut points = Vec::with_capacity(1 + DIGITS);
    points.push(point);
    for (position, digit) in digits(&tweak.to_be_bytes()).enumerate() {
        if digit > 0 {
            points.push(&MULTIPLES[position * ROW + digit - 1]);
        }
    }
    PublicKey::combine_keys(&points).map_err(|_| WalletError::Derivation)
}

/// The digits of a number, the least significant one first.
fn digits(number: &[u8; 32]) -> impl Iterator<Item = usize> {
    let mut bytes = number.iter().rev();
    // The bits that were read and do not belong to a digit yet.
    let (mut rest, mut bits) = (0, 0);
    (0..DIGITS).map(move |_| {
        if bits < DIGIT_BITS {
            rest |= bytes.next().map_or(0, |byte| usize::from(*byte)) << bits;
            bits += 8;
        }
        let digit = rest & ROW;
        rest >>= DIGIT_BITS;
        bits -= DIGIT_BITS;
        digit
    })
}

fn multiples() -> Vec<PublicKey> {
    // Its y is even (SEC 2, section 2.4.1).
    let generator: Vec<u8> = [2].into_iter().chain(GENERATOR_X).collect();
    let generator = PublicKey::from_slice(&generator).expect("the generator is a point");
    let add = |a: &PublicKey, b: &PublicKey| a.combine(b).expect("no sum is a multiple of the order");
    let mut multiples = Vec::with_capacity(DIGITS * ROW);
    let mut base = generator;
    for _ in 0..DIGITS {
        let mut multiple = base;
        for _ in 0..ROW {
            multiples.push(multiple);
            multiple = add(&multiple, &base);
        }
        base = multiple;
    }
    multiples
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::secp256k1::{Secp256k1, SecretKey, constants::CURVE_ORDER};
    use proptest::prelude::*;

    fn agrees(secret: [u8; 32], tweak: [u8; 32]) {
        let secp = Secp256k1::new();
        let (Ok(secret), Ok(tweak)) = (SecretKey::from_slice(&secret), Scalar::from_be_bytes(tweak)) else {
            return;
        };
        let point = secret.public_key(&secp);
        let expected = point.add_exp_tweak(&secp, &tweak).ok();
        assert_eq!(add_multiple(&point, &tweak).ok(), expected);
    }

    #[test]
    fn at_the_edges_it_is_what_libsecp256k1_computes() {
        let mut less_one = CURVE_ORDER;
        less_one[31] -= 1;
        let one = {
            let mut one = [0; 32];
            one[31] = 1;
            one
        };
        // These cover: nothing to add, a sum at infinity, and equal points.
        for tweak in [[0; 32], less_one, one, [0xff; 32], [0x3f; 32], [0x01; 32]] {
            for secret in [one, less_one, [7; 32]] {
                agrees(secret, tweak);
            }
        }
    }

    proptest! {
        #[test]
        fn it_is_what_libsecp256k1_computes(secret: [u8; 32], tweak: [u8; 32]) {
            agrees(secret, tweak);
        }
    }
}

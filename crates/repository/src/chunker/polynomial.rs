//! Polynomials over GF(2), a bit per coefficient.

use std::{fmt, str::FromStr};

/// The degree that restic chooses for a new repository; the hash then fits into 53 bits and a byte more into a machine word.
const DEGREE: u32 = 53;

/// With fewer bits than the cut test reads, or more than a word holds after taking in a byte, a repository is not restic's.
const ACCEPTED_DEGREES: std::ops::RangeInclusive<u32> = 21..=55;

/// The value in a repository's configuration cannot serve as a chunker polynomial.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("chunker polynomial {value:#x} is not usable: {reason}; the repository's config is damaged or forged")]
pub struct InvalidPolynomial {
    /// What was read.
    pub value: u64,
    /// Why it was refused.
    pub reason: &'static str,
}

/// An irreducible polynomial over GF(2), by which the rolling hash is reduced. Written in hexadecimal in a repository's config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Polynomial(u64);

impl Polynomial {
    /// Accepts a polynomial read from a repository.
    ///
    /// # Errors
    /// If its degree is outside of what the hash can work with, or if it is reducible.
    pub fn new(value: u64) -> Result<Self, InvalidPolynomial> {
        let invalid = |reason| InvalidPolynomial { value, reason };
        if value == 0 || !ACCEPTED_DEGREES.contains(&degree(value)) {
            return Err(invalid("its degree is out of range"));
        }
        if !is_irreducible(value) {
            return Err(invalid("it is reducible"));
        }
        Ok(Self(value))
    }

    /// Chooses a fresh polynomial of degree 53, as restic does for a new repository. About one candidate in 27 is irreducible.
    #[must_use]
    pub fn random() -> Self {
        loop {
            let candidate = rand::random::<u64>() & ((1 << DEGREE) - 1) | 1 << DEGREE | 1;
            if is_irreducible(candidate) {
                return Self(candidate);
            }
        }
    }

    /// The coefficients, the lowest in the lowest bit.
    #[must_use]
    pub fn value(self) -> u64 {
        self.0
    }

    /// The highest power with a coefficient.
    #[must_use]
    pub fn degree(self) -> u32 {
        degree(self.0)
    }

    /// Takes one more byte into a hash that is reduced already.
    pub(super) fn append_byte(self, hash: u64, byte: u8) -> u64 {
        (0..8).rev().fold(hash, |hash, bit| {
            let shifted = hash << 1 | u64::from(byte >> bit & 1);
            if shifted >> self.degree() & 1 == 1 { shifted ^ self.0 } else { shifted }
        })
    }
}

impl fmt::Display for Polynomial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:x}", self.0)
    }
}

impl FromStr for Polynomial {
    type Err = InvalidPolynomial;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let value = u64::from_str_radix(text, 16)
            .map_err(|_| InvalidPolynomial { value: 0, reason: "it is not a hexadecimal number" })?;
        Self::new(value)
    }
}

fn degree(value: u64) -> u32 {
    63 - value.leading_zeros()
}

/// The remainder of `value` divided by `divisor`, which is not zero.
fn remainder(mut value: u64, divisor: u64) -> u64 {
    let divisor_degree = degree(divisor);
    while value != 0 && degree(value) >= divisor_degree {
        value ^= divisor << (degree(value) - divisor_degree);
    }
    value
}

fn greatest_common_divisor(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, remainder(left, right));
    }
    left
}

/// The product of two reduced polynomials, reduced.
fn multiply(mut left: u64, mut right: u64, modulus: u64) -> u64 {
    let top = 1 << degree(modulus);
    let mut product = 0;
    while right != 0 {
        if right & 1 == 1 {
            product ^= left;
        }
        left <<= 1;
        if left & top != 0 {
            left ^= modulus;
        }
        right >>= 1;
    }
    product
}

/// Ben-Or's test: a polynomial of degree n is irreducible if it has no factor in common with x^(2^i) - x for any i up to n/2.
fn is_irreducible(value: u64) -> bool {
    const X: u64 = 0b10;
    let mut power = X;
    (1..=degree(value) / 2).all(|_| {
        power = multiply(power, power, value);
        greatest_common_divisor(value, power ^ X) == 1
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn small_polynomials_are_judged_rightly() {
        // All irreducible polynomials up to degree 4, from any table of finite fields.
        let irreducible = [0b111, 0b1011, 0b1101, 0b10011, 0b11001, 0b11111];
        for value in 0b100..0b100000_u64 {
            assert_eq!(is_irreducible(value), irreducible.contains(&value), "{value:b}");
        }
    }

    #[test]
    fn a_polynomial_of_restic_is_accepted_and_its_multiple_refused() {
        let polynomial: Polynomial = "3DA3358B4DC173".parse().unwrap();
        assert_eq!((polynomial.degree(), polynomial.to_string().as_str()), (53, "3da3358b4dc173"));
        assert!(Polynomial::new(0x003D_A335_8B4D_C173 << 1).is_err(), "divisible by x");
        assert!(Polynomial::new(0).is_err());
        assert!(Polynomial::new(0b111).is_err(), "irreducible but too small to cut by");
        assert!("not a number".parse::<Polynomial>().is_err());
    }

    #[test]
    fn random_polynomials_have_degree_53_and_differ() {
        let (first, second) = (Polynomial::random(), Polynomial::random());
        assert_ne!(first, second);
        for polynomial in [first, second] {
            assert_eq!(polynomial.degree(), DEGREE);
            assert_eq!(Polynomial::new(polynomial.value()), Ok(polynomial));
        }
    }
}

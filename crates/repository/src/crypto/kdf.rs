//! scrypt: from a password to the key that opens a key object.

use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroize;

use super::MasterKey;
use crate::error::{Error, Result};
use crate::limits::{MAX_SCRYPT_LOG_N, MAX_SCRYPT_MEMORY, MAX_SCRYPT_P, MAX_SCRYPT_R, MAX_SCRYPT_WORK};

/// restic's calibration: as much as fits into 60 MiB and half a second of this machine.
const CALIBRATION_MEMORY: u64 = 60 << 20;
const CALIBRATION_TIME: Duration = Duration::from_millis(500);

/// How much work a new key's derivation costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScryptCost {
    /// Half a second on this machine, as restic does.
    #[default]
    Calibrated,
    /// Exactly these parameters.
    Fixed(ScryptParameters),
}

impl ScryptCost {
    /// The cheapest parameters that restic still opens. For tests only: such a key is easily guessed.
    #[must_use]
    pub fn for_tests() -> Self {
        Self::Fixed(ScryptParameters { log_n: 7, r: 1, p: 1 })
    }

    /// The parameters to use; measures when calibrated, for about the time of two derivations.
    ///
    /// # Errors
    /// As [`derive_key`].
    pub fn parameters(self) -> Result<ScryptParameters> {
        match self {
            Self::Fixed(parameters) => Ok(parameters),
            Self::Calibrated => calibrate(),
        }
    }
}

/// scrypt's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScryptParameters {
    /// Binary logarithm of N.
    pub log_n: u8,
    /// Block size.
    pub r: u32,
    /// Parallelism.
    pub p: u32,
}

impl ScryptParameters {
    /// Parameters as a key object states them, if they are within bounds.
    ///
    /// # Errors
    /// [`Error::BeyondLimit`] if deriving with them would take too much memory or time.
    pub fn from_key_file(n: u64, r: u32, p: u32) -> Result<Self> {
        let beyond = |what, found: u64, limit: u64| Err(Error::BeyondLimit { what, found, limit });
        if !n.is_power_of_two() || !(2..=1 << MAX_SCRYPT_LOG_N).contains(&n) {
            return beyond("scrypt's N", n, 1 << MAX_SCRYPT_LOG_N);
        }
        if r == 0 || r > MAX_SCRYPT_R {
            return beyond("scrypt's r", r.into(), MAX_SCRYPT_R.into());
        }
        if p == 0 || p > MAX_SCRYPT_P {
            return beyond("scrypt's p", p.into(), MAX_SCRYPT_P.into());
        }
        let memory = 128 * u64::from(r) * n;
        if memory > MAX_SCRYPT_MEMORY {
            return beyond("scrypt's memory in bytes, as a key object of the repository asks for it,", memory, MAX_SCRYPT_MEMORY);
        }
        let work = n * u64::from(r) * u64::from(p);
        if work > MAX_SCRYPT_WORK {
            return beyond("scrypt's work N·r·p, as a key object of the repository asks for it,", work, MAX_SCRYPT_WORK);
        }
        let log_n = u8::try_from(n.trailing_zeros()).map_err(Error::internal)?;
        Ok(Self { log_n, r, p })
    }

    /// N itself.
    #[must_use]
    pub fn n(self) -> u64 {
        1 << self.log_n
    }
}

fn calibrate() -> Result<ScryptParameters> {
    let r = 8;
    let mut log_n = 1;
    while (128 * u64::from(r)) << (log_n + 1) <= CALIBRATION_MEMORY {
        log_n += 1;
    }
    let mut parameters = ScryptParameters { log_n, r, p: 1 };
    let begin = Instant::now();
    derive_key(&SecretString::from("calibration"), &[7; 64], parameters)?;
    let once = begin.elapsed().max(Duration::from_millis(1));
    let fitting = CALIBRATION_TIME.as_micros() / once.as_micros();
    // A fast machine must not make keys that a slow one opens in minutes.
    parameters.p = u32::try_from(fitting.clamp(1, 16)).unwrap_or(1);
    Ok(parameters)
}

/// Derives the key that seals a key object's data. Blocks for as long as the parameters cost.
///
/// # Errors
/// [`Error::Internal`] if the library refuses the parameters.
pub fn derive_key(password: &SecretString, salt: &[u8], parameters: ScryptParameters) -> Result<MasterKey> {
    let library = scrypt::Params::new(parameters.log_n, parameters.r, parameters.p).map_err(Error::internal)?;
    let mut bytes = [0; 64];
    scrypt::scrypt(password.expose_secret().as_bytes(), salt, &library, &mut bytes).map_err(Error::internal)?;
    let key = MasterKey::from_bytes(&bytes);
    bytes.zeroize();
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hostile_parameters_are_refused() {
        for (n, r, p) in [
            (0, 8, 1),
            (1, 8, 1),
            (3, 8, 1),
            (1 << 40, 8, 1),
            (1 << 15, 0, 1),
            (1 << 15, 8, 0),
            (1 << 15, 8, u32::MAX),
            (1 << 22, 64, 1),
            (1 << 18, 8, 1),
            (1 << 17, 9, 1),
            (1 << 17, 8, 17),
            (1 << 15, 8, 65),
            (1 << 10, 64, 256 + 1),
            (1 << 20, 8, 256),
        ] {
            assert!(matches!(ScryptParameters::from_key_file(n, r, p), Err(Error::BeyondLimit { .. })), "{n} {r} {p}");
        }
        assert_eq!(ScryptParameters::from_key_file(32_768, 8, 9).unwrap(), ScryptParameters { log_n: 15, r: 8, p: 9 });
        for (n, r, p) in [(1 << 17, 8, 1), (1 << 17, 8, 16), (1 << 15, 8, 64), (1 << 15, 8, 16)] {
            ScryptParameters::from_key_file(n, r, p).unwrap();
        }
    }

    /// Reliability S-42: the sentence says who asks for what, and what is allowed.
    #[test]
    fn a_hostile_key_is_told_in_a_sentence() {
        let sentence = ScryptParameters::from_key_file(1 << 20, 8, 1).unwrap_err().to_string();
        assert_eq!(
            sentence,
            "scrypt's memory in bytes, as a key object of the repository asks for it, is beyond its limit: 1073741824 > 134217728"
        );
    }

    /// RFC 7914's third vector shows that parameters reach the library in the right places.
    #[test]
    fn the_derivation_is_scrypt() {
        let key = derive_key(&SecretString::from("pleaseletmein"), b"SodiumChloride", ScryptParameters { log_n: 14, r: 8, p: 1 })
            .unwrap();
        assert_eq!(hex::encode(&key.encrypt[..8]), "7023bdcb3afd7348");
    }
}

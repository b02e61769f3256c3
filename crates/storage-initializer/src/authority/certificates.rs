//! Making keys and certificates.

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber,
};

/// Certificates are valid from a day before they are made, because clocks of nodes differ.
const CLOCK_TOLERANCE_DAYS: i64 = 1;

const JOB_PROOF_BYTES: usize = 32;

/// Why a certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The cryptographic library refused.
    #[error("certificate of {name}: {source}")]
    Make {
        /// Whose certificate.
        name: String,
        /// What is wrong.
        source: rcgen::Error,
    },
    /// A Secret does not hold what it should.
    #[error("Secret {secret} has no usable {key}: delete the Secret, it is made anew")]
    Unusable {
        /// Name of the Secret.
        secret: &'static str,
        /// Key of the data, or the annotation.
        key: &'static str,
    },
    /// The time is outside of what a certificate can hold.
    #[error("certificates cannot be made for this time: {0}")]
    Time(#[from] jiff::Error),
}

/// A certificate with its key, both PEM.
#[derive(Clone)]
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) not_after: Timestamp,
}

/// A new authority of this lifetime.
pub(super) fn make_authority(now: Timestamp, days: i64) -> Result<Issued, CertificateError> {
    let name = "Orlop certificate authority";
    let failed = |source| CertificateError::Make { name: name.to_owned(), source };
    let mut params = params(name, &[], now, days)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem(), not_after: day(now, days)? })
}

/// A server certificate for these names.
pub(super) fn make_server(
    authority_certificate: &str,
    authority_key: &str,
    names: &[String],
    now: Timestamp,
    days: i64,
) -> Result<Issued, CertificateError> {
    let name = names.first().cloned().unwrap_or_default();
    let failed = |source| CertificateError::Make { name: name.clone(), source };
    let issuer_key = KeyPair::from_pem(authority_key).map_err(failed)?;
    let issuer = Issuer::from_ca_cert_pem(authority_certificate, issuer_key).map_err(failed)?;
    let mut params = params(&name, names, now, days)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
    Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem(), not_after: day(now, days)? })
}

/// A key for the proofs of Jobs.
pub(super) fn random_key() -> Option<Vec<u8>> {
    random(JOB_PROOF_BYTES)
}

fn random(length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes)
}

fn params(name: &str, names: &[String], now: Timestamp, days: i64) -> Result<CertificateParams, CertificateError> {
    let failed = |source| CertificateError::Make { name: name.to_owned(), source };
    let mut params = CertificateParams::new(names.to_vec()).map_err(failed)?;
    let mut subject = DistinguishedName::new();
    // A common name ends at 64 characters; clients look at the alternative names only.
    subject.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    params.distinguished_name = subject;
    let (year, month, day_of_month) = calendar_day(day(now, -CLOCK_TOLERANCE_DAYS)?);
    params.not_before = rcgen::date_time_ymd(year, month, day_of_month);
    let (year, month, day_of_month) = calendar_day(day(now, days)?);
    params.not_after = rcgen::date_time_ymd(year, month, day_of_month);
    // Two certificates of one issuer never share a number, also when made in the same second.
    params.serial_number = random(16).map(|bytes| SerialNumber::from_slice(&bytes));
    Ok(params)
}

/// Midnight (UTC) of the day so many days from now.
fn day(now: Timestamp, days: i64) -> Result<Timestamp, jiff::Error> {
    let date = now.to_zoned(TimeZone::UTC).date().checked_add(days.days())?;
    Ok(date.to_zoned(TimeZone::UTC)?.timestamp())
}

fn calendar_day(at: Timestamp) -> (i32, u8, u8) {
    let date = at.to_zoned(TimeZone::UTC).date();
    (date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
}

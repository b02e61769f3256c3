//! How fast movers may go: annotations on the session, else on its configuration.
//!
//! A limit that cannot be understood is told and not applied: a backup that is faster than somebody wished is better than none.

use std::collections::BTreeMap;

use crd_types::annotations::{DOWNLOAD_LIMIT, UPLOAD_LIMIT};

use crate::decision::Reason;

/// The check, in reasons.
const STEP: &str = "bandwidth";
/// An annotation that is not applied; also the reason of the event.
pub const LIMIT_IGNORED: &str = "LimitIgnored";
/// Slower than this is a slip, most often a unit that was forgotten: a pack of 16 MiB would take five hours.
const SLOWEST: f64 = 1024.0;

/// Bytes per second of one mover, over all its requests; 0 is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// To the store.
    pub upload: u64,
    /// From the store.
    pub download: u64,
}

/// Somebody who may ask for limits.
#[derive(Debug, Clone)]
pub struct Asking<'a> {
    /// Kind, namespace and name, for sentences.
    pub object: String,
    /// Its annotations.
    pub annotations: Option<&'a BTreeMap<String, String>>,
}

/// The limits in force, and what is wrong with those that are not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BandwidthPlan {
    /// In force.
    pub bandwidth: Bandwidth,
    /// Annotations that are not applied, one sentence each.
    pub ignored: Vec<Reason>,
}

/// Decides on the limits. The first of `asking` whose word can be understood decides, for each direction.
#[must_use]
pub fn bandwidth(asking: &[Asking<'_>]) -> BandwidthPlan {
    let mut plan = BandwidthPlan::default();
    plan.bandwidth.upload = choose(asking, UPLOAD_LIMIT, &mut plan.ignored);
    plan.bandwidth.download = choose(asking, DOWNLOAD_LIMIT, &mut plan.ignored);
    plan
}

fn choose(asking: &[Asking<'_>], annotation: &str, ignored: &mut Vec<Reason>) -> u64 {
    for Asking { object, annotations } in asking {
        let Some(text) = annotations.and_then(|annotations| annotations.get(annotation)) else { continue };
        match parse(text) {
            Ok(limit) => return limit,
            Err(problem) => {
                let shown: String = text.chars().take(40).collect();
                let message = format!(
                    "annotation {annotation} of {object} is {shown:?}: {problem}; it is not applied, write bytes per second as a \
                     quantity such as 10Mi, or 0 for no limit"
                );
                ignored.push(Reason::new(STEP, LIMIT_IGNORED, message));
            }
        }
    }
    0
}

/// Bytes per second from a Kubernetes quantity; 0 is no limit.
fn parse(text: &str) -> Result<u64, &'static str> {
    let amount = quantity(text.trim()).ok_or("that is no Kubernetes quantity")?;
    if amount < 0.0 {
        return Err("a speed below zero");
    }
    if amount > 0.0 && amount < SLOWEST {
        return Err("less than 1Ki per second, so its unit was probably forgotten");
    }
    // Beyond the range of the type there is no limit in practice; the conversion saturates.
    Ok(amount as u64)
}

fn quantity(text: &str) -> Option<f64> {
    let is_number = |character: char| matches!(character, '0'..='9' | '.' | '-' | '+');
    let (number, suffix) = text.split_at(text.find(|character| !is_number(character)).unwrap_or(text.len()));
    let number: f64 = number.parse().ok()?;
    let scale = match suffix {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0_f64.powi(2),
        "Gi" => 1024.0_f64.powi(3),
        "Ti" => 1024.0_f64.powi(4),
        exponent => 10.0_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    Some(number * scale).filter(|amount| amount.is_finite())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    fn plan(session: &[(&str, &str)], configuration: &[(&str, &str)]) -> BandwidthPlan {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let (session, configuration) = (map(session), map(configuration));
        bandwidth(&[
            Asking { object: "BackupSession demo/web-1".to_owned(), annotations: Some(&session) },
            Asking { object: "BackupConfiguration demo/web".to_owned(), annotations: Some(&configuration) },
        ])
    }

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        for (text, bytes) in [
            ("10Mi", 10 << 20),
            ("1Ki", 1024),
            ("1.5M", 1_500_000),
            ("500k", 500_000),
            ("2G", 2_000_000_000),
            ("1e6", 1_000_000),
            ("3E4", 30_000),
            ("2048", 2048),
            ("2048000m", 2048),
            (" 0 ", 0),
            ("0Mi", 0),
            ("999999Ti", 999_999 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "10MB", "10 Mi", "Mi", "ten", "-1Mi", "1000", "0.5", "1e999999", "1e", "NaN", "inf", "10Mi/s", "1..5M"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_session_comes_before_its_configuration() {
        let none = plan(&[], &[]);
        assert_eq!(none, BandwidthPlan::default());
        let both = plan(&[(UPLOAD_LIMIT, "2Mi")], &[(UPLOAD_LIMIT, "1Mi"), (DOWNLOAD_LIMIT, "3Mi")]);
        assert_eq!(both.bandwidth, Bandwidth { upload: 2 << 20, download: 3 << 20 });
        let lifted = plan(&[(UPLOAD_LIMIT, "0")], &[(UPLOAD_LIMIT, "1Mi")]);
        assert_eq!(lifted, BandwidthPlan::default());
    }

    /// What cannot be understood is told, names its object, and fails nothing.
    #[test]
    fn a_wrong_limit_is_told_and_the_next_word_counts() {
        let wrong = plan(&[(UPLOAD_LIMIT, "10 MB"), (DOWNLOAD_LIMIT, "5")], &[(UPLOAD_LIMIT, "1Mi")]);
        assert_eq!(wrong.bandwidth, Bandwidth { upload: 1 << 20, download: 0 });
        let [upload, download] = wrong.ignored.as_slice() else { panic!("{:?}", wrong.ignored) };
        assert_eq!(upload.reason, LIMIT_IGNORED);
        assert_eq!(
            upload.message,
            "annotation orlop.dev/upload-limit of BackupSession demo/web-1 is \"10 MB\": that is no Kubernetes quantity; it is not \
             applied, write bytes per second as a quantity such as 10Mi, or 0 for no limit"
        );
        assert!(download.message.contains("unit was probably forgotten"), "{download}");
    }
}

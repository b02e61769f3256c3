//! Proof that a Job was made by Orlop.
//!
//! Anybody who may create Jobs in a namespace can write any labels and owner references on them. A mover is trusted
//! only if its Job bears a message authentication code over what the labels claim, made with a key that only Orlop's
//! services can read (architecture §5: "created by us").

use aws_lc_rs::hmac;

/// What a Job claims to be. Label values are taken as they stand on the Job.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JobClaims<'a> {
    /// Namespace of the Job.
    pub namespace: &'a str,
    /// Name of the Job.
    pub job: &'a str,
    /// `BackupSession` or `RestoreSession`.
    pub session_kind: &'a str,
    /// UID of that session.
    pub session_uid: &'a str,
    /// Value of the component label.
    pub component: &'a str,
    /// Value of the attempt label.
    pub attempt: &'a str,
    /// `backup`, `restore` or `retention`.
    pub work: &'a str,
}

impl JobClaims<'_> {
    /// No field can hold a line feed (Kubernetes allows none in names and label values), so the text is unambiguous.
    fn message(&self) -> String {
        let Self { namespace, job, session_kind, session_uid, component, attempt, work } = self;
        [*namespace, job, session_kind, session_uid, component, attempt, work].join("\n")
    }
}

/// The key of the proofs: the content of Secret `orlop-job-proof`.
#[derive(Clone, Debug)]
pub struct ProofKey {
    key: hmac::Key,
}

impl ProofKey {
    /// The key that these bytes are.
    pub fn new(bytes: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, bytes) }
    }

    /// The proof of a Job, for its annotation: 64 hexadecimal digits.
    pub fn sign(&self, claims: &JobClaims<'_>) -> String {
        hex::encode(hmac::sign(&self.key, claims.message().as_bytes()))
    }

    /// Whether the proof is one of ours for exactly these claims. Takes the same time for every wrong proof.
    pub fn verify(&self, claims: &JobClaims<'_>, proof: &str) -> bool {
        hex::decode(proof).is_ok_and(|tag| hmac::verify(&self.key, claims.message().as_bytes(), &tag).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIMS: JobClaims<'_> = JobClaims {
        namespace: "demo",
        job: "demo-web-nightly-1760000000",
        session_kind: "BackupSession",
        session_uid: "0b6f",
        component: "dump",
        attempt: "1",
        work: "backup",
    };

    /// I12: a forged owner chain is refused; no claim can be changed under an old proof.
    #[test]
    fn a_proof_holds_for_its_own_claims_only() {
        let key = ProofKey::new(&[7; 32]);
        let proof = key.sign(&CLAIMS);
        assert_eq!(proof.len(), 64);
        assert!(key.verify(&CLAIMS, &proof));
        for changed in [
            JobClaims { namespace: "other", ..CLAIMS.clone() },
            JobClaims { job: "other", ..CLAIMS.clone() },
            JobClaims { session_kind: "RestoreSession", ..CLAIMS.clone() },
            JobClaims { session_uid: "other", ..CLAIMS.clone() },
            JobClaims { component: "other", ..CLAIMS.clone() },
            JobClaims { attempt: "2", ..CLAIMS.clone() },
            JobClaims { work: "retention", ..CLAIMS.clone() },
        ] {
            assert!(!key.verify(&changed, &proof), "{changed:?}");
        }
        assert!(!ProofKey::new(&[8; 32]).verify(&CLAIMS, &proof), "another key");
        for forged in ["", "00", "zz", &proof[..62]] {
            assert!(!key.verify(&CLAIMS, forged), "{forged}");
        }
    }

    /// The message is fixed: services of different versions must agree.
    #[test]
    fn the_signed_text_is_stable() {
        assert_eq!(CLAIMS.message(), "demo\ndemo-web-nightly-1760000000\nBackupSession\n0b6f\ndump\n1\nbackup");
    }
}

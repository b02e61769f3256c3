//! Key objects: find the one that a password opens, add, list and remove.

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{InitOptions, Repository};
use crate::control::{Control, Event};
use crate::crypto::{Cipher, MasterKey, ScryptParameters, derive_key};
use crate::error::{Error, Result};
use crate::format::{Id, KeyFile, MasterKeyFile};
use crate::limits::MAX_KEYS;
use crate::objects::{FileType, Objects};

const SALT: usize = 64;

/// What a key object says about itself.
#[derive(Debug, Clone)]
pub struct KeyInfo {
    /// The key's id.
    pub id: Id,
    /// Whether the repository was opened with it.
    pub current: bool,
    /// When it was made.
    pub created: String,
    /// Who made it.
    pub username: String,
    /// Where it was made.
    pub hostname: String,
}

impl Repository {
    /// Adds a key for another password and reads it back.
    ///
    /// # Errors
    /// Of the store; [`Error::Damaged`] if the key does not open afterwards.
    pub async fn add_key(&self, password: &SecretString, options: &InitOptions, control: &Control) -> Result<Id> {
        let id = control.finish(write_key(self.objects(), &self.inner.key.0, password, options)).await?;
        let file = read_key(self.objects(), &id, control).await?;
        let opened = open_key(file, password.clone()).await?;
        if opened.is_none_or(|key| key.encrypt != self.inner.key.0.encrypt) {
            return Err(Error::damaged(FileType::Key.key(&id), "the key just written does not open"));
        }
        Ok(id)
    }

    /// The keys; damaged ones are left out.
    ///
    /// # Errors
    /// Of the store.
    pub async fn list_keys(&self, control: &Control) -> Result<Vec<KeyInfo>> {
        let mut keys = Vec::new();
        for listed in self.objects().list(FileType::Key, control).await? {
            match read_key(self.objects(), &listed.id, control).await {
                Ok(file) => keys.push(KeyInfo {
                    id: listed.id,
                    current: listed.id == self.inner.key_id,
                    created: file.created,
                    username: file.username,
                    hostname: file.hostname,
                }),
                Err(Error::Damaged { .. } | Error::BeyondLimit { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(keys)
    }

    /// Removes a key other than the one in use.
    ///
    /// # Errors
    /// [`Error::Internal`] for the key in use, else of the store.
    pub async fn remove_key(&self, id: &Id) -> Result<()> {
        if *id == self.inner.key_id {
            return Err(Error::internal("the key that the repository was opened with cannot be removed"));
        }
        self.objects().delete(FileType::Key, id).await
    }
}

/// Seals the master key for a password and writes the key object.
pub(super) async fn write_key(objects: &Objects, key: &MasterKey, password: &SecretString, options: &InitOptions) -> Result<Id> {
    let (key, password, options) = (key.clone(), password.clone(), options.clone());
    let file = blocking(move || make_key_file(&key, &password, &options)).await?;
    let bytes = serde_json::to_vec(&file).map_err(Error::internal)?;
    let id = Id::of(&bytes);
    objects.put(FileType::Key, &id, bytes.into()).await?;
    Ok(id)
}

fn make_key_file(key: &MasterKey, password: &SecretString, options: &InitOptions) -> Result<KeyFile> {
    let parameters = options.scrypt.parameters()?;
    let mut salt = vec![0; SALT];
    if !rehearsed!(&mut salt, b"salt") {
        crate::crypto::random_bytes(&mut salt)?;
    }
    let derived = derive_key(password, &salt, parameters)?;
    let plain = MasterKeyFile {
        mac: crate::format::MacKeyFile { k: key.mac_k.to_vec(), r: key.mac_r.to_vec() },
        encrypt: key.encrypt.to_vec(),
    };
    let plain = Zeroizing::new(serde_json::to_vec(&plain).map_err(Error::internal)?);
    Ok(KeyFile {
        created: the_time!().to_string(),
        username: options.username.clone(),
        hostname: options.hostname.clone(),
        kdf: "scrypt".into(),
        n: parameters.n(),
        r: parameters.r,
        p: parameters.p,
        salt,
        data: Cipher::new(&derived)?.seal(&plain)?,
    })
}

/// Tries the keys, at most [`MAX_KEYS`] of them: the password must open it, and it must open the config if there is one. A key
/// that does not is that of a rival who lost the race to initialise and was killed before it took its key back.
pub(super) async fn find_key(
    objects: &Objects,
    password: &SecretString,
    config: Option<&[u8]>,
    control: &Control,
) -> Result<(MasterKey, Id)> {
    let mut listed = objects.list(FileType::Key, control).await?;
    if listed.is_empty() {
        return Err(Error::damaged("keys", "the repository has a config but no key"));
    }
    listed.sort_by_key(|key| key.modified);
    let mut tried = 0;
    let (mut damage, mut rival) = (None, None);
    for candidate in listed.iter().take(MAX_KEYS) {
        control.check()?;
        let opened = match read_key(objects, &candidate.id, control).await {
            // scrypt cannot be stopped, but it need not be waited for.
            Ok(file) => control.run(open_key(file, password.clone())).await,
            Err(error) => Err(error),
        };
        match opened {
            Ok(Some(key)) if config.is_none_or(|sealed| is_sealed_with(&key, sealed)) => return Ok((key, candidate.id)),
            Ok(Some(key)) => rival = rival.or(Some((key, candidate.id))),
            Ok(None) => tried += 1,
            // One damaged or hostile key must not keep the others from opening the repository.
            Err(error @ (Error::Damaged { .. } | Error::BeyondLimit { .. })) => {
                control.emit(Event::Damaged { key: FileType::Key.key(&candidate.id), reason: error.to_string() });
                damage = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    // It opens nothing, which is then said of the config.
    if let Some(found) = rival {
        return Ok(found);
    }
    match damage {
        Some(error) if tried == 0 => Err(error),
        _ => Err(Error::WrongPassword { keys: tried }),
    }
}

fn is_sealed_with(key: &MasterKey, sealed: &[u8]) -> bool {
    Cipher::new(key).is_ok_and(|cipher| cipher.open_into(sealed, &mut Vec::new()).is_ok())
}

async fn read_key(objects: &Objects, id: &Id, control: &Control) -> Result<KeyFile> {
    let bytes = objects.get(FileType::Key, id, control).await?;
    let damaged = |reason: String| Error::damaged(FileType::Key.key(id), reason);
    if Id::of(&bytes) != *id {
        return Err(damaged("its content does not have the sum that its name says".into()));
    }
    let file: KeyFile = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if file.kdf != "scrypt" {
        return Err(damaged(format!("its derivation {:?} is unknown", file.kdf)));
    }
    Ok(file)
}

/// `None` if the password is not this key's.
async fn open_key(file: KeyFile, password: SecretString) -> Result<Option<MasterKey>> {
    let parameters = ScryptParameters::from_key_file(file.n, file.r, file.p)?;
    blocking(move || {
        let derived = derive_key(&password, &file.salt, parameters)?;
        let mut plain = Zeroizing::new(Vec::new());
        if Cipher::new(&derived)?.open_into(&file.data, &mut plain).is_err() {
            return Ok(None);
        }
        let damaged = || Error::damaged("keys", "a key opens, but holds no master key");
        let stored: MasterKeyFile = serde_json::from_slice(&plain).map_err(|_| damaged())?;
        let mut bytes = Zeroizing::new([0; 64]);
        if (stored.encrypt.len(), stored.mac.k.len(), stored.mac.r.len()) != (32, 16, 16) {
            return Err(damaged());
        }
        bytes[..32].copy_from_slice(&stored.encrypt);
        bytes[32..48].copy_from_slice(&stored.mac.k);
        bytes[48..].copy_from_slice(&stored.mac.r);
        Ok(Some(MasterKey::from_bytes(&bytes)))
    })
    .await
}

/// scrypt takes half a second of a core: not on a thread that drives I/O.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
}

//! Volumes for tests: what was asked for, and nothing on any disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{SubPath, Volume, Volumes};
use crate::{Error, Result};

/// The volumes. A clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Fake {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// By uid and name.
    volumes: BTreeMap<(String, String), Volume>,
    /// Names of volumes that cannot be set up, and why.
    faults: BTreeMap<String, String>,
}

impl Fake {
    /// A volume as it was last set up.
    pub fn volume(&self, uid: &str, name: &str) -> Option<Volume> {
        self.state().volumes.get(&(uid.to_owned(), name.to_owned())).cloned()
    }

    /// Volumes of this name cannot be set up, until this is `None`.
    pub fn fail(&self, name: &str, reason: Option<&str>) {
        let mut state = self.state();
        match reason {
            Some(reason) => state.faults.insert(name.to_owned(), reason.to_owned()),
            None => state.faults.remove(name),
        };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Volumes for Fake {
    fn place(&self, volume: &Volume, part: Option<&SubPath>) -> PathBuf {
        let place = PathBuf::from(format!("/volumes/{}/{}", volume.uid, volume.name));
        part.map_or(place.clone(), |part| place.join(&part.path))
    }

    async fn set_up(&self, volume: &Volume) -> Result<bool> {
        let mut state = self.state();
        if let Some(reason) = state.faults.get(&volume.name) {
            return Err(Error::Failed { tried: format!("set up volume {}", volume.name), reason: reason.clone() });
        }
        let before = state.volumes.insert((volume.uid.clone(), volume.name.clone()), volume.clone());
        Ok(before.as_ref() != Some(volume))
    }

    async fn set_up_part(&self, _: &Volume, _: &SubPath) -> Result<()> {
        Ok(())
    }

    async fn remove(&self, uid: &str) -> Result<()> {
        self.state().volumes.retain(|(of, _), _| of != uid);
        Ok(())
    }

    async fn pods(&self) -> Result<Vec<String>> {
        let mut all: Vec<String> = self.state().volumes.keys().map(|(uid, _)| uid.clone()).collect();
        all.dedup();
        Ok(all)
    }
}

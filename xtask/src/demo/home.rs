//! Where the demo keeps what, and the programs it runs.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A file that says that the directory is the demo's and may be deleted. It holds the version that was brought up last.
const MARK: &str = "demo-version";

/// The directory of the demo.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
}

impl Home {
    /// Makes the directory, for its owner alone, unless it is there. Errors: somebody else's files are in it.
    pub fn make() -> Result<Self> {
        let dir = asked_for()?;
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let home = Self { dir: dir.canonicalize()? };
        if !home.dir.join(MARK).exists() {
            if fs::read_dir(&home.dir)?.next().is_some() {
                bail!("{} is not empty and not of a demo: name another directory in CONDUCTOR_DEMO_DIR", home.dir.display());
            }
            home.set_version(0)?;
        }
        Ok(home)
    }

    /// The directory of an earlier demo, if there is one.
    pub fn find() -> Result<Option<Self>> {
        let dir = asked_for()?;
        if !dir.join(MARK).exists() {
            return Ok(None);
        }
        Ok(Some(Self { dir: dir.canonicalize()? }))
    }

    /// Without symbolic links.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join("serve.log")
    }

    pub fn pid(&self) -> PathBuf {
        self.dir.join("serve.pid")
    }

    pub fn ready(&self) -> PathBuf {
        self.dir.join("ready.json")
    }

    pub fn manifest(&self) -> PathBuf {
        self.dir.join("hello.yaml")
    }

    /// The version of the Service that was brought up last; 0 before the first.
    pub fn version(&self) -> u32 {
        fs::read_to_string(self.dir.join(MARK)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    pub fn set_version(&self, version: u32) -> Result<()> {
        let mark = self.dir.join(MARK);
        fs::write(&mark, version.to_string()).with_context(|| format!("cannot write {}", mark.display()))
    }

    /// Deletes the directory.
    pub fn remove(&self) -> Result<()> {
        fs::remove_dir_all(&self.dir).with_context(|| format!("cannot delete {}", self.dir.display()))
    }
}

/// `$CONDUCTOR_DEMO_DIR`, or else `conductor-demo` where this user's programs keep their state.
fn asked_for() -> Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(dir) = std::env::var_os("CONDUCTOR_DEMO_DIR") {
        return std::path::absolute(dir).context("CONDUCTOR_DEMO_DIR is empty: name a directory in it");
    }
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let state = state.context("neither HOME nor XDG_STATE_HOME says where to keep state: name a directory in CONDUCTOR_DEMO_DIR")?;
    Ok(state.join("conductor-demo"))
}

/// The manifest that the demo's is made from.
pub fn example() -> PathBuf {
    crate::root().join("examples/hello/service.yaml")
}

/// The programs of the demo, built for release.
#[derive(Debug)]
pub struct Programs {
    pub conductor: PathBuf,
    pub hello: PathBuf,
}

impl Programs {
    /// Finds them beside this program. Errors: they are not built.
    pub fn find() -> Result<Self> {
        let own = std::env::current_exe().context("cannot find this program's own file")?;
        let target = own.parent().and_then(Path::parent).context("this program is in no target directory")?;
        let program = |name: &str| {
            let path = target.join("release").join(name);
            if path.is_file() { Ok(path) } else { bail!("{} is not built: run `make demo`", path.display()) }
        };
        Ok(Self { conductor: program("conductor")?, hello: program("hello")? })
    }
}

//! The example program as an image of its own, where a container engine answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bollard::Docker;
use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptionsBuilder};
use futures::StreamExt as _;
use tokio::process::Command;
use tokio::time::timeout;

const ADDRESS: &str = "unix:///var/run/docker.sock";
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Makes the image `name` of the program `hello`, with the libraries that it needs and nothing else in it. Errors: no engine
/// answers, its libraries are not told, the engine takes no image.
pub async fn make(engine: &Docker, hello: &Path, name: &str) -> Result<()> {
    let libraries = libraries(hello).await?;
    let mut archive = tar::Builder::new(Vec::new());
    archive.sparse(false);
    archive.append_path_with_name(hello, "hello")?;
    for library in &libraries {
        let file = library.canonicalize().with_context(|| format!("{} is not there", library.display()))?;
        archive.append_path_with_name(file, library.strip_prefix("/").unwrap_or(library))?;
    }
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(name)
        .changes(["ENTRYPOINT [\"/hello\"]", "ENV ADDRESS=0.0.0.0"].map(str::to_owned).to_vec())
        .build();
    let mut steps = engine.create_image(Some(options), Some(bollard::body_full(archive.into_inner()?.into())), None);
    while let Some(step) = steps.next().await {
        step.context("the engine took no image")?;
    }
    Ok(())
}

/// Takes away an image, if it is there.
pub async fn remove(engine: &Docker, name: &str) {
    let force = RemoveImageOptionsBuilder::default().force(true).build();
    let _ = engine.remove_image(name, Some(force), None).await;
}

/// The engine that `conductor serve` would use. Errors: none answers.
pub async fn engine() -> Result<Docker> {
    let address = std::env::var("DOCKER_HOST").unwrap_or_else(|_| ADDRESS.into());
    let nobody = || format!("no container engine answers at {address}");
    let client = Docker::connect_with_unix(&address, ANSWER_MAX.as_secs(), bollard::API_DEFAULT_VERSION).with_context(nobody)?;
    match timeout(ANSWER_MAX, client.negotiate_version()).await {
        Ok(client) => Ok(client.with_context(nobody)?.with_timeout(Duration::from_secs(60))),
        Err(_) => bail!(nobody()),
    }
}

/// The libraries that a program needs, as this machine has them; none for a program that stands alone.
async fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let told = Command::new("ldd").arg(program).output().await.context("cannot run ldd, which says what libraries a program needs")?;
    let text = String::from_utf8_lossy(&told.stdout);
    // `libc.so.6 => /lib/…/libc.so.6 (0x…)`, or the loader alone: `/lib64/ld-linux-x86-64.so.2 (0x…)`.
    let paths = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from));
    Ok(paths.collect())
}

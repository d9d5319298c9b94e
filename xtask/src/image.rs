//! The example program as an image of its own, where a container engine answers.

use std::env::consts::ARCH;
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

/// Makes the image `name` of the program `hello`, with nothing else in it. Errors: no engine answers, the program cannot be
/// built without libraries, the engine takes no image.
pub async fn make(engine: &Docker, hello: &Path, name: &str) -> Result<()> {
    let program = static_program(hello).await.context("the program cannot be built to stand alone")?;
    let mut archive = tar::Builder::new(Vec::new());
    archive.sparse(false);
    archive.append_path_with_name(&program, "hello")?;
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

/// Builds the program without libraries, as the one beside which it is put was built: for release, or not.
async fn static_program(hello: &Path) -> Result<PathBuf> {
    let target = format!("{ARCH}-unknown-linux-gnu");
    let beside = hello.parent().context("the program is in no directory")?;
    let dir = beside.parent().context("the program is in no target directory")?.join("static");
    let kind = if beside.ends_with("release") { "release" } else { "debug" };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(crate::root()).args(["build", "--locked", "--quiet", "-p", "hello", "--target", &target]);
    command.args((kind == "release").then_some("--release"));
    command.arg("--target-dir").arg(&dir).env("RUSTFLAGS", "-C target-feature=+crt-static");
    let status = command.status().await.context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo failed ({status})");
    }
    Ok(dir.join(target).join(kind).join("hello"))
}

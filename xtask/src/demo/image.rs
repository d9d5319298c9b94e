//! The demo's program as an image of its own, where a container engine answers.

use std::collections::HashMap;
use std::env::consts::ARCH;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bollard::Docker;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder,
};
use futures::StreamExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::home::{Home, Programs};

const NAME: &str = "localhost/conductor-demo-hello";
const TAG: &str = "demo";
const ADDRESS: &str = "unix:///var/run/docker.sock";
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// What the copies are made from.
#[derive(Debug)]
pub enum Origin {
    /// This image.
    Image(String),
    /// This program of the machine.
    Program(PathBuf),
}

/// Makes the image. Where there is no engine, or no image can be made, says so, and leaves it at the program.
pub async fn make(programs: &Programs) -> Origin {
    match image(programs).await {
        Ok(image) => {
            println!("the copies are containers, of an image with nothing in it but the program: {image}\n");
            Origin::Image(image)
        }
        Err(error) => {
            println!("the copies are processes of this machine, for {error:#}\n");
            Origin::Program(programs.hello.clone())
        }
    }
}

async fn image(programs: &Programs) -> Result<String> {
    let engine = engine().await?;
    let program = static_program(programs).await.context("the program cannot be built to stand alone")?;
    let mut archive = tar::Builder::new(Vec::new());
    archive.sparse(false);
    archive.append_path_with_name(&program, "hello")?;
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(NAME)
        .tag(TAG)
        .changes(["ENTRYPOINT [\"/hello\"]", "ENV ADDRESS=0.0.0.0"].map(str::to_owned).to_vec())
        .build();
    let mut steps = engine.create_image(Some(options), Some(bollard::body_full(archive.into_inner()?.into())), None);
    while let Some(step) = steps.next().await {
        step.context("the engine took no image")?;
    }
    Ok(format!("{NAME}:{TAG}"))
}

/// The engine that `conductor serve` would use.
async fn engine() -> Result<Docker> {
    let address = std::env::var("DOCKER_HOST").unwrap_or_else(|_| ADDRESS.into());
    let nobody = || format!("no container engine answers at {address}");
    let client = Docker::connect_with_unix(&address, ANSWER_MAX.as_secs(), bollard::API_DEFAULT_VERSION).with_context(nobody)?;
    match timeout(ANSWER_MAX, client.negotiate_version()).await {
        Ok(client) => Ok(client.with_context(nobody)?.with_timeout(Duration::from_secs(60))),
        Err(_) => bail!(nobody()),
    }
}

/// Builds the program without libraries, beside the one that uses this machine's.
async fn static_program(programs: &Programs) -> Result<PathBuf> {
    let target = format!("{ARCH}-unknown-linux-gnu");
    let dir = programs.hello.parent().and_then(Path::parent).context("the program is in no target directory")?.join("static");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(crate::root()).args(["build", "--release", "--locked", "--quiet", "-p", "hello", "--target", &target]);
    command.arg("--target-dir").arg(&dir).env("RUSTFLAGS", "-C target-feature=+crt-static");
    let status = command.status().await.context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo failed ({status})");
    }
    Ok(dir.join(target).join("release/hello"))
}

/// Takes away the image, and containers of the demo's server that are still there; how many those were.
pub async fn remove(home: &Home) -> Result<usize> {
    let Ok(server) = std::fs::read_to_string(home.dir().join("docker/server-id")) else { return Ok(0) };
    let Ok(engine) = engine().await else { return Ok(0) };
    let filters = HashMap::from([("label", vec![format!("dev.conductor.server={server}")])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let left: Vec<String> = engine.list_containers(Some(options)).await?.into_iter().filter_map(|found| found.id).collect();
    for id in &left {
        engine.remove_container(id, Some(RemoveContainerOptionsBuilder::default().force(true).build())).await?;
    }
    // It may never have been made.
    let force = RemoveImageOptionsBuilder::default().force(true).build();
    let _ = engine.remove_image(&format!("{NAME}:{TAG}"), Some(force), None).await;
    Ok(left.len())
}

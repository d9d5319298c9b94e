//! What the copies of the demo are made from: an image, where a container engine answers, or else a program of this machine.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::Result;
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};

use super::home::{Home, Programs};
use crate::image;

const IMAGE: &str = "localhost/conductor-demo-hello:demo";

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
    match make_image(programs).await {
        Ok(()) => {
            println!("the copies are containers, of an image with nothing in it but the program: {IMAGE}\n");
            Origin::Image(IMAGE.to_owned())
        }
        Err(error) => {
            println!("the copies are processes of this machine, for {error:#}\n");
            Origin::Program(programs.hello.clone())
        }
    }
}

async fn make_image(programs: &Programs) -> Result<()> {
    image::make(&image::engine().await?, &programs.hello, IMAGE).await
}

/// Takes away the image, and containers of the demo's server that are still there; how many those were.
pub async fn remove(home: &Home) -> Result<usize> {
    let Ok(server) = std::fs::read_to_string(home.dir().join("docker/server-id")) else { return Ok(0) };
    let Ok(engine) = image::engine().await else { return Ok(0) };
    let filters = HashMap::from([("label", vec![format!("dev.conductor.server={server}")])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let left: Vec<String> = engine.list_containers(Some(options)).await?.into_iter().filter_map(|found| found.id).collect();
    for id in &left {
        engine.remove_container(id, Some(RemoveContainerOptionsBuilder::default().force(true).build())).await?;
    }
    image::remove(&engine, IMAGE).await;
    Ok(left.len())
}

//! How much longer a pod takes to be made and started by us than a container by the engine itself: `docker_overhead <image>`.
//!
//! The image must be in the engine and have `/bin/sh`. Both ways take turns; the medians are told.

use std::error::Error;
use std::time::{Duration, Instant};

use bollard::models::{ContainerCreateBody, HostConfig, PortBinding};
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions};
use runtime::docker::{ADDRESS, Docker};
use runtime::{Container, Pod, Port, Runtime};

const TURNS: usize = 20;
const PORT: u16 = 19_999;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let image = std::env::args().nth(1).ok_or("name an image of the engine that has /bin/sh")?;
    let address = std::env::var("DOCKER_HOST").unwrap_or_else(|_| ADDRESS.into());
    let engine = bollard::Docker::connect_with_unix(&address, 60, bollard::API_DEFAULT_VERSION)?.negotiate_version().await?;
    let dir = std::env::temp_dir().join(format!("docker-overhead-{}", std::process::id()));
    let ours = Docker::open(&dir, &address).await?;
    let (mut of_engine, mut of_us) = (Vec::new(), Vec::new());
    // The first of each warms up and is not counted.
    for turn in 0..=TURNS {
        let (by_engine, by_us) = (engine_turn(&engine, &image, turn).await?, our_turn(&ours, &image, turn).await?);
        if turn > 0 {
            of_engine.push(by_engine);
            of_us.push(by_us);
        }
    }
    drop(ours);
    std::fs::remove_dir_all(&dir)?;
    let (theirs, ours) = (median(of_engine), median(of_us));
    println!("engine {theirs:.1} ms, conductor {ours:.1} ms, added {:.1} ms (medians of {TURNS}, taking turns)", ours - theirs);
    Ok(())
}

fn script() -> Vec<String> {
    ["/bin/sh", "-c", "exec sleep 1000"].map(str::to_owned).to_vec()
}

async fn engine_turn(engine: &bollard::Docker, image: &str, turn: usize) -> Result<Duration, Box<dyn Error>> {
    let binding = PortBinding { host_ip: Some("127.0.0.1".into()), host_port: Some(PORT.to_string()) };
    let bindings = [("8080/tcp".to_owned(), Some(vec![binding]))].into();
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(script()),
        exposed_ports: Some(vec!["8080/tcp".into()]),
        host_config: Some(HostConfig { port_bindings: Some(bindings), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    };
    let name = format!("docker-overhead-{}-{turn}", std::process::id());
    let begun = Instant::now();
    let id = engine.create_container(Some(CreateContainerOptionsBuilder::default().name(&name).build()), body).await?.id;
    engine.start_container(&id, None::<StartContainerOptions>).await?;
    let took = begun.elapsed();
    engine.remove_container(&id, Some(RemoveContainerOptionsBuilder::default().force(true).build())).await?;
    Ok(took)
}

async fn our_turn(ours: &Docker, image: &str, turn: usize) -> Result<Duration, Box<dyn Error>> {
    let ports = vec![Port { name: "http".into(), container_port: 8080, host_port: None }];
    let web = Container { name: "web".into(), image: image.into(), command: script(), ports, ..Container::default() };
    let uid = format!("overhead-{}-{turn}", std::process::id());
    let pod = Pod {
        uid: uid.clone(),
        namespace: "default".into(),
        name: format!("overhead-{turn}"),
        containers: vec![web],
        runs_as: runtime::RunsAs::Server,
    };
    let begun = Instant::now();
    ours.create(&pod).await?;
    ours.start(&uid, "web", &[]).await?;
    let took = begun.elapsed();
    ours.remove(&uid).await?;
    Ok(took)
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

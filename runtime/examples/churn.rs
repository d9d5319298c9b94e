//! Makes, starts and removes pods without end, for a test that kills it: `churn <directory> <shim program>`.

use runtime::process::Process;
use runtime::{Container, Error, Pod, Port, Runtime};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let (dir, shim) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let runtime = Process::open(dir, vec![shim]).await?;
    for number in 0.. {
        let pod = pod(number);
        runtime.create(&pod).await?;
        runtime.start(&pod.uid, "web", &[]).await?;
        println!("{}", pod.uid);
        if number >= 2 {
            runtime.remove(&format!("churn-{}", number - 2)).await?;
        }
    }
    Ok(())
}

fn pod(number: u32) -> Pod {
    let command = ["sh", "-c", "sleep 1000 & exec sleep 1000"].map(str::to_owned).to_vec();
    let ports = vec![Port { name: "http".to_owned(), container_port: 80, host_port: None }];
    let container = Container { name: "web".to_owned(), command, ports, ..Container::default() };
    let name = format!("churn-{number}");
    Pod { uid: name.clone(), namespace: "default".to_owned(), name, containers: vec![container], runs_as: runtime::RunsAs::Server }
}

//! The router alone, for measuring: `serve [--workers N] LISTEN BACKEND...` sends every request to the backends.

use std::net::SocketAddr;

use router::builtin::{Builtin, Options};
use router::{Route, Router, Table};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).peekable();
    let mut options = Options::default();
    if arguments.next_if(|argument| argument == "--workers").is_some() {
        options.workers = arguments.next().ok_or("--workers needs a number")?.parse()?;
    }
    let listen = arguments.next().ok_or("usage: serve [--workers N] LISTEN BACKEND...")?;
    let endpoints: Vec<SocketAddr> = arguments.map(|backend| backend.parse()).collect::<Result<_, _>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        let router = Builtin::start(listener, options)?;
        let route = Route { service: "default/example".into(), host: String::new(), path: "/".into(), endpoints, ..Route::default() };
        router.apply(Table { routes: vec![route] }).await?;
        println!("serving on {}", router.address());
        tokio::signal::ctrl_c().await?;
        let counts = router.counts("default/example").await?;
        println!("{counts:?}");
        router.shutdown(std::time::Duration::from_secs(5)).await;
        Ok(())
    })
}

//! The control API over a store in memory, on plain HTTP: for trying clients against it.
//!
//! `cargo run -p api --example serve [PORT [open]]` prints its address. The token `admin` may do everything, `viewer-token`
//! nothing; `open` takes everybody for the administrator, since kubectl sends no token over plain HTTP.

use std::sync::Arc;

use api::{Access, Api, NodeConnector, User};
use axum::Router;
use jiff::Timestamp;

struct Wall;

impl model::Clock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

struct NoNodes;

impl NodeConnector for NoNodes {
    fn connect(&self, _: &str) -> Option<Router> {
        None
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let store = Arc::new(store::memory::Memory::new());
    let viewer = User::new("viewer", []);
    let access = Access::default().with_token("admin", User::master("admin")).with_token("viewer-token", viewer);
    let api = Api::new(store, Arc::new(Wall), access, Arc::new(NoNodes));
    api.prepare().await.map_err(std::io::Error::other)?;
    let port = std::env::args().nth(1).unwrap_or_else(|| "0".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}", listener.local_addr()?);
    let is_open = std::env::args().nth(2).is_some_and(|word| word == "open");
    let router = if is_open { api.router_for(User::master("admin")) } else { api.router() };
    axum::serve(listener, router).await
}

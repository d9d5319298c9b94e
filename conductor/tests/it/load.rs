//! Clients that keep their connections and count every answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Requests going on.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
    outcomes: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Load {
    /// Starts clients that ask for `host` as fast as they are answered.
    pub fn start(address: SocketAddr, host: &'static str, clients: usize) -> Self {
        let (stop, outcomes) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeMap::new())));
        let client = |_| tokio::spawn(ask_on(address, host, Arc::clone(&stop), Arc::clone(&outcomes)));
        Self { clients: (0..clients).map(client).collect(), stop, outcomes }
    }

    /// Stops, and says how many requests had which outcome.
    pub async fn stop(self) -> BTreeMap<String, usize> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        self.outcomes.lock().unwrap().clone()
    }
}

async fn ask_on(address: SocketAddr, host: &'static str, stop: Arc<AtomicBool>, outcomes: Arc<Mutex<BTreeMap<String, usize>>>) {
    let count = |outcome: String| *outcomes.lock().unwrap().entry(outcome).or_default() += 1;
    while !stop.load(Ordering::Relaxed) {
        let Ok(stream) = TcpStream::connect(address).await else {
            count("connect".into());
            continue;
        };
        stream.set_nodelay(true).unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        while !stop.load(Ordering::Relaxed) {
            let request = Request::get("/").header("host", host).body(Empty::<Bytes>::new()).unwrap();
            match sender.send_request(request).await {
                Ok(response) => {
                    let code = response.status();
                    match response.into_body().collect().await {
                        Ok(_) => count(code.as_u16().to_string()),
                        Err(error) => count(format!("body: {error}")),
                    }
                }
                Err(error) => {
                    count(format!("request: {error}"));
                    break;
                }
            }
        }
    }
}

/// One request; its code and body.
pub async fn get(address: SocketAddr, host: &str, path: &str) -> (u16, String) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(path).header("host", host).body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8_lossy(&body).into_owned())
}

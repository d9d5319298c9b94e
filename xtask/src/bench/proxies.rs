//! Our router and its peers, each a process on one core before the same backend.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::peers::{Peer, built, free_port, wait_for};

/// One that carries requests.
pub struct Proxy {
    /// What it is called.
    pub name: &'static str,
    /// Its process: all of them are one.
    pub peer: Peer,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Proxy {
    fn start(name: &'static str, package: &str, make: impl FnOnce(&Path, SocketAddr) -> Result<Command>) -> Result<Self> {
        let address = free_port()?;
        let peer = Peer::start(package, |dir| make(dir, address))?;
        wait_for(address)?;
        Ok(Self { name, peer, address })
    }

    /// Our own.
    pub fn ours(backend: SocketAddr) -> Result<Self> {
        let serve = built("examples/serve", "-p router --features builtin --example serve")?;
        Self::start("ours", "serve", |_, address| {
            let mut command = pinned("0", serve);
            command.arg(address.to_string()).arg(backend.to_string());
            Ok(command)
        })
    }

    /// HAProxy with one thread.
    pub fn haproxy(backend: SocketAddr) -> Result<Self> {
        Self::start("HAProxy", "haproxy", |dir, address| haproxy(dir, &haproxy_settings(address, &format!("  server one {backend}\n"))))
    }

    /// nginx as one process.
    pub fn nginx(backend: SocketAddr) -> Result<Self> {
        Self::start("nginx", "nginx-light", |dir, address| {
            let file = dir.join("nginx.conf");
            fs::write(&file, nginx_settings(dir, address, backend))?;
            let mut command = pinned("0", "nginx");
            command.arg("-p").arg(dir).args(["-e", "stderr", "-c"]).arg(file);
            Ok(command)
        })
    }

    /// Caddy with one thread for Go's code.
    pub fn caddy(backend: SocketAddr) -> Result<Self> {
        Self::start("Caddy", "caddy", |dir, address| {
            let file = dir.join("Caddyfile");
            let site = format!("http://{address} {{\n\tbind {}\n\treverse_proxy {backend} {{\n", address.ip());
            let kept = "\t\ttransport http {\n\t\t\tkeepalive_idle_conns_per_host 256\n\t\t}\n\t}\n}\n";
            fs::write(&file, format!("{{\n\tadmin off\n\tauto_https off\n}}\n{site}{kept}"))?;
            let mut command = pinned("0", "caddy");
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
            command.env("GOMAXPROCS", "1").env("HOME", dir).env("XDG_DATA_HOME", dir).env("XDG_CONFIG_HOME", dir);
            Ok(command)
        })
    }
}

/// A program that stays on one core.
pub fn pinned(core: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program);
    command
}

/// HAProxy on core 0, with settings in a directory.
pub fn haproxy(dir: &Path, settings: &str) -> Result<Command> {
    let file = dir.join("haproxy.cfg");
    fs::write(&file, settings)?;
    let mut command = pinned("0", "haproxy");
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}

/// HAProxy's settings with what says where requests go.
pub fn haproxy_settings(address: SocketAddr, servers: &str) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 4096\ndefaults\n  mode http\n  option http-keep-alive\n  http-reuse always\n  timeout client 60s\n  \
         timeout server 60s\n  timeout connect 1s\nlisten all\n  bind {address}\n  option forwardfor\n{servers}"
    )
}

fn nginx_settings(dir: &Path, address: SocketAddr, backend: SocketAddr) -> String {
    let scratch = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let scratch: String = scratch.iter().map(|what| format!("  {what}_temp_path {};\n", dir.join(what).display())).collect();
    format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\npid {pid};\nerror_log stderr error;\nevents {{ worker_connections 4096; }}\n\
         http {{\n  access_log off;\n{scratch}  keepalive_requests 1000000000;\n\
         \x20 upstream one {{ server {backend}; keepalive 256; keepalive_requests 1000000000; }}\n\
         \x20 server {{\n    listen {address};\n    location / {{\n      proxy_pass http://one;\n      proxy_http_version 1.1;\n\
         \x20     proxy_set_header Connection \"\";\n      proxy_set_header Host $host;\n\
         \x20     proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n    }}\n  }}\n}}\n",
        pid = dir.join("nginx.pid").display(),
    )
}

//! Where and with what was measured, for the page that keeps the table.

use std::process::Command;

use super::Arguments;

/// Peers, and how each says its version.
const PEERS: &[(&str, &[&str])] = &[
    ("HAProxy", &["haproxy", "-v"]),
    ("nginx", &["nginx", "-v"]),
    ("Caddy", &["caddy", "version"]),
    ("etcd", &["etcd", "--version"]),
    ("docker-compose", &["docker-compose", "version", "--short"]),
    ("container engine", &["docker", "version", "--format", "{{.Server.Version}}"]),
];

/// The page `docs/benchmarks.md`: a table with its date, the machine, and how to do it again.
pub fn page(arguments: &Arguments, table: &str) -> String {
    let versions = PEERS.iter().map(|(name, command)| format!("- {name}: {}\n", version(command)));
    let only = arguments.only.map(|only| format!(" --only {only:?}").to_lowercase()).unwrap_or_default();
    let repeat = format!("xtask bench --seconds {} --rounds {}{only}", arguments.seconds, arguments.rounds);
    format!(
        "# How fast it is\n\nWritten by `make bench`. Rounds of ours and of a peer alternate on the same machine in the same minutes, and medians are \
         compared: the\nratio says more than the numbers. A proxy has one core, its backend and the load the other one.\n\n\
         {table}\n## When and where\n\n- date: {date}\n- commit: {commit}\n- build: {build}\n- cores: {cores}\n- processor: {processor}\n\
         - kernel: {kernel}\n{versions}\n## Again\n\n```sh\napt-get install -y wrk haproxy nginx-light caddy etcd-server docker-compose\n\
         make bench BENCH=\"--markdown docs/benchmarks.md\"\n```\n\nThis one: `{repeat}`.\n",
        date = said(&["date", "-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_default(),
        commit = said(&["git", "rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".into()),
        build = build(),
        cores = std::thread::available_parallelism().map_or(0, usize::from),
        processor = processor().unwrap_or_else(|| "unknown".into()),
        kernel = said(&["uname", "-sr"]).unwrap_or_default(),
        versions = versions.collect::<String>(),
    )
}

/// How our programs were built: as this one was.
pub fn build() -> &'static str {
    if cfg!(debug_assertions) { "debug, which says nothing of speed" } else { "release" }
}

fn version(command: &[&str]) -> String {
    let text = said(command).unwrap_or_else(|| "not here".into());
    let number = text.split([' ', '/']).find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    number.map(str::to_owned).unwrap_or(text)
}

/// The first line that a program writes, wherever it writes it.
fn said(command: &[&str]) -> Option<String> {
    let (program, arguments) = command.split_first()?;
    let output = Command::new(program).args(arguments).current_dir(crate::root()).output().ok().filter(|output| output.status.success())?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Some(String::from_utf8_lossy(&text).lines().next()?.trim().to_owned())
}

fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

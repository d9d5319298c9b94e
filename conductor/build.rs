//! How our programs are linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Addresses are settled once, here, rather than by each process in memory of its own.
    println!("cargo:rustc-link-arg-bins=-no-pie");
}

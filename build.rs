//! Link arguments of the module, as the hosts that load it need them.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A thread-local destructor must never run in code that `dlclose` has unmapped.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // Our own symbols bind to ourselves, whatever another module in the process exports.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
}

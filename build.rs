//! Link arguments of the module, as the hosts that load it need them.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A thread-local destructor must never run in code that `dlclose` has unmapped.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // Names the build: a debugger finds the symbols that were taken out of what is shipped by it.
    println!("cargo:rustc-cdylib-link-arg=-Wl,--build-id=sha1");
    // Our own symbols bind to ourselves, whatever another module in the process exports.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
}

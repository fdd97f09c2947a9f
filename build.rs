//! Link arguments that the module needs for the hosts that load it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A thread-local destructor must never run after `dlclose` has unmapped its code.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // The build id, by which a debugger finds the symbols that were stripped from the release.
    println!("cargo:rustc-cdylib-link-arg=-Wl,--build-id=sha1");
    // Our own symbols must resolve to our own code, whatever another module in the process exports.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
}

//! Random number generation (PKCS#11 v3.2 section 5.19).

use cryptoki_sys::*;
use zeroize::Zeroizing;

use super::application::Application;
use super::request::Bytes;
use super::rv::{Answer, Rv};

impl Application {
    /// `C_GenerateRandom`: returns `len` bytes.
    pub(super) fn generate_random(&self, session: CK_SESSION_HANDLE, len: u64) -> Answer<Bytes> {
        self.with_session(session, |_| {
            forced_panic(len);
            let mut bytes = Zeroizing::new(vec![0; usize::try_from(len).map_err(|_| Rv(CKR_ARGUMENTS_BAD))?]);
            self.engine.random(&mut bytes)?;
            Ok(Bytes(bytes))
        })
    }
}

/// The test of the panic boundary needs a call that panics. With the feature, a call for 3,737 bytes does.
fn forced_panic(len: u64) {
    if cfg!(feature = "forced-panic") && len == 3_737 {
        panic!("forced by the feature forced-panic");
    }
}

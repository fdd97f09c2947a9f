//! The C interface: the function lists of PKCS#11 2.40, 3.0 and 3.2. Comments cite version 3.2.
//!
//! A call comes in at `entry` (catch, convert, call). Only `raw` looks at its pointers. The call becomes a
//! value (`request`) and goes to the `instance` of this process:
//!
//! ```text
//! entry → Request ─┬─ [backing]: dispatch → the file of its chapter, which is safe Rust over an `Application`
//!                  └─ [connect]: connected → remote … remote → host → dispatch → the file of its chapter
//! ```
//!
//! | file | chapter of PKCS#11 v3.2 section 5 |
//! |---|---|
//! | `instance` | 5.4 general-purpose functions |
//! | `slot_token` | 5.5 slot and token management |
//! | `session` | 5.6 session management |
//! | `object`, `session_object`, `attributes`, `template` | 5.7 object management |
//! | `sign` | 5.13 signing |
//! | `message_sign` | 5.14 message-based signing |
//! | `verify` | 5.15 verifying |
//! | `key_management`, `key_pair`, `wallet`, `digest_key` | 5.18 key management |
//! | `random` | 5.19 random number generation |

mod acts;
mod administration;
mod answer_memory;
mod application;
mod attributes;
mod codec;
mod connected;
mod consents;
mod desk;
mod digest_key;
mod dispatch;
mod entry;
mod host;
mod instance;
mod key_management;
mod key_pair;
mod message_sign;
mod object;
mod random;
mod ration;
mod raw;
mod reply;
mod request;
mod rv;
mod session;
mod session_object;
mod sign;
mod slot_token;
mod table;
mod template;
pub mod vendor;
mod verify;
mod wallet;

pub use instance::install;
pub use table::{C_GetFunctionList, C_GetInterface, C_GetInterfaceList, host};

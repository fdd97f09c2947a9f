//! Officers with their keys, as they sign on their own machines.

use countersign::admin::Act;
use countersign::engine::EngineError;
use countersign::kernel::officer::{Council, Emergency, Officers, Settings};
use minisign::KeyPair;

use super::Bench;

/// Officers, and one more who is none.
pub struct Signers {
    pairs: Vec<KeyPair>,
    officers: usize,
}

impl Signers {
    /// So many officers.
    pub fn new(officers: usize) -> Signers {
        let pair = |_| KeyPair::generate_unencrypted_keypair().expect("a key pair");
        Signers { pairs: (0..=officers).map(pair).collect(), officers }
    }

    /// The number of somebody who is no officer.
    pub fn stranger(&self) -> usize {
        self.officers
    }

    /// The base64 line of an officer's public key.
    pub fn line(&self, officer: usize) -> String {
        self.pairs[officer].pk.to_base64()
    }

    /// A council of the officers: so many must sign, an act then waits for so many hours, and for one hour if all have signed.
    pub fn council(&self, threshold: usize, delay_hours: u32) -> Council {
        let signatures = self.officers;
        let emergency =
            (signatures > threshold && delay_hours > 1).then_some(Emergency { signatures, delay_hours: 1 });
        self.council_of(0..self.officers, threshold, delay_hours, emergency, 100)
    }

    /// A council of some of them.
    pub fn council_of(
        &self,
        officers: impl IntoIterator<Item = usize>,
        threshold: usize,
        delay_hours: u32,
        emergency: Option<Emergency>,
        failures_per_hour: u32,
    ) -> Council {
        let lines: Vec<String> = officers.into_iter().map(|officer| self.line(officer)).collect();
        let officers = Officers::parse(&lines, threshold).expect("officers");
        Council::new(officers, delay_hours, emergency, Settings { failures_per_hour }).expect("a council")
    }

    /// The signature of an officer, in minisign's format.
    pub fn sign(&self, officer: usize, text: &str) -> String {
        let pair = &self.pairs[officer];
        let signed = minisign::sign(Some(&pair.pk), &pair.sk, text.as_bytes(), None, None);
        signed.expect("it signs").into_string()
    }
}

impl Bench {
    /// Sets the officers as the administrator.
    pub fn set_officers(&self, council: &Council) -> Result<(), EngineError> {
        self.perform(Act::SetOfficers(Box::new(council.clone()))).map(drop)
    }
}

//! Payments like those of a correct backend, with right codes and with wrong ones.

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::raw::{Attribute, Raw, Template, call, call_v3};
use harness::module::{approval, ulong};

use super::caller::{Caller, Phase};
use super::checks::Watched;
use super::world::{Code, digest_key_id};

/// Ways to attach a code, and what it signs.
const DOORS: u64 = 6;

/// What to sign, and the key.
struct Order {
    key: [Attribute; 2],
    mechanism: CK_MECHANISM_TYPE,
    text: Vec<u8>,
}

/// A call that was refused, and its answer.
type Refused = (&'static str, CK_RV);

impl Caller<'_> {
    /// Logs the user in and pays so many times, or fewer if there are not so many right codes now.
    pub(crate) fn pay_often(&mut self, times: u64) {
        let raw = &self.world.raw;
        self.own = raw.user();
        self.world.took_a_right_pin(CKU_USER);
        (0..times).take_while(|_| self.pay()).for_each(drop);
    }

    /// Pays like a correct backend. Returns whether there was a code to pay with.
    pub(crate) fn pay(&mut self) -> bool {
        let Some(code) = self.world.draw() else { return false };
        let mut order = self.order(&code);
        // A caller that lost the answer asks again, in any way. It is the same payment.
        for _ in 0..=self.random.below(8) / 7 {
            let door = self.random.below(DOORS);
            match self.sign(&code, &mut order, door) {
                Ok(()) => self.world.paid(code.payer),
                Err((name, rv)) if self.phase == Phase::Alone => self.fail(name, rv, "a right code was paid"),
                Err(_) => {}
            }
        }
        true
    }

    /// Tries to pay with a wrong code, and does everything else correctly.
    pub(crate) fn steal(&mut self) {
        let Some(code) = self.world.wrong(&mut self.random) else { return };
        let mut order = self.order(&code);
        let door = self.random.below(DOORS);
        // If a signature comes out, it counts like all others.
        if let Err((name, rv)) = self.sign(&code, &mut order, door)
            && rv != CKR_PIN_INCORRECT
            && self.phase == Phase::Alone
        {
            self.fail(name, rv, "a code that is not right now");
        }
    }

    /// A PSBT of the code's wallet, or a digest.
    fn order(&mut self, code: &Code) -> Order {
        let class = (CKA_CLASS, ulong(CKO_PRIVATE_KEY));
        if self.random.below(3) > 0 {
            let descriptor = self.world.wallets[code.wallet].descriptor.clone();
            let key = [class, (CKA_COUNTERSIGN_DESCRIPTOR, descriptor.into())];
            Order { key, mechanism: CKM_COUNTERSIGN_PSBT, text: self.world.psbt(code.wallet) }
        } else {
            let key = [class, (CKA_ID, digest_key_id(code.wallet).into())];
            Order { key, mechanism: CKM_COUNTERSIGN_DIGEST, text: self.world.digest().to_vec() }
        }
    }

    /// Signs in a session of its own.
    fn sign(&mut self, code: &Code, order: &mut Order, door: u64) -> Result<(), Refused> {
        let raw: Raw = self.world.raw;
        let session = raw.open(CKF_SERIAL_SESSION | CKF_RW_SESSION).map_err(|rv| ("C_OpenSession", rv))?;
        let signed = self.sign_in(session, code, order, door);
        let closed = ok("C_CloseSession", raw.close(session));
        signed.and(closed)
    }

    /// Signs in one of the ways, with a buffer as short as the module says, or longer.
    fn sign_in(
        &mut self,
        session: CK_SESSION_HANDLE,
        code: &Code,
        order: &mut Order,
        door: u64,
    ) -> Result<(), Refused> {
        let raw: Raw = self.world.raw;
        let found = find(&raw, session, &order.key)?;
        let &[key] = &found[..] else { return Err(("C_FindObjects", CKR_OK)) };
        let mut record = approval(&code.user, &code.code);
        match door {
            0 | 1 => ok("C_SignInit", raw.sign_init(session, order.mechanism, &record, key))?,
            2 | 3 => {
                let is_ecdsa = order.mechanism == CKM_COUNTERSIGN_DIGEST && self.random.below(2) == 0;
                let mechanism = if is_ecdsa { CKM_ECDSA } else { order.mechanism };
                ok("C_SignInit", raw.sign_init(session, mechanism, &[], key))?;
                self.bring(session, code, door)?;
            }
            _ => ok("C_MessageSignInit", raw.message_sign_init(session, order.mechanism, key))?,
        }
        let (text, len) = (order.text.as_mut_ptr(), order.text.len() as CK_ULONG);
        let (parameter, parameter_len) = (record.as_mut_ptr().cast(), record.len() as CK_ULONG);
        let null = core::ptr::null_mut();
        let mut bound = 0;
        let (name, rv) = match door {
            4 | 5 => (
                "C_SignMessage",
                call_v3!(raw, C_SignMessage(session, parameter, parameter_len, text, len, null, &mut bound)),
            ),
            _ => ("C_Sign", call!(raw, C_Sign(session, text, len, null, &mut bound))),
        };
        ok(name, rv)?;
        self.clear();
        let room = bound + self.random.below(2) * self.random.below(500);
        let buffer = self.memory.buffer(room as usize, true);
        let place = self.memory.value(room);
        self.watch(Watched::Answer { buffer: Some(buffer), len: Some(place), item: 1 });
        let (out, out_len) = (buffer.start, place.start.cast());
        let (name, rv) = match door {
            1 => {
                ok("C_SignUpdate", raw.sign_update(session, &order.text))?;
                ("C_SignFinal", call!(raw, C_SignFinal(session, out, out_len)))
            }
            4 => (
                "C_SignMessage",
                call_v3!(raw, C_SignMessage(session, parameter, parameter_len, text, len, out, out_len)),
            ),
            5 => {
                let begun = call_v3!(raw, C_SignMessageBegin(session, parameter, parameter_len));
                ok("C_SignMessageBegin", begun)?;
                (
                    "C_SignMessageNext",
                    call_v3!(raw, C_SignMessageNext(session, null.cast(), 0, text, len, out, out_len)),
                )
            }
            _ => ("C_Sign", call!(raw, C_Sign(session, text, len, out, out_len))),
        };
        self.check(name, rv);
        ok(name, rv)?;
        self.collect(name);
        if let Ok(digest) = <[u8; 32]>::try_from(&order.text[..]) {
            let signature = &buffer.now()[..place.read::<CK_ULONG>() as usize];
            self.signed_digest = Some((digest, signature.to_vec()));
        }
        self.last_session = session;
        if self.phase == Phase::Alone {
            self.check_end(name, rv);
        }
        Ok(())
    }

    /// Attaches a code to the operation by a login.
    fn bring(&self, session: CK_SESSION_HANDLE, code: &Code, door: u64) -> Result<(), Refused> {
        let raw = &self.world.raw;
        if door == 2 {
            let pin = format!("{}:{}", code.user, code.code);
            return ok("C_Login", raw.login(session, CKU_CONTEXT_SPECIFIC, pin.as_bytes()));
        }
        let (pin, user) = (code.code.as_bytes(), code.user.as_bytes());
        ok("C_LoginUser", raw.login_user(session, CKU_CONTEXT_SPECIFIC, pin, user))
    }
}

/// The objects that match this template. Other callers may prevent that they are found.
pub(crate) fn find(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    template: &[Attribute],
) -> Result<Vec<CK_OBJECT_HANDLE>, Refused> {
    let mut template = Template::of(template);
    let (mut found, mut count) = ([0; 64], 0);
    for rv in [
        call!(raw, C_FindObjectsInit(session, template.pointer(), template.count())),
        call!(raw, C_FindObjects(session, found.as_mut_ptr(), 64, &mut count)),
        call!(raw, C_FindObjectsFinal(session)),
    ] {
        if rv != CKR_OK {
            return Err(("C_FindObjects", rv));
        }
    }
    Ok(found[..count as usize].to_vec())
}

fn ok(name: &'static str, rv: CK_RV) -> Result<(), Refused> {
    if rv == CKR_OK { Ok(()) } else { Err((name, rv)) }
}

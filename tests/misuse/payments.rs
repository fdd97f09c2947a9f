//! Payments, as a backend makes them that does as it should, by codes that are right; and by codes that are not.

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use super::caller::{Caller, Phase};
use super::checks::Watched;
use super::world::Code;
use crate::boundary::raw::{Attribute, Raw, Template, call};
use crate::boundary::{approval, ulong};

/// A call that was refused, and its answer.
type Refused = (&'static str, CK_RV);

impl Caller<'_> {
    /// Logs the user in and pays, so many times if there are as many right codes now.
    pub(crate) fn pay_often(&mut self, times: u64) {
        let raw = &self.world.raw;
        self.own = raw.user();
        self.world.took_a_right_pin(CKU_USER);
        (0..times).take_while(|_| self.pay()).for_each(drop);
    }

    /// A payment, as a backend makes it that does as it should. Gives whether there was a code to pay with.
    pub(crate) fn pay(&mut self) -> bool {
        let Some(code) = self.world.draw() else { return false };
        let mut psbt = self.world.psbt(code.wallet);
        // Whose answer was lost asks again, by any door: it is the same payment.
        for _ in 0..=self.random.below(8) / 7 {
            let door = self.random.below(4);
            match self.sign(&code, &mut psbt, door) {
                Ok(()) => self.world.paid(code.payer),
                Err((name, rv)) if self.phase == Phase::Alone => self.fail(name, rv, "a right code was paid"),
                Err(_) => {}
            }
        }
        true
    }

    /// A payment by a code that is not right: all else is as it should be.
    pub(crate) fn steal(&mut self) {
        let Some(code) = self.world.wrong(&mut self.random) else { return };
        let mut psbt = self.world.psbt(code.wallet);
        let door = self.random.below(4);
        // What comes out is counted with all that does.
        if let Err((name, rv)) = self.sign(&code, &mut psbt, door)
            && rv != CKR_PIN_INCORRECT
            && self.phase == Phase::Alone
        {
            self.fail(name, rv, "a code that is not right now");
        }
    }

    /// Signs in a session of its own.
    fn sign(&mut self, code: &Code, psbt: &mut [u8], door: u64) -> Result<(), Refused> {
        let raw: Raw = self.world.raw;
        let session = raw.open(CKF_SERIAL_SESSION | CKF_RW_SESSION).map_err(|rv| ("C_OpenSession", rv))?;
        let signed = self.sign_in(session, code, psbt, door);
        let closed = ok("C_CloseSession", raw.close(session));
        signed.and(closed)
    }

    /// Signs through one of the doors, with a buffer as short as the module says, or longer.
    fn sign_in(
        &mut self,
        session: CK_SESSION_HANDLE,
        code: &Code,
        psbt: &mut [u8],
        door: u64,
    ) -> Result<(), Refused> {
        let raw: Raw = self.world.raw;
        let template = [
            (CKA_CLASS, ulong(CKO_PRIVATE_KEY)),
            (CKA_COUNTERSIGN_DESCRIPTOR, self.world.wallets[code.wallet].descriptor.clone().into_bytes()),
        ];
        let found = find(&raw, session, &template)?;
        let &[key] = &found[..] else { return Err(("C_FindObjects", CKR_OK)) };
        let parameter = approval(&code.user, &code.code);
        let parameter = if door < 2 { &parameter[..] } else { &[] };
        ok("C_SignInit", raw.sign_init(session, CKM_COUNTERSIGN_PSBT, parameter, key))?;
        match door {
            2 => {
                let pin = format!("{}:{}", code.user, code.code);
                ok("C_Login", raw.login(session, CKU_CONTEXT_SPECIFIC, pin.as_bytes()))?;
            }
            3 => {
                let (pin, user) = (code.code.as_bytes(), code.user.as_bytes());
                ok("C_LoginUser", raw.login_user(session, CKU_CONTEXT_SPECIFIC, pin, user))?;
            }
            _ => {}
        }
        let (data, data_len) = (psbt.as_mut_ptr(), psbt.len() as CK_ULONG);
        let mut bound = 0;
        ok("C_Sign", call!(raw, C_Sign(session, data, data_len, core::ptr::null_mut(), &mut bound)))?;
        self.clear();
        let room = bound + self.random.below(2) * self.random.below(500);
        let buffer = self.memory.buffer(room as usize, true);
        let len = self.memory.value(room);
        self.watch(Watched::Answer { buffer: Some(buffer), len: Some(len), item: 1 });
        let len = len.start.cast();
        let (name, rv) = if door == 1 {
            ok("C_SignUpdate", raw.sign_update(session, psbt))?;
            ("C_SignFinal", call!(raw, C_SignFinal(session, buffer.start, len)))
        } else {
            ("C_Sign", call!(raw, C_Sign(session, data, data_len, buffer.start, len)))
        };
        self.check(name, rv);
        ok(name, rv)?;
        self.collect(name);
        self.last_session = session;
        if self.phase == Phase::Alone {
            self.check_end(name, rv);
        }
        Ok(())
    }
}

/// The objects of this template; who is among others may be kept from it.
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

//! The calls of one application, each handed to the file of its chapter.

use cryptoki_sys::{CKF_MESSAGE_SIGN, CKF_SIGN, CKF_VERIFY};

use super::acts;
use super::application::{Application, SLOT};
use super::reply::Reply;
use super::request::Request;
use super::rv::Answer;
use super::slot_token::{self, MECHANISMS};
use super::verify::SignatureComes;

impl Application {
    /// Answers a call.
    pub(super) fn answer(&self, request: Request) -> Answer<Reply> {
        self.end_login_of_an_old_pin();
        self.check_desk(&request)?;
        // In the process of an application nothing else runs.
        acts::tick(&self.engine);
        Ok(match request {
            // 5.5 Slot and token management
            Request::SlotList => Reply::Slots(vec![SLOT]),
            Request::SlotInfo { slot } => slot_token::check_slot(slot).map(|()| Reply::Done)?,
            Request::TokenInfo { slot } => Reply::Token(self.token_info(slot)?),
            Request::MechanismList { slot } => {
                slot_token::check_slot(slot)?;
                Reply::Mechanisms(MECHANISMS.iter().map(|(mechanism, _)| *mechanism).collect())
            }
            Request::MechanismInfo { slot, mechanism } => {
                Reply::Mechanism(slot_token::mechanism_info(slot, mechanism)?)
            }
            Request::InitToken { slot, pin, label } => done(self.init_token(slot, &pin, &label))?,
            Request::InitPin { session, pin } => done(self.init_pin(session, &pin))?,
            Request::SetPin { session, old, new } => done(self.set_pin(session, &old, &new))?,

            // 5.6 Session management
            Request::OpenSession { slot, flags } => Reply::Opened(self.open(slot, flags)?),
            Request::CloseSession { session } => done(self.close_session(session))?,
            Request::CloseAllSessions { slot } => done(self.close_all(slot))?,
            Request::SessionInfo { session } => Reply::Session(self.session_info(session)?.0),
            Request::SessionInfoAndRule { session } => {
                let (session, rule) = self.session_info(session)?;
                Reply::SessionAndRule { session, rule }
            }
            Request::Login { session, user_type, user, pin } => {
                done(self.login(session, user_type, user.as_deref(), &pin))?
            }
            Request::Logout { session } => done(self.log_out(session))?,
            Request::SessionCancel { session, flags } => done(self.cancel(session, flags))?,
            Request::OperationState { session } => done(self.operation_state(session))?,

            // 5.7 Object management
            Request::CreateObject { session, template } => {
                Reply::Created(self.create_object(session, &template)?)
            }
            Request::CopyObject { session, object, template } => {
                Reply::Created(self.copy_object(session, object, &template)?)
            }
            Request::GetObjectSize { session, object } => Reply::Size(self.get_object_size(session, object)?),
            Request::DestroyObject { session, object } => done(self.destroy_object(session, object))?,
            Request::GetAttributeValue { session, object, wanted } => {
                Reply::Attributes(self.get_attribute_value(session, object, &wanted)?)
            }
            Request::SetAttributeValue { session, object, template } => {
                done(self.set_attribute_value(session, object, &template))?
            }
            Request::FindObjectsInit { session, template } => {
                done(self.find_objects_init(session, &template))?
            }
            Request::FindObjects { session, most } => {
                Reply::Found(self.find_objects(session, usize::try_from(most).unwrap_or(usize::MAX))?)
            }
            Request::FindObjectsFinal { session } => done(self.find_objects_final(session))?,

            // 5.13 Signing
            Request::SignInit { session, mechanism: None, .. } => done(self.cancel(session, CKF_SIGN))?,
            Request::SignInit { session, mechanism: Some(mechanism), key } => {
                done(self.sign_init(session, mechanism, key))?
            }
            Request::Sign { session, data, room } => Reply::Signed(self.sign(session, data, room)?),
            Request::SignUpdate { session, part } => done(self.sign_update(session, part))?,
            Request::SignFinal { session, room } => Reply::Signed(self.sign_final(session, room)?),

            // 5.14 Message-based signing
            Request::MessageSignInit { session, mechanism: None, .. } => {
                done(self.cancel(session, CKF_MESSAGE_SIGN))?
            }
            Request::MessageSignInit { session, mechanism: Some(mechanism), key } => {
                done(self.message_sign_init(session, mechanism, key))?
            }
            Request::SignMessage { session, parameter, data, room } => {
                Reply::Signed(self.sign_message(session, parameter, data, room)?)
            }
            Request::SignMessageBegin { session, parameter } => {
                done(self.sign_message_begin(session, parameter))?
            }
            Request::SignMessageNext { session, parameter, part, room } => {
                self.sign_message_next(session, parameter, part, room)?.map_or(Reply::Done, Reply::Signed)
            }
            Request::MessageSignFinal { session } => done(self.message_sign_final(session))?,

            // 5.15 Verifying
            Request::VerifyInit { session, mechanism: None, .. }
            | Request::VerifySignatureInit { session, mechanism: None, .. } => {
                done(self.cancel(session, CKF_VERIFY))?
            }
            Request::VerifyInit { session, mechanism: Some(mechanism), key } => {
                done(self.verify_init(session, mechanism, key, None))?
            }
            Request::Verify { session, data, signature } => done(self.verify(session, data, signature))?,
            Request::VerifyUpdate { session, part } => {
                done(self.verify_update(session, SignatureComes::Last, part))?
            }
            Request::VerifyFinal { session, signature } => done(self.verify_final(session, signature))?,
            Request::VerifySignatureInit { session, mechanism: Some(mechanism), key, signature } => {
                done(self.verify_init(session, mechanism, key, Some(signature)))?
            }
            Request::VerifySignature { session, data } => done(self.verify_signature(session, data))?,
            Request::VerifySignatureUpdate { session, part } => {
                done(self.verify_update(session, SignatureComes::First, part))?
            }
            Request::VerifySignatureFinal { session } => done(self.verify_signature_final(session))?,

            // 5.18 Key management
            Request::GenerateKey { session, mechanism, template } => {
                Reply::Key(self.generate_key(session, &mechanism, &template)?)
            }
            Request::GenerateKeyPair { session, mechanism, public, private } => {
                let (public, private) = self.generate_key_pair(session, &mechanism, &public, &private)?;
                Reply::KeyPair { public, private }
            }

            // 5.19 Random number generation
            Request::GenerateRandom { session, len } => Reply::Random(self.generate_random(session, len)?),
        })
    }
}

fn done(answer: Answer) -> Answer<Reply> {
    answer.map(|()| Reply::Done)
}

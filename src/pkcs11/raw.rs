//! Raw pointers, which nothing else looks at.
//!
//! Null, length and overflow are checked before a slice exists. Input is copied once, so that the caller
//! cannot change it under us. A length and its buffer are written last. One thing cannot be checked: that a
//! pointer which is not null is valid for its length. That is the caller's obligation under PKCS#11, and the
//! SAFETY argument of every block.

#![allow(unsafe_code)]

use core::slice;

use cryptoki_sys::*;
use zeroize::Zeroizing;

use super::instance::InitializeArguments;
use super::reply::{Filled, Shown};
use super::request::{
    Bytes, MAX_ATTRIBUTES, MAX_PIN_LEN, MAX_VALUE_LEN, Mechanism, Room, TemplateEntry, Wanted, max_given_len,
};
use super::rv::{Answer, Rv};

/// `text`, padded with spaces to the length of the field. A longer text is cut.
pub(super) fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    let len = text.len().min(N);
    field[..len].copy_from_slice(&text.as_bytes()[..len]);
    field
}

/// The version of this library, padded with spaces.
pub(super) const fn release() -> [u8; 32] {
    let (mut field, version) = ([b' '; 32], env!("CARGO_PKG_VERSION").as_bytes());
    field.split_at_mut(version.len()).0.copy_from_slice(version);
    field
}

/// Copies `len` bytes from `data`; a length over `most` is refused with `over` before anything is read.
///
/// # Safety
/// `data` is null or valid for `len` bytes.
pub(super) unsafe fn bytes(data: *const u8, len: CK_ULONG, most: usize, over: CK_RV) -> Answer<Bytes> {
    let len = usize::try_from(len).ok().filter(|len| *len <= most).ok_or(Rv(over))?;
    if len == 0 {
        return Ok(Bytes::default());
    }
    if data.is_null() {
        return Err(Rv(CKR_ARGUMENTS_BAD));
    }
    // SAFETY: not null, and the caller vouches for `len` bytes, which is at most `most`, far below `isize::MAX`.
    Ok(Bytes(Zeroizing::new(unsafe { slice::from_raw_parts(data, len) }.to_vec())))
}

/// Copies a PIN or a code. Null is refused, because there is no other way to enter one (`CKF_PROTECTED_AUTHENTICATION_PATH`).
///
/// # Safety
/// As for [`bytes`].
pub(super) unsafe fn pin(pin: *const u8, len: CK_ULONG) -> Answer<Bytes> {
    if pin.is_null() {
        return Err(Rv(CKR_ARGUMENTS_BAD));
    }
    // SAFETY: as the caller vouches.
    unsafe { bytes(pin, len, MAX_PIN_LEN, CKR_PIN_LEN_RANGE) }
}

/// The bytes themselves, without a copy, for `countersign serve`: it does not change them during the call.
///
/// # Safety
/// `data` is null or valid for `len` bytes, which nobody changes as long as the slice lives.
pub(super) unsafe fn borrowed<'a>(data: *const u8, len: CK_ULONG) -> Answer<&'a [u8]> {
    let len = usize::try_from(len).ok().filter(|len| isize::try_from(*len).is_ok());
    match (data.is_null(), len) {
        // SAFETY: not null, no longer than a slice can be, and the caller vouches for the rest.
        (false, Some(len)) => Ok(unsafe { slice::from_raw_parts(data, len) }),
        _ => Err(Rv(CKR_ARGUMENTS_BAD)),
    }
}

/// Writes an answer to the caller's place.
///
/// # Safety
/// `place` is null or valid for writing a `T`.
pub(super) unsafe fn put<T>(place: *mut T, value: T) -> Answer {
    if place.is_null() {
        return Err(Rv(CKR_ARGUMENTS_BAD));
    }
    // SAFETY: not null, and the caller vouches for the rest.
    unsafe { place.write(value) };
    Ok(())
}

/// Returns a list by the convention of section 5.2: a null buffer asks for the count.
///
/// # Safety
/// `count` is null or valid; `buffer` is null or valid for writing as many items as `count` says.
pub(super) unsafe fn put_list<T: Copy>(items: &[T], buffer: *mut T, count: *mut CK_ULONG) -> Answer {
    if count.is_null() {
        return Err(Rv(CKR_ARGUMENTS_BAD));
    }
    // SAFETY: not null, and the caller vouches for it.
    let room = unsafe { count.read() };
    // SAFETY: as above.
    unsafe { count.write(items.len() as CK_ULONG) };
    if buffer.is_null() {
        return Ok(());
    }
    if room < items.len() as CK_ULONG {
        return Err(Rv(CKR_BUFFER_TOO_SMALL));
    }
    // SAFETY: not null, and the caller vouches for `room` items, which is at least as many as there are.
    unsafe { buffer.copy_from_nonoverlapping(items.as_ptr(), items.len()) };
    Ok(())
}

/// A buffer for an answer of variable length, and the place of its length.
pub(super) struct Output {
    buffer: *mut u8,
    len: *mut CK_ULONG,
    capacity: CK_ULONG,
}

impl Output {
    /// # Safety
    /// Until it is dropped, `len` is null or valid, and `buffer` is null or valid for writing as many bytes as `len` says.
    pub(super) unsafe fn new(buffer: *mut u8, len: *mut CK_ULONG) -> Answer<Output> {
        if len.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        // SAFETY: not null, and the caller vouches for it. Read once: it may change later.
        let capacity = unsafe { len.read() };
        Ok(Output { buffer, len, capacity })
    }

    /// The room in the buffer.
    pub(super) fn room(&self) -> Room {
        if self.buffer.is_null() { Room::Query } else { Room::Of(self.capacity) }
    }

    /// Writes the answer and its exact length, or only the length that it needs (section 5.2).
    pub(super) fn write(self, answer: &Filled) -> Answer {
        let needed = match answer {
            Filled::Length(needed) => *needed,
            Filled::Bytes(bytes) => bytes.len() as CK_ULONG,
        };
        // SAFETY: valid by the contract of `new`.
        unsafe { self.len.write(needed) };
        match (answer, self.room()) {
            (_, Room::Query) => Ok(()),
            (Filled::Bytes(bytes), room) if room.fits(bytes.len()) => {
                // SAFETY: not null and long enough, as was just found; valid by the contract of `new`.
                unsafe { self.buffer.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
                Ok(())
            }
            _ => Err(Rv(CKR_BUFFER_TOO_SMALL)),
        }
    }
}

/// Copies a template.
///
/// # Safety
/// `template` is null or valid for `count` attributes, each with a `pValue` that is null or valid for `ulValueLen` bytes.
pub(super) unsafe fn template(template: *const CK_ATTRIBUTE, count: CK_ULONG) -> Answer<Vec<TemplateEntry>> {
    let count = attribute_count(template, count)?;
    (0..count)
        .map(|index| {
            // SAFETY: below `count`, for which the caller vouches.
            let attribute = unsafe { template.add(index).read() };
            // SAFETY: the caller vouches for the value.
            let value = unsafe {
                bytes(
                    attribute.pValue.cast(),
                    attribute.ulValueLen,
                    max_given_len(attribute.type_),
                    CKR_ATTRIBUTE_VALUE_INVALID,
                )
            }?;
            Ok(TemplateEntry { kind: attribute.type_, value })
        })
        .collect()
}

/// One attribute that the caller wants to read, and its place.
pub(super) struct AttributeSlot {
    attribute: *mut CK_ATTRIBUTE,
    kind: CK_ATTRIBUTE_TYPE,
    buffer: *mut u8,
    capacity: CK_ULONG,
}

impl AttributeSlot {
    /// The type of the attribute, and the room for it.
    pub(super) fn wanted(&self) -> Wanted {
        let room = if self.buffer.is_null() { Room::Query } else { Room::Of(self.capacity) };
        Wanted { kind: self.kind, room }
    }

    /// Writes the value, or its length, or that it is unavailable (section 5.7, `C_GetAttributeValue`, cases
    /// 1 to 5).
    pub(super) fn write(self, shown: Answer<Shown>) -> Answer {
        let len = match &shown {
            Ok(Shown::Length(len)) => *len,
            Ok(Shown::Value(value)) if self.wanted().room.fits(value.len()) => {
                // SAFETY: not null and long enough, as was just found; valid by the contract of `slots`.
                unsafe { self.buffer.copy_from_nonoverlapping(value.as_ptr(), value.len()) };
                value.len() as CK_ULONG
            }
            Ok(Shown::Value(_)) | Err(_) => CK_UNAVAILABLE_INFORMATION,
        };
        // SAFETY: valid by the contract of `slots`; a field is written through the raw pointer, no reference is made.
        unsafe { (&raw mut (*self.attribute).ulValueLen).write(len) };
        match shown {
            Ok(Shown::Value(_)) if len == CK_UNAVAILABLE_INFORMATION => Err(Rv(CKR_BUFFER_TOO_SMALL)),
            Ok(_) => Ok(()),
            Err(rv) => Err(rv),
        }
    }
}

/// Takes a template to fill.
///
/// # Safety
/// Until the slots are dropped, as for [`template`], and valid for writing.
pub(super) unsafe fn slots(template: *mut CK_ATTRIBUTE, count: CK_ULONG) -> Answer<Vec<AttributeSlot>> {
    let count = attribute_count(template, count)?;
    Ok((0..count)
        .map(|index| {
            // SAFETY: below `count`, for which the caller vouches.
            let attribute = unsafe { template.add(index) };
            // SAFETY: as above.
            let CK_ATTRIBUTE { type_, pValue, ulValueLen } = unsafe { attribute.read() };
            AttributeSlot { attribute, kind: type_, buffer: pValue.cast(), capacity: ulValueLen }
        })
        .collect())
}

/// Fills every slot. The first refusal is the answer of the call (section 5.7).
pub(super) fn fill(slots: Vec<AttributeSlot>, shown: Vec<Answer<Shown>>) -> Answer {
    if slots.len() != shown.len() {
        return Err(Rv(CKR_DEVICE_ERROR));
    }
    slots.into_iter().zip(shown).map(|(slot, shown)| slot.write(shown)).fold(Ok(()), Result::and)
}

/// Copies a mechanism with its parameter. Null becomes `None`.
///
/// # Safety
/// `mechanism` is null or valid, its `pParameter` null or valid for `ulParameterLen` bytes.
pub(super) unsafe fn mechanism(mechanism: *const CK_MECHANISM) -> Answer<Option<Mechanism>> {
    if mechanism.is_null() {
        return Ok(None);
    }
    // SAFETY: not null, and the caller vouches for it.
    let CK_MECHANISM { mechanism, pParameter, ulParameterLen } = unsafe { mechanism.read() };
    // SAFETY: the caller vouches for the parameter.
    let parameter = unsafe { parameter(pParameter, ulParameterLen) }?;
    Ok(Some(Mechanism { mechanism, parameter }))
}

/// Copies the parameter of a mechanism, or of a message.
///
/// # Safety
/// `parameter` is null or valid for `len` bytes.
pub(super) unsafe fn parameter(parameter: CK_VOID_PTR, len: CK_ULONG) -> Answer<Bytes> {
    // SAFETY: as the caller vouches.
    unsafe { bytes(parameter.cast(), len, MAX_VALUE_LEN, CKR_MECHANISM_PARAM_INVALID) }
        .map_err(|_| Rv(CKR_MECHANISM_PARAM_INVALID))
}

/// Copies a token label of 32 bytes.
///
/// # Safety
/// `label` is null or valid for 32 bytes.
pub(super) unsafe fn label(label: *const u8) -> Answer<[u8; 32]> {
    // SAFETY: as the caller vouches.
    let label = unsafe { bytes(label, 32, 32, CKR_ARGUMENTS_BAD) }?;
    label[..].try_into().map_err(|_| Rv(CKR_ARGUMENTS_BAD))
}

/// Reads the arguments of `C_Initialize`.
///
/// # Safety
/// `arguments` is null or points to a valid `CK_C_INITIALIZE_ARGS`.
pub(super) unsafe fn initialize_arguments(arguments: CK_VOID_PTR) -> InitializeArguments {
    if arguments.is_null() {
        return InitializeArguments { own_mutexes_only: false, malformed: false };
    }
    // SAFETY: not null, and the caller vouches for it.
    let arguments = unsafe { arguments.cast::<CK_C_INITIALIZE_ARGS>().read() };
    let given = [
        arguments.CreateMutex.is_some(),
        arguments.DestroyMutex.is_some(),
        arguments.LockMutex.is_some(),
        arguments.UnlockMutex.is_some(),
    ];
    let all = given.iter().all(|given| *given);
    let none = given.iter().all(|given| !*given);
    InitializeArguments {
        own_mutexes_only: all && arguments.flags & CKF_OS_LOCKING_OK == 0,
        malformed: !(all || none) || !arguments.pReserved.is_null(),
    }
}

fn attribute_count(template: *const CK_ATTRIBUTE, count: CK_ULONG) -> Answer<usize> {
    let count =
        usize::try_from(count).ok().filter(|count| *count <= MAX_ATTRIBUTES).ok_or(Rv(CKR_ARGUMENTS_BAD))?;
    if count > 0 && template.is_null() {
        return Err(Rv(CKR_ARGUMENTS_BAD));
    }
    Ok(count)
}

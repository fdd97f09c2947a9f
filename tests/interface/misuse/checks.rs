//! What must never happen, whatever was called. Checked after each call, and now and then.

use cryptoki_sys::*;

use countersign::pkcs11::vendor::*;

use super::memory::{Memory, Place};

/// A piece of memory that a call was given, and what the call may do with it.
pub(crate) enum Watched {
    /// The call reads it.
    Input(Place),
    /// A call that succeeds writes it.
    Fixed(Place),
    /// An answer of variable length: a buffer for a number of items, the place of that number, and an item's
    /// length.
    Answer { buffer: Option<Place>, len: Option<Place>, item: usize },
    /// Found handles, and the place of their number.
    Found { buffer: Option<Place>, count: Option<Place> },
    /// Attributes to fill in.
    Wanted { entries: Place, values: Vec<Option<Place>> },
}

impl Watched {
    /// The first place's beginning, or null.
    pub(crate) fn start(&self) -> *mut u8 {
        match self {
            Watched::Input(place) | Watched::Fixed(place) | Watched::Wanted { entries: place, .. } => {
                place.start
            }
            Watched::Answer { buffer, .. } | Watched::Found { buffer, .. } => {
                buffer.map_or(core::ptr::null_mut(), |place| place.start)
            }
        }
    }

    /// What a call that answered `rv` did to it, if that is forbidden.
    pub(crate) fn check(&self, memory: &Memory, rv: CK_RV) -> Result<(), String> {
        let untouched = |place: &Place, from: usize, what: &str| match memory.first_change(*place, from) {
            None => Ok(()),
            Some(offset) => Err(format!("{what} was written, at byte {offset} of {}", place.len)),
        };
        self.places().try_for_each(|place| match place.is_fenced() {
            true => Ok(()),
            false => Err(format!("memory beside an argument of {} bytes was written", place.len)),
        })?;
        match self {
            Watched::Input(place) => untouched(place, 0, "an input"),
            Watched::Fixed(_) if rv == CKR_OK => Ok(()),
            Watched::Fixed(place) => untouched(place, 0, "the output of a call that failed"),
            Watched::Answer { buffer, len, item } => {
                let told = len.map(|len| len.read::<CK_ULONG>());
                match (rv, buffer, told) {
                    (CKR_OK, Some(buffer), Some(told)) => {
                        let written = usize::try_from(told).ok().and_then(|told| told.checked_mul(*item));
                        match written.filter(|written| *written <= buffer.len) {
                            Some(written) => untouched(buffer, written, "a buffer behind the answer"),
                            None => {
                                Err(format!("{told} items were told, for a buffer of {} bytes", buffer.len))
                            }
                        }
                    }
                    // Only the length was asked for.
                    (CKR_OK, None, _) => Ok(()),
                    (CKR_BUFFER_TOO_SMALL, Some(buffer), Some(told)) => {
                        untouched(buffer, 0, "a buffer that is too small")?;
                        match told.checked_mul(*item as CK_ULONG) {
                            Some(needed) if needed > buffer.len as CK_ULONG => Ok(()),
                            _ => Err(format!("{told} items were told not to fit into {} bytes", buffer.len)),
                        }
                    }
                    _ => [buffer, len].into_iter().flatten().try_for_each(|place| {
                        untouched(place, 0, "the buffer or its length, by a call that failed,")
                    }),
                }
            }
            Watched::Found { buffer, count } => {
                let told = count.map(|count| count.read::<CK_ULONG>());
                match (rv, buffer, told) {
                    (CKR_OK, Some(buffer), Some(told)) => {
                        let written = usize::try_from(told).ok().and_then(|told| told.checked_mul(8));
                        match written.filter(|written| *written <= buffer.len) {
                            Some(written) => untouched(buffer, written, "a buffer behind the handles"),
                            None => Err(format!("{told} handles, for a buffer of {} bytes", buffer.len)),
                        }
                    }
                    (CKR_OK, ..) => Err("it succeeded without a place for the handles".into()),
                    _ => [buffer, count].into_iter().flatten().try_for_each(|place| {
                        untouched(place, 0, "the buffer or the count, by a call that failed,")
                    }),
                }
            }
            Watched::Wanted { entries, values } => {
                let is_answered = matches!(
                    rv,
                    CKR_OK | CKR_ATTRIBUTE_SENSITIVE | CKR_ATTRIBUTE_TYPE_INVALID | CKR_BUFFER_TOO_SMALL
                );
                if !is_answered {
                    untouched(entries, 0, "the template of a call that failed")?;
                }
                for (index, value) in values.iter().enumerate() {
                    let entry: CK_ATTRIBUTE = entries.read_at(index);
                    let Some(value) = value else {
                        if entry.pValue.is_null() {
                            continue;
                        }
                        return Err("a null pointer of a template was written".into());
                    };
                    if entry.pValue.cast() != value.start {
                        return Err("a pointer of a template was written".into());
                    }
                    let written = match entry.ulValueLen {
                        CK_UNAVAILABLE_INFORMATION => 0,
                        _ if !is_answered => 0,
                        len if len > value.len as CK_ULONG => {
                            return Err(format!("{len} bytes were told, for a buffer of {}", value.len));
                        }
                        len => len as usize,
                    };
                    untouched(value, written, "a buffer behind an attribute's value")?;
                }
                Ok(())
            }
        }
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        let (few, many): ([Option<Place>; 2], &[Option<Place>]) = match self {
            Watched::Input(place) | Watched::Fixed(place) => ([Some(*place), None], &[]),
            Watched::Answer { buffer, len, .. } => ([*buffer, *len], &[]),
            Watched::Found { buffer, count } => ([*buffer, *count], &[]),
            Watched::Wanted { entries, values } => ([Some(*entries), None], values),
        };
        few.into_iter().chain(many.iter().copied()).flatten()
    }
}

/// Whether the module may give this answer at all. Answers that report a failure of its own and not a refusal
/// are not allowed: a caught panic (`CKR_GENERAL_ERROR`), a closed store (`CKR_DEVICE_ERROR`).
pub(crate) fn may_answer(rv: CK_RV) -> bool {
    matches!(
        rv,
        CKR_OK
            | CKR_SLOT_ID_INVALID
            | CKR_ARGUMENTS_BAD
            | CKR_NO_EVENT
            | CKR_CANT_LOCK
            | CKR_ATTRIBUTE_READ_ONLY
            | CKR_ATTRIBUTE_SENSITIVE
            | CKR_ATTRIBUTE_TYPE_INVALID
            | CKR_ATTRIBUTE_VALUE_INVALID
            | CKR_ACTION_PROHIBITED
            | CKR_DATA_INVALID
            | CKR_DATA_LEN_RANGE
            | CKR_DEVICE_MEMORY
            | CKR_FUNCTION_FAILED
            | CKR_FUNCTION_NOT_PARALLEL
            | CKR_FUNCTION_NOT_SUPPORTED
            | CKR_KEY_HANDLE_INVALID
            | CKR_KEY_TYPE_INCONSISTENT
            | CKR_KEY_FUNCTION_NOT_PERMITTED
            | CKR_MECHANISM_INVALID
            | CKR_MECHANISM_PARAM_INVALID
            | CKR_OBJECT_HANDLE_INVALID
            | CKR_OPERATION_ACTIVE
            | CKR_OPERATION_NOT_INITIALIZED
            | CKR_OPERATION_CANCEL_FAILED
            | CKR_PIN_INCORRECT
            | CKR_PIN_INVALID
            | CKR_PIN_LEN_RANGE
            | CKR_PIN_LOCKED
            | CKR_SESSION_HANDLE_INVALID
            | CKR_SESSION_PARALLEL_NOT_SUPPORTED
            | CKR_SESSION_READ_ONLY
            | CKR_SESSION_EXISTS
            | CKR_SESSION_READ_ONLY_EXISTS
            | CKR_SESSION_READ_WRITE_SO_EXISTS
            | CKR_SIGNATURE_INVALID
            | CKR_SIGNATURE_LEN_RANGE
            | CKR_TEMPLATE_INCOMPLETE
            | CKR_TEMPLATE_INCONSISTENT
            | CKR_TOKEN_WRITE_PROTECTED
            | CKR_USER_ALREADY_LOGGED_IN
            | CKR_USER_NOT_LOGGED_IN
            | CKR_USER_ANOTHER_ALREADY_LOGGED_IN
            | CKR_USER_TYPE_INVALID
            | CKR_RANDOM_SEED_NOT_SUPPORTED
            | CKR_BUFFER_TOO_SMALL
            | CKR_SAVED_STATE_INVALID
            | CKR_STATE_UNSAVEABLE
            | CKR_CRYPTOKI_NOT_INITIALIZED
            | CKR_CRYPTOKI_ALREADY_INITIALIZED
            | CKR_COUNTERSIGN_POLICY
            | CKR_COUNTERSIGN_PSBT_REFUSED
            | CKR_CURVE_NOT_SUPPORTED
            | CKR_SESSION_ASYNC_NOT_SUPPORTED
    )
}

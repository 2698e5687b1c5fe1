//! One call from JavaScript: its arguments taken by shape, its answer given back.

// UNSAFETY: every method is one question to Node-API about a value of the call under way.
#![expect(unsafe_code, reason = "talks to Node-API")]

use std::ffi::{CString, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::rc::Rc;

use napi_sys::{Status, napi_callback_info, napi_env, napi_value};
use vfio_iommu::DmaFault;
use vfio_memory::{Prot, copy};
use vfio_uapi::Errno;

use super::{Bytes, Entry};
use crate::handles;
use crate::object::Object;

const MAX_ARGUMENTS: usize = 8;
/// `Number.MAX_SAFE_INTEGER`, beyond which a number does not say which integer it means.
const MAX_SAFE: i64 = 9_007_199_254_740_991;

/// A call under way; it cannot outlive the callback.
pub(crate) struct Call<'a> {
    env: napi_env,
    arguments: [napi_value; MAX_ARGUMENTS],
    count: usize,
    scope: PhantomData<&'a napi_env>,
}

/// What a raw call says.
pub(crate) enum Value {
    /// A small count, or zero for "done".
    Int(i32),
    /// An unsigned 32-bit value.
    U32(u32),
    /// A value that a number holds exactly.
    Number(f64),
    /// A 64-bit value.
    U64(u64),
}

/// Why a raw call refuses.
pub(crate) enum Refusal {
    /// The system says no: answered as a negative number.
    Errno(Errno),
    /// Argument number so-and-so is not what it must be: thrown as a `TypeError`.
    Shape(usize, &'static str),
    /// Argument number so-and-so is outside its type: thrown as a `RangeError`.
    Range(usize, &'static str),
}

/// What a raw call comes to.
pub(crate) type Answer = Result<Value, Refusal>;

impl From<Errno> for Refusal {
    #[inline]
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<DmaFault> for Refusal {
    #[inline]
    fn from(fault: DmaFault) -> Self {
        Self::Errno(fault.errno())
    }
}

impl Value {
    /// Done, and nothing to tell.
    pub(crate) const DONE: Answer = Ok(Self::Int(0));

    /// A count of bytes or records.
    #[inline]
    pub(crate) fn count(count: usize) -> Self {
        i32::try_from(count).map_or(Self::Number(count as f64), Self::Int)
    }
}

impl<'a> Call<'a> {
    /// Stands for a call whose arguments have not been fetched.
    #[inline]
    pub(super) fn new(env: napi_env) -> Self {
        Self { env, arguments: [ptr::null_mut(); MAX_ARGUMENTS], count: MAX_ARGUMENTS, scope: PhantomData }
    }

    /// Fetches the arguments of the call, and returns the data that its function was made with. They are fetched
    /// into their final place: moving them right afterwards would cost as much as fetching them.
    ///
    /// # Safety
    /// Environment and call belong to the callback that is running.
    #[inline]
    pub(super) unsafe fn fetch(&mut self, info: napi_callback_info) -> Option<*mut c_void> {
        let (this, mut data) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the caller's promise; the array is as long as said.
        let status = unsafe {
            let arguments = self.arguments.as_mut_ptr();
            napi_sys::napi_get_cb_info(self.env, info, &mut self.count, arguments, this, &mut data)
        };
        (status == Status::napi_ok).then_some(data)
    }

    /// Tells whether argument `at` was given and is not undefined.
    pub(crate) fn has(&self, at: usize) -> bool {
        let mut kind = napi_sys::ValueType::napi_undefined;
        // SAFETY: the value belongs to this call.
        let status = unsafe { napi_sys::napi_typeof(self.env, self.arguments[at], &mut kind) };
        at < self.count && status == Status::napi_ok && kind != napi_sys::ValueType::napi_undefined
    }

    /// Takes the object that handle argument `at` stands for.
    #[inline]
    pub(crate) fn object(&self, at: usize) -> Result<Rc<Object>, Refusal> {
        let mut handle = 0;
        // SAFETY: the value belongs to this call.
        let status = unsafe { napi_sys::napi_get_value_uint32(self.env, self.arguments[at], &mut handle) };
        if status != Status::napi_ok {
            return Err(Refusal::Shape(at, "a handle"));
        }
        Ok(handles::get(handle)?)
    }

    /// Takes a number.
    #[inline]
    fn number(&self, at: usize) -> Option<f64> {
        let mut value = 0.0;
        // SAFETY: the value belongs to this call.
        let status = unsafe { napi_sys::napi_get_value_double(self.env, self.arguments[at], &mut value) };
        (status == Status::napi_ok).then_some(value)
    }

    /// Takes a 64-bit value: a bigint without loss, or a safe integer.
    #[inline]
    pub(crate) fn u64(&self, at: usize) -> Result<u64, Refusal> {
        if let Some(value) = self.number(at) {
            // There and back again is the cheapest test for a whole number; NaN fails it, too.
            let whole = value as i64;
            if whole as f64 == value && (0..=MAX_SAFE).contains(&whole) {
                return Ok(whole.cast_unsigned());
            }
            return Err(Refusal::Range(at, "a bigint or a safe integer, not negative"));
        }
        let (mut value, mut lossless) = (0, false);
        // SAFETY: the value belongs to this call.
        let status = unsafe {
            napi_sys::napi_get_value_bigint_uint64(self.env, self.arguments[at], &mut value, &mut lossless)
        };
        match status {
            Status::napi_ok if lossless => Ok(value),
            Status::napi_ok => Err(Refusal::Range(at, ">= 0n and < 2n ** 64n")),
            _ => Err(Refusal::Shape(at, "a bigint or a safe integer")),
        }
    }

    /// Takes an unsigned 32-bit value.
    #[inline]
    pub(crate) fn u32(&self, at: usize) -> Result<u32, Refusal> {
        self.small(at, u32::MAX, "an integer >= 0 and < 2 ** 32")
    }

    /// Takes an unsigned 16-bit value.
    #[inline]
    pub(crate) fn u16(&self, at: usize) -> Result<u16, Refusal> {
        self.small(at, u16::MAX.into(), "an integer >= 0 and < 2 ** 16").map(|value| value as u16)
    }

    /// Takes an unsigned 8-bit value.
    #[inline]
    pub(crate) fn u8(&self, at: usize) -> Result<u8, Refusal> {
        self.small(at, u8::MAX.into(), "an integer >= 0 and < 2 ** 8").map(|value| value as u8)
    }

    #[inline]
    fn small(&self, at: usize, max: u32, range: &'static str) -> Result<u32, Refusal> {
        let value = self.number(at).ok_or(Refusal::Shape(at, "a number"))?;
        let whole = value as u32;
        if f64::from(whole) == value && whole <= max { Ok(whole) } else { Err(Refusal::Range(at, range)) }
    }

    /// Takes a kind of access: 1 reading, 2 writing, 3 both.
    pub(crate) fn access(&self, at: usize) -> Result<Prot, Refusal> {
        const RANGE: &str = "1 (read), 2 (write) or 3 (both)";
        let prot = Prot::from_bits_truncate(self.small(at, 3, RANGE)? as u8);
        if prot.is_empty() { Err(Refusal::Range(at, RANGE)) } else { Ok(prot) }
    }

    /// Takes a copy of the elements of a `BigUint64Array`.
    pub(crate) fn u64s(&self, at: usize) -> Result<Vec<u64>, Refusal> {
        let (pointer, length, _) = self.typed_array(at, napi_sys::TypedarrayType::biguint64_array)?;
        let mut elements = vec![0; length];
        if length != 0 {
            // SAFETY: Node-API vouches for the range while no JavaScript runs; others may write to it.
            unsafe { copy::read(pointer.cast(), elements.as_mut_ptr().cast(), size_of_val(&elements[..])) };
        }
        Ok(elements)
    }

    /// Stores the first elements of a `BigUint64Array`, as many as there is room for.
    pub(crate) fn store_u64s(&self, at: usize, elements: &[u64]) -> Result<(), Refusal> {
        let (pointer, length, _) = self.typed_array(at, napi_sys::TypedarrayType::biguint64_array)?;
        let elements = &elements[..elements.len().min(length)];
        if !elements.is_empty() {
            // SAFETY: as in `u64s`.
            unsafe { copy::write(pointer.cast(), elements.as_ptr().cast(), size_of_val(elements)) };
        }
        Ok(())
    }

    /// Returns the length of a `BigUint64Array`.
    pub(crate) fn u64s_len(&self, at: usize) -> Result<usize, Refusal> {
        Ok(self.typed_array(at, napi_sys::TypedarrayType::biguint64_array)?.1)
    }

    /// Stores the first element of an `Int32Array`, if that argument was given and has one.
    pub(crate) fn store_i32(&self, at: usize, value: i32) -> Result<(), Refusal> {
        if self.has(at) {
            let (pointer, length, _) = self.typed_array(at, napi_sys::TypedarrayType::int32_array)?;
            if length != 0 {
                // SAFETY: as in `u64s`.
                unsafe { copy::write(pointer.cast(), value.to_ne_bytes().as_ptr(), 4) };
            }
        }
        Ok(())
    }

    /// Takes the bytes of a `Uint8Array`, valid until JavaScript runs again.
    #[inline]
    pub(crate) fn bytes(&self, at: usize) -> Result<Bytes<'_>, Refusal> {
        let (pointer, length, shared) = self.typed_array(at, napi_sys::TypedarrayType::uint8_array)?;
        // SAFETY: Node-API vouches for the range while no JavaScript runs, which the call's borrow outlives.
        Ok(unsafe { Bytes::new(pointer.cast(), length, shared) })
    }

    /// Asks for address, length in elements, and whether other threads share the elements.
    #[inline]
    fn typed_array(&self, at: usize, wanted: i32) -> Result<(*mut c_void, usize, bool), Refusal> {
        let mut kind = -1;
        let (mut length, mut pointer, mut buffer) = (0, ptr::null_mut(), ptr::null_mut());
        let mut exclusive = false;
        // SAFETY: the value belongs to this call; the buffer is asked for in the same breath.
        let status = unsafe {
            let view = self.arguments[at];
            let offset = ptr::null_mut();
            match napi_sys::napi_get_typedarray_info(
                self.env,
                view,
                &mut kind,
                &mut length,
                &mut pointer,
                &mut buffer,
                offset,
            ) {
                Status::napi_ok => napi_sys::napi_is_arraybuffer(self.env, buffer, &mut exclusive),
                status => status,
            }
        };
        if status != Status::napi_ok || kind != wanted {
            let expected = if wanted == napi_sys::TypedarrayType::uint8_array {
                "an instance of Uint8Array"
            } else if wanted == napi_sys::TypedarrayType::biguint64_array {
                "an instance of BigUint64Array"
            } else {
                "an instance of Int32Array"
            };
            return Err(Refusal::Shape(at, expected));
        }
        Ok((pointer, length, !exclusive))
    }

    /// Gives the answer to JavaScript.
    #[inline]
    pub(super) fn finish(&self, answer: Answer, entry: &Entry) -> napi_value {
        let value = match answer {
            Ok(value) => value,
            Err(Refusal::Errno(errno)) if entry.wide => return self.bigint(-i64::from(errno.code())),
            Err(Refusal::Errno(errno)) => Value::Int(-errno.code()),
            Err(Refusal::Shape(at, expected)) => return self.refuse(entry, at, expected, false),
            Err(Refusal::Range(at, expected)) => return self.refuse(entry, at, expected, true),
        };
        let mut result = ptr::null_mut();
        // SAFETY: makes a value for this call. A failure leaves the result null, which JavaScript sees as
        // undefined.
        unsafe {
            match value {
                Value::Int(value) => napi_sys::napi_create_int32(self.env, value, &mut result),
                Value::U32(value) => napi_sys::napi_create_uint32(self.env, value, &mut result),
                Value::Number(value) => napi_sys::napi_create_double(self.env, value, &mut result),
                Value::U64(value) => napi_sys::napi_create_bigint_uint64(self.env, value, &mut result),
            }
        };
        result
    }

    #[cold]
    fn bigint(&self, value: i64) -> napi_value {
        let mut result = ptr::null_mut();
        // SAFETY: makes a value for this call.
        unsafe { napi_sys::napi_create_bigint_int64(self.env, value, &mut result) };
        result
    }

    #[cold]
    fn refuse(&self, entry: &Entry, at: usize, expected: &str, range: bool) -> napi_value {
        let name = entry.arguments.split(' ').nth(at).unwrap_or("?");
        let message = if range {
            format!("The value of \"{name}\" is out of range. It must be {expected}")
        } else {
            format!("The \"{name}\" argument must be {expected}")
        };
        let message = CString::new(message).unwrap_or_default();
        // SAFETY: throws into this call; both strings end with a zero.
        unsafe {
            if range {
                napi_sys::napi_throw_range_error(self.env, c"ERR_OUT_OF_RANGE".as_ptr(), message.as_ptr());
            } else {
                let code = c"ERR_INVALID_ARG_TYPE".as_ptr();
                napi_sys::napi_throw_type_error(self.env, code, message.as_ptr());
            }
        }
        ptr::null_mut()
    }

    /// Throws an error that says that the binding itself failed.
    #[cold]
    pub(super) fn fail(&self, reason: &str) -> napi_value {
        let message = CString::new(reason.replace('\0', "")).unwrap_or_default();
        // SAFETY: throws into this call; both strings end with a zero.
        unsafe { napi_sys::napi_throw_error(self.env, c"ERR_VFIO_NATIVE".as_ptr(), message.as_ptr()) };
        ptr::null_mut()
    }
}

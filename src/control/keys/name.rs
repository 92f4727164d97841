//! What may name a key: text that is safe to print, log and put on one line of the key file.

use crate::origin::KeyId;
use crate::wire::key::StreamingKey;

/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 100;

/// Why a text is no name. Never holds the text: it may be a key in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// No character.
    #[error("the name is empty; leave out the colon before it, or give 1 to 100 characters")]
    Empty,
    /// More than [`NAME_CHARS_MAX`] characters.
    #[error("the name is longer than 100 characters")]
    TooLong,
    /// The separator of the key file.
    #[error("the name contains a colon, which separates the fields of a line")]
    Colon,
    /// A blank at either end, which trimming would lose.
    #[error("the name begins or ends with a blank")]
    OuterBlank,
    /// A control character, or one that shows nothing or turns the text around.
    #[error("the name contains a character that is not printable")]
    NotPrintable,
    /// Reads as a key or as a key id.
    #[error("the name has the form of a key or of a key id (`k-` and 16 digits)")]
    FormOfKey,
}

/// Checks that `name` may name a key.
///
/// The form of a key is refused, because names are logged and keys must not be; that of a key id, so
/// that a name, an id and a key can be told apart wherever one of the three is given.
pub fn check_name(name: &str) -> Result<(), NameFault> {
    if name.is_empty() {
        return Err(NameFault::Empty);
    }
    if name.len() > NAME_CHARS_MAX && name.chars().count() > NAME_CHARS_MAX {
        return Err(NameFault::TooLong);
    }
    if name.contains(':') {
        return Err(NameFault::Colon);
    }
    if name.starts_with(' ') || name.ends_with(' ') {
        return Err(NameFault::OuterBlank);
    }
    if !name.chars().all(is_printable) {
        return Err(NameFault::NotPrintable);
    }
    if StreamingKey::parse_hex(name.as_bytes()).is_some() || KeyId::parse(name).is_some() {
        return Err(NameFault::FormOfKey);
    }
    Ok(())
}

/// Whether a character shows on a terminal and changes nothing around it.
///
/// Beyond ASCII this asks the standard library's table, which escapes controls, format characters
/// (bidirectional overrides, zero-width ones), blanks other than the space, and what is unassigned.
/// The leading letter keeps it from escaping combining marks, which many scripts are written with.
pub(crate) fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    let mut text = [b'a'; 5];
    let Some((_, rest)) = text.split_first_mut() else {
        return false;
    };
    let len = 1 + c.encode_utf8(rest).len();
    text.get(..len)
        .and_then(|text| str::from_utf8(text).ok())
        .is_some_and(|text| text.escape_debug().count() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_text_of_any_script_is_a_name() {
        for name in [
            "a",
            "checkout prod (eu-1) #2",
            "it's \"quoted\" \\ fine",
            "Größe",
            "支付",
            "हिन्दी",
            "🚀",
            &"ж".repeat(100),
        ] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_for_its_own_reason() {
        for (name, fault) in [
            ("", NameFault::Empty),
            (&*"ж".repeat(101), NameFault::TooLong),
            ("a:b", NameFault::Colon),
            (" a", NameFault::OuterBlank),
            ("a ", NameFault::OuterBlank),
            ("a\nb", NameFault::NotPrintable),
            ("a\tb", NameFault::NotPrintable),
            ("\u{1b}[31m", NameFault::NotPrintable),
            ("\u{9b}31m", NameFault::NotPrintable),
            ("a\u{7f}", NameFault::NotPrintable),
            ("a\u{202e}b", NameFault::NotPrintable),
            ("a\u{200b}b", NameFault::NotPrintable),
            ("a\u{a0}b", NameFault::NotPrintable),
            ("a\u{2028}b", NameFault::NotPrintable),
            ("\u{feff}a", NameFault::NotPrintable),
            ("A1b2c3d4e5f60718293a4b5c6d7e8f90", NameFault::FormOfKey),
            ("k-0123456789abcdef", NameFault::FormOfKey),
        ] {
            assert_eq!(check_name(name), Err(fault), "{name:?}");
        }
    }
}

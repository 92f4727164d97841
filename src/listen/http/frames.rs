//! HTTP/2 frames (RFC 9113, section 4.1) as a client sends them, told apart without being decoded: so far that
//! it can be said of each byte whether what it brings may be let through.

use super::fields::Fields;

/// What a client sends first (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEAD_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Who says what may be let through.
pub(super) trait Admission {
    /// Whether one more request may begin.
    fn request(&mut self) -> bool;

    /// Whether the head that comes may have grown to these fields; it is over where `ends`.
    fn head(&mut self, fields: &Fields, ends: bool) -> bool;

    /// How many of these bytes of bodies may pass.
    fn data(&mut self, bytes: usize) -> usize;
}

/// A stream of frames, as far as it was let through.
#[derive(Debug)]
pub(super) struct Frames {
    at: At,
    /// Of the header block that is under way.
    fields: Fields,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// In the preface, of which so much is still to come.
    Preface { left: usize },
    /// In the head of a frame, of which so much was seen.
    Head { seen: usize, head: [u8; HEAD_BYTES] },
    /// Before the payload of HEADERS.
    Request { length: usize, flags: u8 },
    /// In what stands before the header block of HEADERS: the length of the padding, the priority.
    Before {
        left: usize,
        padded: bool,
        block: Block,
    },
    /// In a header block.
    Block(Block),
    /// In the payload of DATA.
    Data { left: usize },
    /// In a payload that matters to nobody here.
    Other { left: usize },
}

/// A header block, or one frame of it.
#[derive(Clone, Copy, Debug)]
struct Block {
    left: usize,
    /// How much padding stands behind it.
    padding: usize,
    /// Whether the head of the request is whole then.
    ends: bool,
}

/// How far it went with some bytes.
enum Step {
    /// So many may pass; there may be more to say of the rest.
    Passed(usize),
    /// There is nothing to say before more comes.
    Needs,
    /// The next byte may not pass now.
    Blocked,
}

const NEXT: At = At::Head {
    seen: 0,
    head: [0; HEAD_BYTES],
};

impl Frames {
    /// Before the preface.
    pub fn new() -> Self {
        Self {
            at: At::Preface {
                left: PREFACE.len(),
            },
            fields: Fields::default(),
        }
    }

    /// How many of these bytes may pass now; they count as passed. Where it is not all of them, the next one may
    /// not.
    pub fn pass(&mut self, bytes: &[u8], admission: &mut impl Admission) -> usize {
        let mut passed = 0;
        loop {
            match self.step(bytes.get(passed..).unwrap_or_default(), admission) {
                Step::Passed(more) => passed += more,
                Step::Needs | Step::Blocked => return passed,
            }
        }
    }

    fn step(&mut self, bytes: &[u8], admission: &mut impl Admission) -> Step {
        let needed = match self.at {
            At::Preface { left } | At::Data { left } | At::Other { left } => left,
            At::Head { seen, .. } => HEAD_BYTES - seen,
            At::Request { .. } => 0,
            At::Before { left, .. } => left,
            At::Block(block) => block.left,
        };
        let here = bytes.get(..needed).unwrap_or(bytes);
        if here.is_empty() && needed > 0 {
            return Step::Needs;
        }
        let left = needed - here.len();
        let mut passed = here.len();
        self.at = match self.at {
            At::Preface { .. } => after(left, |left| At::Preface { left }),
            At::Head { seen, mut head } => {
                if let Some(free) = head.get_mut(seen..seen + here.len()) {
                    free.copy_from_slice(here);
                }
                match left {
                    0 => payload(head),
                    _ => At::Head {
                        seen: seen + here.len(),
                        head,
                    },
                }
            }
            At::Request { length, flags } => {
                if !admission.request() {
                    return Step::Blocked;
                }
                self.fields = Fields::default();
                let padded = flags & PADDED != 0;
                let before = usize::from(padded) + if flags & PRIORITY == 0 { 0 } else { 5 };
                match length.checked_sub(before) {
                    Some(left) => At::Before {
                        left: before,
                        padded,
                        block: Block {
                            left,
                            padding: 0,
                            ends: flags & END_HEADERS != 0,
                        },
                    },
                    // Too short for what it says it has: the decoder refuses it.
                    None => At::Other { left: length },
                }
            }
            At::Before {
                padded, mut block, ..
            } => {
                if let (true, Some(&padding)) = (padded, here.first()) {
                    block.padding = usize::from(padding).min(block.left);
                    block.left -= block.padding;
                }
                match left {
                    0 => At::Block(block),
                    left => At::Before {
                        left,
                        padded: false,
                        block,
                    },
                }
            }
            At::Block(block) => {
                let mut fields = self.fields;
                fields.read(here);
                if !admission.head(&fields, block.ends && left == 0) {
                    return Step::Blocked;
                }
                self.fields = fields;
                match left {
                    0 => after(block.padding, |left| At::Other { left }),
                    left => At::Block(Block { left, ..block }),
                }
            }
            At::Data { .. } => {
                if !here.is_empty() {
                    passed = admission.data(here.len()).min(here.len());
                    if passed == 0 {
                        return Step::Blocked;
                    }
                }
                after(needed - passed, |left| At::Data { left })
            }
            At::Other { .. } => after(left, |left| At::Other { left }),
        };
        Step::Passed(passed)
    }
}

fn after(left: usize, more: impl FnOnce(usize) -> At) -> At {
    if left == 0 { NEXT } else { more(left) }
}

fn payload([a, b, c, kind, flags, ..]: [u8; HEAD_BYTES]) -> At {
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    match kind {
        HEADERS => At::Request { length, flags },
        CONTINUATION => At::Block(Block {
            left: length,
            padding: 0,
            ends: flags & END_HEADERS != 0,
        }),
        DATA => At::Data { left: length },
        _ => At::Other { left: length },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lets so much through, and notes what it was asked.
    #[derive(Debug, Default, PartialEq)]
    struct Noted {
        requests_left: usize,
        data_left: usize,
        most_fields: usize,
        heads: Vec<usize>,
    }

    impl Admission for Noted {
        fn request(&mut self) -> bool {
            let Some(left) = self.requests_left.checked_sub(1) else {
                return false;
            };
            self.requests_left = left;
            true
        }

        fn head(&mut self, fields: &Fields, ends: bool) -> bool {
            if fields.count > self.most_fields {
                return false;
            }
            if ends {
                self.heads.push(fields.count);
            }
            true
        }

        fn data(&mut self, bytes: usize) -> usize {
            let passed = bytes.min(self.data_left);
            self.data_left -= passed;
            passed
        }
    }

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn all() -> Noted {
        Noted {
            requests_left: usize::MAX,
            data_left: usize::MAX,
            most_fields: usize::MAX,
            heads: Vec::new(),
        }
    }

    /// A head of two fields in one frame; one of three, padded, with a priority, in three frames; bodies.
    fn conversation() -> Vec<u8> {
        let padded = [&[3][..], &[0; 5], &[0x82, 0x40], &[0; 3]].concat();
        [
            PREFACE,
            &frame(4, 0, &[0; 6]),
            &frame(HEADERS, END_HEADERS, &[0x82, 0x86]),
            &frame(DATA, 0, &[7; 100]),
            &frame(HEADERS, PADDED | PRIORITY, &padded),
            &frame(CONTINUATION, 0, &[1, b'a', 2, b'b']),
            &frame(CONTINUATION, END_HEADERS, &[b'c', 0xbe]),
            &frame(DATA, 0, &[]),
            &frame(8, 0, &[0; 4]),
        ]
        .concat()
    }

    proptest! {
        #[test]
        fn heads_are_counted_however_the_stream_is_cut(cut in 1usize..200) {
            let mut frames = Frames::new();
            let mut noted = all();
            for piece in conversation().chunks(cut) {
                prop_assert_eq!(frames.pass(piece, &mut noted), piece.len());
            }
            prop_assert_eq!(noted.heads, [2, 3]);
            let is_between = matches!(frames.at, At::Head { seen: 0, .. });
            prop_assert!(is_between);
        }

        #[test]
        fn any_bytes_pass_where_everything_may(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut frames = Frames { at: NEXT, fields: Fields::default() };
            prop_assert_eq!(frames.pass(&bytes, &mut all()), bytes.len());
        }
    }

    #[test]
    fn what_may_not_pass_waits_in_front_of_what_it_would_bring() {
        let bytes = conversation();
        let mut frames = Frames::new();
        let mut noted = Noted {
            requests_left: 1,
            data_left: 60,
            most_fields: 2,
            heads: Vec::new(),
        };
        let first_data = PREFACE.len() + 9 + 6 + 9 + 2 + 9;
        let mut passed = frames.pass(&bytes, &mut noted);
        assert_eq!(passed, first_data + 60);
        assert_eq!(frames.pass(&bytes[passed..], &mut noted), 0);
        noted.data_left = 60;
        passed += frames.pass(&bytes[passed..], &mut noted);
        assert_eq!(passed, first_data + 100 + 9, "the next request");
        noted.requests_left = 1;
        passed += frames.pass(&bytes[passed..], &mut noted);
        // Its third field is in the last of its frames.
        assert_eq!(passed, first_data + 100 + 9 + 11 + 9 + 4 + 9);
        assert_eq!(noted.heads, [2]);
        noted.most_fields = 3;
        passed += frames.pass(&bytes[passed..], &mut noted);
        assert_eq!(passed, bytes.len());
        assert_eq!(noted.heads, [2, 3]);
    }
}

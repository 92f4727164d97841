//! The commands, one file (or folder) each: what was typed, to what is done and printed.

pub mod apikeys;

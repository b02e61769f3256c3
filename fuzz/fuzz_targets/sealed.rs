#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| repository_fuzz::parsers::sealed(bytes));

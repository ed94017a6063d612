#![no_main]
holdfast_fuzz::target!(holdfast_fuzz_foreign::TARGETS, "stream_records");

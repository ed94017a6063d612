#![no_main]
holdfast_fuzz::target!(holdfast_vault::fuzzing::TARGETS, "root");

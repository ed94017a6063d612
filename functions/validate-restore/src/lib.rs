//! Judges the restores of a restore testing plan.

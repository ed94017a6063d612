//! Starts what is due, and ends what died.

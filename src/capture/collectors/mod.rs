//! One file per collector (or per family that shares one reading of the machine), each with a const `Spec`.

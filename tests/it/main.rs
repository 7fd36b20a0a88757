//! One file per folder of `src/`. Needs no root, no network and no services.

mod detect;

//! The provider: pieces, sectors, the pipeline, the prover.

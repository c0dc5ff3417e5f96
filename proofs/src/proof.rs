//! A Groth16 proof as it travels.

crate::byte_newtype!(
    /// A Groth16 proof over BLS12-381: A (48 bytes), B (96) and C (48), compressed. The bytes name
    /// nothing: anyone can re-randomize a proof, so identity is (sector, deadline).
    ProofBytes, 192
);

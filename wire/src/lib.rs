//! What both ends of a connection speak and do: identities, QUIC, packs, erasure code, transfer, the ledger's API.

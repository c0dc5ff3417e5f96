//! The ledger's pure core: messages, state, rules.

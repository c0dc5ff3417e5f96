//! The market process: store, ordering, API and explorer.

//! The client: wallet, packs, placement, transfer, objects.

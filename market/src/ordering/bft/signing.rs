//! Signing and checking votes and offers, by the very functions that the ledger's certificates are
//! checked with: what the engine counts, every ledger counts.

use super::context::{Bft, Key, Proposal, Vote};
use super::guard::{Guard, Statement};
use crate::validator::ValidatorKeys;
use async_trait::async_trait;
use ed25519_dalek::{Signer as _, VerifyingKey};
use holdfast_market_core::message::SigningContext;
use holdfast_market_core::units::{Height, NetworkId, Signature};
use malachitebft_app_channel::app::types::core::{
    SignedMessage, ValidatorProof, VoteExtensionScope,
};
use malachitebft_signing::{Error, Signer, VerificationResult, Verifier};
use std::sync::{Arc, Mutex, PoisonError};

/// Checks what others signed.
#[derive(Clone, Debug)]
pub struct Checker {
    /// For which network.
    pub network: NetworkId,
}

fn result(holds: bool) -> Result<VerificationResult, Error> {
    Ok(VerificationResult::from_bool(holds))
}

#[async_trait]
impl Verifier<Bft> for Checker {
    async fn verify_signed_vote(
        &self,
        vote: &Vote,
        signature: &Signature,
        key: &Key,
    ) -> Result<VerificationResult, Error> {
        let ballot = vote.ballot().filter(|ballot| ballot.voter == key.0);
        result(ballot.is_some_and(|ballot| ballot.is_signed(self.network, signature)))
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &Proposal,
        signature: &Signature,
        key: &Key,
    ) -> Result<VerificationResult, Error> {
        let offer = proposal.offer().filter(|offer| offer.proposer == key.0);
        result(offer.is_some_and(|offer| offer.is_signed(self.network, signature)))
    }

    // Votes carry nothing besides; where one does, it is no vote of ours.
    async fn verify_signed_vote_extension(
        &self,
        _: &VoteExtensionScope<Bft>,
        (): &(),
        _: &Signature,
        _: &Key,
    ) -> Result<VerificationResult, Error> {
        result(false)
    }

    async fn verify_validator_proof(
        &self,
        proof: &ValidatorProof<Bft>,
    ) -> Result<VerificationResult, Error> {
        let Ok(key) = proof.decoded_public_key() else {
            return result(false);
        };
        let signature = ed25519_dalek::Signature::from_bytes(&proof.signature.0);
        let holds = VerifyingKey::from_bytes(key.0.as_bytes())
            .is_ok_and(|key| key.verify_strict(&proof.preimage(), &signature).is_ok());
        result(holds)
    }
}

/// Signs for one validator; what is signed is noted before it leaves.
pub struct Pen {
    network: NetworkId,
    keys: Arc<ValidatorKeys>,
    guard: Mutex<Guard>,
}

impl Pen {
    /// The pen of a validator.
    pub fn new(network: NetworkId, keys: Arc<ValidatorKeys>, guard: Guard) -> Self {
        Self {
            network,
            keys,
            guard: Mutex::new(guard),
        }
    }

    fn note(&self, height: Height, statement: Statement) -> Result<(), Error> {
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        guard.note(height, statement).map_err(Error::from_source)
    }
}

#[async_trait]
impl Signer<Bft> for Pen {
    async fn sign_vote(&self, vote: Vote) -> Result<SignedMessage<Bft, Vote>, Error> {
        let ballot = vote.ballot().ok_or_else(Error::new)?;
        self.note(ballot.height, Statement::from(&ballot))?;
        let signature = SigningContext::Ballot
            .sign(self.network, self.keys.consensus(), &ballot)
            .map_err(Error::from_source)?;
        Ok(SignedMessage::new(vote, signature))
    }

    async fn sign_proposal(
        &self,
        proposal: Proposal,
    ) -> Result<SignedMessage<Bft, Proposal>, Error> {
        let offer = proposal.offer().ok_or_else(Error::new)?;
        self.note(offer.height, Statement::from(&offer))?;
        let signature = SigningContext::Offer
            .sign(self.network, self.keys.consensus(), &offer)
            .map_err(Error::from_source)?;
        Ok(SignedMessage::new(proposal, signature))
    }

    async fn sign_vote_extension(
        &self,
        _: VoteExtensionScope<Bft>,
        (): (),
    ) -> Result<SignedMessage<Bft, ()>, Error> {
        Err(Error::new())
    }

    async fn sign_validator_proof(
        &self,
        public_key: Vec<u8>,
        peer_id: Vec<u8>,
    ) -> Result<ValidatorProof<Bft>, Error> {
        let bytes = ValidatorProof::<Bft>::signing_bytes(&public_key, &peer_id);
        let signature = Signature(self.keys.consensus().sign(&bytes).to_bytes());
        Ok(ValidatorProof::new(public_key, peer_id, signature))
    }
}

//! What is wrong with a block, said so that whoever reads it knows where to look; and what no audit
//! shows.

use super::{Finding, Replay, id_of};
use crate::block::{Block, OutcomeResult, Validator};
use crate::execute::{BlockError, header_fault, outcomes_of_content};
use crate::facts::is_signed;
use crate::message::Body;
use crate::parameters::Parameters;
use crate::query;
use crate::units::BlockId;
use std::fmt::Write;

/// Seal challenges from which on a sealed sector lacks less than the bound of SECURITY.md.
const BINDING_SEAL_CHALLENGES: u32 = 176;

impl Replay {
    /// The certificate does not make the block final. A changed header has no certificate either, so
    /// the header is looked at: `named` is what the next block calls it.
    pub(super) fn not_final(&self, block: &Block, named: Option<BlockId>) -> Finding {
        let header = &block.header;
        let fault = if header.state_root == self.place.state_root {
            header_fault(&self.view, &self.rules, block).map(|error| error.to_string())
        } else {
            Some(self.other_root(block))
        };
        let more = match (fault, named, header.id()) {
            (Some(fault), ..) => format!(", and the header is not what was signed: {fault}"),
            (None, Some(named), Ok(id)) if named == id => {
                "; the next block names this very header, so it is the certificate that is wrong"
                    .into()
            }
            (None, Some(_), Ok(_)) => {
                "; the next block names another header, so it is the header that is wrong".into()
            }
            _ => String::new(),
        };
        Finding {
            height: header.height,
            message: None,
            reason: format!("its certificate is not one of this network's validators{more}"),
        }
    }

    /// The header names another state than the blocks before give.
    pub(super) fn other_state(&self, block: &Block) -> Finding {
        let mut reason = self.other_root(block);
        let receipts = query::chain(&self.view).map(|chain| chain.receipts_root);
        let differ = receipts.is_ok_and(|root| root != block.header.receipts_root);
        // Whoever took a message that the rules refuse says so here at the latest.
        let refusal = self.place.refusal.as_ref().filter(|_| differ);
        if let Some((id, why)) = refusal {
            reason.push_str(&format!(
                "; it also says that other messages of the block before were done: replaying refused message {id}: {why}"
            ));
        }
        Finding {
            height: block.header.height,
            message: refusal.map(|(id, _)| *id),
            reason,
        }
    }

    fn other_root(&self, block: &Block) -> String {
        format!(
            "it says the state before it has root {}, replaying gives {}",
            block.header.state_root, self.place.state_root
        )
    }

    /// The block cannot be executed.
    pub(super) fn not_a_block(&self, block: &Block, error: &BlockError) -> Finding {
        let finding = Finding {
            height: block.header.height,
            message: error.message().and_then(|index| id_of(block, index)),
            reason: error.to_string(),
        };
        match error {
            BlockError::Header("transactions_root") => self.other_messages(block, finding),
            _ => finding,
        }
    }

    /// The messages are not those that the header names: which is it?
    fn other_messages(&self, block: &Block, finding: Finding) -> Finding {
        let network = self.rules.network;
        let unsigned = block.messages.iter().enumerate();
        let Some((index, signed)) = unsigned
            .into_iter()
            .find(|(_, one)| !is_signed(network, one))
        else {
            return Finding {
                reason: format!(
                    "{}: every message is signed, so one is missing, too many or in another place",
                    finding.reason
                ),
                ..finding
            };
        };
        let kind = name_of(&signed.message.body);
        let sender = signed.message.sender;
        let mut reason = format!(
            "{}: message {index}, {kind} of {sender}, is not what its sender signed",
            finding.reason
        );
        let outcomes = outcomes_of_content(&self.view, &self.rules, block);
        let refused = match outcomes.as_deref().map(|all| all.get(index)) {
            Ok(Some(outcome)) => match &outcome.result {
                OutcomeResult::Refused(why) => Some(why.clone()),
                OutcomeResult::Done => None,
            },
            Ok(None) => None,
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = refused {
            reason.push_str(&format!(", and as it stands the rules refuse it: {why}"));
        }
        Finding {
            message: id_of(block, index),
            reason,
            ..finding
        }
    }
}

/// The name of a body's kind, as in [`Body`].
pub(super) fn name_of(body: &Body) -> String {
    struct FirstWord(String);
    impl Write for FirstWord {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            for letter in text.chars() {
                if !letter.is_ascii_alphanumeric() {
                    return Err(std::fmt::Error);
                }
                self.0.push(letter);
            }
            Ok(())
        }
    }
    let mut word = FirstWord(String::new());
    // It ends with the first word, whatever follows.
    let _ = write!(word, "{body:?}");
    word.0
}

/// What each kind of proof binds, in sentences.
pub(super) fn binds() -> Vec<String> {
    [
        "A seal proof binds the replica id of a sector (network, class, provider, number, ticket) to \
         the roots of its columns and keys, at places that the beacon drew after these roots were on \
         the ledger.",
        "An embed proof binds the new replica roots of the written groups to their keys and to the \
         data that the deals' piece roots name, at places that the beacon drew after these roots \
         were on the ledger.",
        "A spacetime proof binds sixteen leaves, which the beacon drew at the beginning of a \
         deadline's window, to the replica roots that the ledger had then.",
    ]
    .map(String::from)
    .into()
}

/// What proofs of this network do not show, in sentences.
pub(super) fn limits(validators: &[Validator], parameters: &Parameters) -> Vec<String> {
    let mut limits = Vec::new();
    if validators.len() == 1 {
        limits.push(
            "One signer orders this network's blocks and knows every challenge before it signs: \
             proofs of a provider that is this signer, or works with it, show nothing."
                .into(),
        );
    } else {
        limits.push(
            "Whose turn it is can withhold its block and so choose between two beacons; validators \
             with more than two thirds of the power that work together know challenges ahead, and \
             proofs of a provider that is one of them bind nobody then."
                .into(),
        );
    }
    if parameters.seal_challenges < BINDING_SEAL_CHALLENGES {
        limits.push(format!(
            "A seal opens {} places and an embed {}: a sector of which a part was never sealed or \
             written passes with fair odds. {BINDING_SEAL_CHALLENGES} places are what bounds it.",
            parameters.seal_challenges, parameters.embed_challenges
        ));
    }
    limits.push(
        "Groth16 rests on the parameters: whoever made them alone can forge any proof. The genesis \
         names their keys, and not how they were made."
            .into(),
    );
    limits.push(
        "A spacetime proof opens sixteen leaves of a sector at one time: it shows with the odds of \
         that sample that the replica is stored, not that it is handed out to whoever asks."
            .into(),
    );
    limits
}

//! What any account may ask: transfers.

use super::Context;
use crate::refusal::{Refusal, Stop, require};
use crate::units::{Address, Amount};
use crate::view::ReadView;

impl<V: ReadView> Context<'_, V> {
    pub(super) fn transfer(
        &mut self,
        from: &Address,
        to: &Address,
        amount: Amount,
    ) -> Result<(), Stop> {
        require(amount != Amount::ZERO, || Refusal::Empty("the amount"))?;
        self.ledger.debit(from, amount)?;
        self.ledger.credit(to, amount)
    }
}
